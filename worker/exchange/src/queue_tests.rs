use super::*;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use std::sync::mpsc;
use std::time::Duration;
use streamfleet_types::Batch;

fn batch() -> Element {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7; 100]));
    Element::Batch(Batch::inserts(RecordBatch::try_from_iter([("a", column)]).expect("one column")))
}

#[test]
fn a_full_queue_takes_control_elements_and_keeps_order() {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let wake_writer: Wake = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (mut sender, mut receiver) = queue(800, wake_writer, Arc::new(|| {}));
    assert!(sender.has_room());
    sender.push(batch());
    assert!(!sender.has_room());
    for time in 0..2 * RING_SLOTS as i64 {
        sender.push(Element::Watermark(time));
    }
    assert!(sender.is_waiting());
    assert!(matches!(receiver.pop(), Some((Element::Batch(_), 800))));
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    for time in 0..2 * RING_SLOTS as i64 {
        sender.flush();
        assert!(matches!(receiver.pop(), Some((Element::Watermark(t), 0)) if t == time));
    }
    assert!(receiver.is_empty() && sender.has_room());
}

#[test]
fn a_sender_that_waits_is_woken_by_the_first_slot_that_becomes_free() {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let wake_writer: Wake = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (mut sender, mut receiver) = queue(800, wake_writer, Arc::new(|| {}));
    // The ring is not full when the reader looks; it fills up before the reader looks again.
    sender.push(Element::Watermark(0));
    assert!(receiver.pop().is_some());
    for time in 0..RING_SLOTS as i64 + 1 {
        sender.push(Element::Watermark(time));
    }
    assert!(sender.is_waiting() && wakes.load(Ordering::Relaxed) == 0);
    assert!(receiver.pop().is_some());
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    assert!(receiver.pop().is_some());
    assert_eq!(wakes.load(Ordering::Relaxed), 1, "once is enough");
    sender.flush();
    assert!(!sender.is_waiting());
}

/// Both ends sleep whenever they have nothing to do; a lost wake-up shows as a time-out.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const ELEMENTS: i64 = 300_000;
    let (wake_writer, writer_woken) = mpsc::channel();
    let (wake_reader, reader_woken) = mpsc::channel();
    let wake = |channel: mpsc::Sender<()>| -> Wake {
        let channel = std::sync::Mutex::new(channel);
        Arc::new(move || {
            // The other side may have finished.
            let _gone = channel.lock().expect("no holder panics").send(());
        })
    };
    let (mut sender, mut receiver) = queue(800, wake(wake_writer), wake(wake_reader));
    let sleep = |woken: &mpsc::Receiver<()>| {
        woken.recv_timeout(Duration::from_secs(20)).expect("a wake-up was lost");
        while woken.try_recv().is_ok() {}
    };
    let writer = std::thread::spawn(move || {
        let mut next = 0;
        while next < ELEMENTS || sender.is_waiting() {
            sender.flush();
            if sender.is_waiting() {
                sleep(&writer_woken);
                continue;
            }
            for _ in 0..1 + next % 70 {
                sender.push(Element::Watermark(next));
                next += 1;
            }
        }
        next
    });
    let mut expected = 0;
    while expected < ELEMENTS {
        match receiver.pop() {
            Some((Element::Watermark(time), 0)) => {
                assert_eq!(time, expected);
                expected += 1;
            }
            Some(other) => panic!("{other:?} was never sent"),
            None => sleep(&reader_woken),
        }
    }
    while receiver.pop().is_some() {
        expected += 1;
    }
    let sent = loop {
        if writer.is_finished() {
            break writer.join().expect("the writer finishes");
        }
        while receiver.pop().is_some() {
            expected += 1;
        }
    };
    while receiver.pop().is_some() {
        expected += 1;
    }
    assert_eq!(expected, sent);
}

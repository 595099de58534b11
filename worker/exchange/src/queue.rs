//! One queue per edge, producer subtask and consumer subtask: bounded in bytes, one writer, one reader, no lock.
//!
//! The bound is a credit: a producer asks [`QueueSender::has_room`] before it makes rows; what one call makes may pass the
//! bound once. Control elements always pass. What the ring has no slot for waits in order on the sender's side.

use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use streamfleet_types::Element;

/// Rows in one queue, in bytes, from which its producer must wait.
pub const QUEUE_CAPACITY_BYTES: usize = 1 << 20;

/// Elements that a ring holds.
const RING_SLOTS: usize = 256;

/// Wakes the slot on the other side.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
}

/// The writing end.
pub struct QueueSender {
    ring: Producer<(Element, usize)>,
    waiting: VecDeque<(Element, usize)>,
    shared: Arc<Shared>,
    capacity: usize,
    wake_reader: Wake,
}

/// The reading end.
pub struct QueueReceiver {
    ring: Consumer<(Element, usize)>,
    shared: Arc<Shared>,
    capacity: usize,
    wake_writer: Wake,
}

/// A queue with its two ends, to be given to two slots (or one).
pub fn queue(capacity: usize, wake_writer: Wake, wake_reader: Wake) -> (QueueSender, QueueReceiver) {
    let (producer, consumer) = RingBuffer::new(RING_SLOTS);
    let shared = Arc::new(Shared::default());
    let sender =
        QueueSender { ring: producer, waiting: VecDeque::new(), shared: Arc::clone(&shared), capacity, wake_reader };
    (sender, QueueReceiver { ring: consumer, shared, capacity, wake_writer })
}

impl QueueSender {
    /// True while another batch is welcome.
    pub fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.shared.bytes.load(Ordering::Acquire) < self.capacity
    }

    /// Bytes of rows on their way.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Puts an element behind all others. Never refuses: ask [`Self::has_room`] before making rows.
    pub fn push(&mut self, element: Element) {
        let bytes = match &element {
            Element::Batch(batch) => batch.bytes(),
            _ => 0,
        };
        self.shared.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.waiting.push_back((element, bytes));
        self.flush();
    }

    /// Moves what waits into the ring as far as it has slots.
    pub fn flush(&mut self) {
        let mut moved = false;
        while let Some(next) = self.waiting.pop_front() {
            match self.ring.push(next) {
                Ok(()) => moved = true,
                Err(rtrb::PushError::Full(back)) => {
                    self.waiting.push_front(back);
                    break;
                }
            }
        }
        if moved {
            (self.wake_reader)();
        }
    }

    /// True if elements wait for a slot of the ring: call [`Self::flush`] again.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl QueueReceiver {
    /// True if nothing is there.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Takes the first element, with the bytes of its rows.
    pub fn pop(&mut self) -> Option<(Element, usize)> {
        let was_full = self.ring.slots() == RING_SLOTS;
        let (element, bytes) = self.ring.pop().ok()?;
        let before = self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let has_room_again = before >= self.capacity && before - bytes < self.capacity;
        if was_full || has_room_again {
            (self.wake_writer)();
        }
        Some((element, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
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
}

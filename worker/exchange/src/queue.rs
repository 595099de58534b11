//! One queue per edge, producer subtask and consumer subtask: bounded in bytes, one writer, one reader, no lock.
//!
//! The bound is a credit: a producer asks [`QueueSender::has_room`] before it makes rows; what one call makes may pass the
//! bound once. Control elements always pass. What the ring has no slot for waits in order on the sender's side.

use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use streamfleet_types::Element;

/// Rows in one queue, in bytes, from which its producer must wait.
pub const QUEUE_CAPACITY_BYTES: usize = 1 << 20;

/// Elements that a ring holds. A job has a ring for each pair of subtasks of an edge, and a ring takes its memory at once, so
/// it is small: in bytes a queue is full with fewer batches than this, and what is more waits on the sender's side.
const RING_SLOTS: usize = 32;

/// Wakes the slot on the other side.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
    /// The sender has elements that found no slot: the reader is to wake it when there is one.
    sender_waits: AtomicBool,
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
        let mut moved = self.fill_ring();
        if !self.waiting.is_empty() {
            self.shared.sender_waits.store(true, Ordering::Relaxed);
            // Pairs with the fence in `pop`: either the reader sees the flag behind its pop, or the slot that it made is seen
            // here. Without it the reader could take the last element and nobody would ever wake the sender.
            fence(Ordering::SeqCst);
            moved |= self.fill_ring();
            if self.waiting.is_empty() {
                self.shared.sender_waits.store(false, Ordering::Relaxed);
            }
        }
        if moved {
            (self.wake_reader)();
        }
    }

    /// True if anything was moved.
    fn fill_ring(&mut self) -> bool {
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
        moved
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
        let (element, bytes) = self.ring.pop().ok()?;
        // Pairs with the fence in `flush`.
        fence(Ordering::SeqCst);
        let sender_waits =
            self.shared.sender_waits.load(Ordering::Relaxed) && self.shared.sender_waits.swap(false, Ordering::Relaxed);
        let before = self.shared.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let has_room_again = before >= self.capacity && before - bytes < self.capacity;
        if sender_waits || has_room_again {
            (self.wake_writer)();
        }
        Some((element, bytes))
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

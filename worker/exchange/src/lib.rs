//! Queues between subtasks, and the state machines that merge what comes out of them.

mod alignment;
mod queue;
mod watermarks;

pub use alignment::{Alignment, Verdict};
pub use queue::{QUEUE_CAPACITY_BYTES, QueueReceiver, QueueSender, Wake, queue};
pub use watermarks::WatermarkMerge;

//! The channels into a task: read in turn, merged by watermark, aligned by barrier.

use streamfleet_exchange::{Alignment, QueueReceiver, WatermarkMerge};
use streamfleet_types::{Element, Millis};

/// All channels into a task. A channel belongs to a port: the number of the operator's input.
pub(crate) struct Input {
    channels: Vec<(usize, QueueReceiver)>,
    pub alignment: Alignment,
    pub watermarks: WatermarkMerge,
    pub idle: bool,
    /// Bytes of rows taken so far.
    pub bytes: u64,
    next: usize,
}

impl Input {
    pub fn new(channels: Vec<(usize, QueueReceiver)>, watermark: Millis) -> Self {
        let count = channels.len();
        Self {
            channels,
            alignment: Alignment::new(count),
            watermarks: WatermarkMerge::new(count, watermark),
            idle: false,
            bytes: 0,
            next: 0,
        }
    }

    /// True if an element can be taken.
    pub fn is_ready(&self) -> bool {
        (0..self.channels.len()).any(|c| self.alignment.is_readable(c) && !self.channels[c].1.is_empty())
    }

    /// The next element of the next readable channel, with the channel's number and port.
    pub fn pop(&mut self) -> Option<(usize, usize, Element)> {
        let count = self.channels.len();
        for step in 0..count {
            let channel = (self.next + step) % count;
            if !self.alignment.is_readable(channel) {
                continue;
            }
            let (port, queue) = &mut self.channels[channel];
            if let Some((element, bytes)) = queue.pop() {
                self.bytes += bytes as u64;
                self.next = (channel + 1) % count;
                return Some((channel, *port, element));
            }
        }
        None
    }
}

//! The watermark of a subtask: the minimum over its channels that are neither idle nor ended.

use streamfleet_types::{MIN_WATERMARK, Millis};

#[derive(Debug, Clone, Copy)]
struct Channel {
    watermark: Millis,
    idle: bool,
    ended: bool,
}

/// Merges the watermarks of channels. Law: the merged watermark never goes back.
#[derive(Debug)]
pub struct WatermarkMerge {
    channels: Vec<Channel>,
    merged: Millis,
}

impl WatermarkMerge {
    /// `start` is the watermark of the snapshot that the subtask begins from, else [`MIN_WATERMARK`].
    pub fn new(channels: usize, start: Millis) -> Self {
        Self {
            channels: vec![Channel { watermark: MIN_WATERMARK, idle: false, ended: false }; channels],
            merged: start,
        }
    }

    /// The merged watermark.
    pub const fn merged(&self) -> Millis {
        self.merged
    }

    /// A channel's watermark; gives the merged one if it grew.
    pub fn on_watermark(&mut self, channel: usize, watermark: Millis) -> Option<Millis> {
        let channel = &mut self.channels[channel];
        channel.watermark = channel.watermark.max(watermark);
        channel.idle = false;
        self.advance()
    }

    /// A channel became idle; gives the merged watermark if it grew.
    pub fn on_idle(&mut self, channel: usize) -> Option<Millis> {
        self.channels[channel].idle = true;
        self.advance()
    }

    /// A channel is active again: it holds the others back from where they are.
    pub fn on_active(&mut self, channel: usize) {
        self.channels[channel].idle = false;
    }

    /// A channel ended; gives the merged watermark if it grew.
    pub fn on_end(&mut self, channel: usize) -> Option<Millis> {
        self.channels[channel].ended = true;
        self.advance()
    }

    /// True if every unfinished channel is idle, and there is one.
    pub fn all_idle(&self) -> bool {
        let mut unfinished = self.channels.iter().filter(|c| !c.ended).peekable();
        unfinished.peek().is_some() && unfinished.all(|c| c.idle)
    }

    fn advance(&mut self) -> Option<Millis> {
        let all_ended = self.channels.iter().all(|c| c.ended);
        let counting = self.channels.iter().filter(|c| !c.ended && !c.idle).map(|c| c.watermark).min();
        // An ended channel's last watermark is MAX unless its stream had none (batch mode).
        let ended = self.channels.iter().map(|c| c.watermark).min().filter(|_| all_ended);
        let next = counting.or(ended).unwrap_or(MIN_WATERMARK);
        (next > self.merged).then(|| {
            self.merged = next;
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_minimum_of_those_that_count() {
        let mut m = WatermarkMerge::new(2, MIN_WATERMARK);
        assert_eq!(m.on_watermark(0, 10), None);
        assert_eq!(m.on_watermark(1, 5), Some(5));
        assert_eq!(m.on_watermark(1, 4), None);
        assert_eq!(m.on_idle(1), Some(10));
        assert!(!m.all_idle());
        m.on_active(1);
        assert_eq!(m.on_watermark(0, 20), None);
        assert_eq!(m.on_watermark(1, 30), Some(20));
        assert_eq!(m.on_end(0), Some(30));
    }

    #[test]
    fn begins_where_the_snapshot_was() {
        let mut m = WatermarkMerge::new(1, 100);
        assert_eq!(m.on_watermark(0, 50), None);
        assert_eq!(m.on_watermark(0, 101), Some(101));
    }
}

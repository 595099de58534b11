//! Barrier alignment: a subtask's snapshot is taken when every unfinished channel has delivered the barrier.

use streamfleet_types::Epoch;

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: go on reading the channels that are not blocked.
    Wait,
    /// All channels have delivered the barrier: take the snapshot, pass the barrier on, unblock.
    Aligned(Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    Blocked,
    Ended,
}

/// Aligns the channels of one subtask. Laws: a blocked channel is not read; of two barriers the later wins; an ended channel
/// counts as delivered; an epoch is aligned at most once.
#[derive(Debug)]
pub struct Alignment {
    channels: Vec<Channel>,
    under_way: Option<Epoch>,
    /// The newest epoch asked for, by trigger: subtasks whose channels have all ended answer it by themselves.
    triggered: Option<Epoch>,
    newest_done: Option<Epoch>,
}

impl Alignment {
    /// Nothing has come on any channel yet.
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![Channel::Open; channels], under_way: None, triggered: None, newest_done: None }
    }

    /// True if the channel may be read.
    pub fn is_readable(&self, channel: usize) -> bool {
        self.channels[channel] == Channel::Open
    }

    /// True if every channel has ended.
    pub fn all_ended(&self) -> bool {
        self.channels.iter().all(|c| *c == Channel::Ended)
    }

    /// True if channels are blocked for a barrier.
    pub const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The coordinator asks for a snapshot.
    pub fn on_trigger(&mut self, epoch: Epoch) -> Verdict {
        self.triggered = self.triggered.max(Some(epoch));
        self.verdict()
    }

    /// A barrier came on a channel.
    pub fn on_barrier(&mut self, channel: usize, epoch: Epoch) -> Verdict {
        if self.newest_done.is_some_and(|done| epoch <= done) || self.under_way.is_some_and(|current| epoch < current) {
            return Verdict::Wait;
        }
        if self.under_way != Some(epoch) {
            self.unblock();
            self.under_way = Some(epoch);
        }
        self.channels[channel] = Channel::Blocked;
        self.verdict()
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize) -> Verdict {
        self.channels[channel] = Channel::Ended;
        self.verdict()
    }

    /// The coordinator gave the epoch up: its barriers no longer block.
    pub fn on_abort(&mut self, epoch: Epoch) {
        if self.under_way.is_some_and(|current| current <= epoch) {
            self.unblock();
            self.under_way = None;
        }
        self.newest_done = self.newest_done.max(Some(epoch));
    }

    fn unblock(&mut self) {
        for channel in &mut self.channels {
            if *channel == Channel::Blocked {
                *channel = Channel::Open;
            }
        }
    }

    fn verdict(&mut self) -> Verdict {
        let epoch = if self.all_ended() { self.triggered.max(self.under_way) } else { self.under_way };
        let Some(epoch) = epoch.filter(|e| self.newest_done.is_none_or(|done| done < *e)) else { return Verdict::Wait };
        if self.channels.contains(&Channel::Open) {
            return Verdict::Wait;
        }
        self.newest_done = Some(epoch);
        self.under_way = None;
        self.unblock();
        Verdict::Aligned(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_every_unfinished_channel() {
        let mut a = Alignment::new(3);
        assert_eq!(a.on_barrier(0, Epoch(1)), Verdict::Wait);
        assert!(!a.is_readable(0) && a.is_readable(1));
        assert_eq!(a.on_end(1), Verdict::Wait);
        assert_eq!(a.on_barrier(2, Epoch(1)), Verdict::Aligned(Epoch(1)));
        assert!(a.is_readable(0) && a.is_readable(2));
    }

    #[test]
    fn the_end_of_the_last_open_channel_aligns() {
        let mut a = Alignment::new(2);
        assert_eq!(a.on_barrier(0, Epoch(1)), Verdict::Wait);
        assert_eq!(a.on_end(1), Verdict::Aligned(Epoch(1)));
    }

    #[test]
    fn a_later_barrier_and_an_abort_cancel() {
        let mut a = Alignment::new(2);
        assert_eq!(a.on_barrier(0, Epoch(1)), Verdict::Wait);
        assert_eq!(a.on_barrier(1, Epoch(2)), Verdict::Wait);
        assert!(a.is_readable(0) && !a.is_readable(1));
        a.on_abort(Epoch(2));
        assert!(a.is_readable(0) && a.is_readable(1));
        assert_eq!(a.on_barrier(0, Epoch(2)), Verdict::Wait);
        assert!(a.is_readable(0));
        assert_eq!(a.on_barrier(0, Epoch(3)), Verdict::Wait);
        assert_eq!(a.on_barrier(1, Epoch(3)), Verdict::Aligned(Epoch(3)));
    }

    #[test]
    fn a_finished_subtask_answers_triggers_once() {
        let mut a = Alignment::new(1);
        assert_eq!(a.on_trigger(Epoch(4)), Verdict::Wait);
        assert_eq!(a.on_end(0), Verdict::Aligned(Epoch(4)));
        assert_eq!(a.on_trigger(Epoch(4)), Verdict::Wait);
        assert_eq!(a.on_trigger(Epoch(5)), Verdict::Aligned(Epoch(5)));
    }
}

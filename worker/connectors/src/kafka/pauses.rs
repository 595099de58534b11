//! Partitions that wait for others. The reader gives no more records of them, and what it had given stands aside: all
//! partitions come through one inbox, and none may keep another from it.

use super::client::ConsumerEvent;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
struct Aside {
    is_paused: bool,
    events: VecDeque<ConsumerEvent>,
}

/// Splits by their number, for as long as the reader holds them back: until all that stood aside was taken, so that what
/// stands aside of one split is never more than what the inbox took at once.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    splits: BTreeMap<usize, Aside>,
}

impl Pauses {
    /// Nothing of the split is to be taken, first of all not `held`, which was taken already. True if the reader must be told
    /// to hold it back.
    #[must_use]
    pub fn pause(&mut self, split: usize, held: Option<ConsumerEvent>) -> bool {
        let is_new = !self.splits.contains_key(&split);
        let aside = self.splits.entry(split).or_default();
        aside.is_paused = true;
        if let Some(held) = held {
            aside.events.push_front(held);
        }
        is_new
    }

    /// The split may be taken from again. True if the reader must be told to go on.
    #[must_use]
    pub fn resume(&mut self, split: usize) -> bool {
        let Some(aside) = self.splits.get_mut(&split) else { return false };
        aside.is_paused = false;
        aside.events.is_empty() && self.forget(split)
    }

    /// True if what comes of the split must stand aside.
    pub fn holds(&self, split: usize) -> bool {
        self.splits.contains_key(&split)
    }

    /// Lets an event of a split stand aside for which [`Self::holds`].
    pub fn put(&mut self, split: usize, event: ConsumerEvent) {
        self.splits.entry(split).or_default().events.push_back(event);
    }

    /// The next event of a split that is not paused any more; true if it was the split's last, and the reader must be told to
    /// go on.
    pub fn next(&mut self) -> Option<(usize, ConsumerEvent, bool)> {
        let (split, aside) = self.splits.iter_mut().find(|(_, aside)| !aside.is_paused)?;
        let (split, event) = (*split, aside.events.pop_front()?);
        let is_last = aside.events.is_empty() && self.forget(split);
        Some((split, event, is_last))
    }

    /// Nothing of the split is of interest any more. True if it was held back.
    pub fn forget(&mut self, split: usize) -> bool {
        self.splits.remove(&split).is_some()
    }
}

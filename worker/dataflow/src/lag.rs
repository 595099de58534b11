//! How far behind its end a partition is read: written by the source and by whoever reads for it, read by whoever reports.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Stands for an end that is not known.
const UNKNOWN: i64 = -1;

/// A partition of a topic.
#[derive(Debug)]
pub struct PartitionLag {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// Reading ends before this offset.
    stop: i64,
    /// The offset of the next record.
    next: AtomicI64,
    /// Behind the last record that may be read.
    end: AtomicI64,
    /// From the first of these offsets to the second there is no record: at a partition's end transactions leave offsets
    /// without one.
    gap: (AtomicI64, AtomicI64),
}

impl PartitionLag {
    /// A partition that is read from `next`, and before `stop` if that is given.
    pub fn new(topic: Arc<str>, partition: i32, next: i64, stop: Option<i64>) -> Self {
        Self {
            topic,
            partition,
            stop: stop.unwrap_or(i64::MAX),
            next: next.into(),
            end: UNKNOWN.into(),
            gap: (UNKNOWN.into(), UNKNOWN.into()),
        }
    }

    /// The source has given everything below this offset.
    pub fn read_to(&self, next: i64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// The partition ends before this offset.
    pub fn ends_at(&self, end: i64) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// There is no record from the one offset to the other.
    pub fn has_none_between(&self, from: i64, to: i64) {
        self.gap.0.store(from, Ordering::Relaxed);
        self.gap.1.store(to, Ordering::Relaxed);
    }

    /// Offsets that are still to be read; `None` while the end is not known.
    pub fn records(&self) -> Option<u64> {
        let end = Some(self.end.load(Ordering::Relaxed)).filter(|end| *end != UNKNOWN)?;
        let mut next = self.next.load(Ordering::Relaxed);
        if next == self.gap.0.load(Ordering::Relaxed) {
            next = next.max(self.gap.1.load(Ordering::Relaxed));
        }
        Some(u64::try_from(end.min(self.stop) - next).unwrap_or(0))
    }
}

/// The partitions of a source's subtask.
#[derive(Debug, Default)]
pub struct PartitionLags {
    partitions: Mutex<Vec<Arc<PartitionLag>>>,
}

impl PartitionLags {
    /// Adds one.
    pub fn add(&self, partition: PartitionLag) -> Arc<PartitionLag> {
        let partition = Arc::new(partition);
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&partition));
        partition
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<PartitionLag>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is still to be read of all; `None` while no end is known.
    pub fn pending(&self) -> Option<u64> {
        self.all().iter().filter_map(|partition| partition.records()).reduce(|a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_what_may_still_be_read() {
        let lags = PartitionLags::default();
        let (free, bounded) = (
            lags.add(PartitionLag::new("t".into(), 0, 5, None)),
            lags.add(PartitionLag::new("t".into(), 1, 0, Some(10))),
        );
        assert_eq!((free.records(), lags.pending()), (None, None));
        free.ends_at(9);
        bounded.ends_at(100);
        assert_eq!((free.records(), bounded.records(), lags.pending()), (Some(4), Some(10), Some(14)));
        bounded.read_to(10);
        // The last two offsets are a transaction's end.
        free.has_none_between(7, 9);
        assert_eq!(free.records(), Some(4));
        free.read_to(7);
        assert_eq!(lags.pending(), Some(0));
        free.ends_at(12);
        assert_eq!(lags.pending(), Some(3));
        // An end that is heard of late.
        free.read_to(20);
        assert_eq!(lags.pending(), Some(0));
    }
}

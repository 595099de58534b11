//! Key groups: the atoms of keyed state, and who owns which.
//!
//! A key's 64-bit hash (see [`crate::hash`]) falls into key group `(hash x maxParallelism) >> 64`, so key groups are
//! contiguous ranges of hashes and a file sorted by hash serves any maxParallelism. A subtask owns a contiguous range of
//! key groups, hence a contiguous range of hashes.

use serde::{Deserialize, Serialize};

/// The number of a key group, below the job's maxParallelism.
pub type KeyGroup = u32;

/// The maxParallelism of a job that names none: divisible by every parallelism up to six and many above.
pub const DEFAULT_MAX_PARALLELISM: u32 = 720;

/// An inclusive range of key hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashRange {
    /// The lowest hash in the range.
    pub first: u64,
    /// The highest hash in the range.
    pub last: u64,
}

impl HashRange {
    /// Every hash there is.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// True if `hash` lies in the range.
    pub const fn contains(self, hash: u64) -> bool {
        self.first <= hash && hash <= self.last
    }

    /// True if the two ranges share a hash.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The key group of a key's hash.
pub const fn key_group(hash: u64, max_parallelism: u32) -> KeyGroup {
    ((hash as u128 * max_parallelism as u128) >> 64) as KeyGroup
}

/// The subtask (of `parallelism`) that owns a key's hash: key groups are dealt in contiguous, near-equal ranges.
pub const fn owner_of(hash: u64, parallelism: u32, max_parallelism: u32) -> u32 {
    let group = key_group(hash, max_parallelism) as u64;
    ((group * parallelism as u64) / max_parallelism as u64) as u32
}

/// The hashes that `subtask` of `parallelism` owns; `None` if it owns no key group.
pub fn subtask_range(subtask: u32, parallelism: u32, max_parallelism: u32) -> Option<HashRange> {
    let first_group_of = |s: u32| (s as u64 * max_parallelism as u64).div_ceil(parallelism as u64);
    let first_hash_of = |group: u64| ((group as u128) << 64).div_ceil(max_parallelism as u128);
    let (from, to) = (first_group_of(subtask), first_group_of(subtask + 1));
    if from == to {
        return None;
    }
    let last = first_hash_of(to) - 1;
    Some(HashRange { first: first_hash_of(from) as u64, last: last as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tile_the_hash_space_and_agree_with_owner_of() {
        for max_parallelism in [1, 7, 128, 720] {
            for parallelism in 1..=max_parallelism.min(9) {
                let mut next = 0u128;
                for subtask in 0..parallelism {
                    let range =
                        subtask_range(subtask, parallelism, max_parallelism).expect("parallelism is within max");
                    assert_eq!(range.first as u128, next);
                    assert_eq!(owner_of(range.first, parallelism, max_parallelism), subtask);
                    assert_eq!(owner_of(range.last, parallelism, max_parallelism), subtask);
                    next = range.last as u128 + 1;
                }
                assert_eq!(next, 1 << 64);
            }
        }
    }
}

//! Random heaps against sorted sets.

use super::*;
use crate::operators::testing::Random;
use std::collections::BTreeSet;

#[test]
fn the_first_row_is_the_least_that_is_there() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (groups, rows) = (1 + random.below(4) as usize, 400);
        let keys: Vec<u64> = (0..rows).map(|_| random.below(if seed % 2 == 0 { 20 } else { 1000 })).collect();
        let is_before = |a: RowId, b: RowId| keys[a.0 as usize] < keys[b.0 as usize];
        let mut heaps = Heaps::default();
        let mut model: Vec<BTreeSet<(u64, u32)>> = vec![BTreeSet::new(); groups];
        let mut group_of: Vec<Option<usize>> = vec![None; rows];
        for _ in 0..4000 {
            // A removal is often of the first row: the hardest.
            let mut row = random.below(rows as u64) as u32;
            let some_group = random.below(groups as u64) as usize;
            if random.below(3) == 0
                && let Some(first) = heaps.first(RowId(some_group as u32))
            {
                row = first.0;
            }
            let entry = (keys[row as usize], row);
            match group_of[row as usize] {
                None => {
                    let is_first = heaps.add(RowId(some_group as u32), RowId(row), is_before);
                    assert_eq!(is_first, model[some_group].first().is_none_or(|first| entry.0 < first.0));
                    model[some_group].insert(entry);
                    group_of[row as usize] = Some(some_group);
                }
                Some(group) => {
                    let was_first = heaps.first(RowId(group as u32)) == Some(RowId(row));
                    assert_eq!(heaps.remove(RowId(group as u32), RowId(row), is_before), was_first);
                    assert!(model[group].remove(&entry));
                    group_of[row as usize] = None;
                }
            }
            for (group, rows) in model.iter().enumerate() {
                let first = heaps.first(RowId(group as u32)).map(|row| keys[row.0 as usize]);
                assert_eq!(first, rows.first().map(|(key, _)| *key), "seed {seed}");
            }
            if random.below(500) == 0 {
                heaps.drop_group(RowId(some_group as u32));
                let mut dropped: Vec<u32> = std::iter::from_fn(|| heaps.next_dropped()).map(|row| row.0).collect();
                dropped.sort_unstable();
                let mut expected: Vec<u32> = model[some_group].iter().map(|(_, row)| *row).collect();
                expected.sort_unstable();
                assert_eq!(dropped, expected);
                model[some_group].clear();
                dropped.into_iter().for_each(|row| group_of[row as usize] = None);
            }
        }
    }
}

use super::*;

fn drain(splits: &mut Splits, most: usize) -> Vec<u64> {
    let mut blocks = vec![];
    while blocks.len() < most {
        match splits.next() {
            Next::Block { split, block } => {
                blocks.push(block);
                splits.taken(split);
            }
            Next::SplitEnded(_) => {}
            Next::Ended => break,
        }
    }
    blocks
}

fn started(of: u32, subtask: u32, parallelism: u32, blocks: Option<u64>) -> Splits {
    let mut splits = Splits::new("t", blocks);
    splits.start(of, subtask, parallelism);
    splits
}

#[test]
fn every_block_is_dealt_once() {
    for (of, parallelism) in [(1, 1), (2, 2), (3, 3), (5, 2), (2, 3), (1, 4)] {
        let mut all: Vec<u64> =
            (0..parallelism).flat_map(|s| drain(&mut started(of, s, parallelism, Some(11)), usize::MAX)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..11).collect::<Vec<_>>(), "{of} splits, parallelism {parallelism}");
    }
}

#[test]
fn a_subtask_with_several_splits_reads_the_lowest_block_first() {
    assert_eq!(drain(&mut started(3, 0, 1, None), 7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(drain(&mut started(4, 1, 2, None), 4), [1, 3, 5, 7]);
}

#[test]
fn restores_at_another_parallelism() {
    let (mut first, mut second) = (started(2, 0, 2, Some(9)), started(2, 1, 2, Some(9)));
    let mut seen = drain(&mut first, 3);
    seen.extend(drain(&mut second, 1));
    let states: Vec<_> = first.states().into_iter().chain(second.states()).collect();
    assert_eq!(states[0].position, json!({ "nextBlock": 6 }));
    let mut alone = Splits::new("t", Some(9));
    alone.restore(&states).unwrap();
    let rest = drain(&mut alone, usize::MAX);
    assert_eq!(rest, [3, 5, 6, 7, 8]);
    seen.extend(rest);
    seen.sort_unstable();
    assert_eq!(seen, (0..9).collect::<Vec<_>>());
    assert!(alone.states().iter().all(|s| s.finished));
}

#[test]
fn the_end_of_every_split_is_told_once() {
    let mut splits = started(2, 0, 1, Some(1));
    assert_eq!(splits.next(), Next::SplitEnded(1));
    assert_eq!(splits.next(), Next::Block { split: 0, block: 0 });
    splits.taken(0);
    assert_eq!(splits.next(), Next::SplitEnded(0));
    assert_eq!(splits.next(), Next::Ended);
    assert_eq!(splits.next(), Next::Ended);
}

#[test]
fn a_foreign_position_is_refused() {
    for (name, position) in [
        ("file.csv", json!({ "nextBlock": 0 })),
        ("0/2", json!({ "offset": 3 })),
        ("0/2", json!({ "nextBlock": 3 })),
        ("2/2", json!({ "nextBlock": 2 })),
        ("0/0", json!({ "nextBlock": 0 })),
    ] {
        let state = SplitState { name: name.into(), position, finished: false };
        let error = Splits::new("clicks", None).restore(&[state]).unwrap_err().to_string();
        assert!(error.contains("table clicks") && error.contains(name), "{error}");
    }
}

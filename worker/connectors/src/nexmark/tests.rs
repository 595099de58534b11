use super::*;
use crate::testing::{StepClock, context, read, rows, scan};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streamfleet_dataflow::SourceStatus;

pub fn columns() -> Vec<(&'static str, DataType)> {
    fn row<T: Copy>(fields: &[(&'static str, T, DataType)]) -> DataType {
        DataType::Struct(fields.iter().map(|(name, _, t)| Field::new(*name, t.clone(), true)).collect())
    }
    vec![
        ("event_type", DataType::Int32),
        ("person", row(&person::PersonField::ALL)),
        ("auction", row(&auction::AuctionField::ALL)),
        ("bid", row(&bid::BidField::ALL)),
    ]
}

fn open(options: &[(&str, &str)], subtask: u32, parallelism: u32) -> Box<dyn Source> {
    source(&scan(&columns(), options), context(subtask, parallelism, &Arc::default())).unwrap()
}

fn read_all(options: &[(&str, &str)]) -> RecordBatch {
    let mut source = open(options, 0, 1);
    source.start().unwrap();
    let batches = read(source.as_mut(), usize::MAX);
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn sorted(batches: &[RecordBatch]) -> Vec<String> {
    let mut all: Vec<String> = batches.iter().flat_map(rows).collect();
    all.sort_unstable();
    all
}

const EVENTS: &[(&str, &str)] = &[("events.num", "50000")];

#[test]
fn the_same_events_at_any_parallelism_and_after_any_restore() {
    let expected = sorted(&[read_all(EVENTS)]);
    assert_eq!(expected.len(), 50_000);
    for (before, after) in [(2, 1), (3, 2), (1, 3), (2, 5)] {
        let mut batches = vec![];
        let mut states = vec![];
        for subtask in 0..before {
            let mut source = open(EVENTS, subtask, before);
            source.start().unwrap();
            batches.extend(read(source.as_mut(), 1 + subtask as usize % 2));
            states.extend(source.splits());
        }
        for subtask in 0..after {
            let mut source = open(EVENTS, subtask, after);
            let mine = states.iter().skip(subtask as usize).step_by(after as usize);
            source.restore(mine.cloned().collect()).unwrap();
            batches.extend(read(source.as_mut(), usize::MAX));
            assert!(source.splits().iter().all(|s| s.finished));
        }
        let found = sorted(&batches);
        assert!(found == expected, "{before} subtasks, then {after}: {} rows", found.len());
    }
}

#[test]
fn splits_do_not_change_the_events() {
    let expected = sorted(&[read_all(EVENTS)]);
    assert!(sorted(&[read_all(&[("events.num", "50000"), ("splits", "3")])]) == expected);
    assert!(sorted(&[read_all(&[("events.num", "50000"), ("seed", "1")])]) != expected);
}

#[test]
fn kinds_come_in_the_published_proportions() {
    let all = read_all(&[("events.num", "1000")]);
    let kinds = all.column(0).as_primitive::<Int32Type>().values();
    let pattern: Vec<i32> = [vec![0], vec![1; 3], vec![2; 46]].concat();
    assert!(kinds.chunks(50).all(|chunk| chunk == pattern));
    let all = read_all(&[
        ("events.num", "10"),
        ("person.proportion", "2"),
        ("auction.proportion", "0"),
        ("bid.proportion", "1"),
    ]);
    assert_eq!(all.column(0).as_primitive::<Int32Type>().values().as_ref(), [0, 0, 2, 0, 0, 2, 0, 0, 2, 0]);
    let ids = all.column(1).as_struct().column(0).as_primitive::<Int64Type>().clone();
    let ids: Vec<_> = ids.iter().flatten().collect();
    assert_eq!(ids, [1000, 1001, 1002, 1003, 1004, 1005, 1006]);
}

#[test]
fn a_pattern_longer_than_a_block_is_cut() {
    let options = [("events.num", "30000"), ("person.proportion", "3000"), ("bid.proportion", "7000")];
    let all = read_all(&options);
    let kinds = all.column(0).as_primitive::<Int32Type>().values();
    let pattern: Vec<i32> = [vec![0; 3000], vec![1; 3], vec![2; 7000]].concat();
    assert!(kinds.iter().zip(pattern.iter().cycle()).all(|(found, expected)| found == expected));
    let ids = all.column(1).as_struct().column(0).as_primitive::<Int64Type>().clone();
    assert!(ids.iter().flatten().eq(1000..1000 + 9000));
}

#[test]
fn event_time_follows_the_rate() {
    let all = read_all(&[("events.num", "1000"), ("first-event.rate", "5000"), ("base-time", "100")]);
    let bids = all.column(3).as_struct().column_by_name("dateTime").unwrap().clone();
    let times: Vec<_> = bids.as_primitive::<TimestampMillisecondType>().iter().flatten().collect();
    assert_eq!(times[..3], [100, 101, 101]);
    assert_eq!(times.last(), Some(&(100 + 999 / 5)));
    assert!(times.is_sorted());
}

#[test]
fn ends_when_told() {
    let spec = |options: &[(&str, &str)]| scan(&columns(), options);
    assert!(!is_bounded(&spec(&[])).unwrap());
    assert!(is_bounded(&spec(EVENTS)).unwrap());
    assert!(is_bounded(&spec(&[("stop-at", "5")])).unwrap());
    assert!(!is_bounded(&spec(&[("stop-at", "5"), ("keep-alive", "true")])).unwrap());
    assert_eq!(read_all(&[("events.num", "100"), ("stop-at", "7")]).num_rows(), 7);
    let mut source = open(&[("stop-at", "5"), ("keep-alive", "true")], 0, 1);
    source.start().unwrap();
    assert!(matches!(source.poll().unwrap(), SourceStatus::Rows(_)));
    for _ in 0..3 {
        assert!(matches!(source.poll().unwrap(), SourceStatus::Waiting(None)));
    }
    assert!(source.splits()[0].finished);
}

#[test]
fn a_subtask_without_a_split_ends_at_once() {
    let mut source = open(&[("splits", "1")], 1, 2);
    source.start().unwrap();
    assert!(matches!(source.poll().unwrap(), SourceStatus::Ended));
    assert!(source.splits().is_empty());
}

#[test]
fn paced_events_wait_for_their_time() {
    let clock = Arc::new(StepClock::default());
    clock.now.store(1_000_000, Ordering::Relaxed);
    let spec = scan(&columns(), &[("max-emit-speed", "false"), ("first-event.rate", "10000")]);
    let mut source = source(&spec, context(0, 1, &clock)).unwrap();
    source.start().unwrap();
    for _ in 0..3 {
        let SourceStatus::Rows(rows) = source.poll().unwrap() else { panic!("a block is due") };
        assert_eq!(rows.batch.rows(), 500);
        let SourceStatus::Waiting(Some(wait)) = source.poll().unwrap() else { panic!("nothing is due") };
        assert_eq!(wait, Duration::from_millis(50));
        clock.now.fetch_add(50, Ordering::Relaxed);
    }
}

#[test]
fn bad_tables_are_refused_by_name() {
    let refused = |columns: &[(&str, DataType)], options: &[(&str, &str)]| {
        let made = source(&scan(columns, options), context(0, 1, &Arc::default()));
        made.err().expect("refused").to_string()
    };
    for (option, value, expected) in [
        ("events.num", "many", "number"),
        ("first-event.rate", "0", "at least 1"),
        ("bid.hot-ratio.auctions", "0", "at least 1"),
        ("keep-alive", "maybe", "true or false"),
        ("bid.avg-size", "1 gb", "at most"),
        ("person.avg-size", "ten", "size"),
        ("rate.period", "soon", "duration"),
        ("splits", "0", "at least 1"),
        ("bid.proportion", "-3", "number"),
    ] {
        let error = refused(&columns(), &[(option, value)]);
        assert!(error.contains(option) && error.contains(value) && error.contains(expected), "{error}");
    }
    let none = [("person.proportion", "0"), ("auction.proportion", "0"), ("bid.proportion", "0")];
    assert!(refused(&columns(), &none).contains("above 0"));
    let row = |name: &str, data_type| DataType::Struct(vec![Field::new(name, data_type, true)].into());
    for (column, data_type, expected) in [
        ("bids", DataType::Int64, "the columns are event_type, person"),
        ("bid", DataType::Int64, "ROW<...>"),
        ("bid", row("prize", DataType::Int64), "`prize` is unknown; the fields are auction, bidder, price"),
        ("bid", row("price", DataType::Int32), "`price` is declared INT, but is BIGINT"),
        ("bid", row("dateTime", DataType::Timestamp(TimeUnit::Second, None)), "`dateTime` is declared"),
        ("event_type", DataType::Int64, "INT"),
    ] {
        let error = refused(&[(column, data_type)], &[]);
        assert!(error.contains(expected) && error.contains("table t"), "{error}");
    }
}

//! Source, sink and committer over a cluster in memory.

use super::client::{Cluster, KafkaFault};
use super::fake::FakeCluster;
use crate::testing::{StepClock, context, rows, scan, sink_context, table};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{Collected, Flow, Sink, Source, SourceStatus, SplitState};
use streamfleet_logical::{ColumnKind, ScanSpec, SinkSpec};
use streamfleet_types::{Batch, Epoch, RowKind, Term};

const BROKERS: (&str, &str) = ("properties.bootstrap.servers", "b:1");

fn with<'a>(options: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("connector", "kafka"), ("topic", "t"), ("format", "json"), BROKERS];
    all.retain(|(key, _)| !options.iter().any(|(k, _)| k == key));
    all.extend(options);
    all.retain(|(_, value)| !value.is_empty());
    all
}

fn columns() -> Vec<(&'static str, DataType)> {
    vec![("id", DataType::Int64), ("name", DataType::Utf8)]
}

fn spec(options: &[(&str, &str)]) -> ScanSpec {
    scan(&columns(), &with(options))
}

fn source(cluster: &FakeCluster, spec: &ScanSpec, clock: &Arc<StepClock>) -> Box<dyn Source> {
    super::source(spec, Arc::new(cluster.clone()), context(0, 1, clock)).expect("sound options")
}

/// Polls until it waits or ends: the rows' texts, and whether it ended.
fn drain(source: &mut dyn Source) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    loop {
        match source.poll().expect("no error") {
            SourceStatus::Rows(batch) => all.extend(rows(batch.batch.records())),
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Waiting(_) => return (all, false),
            SourceStatus::Ended => return (all, true),
        }
    }
}

#[test]
fn a_bounded_topic_is_read_to_its_end_and_goes_on_from_any_position() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}", "{\"id\":2,\"name\":\"b\"}", "{\"id\":3}"]);
    cluster.put("t", 1, &["{\"id\":4}"]);
    let spec = spec(&[("scan.startup.mode", "earliest-offset"), ("scan.bounded.mode", "latest-offset")]);
    let clock = Arc::<StepClock>::default();
    let mut whole = source(&cluster, &spec, &clock);
    whole.start().expect("begins");
    assert!(!whole.splits_known(), "offsets are looked up first");
    let mut positions: Vec<(usize, Vec<SplitState>)> = Vec::new();
    let mut read = Vec::new();
    loop {
        match whole.poll().expect("no error") {
            SourceStatus::Rows(batch) => read.extend(rows(batch.batch.records())),
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Ended => break,
            SourceStatus::Waiting(_) => panic!("everything was answered"),
        }
        positions.push((read.len(), whole.splits()));
    }
    assert_eq!(read, ["1|NULL", "2|b", "3|NULL", "4|NULL"]);
    // What comes later lies behind the bound.
    cluster.put("t", 0, &["{\"id\":9}"]);
    for (count, splits) in positions {
        let mut rest = source(&cluster, &spec, &clock);
        rest.restore(splits).expect("its own positions");
        assert_eq!(drain(rest.as_mut()), (read[count..].to_vec(), true));
    }
}

#[test]
fn reading_begins_where_the_mode_says() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}", "{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    cluster.0.lock().unwrap().group.insert(FakeCluster::partition("t", 0), 3);
    let clock = Arc::<StepClock>::default();
    let first = |options: &[(&str, &str)]| {
        let mut all = vec![("scan.bounded.mode", "latest-offset")];
        all.extend(options);
        let mut source = source(&cluster, &spec(&all), &clock);
        source.start().expect("begins");
        drain(source.as_mut()).0.first().map(|row| row[..1].to_owned())
    };
    assert_eq!(first(&[("scan.startup.mode", "earliest-offset")]).as_deref(), Some("0"));
    assert_eq!(first(&[("scan.startup.mode", "latest-offset")]), None);
    assert_eq!(first(&[("properties.group.id", "g")]).as_deref(), Some("3"));
    let at = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "1500")];
    assert_eq!(first(&at).as_deref(), Some("2"));
    let after_all = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "99999")];
    assert_eq!(first(&after_all), None);
    let offsets =
        [("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "partition:0,offset:1")];
    assert_eq!(first(&offsets).as_deref(), Some("1"));
}

/// A source that reads `t`, told which topic that is.
fn source_of(cluster: &FakeCluster, id: &str, options: &[(&str, &str)], clock: &Arc<StepClock>) -> Box<dyn Source> {
    cluster.0.lock().unwrap().topic_ids = [("t".into(), id.into())].into();
    source(cluster, &spec(&[&[("scan.startup.mode", "earliest-offset")], options].concat()), clock)
}

#[test]
fn positions_are_not_those_of_a_topic_made_anew() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}", "{\"id\":2}"]);
    let clock = Arc::<StepClock>::default();
    let mut first = source_of(&cluster, "A", &[], &clock);
    first.start().expect("begins");
    drain(first.as_mut());
    let kept = first.splits();
    assert_eq!(kept[0].position, json!({"offset": 2, "topicId": "A"}));
    cluster.put("t", 0, &["{\"id\":3}"]);

    let mut same = source_of(&cluster, "A", &[], &clock);
    same.restore(kept.clone()).expect("its own positions");
    assert_eq!(drain(same.as_mut()).0, ["3|NULL"]);

    for options in [&[][..], &[("scan.bounded.mode", "latest-offset")], &[("scan.topic.recreated", "fail")]] {
        let mut other = source_of(&cluster, "B", options, &clock);
        other.restore(kept.clone()).expect("its own positions");
        let error = other.poll().expect_err("it is another topic").to_string();
        let said =
            "topic t: it was deleted and made anew (its id was A, and is B): its offsets are those of other records";
        assert!(error.contains(said) && error.contains("--from-nothing"), "{error}");
        assert_eq!(other.splits()[0].position, kept[0].position, "nothing was read");
    }
    let continues = [("scan.topic.recreated", "continue")];
    let mut other = source_of(&cluster, "B", &continues, &clock);
    other.restore(kept.clone()).expect("its own positions");
    assert_eq!(drain(other.as_mut()).0, ["3|NULL"]);
    assert_eq!(other.splits()[0].position, json!({"offset": 3, "topicId": "B"}));

    // Positions of before, and brokers that know no ids.
    let mut old = kept.clone();
    old[0].position = json!({"offset": 2});
    let mut other = source_of(&cluster, "B", &[], &clock);
    other.restore(old).expect("its own positions");
    assert_eq!(drain(other.as_mut()).0, ["3|NULL"]);
    assert_eq!(other.splits()[0].position, json!({"offset": 3, "topicId": "B"}));
    let mut other = source_of(&cluster, "B", &[], &clock);
    cluster.0.lock().unwrap().topic_ids.clear();
    other.restore(kept).expect("its own positions");
    assert_eq!(drain(other.as_mut()).0, ["3|NULL"]);
    assert_eq!(other.splits()[0].position, json!({"offset": 3, "topicId": "A"}));
}

#[test]
fn a_topic_made_anew_while_it_is_read_is_noticed() {
    for discovery in ["0 s", "1 min"] {
        let cluster = FakeCluster::default();
        cluster.put("t", 0, &["{\"id\":1}"]);
        let clock = Arc::<StepClock>::default();
        let mut source = source_of(&cluster, "A", &[("scan.topic-partition-discovery.interval", discovery)], &clock);
        source.start().expect("begins");
        drain(source.as_mut());
        cluster.0.lock().unwrap().topic_ids = [("t".into(), "B".into())].into();
        drain(source.as_mut());
        clock.now.store(5_000, Ordering::Relaxed);
        let error = source.poll().expect_err("it is another topic").to_string();
        assert!(error.contains("(its id was A, and is B)"), "{error}");
    }
}

#[test]
fn a_topic_made_anew_before_a_bounded_source_ends_is_noticed() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}"]);
    let clock = Arc::<StepClock>::default();
    let begun = || {
        let mut source = source_of(&cluster, "A", &[("scan.bounded.mode", "latest-offset")], &clock);
        source.start().expect("begins");
        assert!(matches!(source.poll().expect("no error"), SourceStatus::Rows(_)));
        source
    };
    let mut source = begun();
    cluster.0.lock().unwrap().topic_ids = [("t".into(), "B".into())].into();
    let error = (0..2).find_map(|_| source.poll().err()).expect("it is another topic").to_string();
    assert!(error.contains("(its id was A, and is B)"), "{error}");
    // Of what was read to its end before nothing is asked: the topic may be gone since.
    let mut source = begun();
    drain(source.as_mut());
    let splits = source.splits();
    let mut source = source_of(&cluster, "B", &[("scan.bounded.mode", "latest-offset")], &clock);
    source.restore(splits).expect("its own positions");
    assert_eq!(drain(source.as_mut()), (vec![], true));
}

#[test]
fn what_is_gone_since_the_checkpoint_is_told_or_left_out() {
    let clock = Arc::<StepClock>::default();
    let position = |name: &str| SplitState {
        name: name.to_owned(),
        position: json!({"offset": 0, "topicId": "A"}),
        finished: false,
    };
    let restored = |options: &[(&str, &str)], names: &[&str]| {
        let cluster = FakeCluster::default();
        cluster.put("t", 0, &["{\"id\":1}"]);
        let mut source = source_of(&cluster, "A", options, &clock);
        source.restore(names.iter().map(|name| position(name)).collect()).expect("positions");
        source
    };
    for (options, names, what) in [
        (&[("topic", "t;u")][..], ["t-0", "u-0"], "topic u, partition 0: it is gone: start the job with a 'topic'"),
        (&[("topic", ""), ("topic-pattern", "[tu]")], ["t-0", "u-0"], "topic u, partition 0: it is gone"),
        (&[("topic", "t")], ["t-0", "t-1"], "topic t, partition 1: it is gone"),
    ] {
        let error = restored(options, &names).poll().expect_err("it is gone").to_string();
        assert!(error.contains(what), "{error}");
    }
    let mut source = restored(&[("topic", "t")], &["t-0", "u-0"]);
    let mut ended = Vec::new();
    let mut read = Vec::new();
    loop {
        match source.poll().expect("no error") {
            SourceStatus::SplitEnded(split) => ended.push(split),
            SourceStatus::Rows(batch) => read.extend(rows(batch.batch.records())),
            SourceStatus::Waiting(_) | SourceStatus::Ended => break,
        }
    }
    assert_eq!((ended, read), (vec![1], vec!["1|NULL".to_owned()]));
    assert!(source.splits()[1].finished);
}

#[test]
fn brokers_that_are_away_fail_a_first_listing_and_no_later_one() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}"]);
    let clock = Arc::<StepClock>::default();
    let away = |is_away: bool| {
        cluster.0.lock().unwrap().listing_fault = is_away.then(|| KafkaFault::new("no answer"));
    };
    let options = [("scan.topic-partition-discovery.interval", "10 s")];
    away(true);
    let mut source = source_of(&cluster, "A", &options, &clock);
    source.start().expect("begins");
    let error = source.poll().expect_err("nothing is known").to_string();
    assert!(error.contains("no answer"), "{error}");
    let mut source = source_of(&cluster, "A", &options, &clock);
    source.restore(Vec::new()).expect("no positions");
    assert!(source.poll().is_err(), "there may be partitions that nobody has read");

    away(false);
    let mut source = source_of(&cluster, "A", &options, &clock);
    source.start().expect("begins");
    assert_eq!(drain(source.as_mut()).0, ["1|NULL"]);
    away(true);
    cluster.put("t", 1, &["{\"id\":2}"]);
    for now in [10_000, 20_000] {
        clock.now.store(now, Ordering::Relaxed);
        assert!(drain(source.as_mut()).0.is_empty());
    }
    away(false);
    clock.now.store(30_000, Ordering::Relaxed);
    assert_eq!(drain(source.as_mut()).0, ["2|NULL"]);
}

#[test]
fn nothing_is_read_before_the_topic_is_known_and_pauses_hold() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}"]);
    cluster.0.lock().unwrap().holds_ids = true;
    let clock = Arc::<StepClock>::default();
    let mut source = source_of(&cluster, "A", &[], &clock);
    let position =
        SplitState { name: "t-0".to_owned(), position: json!({"offset": 0, "topicId": "A"}), finished: false };
    source.restore(vec![position]).expect("its own positions");
    assert!(drain(source.as_mut()).0.is_empty());
    source.pause(0, true);
    cluster.0.lock().unwrap().asked.clear();
    cluster.release();
    assert!(drain(source.as_mut()).0.is_empty());
    assert_eq!(cluster.0.lock().unwrap().asked, ["pause t-0"]);
    source.pause(0, false);
    assert_eq!(drain(source.as_mut()).0, ["1|NULL"]);
}

#[test]
fn an_offset_behind_the_end_is_no_empty_table() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}", "{\"id\":1}"]);
    let clock = Arc::<StepClock>::default();
    let begin = |offset: &str| {
        let at = format!("partition:0,offset:{offset}");
        let options = [
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", at.as_str()),
            ("scan.bounded.mode", "latest-offset"),
        ];
        let mut source = source(&cluster, &spec(&options), &clock);
        source.start().expect("begins");
        source
    };
    assert_eq!(drain(begin("2").as_mut()), (vec![], true));
    let error = begin("3").poll().expect_err("no such offset").to_string();
    let expected = "table t: topic t, partition 0: it ends before offset 2, and 'scan.startup.specific-offsets' begins at offset 3";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn topics_of_the_checkpoint_are_read_on() {
    let cluster = FakeCluster::default();
    cluster.put("old", 0, &["{\"id\":0}", "{\"id\":1}"]);
    let spec = spec(&[("topic", "new"), ("scan.startup.mode", "earliest-offset")]);
    let mut source = source(&cluster, &spec, &Arc::<StepClock>::default());
    let position = SplitState { name: "old-0".to_owned(), position: json!({"offset": 1}), finished: false };
    source.restore(vec![position]).expect("its own position");
    assert_eq!(drain(source.as_mut()).0, ["1|NULL"]);
}

#[test]
fn a_group_without_offsets_needs_to_be_told_where_to_begin() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}"]);
    let clock = Arc::<StepClock>::default();
    let group = ("properties.group.id", "g");
    let mut lost = source(&cluster, &spec(&[group]), &clock);
    lost.start().expect("begins");
    let error = lost.poll().expect_err("no offset").to_string();
    assert!(error.contains("table t: the consumer group g has committed no offset of t-0"), "{error}");
    assert!(error.contains("'properties.auto.offset.reset'"), "{error}");
    let mut found = source(&cluster, &spec(&[group, ("properties.auto.offset.reset", "earliest")]), &clock);
    found.start().expect("begins");
    assert_eq!(drain(found.as_mut()).0, ["0|NULL"]);
    // Who watches the group sees what complete checkpoints hold.
    found.completed(&found.splits());
    assert_eq!(cluster.0.lock().unwrap().group[&FakeCluster::partition("t", 0)], 1);
}

#[test]
fn a_null_where_none_is_taken_is_a_bad_record() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":1}", "{\"id\":null}", "{\"name\":\"a\"}", "{\"id\":2}"]);
    let clock = Arc::<StepClock>::default();
    let of = |errors: (&'static str, &'static str)| {
        let mut table = table(&columns(), &with(&[("scan.startup.mode", "earliest-offset"), errors]));
        table.columns[0].nullable = false;
        let mut source = source(&cluster, &ScanSpec::whole(Arc::new(table)).expect("sound"), &clock);
        source.start().expect("begins");
        source
    };
    let mut skipping = of(("scan.errors", "skip"));
    assert_eq!(drain(skipping.as_mut()).0, ["1|NULL", "2|NULL"]);
    assert_eq!(skipping.errors().skipped_records, 2);
    let error = of(("scan.errors", "fail")).poll().expect_err("the second record").to_string();
    let begin = "table t, topic t, partition 0, offset 1: field id: NULL, but it is declared NOT NULL";
    assert!(error.starts_with(begin), "{error}");
}

#[test]
fn new_partitions_are_found_while_running_and_read_from_their_beginning() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}"]);
    let clock = Arc::<StepClock>::default();
    let spec = spec(&[("scan.startup.mode", "latest-offset"), ("scan.topic-partition-discovery.interval", "10 s")]);
    let mut source = source(&cluster, &spec, &clock);
    source.start().expect("begins");
    assert_eq!(drain(source.as_mut()), (vec![], false));
    cluster.put("t", 1, &["{\"id\":7}"]);
    assert_eq!(drain(source.as_mut()), (vec![], false));
    clock.now.store(10_000, Ordering::Relaxed);
    assert_eq!(drain(source.as_mut()), (vec!["7|NULL".to_owned()], false));
    let names: Vec<String> = source.splits().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["t-0", "t-1"]);
}

#[test]
fn the_lag_of_every_partition_is_known() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}", "{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    cluster.put("t", 1, &["{\"id\":7}"]);
    let spec = spec(&[("scan.startup.mode", "earliest-offset")]);
    let mut source = source(&cluster, &spec, &Arc::<StepClock>::default());
    let lags = source.lags().expect("it knows");
    let records = || lags.all().iter().map(|p| (p.topic.to_string(), p.partition, p.records())).collect::<Vec<_>>();
    source.start().expect("begins");
    assert_eq!((records(), lags.pending()), (vec![], None));
    assert!(matches!(source.poll().expect("no error"), SourceStatus::Rows(_)));
    assert_eq!(records(), [("t".to_owned(), 0, Some(1)), ("t".to_owned(), 1, Some(1))]);
    assert_eq!(lags.pending(), Some(2));
    source.pause(0, true);
    assert_eq!(drain(source.as_mut()).0, ["7|NULL"]);
    assert_eq!(lags.pending(), Some(1), "what stands aside is still to be read");
    source.pause(0, false);
    drain(source.as_mut());
    assert_eq!(lags.pending(), Some(0));
}

/// Where a split stands.
fn offset(source: &dyn Source, split: usize) -> i64 {
    source.splits()[split].position["offset"].as_i64().expect("an offset")
}

#[test]
fn a_paused_partition_stands_in_no_others_way() {
    let cluster = FakeCluster::default();
    let values = |from: usize| (from..from + 7).map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>();
    for (partition, from) in [(0, 10), (1, 20)] {
        cluster.put("t", partition, &values(from).iter().map(String::as_str).collect::<Vec<_>>());
    }
    let spec = spec(&[("scan.startup.mode", "earliest-offset"), ("scan.bounded.mode", "latest-offset")]);
    let clock = Arc::<StepClock>::default();
    let mut source = source(&cluster, &spec, &clock);
    source.start().expect("begins");
    assert!(source.pauses_splits());
    let SourceStatus::Rows(first) = source.poll().expect("no error") else { panic!("rows are there") };
    assert_eq!((first.split, rows(first.batch.records()).len()), (0, 3));
    source.pause(0, true);
    // In the inbox there is more of it before anything of the other.
    let mut others: Vec<String> = (20..27).map(|id| format!("{id}|NULL")).collect();
    assert_eq!(drain(source.as_mut()), (others.clone(), false), "it has not ended");
    assert_eq!((offset(source.as_ref(), 0), offset(source.as_ref(), 1)), (3, 7), "what stands aside was not given");
    assert_eq!(drain(source.as_mut()), (vec![], false));
    // A checkpoint passes it: what was not given is read again.
    let mut restored = super::source(&spec, Arc::new(cluster.clone()), context(0, 1, &clock)).expect("sound options");
    restored.restore(source.splits()).expect("its own positions");
    others = (13..17).map(|id| format!("{id}|NULL")).collect();
    assert_eq!(drain(restored.as_mut()), (others.clone(), true));
    assert!(!source.has_met_end(0) && source.has_met_end(1), "its end stands aside too");
    // It goes on for one block, and waits again, with what is left.
    source.pause(0, false);
    let SourceStatus::Rows(next) = source.poll().expect("no error") else { panic!("rows stand aside") };
    assert_eq!(rows(next.batch.records()), others[..3]);
    source.pause(0, true);
    assert_eq!(drain(source.as_mut()), (vec![], false));
    source.pause(0, false);
    assert_eq!(drain(source.as_mut()), (others[3..].to_vec(), true));
    let asked = cluster.0.lock().unwrap().asked.clone();
    assert_eq!(asked, ["pause t-0"], "a partition that has ended is not read on");
}

#[test]
fn the_reader_goes_on_when_nothing_stands_aside_any_more() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}", "{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    let spec = spec(&[("scan.startup.mode", "earliest-offset")]);
    let mut source = source(&cluster, &spec, &Arc::<StepClock>::default());
    source.start().expect("begins");
    let asked = || cluster.0.lock().unwrap().asked.clone();
    assert!(matches!(source.poll().expect("no error"), SourceStatus::Rows(_)));
    source.pause(0, true);
    assert_eq!(drain(source.as_mut()).0.len(), 0);
    source.pause(0, false);
    assert_eq!(asked(), ["pause t-0"], "a block and the end stand aside");
    assert_eq!(drain(source.as_mut()).0, ["3|NULL"]);
    assert_eq!(asked(), ["pause t-0", "resume t-0"]);
    // Nothing is there: nothing stands aside.
    source.pause(0, true);
    source.pause(0, false);
    assert_eq!(asked(), ["pause t-0", "resume t-0", "pause t-0", "resume t-0"]);
}

#[test]
fn a_record_that_cannot_be_read_fails_is_left_out_or_kept_aside() {
    let cluster = FakeCluster::default();
    cluster.put("t", 0, &["{\"id\":0}", "nonsense", "{\"id\":2}", "{\"id\":\"x\"}", "{\"id\":{}}"]);
    let clock = Arc::<StepClock>::default();
    let bounds = [("scan.startup.mode", "earliest-offset"), ("scan.bounded.mode", "latest-offset")];
    let with_errors = |options: &[(&'static str, &'static str)]| spec(&[&bounds[..], options].concat());
    let mut failing = source(&cluster, &with_errors(&[]), &clock);
    failing.start().expect("begins");
    let error = failing.poll().expect_err("a bad record").to_string();
    assert!(error.starts_with("table t, topic t, partition 0, offset 1: the record is no JSON"), "{error}");
    let mut skipping = source(&cluster, &with_errors(&[("scan.errors", "skip")]), &clock);
    skipping.start().expect("begins");
    assert_eq!(drain(skipping.as_mut()), (vec!["0|NULL".to_owned(), "2|NULL".to_owned()], true));
    assert_eq!(skipping.errors().skipped_records, 3);
    let keep = [("scan.errors", "dead-letter"), ("scan.errors.dead-letter.topic", "dead")];
    cluster.0.lock().unwrap().holds_flushes = true;
    let mut keeping = source(&cluster, &with_errors(&keep), &clock);
    keeping.start().expect("begins");
    assert_eq!(drain(keeping.as_mut()), (vec!["0|NULL".to_owned(), "2|NULL".to_owned()], false));
    assert!(!keeping.splits_known(), "no position may pass a letter that is not acknowledged");
    cluster.release();
    assert_eq!(drain(keeping.as_mut()), (vec![], true));
    assert!(keeping.splits_known());
    let state = cluster.0.lock().unwrap();
    let (_, letters) = &state.sent[0];
    assert_eq!(letters.values.get(0), Some(&b"nonsense"[..]));
    let header = |name: &str| {
        let found = letters.headers[0].iter().find(|(key, _)| key == name).expect("a header");
        String::from_utf8(found.1.clone().expect("a value")).expect("a text")
    };
    assert_eq!(header("streamfleet.offset"), "1");
    assert!(header("streamfleet.reason").contains("no JSON"));
}

#[test]
fn keys_metadata_and_records_without_a_value_become_columns() {
    let cluster = FakeCluster::default();
    cluster.put_keyed("t", 0, "k1", Some("{\"name\":\"a\"}"));
    cluster.put_keyed("t", 0, "k2", None);
    cluster.put_keyed("t", 0, "k3", Some("bad"));
    cluster.put_keyed("t", 0, "k4", Some("{\"name\":\"d\"}"));
    let options = with(&[
        ("scan.startup.mode", "earliest-offset"),
        ("scan.bounded.mode", "latest-offset"),
        ("scan.errors", "skip"),
        ("key.format", "raw"),
        ("key.fields", "k"),
        ("format", ""),
        ("value.format", "json"),
        ("value.fields-include", "EXCEPT_KEY"),
    ]);
    let columns = [
        ("name", DataType::Utf8),
        ("k", DataType::Utf8),
        ("o", DataType::Int64),
        ("p", DataType::Int32),
        ("e", DataType::Int32),
    ];
    let mut described = table(&columns, &options);
    for (index, key) in [(2, "offset"), (3, "partition"), (4, "leader-epoch")] {
        described.columns[index].kind = ColumnKind::Metadata { key: key.to_owned(), is_virtual: true };
    }
    let spec = ScanSpec::whole(Arc::new(described)).expect("a scan");
    let mut plain = source(&cluster, &spec, &Arc::<StepClock>::default());
    plain.start().expect("begins");
    assert_eq!(drain(plain.as_mut()).0, ["a|k1|0|0|NULL", "d|k4|3|0|2"]);
    assert_eq!(plain.errors().skipped_records, 1);
}

fn exactly_once(options: &[(&'static str, &'static str)]) -> SinkSpec {
    let all = [&[("sink.delivery-guarantee", "exactly-once")], options].concat();
    SinkSpec { table: Arc::new(table(&columns(), &with(&all))) }
}

fn batch(ids: &[i64]) -> Batch {
    let names: Vec<String> = ids.iter().map(|i| format!("n{i}")).collect();
    let columns: Vec<(&str, Arc<dyn arrow::array::Array>)> =
        vec![("id", Arc::new(Int64Array::from(ids.to_vec()))), ("name", Arc::new(StringArray::from(names)))];
    Batch::inserts(RecordBatch::try_from_iter(columns).expect("columns of one length"))
}

/// Asks until the rows are taken; the fake answers at once.
fn write(sink: &mut dyn Sink, ids: &[i64]) {
    while sink.write(&batch(ids)).expect("no error") == Flow::More {}
}

#[test]
fn every_epoch_has_a_transaction_of_its_own() {
    let cluster = FakeCluster::default();
    let clock = Arc::<StepClock>::default();
    let shared: Arc<dyn Cluster> = Arc::new(cluster.clone());
    let mut sink = super::sink(&exactly_once(&[]), Arc::clone(&shared), sink_context(&clock)).expect("sound");
    write(sink.as_mut(), &[1, 2]);
    cluster.0.lock().unwrap().holds_flushes = true;
    sink.prepare(Epoch(1)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error"), None);
    assert_eq!(sink.write(&batch(&[3])).expect("no error"), Flow::More, "rows wait for the flush, to keep their order");
    cluster.release();
    let handles = sink.poll_prepared(Epoch(1)).expect("no error").expect("flushed");
    assert_eq!(handles, [json!({"transactionalId": "id-0", "producerId": 7, "producerEpoch": 0})]);
    write(sink.as_mut(), &[3]);
    // Without rows there is nothing to commit, and the producer stays.
    sink.prepare(Epoch(2)).expect("closes");
    let handles = sink.poll_prepared(Epoch(2)).expect("no error").expect("flushed");
    assert_eq!(handles[0]["transactionalId"], "id-1");
    sink.prepare(Epoch(3)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(3)).expect("no error"), Some(vec![]));
    sink.committed(Epoch(1));
    let asked = cluster.0.lock().unwrap().asked.clone();
    let expected = [
        "open 0 streamfleet-uid-3-nonce-op-0-0",
        "open 1 streamfleet-uid-3-nonce-op-0-1",
        "send 0 t 2",
        "open 2 streamfleet-uid-3-nonce-op-0-2",
        "flush 0",
        "send 1 t 1",
        "open 3 streamfleet-uid-3-nonce-op-0-3",
        "flush 1",
        "close 0",
    ];
    assert_eq!(asked, expected);
    write(sink.as_mut(), &[4]);
    cluster.0.lock().unwrap().asked.truncate(expected.len());
    sink.prepare(Epoch(4)).expect("closes");
    assert_eq!(cluster.0.lock().unwrap().asked[expected.len()], "open 4 streamfleet-uid-3-nonce-op-0-0", "a free id");
    sink.poll_prepared(Epoch(4)).expect("no error").expect("flushed");
    cluster.0.lock().unwrap().asked.truncate(expected.len());
    write(sink.as_mut(), &[5]);
    drop(sink);
    let asked = cluster.0.lock().unwrap().asked.clone();
    assert_eq!(asked[expected.len()..], ["send 3 t 1", "abandon 3", "end"], "what no checkpoint names is aborted");

    let committer = super::committer(&exactly_once(&[]), shared).expect("sound");
    let unknown = Arc::new(std::sync::Mutex::new(None));
    let said = Arc::clone(&unknown);
    committer.commit(handles, Box::new(|result| assert_eq!(result, Ok(()))));
    committer.commit(vec![json!({"from": "a"})], Box::new(move |result| *said.lock().unwrap() = Some(result)));
    committer.abandon("uid", Term(4), Box::new(|result| assert_eq!(result, Ok(()))));
    let error = unknown.lock().unwrap().take().expect("answered").expect_err("no handle of Kafka's");
    assert!(error.contains("table t: the checkpoint names output in a form that is not known"), "{error}");
    let asked = cluster.0.lock().unwrap().asked.clone();
    assert_eq!(asked[asked.len() - 2..], ["commit id-1 7 1", "list streamfleet-uid-"]);
}

#[test]
fn transactions_that_were_left_are_told_and_ended() {
    let cluster = FakeCluster::default();
    let id = |name: &str, state: &str| (format!("streamfleet-uid-{name}"), state.to_owned());
    let ids =
        [id("1-a-0", "Ongoing"), id("1-a-1", "CompleteCommit"), id("2-b-0", "PrepareAbort"), id("3-c-0", "Ongoing")];
    cluster.0.lock().unwrap().ids.extend(ids);
    let shared: Arc<dyn super::client::Cluster> = Arc::new(cluster.clone());
    let committer = super::committer(&exactly_once(&[]), shared).expect("sound");
    let asked = || std::mem::take(&mut cluster.0.lock().unwrap().asked);
    for dry_run in [true, false] {
        let done = Box::new(|result: Result<Collected, String>| {
            let lines = ["abort transaction streamfleet-uid-1-a-0", "abort transaction streamfleet-uid-2-b-0"];
            let Collected { removed, kept } = result.expect("told");
            assert_eq!((removed.as_slice(), kept), (lines.map(str::to_owned).as_slice(), 1));
        });
        committer.collect("uid", Term(3), dry_run, done);
        let fenced = ["fence streamfleet-uid-1-a-0", "fence streamfleet-uid-2-b-0"];
        assert_eq!(asked()[1..], fenced[..if dry_run { 0 } else { 2 }]);
    }
    // At a start who may still live is fenced too.
    committer.abandon("uid", Term(2), Box::new(|result| assert_eq!(result, Ok(()))));
    assert_eq!(asked()[1..], ["fence streamfleet-uid-1-a-0", "fence streamfleet-uid-1-a-1"]);
}

#[test]
fn a_transaction_near_its_time_out_is_not_named() {
    let cluster = FakeCluster::default();
    let clock = Arc::<StepClock>::default();
    let mut sink = super::sink(&exactly_once(&[]), Arc::new(cluster.clone()), sink_context(&clock)).expect("sound");
    write(sink.as_mut(), &[1]);
    clock.now.store(230_000, Ordering::Relaxed);
    sink.prepare(Epoch(1)).expect("closes");
    assert!(sink.poll_prepared(Epoch(1)).expect("young enough").is_some());
    write(sink.as_mut(), &[2]);
    sink.prepare(Epoch(2)).expect("closes");
    // The first one is not committed yet, and would be named again.
    clock.now.store(245_000, Ordering::Relaxed);
    let error = sink.poll_prepared(Epoch(2)).expect_err("too old").to_string();
    assert!(error.contains("a transaction has been open for 245 s and may reach its time-out (900 s)"), "{error}");
    sink.committed(Epoch(1));
    assert!(sink.poll_prepared(Epoch(2)).expect("the first one is done").is_some());
}

#[test]
fn a_time_out_that_is_too_short_is_refused() {
    let clock = Arc::<StepClock>::default();
    let spec = exactly_once(&[("properties.transaction.timeout.ms", "600000")]);
    let error = super::sink(&spec, Arc::new(FakeCluster::default()), sink_context(&clock)).err().expect("refused");
    let error = error.to_string();
    assert!(error.contains("'properties.transaction.timeout.ms' = '600000'"), "{error}");
    assert!(error.contains("a transaction may wait 670 s"), "{error}");
    let other = [("properties.security.protocol", "SASL_SSL"), ("properties.sasl.mechanism", "CRAM-MD5")];
    let error = super::sink(&exactly_once(&other), Arc::new(FakeCluster::default()), sink_context(&clock));
    let error = error.err().expect("no client does it").to_string();
    assert!(error.contains("it is not supported: use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"), "{error}");
}

#[test]
fn options_of_flinks_sinks_that_change_nothing_are_taken() {
    let make = |connector: &str, more: &[(&str, &str)]| {
        let all = [&[("connector", connector), ("key.format", "csv"), ("value.format", "json"), ("format", "")], more];
        let mut described = table(&columns(), &with(&all.concat()));
        described.primary_key = vec!["id".to_owned()];
        if connector == "kafka" {
            described.options.insert("key.fields".to_owned(), "id".to_owned());
        }
        let spec = SinkSpec { table: Arc::new(described) };
        let made = super::sink(&spec, Arc::new(FakeCluster::default()), sink_context(&Arc::default()));
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    let (rows, interval) = (("sink.buffer-flush.max-rows", "1000"), ("sink.buffer-flush.interval", "1s"));
    assert_eq!(make("kafka", &[("sink.parallelism", "4")]), Ok(()));
    assert_eq!(make("upsert-kafka", &[("sink.parallelism", "4"), rows, interval]), Ok(()));
    let declared = |descriptor: streamfleet_logical::ConnectorDescriptor| {
        descriptor.options.into_iter().map(|o| o.name).filter(|name| name.starts_with("sink.")).count()
    };
    assert_eq!((declared(super::descriptor()), declared(super::upsert_descriptor())), (4, 5));
    let error = make("upsert-kafka", &[rows]).expect_err("one without the other");
    assert!(error.contains("option 'sink.buffer-flush.max-rows' = '1000': it goes with"), "{error}");
    let error = make("kafka", &[("sink.parallelism", "0")]).expect_err("nobody would write");
    assert!(error.contains("option 'sink.parallelism' = '0'"), "{error}");
}

#[test]
fn at_least_once_writes_through_one_producer_and_waits_for_it() {
    let cluster = FakeCluster::default();
    let clock = Arc::<StepClock>::default();
    let spec = SinkSpec { table: Arc::new(table(&columns(), &with(&[("key.format", "raw"), ("key.fields", "name")]))) };
    let mut sink = super::sink(&spec, Arc::new(cluster.clone()), sink_context(&clock)).expect("sound");
    write(sink.as_mut(), &[1, 2]);
    cluster.0.lock().unwrap().holds_flushes = true;
    sink.prepare(Epoch(1)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error"), None);
    cluster.release();
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error"), Some(vec![]));
    write(sink.as_mut(), &[3]);
    let state = cluster.0.lock().unwrap();
    assert_eq!(state.asked, ["open 0 -", "send 0 t 2", "flush 0", "send 0 t 1"]);
    let (_, block) = &state.sent[0];
    assert_eq!((block.keys.get(1), block.values.get(1)), (Some(&b"n2"[..]), Some(&b"{\"id\":2,\"name\":\"n2\"}"[..])));
}

#[test]
fn without_a_guarantee_the_end_waits_for_what_was_written_too() {
    let cluster = FakeCluster::default();
    let spec = SinkSpec { table: Arc::new(table(&columns(), &with(&[("sink.delivery-guarantee", "none")]))) };
    let mut sink = super::sink(&spec, Arc::new(cluster.clone()), sink_context(&Arc::default())).expect("sound");
    write(sink.as_mut(), &[1]);
    sink.prepare(Epoch(1)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error"), Some(vec![]));
    drop(sink);
    assert_eq!(cluster.0.lock().unwrap().asked, ["open 0 -", "send 0 t 1", "flush 0", "end"]);
}

#[test]
fn the_newest_record_of_a_key_is_the_row() {
    let cluster = FakeCluster::default();
    cluster.put_keyed("t", 0, "1", Some("{\"id\":1,\"name\":\"a\"}"));
    cluster.put_keyed("t", 0, "2", None);
    cluster.put_keyed("t", 0, "3", Some("{\"id\":3,\"name\":\"c\"}"));
    let options = with(&[
        ("connector", "upsert-kafka"),
        ("scan.bounded.mode", "latest-offset"),
        ("key.format", "csv"),
        ("format", ""),
        ("value.format", "json"),
    ]);
    let mut described = table(&columns(), &options);
    described.primary_key = vec!["id".to_owned()];
    let described = Arc::new(described);
    let spec = ScanSpec::whole(Arc::clone(&described)).expect("a scan");
    let mut source = source(&cluster, &spec, &Arc::<StepClock>::default());
    source.start().expect("begins");
    let mut found = Vec::new();
    while let Ok(status) = source.poll() {
        match status {
            SourceStatus::Rows(given) => {
                let kinds = (0..given.batch.rows()).map(|row| given.batch.kind(row).short_name());
                found.extend(kinds.zip(rows(given.batch.records())).map(|(kind, row)| format!("{kind} {row}")));
            }
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Waiting(_) | SourceStatus::Ended => break,
        }
    }
    assert_eq!(found, ["+U 1|a", "-D 2|NULL", "+U 3|c"]);

    let clock = Arc::<StepClock>::default();
    let sink_spec = SinkSpec { table: described };
    let mut sink = super::sink(&sink_spec, Arc::new(cluster.clone()), sink_context(&clock)).expect("sound");
    // The update of 3 leaves its key, that of 5 has lost its second row.
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let kinds = [Insert, UpdateBefore, UpdateAfter, Delete, UpdateBefore, UpdateAfter, UpdateBefore].map(|k| k as i8);
    let changes = Batch::changelog(batch(&[1, 1, 1, 2, 3, 4, 5]).records().clone(), kinds.to_vec().into());
    let changes = changes.expect("seven");
    while sink.write(&changes).expect("no error") == Flow::More {}
    let state = cluster.0.lock().unwrap();
    let block = &state.sent[0].1;
    let value = Some(&b"{\"id\":1,\"name\":\"n1\"}"[..]);
    let record = |index| (block.keys.get(index), block.values.get(index));
    assert_eq!(block.len(), 6);
    assert_eq!(record(0), (Some(&b"1"[..]), value));
    assert_eq!(record(1), (Some(&b"1"[..]), value));
    assert_eq!(record(2), (Some(&b"2"[..]), None));
    assert_eq!(record(3), (Some(&b"3"[..]), None));
    assert_eq!(record(4).0, Some(&b"4"[..]));
    assert!(record(4).1.is_some());
    assert_eq!(record(5), (Some(&b"5"[..]), None));
}

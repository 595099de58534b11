//! Small files that are merged before they show.

use super::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

const UID: &str = "00112233445566aa";

fn compacted(options: &[(&str, &str)]) -> Arc<TableDescriptor> {
    let all = [&[("path", "out"), ("auto-compaction", "true"), ("csv.null-literal", "NULL")], options].concat();
    table(&all)
}

/// One checkpoint of three subtasks with so many rows each, in two partitions if the table has any: its handles.
fn checkpoint(
    storage: &Arc<Memory>,
    table: &Arc<TableDescriptor>,
    epoch: u64,
    counts: [i64; 3],
) -> Vec<serde_json::Value> {
    let clock: Arc<StepClock> = Arc::default();
    let (mut handles, mut first) = (Vec::new(), epoch as i64 * 10_000);
    for (subtask, count) in counts.into_iter().enumerate() {
        let unique = format!("{UID}-1-{epoch:08}-op-{subtask}");
        let context = SinkContext { subtask: subtask as u32, ..sink_context(storage, &clock, &unique) };
        let mut sink = sink(&SinkSpec { table: Arc::clone(table) }, context).expect("a sound table");
        for n in 0..count {
            let mut row = rows(first + n, 1);
            if !table.partitioned_by.is_empty() {
                let mut columns = row.columns().to_vec();
                columns[1] = Arc::new(StringArray::from(vec![["a", "b"][n as usize % 2]]));
                row = RecordBatch::try_new(row.schema(), columns).expect("fits");
            }
            let flow = sink.write(&Batch::inserts(row)).expect("there is room");
            assert_eq!(flow, Flow::Done);
        }
        first += count;
        sink.prepare(Epoch(epoch)).expect("closes");
        handles.extend(sink.poll_prepared(Epoch(epoch)).expect("no error").expect("at once"));
    }
    handles
}

/// The ids of all rows that show, sorted.
fn shown(storage: &Arc<Memory>, table: &Arc<TableDescriptor>) -> Vec<i64> {
    let mut ids = ids(&read(&mut started(source_of(storage, table, 1000))).expect("readable"));
    ids.sort_unstable();
    ids
}

#[test]
fn a_checkpoints_files_become_one_in_every_format() {
    for options in [
        &[("format", "json")][..],
        &[("format", "csv")],
        &[("format", "csv"), ("csv.header", "true")],
        &[("format", "parquet")],
        &[("format", "avro")],
        &[("format", "avro"), ("avro.codec", "deflate")],
    ] {
        let storage = Arc::new(Memory::default());
        let table = compacted(options);
        let handles = checkpoint(&storage, &table, 1, [100, 200, 300]);
        assert_eq!(handles.len(), 3);
        assert!(storage.paths().iter().all(|p| p.starts_with("out/.compaction/part-")), "{:?}", storage.paths());
        for _ in 0..2 {
            commit(&storage, &table, &handles);
            let format = table.option("format").expect("a format");
            assert_eq!(storage.paths(), [format!("out/part-{UID}-1-00000001-op-0-0.{format}")], "{options:?}");
        }
        let batches = read(&mut started(source_of(&storage, &table, 1 << 20))).expect("readable");
        let batches: Vec<RecordBatch> = batches.into_iter().map(|(batch, _)| batch).collect();
        let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema");
        assert_eq!(
            all.columns(),
            rows(10_000, 600).columns(),
            "{options:?}: every row once, in the order of the files"
        );
    }
}

#[test]
fn raw_values_and_large_files_are_merged_too() {
    let storage = Arc::new(Memory::default());
    let mut raw = compacted(&[("format", "raw")]).as_ref().clone();
    raw.columns = vec![raw.columns[1].clone()];
    let raw = Arc::new(raw);
    let clock: Arc<StepClock> = Arc::default();
    let mut handles = Vec::new();
    for subtask in 0..2 {
        let unique = format!("u-{subtask}");
        let mut sink =
            sink(&SinkSpec { table: Arc::clone(&raw) }, sink_context(&storage, &clock, &unique)).expect("sound");
        // More than is copied at once.
        let texts = (subtask * 5_000..(subtask + 1) * 5_000).map(|n| Some(format!("row {n}"))).collect::<StringArray>();
        let batch =
            RecordBatch::try_from_iter_with_nullable([("text", Arc::new(texts) as ArrayRef, true)]).expect("fits");
        assert_eq!(sink.write(&Batch::inserts(batch)).expect("there is room"), Flow::Done);
        sink.prepare(Epoch(1)).expect("closes");
        handles.extend(sink.poll_prepared(Epoch(1)).expect("no error").expect("at once"));
    }
    commit(&storage, &raw, &handles);
    assert_eq!(storage.paths(), ["out/part-u-0-0.raw"]);
    let bytes = storage.objects.lock().expect("one thread")["out/part-u-0-0.raw"].clone();
    let expected: String = (0..10_000).map(|n| format!("row {n}\n")).collect();
    assert!(bytes == expected.as_bytes());
}

#[test]
fn merged_files_have_the_wanted_size_and_belong_to_one_checkpoint_and_partition() {
    let storage = Arc::new(Memory::default());
    let mut table = compacted(&[("format", "json"), ("compaction.file-size", "3 kb")]).as_ref().clone();
    table.partitioned_by = vec!["text".to_owned()];
    let table = Arc::new(table);
    // Two checkpoints are committed together, as after a commit that failed.
    let handles = [checkpoint(&storage, &table, 1, [20, 20, 20]), checkpoint(&storage, &table, 2, [7, 7, 7])].concat();
    let (small, target) = (handles.len(), 3 << 10);
    commit(&storage, &table, &handles);
    let objects = storage.objects.lock().expect("one thread").clone();
    let folders: BTreeSet<&str> = objects.keys().map(|path| path.rsplit_once('/').expect("a folder").0).collect();
    assert!(folders.len() == 2 && small == 12 && objects.len() == 4, "{small} {}", objects.len());
    assert!(objects.values().all(|bytes| bytes.len() <= target));
    assert_eq!(shown(&storage, &table).len(), 81);

    // However much room there is, a file that shows is of one checkpoint.
    let (storage, table) = (Arc::new(Memory::default()), compacted(&[("format", "json")]));
    let handles = [checkpoint(&storage, &table, 2, [7, 7, 7]), checkpoint(&storage, &table, 1, [2, 2, 2])].concat();
    commit(&storage, &table, &handles);
    let of = |epoch: u64| format!("out/part-{UID}-1-{epoch:08}-op-0-0.json");
    assert_eq!(storage.paths(), [of(1), of(2)]);
    let objects = storage.objects.lock().expect("one thread").clone();
    for (epoch, rows) in [(1, 6), (2, 21)] {
        let ids = String::from_utf8(objects[&of(epoch)].clone()).expect("a text");
        assert!(ids.lines().all(|line| line.starts_with(&format!("{{\"id\":{epoch}00"))), "{ids}");
        assert_eq!(ids.lines().count(), rows);
    }

    let (storage, table) =
        (Arc::new(Memory::default()), compacted(&[("format", "json"), ("compaction.file-size", "3 kb")]));
    let handles = checkpoint(&storage, &table, 1, [10, 10, 60]);
    commit(&storage, &table, &handles);
    // The third is larger than that already.
    assert_eq!(storage.paths().len(), 2, "{:?}", storage.paths());
    assert_eq!(shown(&storage, &table).len(), 80);
}

/// Storage that answers nothing any more after so many requests, the last of which took effect or not.
struct Dying {
    storage: Arc<Memory>,
    left: AtomicUsize,
    takes_effect: bool,
}

impl Storage for Dying {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => {}
            1 if self.takes_effect => self.storage.submit(request, Box::new(|_| {})),
            1 => {}
            _ => self.storage.submit(request, done),
        }
    }
}

#[test]
fn whatever_the_step_a_process_dies_at_the_next_one_comes_to_the_same_end() {
    for (format, takes_effect) in [("json", false), ("json", true), ("avro", true), ("parquet", true)] {
        let table = compacted(&[("format", format), ("compaction.file-size", "10 kb")]);
        let expected: Vec<i64> = (10_000..10_120).collect();
        let mut deaths = 0;
        for steps in 1.. {
            let storage = Arc::new(Memory::default());
            let handles = checkpoint(&storage, &table, 1, [30, 60, 30]);
            let dying = Dying { storage: Arc::clone(&storage), left: AtomicUsize::new(steps), takes_effect };
            if try_commit(Arc::new(dying), &table, handles.clone()).is_some() {
                break;
            }
            deaths += 1;
            // Every row that shows does so once.
            let some = if storage.paths().iter().any(|path| path.starts_with("out/part-")) {
                shown(&storage, &table)
            } else {
                Vec::new()
            };
            assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), some.len(), "{format} after {steps} steps");
            commit(&storage, &table, &handles);
            assert_eq!(shown(&storage, &table), expected, "{format} after {steps} steps");
            assert!(storage.paths().iter().all(|path| path.starts_with("out/part-")), "{:?}", storage.paths());
        }
        assert!(deaths > 10, "{format}: {deaths}");
    }
}

#[test]
fn a_partition_is_complete_when_its_merged_files_show() {
    let storage = Arc::new(Memory::default());
    let options = [("format", "json"), ("sink.partition-commit.policy.kind", "success-file")];
    let mut table = compacted(&options).as_ref().clone();
    table.partitioned_by = vec!["text".to_owned()];
    let table = Arc::new(table);
    let handles = checkpoint(&storage, &table, 1, [5, 5, 5]);
    let lost = handles.iter().filter_map(|h| h["small"].as_str()).next_back().expect("a small file").to_owned();
    let bytes = storage.objects.lock().expect("one thread").remove(&lost).expect("sealed");
    let files = || Arc::clone(&storage) as Arc<dyn Storage>;
    let error = try_commit(files(), &table, handles.clone()).expect("answered").expect_err("a file is gone");
    assert!(error.contains(&lost), "{error}");
    assert!(!storage.paths().iter().any(|path| path.ends_with("_SUCCESS")));
    put(&storage, &lost, bytes);
    commit(&storage, &table, &handles);
    let paths = storage.paths();
    let marks = paths.iter().filter(|path| path.ends_with("/_SUCCESS")).count();
    let folders: BTreeSet<&str> = paths.iter().map(|path| path.rsplit_once('/').expect("a folder").0).collect();
    assert_eq!(marks, folders.len());
    assert_eq!(paths.len(), 2 * marks);
}

#[test]
fn files_that_cannot_be_merged_are_told() {
    let storage = Arc::new(Memory::default());
    let table = compacted(&[("format", "avro")]);
    let handles = checkpoint(&storage, &table, 1, [5, 5, 5]);
    let told = |table: &TableDescriptor| {
        let files = Arc::clone(&storage) as Arc<dyn Storage>;
        try_commit(files, table, handles.clone()).expect("answered").expect_err("it cannot be")
    };
    let small = handles[1]["small"].as_str().expect("a path").to_owned();
    let whole = storage.objects.lock().expect("one thread")[&small].clone();
    put(&storage, &small, &whole[..whole.len() - 1]);
    let error = told(&table);
    assert!(error.contains(&small) && error.contains("it is shorter than the checkpoint says"), "{error}");
    let error = told(&compacted(&[("format", "avro"), ("avro.codec", "null")]));
    assert!(error.contains("it does not begin as the table's files do: was the table changed since?"), "{error}");
    let error = told(&compacted(&[("format", "json")]));
    assert!(error.contains(".avro: ") && error.contains("the table's format is 'json' now"), "{error}");
    // Nothing is lost by that.
    put(&storage, &small, whole);
    commit(&storage, &table, &handles);
    assert_eq!(shown(&storage, &table).len(), 15);
}

#[test]
fn small_files_that_a_crash_left_are_removed_before_the_first_checkpoint_is_whole() {
    let storage = Arc::new(Memory::default());
    let own = |term: u32| format!("out/.compaction/part-{UID}-{term}-00000000-op-1-0");
    let other = "out/.compaction/part-00112233445566bb-1-00000000-op-1-0".to_owned();
    [own(1), own(2), own(3), own(4), other.clone()].iter().for_each(|path| put(&storage, path, "x"));
    let clock: Arc<StepClock> = Arc::default();
    // Also if the table's small files are not merged any more.
    let table = table(&[("path", "out"), ("format", "json")]);
    let context = sink_context(&storage, &clock, &format!("{UID}-3-deadbeef-op-0"));
    let mut made = sink(&SinkSpec { table }, context).expect("sound");
    made.prepare(Epoch(1)).expect("closes");
    assert_eq!(made.poll_prepared(Epoch(1)).expect("no error"), Some(Vec::new()));
    assert_eq!(storage.paths(), [own(3), own(4), other]);
}

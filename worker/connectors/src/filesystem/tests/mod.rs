//! Files through source and sink, over a storage in memory.

mod avro;
mod bad_records;
mod compaction;
mod compressed;
mod monitoring;
mod partition_commit;
mod partitions;

use super::source::FileSource;
use super::*;
use crate::testing::StepClock;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimeUnit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_dataflow::{Committer, CommitterContext, Flow, SourceStatus, SplitState};
use streamfleet_env::{
    Clock, Completion, Staged, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest,
};
use streamfleet_logical::{Column, ColumnKind, Position};
use streamfleet_types::{Batch, Epoch};

/// Keeps what is staged under a hidden name, as the local folder does.
#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    is_full: bool,
}

impl Memory {
    fn paths(&self) -> Vec<String> {
        self.objects.lock().expect("one thread").keys().cloned().collect()
    }
}

impl Storage for Memory {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let mut objects = self.objects.lock().expect("one thread");
        let error = |kind, detail: &str| StorageError {
            kind,
            operation: request.name(),
            path: request.path().to_owned(),
            detail: detail.to_owned(),
        };
        let result = match &request {
            StorageRequest::Append { .. } | StorageRequest::Put { .. } if self.is_full => {
                Err(error(StorageErrorKind::Full, "no space left on device"))
            }
            StorageRequest::Append { path, bytes } => {
                objects.entry(staged(path)).or_default().extend_from_slice(bytes);
                Ok(StorageReply::Done)
            }
            StorageRequest::Put { path, bytes } => {
                objects.insert(path.clone(), bytes.clone());
                Ok(StorageReply::Done)
            }
            StorageRequest::Prepare { path } => Ok(StorageReply::Prepared(staged(path))),
            StorageRequest::Seal { path } => match objects.remove(&staged(path)) {
                Some(bytes) => {
                    objects.insert(path.clone(), bytes);
                    Ok(StorageReply::Done)
                }
                None => Err(error(StorageErrorKind::NotFound, "nothing was appended")),
            },
            StorageRequest::Unstage { path } => {
                objects.remove(&staged(path));
                Ok(StorageReply::Done)
            }
            StorageRequest::Get { path, .. } if !objects.contains_key(path) => {
                Err(error(StorageErrorKind::NotFound, "no such file"))
            }
            StorageRequest::Publish { path, token } => match objects.remove(token) {
                Some(bytes) => {
                    objects.insert(path.clone(), bytes);
                    Ok(StorageReply::Done)
                }
                None if objects.contains_key(path) => Ok(StorageReply::Done),
                None => Err(error(StorageErrorKind::NotFound, "no such file")),
            },
            StorageRequest::ListStaged { prefix } => {
                let found = objects.keys().filter(|p| p.starts_with(prefix.as_str()) && p.ends_with(".inprogress"));
                let shown = |token: &String| token.replace("/.", "/").replace(".inprogress", "");
                let found = found.map(|token| Staged { path: shown(token), token: token.clone() });
                Ok(StorageReply::Staged(found.collect()))
            }
            StorageRequest::Discard { token, .. } => {
                objects.remove(token);
                Ok(StorageReply::Done)
            }
            StorageRequest::Get { path, range } => {
                let (bytes, (first, length)) = (&objects[path], range.unwrap_or((0, u64::MAX)));
                let first = (first as usize).min(bytes.len());
                let end = first.saturating_add(length as usize).min(bytes.len());
                Ok(StorageReply::Bytes(bytes[first..end].to_vec()))
            }
            StorageRequest::List { prefix } => {
                let found = objects.iter().filter(|(p, _)| p.starts_with(prefix.as_str()));
                Ok(StorageReply::Paths(found.map(|(p, b)| (p.clone(), b.len() as u64)).collect()))
            }
            StorageRequest::Delete { path } => {
                objects.remove(path);
                Ok(StorageReply::Done)
            }
            _ => Ok(StorageReply::Done),
        };
        drop(objects);
        done(result);
    }
}

fn staged(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').expect("every path has a folder");
    format!("{folder}/.{name}.inprogress")
}

struct NoClock;

impl Clock for NoClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }
}

fn table(options: &[(&str, &str)]) -> Arc<TableDescriptor> {
    let column =
        |name: &str, data_type| Column { name: name.to_owned(), data_type, nullable: true, kind: ColumnKind::Physical };
    Arc::new(TableDescriptor {
        name: "t".to_owned(),
        columns: vec![
            column("id", DataType::Int64),
            column("text", DataType::Utf8),
            column("amount", DataType::Float64),
            column("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ],
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        position: Position::default(),
    })
}

fn source_of(storage: &Arc<Memory>, table: &Arc<TableDescriptor>, chunk_bytes: u64) -> FileSource {
    let spec = ScanSpec::whole(Arc::clone(table)).expect("names differ");
    let context = SourceContext {
        files: Arc::clone(storage) as Arc<dyn Storage>,
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        batch_mode: false,
        unique: "u".to_owned(),
    };
    FileSource::new(&spec, context).expect("a sound table").with_chunk_bytes(chunk_bytes)
}

/// Every batch, with where the splits stand after it.
fn read(source: &mut FileSource) -> Result<Vec<(RecordBatch, Vec<SplitState>)>, DataflowError> {
    use streamfleet_dataflow::Source;
    let mut batches = Vec::new();
    for _ in 0..100_000 {
        match source.poll()? {
            SourceStatus::Rows(rows) => batches.push((rows.batch.records().clone(), source.splits())),
            SourceStatus::Ended => return Ok(batches),
            SourceStatus::Waiting(_) | SourceStatus::SplitEnded(_) => {}
        }
    }
    panic!("the source does not end");
}

fn rows(first: i64, count: i64) -> RecordBatch {
    let ids = first..first + count;
    let text = |n: i64| (n % 5 != 0).then(|| format!("row {n}, \"quoted\"\nand more"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(ids.clone().map(text).collect::<StringArray>()),
        Arc::new(ids.clone().map(|n| (n % 7 != 0).then_some(n as f64 / 4.0)).collect::<Float64Array>()),
        Arc::new(ids.map(|n| (n % 3 != 0).then_some(n * 250)).collect::<TimestampMillisecondArray>()),
    ];
    let names = ["id", "text", "amount", "ts"];
    RecordBatch::try_from_iter_with_nullable(names.into_iter().zip(columns).map(|(n, c)| (n, c, true))).expect("fits")
}

/// Writes batches through a sink and gives the handles of its one epoch.
fn write(storage: &Arc<Memory>, table: &Arc<TableDescriptor>, batches: &[RecordBatch]) -> Vec<serde_json::Value> {
    let context = SinkContext {
        checkpoint_interval: Duration::from_secs(1),
        commit_within: Duration::from_secs(60),
        files: Arc::clone(storage) as Arc<dyn Storage>,
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        unique: "u".to_owned(),
    };
    let mut sink = sink(&SinkSpec { table: Arc::clone(table) }, context).expect("a sound table");
    for batch in batches {
        assert_eq!(sink.write(&Batch::inserts(batch.clone())).expect("there is room"), Flow::Done);
    }
    sink.prepare(Epoch(1)).expect("closes");
    sink.poll_prepared(Epoch(1)).expect("no error").expect("storage answers at once")
}

fn commit(storage: &Arc<Memory>, table: &TableDescriptor, handles: &[serde_json::Value]) {
    let files = Arc::clone(storage) as Arc<dyn Storage>;
    try_commit(files, table, handles.to_vec()).expect("answered").expect("committed");
}

/// What the committer of a new process comes to; `None` if storage never answers.
fn try_commit(
    files: Arc<dyn Storage>,
    table: &TableDescriptor,
    handles: Vec<serde_json::Value>,
) -> Option<Result<(), String>> {
    let result = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&result);
    let done = Box::new(move |result| *answer.lock().expect("one thread") = Some(result));
    FileCommitter::new(table, CommitterContext { files }).commit(handles, done);
    result.lock().expect("one thread").take()
}

fn ids(batches: &[(RecordBatch, Vec<SplitState>)]) -> Vec<i64> {
    let of =
        |(batch, _): &(RecordBatch, Vec<SplitState>)| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of).collect()
}

#[test]
fn what_is_written_is_read_back_in_every_format_and_from_every_position() {
    use streamfleet_dataflow::Source;
    for format in ["json", "csv", "parquet", "avro"] {
        let storage = Arc::new(Memory::default());
        let table = table(&[("path", "out"), ("format", format), ("csv.null-literal", "NULL")]);
        let handles = write(&storage, &table, &[rows(0, 300), rows(300, 200)]);
        assert!(storage.paths().iter().all(|p| p.contains("/.")), "{format}: nothing shows before the commit");
        assert!(
            read(&mut {
                let mut s = source_of(&storage, &table, 64);
                s.start().expect("starts");
                s
            })
            .is_err()
        );
        commit(&storage, &table, &handles);
        commit(&storage, &table, &handles);
        assert_eq!(storage.paths(), [format!("out/part-u-0.{format}")]);

        for chunk_bytes in [61, 1 << 20] {
            let mut source = source_of(&storage, &table, chunk_bytes);
            source.start().expect("starts");
            assert!(!source.splits_known() || source.splits().is_empty());
            let batches = read(&mut source).expect("readable");
            let read_back: Vec<RecordBatch> = batches.iter().map(|(b, _)| b.clone()).collect();
            let all = arrow::compute::concat_batches(&read_back[0].schema(), &read_back).expect("one schema");
            for (column, expected) in all.columns().iter().zip(rows(0, 500).columns()) {
                assert_eq!(column, expected, "{format}, chunks of {chunk_bytes}");
            }
            // Going on from any position gives exactly the rest.
            let step = (batches.len() / 20).max(1);
            for (index, (_, splits)) in batches.iter().enumerate().step_by(step) {
                let mut again = source_of(&storage, &table, chunk_bytes);
                again.restore(splits.clone()).expect("its own positions");
                let rest = read(&mut again).expect("readable");
                assert_eq!(ids(&rest), ids(&batches[index + 1..]), "{format} from batch {index}");
            }
        }
    }
}

#[test]
fn a_missing_file_and_a_missing_column_are_named() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    let missing = table(&[("path", "nowhere"), ("format", "json")]);
    let mut source = source_of(&storage, &missing, 1 << 20);
    source.start().expect("starts");
    let error = read(&mut source).expect_err("no file").to_string();
    assert!(
        error.starts_with("table t: there is no file at nowhere, or the folder holds none: check the option 'path'"),
        "{error}"
    );

    let written = table(&[("path", "out"), ("format", "parquet")]);
    let handles = write(&storage, &written, &[rows(0, 10)]);
    commit(&storage, &written, &handles);
    let mut other = written.as_ref().clone();
    other.columns[1].name = "texts".to_owned();
    let mut source = source_of(&storage, &Arc::new(other), 1 << 20);
    source.start().expect("starts");
    let error = read(&mut source).expect_err("no such column").to_string();
    assert_eq!(error, "out/part-u-0.parquet: no column `texts`; the file has id, text, amount, ts");
}

#[test]
fn a_damaged_parquet_file_never_breaks_the_job_down() {
    let storage = Arc::new(Memory::default());
    let written = table(&[("path", "out"), ("format", "parquet")]);
    let handles = write(&storage, &written, &[rows(0, 10)]);
    commit(&storage, &written, &handles);
    let path = "out/part-u-0.parquet";
    let good = storage.objects.lock().expect("one thread")[path].clone();
    let mut refused = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x41;
        put(&storage, path, bytes);
        // What a flipped bit of a value gives is a value: the file has no checksum of its own.
        let mut source = started(source_of(&storage, &written, 1 << 20));
        if let Err(error) = read(&mut source) {
            assert!(error.to_string().starts_with(path), "{error}");
            refused += 1;
        }
    }
    assert!(refused > good.len() / 4, "{refused} of {}", good.len());
}

#[test]
fn large_parts_are_rolled_and_belong_to_the_epoch_of_their_rows() {
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "out"), ("format", "json"), ("sink.rolling-policy.file-size", "1 mb")]);
    let context = SinkContext {
        checkpoint_interval: Duration::from_secs(1),
        commit_within: Duration::from_secs(60),
        files: Arc::clone(&storage) as Arc<dyn Storage>,
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        unique: "u".to_owned(),
    };
    let mut sink = sink(&SinkSpec { table: Arc::clone(&table) }, context).expect("a sound table");
    let mut write = |count: i64| {
        for n in 0..count {
            assert_eq!(sink.write(&Batch::inserts(rows(n * 8000, 8000))).expect("there is room"), Flow::Done);
        }
    };
    write(3);
    sink.prepare(Epoch(1)).expect("closes");
    // Rows behind the barrier fill whole parts before the first epoch is asked for.
    let mut write = |count: i64| {
        for n in 0..count {
            assert_eq!(sink.write(&Batch::inserts(rows(n * 8000, 8000))).expect("there is room"), Flow::Done);
        }
    };
    write(5);
    let first = sink.poll_prepared(Epoch(1)).expect("no error").expect("storage answers at once");
    sink.prepare(Epoch(2)).expect("closes");
    let second = sink.poll_prepared(Epoch(2)).expect("no error").expect("storage answers at once");
    assert!(first.len() > 1 && second.len() > 1);
    commit(&storage, &table, &first);
    let shown: usize = {
        let objects = storage.objects.lock().expect("one thread");
        let shown = objects.iter().filter(|(p, _)| !p.contains("/."));
        shown.map(|(_, b)| b.iter().filter(|b| **b == b'\n').count()).sum()
    };
    assert_eq!(shown, 3 * 8000, "exactly the rows before the first barrier");
}

#[test]
fn a_full_disk_is_told() {
    let storage = Arc::new(Memory { is_full: true, ..Memory::default() });
    let table = table(&[("path", "out"), ("format", "json")]);
    let context = SinkContext {
        checkpoint_interval: Duration::from_secs(1),
        commit_within: Duration::from_secs(60),
        files: storage,
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        unique: "u".to_owned(),
    };
    let mut sink = sink(&SinkSpec { table }, context).expect("a sound table");
    let flow = sink.write(&Batch::inserts(rows(0, 10))).expect("rows are only collected");
    assert_eq!(flow, Flow::Done);
    sink.prepare(Epoch(1)).expect("asks");
    let error = sink.poll_prepared(Epoch(1)).expect_err("the disk is full").to_string();
    assert!(error.contains("no space left on device (free some space and start the job again"), "{error}");
}

fn sink_context(storage: &Arc<Memory>, clock: &Arc<StepClock>, unique: &str) -> SinkContext {
    SinkContext {
        checkpoint_interval: Duration::from_secs(1),
        commit_within: Duration::from_secs(60),
        files: Arc::clone(storage) as Arc<dyn Storage>,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        unique: unique.to_owned(),
    }
}

fn put(storage: &Memory, path: &str, bytes: impl Into<Vec<u8>>) {
    storage.objects.lock().expect("one thread").insert(path.to_owned(), bytes.into());
}

fn subtask_of(
    storage: &Arc<Memory>,
    table: &Arc<TableDescriptor>,
    read: &[usize],
    (subtask, parallelism): (u32, u32),
) -> FileSource {
    let mut spec = ScanSpec::whole(Arc::clone(table)).expect("names differ");
    spec.read = read.to_vec();
    let context = SourceContext {
        files: Arc::clone(storage) as Arc<dyn Storage>,
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask,
        parallelism,
        batch_mode: false,
        unique: "u".to_owned(),
    };
    FileSource::new(&spec, context).expect("a sound table")
}

fn started(mut source: FileSource) -> FileSource {
    use streamfleet_dataflow::Source;
    source.start().expect("starts");
    source
}

#[test]
fn wanted_columns_need_not_be_the_first_ones() {
    for format in ["json", "csv", "parquet", "avro"] {
        let storage = Arc::new(Memory::default());
        let table = table(&[("path", "out"), ("format", format), ("csv.null-literal", "NULL")]);
        let handles = write(&storage, &table, &[rows(0, 50)]);
        commit(&storage, &table, &handles);
        for wanted in [&[1, 3][..], &[3, 0], &[2]] {
            let batches = read(&mut started(subtask_of(&storage, &table, wanted, (0, 1)))).expect("readable");
            assert_eq!(batches.len(), 1, "{format}");
            let expected = rows(0, 50).project(wanted).expect("there are four columns");
            assert_eq!(batches[0].0.columns(), expected.columns(), "{format}, columns {wanted:?}");
        }
    }
}

#[test]
fn each_file_has_one_owner_though_the_listings_differ() {
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "in"), ("format", "json")]);
    for n in 10..30 {
        put(&storage, &format!("in/{n}"), format!("{{\"id\":{n}}}\n"));
    }
    let mut all = Vec::new();
    for subtask in 0..3 {
        all.extend(ids(&read(&mut started(subtask_of(&storage, &table, &[0], (subtask, 3)))).expect("readable")));
        // In front of all others: it would shift every file by one.
        put(&storage, &format!("in/0{subtask}"), "{\"id\":0}\n");
    }
    all.retain(|id| *id != 0);
    all.sort_unstable();
    assert_eq!(all, (10..30).collect::<Vec<_>>());
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "in"), ("format", "json")]);
    let lines = |ids: std::ops::Range<i64>| ids.map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>();
    put(&storage, "in/a", lines(10..50));
    let mut source = started(source_of(&storage, &table, 100));
    // One poll takes the listing and begins; then a writer appends, and is in the middle of a record.
    assert!(matches!(source.poll().expect("begins"), SourceStatus::Waiting(_)));
    put(&storage, "in/a", format!("{}{{\"id\":", lines(10..50)));
    let batches = read(&mut source).expect("no torn record");
    assert_eq!(ids(&batches), (10..50).collect::<Vec<_>>());
    // Nor is it read after a restore.
    let mut again = source_of(&storage, &table, 100);
    again.restore(batches[0].1.clone()).expect("its own positions");
    assert_eq!(ids(&read(&mut again).expect("no torn record")), ids(&batches[1..]));

    put(&storage, "in/a", lines(10..50));
    let mut source = started(source_of(&storage, &table, 100));
    assert!(matches!(source.poll().expect("begins"), SourceStatus::Waiting(_)));
    put(&storage, "in/a", &lines(10..50).as_bytes()[..130]);
    let error = read(&mut source).expect_err("it shrank").to_string();
    let expected =
        "in/a, byte 100: 30 bytes came where 100 were listed: the file of 400 bytes changed while it was read";
    assert_eq!(error, expected);
}

#[test]
fn a_restore_misses_only_files_that_are_not_finished() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "in"), ("format", "json")]);
    let state = |finished| SplitState { name: "in/a".to_owned(), position: serde_json::Value::Null, finished };
    let mut source = source_of(&storage, &table, 100);
    source.restore(vec![state(true)]).expect("restores");
    assert_eq!(read(&mut source).expect("nothing is left to read").len(), 0);
    for other in [None, Some("in/b")] {
        if let Some(path) = other {
            put(&storage, path, "{\"id\":1}\n");
        }
        let mut source = source_of(&storage, &table, 100);
        source.restore(vec![state(false)]).expect("restores");
        let error = read(&mut source).expect_err("it is gone").to_string();
        assert_eq!(error, "table t: the file in/a is gone that the checkpoint stopped in");
    }
}

#[test]
fn other_storage_and_types_that_no_format_reads_are_refused_when_built() {
    let error = path_of(&table(&[("path", "hdfs://host/in")])).expect_err("no such storage").to_string();
    assert!(error.contains("files are read and written under file:// and s3://, not hdfs://"), "{error}");
    for path in ["s3://bucket", "s3://bucket/", "s3:///in"] {
        let error = path_of(&table(&[("path", path)])).expect_err("no folder").to_string();
        assert!(error.contains("a bucket and a folder in it are needed: s3://bucket/folder"), "{error}");
    }
    assert_eq!(path_of(&table(&[("path", "s3a://bucket/in/")])).expect("on S3"), "s3://bucket/in");
    assert_eq!(path_of(&table(&[("path", "file:///tmp/in/")])).expect("local"), "/tmp/in");
    let mut nested = table(&[("path", "in"), ("format", "csv")]).as_ref().clone();
    let list = |of| DataType::List(Arc::new(arrow::datatypes::Field::new("element", of, true)));
    nested.columns[1].data_type = list(list(DataType::Int64));
    let spec = ScanSpec::whole(Arc::new(nested)).expect("names differ");
    let context = SourceContext {
        files: Arc::new(Memory::default()),
        clock: Arc::new(NoClock),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        batch_mode: false,
        unique: "u".to_owned(),
    };
    let error = FileSource::new(&spec, context).err().expect("refused").to_string();
    assert!(error.starts_with("table t: not supported: column text of type ARRAY<ARRAY<BIGINT>> in format"), "{error}");
}

#[test]
fn an_old_part_is_followed_by_another() {
    let storage = Arc::new(Memory::default());
    let table = table(&[
        ("path", "out"),
        ("format", "json"),
        ("sink.rolling-policy.rollover-interval", "10 s"),
        ("sink.rolling-policy.check-interval", "4 s"),
    ]);
    let clock: Arc<StepClock> = Arc::default();
    let mut sink = sink(&SinkSpec { table: Arc::clone(&table) }, sink_context(&storage, &clock, "u")).expect("sound");
    for (now, parts) in [(0, 1), (9_000, 1), (12_000, 1), (13_000, 2), (22_000, 2), (27_000, 3)] {
        clock.now.store(now, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(sink.write(&Batch::inserts(rows(0, 8000))).expect("there is room"), Flow::Done);
        let begun: std::collections::BTreeSet<String> = storage.paths().into_iter().collect();
        assert!(begun.len() == parts || begun.len() + 1 == parts, "at {now}: {begun:?}");
    }
    sink.prepare(Epoch(1)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error").expect("at once").len(), 3);
    let bytes: usize = storage.objects.lock().expect("one thread").values().map(Vec::len).sum();
    assert_eq!(sink.written_bytes(), bytes as u64);
}

#[test]
fn a_part_that_got_no_rows_for_long_is_followed_by_another() {
    let storage = Arc::new(Memory::default());
    let options = [("sink.rolling-policy.inactivity-interval", "10 s"), ("sink.rolling-policy.check-interval", "1 s")];
    let table = table(&[&[("path", "out"), ("format", "json")], &options[..]].concat());
    let clock: Arc<StepClock> = Arc::default();
    let mut sink = sink(&SinkSpec { table }, sink_context(&storage, &clock, "u")).expect("sound");
    for now in [0, 9_000, 18_000, 27_000, 38_000] {
        clock.now.store(now, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(sink.write(&Batch::inserts(rows(0, 10))).expect("there is room"), Flow::Done);
    }
    sink.prepare(Epoch(1)).expect("closes");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error").expect("at once").len(), 2);
}

#[test]
fn parts_that_a_crash_left_are_removed_if_they_are_the_jobs_own() {
    let clock: Arc<StepClock> = Arc::default();
    let (uid, other) = ("00112233445566aa", "00112233445566bb");
    let table = table(&[("path", "out"), ("format", "json")]);
    let storage = Arc::new(Memory::default());
    let own = |term: u32| format!("out/dt=1/.part-{uid}-{term}-00000000-op-1-0.json.inprogress");
    let kept = [
        own(3),
        own(4),
        format!("out/.part-{other}-1-00000000-op-0-0.json.inprogress"),
        format!("out/part-{uid}-1-00000000-op-0-0.json"),
        format!("out2/.part-{uid}-1-00000000-op-0-0.json.inprogress"),
    ];
    kept.iter().chain(&[own(1), own(2)]).for_each(|path| put(&storage, path, "x"));
    let context = sink_context(&storage, &clock, &format!("{uid}-3-deadbeef-op-0"));
    let mut made = sink(&SinkSpec { table: Arc::clone(&table) }, context).expect("sound");
    made.prepare(Epoch(1)).expect("closes");
    made.poll_prepared(Epoch(1)).expect("cleaning fails nothing");
    let mut expected = kept.to_vec();
    expected.sort();
    assert_eq!(storage.paths(), expected);
    // Another subtask leaves the work to the first.
    put(&storage, &own(1), "x");
    let context = SinkContext { subtask: 1, ..sink_context(&storage, &clock, &format!("{uid}-3-deadbeef-op-1")) };
    let mut made = sink(&SinkSpec { table }, context).expect("sound");
    made.prepare(Epoch(1)).expect("closes");
    made.poll_prepared(Epoch(1)).expect("no error");
    assert!(storage.paths().contains(&own(1)));
}

//! Files through source and sink, over a storage in memory.

use super::source::FileSource;
use super::*;
use crate::testing::StepClock;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimeUnit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_dataflow::{Flow, SourceStatus, SplitState};
use streamfleet_env::{Clock, Completion, Storage, StorageError, StorageErrorKind, StorageReply};
use streamfleet_logical::{Column, ColumnKind, Position};
use streamfleet_types::{Batch, Epoch};

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
            StorageRequest::Append { .. } if self.is_full => {
                Err(error(StorageErrorKind::Full, "no space left on device"))
            }
            StorageRequest::Append { path, bytes } => {
                objects.entry(path.clone()).or_default().extend_from_slice(bytes);
                Ok(StorageReply::Done)
            }
            StorageRequest::Publish { from, to } => match objects.remove(from) {
                Some(bytes) => {
                    objects.insert(to.clone(), bytes);
                    Ok(StorageReply::Done)
                }
                None if objects.contains_key(to) => Ok(StorageReply::Done),
                None => Err(error(StorageErrorKind::NotFound, "no such file")),
            },
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
            StorageRequest::Seal { .. } if self.is_full => {
                Err(error(StorageErrorKind::Full, "no space left on device"))
            }
            _ => Ok(StorageReply::Done),
        };
        drop(objects);
        done(result);
    }
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

fn commit(storage: &Memory, table: &TableDescriptor, handles: &[serde_json::Value]) {
    for request in handles.iter().flat_map(|h| commit_requests(table, h).expect("its own handle")) {
        storage.submit(request, Box::new(|result| assert!(result.is_ok())));
    }
}

fn ids(batches: &[(RecordBatch, Vec<SplitState>)]) -> Vec<i64> {
    let of =
        |(batch, _): &(RecordBatch, Vec<SplitState>)| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of).collect()
}

#[test]
fn what_is_written_is_read_back_in_every_format_and_from_every_position() {
    use streamfleet_dataflow::Source;
    for format in ["json", "csv", "parquet"] {
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
fn a_bad_record_fails_with_its_place_or_is_skipped() {
    use streamfleet_dataflow::Source;
    let cases = [
        ("json", "{\"id\":1}\n{\"id\":\"x\"}\n{\"id\":3}\n", "in/a, line 2, byte 9: field id: `x` is no Int64"),
        (
            "json",
            "{\"id\":1}\n\n not json\n{\"id\":3}\n",
            "in/a, line 3, byte 10: the line is no JSON: no JSON value at column 1",
        ),
        (
            "json",
            "{\"id\":1}\n{\"id\":2,\"x\":\"\u{1}",
            "in/a, line 2, byte 9: the line is no JSON: a string without its closing quote",
        ),
        ("csv", "1,a,,\nx,b,,\n3,c,,\n", "in/a, line 2, byte 6: field id: `x` is no Int64"),
        ("csv", "1,\"a\nb\",,\n2\n3,c,,\n", "in/a, line 3, byte 10: 1 fields, expected 4"),
    ];
    for (format, text, expected) in cases {
        let storage = Arc::new(Memory::default());
        storage.objects.lock().expect("one thread").insert("in/a".to_owned(), text.as_bytes().to_vec());
        let failing = table(&[("path", "in"), ("format", format)]);
        let mut source = source_of(&storage, &failing, 1 << 20);
        source.start().expect("starts");
        let error = read(&mut source).expect_err("a bad record").to_string();
        assert!(error.starts_with(expected) && error.contains("'scan.errors' = 'skip'"), "{error}");
        let skipping = table(&[("path", "in"), ("format", format), ("scan.errors", "skip")]);
        let mut source = source_of(&storage, &skipping, 1 << 20);
        source.start().expect("starts");
        let good = ids(&read(&mut source).expect("skips"));
        assert!(good.starts_with(&[1]) && good.len() == text.matches(['1', '3']).count().min(2), "{good:?}");
        assert_eq!(source.errors().skipped_records, 1);
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
    assert!(error.starts_with("table t: there is no file at nowhere: check the option 'path'"), "{error}");

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
fn large_parts_are_rolled_and_belong_to_the_epoch_of_their_rows() {
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "out"), ("format", "json"), ("sink.rolling-policy.file-size", "1 mb")]);
    let context = SinkContext {
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
    for format in ["json", "csv", "parquet"] {
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
fn good_records_behind_a_batch_of_bad_ones_are_read() {
    use streamfleet_dataflow::Source;
    for (format, bad, good) in [("json", "{\"id\":\"x\"}\n", "{\"id\":7}\n"), ("csv", "x,a,,\n", "7,a,,\n")] {
        let storage = Arc::new(Memory::default());
        put(&storage, "in/a", format!("{}{good}{bad}{good}", bad.repeat(20_000)));
        let table = table(&[("path", "in"), ("format", format), ("scan.errors", "skip")]);
        for chunk_bytes in [1000, 1 << 20] {
            let mut source = started(source_of(&storage, &table, chunk_bytes));
            assert_eq!(ids(&read(&mut source).expect("skips")), [7, 7], "{format}, chunks of {chunk_bytes}");
            assert_eq!(source.errors().skipped_records, 20_001);
        }
    }
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
    let error = path_of(&table(&[("path", "s3://bucket/in")])).expect_err("no such storage").to_string();
    assert!(error.contains("files are read and written under file://, not s3://"), "{error}");
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
    assert!(error.starts_with("table t: not supported: column text of type List"), "{error}");
}

/// The texts of the files that a storage holds below a folder.
fn texts(storage: &Memory, folder: &str) -> Vec<(String, String)> {
    let objects = storage.objects.lock().expect("one thread");
    let below = objects.iter().filter(|(path, _)| path.starts_with(folder));
    below.map(|(path, bytes)| (path.clone(), String::from_utf8_lossy(bytes).into_owned())).collect()
}

#[test]
fn ignored_errors_make_fields_null_and_leave_records_out() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", "{\"id\":1,\"amount\":\"much\"}\nnot json\n{\"id\":\"3\"}\n");
    let table = table(&[("path", "in"), ("format", "json"), ("json.ignore-parse-errors", "true")]);
    let mut source = started(source_of(&storage, &table, 1 << 20));
    assert_eq!(ids(&read(&mut source).expect("ignores")), [1, 3]);
    let errors = source.errors();
    assert_eq!((errors.skipped_records, errors.dead_letters, errors.nulled_fields), (1, 0, 1));
}

#[test]
fn records_that_cannot_be_read_are_kept_aside() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", b"{\"id\":1}\nnot json\n{\"id\":2}\n{\"id\":\"\xff\"}\n".to_vec());
    let options =
        [("path", "in"), ("format", "json"), ("scan.errors", "dead-letter"), ("scan.errors.dead-letter.path", "dead/")];
    for chunk_bytes in [5, 1 << 20] {
        let mut source = started(source_of(&storage, &table(&options), chunk_bytes));
        assert_eq!(ids(&read(&mut source).expect("keeps aside")), [1, 2]);
        assert_eq!((source.errors().skipped_records, source.errors().dead_letters), (2, 2));
        assert!(source.splits_known());
        let kept = storage.objects.lock().expect("one thread").remove("dead/dead-letters-u.jsonl").expect("kept");
        let kept: Vec<serde_json::Value> =
            String::from_utf8(kept).expect("text").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(kept.len(), 2);
        assert_eq!(
            kept[0],
            serde_json::json!({"table": "t", "file": "in/a", "line": 2, "byte": 9, "text": "not json",
                "reason": "the line is no JSON: no JSON value at column 1"})
        );
        assert_eq!(kept[1]["base64"], "eyJpZCI6Iv8ifQo=");
        assert_eq!((&kept[1]["line"], &kept[1]["byte"]), (&4.into(), &27.into()));
    }
}

#[test]
fn no_checkpoint_passes_a_dead_letter_that_is_not_durable() {
    use streamfleet_dataflow::Source;
    let full = Arc::new(Memory { is_full: true, ..Memory::default() });
    put(&full, "in/a", "not json\n{\"id\":2}\n");
    let options =
        [("path", "in"), ("format", "json"), ("scan.errors", "dead-letter"), ("scan.errors.dead-letter.path", "dead")];
    let mut source = started(source_of(&full, &table(&options), 1 << 20));
    assert!(source.splits_known() || source.splits().is_empty());
    let error = loop {
        match source.poll() {
            Ok(SourceStatus::Ended) => panic!("the dead letter is lost"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.starts_with("table t: cannot append dead/dead-letters-u.jsonl: no space left"), "{error}");
    assert!(!source.splits_known(), "its position must not be kept");
}

/// A storage that answers appends only when it is told to.
#[derive(Default)]
struct Slow {
    memory: Memory,
    held: Mutex<Vec<(StorageRequest, Completion)>>,
}

impl Slow {
    fn answer(&self) {
        let held = std::mem::take(&mut *self.held.lock().expect("one thread"));
        held.into_iter().for_each(|(request, done)| self.memory.submit(request, done));
    }
}

impl Storage for Slow {
    fn submit(&self, request: StorageRequest, done: Completion) {
        if matches!(request, StorageRequest::Append { .. } | StorageRequest::Seal { .. }) {
            self.held.lock().expect("one thread").push((request, done));
        } else {
            self.memory.submit(request, done);
        }
    }
}

#[test]
fn a_source_ends_only_when_its_dead_letters_are_durable() {
    use streamfleet_dataflow::Source;
    for is_full in [false, true] {
        let slow = Arc::new(Slow { memory: Memory { is_full, ..Memory::default() }, ..Slow::default() });
        put(&slow.memory, "in/a", "{\"id\":1}\nnot json\n");
        let table = table(&[
            ("path", "in"),
            ("format", "json"),
            ("scan.errors", "dead-letter"),
            ("scan.errors.dead-letter.path", "dead"),
        ]);
        let spec = ScanSpec::whole(table).expect("names differ");
        let clock: Arc<StepClock> = Arc::default();
        let files = Arc::clone(&slow) as Arc<dyn Storage>;
        let context = SourceContext { files, ..crate::testing::context(0, 1, &clock) };
        let mut source = started(FileSource::new(&spec, context).expect("sound"));
        let mut found: Vec<i64> = Vec::new();
        for _ in 0..10 {
            match source.poll().expect("nothing failed yet") {
                SourceStatus::Rows(rows) => {
                    found.extend(rows.batch.records().column(0).as_primitive::<Int64Type>().values())
                }
                SourceStatus::Ended => panic!("a dead letter is under way"),
                SourceStatus::Waiting(_) | SourceStatus::SplitEnded(_) => {}
            }
        }
        assert_eq!(found, [1]);
        assert!(!source.splits_known());
        slow.answer();
        assert_eq!(source.splits_known(), !is_full);
        assert_eq!(matches!(source.poll(), Ok(SourceStatus::Ended)), !is_full);
        assert_eq!(source.poll().is_err(), is_full);
    }
}

#[test]
fn options_that_contradict_one_another_are_refused() {
    let refused = |options: &[(&str, &str)]| {
        let mut all = vec![("path", "in"), ("format", "json")];
        all.extend(options);
        let spec = ScanSpec::whole(table(&all)).expect("names differ");
        let clock: Arc<StepClock> = Arc::default();
        source(&spec, crate::testing::context(0, 1, &clock)).err().expect("refused").to_string()
    };
    let path = "scan.errors.dead-letter.path";
    for (options, expected) in [
        (&[("scan.errors", "dead-letter")][..], "needs a folder to keep the records in"),
        (&[(path, "dead")], "it needs 'scan.errors' = 'dead-letter'"),
        (&[("scan.errors", "dead-letter"), (path, "in/dead")], "lies in the table's own"),
        (&[("scan.errors", "dead-letter"), (path, "in")], "lies in the table's own"),
        (&[("scan.errors", "ignore")], "it is fail, skip or dead-letter"),
        (&[("source.monitor-interval", "0 s")], "more than nothing is needed"),
        (&[("source.path.regex-pattern", "(")], "no regular expression"),
    ] {
        let error = refused(options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}

#[test]
fn a_record_without_end_is_refused_before_it_fills_the_memory() {
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", format!("1,a,,\n2,\"{}", "x\n".repeat(10_000)));
    let table = table(&[("path", "in"), ("format", "csv"), ("scan.errors", "skip")]);
    let mut source = started(source_of(&storage, &table, 100).with_max_record_bytes(1000));
    let error = read(&mut source).expect_err("too long").to_string();
    let expected =
        "in/a, line 2, byte 6: a record begins here that has no end within 1000 bytes, the most that a record may have";
    assert!(error.starts_with(expected), "{error}");
    let mut source = started(source_of(&storage, &table, 100));
    assert_eq!(ids(&read(&mut source).expect("the limit is far")), [1]);
}

fn partitioned(options: &[(&str, &str)], by: &[&str]) -> Arc<TableDescriptor> {
    let mut table = table(options).as_ref().clone();
    table.partitioned_by = by.iter().map(|name| (*name).to_owned()).collect();
    Arc::new(table)
}

#[test]
fn partitions_are_folders_and_come_back_as_columns() {
    for format in ["json", "csv", "parquet"] {
        for by in [&["text"][..], &["ts", "text"], &["amount"]] {
            let storage = Arc::new(Memory::default());
            let table = partitioned(&[("path", "out"), ("format", format), ("csv.null-literal", "NULL")], by);
            let text = |n: i64| match n % 4 {
                0 => None,
                1 => Some("a/b=c%".to_owned()),
                _ => Some(format!("{}", n % 3)),
            };
            let mut columns = rows(0, 50).columns().to_vec();
            columns[1] = Arc::new((0..50).map(text).collect::<StringArray>());
            let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
            let handles = write(&storage, &table, &[records.slice(0, 20), records.slice(20, 30)]);
            assert!(storage.paths().iter().all(|p| p.contains("/.part")), "{format}: nothing shows before the commit");
            commit(&storage, &table, &handles);
            for path in storage.paths() {
                assert_eq!(path.split('/').count(), by.len() + 2, "{path}");
                assert!(path.split('/').skip(1).zip(by).all(|(f, by)| f.starts_with(&format!("{by}="))), "{path}");
            }
            let mut source = started(source_of(&storage, &table, 1000));
            let found: Vec<RecordBatch> = read(&mut source).expect("readable").into_iter().map(|(b, _)| b).collect();
            let found = arrow::compute::concat_batches(&found[0].schema(), &found).expect("one schema");
            let mut found = crate::testing::rows(&found);
            let mut expected = crate::testing::rows(&records);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{format} by {by:?}");
        }
    }
}

#[test]
fn partition_folders_have_hives_names() {
    let storage = Arc::new(Memory::default());
    let options = [("path", "out"), ("format", "csv"), ("partition.default-name", "_none")];
    let table = partitioned(&options, &["ts", "text"]);
    let mut columns = rows(0, 2).columns().to_vec();
    columns[1] = Arc::new(StringArray::from(vec![Some("a:b"), Some("")]));
    columns[3] = Arc::new(TimestampMillisecondArray::from(vec![Some(3_600_000), None]));
    let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
    let handles = write(&storage, &table, &[records]);
    commit(&storage, &table, &handles);
    let expected = [
        ("out/ts=1970-01-01 01%3A00%3A00/text=a%3Ab/part-u-0.csv".to_owned(), "0,\n".to_owned()),
        ("out/ts=_none/text=_none/part-u-1.csv".to_owned(), "1,0.25\n".to_owned()),
    ];
    assert_eq!(texts(&storage, "out"), expected);
    // Only the wanted columns are made; and not every file name that looks like one is a folder.
    let batches = read(&mut started(subtask_of(&storage, &table, &[3, 0], (0, 1)))).expect("readable");
    let rows: Vec<String> = batches.iter().flat_map(|(b, _)| crate::testing::rows(b)).collect();
    assert_eq!(rows, ["1970-01-01T01:00:00|0", "NULL|1"]);
    put(&storage, "out/ts=x/text=a/f", "1,2\n");
    let error = read(&mut started(source_of(&storage, &table, 100))).expect_err("no timestamp").to_string();
    assert_eq!(error, "out/ts=x/text=a/f: folder ts: `x` is no Timestamp(ms)");
    put(&storage, "out/f", "1,2\n");
    let error = read(&mut started(source_of(&storage, &table, 100))).expect_err("no folder").to_string();
    assert!(error.starts_with("out/f: the file lies in no folder `ts=..`"), "{error}");
}

#[test]
fn what_cannot_partition_a_table_is_refused() {
    let clock: Arc<StepClock> = Arc::default();
    let refused = |table: Arc<TableDescriptor>| {
        let context = sink_context(&Arc::default(), &clock, "u");
        crate::sink(&SinkSpec { table }, context).err().expect("refused").to_string()
    };
    let options = [("connector", "filesystem"), ("path", "out"), ("format", "csv")];
    for (by, expected) in [
        (&["id", "id"][..], "PARTITIONED BY with id twice"),
        (&["id", "text", "amount", "ts"], "with every column"),
        (&["other"], "PARTITIONED BY other, which is no physical column"),
    ] {
        let error = refused(partitioned(&options, by));
        assert!(error.contains(expected), "{error}");
    }
    let error = refused(partitioned(&[("connector", "print")], &["id"]));
    assert!(error.contains("PARTITIONED BY with 'connector' = 'print'"), "{error}");
}

#[test]
fn many_partitions_are_open_one_after_another() {
    let storage = Arc::new(Memory::default());
    let table = partitioned(&[("path", "out"), ("format", "json")], &["id"]);
    let batches = [rows(0, 100), rows(90, 10), rows(0, 1)];
    let handles = write(&storage, &table, &batches);
    // 64 are open: of the first hundred the last ones stay, and the first has to be opened again.
    assert_eq!(handles.len(), 101);
    commit(&storage, &table, &handles);
    let files = texts(&storage, "out");
    assert_eq!(files.len(), 101);
    assert_eq!(files.iter().map(|(_, text)| text.lines().count()).sum::<usize>(), 111);
}

#[test]
fn many_half_filled_row_groups_do_not_pile_up() {
    let storage = Arc::new(Memory::default());
    let options = [("path", "out"), ("format", "parquet"), ("parquet.compression", "UNCOMPRESSED")];
    let table = partitioned(&options, &["id"]);
    let clock: Arc<StepClock> = Arc::default();
    let mut sink = sink(&SinkSpec { table: Arc::clone(&table) }, sink_context(&storage, &clock, "u")).expect("sound");
    let mut number = 1u64;
    let mut text = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{number:016x}").repeat(4096)
    };
    let mut rows_in = 0;
    // Each of ten partitions gets 10 MB: less than a row group.
    for _ in 0..16 {
        let mut columns = rows(0, 100).columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_iter_values((0..100).map(|n| n % 10)));
        columns[1] = Arc::new((0..100).map(|_| Some(text())).collect::<StringArray>());
        let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
        assert_eq!(sink.write(&Batch::inserts(records)).expect("there is room"), Flow::Done);
        rows_in += 100;
    }
    assert!(sink.written_bytes() > 30 << 20, "{} bytes were handed over", sink.written_bytes());
    sink.prepare(Epoch(1)).expect("closes");
    let handles = sink.poll_prepared(Epoch(1)).expect("no error").expect("at once");
    assert_eq!(handles.len(), 10);
    commit(&storage, &table, &handles);
    let batches = read(&mut started(source_of(&storage, &table, 1 << 20))).expect("readable");
    assert_eq!(batches.iter().map(|(b, _)| b.num_rows()).sum::<usize>(), rows_in);
}

#[test]
fn a_partition_column_may_begin_like_a_hidden_file() {
    let storage = Arc::new(Memory::default());
    let mut table = partitioned(&[("path", "in"), ("format", "csv")], &["_day"]).as_ref().clone();
    table.columns[1].name = "_day".to_owned();
    put(&storage, "in/_day=a/f", "1,,\n");
    put(&storage, "in/_day=a/_f", "2,,\n");
    put(&storage, "in/_other=a/_day=b/f", "3,,\n");
    let batches = read(&mut started(source_of(&storage, &Arc::new(table), 100))).expect("readable");
    assert_eq!(ids(&batches), [1]);
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
fn parts_that_a_crash_left_are_removed_if_they_are_the_jobs_own() {
    let clock: Arc<StepClock> = Arc::default();
    let (uid, other) = ("00112233445566aa", "00112233445566bb");
    let table = table(&[("path", "out"), ("format", "json")]);
    let storage = Arc::new(Memory::default());
    let own = |term: u32| format!("out/dt=1/.part-{uid}-{term}-00000000-op-1-0.inprogress");
    let kept = [
        own(3),
        own(4),
        format!("out/.part-{other}-1-00000000-op-0-0.inprogress"),
        format!("out/part-{uid}-1-00000000-op-0-0.json"),
        format!("out2/.part-{uid}-1-00000000-op-0-0.inprogress"),
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

#[test]
fn only_files_that_match_are_read() {
    let storage = Arc::new(Memory::default());
    for (path, id) in
        [("in/a.json", 1), ("in/b.json", 2), ("in/sub/b.json", 3), ("in/b.json.bak", 4), ("in/.b.json", 5)]
    {
        put(&storage, path, format!("{{\"id\":{id}}}\n"));
    }
    for (pattern, expected) in [("in/.*b\\.json", &[2, 3][..]), ("b\\.json", &[]), ("in/a.*|in/b.json.bak", &[1, 4])] {
        let table = table(&[("path", "in"), ("format", "json"), ("source.path.regex-pattern", pattern)]);
        let found = read(&mut started(source_of(&storage, &table, 100)));
        match found {
            Ok(batches) => assert_eq!(ids(&batches), expected, "{pattern}"),
            Err(error) => {
                assert!(expected.is_empty() && error.to_string().contains("there is no file at in"), "{error}")
            }
        }
    }
}

/// A subtask of a monitoring source.
fn monitoring(storage: &Arc<Memory>, clock: &Arc<StepClock>, (subtask, parallelism): (u32, u32)) -> FileSource {
    let table = table(&[("path", "in"), ("format", "json"), ("source.monitor-interval", "10 s")]);
    let spec = ScanSpec::whole(table).expect("names differ");
    let context = SourceContext {
        files: Arc::clone(storage) as Arc<dyn Storage>,
        ..crate::testing::context(subtask, parallelism, clock)
    };
    assert!(!is_bounded(&spec).expect("sound"));
    FileSource::new(&spec, context).expect("a sound table")
}

/// What a source gives until it waits for time to pass; and how long it wants to wait.
fn until_wait(source: &mut FileSource) -> (Vec<i64>, Duration) {
    use streamfleet_dataflow::Source;
    let mut found = Vec::new();
    loop {
        match source.poll().expect("readable") {
            SourceStatus::Rows(rows) => {
                found.extend(rows.batch.records().column(0).as_primitive::<Int64Type>().values());
            }
            SourceStatus::Waiting(Some(time)) => return (found, time),
            SourceStatus::Ended => panic!("a monitored folder has no end"),
            SourceStatus::Waiting(None) | SourceStatus::SplitEnded(_) => {}
        }
    }
}

#[test]
fn a_monitored_folder_gives_its_new_files_once() {
    let storage = Arc::new(Memory::default());
    let clock: Arc<StepClock> = Arc::default();
    let file = |id: i64| put(&storage, &format!("in/{id:03}"), format!("{{\"id\":{id}}}\n"));
    let mut source = started(monitoring(&storage, &clock, (0, 1)));
    assert_eq!(until_wait(&mut source), (vec![], Duration::from_secs(10)), "an empty folder may fill");
    file(2);
    clock.now.store(9_999, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source), (vec![], Duration::from_millis(1)));
    clock.now.store(10_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source).0, [2]);
    file(1);
    file(3);
    put(&storage, "in/002", "{\"id\":2}\n{\"id\":22}\n");
    clock.now.store(30_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source).0, [1, 3], "what was read is not read again, though it grew");
}

#[test]
fn a_monitored_folder_is_restored_at_any_parallelism() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    let clock: Arc<StepClock> = Arc::default();
    let file = |id: i64| put(&storage, &format!("in/{id:03}"), format!("{{\"id\":{id}}}\n").repeat(2));
    (0..40).for_each(file);
    let mut state = Vec::new();
    let mut all = Vec::new();
    // Each of two subtasks reads some files; the first stops in the middle.
    for subtask in 0..2 {
        let mut source = started(monitoring(&storage, &clock, (subtask, 2)));
        for _ in 0..if subtask == 0 { 20 } else { 1000 } {
            if let SourceStatus::Rows(rows) = source.poll().expect("readable") {
                all.extend_from_slice(rows.batch.records().column(0).as_primitive::<Int64Type>().values());
            }
        }
        state.extend(source.splits());
    }
    assert!(all.len() < 80 && state.len() == 40);
    (40..60).for_each(file);
    // Three go on: splits are dealt as the source says, and every new file has one reader.
    for subtask in 0..3 {
        let mut source = monitoring(&storage, &clock, (subtask, 3));
        let mine = state.iter().filter(|s| source.owner(&s.name) == Some(subtask)).cloned().collect();
        source.restore(mine).expect("its own positions");
        all.extend(until_wait(&mut source).0);
    }
    all.sort_unstable();
    assert_eq!(all, (0..60).flat_map(|id| [id, id]).collect::<Vec<_>>());
}

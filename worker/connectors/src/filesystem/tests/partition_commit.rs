//! Which partitions are said to be complete, and when.

use super::*;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{PendingWork, SinkStart};
use streamfleet_types::{MIN_WATERMARK, Millis};

const HOUR: Millis = 3_600_000;

const BY_PARTITION_TIME: [(&str, &str); 3] = [
    ("sink.partition-commit.policy.kind", "success-file"),
    ("sink.partition-commit.trigger", "partition-time"),
    ("partition.time-extractor.timestamp-pattern", "$text $id:00:00"),
];

fn partitioned(options: &[(&str, &str)]) -> Arc<TableDescriptor> {
    let options = [&[("path", "out"), ("format", "csv")], options].concat();
    let mut table = table(&options).as_ref().clone();
    table.partitioned_by = vec!["text".to_owned(), "id".to_owned()];
    Arc::new(table)
}

/// All subtasks of a sink, driven as the runtime does.
struct Job {
    storage: Arc<Memory>,
    table: Arc<TableDescriptor>,
    clock: Arc<StepClock>,
    sinks: Vec<Box<dyn Sink>>,
    epoch: u64,
}

impl Job {
    fn new(subtasks: usize, options: &[(&str, &str)]) -> Self {
        let mut job = Self {
            storage: Arc::default(),
            table: partitioned(options),
            clock: Arc::default(),
            sinks: Vec::new(),
            epoch: 0,
        };
        job.restart(subtasks, Vec::new(), MIN_WATERMARK, false);
        job
    }

    fn restart(&mut self, subtasks: usize, pending: Vec<PendingWork>, watermark: Millis, batch_mode: bool) {
        let start = |number: usize| SinkStart {
            pending: if number == 0 { pending.clone() } else { Vec::new() },
            watermark,
            batch_mode,
        };
        let make = |number: usize| {
            let context = sink_context(&self.storage, &self.clock, &format!("{}-{number}", self.epoch));
            let mut sink = sink(&SinkSpec { table: Arc::clone(&self.table) }, context).expect("a sound table");
            sink.start(start(number)).expect("its own work");
            sink
        };
        self.sinks = (0..subtasks).map(make).collect();
    }

    /// A row for a day and an hour.
    fn write(&mut self, subtask: usize, day: &str, hour: i64) {
        let mut columns = rows(0, 1).columns().to_vec();
        columns[0] = Arc::new(Int64Array::from(vec![hour]));
        columns[1] = Arc::new(StringArray::from(vec![day]));
        let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
        assert_eq!(self.sinks[subtask].write(&Batch::inserts(records)).expect("there is room"), Flow::Done);
    }

    /// A barrier at every subtask: the handles and the pending work of the snapshot.
    fn barrier(&mut self) -> (Vec<serde_json::Value>, Vec<PendingWork>) {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let (mut handles, mut pending) = (Vec::new(), Vec::new());
        for sink in &mut self.sinks {
            sink.prepare(epoch).expect("closes");
            pending.extend(sink.pending());
            handles.extend(sink.poll_prepared(epoch).expect("no error").expect("at once"));
        }
        (handles, pending)
    }

    fn commit(&self, handles: Vec<serde_json::Value>) -> Result<(), String> {
        let files = Arc::clone(&self.storage) as Arc<dyn Storage>;
        try_commit(files, &self.table, handles).expect("storage answers at once")
    }

    /// A whole checkpoint, and which partitions it marked.
    fn checkpoint(&mut self) -> Vec<String> {
        let (handles, _) = self.barrier();
        self.commit(handles).expect("committed");
        self.take_marks()
    }

    /// The partitions with a mark, which is removed: what is marked again shows again.
    fn take_marks(&self) -> Vec<String> {
        let mut objects = self.storage.objects.lock().expect("one thread");
        let marks: Vec<String> = objects.keys().filter(|path| path.ends_with("/_SUCCESS")).cloned().collect();
        marks.iter().for_each(|path| assert_eq!(objects.remove(path), Some(Vec::new()), "{path} has no content"));
        marks.iter().map(|path| path.trim_start_matches("out/").trim_end_matches("/_SUCCESS").to_owned()).collect()
    }

    fn all_reached(&mut self, watermark: Millis) {
        self.sinks.iter_mut().for_each(|sink| sink.all_reached(watermark));
    }
}

#[test]
fn by_default_a_checkpoint_marks_the_partitions_that_it_adds_to() {
    let mut job = Job::new(2, &[("sink.partition-commit.policy.kind", "Success-File")]);
    job.write(0, "a", 1);
    job.write(1, "a", 1);
    job.write(1, "b:c", 2);
    let (handles, pending) = job.barrier();
    assert_eq!(pending, []);
    assert_eq!(job.take_marks(), [""; 0], "nothing shows before the commit");
    for _ in 0..2 {
        job.commit(handles.clone()).expect("committed");
        assert_eq!(job.take_marks(), ["text=a/id=1", "text=b%3Ac/id=2"]);
    }
    assert_eq!(job.checkpoint(), [""; 0]);
    job.write(0, "b:c", 2);
    assert_eq!(job.checkpoint(), ["text=b%3Ac/id=2"], "late rows mark it again");
    // Readers pass by the mark.
    job.write(0, "b:c", 2);
    let (handles, _) = job.barrier();
    job.commit(handles).expect("committed");
    let batches = read(&mut started(source_of(&job.storage, &job.table, 100))).expect("readable");
    assert_eq!(ids(&batches), [1, 1, 2, 2, 2]);
}

#[test]
fn no_mark_shows_before_the_files_of_all_subtasks() {
    let mut job = Job::new(2, &[("sink.partition-commit.policy.kind", "success-file")]);
    job.write(0, "a", 1);
    job.write(1, "a", 1);
    let (handles, _) = job.barrier();
    // The second subtask's file cannot be shown.
    let lost = handles.iter().filter_map(|h| h["token"].as_str()).next_back().expect("a file").to_owned();
    let bytes = job.storage.objects.lock().expect("one thread").remove(&lost).expect("staged");
    job.commit(handles.clone()).expect_err("a file is gone");
    assert_eq!(job.take_marks(), [""; 0]);
    put(&job.storage, &lost, bytes);
    job.commit(handles).expect("committed");
    assert_eq!(job.take_marks(), ["text=a/id=1"]);
}

#[test]
fn with_a_delay_a_partition_waits_from_its_first_file_on_through_restarts() {
    let options = [
        ("sink.partition-commit.policy.kind", "success-file"),
        ("sink.partition-commit.delay", "10 s"),
        ("sink.partition-commit.success-file.name", "_SUCCESS"),
    ];
    let mut job = Job::new(2, &options);
    let at = |job: &Job, now| job.clock.now.store(now, Ordering::Relaxed);
    at(&job, 1_000);
    job.write(0, "a", 1);
    assert_eq!(job.checkpoint(), [""; 0]);
    at(&job, 9_000);
    job.write(1, "a", 1);
    job.write(1, "b", 1);
    let (handles, pending) = job.barrier();
    job.commit(handles).expect("committed");
    assert_eq!(pending.len(), 3);
    // Another number of subtasks goes on: the earlier time counts.
    for subtasks in [1, 3] {
        at(&job, 11_000);
        job.restart(subtasks, pending.clone(), MIN_WATERMARK, false);
        assert_eq!(job.checkpoint(), [""; 0]);
        at(&job, 11_001);
        assert_eq!(job.checkpoint(), ["text=a/id=1"]);
        assert_eq!(job.checkpoint(), [""; 0]);
        at(&job, 19_001);
        assert_eq!(job.checkpoint(), ["text=b/id=1"]);
        let (_, nothing) = job.barrier();
        assert_eq!(nothing, []);
    }
}

#[test]
fn a_partition_is_marked_when_all_subtasks_have_passed_its_time() {
    let options = [&BY_PARTITION_TIME[..], &[("sink.partition-commit.delay", "1 h")]].concat();
    let mut job = Job::new(2, &options);
    job.write(0, "1970-01-01", 2);
    job.write(1, "1970-01-01", 2);
    job.write(1, "1970-01-01", 3);
    assert_eq!(job.checkpoint(), [""; 0]);
    // Hour 2, and one hour later: that is hour 3.
    job.all_reached(3 * HOUR);
    assert_eq!(job.checkpoint(), [""; 0]);
    job.all_reached(3 * HOUR + 1);
    let (handles, pending) = job.barrier();
    let names: Vec<&str> = pending.iter().map(|work| work.name.as_str()).collect();
    assert_eq!(names, ["text=1970-01-01/id=3/"]);
    // A crash before the snapshot is complete decides nothing; after it, its handles are committed first.
    job.commit(handles).expect("committed");
    assert_eq!(job.take_marks(), ["text=1970-01-01/id=2"]);
    job.restart(3, pending, 3 * HOUR + 1, false);
    job.write(2, "1970-01-01", 2);
    assert_eq!(job.checkpoint(), ["text=1970-01-01/id=2"], "late rows mark it again");
    job.all_reached(4 * HOUR + 1);
    // What subtasks tell later can be less.
    job.all_reached(HOUR);
    assert_eq!(job.checkpoint(), ["text=1970-01-01/id=3"]);
}

#[test]
fn what_a_lost_snapshot_decided_is_decided_again() {
    let mut job = Job::new(1, &BY_PARTITION_TIME);
    job.write(0, "1970-01-01", 2);
    let (handles, pending) = job.barrier();
    job.commit(handles).expect("committed");
    job.all_reached(5 * HOUR);
    let (lost, _) = job.barrier();
    assert_eq!(lost.len(), 1);
    // The snapshot before named less than the watermark that is known now.
    job.restart(1, pending, HOUR, false);
    assert_eq!(job.checkpoint(), [""; 0]);
    job.all_reached(5 * HOUR);
    assert_eq!(job.checkpoint(), ["text=1970-01-01/id=2"]);
}

#[test]
fn the_end_marks_everything_and_batch_jobs_mark_nothing_before() {
    let by_wall_clock = [("sink.partition-commit.policy.kind", "success-file")];
    for (options, batch_mode) in [(&BY_PARTITION_TIME[..], false), (&BY_PARTITION_TIME, true), (&by_wall_clock, true)] {
        let mut job = Job::new(1, options);
        job.restart(2, Vec::new(), MIN_WATERMARK, batch_mode);
        job.write(0, "1970-01-01", 1);
        job.write(1, "1970-01-01", 2);
        assert_eq!(job.checkpoint(), [""; 0]);
        let (_, pending) = job.barrier();
        assert_eq!(pending.len(), 2);
        job.write(0, "1970-01-01", 3);
        job.sinks.iter_mut().for_each(|sink| sink.all_ended());
        assert_eq!(job.checkpoint(), ["text=1970-01-01/id=1", "text=1970-01-01/id=2", "text=1970-01-01/id=3"]);
    }
}

#[test]
fn the_mark_has_the_name_that_is_asked_for_and_without_a_policy_there_is_none() {
    for (options, expected) in [
        (
            &[
                ("sink.partition-commit.policy.kind", "success-file"),
                ("sink.partition-commit.success-file.name", "_OK"),
            ][..],
            1,
        ),
        (&[("sink.partition-commit.trigger", "process-time")], 0),
    ] {
        let mut job = Job::new(1, options);
        job.write(0, "a", 1);
        assert_eq!(job.checkpoint(), [""; 0]);
        assert_eq!(job.storage.paths().iter().filter(|path| *path == "out/text=a/id=1/_OK").count(), expected);
        assert_eq!(job.storage.paths().len(), 1 + expected);
    }
}

#[test]
fn a_partition_without_a_time_is_refused_with_its_first_row() {
    let mut job = Job::new(1, &BY_PARTITION_TIME);
    let records = rows(0, 1);
    let error = job.sinks[0].write(&Batch::inserts(records)).expect_err("no time").to_string();
    assert!(
        error.starts_with(
            "table t, partition text=__DEFAULT_PARTITION__/id=0: `__DEFAULT_PARTITION__ 0:00:00` is no time as"
        ),
        "{error}"
    );
    // Without a pattern the first column is the time.
    let mut job = Job::new(
        1,
        &[&BY_PARTITION_TIME[..2], &[("partition.time-extractor.timestamp-formatter", "yyyyMMdd")]].concat(),
    );
    job.write(0, "19700102", 9);
    job.all_reached(24 * HOUR + 1);
    assert_eq!(job.checkpoint(), ["text=19700102/id=9"]);
}

#[test]
fn options_that_mean_nothing_here_are_refused() {
    let clock: Arc<StepClock> = Arc::default();
    let policy = BY_PARTITION_TIME[0];
    for (options, expected) in [
        (&[("sink.partition-commit.policy.kind", "success-file,metastore")][..], "there is no metastore"),
        (&[("sink.partition-commit.policy.kind", "custom")], "the only policy that is supported"),
        (&[policy, ("sink.partition-commit.watermark-time-zone", "Asia/Shanghai")], "only `UTC` is supported"),
        (&[policy, ("sink.partition-commit.trigger", "never")], "`process-time` or `partition-time`"),
        (&[policy, ("sink.partition-commit.success-file.name", "a/b")], "the name of a file is needed"),
        (&[("sink.partition-commit.policy.kind", "")], "the only policy that is supported"),
        (&[policy, ("sink.partition-commit.delay", "soon")], "a duration is needed"),
        (&[policy, BY_PARTITION_TIME[1], ("partition.time-extractor.kind", "custom")], "no classes can be loaded"),
        (
            &[policy, BY_PARTITION_TIME[1], ("partition.time-extractor.timestamp-pattern", "$dt")],
            "must be followed by a column of PARTITIONED BY",
        ),
        (
            &[policy, BY_PARTITION_TIME[1], ("partition.time-extractor.timestamp-formatter", "EEE")],
            "`EEE` is not supported",
        ),
    ] {
        let table = partitioned(options);
        let context = sink_context(&Arc::default(), &clock, "u");
        let error = sink(&SinkSpec { table }, context).err().expect("refused").to_string();
        assert!(error.starts_with("table t: option '") && error.contains(expected), "{error}");
    }
    // A table without partitions has none to mark, but a policy that is none is a mistake there too.
    for (policy, expected) in [
        ("success-file", None),
        ("Success-File, success-file", None),
        ("metastore", Some("there is no metastore")),
        ("success-file,done", Some("the only policy that is supported")),
    ] {
        let table = table(&[("path", "out"), ("format", "csv"), ("sink.partition-commit.policy.kind", policy)]);
        let made = sink(&SinkSpec { table }, sink_context(&Arc::default(), &clock, "u"));
        let error = made.err().map(|error| error.to_string());
        match expected {
            None => assert_eq!(error, None),
            Some(text) => assert!(error.as_ref().is_some_and(|error| error.contains(text)), "{policy}: {error:?}"),
        }
    }
}

#[test]
fn pending_work_in_another_form_is_named() {
    let mut job = Job::new(1, &BY_PARTITION_TIME);
    let work = PendingWork { name: "text=a/id=1/".to_owned(), state: serde_json::json!({"from": 1}) };
    let start = SinkStart { pending: vec![work], watermark: MIN_WATERMARK, batch_mode: false };
    let error = job.sinks[0].start(start).expect_err("not its own").to_string();
    assert!(
        error.contains(r#"partition text=a/id=1/: the checkpoint names it in a form that is not known: {"from":1}"#),
        "{error}"
    );
}

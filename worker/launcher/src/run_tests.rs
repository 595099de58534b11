#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::compile::{Overrides, compile_text};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use streamfleet_dataflow::{
    DataflowError, PartitionLags, Sink, SinkContext, Source, SourceContext, SourceErrors, SourceStatus, SplitState,
};
use streamfleet_logical::{ScanSpec, SinkSpec};
use streamfleet_types::{Millis, Outlook};

const ROWS: usize = 600;

/// What is done to the sources of a job.
#[derive(Default)]
struct Harm {
    /// Runs that fail.
    runs: u32,
    /// How.
    outlook: Option<Outlook>,
    /// Before a checkpoint is complete, instead of after it.
    early: bool,
    /// Sources made so far.
    made: AtomicU32,
    /// Done once, when a source of a run that failed is gone.
    when_gone: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// The build's connectors, whose sources fail.
struct Harmed {
    inner: ConnectorRegistry,
    harm: Arc<Harm>,
}

impl Connectors for Harmed {
    fn source(&self, spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
        let parallelism = context.parallelism;
        let inner = self.inner.source(spec, context)?;
        let number = self.harm.made.fetch_add(1, Ordering::SeqCst) / parallelism;
        let fails = number < self.harm.runs;
        Ok(Box::new(HarmedSource { inner, harm: Arc::clone(&self.harm), fails, completed: false, ended: false }))
    }

    fn sink(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
        self.inner.sink(spec, context)
    }
}

struct HarmedSource {
    inner: Box<dyn Source>,
    harm: Arc<Harm>,
    fails: bool,
    completed: bool,
    ended: bool,
}

impl Drop for HarmedSource {
    fn drop(&mut self) {
        if self.fails
            && let Some(work) = self.harm.when_gone.lock().unwrap().take()
        {
            work();
        }
    }
}

impl Source for HarmedSource {
    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        if self.fails && (self.completed || self.harm.early) {
            let outlook = self.harm.outlook.unwrap_or(Outlook::MayPass);
            return Err(DataflowError::outside("table s".to_owned(), "it broke".to_owned(), outlook));
        }
        // What is to fail after a checkpoint must not end before it.
        if self.ended {
            return Ok(SourceStatus::Waiting(Some(Duration::from_millis(2))));
        }
        let status = self.inner.poll()?;
        self.ended = self.fails && matches!(status, SourceStatus::Ended);
        Ok(if self.ended { SourceStatus::Waiting(Some(Duration::from_millis(2))) } else { status })
    }

    fn completed(&mut self, splits: &[SplitState]) {
        self.completed = true;
        self.inner.completed(splits);
    }

    fn start(&mut self) -> Result<(), DataflowError> {
        self.inner.start()
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.inner.restore(splits)
    }

    fn splits(&self) -> Vec<SplitState> {
        self.inner.splits()
    }

    fn splits_known(&self) -> bool {
        self.inner.splits_known()
    }

    fn reads_in_order(&self) -> bool {
        self.inner.reads_in_order()
    }

    fn split_watermark(&self, split: usize) -> Option<Millis> {
        self.inner.split_watermark(split)
    }

    fn has_met_end(&self, split: usize) -> bool {
        self.inner.has_met_end(split)
    }

    fn pauses_splits(&self) -> bool {
        self.inner.pauses_splits()
    }

    fn pause(&mut self, split: usize, paused: bool) {
        self.inner.pause(split, paused);
    }

    fn owner(&self, split: &str) -> Option<u32> {
        self.inner.owner(split)
    }

    fn lags(&self) -> Option<Arc<PartitionLags>> {
        self.inner.lags()
    }

    fn errors(&self) -> SourceErrors {
        self.inner.errors()
    }
}

struct Trial {
    folder: tempfile::TempDir,
    job: CompiledJob,
    options: RunOptions,
}

impl Trial {
    fn new(strategy: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "CREATE TABLE s (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1500',
               'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{ROWS}');
             CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
             INSERT INTO o SELECT id FROM s;"
        );
        let mut config: BTreeMap<String, String> =
            strategy.iter().map(|(k, v)| (format!("restart-strategy.{k}"), (*v).to_owned())).collect();
        config.insert("execution.checkpointing.interval".to_owned(), "10 ms".to_owned());
        let overrides = Overrides {
            parallelism: Some(2),
            config,
            checkpoints: Some(folder.path().join("checkpoints").display().to_string()),
            ..Overrides::default()
        };
        let job = compile_text("job", &script, Path::new("job.sql"), &overrides).unwrap();
        let options = RunOptions {
            start: RunStart::Newest,
            working_folder: folder.path().to_owned(),
            allow_changed_plan: false,
            progress: false,
            metrics: None,
        };
        Self { folder, job, options }
    }

    fn run(&self, harm: &Arc<Harm>) -> Result<RunOutcome, LauncherError> {
        // Nobody stops it.
        self.run_until(channel().1, harm)
    }

    fn run_until(&self, stop: Receiver<()>, harm: &Arc<Harm>) -> Result<RunOutcome, LauncherError> {
        let connectors = Harmed { inner: ConnectorRegistry::default(), harm: Arc::clone(harm) };
        run_with(&self.job, &self.options, stop, Arc::new(connectors))
    }

    /// Every row is there so many times.
    fn has_each(&self, times: usize) {
        let mut ids: Vec<usize> = Vec::new();
        for file in std::fs::read_dir(self.folder.path().join("out")).unwrap() {
            let file = file.unwrap();
            assert!(!file.file_name().to_string_lossy().starts_with('.'), "left over: {file:?}");
            let text = std::fs::read_to_string(file.path()).unwrap();
            ids.extend(
                text.lines().map(|line| {
                    serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap() as usize
                }),
            );
        }
        ids.sort_unstable();
        let expected: Vec<usize> = (1..=ROWS).flat_map(|id| vec![id; times]).collect();
        assert!(ids == expected, "{} rows instead of {}", ids.len(), expected.len());
    }
}

fn times(runs: u32) -> Arc<Harm> {
    Arc::new(Harm { runs, ..Harm::default() })
}

/// Runs that were begun: there are two slots.
fn runs(harm: &Harm) -> u32 {
    harm.made.load(Ordering::SeqCst) / 2
}

const THREE: &[(&str, &str)] =
    &[("type", "fixed-delay"), ("fixed-delay.attempts", "3"), ("fixed-delay.delay", "10 ms")];

#[test]
fn a_job_whose_slots_fail_is_begun_again_and_ends_exact() {
    let (trial, harm) = (Trial::new(THREE), times(3));
    let outcome = trial.run(&harm).unwrap();
    let RunOutcome::Finished(counts) = outcome else { panic!("{outcome:?}") };
    assert!(counts.checkpoints >= 4, "one of each run at least: {counts}");
    assert_eq!(runs(&harm), 4);
    trial.has_each(1);
}

#[test]
fn without_a_strategy_and_beyond_its_bound_a_failure_is_the_end() {
    let (trial, harm) = (Trial::new(&[]), times(1));
    let error = trial.run(&harm).unwrap_err().to_string();
    assert!(error.ends_with("table s: it broke") && runs(&harm) == 1, "{error}");
    // The next process goes on, as ever.
    assert!(matches!(trial.run(&times(0)).unwrap(), RunOutcome::Finished(_)));
    trial.has_each(1);
    let (trial, harm) = (Trial::new(THREE), times(9));
    let error = trial.run(&harm).unwrap_err().to_string();
    assert!(error.ends_with("table s: it broke") && runs(&harm) == 4, "{error}");
}

#[test]
fn what_lasts_or_is_refused_at_the_start_ends_at_once() {
    for (outlook, early, expected) in [
        (Outlook::Lasts, true, 1),
        (Outlook::Lasts, false, 1),
        (Outlook::Refused, true, 1),
        (Outlook::Refused, false, 4),
        (Outlook::MayPass, true, 4),
    ] {
        let harm = Arc::new(Harm { runs: 9, outlook: Some(outlook), early, ..Harm::default() });
        trial_fails(&Trial::new(THREE), &harm);
        assert_eq!(runs(&harm), expected, "{outlook:?}, early: {early}");
    }
}

fn trial_fails(trial: &Trial, harm: &Arc<Harm>) {
    let error = trial.run(harm).unwrap_err().to_string();
    assert!(error.ends_with("table s: it broke"), "{error}");
}

#[test]
fn what_a_run_was_to_begin_from_counts_once() {
    let mut trial = Trial::new(THREE);
    assert!(matches!(trial.run(&times(0)).unwrap(), RunOutcome::Finished(_)));
    trial.options.start = RunStart::Nothing;
    let harm = times(2);
    assert!(matches!(trial.run(&harm).unwrap(), RunOutcome::Finished(_)));
    assert_eq!(runs(&harm), 3);
    trial.has_each(2);
}

#[test]
fn a_run_that_another_process_began_meanwhile_is_left_alone() {
    let trial = Trial::new(THREE);
    let options = trial.options.clone();
    let other = CompiledJob { location: trial.job.location.clone(), ..Trial::new(&[]).job };
    let when_gone = move || {
        let outcome = run(&other, &options, channel().1).unwrap();
        assert!(matches!(outcome, RunOutcome::Finished(_)), "{outcome:?}");
    };
    let harm = Arc::new(Harm { runs: 1, when_gone: Mutex::new(Some(Box::new(when_gone))), ..Harm::default() });
    let error = trial.run(&harm).unwrap_err().to_string();
    assert!(error.starts_with("run 2 of this job took over"), "{error}");
    assert_eq!(runs(&harm), 1);
    trial.has_each(1);
}

#[test]
fn who_stops_a_job_does_not_wait_for_its_pause() {
    let trial = Trial::new(&[("type", "fixed-delay"), ("fixed-delay.delay", "1000 d")]);
    let (sender, stop) = channel();
    let when_gone = move || sender.send(()).unwrap();
    let harm = Arc::new(Harm { runs: 1, when_gone: Mutex::new(Some(Box::new(when_gone))), ..Harm::default() });
    match trial.run_until(stop, &harm) {
        Ok(RunOutcome::StoppedInPause(counts)) => assert!(counts.checkpoints > 0),
        // It came before the pause began.
        Err(error) => assert!(error.to_string().ends_with("table s: it broke"), "{error}"),
        Ok(other) => panic!("{other:?}"),
    }
    assert_eq!(runs(&harm), 1);
}

//! `run`: a job in one process, begun again after failures as its restart strategy says.

use crate::attempt::Attempts;
use crate::compile::CompiledJob;
use crate::driver::ConnectorRegistry;
use crate::error::LauncherError;
use crate::metrics::JobMetrics;
use crate::report::RunCounts;
use crate::restart::{Restarts, Verdict, Why};
use crate::stop::StopWish;
use crate::system::{SystemClock, SystemEntropy};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use streamfleet_coordinator::{CoordinatorError, Ending};
use streamfleet_env::{Clock, Entropy};
use streamfleet_runtime::Connectors;
use streamfleet_types::Run;
use streamfleet_types::log::Outcome;

/// Where a run begins.
#[derive(Debug, Clone)]
pub enum RunStart {
    /// The newest complete checkpoint, if there is one.
    Newest,
    /// Nothing, whatever there is.
    Nothing,
    /// The checkpoint whose record lies at this path, on S3 or in a local folder.
    Savepoint(String),
}

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where to begin.
    pub start: RunStart,
    /// Where relative paths of the filesystem connector begin.
    pub working_folder: std::path::PathBuf,
    /// Go on from a checkpoint of another plan too; state that nothing asks for is dropped.
    pub allow_changed_plan: bool,
    /// Show progress on standard error.
    pub progress: bool,
    /// Serve metrics over HTTP at this address.
    pub metrics: Option<std::net::SocketAddr>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// All input was read and all output committed.
    Finished(RunCounts),
    /// Stopped with a last checkpoint.
    Stopped(RunCounts),
    /// Stopped before it had begun, or begun again: nothing ran that a last checkpoint could cover.
    StoppedAtStart(RunCounts),
    /// Stopped while it waited to be begun again: the same.
    StoppedInPause(RunCounts),
    /// There was nothing to do.
    AlreadyFinished(Run),
}

/// Runs a job to its end, or until `stop` says so.
///
/// # Errors
/// The job failed and is not begun again, or could not begin.
pub fn run(job: &CompiledJob, options: &RunOptions, stop: Receiver<()>) -> Result<RunOutcome, LauncherError> {
    run_with(job, options, stop, Arc::new(ConnectorRegistry::default()))
}

/// The same, with other sources and sinks than a build has.
pub(crate) fn run_with(
    job: &CompiledJob,
    options: &RunOptions,
    stop: Receiver<()>,
    connectors: Arc<dyn Connectors>,
) -> Result<RunOutcome, LauncherError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Arc::new(JobMetrics::new(&job.name, Arc::clone(&clock)));
    if let Some(address) = options.metrics {
        metrics.serve(address)?;
    }
    let attempts = Attempts { job, options, clock, connectors, metrics, stop: StopWish::listen(stop) };
    let mut restarts = Restarts::new(job.restart.clone());
    let mut start = options.start.clone();
    let mut own: Option<Run> = None;
    let mut counts = RunCounts::default();
    loop {
        let error = match attempts.run(&start, own) {
            Ok(attempt) => {
                counts += attempt.counts;
                own = attempt.run.or(own);
                if attempt.has_begun {
                    start = RunStart::Newest;
                }
                let has_last = attempt.has_last_checkpoint;
                match attempt.ending.and_then(|ending| outcome(ending, counts, own, has_last)) {
                    Ok(outcome) => return Ok(outcome),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // Whoever wants it to stop does not want it begun again.
        if attempts.stop.has_come() {
            return Err(error);
        }
        let now = attempts.clock.monotonic();
        match restarts.failed(now, error.outlook(), counts.checkpoints > 0, chance()) {
            Verdict::Over(why) => {
                // Of a job that goes on elsewhere the error says all.
                if why != Why::NotAsked && !error.is_overtaken() {
                    eprintln!("{}: not begun again: {why}", job.name);
                }
                return Err(error);
            }
            Verdict::Again { pause, attempt } => {
                eprintln!("{}: restarting in {:.1} s, attempt {attempt}: {error}", job.name, pause.as_secs_f64());
                attempts.metrics.watch(&[]);
                if attempts.stop.pause(pause) {
                    return Ok(RunOutcome::StoppedInPause(counts));
                }
                attempts.metrics.count_restart();
            }
        }
    }
}

/// What the ending of an attempt is to the user; `own`: the newest run of this process; `has_last`: its last checkpoint stands.
fn outcome(ending: Ending, counts: RunCounts, own: Option<Run>, has_last: bool) -> Result<RunOutcome, LauncherError> {
    match ending {
        Ending::Ended(Outcome::Finished) => Ok(RunOutcome::Finished(counts)),
        Ending::Ended(Outcome::Stopped | Outcome::Cancelled) if has_last => Ok(RunOutcome::Stopped(counts)),
        Ending::Ended(Outcome::Stopped | Outcome::Cancelled) => Ok(RunOutcome::StoppedAtStart(counts)),
        Ending::Ended(Outcome::Failed) => {
            Err(CoordinatorError::LastSnapshot("the run was recorded as failed".to_owned()).into())
        }
        // The run before had recorded its end, and did not hear that the record stands.
        Ending::AlreadyFinished(_) if own.is_some() => Ok(RunOutcome::Finished(counts)),
        Ending::AlreadyFinished(run) => Ok(RunOutcome::AlreadyFinished(run)),
        Ending::Failed(error) => Err(error.into()),
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    SystemEntropy.next_u64() as f64 / u64::MAX as f64
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

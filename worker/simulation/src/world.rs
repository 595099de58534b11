//! Processes come and go over one storage, as a seed decides.

use crate::CrashPoint;
use crate::fault::{Faults, Sabotage};
use crate::job::SimJob;
use crate::kafka::SimKafka;
use crate::process::{Moved, Process, SimClock};
use crate::random::Random;
use crate::storage::Fate;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamfleet_coordinator::Ending;
use streamfleet_env::{Clock, StorageRequest};
use streamfleet_types::Millis;

/// Steps after which a run that has not finished never will.
const MOST_STEPS: u64 = 2_000_000;

/// The longest that storage takes when the faults have stopped, microseconds.
const CALM_DELAY_US: u64 = 5_000;

/// The most lives of the process in one run.
const MOST_LIVES: u64 = 200;

/// What a run without failure came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every line that the sinks show, sorted.
    pub output: Vec<String>,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Lives of the process.
    pub lives: u64,
    /// Where processes died while storage was at work.
    pub crash_points: BTreeSet<CrashPoint>,
    /// What of the sinks' files does not show in the end: small ones, and staged ones.
    pub left_over: Vec<String>,
    /// State files in the end that no record of the job log names.
    pub unnamed: Vec<String>,
    /// A digest of every decision: equal for two runs of one seed.
    pub trace: u64,
    /// The most that subtasks of sources were apart in event time.
    pub widest_drift: Millis,
}

/// How a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It did not come to an end after the faults had stopped.
    #[error("seed {seed}: not finished after {steps} steps and {lives} lives; last ending: {last}")]
    Stuck {
        /// The seed.
        seed: u64,
        /// Steps done.
        steps: u64,
        /// Lives of the process.
        lives: u64,
        /// How the last process ended.
        last: String,
    },
    /// The output is wrong.
    #[error(
        "seed {seed}: {missing} rows are missing, {extra} are too many (after {steps} steps, {lives} lives); first: {first}"
    )]
    WrongOutput {
        /// The seed.
        seed: u64,
        /// Steps done.
        steps: u64,
        /// Lives of the process.
        lives: u64,
        /// Rows of the run without faults that are not there.
        missing: usize,
        /// Rows that are there and should not be.
        extra: usize,
        /// One of them.
        first: String,
    },
}

/// Runs a job under a seed. `expected` is the output of a run without faults, if it is known.
///
/// # Errors
/// The run gets stuck, or its output is not the expected one.
pub fn simulate(
    job: &SimJob,
    seed: u64,
    faults: Faults,
    sabotage: Option<Sabotage>,
    expected: Option<&[String]>,
) -> Result<Report, Failure> {
    World::new(job, seed, faults, sabotage).run(expected)
}

struct World<'a> {
    job: &'a SimJob,
    seed: u64,
    faults: Faults,
    sabotage: Option<Sabotage>,
    random: Random,
    clock: Arc<SimClock>,
    storage: crate::SimStorage,
    kafka: SimKafka,
    processes: Vec<Process<'a>>,
    /// A process that stands still, and the step at which it goes on.
    frozen: Option<(Process<'a>, u64)>,
    /// The longest that storage takes, microseconds.
    longest_delay: Arc<AtomicU64>,
    lives: u64,
    steps: u64,
    trace: u64,
    widest_drift: Millis,
    crash_points: BTreeSet<CrashPoint>,
    last_ending: String,
}

impl<'a> World<'a> {
    fn new(job: &'a SimJob, seed: u64, faults: Faults, sabotage: Option<Sabotage>) -> Self {
        Self {
            job,
            seed,
            faults,
            sabotage,
            random: Random::new(seed),
            clock: Arc::default(),
            storage: job.storage(),
            kafka: job.kafka(),
            processes: Vec::new(),
            frozen: None,
            longest_delay: Arc::new(AtomicU64::new(faults.storage_delay_ms * 1000)),
            lives: 0,
            steps: 0,
            trace: seed,
            widest_drift: 0,
            crash_points: BTreeSet::new(),
            last_ending: "none".to_owned(),
        }
    }

    fn run(mut self, expected: Option<&[String]>) -> Result<Report, Failure> {
        let mut quiet = 0;
        loop {
            self.steps += 1;
            if self.steps > MOST_STEPS || self.lives > MOST_LIVES {
                let (seed, steps, lives) = (self.seed, self.steps, self.lives);
                let at = self.processes.iter().map(Process::describe).collect::<Vec<_>>().join("; ");
                return Err(Failure::Stuck { seed, steps, lives, last: format!("{}; {at}", self.last_ending) });
            }
            if self.steps == self.faults.until_step {
                self.longest_delay.store(CALM_DELAY_US, Ordering::Relaxed);
            }
            self.thaw();
            if self.processes.is_empty() {
                self.start_process();
            }
            if self.step() == Moved::Yes {
                quiet = 0;
            } else {
                quiet += 1;
            }
            if quiet > 20 && self.processes.iter().all(Process::is_idle) {
                self.pass_time();
                quiet = 0;
            }
            if self.bury() {
                break;
            }
            self.strike();
        }
        self.judge(expected)
    }

    fn is_calm(&self) -> bool {
        self.steps > self.faults.until_step
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x100_0000_01B3).rotate_left(5);
    }

    fn start_process(&mut self) {
        self.lives += 1;
        let parallelism = if self.faults.until_step == 0 { 2 } else { 1 + self.random.below(3) as u32 };
        self.note(u64::from(parallelism));
        let (clock, delay) = (Arc::clone(&self.clock), Arc::clone(&self.longest_delay));
        let (number, sabotage) = (self.lives, self.sabotage);
        let (storage, kafka) = (&self.storage, &self.kafka);
        let process = Process::start(number, self.job, parallelism, clock, storage, kafka, delay, self.seed, sabotage);
        self.processes.push(process);
    }

    fn step(&mut self) -> Moved {
        let numbers: Vec<u64> = self.processes.iter().map(|p| p.number).collect();
        if self.random.chance(30) {
            let (calm, faults, now) = (self.is_calm(), self.faults, self.clock.monotonic());
            let served = if !self.job.topics.is_empty() && self.random.chance(60) {
                self.kafka.serve(now, &numbers, &mut self.random, |random| {
                    if calm { Fate::Served } else { kafka_fate(random, &faults) }
                })
            } else {
                self.storage.serve(now, &numbers, &mut self.random, |random, request| {
                    if calm { Fate::Served } else { fate(random, &faults, request) }
                })
            };
            let Some((number, fate, crash_point)) = served else { return Moved::No };
            self.note(number << 8 | fate as u64);
            if let Some(crash_point) = crash_point {
                self.crash_points.insert(crash_point);
                self.kill(number);
            } else {
                self.processes.iter_mut().for_each(Process::stir);
            }
            return Moved::Yes;
        }
        let index = self.random.below(self.processes.len() as u64) as usize;
        let moved = self.processes[index].step(&mut self.random);
        self.widest_drift = self.widest_drift.max(self.processes[index].drift());
        self.note(index as u64 * 2 + u64::from(moved == Moved::Yes));
        moved
    }

    fn pass_time(&mut self) {
        let numbers: Vec<u64> = self.processes.iter().map(|p| p.number).collect();
        let outside = self.storage.next_due(&numbers).into_iter().chain(self.kafka.next_due(&numbers));
        let next = self.processes.iter().filter_map(Process::wake_at).chain(outside).min();
        let now = self.clock.monotonic();
        let next = next.map_or(now + Duration::from_millis(1), |at| at.max(now + Duration::from_micros(1)));
        self.clock.advance_to(next);
        self.processes.iter_mut().for_each(Process::stir);
    }

    /// Removes processes that have ended; true if the job is done.
    fn bury(&mut self) -> bool {
        if self.processes.iter().any(Process::has_finished) {
            return true;
        }
        let ended: Vec<u64> = self.processes.iter().filter(|p| p.ending.is_some()).map(|p| p.number).collect();
        for number in ended {
            let index = self.processes.iter().position(|p| p.number == number).expect("found above");
            let process = self.processes.remove(index);
            if let Some(Ending::Failed(error)) = &process.ending {
                self.last_ending = error.to_string();
            }
            self.storage.on_death(number, &mut self.random, false);
            self.kafka.on_death(number, self.clock.monotonic(), &mut self.random);
        }
        false
    }

    /// Lets a process die or freeze between two steps.
    fn strike(&mut self) {
        if self.is_calm() || self.processes.is_empty() {
            return;
        }
        if self.random.below(10_000) < self.faults.stop_at_step {
            self.processes[0].stop();
        }
        if self.random.below(10_000) >= self.faults.death_at_step {
            return;
        }
        let number = self.processes[0].number;
        if self.frozen.is_none() && self.random.chance(self.faults.freeze) {
            let process = self.processes.remove(0);
            let until = self.steps + self.random.below(self.faults.freeze_steps);
            self.note(until);
            self.frozen = Some((process, until));
        } else {
            self.kill(number);
        }
    }

    fn kill(&mut self, number: u64) {
        self.processes.retain(|p| p.number != number);
        let power_failure =
            self.frozen.is_none() && self.processes.is_empty() && self.random.chance(self.faults.power_failure);
        self.storage.on_death(number, &mut self.random, power_failure);
        self.kafka.on_death(number, self.clock.monotonic(), &mut self.random);
    }

    fn thaw(&mut self) {
        let steps = self.steps;
        if let Some((mut process, _)) = self.frozen.take_if(|(_, until)| *until <= steps) {
            process.stir();
            self.processes.push(process);
        }
    }

    fn judge(self, expected: Option<&[String]>) -> Result<Report, Failure> {
        self.kafka.expire_all();
        let output = self.job.shown(&self.storage, &self.kafka);
        let (seed, steps, lives) = (self.seed, self.steps, self.lives);
        if let Some(expected) = expected
            && output != expected
        {
            let (missing, extra) = (difference(expected, &output), difference(&output, expected));
            let first = missing.first().or(extra.first()).cloned().unwrap_or_default();
            let (missing, extra) = (missing.len(), extra.len());
            return Err(Failure::WrongOutput { seed, steps, lives, missing, extra, first });
        }
        let left_over = self.storage.hidden(&self.job.output);
        let unnamed = self.unnamed_state();
        let (crash_points, trace, widest_drift) = (self.crash_points, self.trace, self.widest_drift);
        Ok(Report { output, steps, lives, crash_points, left_over, unnamed, trace, widest_drift })
    }

    fn unnamed_state(&self) -> Vec<String> {
        let records = self.storage.objects("job/log/");
        let records: Vec<String> =
            records.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
        let files = self.storage.objects("job/data/").into_iter().map(|(path, _)| path);
        let is_named = |path: &String| records.iter().any(|record| record.contains(&path["job/".len()..]));
        files.filter(|path| !is_named(path)).collect()
    }
}

/// True for a record of the job log that says how a snapshot fares.
fn is_of_snapshot(request: &StorageRequest) -> bool {
    let is_record = matches!(request, StorageRequest::PutNew { path, .. } if path.starts_with("job/log/"));
    is_record && matches!(&*CrashPoint::of(request, false).step, "log complete" | "log committed" | "log retire")
}

fn fate(random: &mut Random, faults: &Faults, request: &StorageRequest) -> Fate {
    let times = if is_of_snapshot(request) { faults.deaths_at_snapshots } else { 1 };
    if random.below(10_000) < faults.death_at_request * times {
        return if random.chance(50) { Fate::DiesBefore } else { Fate::DiesAfter };
    }
    // Output has very many appends, and one that fails fails the run: no run would ever come far.
    let is_output_append = matches!(request, StorageRequest::Append { path, .. } if !path.starts_with("job/"));
    // Reads without effect fail like writes do.
    if random.below(100) < faults.storage_errors && !is_output_append {
        let writes = matches!(
            request,
            StorageRequest::Append { .. } | StorageRequest::Put { .. } | StorageRequest::PutNew { .. }
        );
        return match random.below(4) {
            0 | 1 => Fate::FailedAfter,
            2 if writes => Fate::Full,
            _ => Fate::FailedBefore,
        };
    }
    Fate::Served
}

/// Requests that fail or whose answers get lost come again: no fault of the network fails a run.
fn kafka_fate(random: &mut Random, faults: &Faults) -> Fate {
    if random.below(10_000) < faults.death_at_request {
        return if random.chance(50) { Fate::DiesBefore } else { Fate::DiesAfter };
    }
    match random.below(100) < faults.kafka_errors {
        true if random.chance(50) => Fate::FailedBefore,
        true => Fate::FailedAfter,
        false => Fate::Served,
    }
}

/// The rows of sorted `a` that sorted `b` lacks, as multisets.
fn difference(a: &[String], b: &[String]) -> Vec<String> {
    let (mut rows, mut j) = (Vec::new(), 0);
    for row in a {
        while j < b.len() && b[j] < *row {
            j += 1;
        }
        if j < b.len() && b[j] == *row {
            j += 1;
        } else {
            rows.push(row.clone());
        }
    }
    rows
}

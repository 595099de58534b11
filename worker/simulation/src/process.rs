//! One life of the job's process: coordinator and slots, driven step by step.

use crate::SimJob;
use crate::fault::Sabotage;
use crate::kafka::{Link, SimCluster, SimKafka};
use crate::random::{Random, SimEntropy};
use crate::storage::{Delays, SimStorage};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_coordinator::{Action, Coordinator, CoordinatorConfig, CoordinatorError, Ending, Event, StartFrom};
use streamfleet_env::{Clock, Spawner, StorageRequest};
use streamfleet_launcher::{Committers, ConnectorRegistry};
use streamfleet_runtime::{JobSettings, RuntimeEnv, Slot, SlotHandle, Step, deploy};
use streamfleet_snapshot::{JobShape, SlotReport};
use streamfleet_types::log::{LogEntry, LogRecord, Outcome, Transaction};
use streamfleet_types::{Epoch, Millis, Term};

/// Virtual time, shared by all processes.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    nanos: AtomicU64,
}

impl SimClock {
    pub fn advance_to(&self, time: Duration) {
        self.nanos.fetch_max(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn wall_clock_ms(&self) -> i64 {
        1_700_000_000_000 + self.monotonic().as_millis() as i64
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Work beside the slots, done when the scheduler says so.
#[derive(Default)]
struct SimSpawner {
    work: Mutex<VecDeque<Work>>,
}

impl Spawner for SimSpawner {
    fn spawn(&self, work: Work) {
        self.work.lock().expect("one thread").push_back(work);
    }
}

/// Brokers answer so many times faster than storage: a checkpoint takes several of their answers, one after the other.
const BROKERS_FASTER: u64 = 5;

/// A slot holds what the snapshot under way has frozen, and what one before it had that was given up.
const MOST_HELD_EPOCHS: usize = 2;

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    Yes,
    No,
}

/// See the module.
pub(crate) struct Process<'a> {
    pub number: u64,
    job: &'a SimJob,
    parallelism: u32,
    clock: Arc<SimClock>,
    spawner: Arc<SimSpawner>,
    env: RuntimeEnv,
    committers: Committers,
    coordinator: Coordinator,
    events: Arc<Mutex<VecDeque<Event>>>,
    slots: Vec<Slot>,
    handles: Vec<SlotHandle>,
    idle: Vec<Option<Option<Duration>>>,
    sabotage: Option<Sabotage>,
    acknowledged: HashMap<Epoch, (usize, Vec<Transaction>)>,
    pub ending: Option<Ending>,
}

impl<'a> Process<'a> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a world, each of its own kind")]
    pub fn start(
        number: u64,
        job: &'a SimJob,
        parallelism: u32,
        clock: Arc<SimClock>,
        storage: &SimStorage,
        kafka: &SimKafka,
        longest_delay: Arc<AtomicU64>,
        seed: u64,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let delays = Delays::new(longest_delay, seed ^ number.wrapping_mul(0xD1A7));
        let spawner = Arc::new(SimSpawner::default());
        let link = Link::new(kafka.clone(), number, Arc::clone(&clock), delays.shorter(BROKERS_FASTER));
        let connectors = ConnectorRegistry { kafka: Arc::new(SimCluster::new(link)) };
        let env = RuntimeEnv {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(SimEntropy(Mutex::new(Random::new(seed.wrapping_add(number << 32))))),
            spawner: Arc::clone(&spawner) as Arc<dyn Spawner>,
            storage: Arc::new(storage.client(number, "job/", Arc::clone(&clock), delays.clone())),
            files: Arc::new(storage.client(number, "", Arc::clone(&clock), delays)),
            connectors: Arc::new(connectors.clone()),
        };
        let config = CoordinatorConfig {
            job: job.job.name.clone(),
            shape: JobShape {
                parallelism,
                max_parallelism: job.job.max_parallelism,
                fingerprint: job.job.graph.fingerprint.clone(),
            },
            operators: job.job.graph.vertices.iter().map(|v| v.id.clone()).collect(),
            start_from: StartFrom::Newest,
            new_uid: None,
            succeeds: None,
            allow_changed_plan: false,
            // Some hurry, so that lives in which processes often die come to retire checkpoints too.
            interval: Some(job.interval / (1 + number as u32 % 3)),
            timeout: Duration::from_millis(400),
            retain: 1 + number as usize % 2,
            // Few, so that whole states and deltas both come often.
            most_files_per_slot: 3,
            place: "job".to_owned(),
            address: format!("process {number}"),
        };
        let (coordinator, actions) = Coordinator::new(config, Arc::clone(&env.clock), Arc::clone(&env.entropy));
        let mut process = Self {
            number,
            job,
            parallelism,
            clock,
            spawner,
            committers: Committers::new(&job.job.graph, &connectors, &env.files)
                .expect("the job's sinks have committers"),
            env,
            coordinator,
            events: Arc::default(),
            slots: Vec::new(),
            handles: Vec::new(),
            idle: Vec::new(),
            sabotage,
            acknowledged: HashMap::new(),
            ending: None,
        };
        process.perform(actions);
        process
    }

    /// Lets one of the process's parts do something.
    pub fn step(&mut self, random: &mut Random) -> Moved {
        match random.below(8) {
            0 | 1 => self.step_coordinator(),
            2 => self.step_spawner(),
            _ => self.step_slot(random),
        }
    }

    /// How far the subtasks of its sources are apart in event time, as far as they have one.
    pub fn drift(&self) -> Millis {
        let slots: Vec<_> = self.slots.iter().map(Slot::metrics).collect();
        let sources = slots.iter().flat_map(|slot| &slot.tasks).filter(|task| task.is_source);
        let times: Vec<Millis> = sources.filter_map(|task| task.event_time()).collect();
        times.iter().max().zip(times.iter().min()).map_or(0, |(most, least)| most - least)
    }

    /// The user asks the job to stop with a last checkpoint.
    pub fn stop(&mut self) {
        self.events.lock().expect("one thread").push_back(Event::Stop);
        self.stir();
    }

    /// True if nothing happens until time passes or storage answers.
    pub fn is_idle(&self) -> bool {
        let now = self.clock.monotonic();
        self.events.lock().expect("one thread").is_empty()
            && self.spawner.work.lock().expect("one thread").is_empty()
            && self.idle.iter().all(|idle| idle.is_some_and(|until| until.is_none_or(|at| at > now)))
            && self.coordinator.wake_at().is_none_or(|at| at > now)
    }

    /// When something happens by itself.
    pub fn wake_at(&self) -> Option<Duration> {
        self.idle.iter().filter_map(|idle| idle.flatten()).chain(self.coordinator.wake_at()).min()
    }

    /// Something came from outside: nobody is known to be idle.
    pub fn stir(&mut self) {
        self.idle.iter_mut().for_each(|idle| *idle = None);
    }

    fn step_coordinator(&mut self) -> Moved {
        let event = self.events.lock().expect("one thread").pop_front();
        let due = self.coordinator.wake_at().is_some_and(|at| at <= self.clock.monotonic());
        let event = match event {
            Some(event) => event,
            None if due => Event::Tick,
            None => return Moved::No,
        };
        let event = self.sabotaged(event);
        let mut actions = Vec::new();
        self.coordinator.step(event, &mut actions);
        self.perform(actions);
        self.stir();
        Moved::Yes
    }

    fn step_spawner(&mut self) -> Moved {
        let work = self.spawner.work.lock().expect("one thread").pop_front();
        let Some(work) = work else { return Moved::No };
        work();
        self.stir();
        Moved::Yes
    }

    fn step_slot(&mut self, random: &mut Random) -> Moved {
        if self.slots.is_empty() {
            return Moved::No;
        }
        let index = random.below(self.slots.len() as u64) as usize;
        let step = self.slots[index].step(1 + random.below(12) as usize);
        let held = self.slots[index].held_epochs();
        assert!(held <= MOST_HELD_EPOCHS, "slot {index} holds what {held} snapshots have frozen");
        match step {
            Step::Ran => {
                self.stir();
                Moved::Yes
            }
            Step::IdleUntil(until) => {
                self.idle[index] = Some(until);
                Moved::No
            }
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Storage { id, request } => self.submit(id, request),
                Action::Deploy { unique, base, .. } => {
                    let settings = JobSettings {
                        parallelism: self.parallelism,
                        max_parallelism: self.job.job.max_parallelism,
                        unique,
                        batch_mode: self.job.job.batch_mode,
                        idle_timeout: None,
                        checkpoint_interval: self.job.interval,
                        commit_within: Duration::from_secs(60),
                        // Small, so that a state file comes in several parts.
                        snapshot_part_bytes: 1_000,
                    };
                    let wakes: Vec<_> =
                        (0..self.parallelism).map(|_| Arc::new(|| {}) as Arc<dyn Fn() + Send + Sync>).collect();
                    let events = Arc::clone(&self.events);
                    let reports = || -> Box<dyn Fn(u32, SlotReport) + Send> {
                        let events = Arc::clone(&events);
                        Box::new(move |slot, report| {
                            events.lock().expect("one thread").push_back(Event::Slot { slot, report });
                        })
                    };
                    match deploy(&self.job.job.graph, &settings, base.as_deref(), &self.env, &wakes, &reports) {
                        Ok(deployment) => {
                            self.idle = vec![None; deployment.slots.len()];
                            self.slots = deployment.slots;
                            self.handles = deployment.handles;
                        }
                        Err(error) => {
                            let error = CoordinatorError::Slot {
                                slot: 0,
                                message: error.to_string(),
                                outlook: error.outlook(),
                            };
                            self.ending = Some(Ending::Failed(error));
                        }
                    }
                }
                Action::Slots(command) => {
                    self.handles.iter().for_each(|handle| handle.send(command.clone().into()));
                }
                Action::Commit { epoch, transactions } => self.commit(Some(epoch), &transactions),
                Action::Abandon { uid, before } => {
                    let events = Arc::clone(&self.events);
                    let done = move |result| {
                        events.lock().expect("one thread").push_back(Event::Abandoned { result });
                    };
                    let is_sabotaged = self.sabotage == Some(Sabotage::FencesSuccessors);
                    let before = if is_sabotaged { Term(u64::MAX) } else { before };
                    self.committers.abandon(uid, before, Box::new(done));
                }
                Action::Over(ending) => {
                    for slot in &mut self.slots {
                        slot.leave();
                    }
                    self.ending = Some(ending);
                }
            }
        }
    }

    fn submit(&self, id: u64, request: StorageRequest) {
        let request = match (self.sabotage, request) {
            (Some(Sabotage::ClaimDoesNotCompete), StorageRequest::PutNew { path, bytes }) if is_claim(&bytes) => {
                StorageRequest::Put { path, bytes }
            }
            (_, request) => request,
        };
        let events = Arc::clone(&self.events);
        let answer = move |result| events.lock().expect("one thread").push_back(Event::Storage { id, result });
        self.env.storage.submit(request, Box::new(answer));
    }

    fn commit(&self, epoch: Option<Epoch>, transactions: &[Transaction]) {
        let events = Arc::clone(&self.events);
        let done = move |result: Result<(), String>| {
            if let Some(epoch) = epoch {
                events.lock().expect("one thread").push_back(Event::Committed { epoch, result });
            }
        };
        self.committers.commit(transactions.to_vec(), Box::new(done));
    }

    /// Puts the bug in, if one is asked for.
    fn sabotaged(&mut self, mut event: Event) -> Event {
        let Event::Slot { report: SlotReport::Acknowledged { epoch, part }, .. } = &mut event else { return event };
        match self.sabotage {
            Some(Sabotage::DeltaDroppedWithAbortedEpoch) => part.files.retain(|f| f.epoch == *epoch),
            Some(Sabotage::CommitBeforeComplete) => {
                let (count, transactions) = self.acknowledged.entry(*epoch).or_default();
                *count += 1;
                transactions.extend(part.transactions.iter().cloned());
                if *count == self.parallelism as usize {
                    let transactions = std::mem::take(transactions);
                    self.commit(None, &transactions);
                }
            }
            Some(Sabotage::ClaimDoesNotCompete | Sabotage::FencesSuccessors) | None => {}
        }
        event
    }

    /// Where it stands, for a run that gets stuck.
    pub fn describe(&self) -> String {
        let events = self.events.lock().expect("one thread").len();
        let work = self.spawner.work.lock().expect("one thread").len();
        format!(
            "process {}: {:?}; {events} events, {work} pieces of work, slots {:?}, wakes at {:?}, now {:?}",
            self.number,
            self.coordinator,
            self.idle,
            self.wake_at(),
            self.clock.monotonic()
        )
    }

    /// True if the job is done.
    pub fn has_finished(&self) -> bool {
        matches!(self.ending, Some(Ending::Ended(Outcome::Finished) | Ending::AlreadyFinished(_)))
    }
}

fn is_claim(bytes: &[u8]) -> bool {
    serde_json::from_slice::<LogEntry>(bytes)
        .is_ok_and(|e| matches!(e.record, LogRecord::Claim { .. } | LogRecord::Start { .. }))
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod stop_tests;

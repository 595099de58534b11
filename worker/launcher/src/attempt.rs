//! One run of a job, from its claim to its end. What it made is gone afterwards: slots, clients, storage; the next one begins as
//! that of a new process would.

use crate::adopt::{Adopted, adopt};
use crate::compile::CompiledJob;
use crate::crash_point;
use crate::driver::{Committers, ConnectorRegistry};
use crate::error::LauncherError;
use crate::metrics::JobMetrics;
use crate::progress::Progress;
use crate::report::RunCounts;
use crate::run::{RunOptions, RunStart};
use crate::savepoint::{Base, load_for};
use crate::stop::StopWish;
use crate::system::{SystemEntropy, ThreadSpawner};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use streamfleet_coordinator::{Action, Coordinator, CoordinatorConfig, Ending, Event, StartFrom};
use streamfleet_env::{Clock, Storage, StorageRequest};
use streamfleet_exchange::Wake;
use streamfleet_runtime::{Connectors, JobSettings, RuntimeEnv, SlotHandle, SlotMetrics, deploy, run_slot};
use streamfleet_snapshot::{JobShape, SlotCommand, SlotFailure, SlotReport};
use streamfleet_storage::{Files, parse_entry};
use streamfleet_types::log::{LogRecord, Snapshot};
use streamfleet_types::{Outlook, Run};
use tracing::debug;

/// The longest that the coordinator's thread sleeps.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// A state file is written in parts of about so many bytes: what an upload takes of the memory.
const SNAPSHOT_PART_BYTES: usize = 4 << 20;

/// How long a job may be down before the output of its last checkpoint is committed by the next process.
const TIME_FOR_RESTART: Duration = Duration::from_secs(60);

/// A checkpoint of more state files per slot is followed by one that writes the whole state.
const MOST_FILES_PER_SLOT: usize = 32;

/// What the attempts of a process share.
pub(crate) struct Attempts<'a> {
    pub job: &'a CompiledJob,
    pub options: &'a RunOptions,
    pub clock: Arc<dyn Clock>,
    pub connectors: Arc<dyn Connectors>,
    pub metrics: Arc<JobMetrics>,
    pub stop: Arc<StopWish>,
}

/// How an attempt went.
pub(crate) struct Attempt {
    pub ending: Result<Ending, LauncherError>,
    /// The run that it began, or tried to.
    pub run: Option<Run>,
    /// The log says that it began: the next one goes on from the log.
    pub has_begun: bool,
    /// Its last checkpoint stands.
    pub has_last_checkpoint: bool,
    pub counts: RunCounts,
}

impl Attempts<'_> {
    /// Runs the job to its end or failure. `succeeds`: the run of the attempt before.
    ///
    /// # Errors
    /// There is nothing to begin from, or a sink refuses its table.
    pub fn run(&self, start: &RunStart, succeeds: Option<Run>) -> Result<Attempt, LauncherError> {
        let job = self.job;
        let place = job.place();
        let (events, inbox) = channel();
        let env = RuntimeEnv {
            clock: Arc::clone(&self.clock),
            entropy: Arc::new(SystemEntropy),
            spawner: Arc::new(ThreadSpawner::new()),
            storage: streamfleet_storage::open(&place, &job.s3),
            files: Arc::new(Files::new(&self.options.working_folder, job.s3.clone())),
            connectors: Arc::clone(&self.connectors),
        };
        let mut config = CoordinatorConfig {
            job: job.name.clone(),
            shape: JobShape {
                parallelism: job.parallelism,
                max_parallelism: job.max_parallelism,
                fingerprint: job.graph.fingerprint.clone(),
            },
            operators: job.graph.vertices.iter().map(|v| v.id.clone()).collect(),
            start_from: StartFrom::Newest,
            new_uid: None,
            succeeds,
            allow_changed_plan: self.options.allow_changed_plan,
            interval: job.interval,
            timeout: job.timeout,
            retain: job.retain,
            most_files_per_slot: MOST_FILES_PER_SLOT,
            place,
            address: address(),
        };
        match start {
            RunStart::Newest => {}
            RunStart::Nothing => config.start_from = StartFrom::Nothing,
            RunStart::Savepoint(path) => begin_from(path, job, &env.storage, &mut config)?,
        }
        let committers = Committers::new(&job.graph, &ConnectorRegistry::default(), &env.files)?;
        self.stop.tell(events.clone());
        let (coordinator, actions) = Coordinator::new(config, Arc::clone(&self.clock), Arc::clone(&env.entropy));
        let mut driver = Driver {
            job,
            committers,
            env,
            events,
            coordinator,
            fleet: None,
            progress: Progress::new(&job.name, self.options.progress),
            metrics: Arc::clone(&self.metrics),
            ending: None,
        };
        let ending = driver.perform(actions).and_then(|()| driver.drive(&inbox));
        driver.stop_fleet();
        Ok(Attempt {
            ending,
            run: driver.coordinator.run(),
            has_begun: driver.coordinator.has_begun(),
            has_last_checkpoint: driver.coordinator.has_last_snapshot(),
            counts: driver.progress.counts(driver.coordinator.stats()),
        })
    }
}

/// Lets a run begin from the snapshot at a path. Another job's is copied first.
fn begin_from(
    path: &str,
    job: &CompiledJob,
    storage: &Arc<dyn Storage>,
    config: &mut CoordinatorConfig,
) -> Result<(), LauncherError> {
    let snapshot = match load_for(path, job, &config.place)? {
        Base::Own(snapshot) => snapshot,
        Base::Foreign(found) => {
            config.check_plan(&found.snapshot)?;
            let tell = |text: &str| eprintln!("{}: {text}", job.name);
            let Adopted { uid, snapshot } = adopt(path, *found, storage, &SystemEntropy, tell)?;
            config.new_uid = Some(uid);
            snapshot
        }
    };
    config.start_from = StartFrom::Snapshot(Box::new(snapshot));
    Ok(())
}

/// Tells which record of the log is about to be written.
fn note_record(request: &StorageRequest) {
    let StorageRequest::PutNew { bytes, .. } = request else { return };
    if !crash_point::is_armed() {
        return;
    }
    match parse_entry("", bytes).map(|entry| entry.record) {
        Ok(LogRecord::Complete { .. }) => crash_point::reached("before-complete"),
        Ok(LogRecord::Committed { .. }) => crash_point::reached("before-committed"),
        _ => {}
    }
}

fn address() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} process {}", host.trim(), std::process::id())
}

/// The slots' threads.
struct Fleet {
    handles: Vec<SlotHandle>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// Carries out what the coordinator wants.
struct Driver<'a> {
    job: &'a CompiledJob,
    env: RuntimeEnv,
    committers: Committers,
    events: Sender<Event>,
    coordinator: Coordinator,
    fleet: Option<Fleet>,
    progress: Progress,
    metrics: Arc<JobMetrics>,
    ending: Option<Ending>,
}

impl Driver<'_> {
    fn drive(&mut self, inbox: &Receiver<Event>) -> Result<Ending, LauncherError> {
        loop {
            if let Some(ending) = self.ending.take() {
                return Ok(ending);
            }
            let now = self.env.clock.monotonic();
            let sleep =
                self.coordinator.wake_at().map_or(LONGEST_SLEEP, |at| at.saturating_sub(now).min(LONGEST_SLEEP));
            let event = match inbox.recv_timeout(sleep) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Event::Tick,
            };
            let mut actions = Vec::new();
            if let Some(report) = self.too_much_state() {
                self.coordinator.step(Event::Slot { slot: 0, report }, &mut actions);
            }
            self.coordinator.step(event, &mut actions);
            self.perform(actions)?;
            self.metrics.set_checkpoints(self.coordinator.stats());
            self.progress.show(self.env.clock.monotonic(), self.coordinator.stats());
        }
    }

    /// A failure, if the state takes more memory than it may.
    fn too_much_state(&self) -> Option<SlotReport> {
        let limit = self.job.memory_limit?;
        let bytes = self.progress.state_bytes();
        (bytes > limit).then(|| {
            let message = format!(
                "its state takes {bytes} bytes of memory, more than spec.state.memoryLimit, {limit} bytes: raise the limit, \
                 or bound the state by windows"
            );
            SlotReport::Failed(SlotFailure {
                message,
                // The same state comes again.
                outlook: Outlook::Lasts,
                in_restore: false,
                path: None,
            })
        })
    }

    fn perform(&mut self, actions: Vec<Action>) -> Result<(), LauncherError> {
        for action in actions {
            match action {
                Action::Storage { id, request } => {
                    note_record(&request);
                    let events = self.events.clone();
                    let answer = move |result| {
                        // Answers after the end have no reader any more.
                        let _ = events.send(Event::Storage { id, result });
                    };
                    self.env.storage.submit(request, Box::new(answer));
                }
                Action::Deploy { unique, base, run, .. } => self.deploy(unique, base.as_deref(), run)?,
                Action::Slots(command) => {
                    for handle in self.fleet.iter().flat_map(|f| &f.handles) {
                        handle.send(command.clone().into());
                    }
                    if matches!(command, SlotCommand::Committed { .. }) {
                        crash_point::reached("after-committed");
                    }
                }
                Action::Commit { epoch, transactions } => {
                    let events = self.events.clone();
                    let done = move |result: Result<(), String>| {
                        let _ = events.send(Event::Committed { epoch, result });
                    };
                    crash_point::reached("after-complete");
                    self.committers.commit(transactions, Box::new(done));
                }
                Action::Abandon { uid, before } => {
                    crash_point::reached("before-abandon");
                    let events = self.events.clone();
                    let done = move |result: Result<(), String>| {
                        let _ = events.send(Event::Abandoned { result });
                    };
                    self.committers.abandon(uid, before, Box::new(done));
                }
                Action::Over(ending) => self.ending = Some(ending),
            }
        }
        Ok(())
    }

    fn deploy(&mut self, unique: String, base: Option<&Snapshot>, run: Run) -> Result<(), LauncherError> {
        crash_point::reached("before-restore");
        self.progress.started(run, base.map(|b| b.epoch));
        let settings = JobSettings {
            parallelism: self.job.parallelism,
            max_parallelism: self.job.max_parallelism,
            unique,
            batch_mode: self.job.batch_mode,
            idle_timeout: self.job.idle_timeout,
            checkpoint_interval: self.job.interval.unwrap_or_default(),
            commit_within: self.job.timeout + TIME_FOR_RESTART + self.job.restart.longest_pause(),
            snapshot_part_bytes: SNAPSHOT_PART_BYTES,
        };
        let cells: Vec<Arc<OnceLock<Thread>>> = (0..settings.parallelism).map(|_| Arc::default()).collect();
        let wakes: Vec<Wake> = cells.iter().map(wake_of).collect();
        let events = self.events.clone();
        let reports = || -> Box<dyn Fn(u32, SlotReport) + Send> {
            let events = events.clone();
            Box::new(move |slot, report| {
                debug!(slot, ?report, "slot reports");
                // After the end nobody listens any more.
                let _ = events.send(Event::Slot { slot, report });
            })
        };
        let deployment = deploy(&self.job.graph, &settings, base, &self.env, &wakes, &reports)?;
        let metrics: Vec<Arc<SlotMetrics>> = deployment.slots.iter().map(|s| s.metrics()).collect();
        self.metrics.watch(&metrics);
        self.progress.watch(metrics);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (slot, cell) in deployment.slots.into_iter().zip(cells) {
            let (clock, stop, events) = (Arc::clone(&self.env.clock), Arc::clone(&stop), self.events.clone());
            let thread = std::thread::Builder::new().name(format!("slot-{}", slot.number())).spawn(move || {
                cell.set(std::thread::current()).expect("a cell belongs to one thread");
                let number = slot.number();
                let run = std::panic::AssertUnwindSafe(|| run_slot(slot, &clock, &stop));
                if let Err(panic) = std::panic::catch_unwind(run) {
                    let _ = events.send(Event::Slot { slot: number, report: panicked(panic.as_ref()) });
                }
            });
            threads.push(thread.expect("the system can start a thread"));
        }
        crash_point::reached("after-restore");
        self.fleet = Some(Fleet { handles: deployment.handles, threads, stop });
        Ok(())
    }

    fn stop_fleet(&mut self) {
        self.progress.clear();
        let Some(fleet) = self.fleet.take() else { return };
        fleet.stop.store(true, Ordering::Release);
        for thread in fleet.threads {
            thread.thread().unpark();
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// The report of a slot whose thread panicked.
fn panicked(panic: &(dyn std::any::Any + Send)) -> SlotReport {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let message = format!("it broke down ({}); this is a bug: please report it", text.unwrap_or("no reason given"));
    SlotReport::Failed(SlotFailure { message, outlook: Outlook::MayPass, in_restore: false, path: None })
}

fn wake_of(cell: &Arc<OnceLock<Thread>>) -> Wake {
    let cell = Arc::clone(cell);
    // Before the thread has begun there is nothing to wake: its first step looks at everything.
    Arc::new(move || {
        if let Some(thread) = cell.get() {
            thread.unpark();
        }
    })
}

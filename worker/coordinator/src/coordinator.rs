//! The coordinator's state machine.

use crate::append::{Appended, Appender};
use crate::backoff::{FIRST_PAUSE, TRIES};
use crate::chain::is_long;
use crate::commits::{Answer, Commits};
use crate::config::{CoordinatorConfig, StartFrom};
use crate::first_rows::FirstRowsOfSlots;
use crate::last_snapshot::LastSnapshot;
use crate::leftovers::{DATA_PREFIX, Leftovers};
use crate::log_view::LogView;
use crate::message::{Action, CoordinatorError, Ending, Event};
use crate::settling::Settling;
use crate::startup::{Progress, Startup};
use crate::stats::CheckpointStats;
use crate::watermark_groups::WatermarkGroups;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::{Clock, Entropy, StorageError, StorageReply, StorageRequest};
use streamfleet_snapshot::{Assembly, Retention, SlotCommand, SlotFailure, SlotReport, unreferenced_files};
use streamfleet_storage::{LOG_PREFIX, entry_path};
use streamfleet_types::log::{LOG_VERSION, LogEntry, LogRecord, Outcome, Snapshot};
use streamfleet_types::{Epoch, Run, Term};
use tracing::{info, warn};

/// Why a storage request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Startup,
    Append,
    /// Lists state files, whole and staged, to find those that nobody refers to.
    Sweep,
    /// Deletes a file that nobody needs: failing is no harm.
    Delete,
    /// Deletes the oldest record of the log.
    DeleteRecord,
}

#[derive(Debug)]
enum Stage {
    Starting(Box<Startup>),
    /// `Start` and `Claim` are being appended.
    Claiming,
    /// Output of the base snapshot is being committed, and that is being recorded.
    CommittingBase,
    /// What earlier reigns left open is being ended: tries so far, and when to try again if none is under way.
    Abandoning {
        tries: u32,
        retry_at: Option<Duration>,
    },
    Deploying,
    Running,
    /// `End` is being appended.
    Ending,
    Over,
}

/// A snapshot under way.
#[derive(Debug)]
struct UnderWay {
    assembly: Assembly,
    since: Duration,
    /// All parts are there; `Complete` is being appended.
    recording: bool,
    last: bool,
    /// All slots had drained when it was triggered: it needs no state.
    drained: bool,
}

/// See the crate.
pub struct Coordinator {
    config: CoordinatorConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stage: Stage,
    view: LogView,
    appender: Appender,
    asked: HashMap<u64, Purpose>,
    next_id: u64,
    run: Run,
    term: Term,
    uid: String,
    base: Option<Snapshot>,
    running: BTreeSet<u32>,
    drained: BTreeSet<u32>,
    under_way: Option<UnderWay>,
    settling: Settling,
    next_checkpoint: Duration,
    newest_epoch: Epoch,
    commits: Commits,
    stop_asked: bool,
    last: LastSnapshot,
    /// Why the run failed; `End` is being appended.
    failure: Option<CoordinatorError>,
    /// Times that the log may be read again because somebody appended to it before this process claimed.
    claims_left: u32,
    /// `Start` stands: whoever appends behind it has taken over.
    started: bool,
    /// Old records still to be deleted, lowest first: one at a time, so that no gap opens.
    old_records: VecDeque<u64>,
    stats: CheckpointStats,
    groups: WatermarkGroups,
    first_rows: FirstRowsOfSlots,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("run", &self.run)
            .field("term", &self.term)
            .field("stage", &self.stage)
            .field("under_way", &self.under_way)
            .field("running", &self.running)
            .field("drained", &self.drained)
            .field("commits", &self.commits)
            .field("appender", &self.appender)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Coordinator {
    /// A coordinator that begins, and its first actions.
    pub fn new(config: CoordinatorConfig, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> (Self, Vec<Action>) {
        let (startup, request) = Startup::new(&config.job, entropy.next_u64(), clock.wall_clock_ms());
        let mut coordinator = Self {
            config,
            clock,
            entropy,
            stage: Stage::Starting(Box::new(startup)),
            view: LogView::default(),
            appender: Appender::new(0),
            asked: HashMap::new(),
            next_id: 0,
            run: Run(0),
            term: Term(0),
            uid: String::new(),
            base: None,
            running: BTreeSet::new(),
            drained: BTreeSet::new(),
            under_way: None,
            settling: Settling::default(),
            next_checkpoint: Duration::ZERO,
            newest_epoch: Epoch(0),
            commits: Commits::default(),
            stop_asked: false,
            last: LastSnapshot::default(),
            failure: None,
            claims_left: TRIES,
            started: false,
            old_records: VecDeque::new(),
            stats: CheckpointStats::default(),
            groups: WatermarkGroups::default(),
            first_rows: FirstRowsOfSlots::default(),
        };
        let mut actions = Vec::new();
        coordinator.ask(Purpose::Startup, request, &mut actions);
        (coordinator, actions)
    }

    /// What is known of checkpoints.
    pub const fn stats(&self) -> &CheckpointStats {
        &self.stats
    }

    /// The run that it began, or tried to; `None` before it has read the log.
    pub fn run(&self) -> Option<Run> {
        (self.run > Run(0)).then_some(self.run)
    }

    /// True if the log says that its run has begun: what it was to begin from is said there, and counts no more.
    pub const fn has_begun(&self) -> bool {
        self.started
    }

    /// True if everything up to the run's end is in a snapshot that stands.
    pub const fn has_last_snapshot(&self) -> bool {
        self.last.is_done()
    }

    /// When the coordinator wants a [`Event::Tick`], at the latest.
    pub fn wake_at(&self) -> Option<Duration> {
        let timeout = self.under_way.as_ref().filter(|u| !u.recording).map(|u| u.since + self.config.timeout);
        let is_running = matches!(self.stage, Stage::Running) && self.under_way.is_none() && !self.last.is_done();
        let is_free = is_running && self.settling.is_over();
        let next = (self.config.interval.is_some() && is_free).then_some(self.next_checkpoint);
        let retry_last = self.last.retry_at().filter(|_| is_free);
        let retry_abandon = match self.stage {
            Stage::Abandoning { retry_at, .. } => retry_at,
            _ => None,
        };
        let startup = match &self.stage {
            Stage::Starting(startup) => startup.wake_at(),
            _ => None,
        };
        // Once it is past, what else must come wakes it.
        let first_rows = self.first_rows.wait_ends_at().filter(|at| self.stop_asked && *at > self.clock.monotonic());
        let settling = self.settling.wake_at().filter(|_| is_running);
        let last_fails = self.last.patience_ends_at().filter(|_| is_running);
        let retries = self.commits.wake_at();
        let appender = self.appender.wake_at();
        let all =
            [timeout, next, retry_last, retry_abandon, first_rows, settling, last_fails, retries, startup, appender];
        all.into_iter().flatten().min()
    }

    /// Takes an event; what is to be done goes to `actions`.
    pub fn step(&mut self, event: Event, actions: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        let now = self.clock.monotonic();
        match event {
            Event::Tick => {}
            Event::Storage { id, result } => self.on_storage(now, id, result, actions),
            Event::Slot { slot, report } => self.on_slot(now, slot, report),
            Event::Committed { epoch, result } => self.on_committed(now, epoch, result),
            Event::Abandoned { result } => self.on_abandoned(now, result, actions),
            Event::Stop => self.stop_asked = true,
        }
        self.advance(now, actions);
    }

    fn ask(&mut self, purpose: Purpose, request: StorageRequest, actions: &mut Vec<Action>) {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, purpose);
        actions.push(Action::Storage { id, request });
    }

    fn append(&mut self, record: LogRecord) {
        self.appender.push(LogEntry {
            version: LOG_VERSION,
            job: self.config.job.clone(),
            uid: self.uid.clone(),
            nonce: self.entropy.next_u64(),
            run: self.run,
            term: self.term,
            written_at_ms: self.clock.wall_clock_ms(),
            record,
        });
    }

    fn over(&mut self, ending: Ending, actions: &mut Vec<Action>) {
        self.stage = Stage::Over;
        actions.push(Action::Over(ending));
    }

    fn on_storage(
        &mut self,
        now: Duration,
        id: u64,
        result: Result<StorageReply, StorageError>,
        actions: &mut Vec<Action>,
    ) {
        match self.asked.remove(&id) {
            Some(Purpose::Startup) => self.on_startup(now, result, actions),
            Some(Purpose::Append) => match self.appender.on_answer(now, result) {
                Appended::Ask(request) => self.ask(Purpose::Append, request, actions),
                Appended::Waiting => {}
                Appended::Done(place, record) => self.on_appended(now, place, record, actions),
                Appended::Failed(CoordinatorError::Fenced { .. } | CoordinatorError::FencedLongAgo)
                    if !self.started && self.claims_left > 0 =>
                {
                    self.read_log_again(actions);
                }
                Appended::Failed(error) => {
                    let error = self.failure.take().unwrap_or(error);
                    self.over(Ending::Failed(error), actions);
                }
            },
            Some(Purpose::Sweep) => self.on_swept(&result, actions),
            Some(Purpose::Delete) => {
                if let Err(error) = result {
                    warn!(%error, "an old file stays");
                }
            }
            Some(Purpose::DeleteRecord) => match result {
                Ok(_) => {
                    self.view.lowest = self.old_records.pop_front().map_or(self.view.lowest, |n| n + 1);
                    self.delete_next_record(actions);
                }
                Err(error) => {
                    warn!(%error, "an old record of the job log stays until the next checkpoint");
                    self.old_records.clear();
                }
            },
            None => {}
        }
    }

    /// Somebody appended between the reading of the log and the claim: what they said counts.
    fn read_log_again(&mut self, actions: &mut Vec<Action>) {
        self.claims_left -= 1;
        // The number is theirs.
        self.run = Run(0);
        let (startup, request) = Startup::new(&self.config.job, self.entropy.next_u64(), self.clock.wall_clock_ms());
        self.stage = Stage::Starting(Box::new(startup));
        self.ask(Purpose::Startup, request, actions);
    }

    fn on_startup(&mut self, now: Duration, result: Result<StorageReply, StorageError>, actions: &mut Vec<Action>) {
        let Stage::Starting(startup) = &mut self.stage else { return };
        match startup.on_answer(now, result) {
            Progress::Waiting => {}
            Progress::Ask(request) => self.ask(Purpose::Startup, request, actions),
            Progress::Failed(error) => self.over(Ending::Failed(error), actions),
            Progress::Read(view) => self.claim(view, actions),
        }
    }

    /// The log is read: begins the next run with the next term.
    fn claim(&mut self, view: LogView, actions: &mut Vec<Action>) {
        if self.config.succeeds.is_some_and(|own| view.run > own) {
            let LogView { run, term, address, .. } = view;
            self.over(Ending::Failed(CoordinatorError::Fenced { run, term, address }), actions);
            return;
        }
        if view.ended == Some(Outcome::Finished) && self.config.start_from == StartFrom::Newest {
            self.over(Ending::AlreadyFinished(view.run), actions);
            return;
        }
        self.run = view.run.next();
        self.term = view.term.next();
        self.newest_epoch = view.newest_epoch;
        let uid = view.uid.clone().or_else(|| self.config.new_uid.clone());
        self.uid = uid.unwrap_or_else(|| format!("{:016x}", self.entropy.next_u64()));
        self.base = match &self.config.start_from {
            StartFrom::Newest => view.newest().cloned(),
            StartFrom::Nothing => None,
            StartFrom::Snapshot(snapshot) => Some((**snapshot).clone()),
        };
        if let Some(base) = &self.base
            && let Err(error) = self.config.check_plan(base)
        {
            self.over(Ending::Failed(error), actions);
            return;
        }
        if let Some(base) = &mut self.base {
            base.transactions = view.open_transactions(base);
        }
        let base_committed = self.base.as_ref().is_none_or(|b| b.transactions.is_empty());
        self.newest_epoch = self.newest_epoch.max(self.base.as_ref().map_or(Epoch(0), |b| b.epoch));
        self.appender = Appender::new(view.tail);
        self.view = view;
        self.append(LogRecord::Start {
            fingerprint: self.config.shape.fingerprint.clone(),
            base: self.base.clone().map(Box::new),
            base_committed,
        });
        self.append(LogRecord::Claim { address: self.config.address.clone() });
        self.stage = Stage::Claiming;
    }

    fn on_appended(&mut self, now: Duration, place: u64, record: LogRecord, actions: &mut Vec<Action>) {
        let entry = LogEntry {
            version: LOG_VERSION,
            job: self.config.job.clone(),
            uid: self.uid.clone(),
            nonce: 0,
            run: self.run,
            term: self.term,
            written_at_ms: 0,
            record,
        };
        let retired: Vec<Snapshot> = match &entry.record {
            LogRecord::Retire { epoch } => {
                self.view.kept().filter(|(_, s)| s.epoch == *epoch).map(|(_, s)| s.clone()).collect()
            }
            _ => Vec::new(),
        };
        self.view.apply(place, &entry, &self.config.job).expect("the record is this job's own");
        match entry.record {
            LogRecord::Start { .. } => self.started = true,
            LogRecord::Claim { .. } => self.on_claimed(now, actions),
            LogRecord::Complete { snapshot } => self.on_complete(now, *snapshot, actions),
            LogRecord::Abort { epoch, reason } => {
                warn!(%epoch, reason, "checkpoint given up");
                self.stats.failed += 1;
                actions.push(Action::Slots(SlotCommand::Abort { epoch }));
            }
            LogRecord::Committed { epoch } => {
                if matches!(self.stage, Stage::CommittingBase) {
                    self.abandon(1, actions);
                } else {
                    actions.push(Action::Slots(SlotCommand::Committed { epoch }));
                }
            }
            LogRecord::Retire { .. } => self.on_retired(&retired, actions),
            LogRecord::End { outcome, .. } => {
                let ending = self.failure.take().map_or(Ending::Ended(outcome), Ending::Failed);
                self.over(ending, actions);
            }
        }
    }

    fn on_claimed(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.sweep(actions);
        match self.base.as_ref().filter(|b| !b.transactions.is_empty()) {
            Some(base) => {
                self.commits.recorded(base.epoch, base.transactions.clone());
                self.stage = Stage::CommittingBase;
                self.commit(now, actions);
            }
            None => self.abandon(1, actions),
        }
    }

    /// Before this the base's output must be recorded as committed: what is open after it is nobody's.
    fn abandon(&mut self, tries: u32, actions: &mut Vec<Action>) {
        self.stage = Stage::Abandoning { tries, retry_at: None };
        actions.push(Action::Abandon { uid: self.uid.clone(), before: self.term });
    }

    fn on_abandoned(&mut self, now: Duration, result: Result<(), String>, actions: &mut Vec<Action>) {
        let Stage::Abandoning { tries, .. } = self.stage else { return };
        match result {
            Ok(()) => self.deploy(actions),
            Err(message) if tries >= TRIES => self.fail(CoordinatorError::Abandon(message)),
            Err(message) => {
                warn!(message, "what an earlier run left open could not be ended; tried again");
                self.stage = Stage::Abandoning { tries, retry_at: Some(now + FIRST_PAUSE) };
            }
        }
    }

    fn deploy(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Deploying;
        let (run, term) = (self.run, self.term);
        let base = self.base.clone().map(Box::new);
        match &base {
            Some(base) => info!(%run, %term, epoch = %base.epoch, "goes on from a checkpoint"),
            None => info!(%run, %term, "begins from nothing"),
        }
        // The nonce keeps names apart even if two processes believe in one term.
        let unique = format!("{}-{}-{:08x}", self.uid, term, self.entropy.next_u64() as u32);
        actions.push(Action::Deploy { run, term, unique, base });
    }

    /// Commits what is due, if anything is.
    fn commit(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some((epoch, transactions)) = self.commits.next(now) {
            actions.push(Action::Commit { epoch, transactions });
        }
    }

    fn on_committed(&mut self, now: Duration, epoch: Epoch, result: Result<(), String>) {
        match self.commits.answered(now, epoch, result) {
            Some(Answer::Committed) => self.append(LogRecord::Committed { epoch }),
            Some(Answer::Failed(message)) => self.fail(CoordinatorError::Commit { epoch, message }),
            Some(Answer::Again(message)) => warn!(%epoch, message, "output could not be committed; tried again"),
            None => {}
        }
    }

    fn on_slot(&mut self, now: Duration, slot: u32, report: SlotReport) {
        match report {
            SlotReport::Running => {
                self.running.insert(slot);
                let all = self.running.len() == self.config.shape.parallelism as usize;
                if all && matches!(self.stage, Stage::Deploying) {
                    self.stage = Stage::Running;
                    self.next_checkpoint = now + self.config.interval.unwrap_or_default();
                }
            }
            SlotReport::Acknowledged { epoch, part } => {
                let Some(under_way) = self.under_way.as_mut().filter(|u| u.assembly.epoch() == epoch) else { return };
                if under_way.assembly.add(slot, *part, &self.config.shape) {
                    under_way.recording = true;
                    self.record_snapshot();
                }
            }
            SlotReport::Declined { epoch, reason } => {
                if self.under_way.as_ref().is_some_and(|u| u.assembly.epoch() == epoch) {
                    self.abort(now, format!("slot {slot}: {reason}"), false);
                }
            }
            SlotReport::Settled(result) => self.on_settled(now, slot, result),
            SlotReport::FirstRows(first_rows) => {
                self.first_rows.on_said(now, slot, first_rows);
            }
            SlotReport::Drained => {
                self.drained.insert(slot);
            }
            SlotReport::Reached { source, group, watermark } => {
                self.groups.on_reached(slot, source, group, watermark);
            }
            SlotReport::Failed(failure) => self.on_slot_failed(slot, failure),
        }
    }

    fn record_snapshot(&mut self) {
        let Some(under_way) = &mut self.under_way else { return };
        let epoch = under_way.assembly.epoch();
        let assembly = std::mem::replace(&mut under_way.assembly, Assembly::new(epoch));
        // Transactions of earlier snapshots that are not known to be done stay listed.
        let drained = under_way.drained;
        let mut snapshot = assembly.finish(&self.config.shape, self.view.newest(), self.commits.open());
        if drained {
            snapshot.files.clear();
        }
        self.append(LogRecord::Complete { snapshot: Box::new(snapshot) });
    }

    fn on_slot_failed(&mut self, slot: u32, failure: SlotFailure) {
        let error = match self.base.as_ref().filter(|_| failure.in_restore) {
            Some(base) => {
                let is_sound = |s: &Snapshot| !s.files.iter().any(|f| Some(&f.path) == failure.path.as_ref());
                let mut kept: Vec<&(u64, Snapshot)> = self.view.kept().collect();
                kept.sort_by_key(|(_, s)| s.epoch);
                let previous = kept.into_iter().rev().find(|(_, s)| s.epoch < base.epoch && is_sound(s));
                let advice = match previous {
                    Some((place, s)) => format!(
                        "; the newest checkpoint without it is {}: start with `--from-savepoint {}/{}`. Output that became \
                         visible since then comes again: remove it first",
                        s.epoch,
                        self.config.place,
                        entry_path(*place)
                    ),
                    None => "; no retained checkpoint does without it: start with --from-nothing to run the job anew"
                        .to_owned(),
                };
                CoordinatorError::Restore {
                    epoch: base.epoch,
                    message: failure.message,
                    advice,
                    outlook: failure.outlook,
                }
            }
            None => CoordinatorError::Slot { slot, message: failure.message, outlook: failure.outlook },
        };
        self.fail(error);
    }

    /// Gives the snapshot under way up. Slots are told when the record stands.
    fn abort(&mut self, now: Duration, reason: String, is_late: bool) {
        let Some(under_way) = self.under_way.take() else { return };
        let epoch = under_way.assembly.epoch();
        self.next_checkpoint = now + self.config.interval.unwrap_or(FIRST_PAUSE);
        if under_way.last && self.last_failed(now, &reason, is_late) {
            return;
        }
        self.settling.begin(self.config.shape.parallelism);
        self.append(LogRecord::Abort { epoch, reason });
    }

    /// A try of the last snapshot has failed; true if it was the last one.
    fn last_failed(&mut self, now: Duration, reason: &str, is_late: bool) -> bool {
        let is_over = self.last.failed(now, is_late);
        if is_over {
            self.fail(CoordinatorError::LastSnapshot(reason.to_owned()));
        }
        is_over
    }

    /// A slot has written what given-up snapshots froze, or could not.
    fn on_settled(&mut self, now: Duration, slot: u32, result: Result<(), String>) {
        self.settling.on_settled(now, slot, result.is_ok());
        let Err(reason) = result else { return };
        warn!(slot, reason, "what a checkpoint that was given up holds could not be written; tried again");
        if self.last.is_failing() {
            self.last_failed(now, &format!("slot {slot}: {reason}"), false);
        }
    }

    /// Records that the run failed; then it is over. While another end is being recorded nothing can fail it any more: all that was
    /// promised for that end is done.
    fn fail(&mut self, error: CoordinatorError) {
        if matches!(self.stage, Stage::Ending) {
            if self.failure.is_none() {
                warn!(%error, "met when the end was decided already: it changes nothing");
            }
            return;
        }
        self.append(LogRecord::End { outcome: Outcome::Failed, reason: error.to_string() });
        self.failure = Some(error);
        self.stage = Stage::Ending;
    }

    fn on_complete(&mut self, now: Duration, snapshot: Snapshot, actions: &mut Vec<Action>) {
        let epoch = snapshot.epoch;
        let under_way = self.under_way.take().expect("only a snapshot under way is recorded");
        if under_way.last {
            self.last.done();
            self.sweep(actions);
        }
        if under_way.drained {
            self.last.took_all_output();
        }
        let total: u64 = snapshot.files.iter().map(|f| f.bytes).sum();
        self.stats = CheckpointStats {
            newest: Some(epoch),
            completed: self.stats.completed + 1,
            failed: self.stats.failed,
            last_duration_seconds: now.saturating_sub(under_way.since).as_secs_f64(),
            last_bytes: snapshot.files.iter().filter(|f| f.epoch == epoch).map(|f| f.bytes).sum(),
            total_bytes: total,
        };
        info!(%epoch, seconds = self.stats.last_duration_seconds, bytes = self.stats.last_bytes, "checkpoint complete");
        actions.push(Action::Slots(SlotCommand::Completed { epoch, watermarks: snapshot.watermarks }));
        self.commits.recorded(epoch, self.view.newest().map(|s| s.transactions.clone()).unwrap_or_default());
        // What an earlier run completed behind this run's base is of no use once this run has a checkpoint of its own.
        let superseded = self.view.superseded.iter().map(|(_, s)| s.epoch);
        let existing: Vec<Epoch> = self.view.snapshots.iter().map(|(_, s)| s.epoch).collect();
        let retired = (Retention { keep: self.config.retain }).to_retire(&existing);
        let retired: BTreeSet<Epoch> = superseded.chain(retired).collect();
        for epoch in retired {
            self.append(LogRecord::Retire { epoch });
        }
        self.next_checkpoint = now + self.config.interval.unwrap_or_default();
    }

    /// A snapshot was retired: deletes the files that only it referred to, and the records that nobody needs.
    fn on_retired(&mut self, retired: &[Snapshot], actions: &mut Vec<Action>) {
        let kept: Vec<&Snapshot> = self.view.kept().map(|(_, s)| s).collect();
        for path in unreferenced_files(retired, &kept) {
            self.ask(Purpose::Delete, StorageRequest::Delete { path }, actions);
        }
        let needed_from = self.view.kept().map(|(place, _)| *place).min().unwrap_or(0);
        let is_deleting = !self.old_records.is_empty();
        let from = self.old_records.back().map_or(self.view.lowest, |n| n + 1);
        self.old_records.extend(from..needed_from);
        if !is_deleting {
            self.delete_next_record(actions);
        }
    }

    fn delete_next_record(&mut self, actions: &mut Vec<Action>) {
        if let Some(place) = self.old_records.front() {
            let path = entry_path(*place);
            self.ask(Purpose::DeleteRecord, StorageRequest::Delete { path }, actions);
        }
    }

    /// Looks for what earlier terms left. Once at the claim, and once at the end: a process whose place was taken wrote on until it
    /// noticed, and then this term too has files that its snapshots did without.
    fn sweep(&mut self, actions: &mut Vec<Action>) {
        self.ask(Purpose::Sweep, StorageRequest::List { prefix: DATA_PREFIX.to_owned() }, actions);
        self.ask(Purpose::Sweep, StorageRequest::ListStaged { prefix: DATA_PREFIX.to_owned() }, actions);
        self.ask(Purpose::Sweep, StorageRequest::List { prefix: LOG_PREFIX.to_owned() }, actions);
    }

    /// State files or records are listed: deletes those that nothing refers to and nobody may still refer to.
    fn on_swept(&mut self, result: &Result<StorageReply, StorageError>, actions: &mut Vec<Action>) {
        let Ok(listed) = result else { return };
        let kept: Vec<&Snapshot> = self.view.kept().map(|(_, s)| s).collect();
        // When the last snapshot stands slots write nothing more: those given up before it were written before it began.
        let below = if self.last.is_done() { self.term.next() } else { self.term };
        let leftovers = Leftovers { uid: &self.uid, below, kept: &kept, lowest: self.view.lowest };
        for request in leftovers.removals(listed) {
            self.ask(Purpose::Delete, request, actions);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        let timed_out = self.under_way.as_ref().is_some_and(|u| !u.recording && now >= u.since + self.config.timeout);
        if timed_out {
            self.abort(now, format!("not complete after {:?}", self.config.timeout), true);
        }
        self.commit(now, actions);
        if let Stage::Abandoning { tries, retry_at: Some(at) } = self.stage
            && now >= at
        {
            self.abandon(tries + 1, actions);
        }
        if let Stage::Starting(startup) = &mut self.stage
            && let Some(request) = startup.poll(now)
        {
            self.ask(Purpose::Startup, request, actions);
        }
        if self.stop_asked {
            self.stop_before_it_runs(now, actions);
        }
        self.begin_what_is_due(now, actions);
        if matches!(self.stage, Stage::Running) {
            actions.extend(self.groups.news().map(Action::Slots));
        }
        if let Some(request) = self.appender.poll(now) {
            self.ask(Purpose::Append, request, actions);
        }
    }

    /// A job that nobody's rows have gone through yet needs no last snapshot: whatever its start waits for, it is left.
    fn stop_before_it_runs(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Starting(_) => self.over(Ending::Ended(Outcome::Stopped), actions),
            Stage::Running if !self.awaits_first_rows(now) => {}
            Stage::CommittingBase | Stage::Abandoning { .. } | Stage::Deploying | Stage::Running => {
                self.append(LogRecord::End { outcome: Outcome::Stopped, reason: String::new() });
                self.stage = Stage::Ending;
            }
            Stage::Claiming | Stage::Ending | Stage::Over => {}
        }
    }

    /// True if no sink has taken any rows, and a snapshot would wait for a system that was not reached in a while. One that is
    /// being recorded is not left.
    fn awaits_first_rows(&self, now: Duration) -> bool {
        let is_recording = self.under_way.as_ref().is_some_and(|u| u.recording) || !self.commits.is_empty();
        !self.last.is_done() && !is_recording && self.first_rows.are_kept_waiting(now)
    }

    fn begin_what_is_due(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Running) || self.under_way.is_some() {
            return;
        }
        let all_drained = self.drained.len() == self.config.shape.parallelism as usize;
        if self.last.is_done() {
            // Behind `End` nobody deletes what is asked to be deleted now.
            if self.commits.is_empty() && self.appender.is_idle() && self.asked.is_empty() {
                // Slots that drained behind the barrier of a stop gave rows that no snapshot covers: the next run gives them.
                let outcome = if self.last.has_all_output() { Outcome::Finished } else { Outcome::Stopped };
                self.append(LogRecord::End { outcome, reason: String::new() });
                self.stage = Stage::Ending;
            }
            return;
        }
        let last = all_drained || self.stop_asked;
        if !self.settling.is_over() {
            if self.settling.is_due(now) {
                actions.push(Action::Slots(SlotCommand::Settle));
            }
            if last && self.last.is_out_of_patience(now) {
                let reason = "what an earlier checkpoint holds could not be written".to_owned();
                self.fail(CoordinatorError::LastSnapshot(reason));
            }
            return;
        }
        let retrying = self.last.is_pausing(now);
        let due = self.config.interval.is_some() && now >= self.next_checkpoint;
        if (last && !retrying) || due {
            let epoch = self.newest_epoch.next();
            self.newest_epoch = epoch;
            let files = self.view.newest().map_or(&[][..], |s| &s.files);
            let full = is_long(files, self.config.most_files_per_slot * self.config.shape.parallelism as usize);
            self.under_way = Some(UnderWay {
                assembly: Assembly::new(epoch),
                since: now,
                recording: false,
                last,
                drained: all_drained,
            });
            let (last, drained) = (self.stop_asked, all_drained);
            actions.push(Action::Slots(SlotCommand::Trigger { epoch, last, drained, full }));
        }
    }
}

#[cfg(test)]
#[path = "trial.rs"]
mod trial;

#[cfg(test)]
#[path = "stop_tests.rs"]
mod stop_tests;

#[cfg(test)]
#[path = "settling_tests.rs"]
mod settling_tests;

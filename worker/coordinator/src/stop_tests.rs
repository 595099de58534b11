//! Stops at a job's start, and failures that meet them.

use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use streamfleet_env::StorageErrorKind;
use streamfleet_snapshot::{FirstRows, JobShape};
use streamfleet_storage::parse_entry;
use streamfleet_types::Outlook;
use streamfleet_types::log::SlotSnapshot;

/// A clock that goes on when somebody says so.
#[derive(Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }
}

#[derive(Default)]
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

type Objects = BTreeMap<String, Vec<u8>>;

fn answer(objects: &mut Objects, request: &StorageRequest) -> Result<StorageReply, StorageError> {
    let error = |kind| {
        let (operation, path) = (request.name(), request.path().to_owned());
        Err(StorageError { kind, operation, path, detail: String::new() })
    };
    match request {
        StorageRequest::PutNew { path, .. } if objects.contains_key(path) => error(StorageErrorKind::AlreadyExists),
        StorageRequest::PutNew { path, bytes } => {
            objects.insert(path.clone(), bytes.clone());
            Ok(StorageReply::Done)
        }
        StorageRequest::Get { path, .. } => match objects.get(path) {
            Some(bytes) => Ok(StorageReply::Bytes(bytes.clone())),
            None => error(StorageErrorKind::NotFound),
        },
        StorageRequest::List { prefix } => {
            let found = objects.iter().filter(|(path, _)| path.starts_with(prefix));
            Ok(StorageReply::Paths(found.map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect()))
        }
        StorageRequest::ListStaged { .. } => Ok(StorageReply::Staged(Vec::new())),
        StorageRequest::Delete { path } => {
            objects.remove(path);
            Ok(StorageReply::Done)
        }
        other => panic!("a coordinator does not {}", other.name()),
    }
}

/// A coordinator of two slots whose actions are kept until somebody carries them out.
struct Trial<'a> {
    coordinator: Coordinator,
    clock: Arc<Seconds>,
    objects: &'a mut Objects,
    asked: VecDeque<(u64, StorageRequest)>,
    /// What else it wanted.
    wanted: Vec<Action>,
}

impl<'a> Trial<'a> {
    fn new(objects: &'a mut Objects) -> Self {
        let config = CoordinatorConfig {
            job: "j".to_owned(),
            shape: JobShape { parallelism: 2, max_parallelism: 8, fingerprint: "f".to_owned() },
            operators: BTreeSet::new(),
            start_from: StartFrom::Newest,
            new_uid: None,
            succeeds: None,
            allow_changed_plan: false,
            interval: None,
            timeout: Duration::from_secs(60),
            retain: 1,
            most_files_per_slot: 8,
            place: "place".to_owned(),
            address: "here".to_owned(),
        };
        let clock = Arc::<Seconds>::default();
        let (coordinator, actions) = Coordinator::new(config, clock.clone(), Arc::<Counted>::default());
        let mut trial = Self { coordinator, clock, objects, asked: VecDeque::new(), wanted: Vec::new() };
        trial.keep(actions);
        trial
    }

    /// One that has begun: what earlier reigns left is ended, the slots are being made.
    fn deployed(objects: &'a mut Objects) -> Self {
        let mut trial = Self::new(objects);
        trial.serve();
        assert!(matches!(trial.wanted.pop(), Some(Action::Abandon { .. })), "{:?}", trial.coordinator);
        trial.hear(Event::Abandoned { result: Ok(()) });
        assert!(matches!(trial.wanted.pop(), Some(Action::Deploy { .. })), "{:?}", trial.coordinator);
        trial
    }

    fn running(objects: &'a mut Objects) -> Self {
        let mut trial = Self::deployed(objects);
        [0, 1].into_iter().for_each(|slot| trial.report(slot, SlotReport::Running));
        trial.serve();
        trial
    }

    fn keep(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Storage { id, request } => self.asked.push_back((id, request)),
                other => self.wanted.push(other),
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.coordinator.step(event, &mut actions);
        self.keep(actions);
    }

    fn wait(&mut self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
        self.hear(Event::Tick);
    }

    fn report(&mut self, slot: u32, report: SlotReport) {
        self.hear(Event::Slot { slot, report });
    }

    /// Answers what storage is asked, until it is asked nothing more.
    fn serve(&mut self) {
        while let Some((id, request)) = self.asked.pop_front() {
            let result = answer(self.objects, &request);
            self.hear(Event::Storage { id, result });
        }
    }

    fn last_snapshot(&self) -> Option<Epoch> {
        self.wanted.iter().find_map(|action| match action {
            Action::Slots(SlotCommand::Trigger { epoch, last: true, .. }) => Some(*epoch),
            _ => None,
        })
    }

    fn ending(&self) -> Option<&Ending> {
        self.wanted.iter().find_map(|action| match action {
            Action::Over(ending) => Some(ending),
            _ => None,
        })
    }

    /// How the log says that the run ended.
    fn recorded(&self) -> Option<Outcome> {
        let newest = self.objects.iter().rfind(|(path, _)| path.starts_with(LOG_PREFIX));
        let (path, bytes) = newest.expect("there is a record");
        match parse_entry(path, bytes).expect("it can be read").record {
            LogRecord::End { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    fn is_stopped(&self) -> bool {
        self.ending() == Some(&Ending::Ended(Outcome::Stopped)) && self.recorded() == Some(Outcome::Stopped)
    }
}

fn failed() -> SlotReport {
    SlotReport::Failed(SlotFailure {
        message: "no broker".to_owned(),
        in_restore: false,
        path: None,
        outlook: Outlook::MayPass,
    })
}

const AWAITED: SlotReport = SlotReport::FirstRows(FirstRows::Awaited);

#[test]
fn the_process_ends_as_the_log_says_whatever_a_slot_meets_meanwhile() {
    for runs in [false, true] {
        let mut objects = Objects::new();
        let mut trial = if runs { Trial::running(&mut objects) } else { Trial::deployed(&mut objects) };
        if runs {
            trial.report(1, AWAITED);
            trial.wait(5);
        }
        trial.hear(Event::Stop);
        // The end is decided, and not recorded yet.
        trial.report(0, failed());
        assert_eq!(trial.ending(), None);
        trial.serve();
        assert!(trial.is_stopped(), "{:?} {:?}", trial.ending(), trial.recorded());
        // The other way round it has failed.
        let mut objects = Objects::new();
        let mut trial = if runs { Trial::running(&mut objects) } else { Trial::deployed(&mut objects) };
        trial.report(0, failed());
        trial.hear(Event::Stop);
        trial.serve();
        let error = CoordinatorError::Slot { slot: 0, message: "no broker".to_owned(), outlook: Outlook::MayPass };
        assert_eq!(trial.ending(), Some(&Ending::Failed(error)));
        assert_eq!(trial.recorded(), Some(Outcome::Failed));
        // Either way the next run goes on.
        Trial::running(&mut objects);
    }
}

#[test]
fn a_job_that_waits_for_its_first_rows_stops_at_once() {
    let mut objects = Objects::new();
    let mut trial = Trial::running(&mut objects);
    trial.report(1, AWAITED);
    trial.wait(5);
    trial.hear(Event::Stop);
    assert_eq!(trial.last_snapshot(), None);
    trial.serve();
    assert!(trial.is_stopped() && !trial.coordinator.has_last_snapshot());
    // What stands in the way may show behind the stop only: then the last snapshot is left.
    let mut trial = Trial::running(&mut objects);
    trial.hear(Event::Stop);
    assert!(trial.last_snapshot().is_some() && trial.ending().is_none());
    trial.report(0, AWAITED);
    trial.wait(4);
    trial.serve();
    assert!(trial.ending().is_none());
    assert_eq!(trial.coordinator.wake_at(), Some(Duration::from_secs(5)));
    trial.wait(1);
    trial.serve();
    assert!(trial.is_stopped());
}

#[test]
fn a_first_row_that_comes_with_the_stop_is_taken() {
    let mut objects = Objects::new();
    let mut trial = Trial::running(&mut objects);
    trial.wait(100);
    trial.hear(Event::Stop);
    trial.report(1, AWAITED);
    trial.wait(1);
    trial.report(1, SlotReport::FirstRows(FirstRows::Taken));
    trial.wait(100);
    assert!(trial.ending().is_none() && trial.last_snapshot().is_some());
}

#[test]
fn a_job_whose_rows_were_taken_stops_with_a_snapshot() {
    let mut objects = Objects::new();
    for is_open in [false, true] {
        let mut trial = Trial::running(&mut objects);
        trial.report(1, AWAITED);
        if is_open {
            trial.report(1, SlotReport::FirstRows(FirstRows::None));
        } else {
            trial.report(0, SlotReport::FirstRows(FirstRows::Taken));
        }
        trial.hear(Event::Stop);
        let epoch = trial.last_snapshot().expect("one is begun");
        let part = SlotSnapshot {
            files: Vec::new(),
            positions: Vec::new(),
            transactions: Vec::new(),
            watermarks: Vec::new(),
            full: true,
        };
        for slot in [0, 1] {
            trial.serve();
            assert_eq!(trial.ending(), None);
            trial.report(slot, SlotReport::Acknowledged { epoch, part: Box::new(part.clone()) });
        }
        // One that is being recorded is not left either.
        trial.report(0, AWAITED);
        trial.wait(5);
        trial.serve();
        trial.hear(Event::Committed { epoch, result: Ok(()) });
        trial.serve();
        assert!(trial.is_stopped());
        assert_eq!(trial.coordinator.stats().newest, Some(epoch));
        assert!(trial.coordinator.has_last_snapshot());
    }
}

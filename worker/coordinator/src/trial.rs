//! A coordinator whose actions a test carries out, or not.

use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use streamfleet_env::StorageErrorKind;
use streamfleet_snapshot::JobShape;
use streamfleet_storage::parse_entry;
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

pub type Objects = BTreeMap<String, Vec<u8>>;

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
pub struct Trial<'a> {
    pub coordinator: Coordinator,
    clock: Arc<Seconds>,
    objects: &'a mut Objects,
    asked: VecDeque<(u64, StorageRequest)>,
    /// What else it wanted.
    pub wanted: Vec<Action>,
}

impl<'a> Trial<'a> {
    pub fn new(objects: &'a mut Objects) -> Self {
        Self::with_interval(objects, None)
    }

    fn with_interval(objects: &'a mut Objects, interval: Option<Duration>) -> Self {
        let config = CoordinatorConfig {
            job: "j".to_owned(),
            shape: JobShape { parallelism: 2, max_parallelism: 8, fingerprint: "f".to_owned() },
            operators: BTreeSet::new(),
            start_from: StartFrom::Newest,
            new_uid: None,
            succeeds: None,
            allow_changed_plan: false,
            interval,
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
    pub fn deployed(objects: &'a mut Objects) -> Self {
        Self::new(objects).deploy()
    }

    fn deploy(self) -> Self {
        let mut trial = self;
        trial.serve();
        assert!(matches!(trial.wanted.pop(), Some(Action::Abandon { .. })), "{:?}", trial.coordinator);
        trial.hear(Event::Abandoned { result: Ok(()) });
        assert!(matches!(trial.wanted.pop(), Some(Action::Deploy { .. })), "{:?}", trial.coordinator);
        trial
    }

    pub fn running(objects: &'a mut Objects) -> Self {
        Self::deployed(objects).run()
    }

    /// With a checkpoint every ten seconds.
    pub fn with_checkpoints(objects: &'a mut Objects) -> Self {
        Self::with_interval(objects, Some(Duration::from_secs(10))).deploy().run()
    }

    fn run(self) -> Self {
        let mut trial = self;
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

    pub fn hear(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.coordinator.step(event, &mut actions);
        self.keep(actions);
    }

    pub fn wait(&mut self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
        self.hear(Event::Tick);
    }

    pub fn report(&mut self, slot: u32, report: SlotReport) {
        self.hear(Event::Slot { slot, report });
    }

    /// Answers what storage is asked, until it is asked nothing more.
    pub fn serve(&mut self) {
        while let Some((id, request)) = self.asked.pop_front() {
            let result = answer(self.objects, &request);
            self.hear(Event::Storage { id, result });
        }
    }

    pub fn last_snapshot(&self) -> Option<Epoch> {
        self.wanted.iter().find_map(|action| match action {
            Action::Slots(SlotCommand::Trigger { epoch, last: true, .. }) => Some(*epoch),
            _ => None,
        })
    }

    pub fn ending(&self) -> Option<&Ending> {
        self.wanted.iter().find_map(|action| match action {
            Action::Over(ending) => Some(ending),
            _ => None,
        })
    }

    /// How the log says that the run ended.
    pub fn recorded(&self) -> Option<Outcome> {
        let newest = self.objects.iter().rfind(|(path, _)| path.starts_with(LOG_PREFIX));
        let (path, bytes) = newest.expect("there is a record");
        match parse_entry(path, bytes).expect("it can be read").record {
            LogRecord::End { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.ending() == Some(&Ending::Ended(Outcome::Stopped)) && self.recorded() == Some(Outcome::Stopped)
    }
}

/// A slot's part of a snapshot, with nothing in it.
pub fn empty_part() -> Box<SlotSnapshot> {
    Box::new(SlotSnapshot {
        files: Vec::new(),
        positions: Vec::new(),
        transactions: Vec::new(),
        watermarks: Vec::new(),
        full: true,
    })
}

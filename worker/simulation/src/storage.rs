//! A model of storage: slow, failing, and losing what was not synced.

use crate::{CrashPoint, Random};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_env::{Completion, Staged, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};

#[derive(Debug, Clone, Default)]
struct Object {
    bytes: Vec<u8>,
    /// Bytes that survive a power failure; `None`: not even the name does.
    durable: Option<usize>,
}

struct Pending {
    process: u64,
    request: StorageRequest,
    done: Completion,
    due: Duration,
}

/// What is staged, by path and token.
type StagedObjects = BTreeMap<(String, String), Object>;

#[derive(Default)]
struct Contents {
    objects: BTreeMap<String, Object>,
    staged: StagedObjects,
    /// What was published into a folder that was said to be complete.
    late: Vec<String>,
}

#[derive(Default)]
struct State {
    contents: Contents,
    pending: Vec<Pending>,
}

/// What happens to a request when it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Served,
    /// No effect, and an error.
    FailedBefore,
    /// No effect, for want of room.
    Full,
    /// The effect, and an error all the same.
    FailedAfter,
    /// The process dies first.
    DiesBefore,
    /// The process dies after the effect, without an answer.
    DiesAfter,
}

/// Storage that outlives processes.
#[derive(Clone, Default)]
pub struct SimStorage {
    state: Arc<Mutex<State>>,
}

impl SimStorage {
    /// Puts an object there before the run.
    pub fn place(&self, path: &str, bytes: Vec<u8>) {
        let durable = Some(bytes.len());
        self.state.lock().expect("one thread").contents.objects.insert(path.to_owned(), Object { bytes, durable });
    }

    /// All objects below a folder, with their content.
    pub fn objects(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.state.lock().expect("one thread");
        let objects = state.contents.objects.iter().filter(|(p, _)| p.starts_with(folder));
        objects.map(|(p, o)| (p.clone(), o.bytes.clone())).collect()
    }

    /// What does not show below a folder: objects in hidden folders, and what is staged.
    pub fn hidden(&self, folder: &str) -> Vec<String> {
        let state = self.state.lock().expect("one thread");
        let objects = state.contents.objects.keys().filter(|path| path.contains("/."));
        let staged = state.contents.staged.keys().map(|(path, _)| path);
        objects.chain(staged).filter(|path| path.starts_with(folder)).cloned().collect()
    }

    /// What was published into a folder after a file `_SUCCESS` had said that it is complete.
    pub fn late(&self) -> Vec<String> {
        self.state.lock().expect("one thread").contents.late.clone()
    }

    /// A process's view: its requests come under its number, its paths below `prefix`, its delays from `delays`.
    pub(crate) fn client(
        &self,
        process: u64,
        prefix: &str,
        clock: Arc<crate::process::SimClock>,
        delays: Delays,
    ) -> SimClient {
        SimClient { storage: self.clone(), process, prefix: prefix.to_owned(), clock, delays }
    }

    /// When the next request of `processes` can be served.
    pub(crate) fn next_due(&self, processes: &[u64]) -> Option<Duration> {
        let state = self.state.lock().expect("one thread");
        state.pending.iter().filter(|p| processes.contains(&p.process)).map(|p| p.due).min()
    }

    /// Serves one due request of `processes`, if there is one; `fate` decides how. Gives the process and, if it is
    /// to die, where.
    pub(crate) fn serve(
        &self,
        now: Duration,
        processes: &[u64],
        random: &mut Random,
        fate: impl FnOnce(&mut Random, &StorageRequest) -> Fate,
    ) -> Option<(u64, Fate, Option<CrashPoint>)> {
        let mut state = self.state.lock().expect("one thread");
        let due: Vec<usize> = (0..state.pending.len())
            .filter(|i| {
                let pending = &state.pending[*i];
                let earlier = &state.pending[..*i];
                let is_first =
                    !earlier.iter().any(|p| p.process == pending.process && p.request.path() == pending.request.path());
                is_first && pending.due <= now && processes.contains(&pending.process)
            })
            .collect();
        if due.is_empty() {
            return None;
        }
        let index = due[random.below(due.len() as u64) as usize];
        let Pending { process, request, done, .. } = state.pending.remove(index);
        let fate = fate(random, &request);
        let result = match fate {
            Fate::FailedBefore | Fate::DiesBefore => Err(uncertain(&request)),
            Fate::Full => Err(error(&request, StorageErrorKind::Full, "no space left")),
            Fate::Served | Fate::DiesAfter => apply(&mut state.contents, process, &request),
            Fate::FailedAfter => apply(&mut state.contents, process, &request).and(Err(uncertain(&request))),
        };
        drop(state);
        let crash_point = match fate {
            Fate::DiesBefore => Some(CrashPoint::of(&request, false)),
            Fate::DiesAfter => Some(CrashPoint::of(&request, true)),
            Fate::Served | Fate::FailedBefore | Fate::FailedAfter | Fate::Full => {
                done(result);
                None
            }
        };
        Some((process, fate, crash_point))
    }

    /// A process is gone: what it had under way happens or not. A power failure takes what was not synced.
    pub(crate) fn on_death(&self, process: u64, random: &mut Random, power_failure: bool) {
        let mut state = self.state.lock().expect("one thread");
        let pending = std::mem::take(&mut state.pending);
        let mut kept = Vec::new();
        for request in pending {
            if request.process != process {
                kept.push(request);
            } else if random.chance(50) {
                // Nobody hears how it went.
                let _ = apply(&mut state.contents, process, &request.request);
            }
        }
        state.pending = kept;
        if power_failure {
            let Contents { objects, staged, .. } = &mut state.contents;
            objects.retain(|_, o| o.durable.is_some() || random.chance(50));
            staged.retain(|_, o| o.durable.is_some() || random.chance(50));
            for object in objects.values_mut().chain(staged.values_mut()) {
                let durable = object.durable.unwrap_or(0).min(object.bytes.len());
                let lost = (object.bytes.len() - durable) as u64;
                object.bytes.truncate(durable + random.below(lost + 1) as usize);
                object.durable = Some(object.bytes.len());
            }
        }
    }
}

fn uncertain(request: &StorageRequest) -> StorageError {
    error(request, StorageErrorKind::Uncertain, "timed out")
}

fn error(request: &StorageRequest, kind: StorageErrorKind, detail: &str) -> StorageError {
    StorageError { kind, operation: request.name(), path: request.path().to_owned(), detail: detail.to_owned() }
}

fn apply(contents: &mut Contents, process: u64, request: &StorageRequest) -> Result<StorageReply, StorageError> {
    let Contents { objects, staged, late } = contents;
    let missing = || error(request, StorageErrorKind::NotFound, "no such object");
    // A process goes on with its own staged object only: its number is the token.
    let own = |path: &String| (path.clone(), process.to_string());
    match request {
        StorageRequest::PutNew { path, .. } if objects.contains_key(path) => {
            return Err(error(request, StorageErrorKind::AlreadyExists, "exists"));
        }
        StorageRequest::PutNew { path, bytes } | StorageRequest::Put { path, bytes } => {
            objects.insert(path.clone(), Object { bytes: bytes.clone(), durable: Some(bytes.len()) });
        }
        StorageRequest::Append { path, bytes } => {
            staged.entry(own(path)).or_default().bytes.extend_from_slice(bytes);
        }
        StorageRequest::Seal { path } => {
            let mut object = staged.remove(&own(path)).ok_or_else(missing)?;
            object.durable = Some(object.bytes.len());
            objects.insert(path.clone(), object);
        }
        StorageRequest::Prepare { path } => {
            let object = staged.get_mut(&own(path)).ok_or_else(missing)?;
            object.durable = Some(object.bytes.len());
            return Ok(StorageReply::Prepared(process.to_string()));
        }
        StorageRequest::Publish { path, token } => match staged.remove(&(path.clone(), token.clone())) {
            Some(object) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                // A process that stood still may show again what its successor has shown: no reader sees a difference.
                let is_new = objects.get(path).is_none_or(|shown| shown.bytes != object.bytes);
                if is_new && objects.contains_key(&format!("{folder}/_SUCCESS")) {
                    late.push(path.clone());
                }
                objects.insert(path.clone(), object);
            }
            None if objects.contains_key(path) => {}
            None => return Err(missing()),
        },
        StorageRequest::ListStaged { prefix } => {
            let found = staged.keys().filter(|(path, _)| is_below(path, prefix));
            let found = found.map(|(path, token)| Staged { path: path.clone(), token: token.clone() });
            return Ok(StorageReply::Staged(found.collect()));
        }
        StorageRequest::Discard { path, token } => {
            staged.remove(&(path.clone(), token.clone()));
        }
        StorageRequest::Unstage { path } => {
            staged.remove(&own(path));
        }
        StorageRequest::Get { path, range } => {
            let bytes = &objects.get(path).ok_or_else(missing)?.bytes;
            let part = match range {
                None => &bytes[..],
                Some((first, length)) => {
                    let first = (*first as usize).min(bytes.len());
                    &bytes[first..first.saturating_add(*length as usize).min(bytes.len())]
                }
            };
            return Ok(StorageReply::Bytes(part.to_vec()));
        }
        StorageRequest::List { prefix } => {
            let found = objects.iter().filter(|(path, _)| is_below(path, prefix));
            return Ok(StorageReply::Paths(found.map(|(p, o)| (p.clone(), o.bytes.len() as u64)).collect()));
        }
        StorageRequest::Delete { path } => {
            staged.remove(&own(path));
            objects.remove(path);
        }
    }
    Ok(StorageReply::Done)
}

/// True for what a listing of `prefix` finds.
fn is_below(path: &str, prefix: &str) -> bool {
    let folder = prefix.trim_end_matches('/');
    let below = if folder.is_empty() { Some(path) } else { path.strip_prefix(folder).filter(|p| p.starts_with('/')) };
    below.is_some() || path == prefix
}

/// Where a request's delay comes from.
#[derive(Clone)]
pub(crate) struct Delays {
    random: Arc<Mutex<Random>>,
    /// Microseconds; the world makes it short when the faults stop.
    longest: Arc<AtomicU64>,
    /// The part of it that counts here.
    divisor: u64,
}

impl Delays {
    pub fn new(longest: Arc<AtomicU64>, seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(Random::new(seed))), longest, divisor: 1 }
    }

    /// The same, so many times shorter.
    pub fn shorter(&self, divisor: u64) -> Self {
        Self { divisor, ..self.clone() }
    }

    pub fn next(&self) -> Duration {
        let micros = self.longest.load(Ordering::Relaxed) / self.divisor;
        Duration::from_micros(self.below(micros.max(1)))
    }

    /// A number below `bound` (at least 1).
    pub fn below(&self, bound: u64) -> u64 {
        self.random.lock().expect("one thread").below(bound)
    }
}

/// One process's access.
pub(crate) struct SimClient {
    storage: SimStorage,
    process: u64,
    prefix: String,
    clock: Arc<crate::process::SimClock>,
    delays: Delays,
}

impl Storage for SimClient {
    fn submit(&self, mut request: StorageRequest, done: Completion) {
        let due = streamfleet_env::Clock::monotonic(self.clock.as_ref()) + self.delays.next();
        let prefix = self.prefix.clone();
        // Listed paths come back as the client knows them.
        let done: Completion = Box::new(move |result| {
            let strip = |path: String| path.strip_prefix(&prefix).map_or(path.clone(), str::to_owned);
            done(result.map(|reply| match reply {
                StorageReply::Paths(paths) => {
                    StorageReply::Paths(paths.into_iter().map(|(path, size)| (strip(path), size)).collect())
                }
                StorageReply::Staged(staged) => {
                    let staged = staged.into_iter().map(|s| Staged { path: strip(s.path), ..s });
                    StorageReply::Staged(staged.collect())
                }
                other => other,
            }));
        });
        request.path_mut().insert_str(0, &self.prefix);
        let mut state = self.storage.state.lock().expect("one thread");
        // Requests on one path keep their order: none is due before those ahead of it.
        let ahead = state.pending.iter().filter(|p| p.process == self.process && p.request.path() == request.path());
        let due = ahead.map(|p| p.due).max().map_or(due, |last| last.max(due));
        state.pending.push(Pending { process: self.process, request, done, due });
    }
}

/// The model without delays and faults: every request is served at once, each client being a process of its own.
#[derive(Clone, Default)]
pub struct ServedAtOnce {
    contents: Arc<Mutex<Contents>>,
    clients: Arc<AtomicU64>,
}

impl ServedAtOnce {
    /// The view of a new process.
    pub fn client(&self) -> Arc<dyn Storage> {
        let process = self.clients.fetch_add(1, Ordering::Relaxed);
        Arc::new(ClientAtOnce { contents: Arc::clone(&self.contents), process })
    }
}

struct ClientAtOnce {
    contents: Arc<Mutex<Contents>>,
    process: u64,
}

impl Storage for ClientAtOnce {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let mut contents = self.contents.lock().expect("no holder of this lock panics");
        let result = apply(&mut contents, self.process, &request);
        drop(contents);
        done(result);
    }
}

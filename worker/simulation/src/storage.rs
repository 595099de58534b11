//! A model of storage: slow, failing, and losing what was not synced.

use crate::{CrashPoint, Random};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_env::{Completion, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};

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

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
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
        self.state.lock().expect("one thread").objects.insert(path.to_owned(), Object { bytes, durable });
    }

    /// All objects below a folder, with their content.
    pub fn objects(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.state.lock().expect("one thread");
        state.objects.iter().filter(|(p, _)| p.starts_with(folder)).map(|(p, o)| (p.clone(), o.bytes.clone())).collect()
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
                    !earlier.iter().any(|p| p.process == pending.process && key(&p.request) == key(&pending.request));
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
            Fate::Served | Fate::DiesAfter => apply(&mut state.objects, &request),
            Fate::FailedAfter => apply(&mut state.objects, &request).and(Err(uncertain(&request))),
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
                let _ = apply(&mut state.objects, &request.request);
            }
        }
        state.pending = kept;
        if power_failure {
            state.objects.retain(|_, o| o.durable.is_some() || random.chance(50));
            for object in state.objects.values_mut() {
                let durable = object.durable.unwrap_or(0).min(object.bytes.len());
                let lost = (object.bytes.len() - durable) as u64;
                object.bytes.truncate(durable + random.below(lost + 1) as usize);
                object.durable = Some(object.bytes.len());
            }
        }
    }
}

/// Requests with one key keep their order.
fn key(request: &StorageRequest) -> &str {
    match request {
        StorageRequest::Publish { from, .. } => from,
        other => other.path(),
    }
}

fn uncertain(request: &StorageRequest) -> StorageError {
    error(request, StorageErrorKind::Uncertain, "timed out")
}

fn error(request: &StorageRequest, kind: StorageErrorKind, detail: &str) -> StorageError {
    StorageError { kind, operation: request.name(), path: request.path().to_owned(), detail: detail.to_owned() }
}

fn apply(objects: &mut BTreeMap<String, Object>, request: &StorageRequest) -> Result<StorageReply, StorageError> {
    let missing = || error(request, StorageErrorKind::NotFound, "no such object");
    match request {
        StorageRequest::PutNew { path, .. } if objects.contains_key(path) => {
            return Err(error(request, StorageErrorKind::AlreadyExists, "exists"));
        }
        StorageRequest::PutNew { path, bytes } | StorageRequest::Put { path, bytes } => {
            objects.insert(path.clone(), Object { bytes: bytes.clone(), durable: Some(bytes.len()) });
        }
        StorageRequest::Append { path, bytes } => {
            objects.entry(path.clone()).or_default().bytes.extend_from_slice(bytes);
        }
        StorageRequest::Seal { path } => {
            let object = objects.get_mut(path).ok_or_else(missing)?;
            object.durable = Some(object.bytes.len());
        }
        StorageRequest::Publish { from, to } => match objects.remove(from) {
            Some(object) => {
                objects.insert(to.clone(), object);
            }
            None if objects.contains_key(to) => {}
            None => return Err(missing()),
        },
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
            let folder = format!("{}/", prefix.trim_end_matches('/'));
            let found = objects.iter().filter(|(p, _)| p.starts_with(&folder) || *p == prefix);
            return Ok(StorageReply::Paths(found.map(|(p, o)| (p.clone(), o.bytes.len() as u64)).collect()));
        }
        StorageRequest::Delete { path } => {
            objects.remove(path);
        }
    }
    Ok(StorageReply::Done)
}

/// Where a request's delay comes from.
#[derive(Clone)]
pub(crate) struct Delays {
    random: Arc<Mutex<Random>>,
    /// Microseconds; the world makes it short when the faults stop.
    longest: Arc<AtomicU64>,
}

impl Delays {
    pub fn new(longest: Arc<AtomicU64>, seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(Random::new(seed))), longest }
    }

    fn next(&self) -> Duration {
        let micros = self.longest.load(Ordering::Relaxed);
        Duration::from_micros(self.random.lock().expect("one thread").below(micros.max(1)))
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

impl SimClient {
    fn inside(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The request with its paths below the client's prefix.
    fn place(&self, mut request: StorageRequest) -> StorageRequest {
        match &mut request {
            StorageRequest::PutNew { path, .. }
            | StorageRequest::Put { path, .. }
            | StorageRequest::Append { path, .. }
            | StorageRequest::Seal { path }
            | StorageRequest::Get { path, .. }
            | StorageRequest::Delete { path } => *path = self.inside(path),
            StorageRequest::Publish { from, to } => {
                *from = self.inside(from);
                *to = self.inside(to);
            }
            StorageRequest::List { prefix } => *prefix = self.inside(prefix),
        }
        request
    }
}

impl Storage for SimClient {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let due = streamfleet_env::Clock::monotonic(self.clock.as_ref()) + self.delays.next();
        let prefix = self.prefix.clone();
        // Listed paths come back as the client knows them.
        let done: Completion = Box::new(move |result| {
            done(result.map(|reply| match reply {
                StorageReply::Paths(paths) => {
                    let strip = |p: String| p.strip_prefix(&prefix).map_or(p.clone(), str::to_owned);
                    StorageReply::Paths(paths.into_iter().map(|(p, size)| (strip(p), size)).collect())
                }
                other => other,
            }));
        });
        let request = self.place(request);
        let mut state = self.storage.state.lock().expect("one thread");
        // Requests with one key keep their order: none is due before those ahead of it.
        let ahead = state.pending.iter().filter(|p| p.process == self.process && key(&p.request) == key(&request));
        let due = ahead.map(|p| p.due).max().map_or(due, |last| last.max(due));
        state.pending.push(Pending { process: self.process, request, done, due });
    }
}

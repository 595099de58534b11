//! The machine behind the `Env` traits.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use streamfleet_env::{Clock, Entropy, Spawner, give_way_to_slots};

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Begins at zero.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_clock_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Randomness seeded by the operating system.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        // Every `RandomState` has fresh keys; hashing nothing with them gives a random number.
        RandomState::new().build_hasher().finish()
    }
}

/// Ends the process when a panic drops it.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Threads beside the slots.
pub struct ThreadSpawner {
    work: Mutex<Sender<Box<dyn FnOnce() + Send>>>,
}

impl ThreadSpawner {
    /// One thread, of lower priority.
    pub fn new() -> Self {
        let (sender, receiver) = channel::<Box<dyn FnOnce() + Send>>();
        std::thread::Builder::new()
            .name("background".into())
            .spawn(move || {
                give_way_to_slots();
                // Without its answer a slot would wait for ever: the process ends, and the next goes on from its last checkpoint.
                let abort = AbortOnPanic;
                receiver.into_iter().for_each(|work| work());
                std::mem::forget(abort);
            })
            .expect("the system can start a thread");
        Self { work: Mutex::new(sender) }
    }
}

impl Default for ThreadSpawner {
    fn default() -> Self {
        Self::new()
    }
}

impl Spawner for ThreadSpawner {
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        let sender = self.work.lock().expect("no holder of this lock panics");
        sender.send(work).expect("the background thread lives as long as its spawner");
    }
}

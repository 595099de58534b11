//! Named places in a job's life at which tests let the process die.
//!
//! With `STREAMFLEET_CRASH_AT=<name>` or `<name>:<n>` in the environment the process kills itself when it reaches the place
//! for the first or n-th time, as a machine that fails would: nothing is flushed, nobody is told.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names a place.
const VARIABLE: &str = "STREAMFLEET_CRASH_AT";

/// The places: before and after a checkpoint's record is written, between the commits of two sinks, when all are committed
/// but no record says so, when that record stands, before what earlier runs left open is ended, and before and after the slots
/// are made from a checkpoint.
pub const NAMES: [&str; 8] = [
    "before-complete",
    "after-complete",
    "between-commits",
    "before-committed",
    "after-committed",
    "before-abandon",
    "before-restore",
    "after-restore",
];

static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
static TIMES: AtomicU64 = AtomicU64::new(0);

fn wanted() -> Option<&'static (String, u64)> {
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), times.parse().unwrap_or(1)))
    });
    wanted.as_ref()
}

/// True if the process is to die somewhere.
pub(crate) fn is_armed() -> bool {
    wanted().is_some()
}

/// The process is at this place.
pub(crate) fn reached(name: &str) {
    debug_assert!(NAMES.contains(&name), "{name} is a named place");
    if let Some((wanted, times)) = wanted()
        && wanted == name
        && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *times
    {
        let own = nix::unistd::Pid::this();
        nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL).expect("a process may kill itself");
    }
}

//! A thread as the driver of a slot.

use crate::slot::{Slot, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use streamfleet_env::Clock;

/// Calls of tasks between two looks at the mailbox.
const STEP_BUDGET: usize = 64;

/// A slot that has heard nothing looks around this often all the same.
const LONGEST_PARK: Duration = Duration::from_millis(100);

/// Time to throw away what is not needed any more, for as long as storage does not answer.
const TIME_TO_LEAVE: Duration = Duration::from_secs(5);

/// Runs a slot on the calling thread until `stop` is set. The thread parks when there is nothing to do; whoever holds the
/// slot's wake function unparks it.
pub fn run_slot(mut slot: Slot, clock: &Arc<dyn Clock>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if let Step::IdleUntil(until) = slot.step(STEP_BUDGET) {
            let time = until.map_or(LONGEST_PARK, |at| at.saturating_sub(clock.monotonic()).min(LONGEST_PARK));
            std::thread::park_timeout(time);
        }
    }
    let until = clock.monotonic() + TIME_TO_LEAVE;
    while !slot.leave() && clock.monotonic() < until {
        std::thread::park_timeout(LONGEST_PARK);
    }
}

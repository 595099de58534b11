//! Stops at a job's start, and failures that meet them.

use super::trial::{Objects, Trial, empty_part};
use super::*;
use streamfleet_snapshot::FirstRows;
use streamfleet_types::Outlook;

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
        for slot in [0, 1] {
            trial.serve();
            assert_eq!(trial.ending(), None);
            trial.report(slot, SlotReport::Acknowledged { epoch, part: empty_part() });
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

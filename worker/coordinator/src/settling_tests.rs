//! After a snapshot was given up.

use super::trial::{Objects, Trial, empty_part};
use super::*;
use crate::backoff::PATIENCE;

fn triggered(trial: &mut Trial<'_>) -> Option<Epoch> {
    let mut triggers = trial.wanted.iter().filter_map(|action| match action {
        Action::Slots(SlotCommand::Trigger { epoch, .. }) => Some(*epoch),
        _ => None,
    });
    let newest = triggers.next_back();
    trial.wanted.clear();
    newest
}

fn declined(epoch: Epoch) -> SlotReport {
    SlotReport::Declined { epoch, reason: "no room".to_owned() }
}

fn settled(result: Result<(), &str>) -> SlotReport {
    SlotReport::Settled(result.map_err(str::to_owned))
}

#[test]
fn the_next_snapshot_waits_until_no_slot_holds_anything_of_one_that_was_given_up() {
    let mut objects = Objects::new();
    let mut trial = Trial::with_checkpoints(&mut objects);
    trial.wait(10);
    let epoch = triggered(&mut trial).expect("it is due");
    trial.report(0, SlotReport::Acknowledged { epoch, part: empty_part() });
    trial.report(1, declined(epoch));
    // The record of that may take long: nothing begins before it either.
    trial.wait(30);
    assert_eq!(triggered(&mut trial), None);
    trial.serve();
    assert!(trial.wanted.contains(&Action::Slots(SlotCommand::Abort { epoch })));
    trial.report(0, settled(Ok(())));
    trial.report(1, settled(Err("no room")));
    assert_eq!(triggered(&mut trial), None);
    for pause in [1, 1, 2, 4, 8, 10, 10, 10] {
        let asked = trial.coordinator.wake_at().expect("it tries again");
        trial.wait(pause);
        let settle = Action::Slots(SlotCommand::Settle);
        assert_eq!(std::mem::take(&mut trial.wanted), [settle], "{asked:?}, {pause} s later");
        trial.wait(1);
        assert!(trial.wanted.is_empty(), "once");
        trial.report(1, settled(Err("no room")));
    }
    trial.report(1, settled(Ok(())));
    assert_eq!(triggered(&mut trial), Some(epoch.next()), "it is late already");
    // One that is late itself.
    trial.wait(60);
    trial.serve();
    assert_eq!(triggered(&mut trial), None);
    trial.wait(60);
    trial.report(1, settled(Ok(())));
    assert_eq!(triggered(&mut trial), None);
    trial.report(0, settled(Ok(())));
    assert_eq!(triggered(&mut trial), Some(epoch.next().next()));
}

#[test]
fn a_stop_fails_when_what_is_held_cannot_be_written() {
    // It is refused a few times, or not answered for long.
    for is_refused in [true, false] {
        let mut objects = Objects::new();
        let mut trial = Trial::running(&mut objects);
        trial.hear(Event::Stop);
        let epoch = triggered(&mut trial).expect("the last one");
        if is_refused {
            trial.report(0, declined(epoch));
            trial.serve();
            for _ in 2..TRIES {
                trial.report(0, settled(Err("no room")));
                trial.serve();
                assert_eq!(trial.ending(), None);
            }
            trial.report(0, settled(Err("no room")));
        } else {
            trial.wait(60);
            trial.serve();
            assert_eq!(trial.ending(), None);
            assert_eq!(triggered(&mut trial), None);
            assert_eq!(trial.coordinator.wake_at(), Some(Duration::from_secs(60) + PATIENCE));
            trial.wait(PATIENCE.as_secs());
        }
        trial.serve();
        let Some(Ending::Failed(CoordinatorError::LastSnapshot(reason))) = trial.ending() else {
            panic!("{:?}", trial.coordinator);
        };
        assert!(reason.contains(if is_refused { "slot 0: no room" } else { "could not be written" }), "{reason}");
    }
}

#[test]
fn a_stop_goes_on_with_another_last_snapshot() {
    let mut objects = Objects::new();
    let mut trial = Trial::running(&mut objects);
    trial.hear(Event::Stop);
    let epoch = triggered(&mut trial).expect("the last one");
    trial.report(0, declined(epoch));
    trial.serve();
    trial.report(0, settled(Ok(())));
    trial.report(1, settled(Ok(())));
    trial.wait(1);
    assert_eq!(trial.last_snapshot(), Some(epoch.next()));
}

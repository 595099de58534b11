//! The user's wish that the job stops: heard by the run at hand, or by the pause between two.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use streamfleet_coordinator::Event;

#[derive(Default)]
struct State {
    asked: bool,
    /// Where the run at hand hears events.
    run: Option<Sender<Event>>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct StopWish {
    state: Mutex<State>,
    came: Condvar,
}

impl StopWish {
    /// Listens on a thread of its own until the wish comes, or nobody can have it any more.
    pub fn listen(stop: Receiver<()>) -> Arc<Self> {
        let wish = Arc::new(Self::default());
        let heard = Arc::clone(&wish);
        std::thread::spawn(move || {
            if stop.recv().is_ok() {
                heard.ask();
            }
        });
        wish
    }

    fn ask(&self) {
        let mut state = self.state();
        state.asked = true;
        // A run that is over hears nothing any more, and needs not.
        let _ = state.run.as_ref().map(|run| run.send(Event::Stop));
        self.came.notify_all();
    }

    /// From now on this run is told.
    pub fn tell(&self, run: Sender<Event>) {
        let mut state = self.state();
        if state.asked {
            let _ = run.send(Event::Stop);
        }
        state.run = Some(run);
    }

    /// True if the wish has come.
    pub fn has_come(&self) -> bool {
        self.state().asked
    }

    /// Waits for so long; true if the wish has come.
    pub fn pause(&self, time: Duration) -> bool {
        let waited = self.came.wait_timeout_while(self.state(), time, |state| !state.asked);
        waited.unwrap_or_else(PoisonError::into_inner).0.asked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked with the lock left whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_wish_ends_the_pause_and_reaches_whatever_run_comes_after_it() {
        let (sender, receiver) = channel();
        let wish = StopWish::listen(receiver);
        assert!(!wish.has_come() && !wish.pause(Duration::ZERO));
        let (first, heard) = channel();
        wish.tell(first);
        let waiting = Arc::clone(&wish);
        let pause = std::thread::spawn(move || waiting.pause(Duration::MAX));
        sender.send(()).expect("somebody listens");
        assert!(pause.join().expect("it ends"));
        assert!(matches!(heard.recv(), Ok(Event::Stop)));
        let (second, heard) = channel();
        wish.tell(second);
        assert!(matches!(heard.recv(), Ok(Event::Stop)));
        assert!(wish.has_come());
    }
}

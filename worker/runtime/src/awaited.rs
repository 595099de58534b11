//! A value that comes from elsewhere, and what is done with it: whichever is there first waits for the other.

use std::mem;
use std::sync::{Arc, Mutex};

type Then<T> = Box<dyn FnOnce(T) + Send>;

enum Meeting<T> {
    Neither,
    Value(T),
    Then(Then<T>),
}

/// See the module.
pub(crate) struct Awaited<T>(Arc<Mutex<Meeting<T>>>);

impl<T: Send + 'static> Awaited<T> {
    /// The value awaited, and the function that takes it when it comes.
    pub fn new() -> (Self, impl FnOnce(T) + Send) {
        let meeting = Arc::new(Mutex::new(Meeting::Neither));
        let awaited = Self(Arc::clone(&meeting));
        let arrives = move |value| {
            let then = {
                let mut meeting = meeting.lock().expect("no holder of this lock panics");
                match mem::replace(&mut *meeting, Meeting::Neither) {
                    Meeting::Then(then) => then,
                    _ => {
                        *meeting = Meeting::Value(value);
                        return;
                    }
                }
            };
            then(value);
        };
        (awaited, arrives)
    }

    /// Goes on with the value: at once if it is there, else on the thread that brings it.
    pub fn then(self, then: impl FnOnce(T) + Send + 'static) {
        let value = {
            let mut meeting = self.0.lock().expect("no holder of this lock panics");
            match mem::replace(&mut *meeting, Meeting::Neither) {
                Meeting::Value(value) => value,
                _ => {
                    *meeting = Meeting::Then(Box::new(then));
                    return;
                }
            }
        };
        then(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn value_and_what_follows_meet_in_either_order() {
        let (sender, receiver) = channel();
        let (awaited, arrives) = Awaited::new();
        arrives(1);
        let first = sender.clone();
        awaited.then(move |value| first.send(value).expect("there"));
        assert_eq!(receiver.try_recv(), Ok(1));
        let (awaited, arrives) = Awaited::new();
        awaited.then(move |value| sender.send(value).expect("there"));
        assert!(receiver.try_recv().is_err());
        arrives(2);
        assert_eq!(receiver.try_recv(), Ok(2));
    }
}

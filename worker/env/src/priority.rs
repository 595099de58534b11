//! What threads beside the slots leave to them.

/// Upon the process's niceness: nine tenths of a core stay with a slot that wants all of it.
const NICENESS: i32 = 10;

/// The system knows no lower priority.
const LOWEST: i32 = 19;

/// Lowers the priority of the calling thread: what it does for snapshots (encoding, sending) must not take the slots' cores away.
/// Where that is not possible it works all the same. A thread that was begun by one of low priority becomes none of a lower one.
pub fn give_way_to_slots() {
    // Of a process the system says its first thread's.
    let own = rustix::process::getpriority_process(Some(rustix::process::getpid())).unwrap_or_default();
    // Lowering is refused by no kernel; a sandbox that refuses the call itself loses nothing but the order of priority.
    let _ = rustix::process::setpriority_process(None, (own + NICENESS).min(LOWEST));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).expect("a thread's own")
    }

    #[test]
    fn threads_give_way_once_and_no_others_with_them() {
        let own = niceness();
        let (first, second) = std::thread::spawn(|| {
            give_way_to_slots();
            let second = std::thread::spawn(|| {
                give_way_to_slots();
                niceness()
            });
            (niceness(), second.join().expect("it does not panic"))
        })
        .join()
        .expect("it does not panic");
        let expected = (own + NICENESS).min(LOWEST);
        assert_eq!((first, second, niceness()), (expected, expected, own));
    }
}

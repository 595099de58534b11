//! What threads beside the slots leave to them.

/// Upon the process's niceness: nine tenths of a core stay with a slot that wants all of it.
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread: what it does for snapshots (encoding, sending) must not take the slots' cores away.
/// Where that is not possible it works all the same.
pub fn give_way_to_slots() {
    // Lowering is refused by no kernel; a sandbox that refuses the call itself loses nothing but the order of priority.
    let _ = rustix::process::nice(NICENESS);
}

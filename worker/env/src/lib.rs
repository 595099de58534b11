//! Everything non-deterministic that a job reaches: clock, randomness and storage, as traits.
//!
//! In production the traits are backed by the machine; in simulation by models under one seed. Storage is asynchronous by
//! completion: a request is handed over, its answer comes back later through a callback, on any thread, or never (when the
//! process dies first). Nothing in a slot or in the coordinator ever waits.

mod clock;
mod priority;
mod spawn;
mod storage;

pub use clock::{Clock, Entropy};
pub use priority::give_way_to_slots;
pub use spawn::Spawner;
pub use storage::{Completion, Staged, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};

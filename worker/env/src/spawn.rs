//! Work beside the slots.

/// Runs work that must not run on a slot's thread: encoding snapshot files, compaction.
pub trait Spawner: Send + Sync {
    /// Runs `work` soon, on some other thread.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>);
}

//! What makes a sink's prepared output visible, once its snapshot is complete.

use std::sync::Arc;
use streamfleet_env::Storage;
use streamfleet_types::Term;

/// Takes the answer; called once, on any thread. `Err` says what went wrong, for people.
pub type CommitDone = Box<dyn FnOnce(Result<(), String>) + Send>;

/// What was looked for at a sink by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// What is removed, or would be: a line for each, as `discard PATH`.
    pub removed: Vec<String>,
    /// How many are kept because those that wrote them may be writing still.
    pub kept: usize,
}

/// Takes what was found; called once, on any thread.
pub type CollectDone = Box<dyn FnOnce(Result<Collected, String>) + Send>;

/// What a committer is given when it is built.
#[derive(Clone)]
pub struct CommitterContext {
    /// The files of the outside world; paths as the user wrote them.
    pub files: Arc<dyn Storage>,
}

/// Commits the output of one table's sink. Lives beside the coordinator, not in a slot; never waits.
///
/// # Flow
/// At the start of a reign [`Committer::commit`] for what the snapshot lists that is begun from, if no record says that it
/// was done; when a record says so, [`Committer::abandon`]; then sinks are made. While they run, `commit` again and again.
///
/// # Guarantees asked
/// Committing a handle again, before anything was written after it was known to be committed, is harmless.
pub trait Committer: Send + Sync {
    /// Makes the output behind these handles visible, in their order where a reader could tell.
    fn commit(&self, handles: Vec<serde_json::Value>, done: CommitDone);

    /// Ends what reigns of the job with this uid `before` this one left open: no snapshot will ever name it. Who asks may have
    /// been overtaken without knowing it, so nothing that this or a later reign began may be touched.
    fn abandon(&self, _uid: &str, _before: Term, done: CommitDone) {
        done(Ok(()));
    }

    /// Finds what reigns `before` this one left in the outside world, and removes it unless `dry_run`. For who asks by hand,
    /// with no sink beside it: what starts and sinks remove by themselves is removed too, so that a job that is never started
    /// again leaves nothing.
    fn collect(&self, _uid: &str, _before: Term, _dry_run: bool, done: CollectDone) {
        done(Ok(Collected::default()));
    }
}

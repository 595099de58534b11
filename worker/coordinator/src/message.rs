//! What the coordinator hears and wants done.

use crate::log_view::ViewError;
use streamfleet_env::{StorageError, StorageReply, StorageRequest};
use streamfleet_snapshot::{SlotCommand, SlotReport};
use streamfleet_types::log::{Outcome, Snapshot, Transaction};
use streamfleet_types::{Epoch, Outlook, Run, Term};

/// What the coordinator hears.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A storage action was answered.
    Storage {
        /// The action's id.
        id: u64,
        /// The answer.
        result: Result<StorageReply, StorageError>,
    },
    /// A slot reports.
    Slot {
        /// The slot.
        slot: u32,
        /// What.
        report: SlotReport,
    },
    /// A commit action ended.
    Committed {
        /// The snapshot.
        epoch: Epoch,
        /// `Err`: what went wrong; committing again is harmless.
        result: Result<(), String>,
    },
    /// An abandon action ended.
    Abandoned {
        /// `Err`: what went wrong; doing it again is harmless.
        result: Result<(), String>,
    },
    /// The user wants the job stopped with a last checkpoint.
    Stop,
}

/// What the coordinator wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask storage; answer with [`Event::Storage`].
    Storage {
        /// To be given back.
        id: u64,
        /// What.
        request: StorageRequest,
    },
    /// End what earlier reigns left open in the outside world; answer with [`Event::Abandoned`].
    Abandon {
        /// The job's uid.
        uid: String,
        /// The reign that asks. It may be over without knowing it: what later ones have open is none of its business.
        before: Term,
    },
    /// Make the slots and run them.
    Deploy {
        /// The run.
        run: Run,
        /// The term.
        term: Term,
        /// Unique to this term: part of every name that the slots write under.
        unique: String,
        /// What to begin from.
        base: Option<Box<Snapshot>>,
    },
    /// Tell every slot.
    Slots(SlotCommand),
    /// Commit the transactions of a complete snapshot; answer with [`Event::Committed`].
    Commit {
        /// The snapshot.
        epoch: Epoch,
        /// What to commit.
        transactions: Vec<Transaction>,
    },
    /// It is over: stop the slots.
    Over(Ending),
}

/// How the coordinator's reign ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The run is over, as recorded.
    Ended(Outcome),
    /// There was nothing to do: the job has finished in an earlier run.
    AlreadyFinished(Run),
    /// It failed.
    Failed(CoordinatorError),
}

/// Why the coordinator gave up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CoordinatorError {
    /// Somebody else reigns.
    #[error(
        "run {run} of this job took over (term {term}, by {address}): this run stops without changing anything more"
    )]
    Fenced {
        /// The other's run.
        run: Run,
        /// The other's term.
        term: Term,
        /// Who.
        address: String,
    },
    /// Somebody else has reigned for so long that the records of the change are gone.
    #[error(
        "another run of this job took over a while ago, and has written more since: this run stops without changing anything more"
    )]
    FencedLongAgo,
    /// The place cannot hold a job log.
    #[error(
        "{place} does not keep a second writer from creating the same object: a job log cannot be kept there. \
         Choose a local folder (not a network share without hard links) or an S3 bucket with conditional writes"
    )]
    NotExclusive {
        /// The probe's path.
        place: String,
    },
    /// Storage failed.
    #[error("{what}: {source}")]
    Storage {
        /// What was under way.
        what: &'static str,
        /// What storage said.
        source: StorageError,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] ViewError),
    /// A slot failed.
    #[error("slot {slot}: {message}")]
    Slot {
        /// The slot.
        slot: u32,
        /// What it said.
        message: String,
        /// What another run may expect.
        outlook: Outlook,
    },
    /// The snapshot to begin from is not usable.
    #[error("checkpoint {epoch} is not usable: {message}{advice}")]
    Restore {
        /// Its number.
        epoch: Epoch,
        /// What the slot said.
        message: String,
        /// What can be done, with a leading separator.
        advice: String,
        /// What another run may expect.
        outlook: Outlook,
    },
    /// The snapshot was taken by another plan.
    #[error(
        "checkpoint {epoch} was taken by another plan of this job, and its state would be lost: operators that are gone: {lost}; \
         operators that are new: {new}. Undo the change, start with --from-nothing, or with --allow-non-restored-state if \
         the job may go on without that state"
    )]
    ChangedPlan {
        /// Its number.
        epoch: Epoch,
        /// Ids of operators that the plan lacks.
        lost: String,
        /// Ids of operators that the snapshot lacks.
        new: String,
    },
    /// The last snapshot of a job could not be taken.
    #[error("the last checkpoint failed: {0}; start the job again, it goes on from the checkpoint before")]
    LastSnapshot(String),
    /// What earlier reigns left open could not be ended.
    #[error("what an earlier run left open in a sink's system could not be ended: {0}; start the job again")]
    Abandon(String),
    /// Output of a complete snapshot could not be made visible.
    #[error(
        "output of checkpoint {epoch} could not be committed (the next start tries it again before anything else): {message}"
    )]
    Commit {
        /// The snapshot.
        epoch: Epoch,
        /// What went wrong.
        message: String,
    },
}

impl CoordinatorError {
    /// What another run may expect.
    pub const fn outlook(&self) -> Outlook {
        match self {
            // Whoever took over goes on with the job.
            Self::Fenced { .. } | Self::FencedLongAgo => Outlook::Lasts,
            Self::NotExclusive { .. } | Self::Log(_) | Self::ChangedPlan { .. } => Outlook::Lasts,
            Self::Storage { source, .. } => source.outlook(),
            Self::Slot { outlook, .. } | Self::Restore { outlook, .. } => *outlook,
            Self::LastSnapshot(_) | Self::Abandon(_) | Self::Commit { .. } => Outlook::MayPass,
        }
    }
}

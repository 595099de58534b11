//! The records of the job log, and what a snapshot names. This is a storage format: see `docs/snapshot-format.md`.

use crate::{Epoch, HashRange, Millis, OperatorId, Run, Term};
use serde::{Deserialize, Serialize};

/// The version of the record format that this build writes.
pub const LOG_VERSION: u32 = 1;

/// One record as it is stored: a JSON object under `log/<n>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// [`LOG_VERSION`] of the writer.
    pub version: u32,
    /// Names the job: two jobs never share a log.
    pub job: String,
    /// The job's uid, given at its first start; in the name of everything that it writes.
    pub uid: String,
    /// A random number of the write: tells one's own record from another's after a lost answer.
    pub nonce: u64,
    /// The writer's run.
    pub run: Run,
    /// The writer's term.
    pub term: Term,
    /// Wall clock of the writer, milliseconds since the Unix epoch; for people, never compared.
    pub written_at_ms: Millis,
    /// What is recorded.
    pub record: LogRecord,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LogRecord {
    /// A run begins.
    Start {
        /// Fingerprint of the plan.
        fingerprint: String,
        /// The snapshot that the run begins from; absent for a run from nothing.
        base: Option<Box<Snapshot>>,
        /// The sinks' transactions of `base` are known to be committed.
        base_committed: bool,
    },
    /// A coordinator reigns.
    Claim {
        /// Who: host and process, for people.
        address: String,
    },
    /// A snapshot exists whole.
    Complete {
        /// What it consists of.
        snapshot: Box<Snapshot>,
    },
    /// A snapshot never will exist.
    Abort {
        /// Its number.
        epoch: Epoch,
        /// Why, for people.
        reason: String,
    },
    /// The transactions of a complete snapshot are done.
    Committed {
        /// Its number.
        epoch: Epoch,
    },
    /// A snapshot may be deleted.
    Retire {
        /// Its number.
        epoch: Epoch,
    },
    /// The run is over.
    End {
        /// How.
        outcome: Outcome,
        /// Why, for people; empty unless failed.
        reason: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All input was read and all output committed.
    Finished,
    /// Stopped with a last checkpoint; may be started again.
    Stopped,
    /// Given up by the user.
    Cancelled,
    /// Ended by an error.
    Failed,
}

/// A complete snapshot of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its number.
    pub epoch: Epoch,
    /// The job's parallelism when it was taken.
    pub parallelism: u32,
    /// The job's maxParallelism when it was taken.
    pub max_parallelism: u32,
    /// Fingerprint of the plan that took it.
    pub fingerprint: String,
    /// Every file of state tables, oldest epoch first: later files win.
    pub files: Vec<StateFile>,
    /// Where every split of every source stands.
    pub positions: Vec<SplitPosition>,
    /// Output that becomes visible when the snapshot is complete.
    pub transactions: Vec<Transaction>,
    /// The watermark of every operator (the minimum over its subtasks).
    pub watermarks: Vec<OperatorWatermark>,
}

/// A file with rows of state tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateFile {
    /// Path below the snapshot location.
    pub path: String,
    /// The epoch whose changes it holds.
    pub epoch: Epoch,
    /// The hashes that its writer owned.
    pub range: HashRange,
    /// Size in bytes.
    pub bytes: u64,
    /// Rows and tombstones in it.
    pub rows: u64,
}

/// Where one split of a source stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitPosition {
    /// The source.
    pub operator: OperatorId,
    /// The split's name, unique in its source: a file, a partition, a generator.
    pub split: String,
    /// Where to read on, in the connector's own form.
    pub position: serde_json::Value,
    /// The watermark that the split had reached.
    pub watermark: Millis,
    /// Nothing is left to read.
    pub finished: bool,
}

/// Output of one sink subtask that waits for its snapshot to be complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// The sink.
    pub operator: OperatorId,
    /// What to commit, in the connector's own form. Committing it again is harmless until a record says that it is committed.
    pub handle: serde_json::Value,
    /// The snapshot whose barrier closed it; absent in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

/// How far event time had come at an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorWatermark {
    /// The operator.
    pub operator: OperatorId,
    /// The watermark.
    pub watermark: Millis,
}

/// What one slot contributes to a snapshot.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotSnapshot {
    /// Files written by the slot since the last complete snapshot, oldest epoch first.
    pub files: Vec<StateFile>,
    /// Positions of the splits that the slot reads.
    pub positions: Vec<SplitPosition>,
    /// Transactions of the slot's sinks since the last complete snapshot.
    pub transactions: Vec<Transaction>,
    /// Watermarks of the slot's operators.
    pub watermarks: Vec<OperatorWatermark>,
    /// The files of this snapshot's epoch hold the slot's whole state.
    #[serde(default)]
    pub full: bool,
}

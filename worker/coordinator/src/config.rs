//! What the coordinator is told.

use crate::message::CoordinatorError;
use std::collections::BTreeSet;
use std::time::Duration;
use streamfleet_snapshot::JobShape;
use streamfleet_types::log::Snapshot;
use streamfleet_types::{OperatorId, Run};

/// Where a new run begins.
#[derive(Debug, Clone, PartialEq)]
pub enum StartFrom {
    /// The newest complete checkpoint of the job, if there is one. A job that has finished is not run again.
    Newest,
    /// Nothing, whatever there is.
    Nothing,
    /// This snapshot.
    Snapshot(Box<Snapshot>),
}

/// What the coordinator is told.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// The job's name.
    pub job: String,
    /// Parallelism, key groups, fingerprint.
    pub shape: JobShape,
    /// The ids of the job's operators.
    pub operators: BTreeSet<OperatorId>,
    /// Where to begin.
    pub start_from: StartFrom,
    /// The uid of a job whose log is empty; `None`: a random one.
    pub new_uid: Option<String>,
    /// The run of this process that failed before, if one did: whoever has begun the job since then keeps it.
    pub succeeds: Option<Run>,
    /// A snapshot of another plan is taken too: state that nothing asks for is dropped.
    pub allow_changed_plan: bool,
    /// Time between two checkpoints; `None`: only the last one.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// Checkpoints kept; at least one.
    pub retain: usize,
    /// State files per slot from which a checkpoint's chain of deltas is replaced by the whole state.
    pub most_files_per_slot: usize,
    /// The job's place as the user knows it, for advice.
    pub place: String,
    /// Who this is, for people: host and process.
    pub address: String,
}

impl CoordinatorConfig {
    /// Refuses a snapshot that another plan made, unless that is allowed.
    ///
    /// # Errors
    /// Which operators are lost and which are new.
    pub fn check_plan(&self, base: &Snapshot) -> Result<(), CoordinatorError> {
        if base.fingerprint == self.shape.fingerprint || self.allow_changed_plan {
            return Ok(());
        }
        Err(changed_plan(base, &self.operators))
    }
}

/// Says what the plan of a snapshot and the job's have not in common.
fn changed_plan(base: &Snapshot, operators: &BTreeSet<OperatorId>) -> CoordinatorError {
    let of_positions = base.positions.iter().map(|p| &p.operator);
    let before: BTreeSet<&OperatorId> = base.watermarks.iter().map(|w| &w.operator).chain(of_positions).collect();
    let names = |ids: Vec<&&OperatorId>| match ids.len() {
        0 => "none".to_owned(),
        _ => ids.iter().map(|id| id.0.as_str()).collect::<Vec<_>>().join(", "),
    };
    CoordinatorError::ChangedPlan {
        epoch: base.epoch,
        lost: names(before.iter().filter(|id| !operators.contains(**id)).collect()),
        new: names(operators.iter().collect::<Vec<_>>().iter().filter(|id| !before.contains(**id)).collect()),
    }
}

//! What coordinator and slots say to each other.

use std::sync::Arc;
use streamfleet_types::log::{OperatorWatermark, SlotSnapshot};
use streamfleet_types::{Epoch, Millis, OperatorId, Outlook};

/// From the coordinator to every slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotCommand {
    /// Begin a snapshot: sources emit its barrier before anything else.
    Trigger {
        /// Its number.
        epoch: Epoch,
        /// Sources give nothing more after the barrier: the job stops with this snapshot.
        last: bool,
        /// Every slot has drained: all output was given, so no state is needed any more and none is written.
        drained: bool,
        /// The whole state is written, not only what changed since the snapshot before.
        full: bool,
    },
    /// The snapshot will never be: forget its barriers. What was written for it goes into the next one, and what is frozen for
    /// it is written all the same: [`SlotReport::Settled`] answers.
    Abort {
        /// Its number.
        epoch: Epoch,
    },
    /// Try again to write what given-up snapshots froze.
    Settle,
    /// The snapshot is recorded: what it names need not be named again.
    Completed {
        /// Its number.
        epoch: Epoch,
        /// The watermark of every operator in it: the least over all subtasks.
        watermarks: Vec<OperatorWatermark>,
    },
    /// The output that the snapshot names is committed, and a record says so.
    Committed {
        /// Its number.
        epoch: Epoch,
    },
    /// How far a group of sources has come that are read at one pace.
    GroupReached {
        /// The group.
        group: Arc<str>,
        /// The watermark of its slowest part; `None`: no part holds the others back.
        watermark: Option<Millis>,
    },
}

/// How far a slot is with the first rows of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRows {
    /// None came to a sink yet, and nothing stands in their way.
    None,
    /// None was taken by a sink yet: a source still finds its splits, or a sink does not take what it is offered, as while brokers or
    /// a schema registry do not answer.
    Awaited,
    /// A sink has taken some. This is not taken back.
    Taken,
}

/// From a slot to the coordinator.
#[derive(Debug, Clone)]
pub enum SlotReport {
    /// State is loaded; rows begin to flow.
    Running,
    /// The slot's part of a snapshot is durable.
    Acknowledged {
        /// The snapshot's number.
        epoch: Epoch,
        /// The part.
        part: Box<SlotSnapshot>,
    },
    /// The slot's part could not be written; it goes on, and tries again with the next snapshot.
    Declined {
        /// The snapshot's number.
        epoch: Epoch,
        /// Why.
        reason: String,
    },
    /// Behind an abort: nothing that given-up snapshots froze is held any more, or why it could not be written.
    Settled(Result<(), String>),
    /// How far the slot is with its first rows, when that changes; at the beginning it is [`FirstRows::None`].
    FirstRows(FirstRows),
    /// All input has ended and all rows are through; what remains is a last snapshot.
    Drained,
    /// How far the slot's part of a source has come, which is read at one pace with others. A slot that has such parts says it
    /// of each before [`Self::Running`].
    Reached {
        /// The source.
        source: OperatorId,
        /// Its group.
        group: Arc<str>,
        /// Its watermark; `None`: it holds the others back no more, or not now.
        watermark: Option<Millis>,
    },
    /// The slot cannot go on.
    Failed(SlotFailure),
}

/// Why a slot cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFailure {
    /// What happened, for people.
    pub message: String,
    /// What another run may expect.
    pub outlook: Outlook,
    /// It could not read the snapshot that it was to begin from.
    pub in_restore: bool,
    /// The file of the snapshot that it could not read, if it is known.
    pub path: Option<String>,
}

//! What flows along an edge, in order.

use crate::{Batch, Epoch, Millis};

/// A snapshot's barrier: everything before it belongs to the snapshot, nothing after it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The snapshot's number.
    pub epoch: Epoch,
}

/// One element of a channel.
#[derive(Debug, Clone)]
pub enum Element {
    /// Rows.
    Batch(Batch),
    /// No row with an event time at or below this comes any more (unless late).
    Watermark(Millis),
    /// A snapshot's barrier.
    Barrier(Barrier),
    /// The channel is idle: its watermark does not hold others back.
    Idle,
    /// The channel is active again.
    Active,
    /// Nothing comes any more.
    End,
}

impl Element {
    /// True for everything but rows: control elements pass a full queue into reserved room.
    pub const fn is_control(&self) -> bool {
        !matches!(self, Self::Batch(_))
    }
}

//! What the planner knows of a stream.

use crate::WindowColumns;

/// Which row kinds a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangelogMode {
    /// `+I` only.
    AppendOnly,
    /// Every kind; an update is `-U` then `+U`.
    Retract,
}

/// What bounds an operator's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBound {
    /// It keeps none.
    None,
    /// Rows go when event time passes them.
    EventTime,
    /// One row per distinct key.
    Keys,
    /// It keeps rows for ever: the planner warns.
    Unbounded,
}

/// What is known of a node's output.
#[derive(Debug, Clone)]
pub struct Properties {
    /// Which row kinds it carries.
    pub changelog: ChangelogMode,
    /// Sets of output columns that each identify a row, if known; the first is the preferred.
    pub upsert_keys: Vec<Vec<usize>>,
    /// Output columns that are event-time attributes: no row comes with a value at or below the watermark unless late.
    pub time_attributes: Vec<usize>,
    /// Output columns that hold a window, if a window function made them.
    pub window: Option<WindowColumns>,
    /// What bounds the node's own state.
    pub state: StateBound,
}

//! What a freeze and a snapshot file say of single rows.

/// `__op` of a removed row.
pub(crate) const DELETE: i8 = 0;

/// `__op` of a written row.
pub(crate) const PUT: i8 = 1;

/// What changed in a table, each part sorted by hash: hash and place of every change.
#[derive(Debug, Default)]
pub(crate) struct ChangeOrder {
    /// Keys removed.
    pub removed: Vec<(u64, u32)>,
    /// Rows written.
    pub written: Vec<(u64, u32)>,
}

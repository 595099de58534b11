//! What a row of a changelog says about its key.

/// The kind of a changelog row. The byte values are those of Flink's `RowKind` and of the snapshot format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum RowKind {
    /// `+I`: a new row.
    Insert = 0,
    /// `-U`: the row as it was before an update.
    UpdateBefore = 1,
    /// `+U`: the row as it is after an update.
    UpdateAfter = 2,
    /// `-D`: the row is gone.
    Delete = 3,
}

impl RowKind {
    /// The kind of a stored byte, or `None` if no kind has it.
    pub const fn from_byte(byte: i8) -> Option<Self> {
        match byte {
            0 => Some(Self::Insert),
            1 => Some(Self::UpdateBefore),
            2 => Some(Self::UpdateAfter),
            3 => Some(Self::Delete),
            _ => None,
        }
    }

    /// True for the kinds that add a row: `+I` and `+U`.
    pub const fn is_addition(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }

    /// Flink's two-character name: `+I`, `-U`, `+U` or `-D`.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

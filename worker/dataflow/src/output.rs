//! Where an operator puts its rows, and how it says that there is more.

use streamfleet_types::Batch;

/// What an operator has to say after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// The call is finished; the next element may come.
    Done,
    /// The output became full in the middle, or there is much to do without output. Call [`crate::Operator::resume`] when there is room; until it says `Done`, no
    /// other element comes and no barrier is answered.
    More,
}

/// The rows that an operator gives in one call. An operator that can give many checks [`Output::has_room`] between batches
/// and stops with [`Flow::More`].
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<Batch>,
    rows: usize,
}

impl Output {
    /// Rows after which an output counts as full.
    pub const ROWS: usize = 16 * 1024;

    /// The most rows in one batch that an operator should make.
    pub const BATCH_ROWS: usize = 8 * 1024;

    /// Gives rows. An empty batch is dropped.
    pub fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.rows += batch.rows();
            self.batches.push(batch);
        }
    }

    /// True while another batch is welcome.
    pub const fn has_room(&self) -> bool {
        self.rows < Self::ROWS
    }

    /// Takes all rows out.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Batch> {
        self.rows = 0;
        self.batches.drain(..)
    }

    /// True if nothing was given.
    pub const fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

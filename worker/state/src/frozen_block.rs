//! A block's part in a snapshot: rows that wait to be encoded.

use crate::block::{Block, SlotSet};
use std::sync::{Arc, Mutex};

/// The changed rows of a block, as they were at the freeze.
///
/// They stay in the table's block until the table writes there. Then they alone are copied, and not the whole block: of a large
/// state most rows did not change since the freeze before, and the block that is written is still the one in the caches.
#[derive(Debug)]
pub(crate) struct FrozenBlock {
    rows: SlotSet,
    /// The table's block, or a copy of `rows` in the same slots.
    block: Mutex<Arc<Block>>,
}

impl FrozenBlock {
    pub const fn new(block: Arc<Block>, rows: SlotSet) -> Self {
        Self { rows, block: Mutex::new(block) }
    }

    /// The slots of the rows.
    pub const fn rows(&self) -> &SlotSet {
        &self.rows
    }

    /// Reads rows. Short: the table's thread does not wait for it, but copies the whole block meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&Block) -> T) -> T {
        read(&self.block.lock().expect("no holder of this lock panics"))
    }

    /// Copies the rows out of the table's block; not if they are being read at this moment.
    pub fn leave(&self) {
        if let Ok(mut block) = self.block.try_lock() {
            *block = Arc::new(block.only(&self.rows));
        }
    }
}

//! A block as its table holds it: alone, or together with snapshots in flight.

use crate::block::{Block, SlotSet};
use crate::frozen_block::FrozenBlock;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// A table writes to its blocks all the time and shares them rarely. A block that is held alone is written without asking
/// who else reads it, which would cost an atomic operation for every row.
#[derive(Debug)]
pub(crate) enum HeldBlock {
    /// Nobody else has it.
    Alone(Block),
    /// Snapshots read it, or did.
    Shared(Arc<Block>, Vec<Weak<FrozenBlock>>),
}

impl HeldBlock {
    pub const fn new(block: Block) -> Self {
        Self::Alone(block)
    }

    /// Gives rows to a snapshot too. Copies none.
    pub fn share(&mut self, rows: SlotSet) -> Arc<FrozenBlock> {
        if let Self::Alone(block) = self {
            *self = Self::Shared(Arc::new(std::mem::take(block)), Vec::with_capacity(1));
        }
        match self {
            Self::Shared(block, readers) => {
                let frozen = Arc::new(FrozenBlock::new(Arc::clone(block), rows));
                readers.retain(|reader| reader.strong_count() > 0);
                readers.push(Arc::downgrade(&frozen));
                frozen
            }
            Self::Alone(_) => unreachable!("made shared above"),
        }
    }

    /// The block, to be changed: snapshots that still read it get copies of their rows first.
    #[inline]
    pub fn writable(&mut self) -> &mut Block {
        if let Self::Shared(..) = self {
            self.take_back();
        }
        match self {
            Self::Alone(block) => block,
            Self::Shared(..) => unreachable!("taken back above"),
        }
    }

    #[cold]
    fn take_back(&mut self) {
        if let Self::Shared(block, readers) = std::mem::replace(self, Self::Alone(Block::default())) {
            readers.iter().filter_map(Weak::upgrade).for_each(|reader| reader.leave());
            *self = Self::Alone(Arc::unwrap_or_clone(block));
        }
    }
}

impl Deref for HeldBlock {
    type Target = Block;

    #[inline]
    fn deref(&self) -> &Block {
        match self {
            Self::Alone(block) => block,
            Self::Shared(block, _) => block,
        }
    }
}

#[cfg(test)]
#[path = "held_block_tests.rs"]
mod tests;

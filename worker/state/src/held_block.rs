//! A block as its table holds it: alone, or together with snapshots in flight.

use crate::block::Block;
use std::ops::Deref;
use std::sync::Arc;

/// A table writes to its blocks all the time and shares them rarely. A block that is held alone is written without asking
/// who else reads it, which would cost an atomic operation for every row.
#[derive(Debug)]
pub(crate) enum HeldBlock {
    /// Nobody else has it.
    Alone(Block),
    /// A snapshot reads it, or did.
    Shared(Arc<Block>),
}

impl HeldBlock {
    pub const fn new(block: Block) -> Self {
        Self::Alone(block)
    }

    /// Gives the block to a snapshot too. Copies no row.
    pub fn share(&mut self) -> Arc<Block> {
        if let Self::Alone(block) = self {
            *self = Self::Shared(Arc::new(std::mem::take(block)));
        }
        match self {
            Self::Shared(block) => Arc::clone(block),
            Self::Alone(_) => unreachable!("made shared above"),
        }
    }

    /// The block, to be changed: copied first if a snapshot still reads it.
    #[inline]
    pub fn writable(&mut self) -> &mut Block {
        if let Self::Shared(_) = self {
            self.take_back();
        }
        match self {
            Self::Alone(block) => block,
            Self::Shared(_) => unreachable!("taken back above"),
        }
    }

    #[cold]
    fn take_back(&mut self) {
        if let Self::Shared(block) = std::mem::replace(self, Self::Alone(Block::default())) {
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
            Self::Shared(block) => block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_block_is_copied_only_while_somebody_else_has_it() {
        let mut held = HeldBlock::new(Block::with_capacity(100));
        held.writable().put(0, 1, b"key", b"value");
        let arena = held.value(0).as_ptr();
        let snapshot = held.share();
        assert_eq!(snapshot.value(0).as_ptr(), arena, "sharing copies nothing");
        held.writable().value_mut(0).copy_from_slice(b"other");
        assert_eq!((snapshot.value(0), held.value(0)), (&b"value"[..], &b"other"[..]));
        drop(snapshot);
        let arena = held.value(0).as_ptr();
        drop(held.share());
        held.writable().value_mut(0).copy_from_slice(b"third");
        assert_eq!(held.value(0).as_ptr(), arena, "alone again: nothing is copied");
    }
}

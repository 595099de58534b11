//! State tables, their freezing, and the snapshot file format.
//!
//! A [`RowTable`] is what an operator keeps between batches: rows of (key, sub-key, value) found by the key's hash. Rows lie
//! in blocks shared by reference count; [`RowTable::freeze`] copies no row, it shares the blocks with the writer of the
//! snapshot, and when a block is first written while shared the writer gets a copy of the rows that it still needs. The [`mod@file`] module encodes what changed since the
//! last freeze as an immutable columnar file sorted by hash, and reads such files back, by range of hashes.

mod block;
mod change;
mod error;
pub mod file;
mod frozen_block;
mod held_block;
mod layout;
mod rows;
mod table;

pub use error::StateError;
pub use layout::RowLayout;
pub use rows::Rows;
pub use table::{FrozenTable, RowId, RowTable, TableSchema};

#[cfg(test)]
mod golden_tests;

//! A state table in memory: rows found by key, shared with snapshots without copying.

use crate::block::{BLOCK_ROWS, Block, SlotSet};
use crate::change::{ChangeOrder, PUT};
use crate::frozen_block::FrozenBlock;
use crate::held_block::HeldBlock;
use crate::{RowLayout, Rows, StateError};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Int8Type, UInt64Type};
use hashbrown::HashTable;
use std::sync::Arc;
use streamfleet_types::hash::hash_bytes;
use streamfleet_types::{Epoch, HashRange};

/// The columns of a state table.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// Name, unique in its operator.
    pub name: String,
    /// Columns of the key: their canonical hash routes the row.
    pub key: Vec<FieldRef>,
    /// Further columns that make the row unique within its key; may be empty.
    pub sub_key: Vec<FieldRef>,
    /// The rest.
    pub value: Vec<FieldRef>,
}

impl TableSchema {
    /// Key and sub-key columns: what identifies a row.
    pub fn identity(&self) -> Vec<FieldRef> {
        self.key.iter().chain(&self.sub_key).cloned().collect()
    }

    /// All columns.
    pub fn fields(&self) -> Vec<FieldRef> {
        self.key.iter().chain(&self.sub_key).chain(&self.value).cloned().collect()
    }
}

/// Names a row of one table for as long as it lives there. Not stable over a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

impl RowId {
    const fn new(block: usize, slot: usize) -> Self {
        Self((block * BLOCK_ROWS + slot) as u32)
    }

    #[inline]
    const fn block(self) -> usize {
        self.0 as usize / BLOCK_ROWS
    }

    #[inline]
    const fn slot(self) -> usize {
        self.0 as usize % BLOCK_ROWS
    }
}

/// What a block's rows have been through since the last freeze.
#[derive(Debug, Clone, Copy)]
struct Changes {
    /// Written.
    dirty: SlotSet,
    /// Added: no snapshot knows them.
    fresh: SlotSet,
    /// The block is listed in `RowTable::touched`.
    listed: bool,
}

impl Changes {
    const NONE: Self = Self { dirty: SlotSet::EMPTY, fresh: SlotSet::EMPTY, listed: false };
}

/// A state table in memory.
#[derive(Debug)]
pub struct RowTable {
    schema: Arc<TableSchema>,
    key_layout: Arc<RowLayout>,
    value_layout: Arc<RowLayout>,
    has_sub_key: bool,
    blocks: Vec<HeldBlock>,
    changes: Vec<Changes>,
    /// Blocks with changes since the last freeze.
    touched: Vec<u32>,
    index: HashTable<RowId>,
    /// Rows are found by `index`; else only while a snapshot is loaded.
    is_indexed: bool,
    len: usize,
    /// Removed rows' ids, to be given again.
    free: Vec<RowId>,
    /// Keys removed since the last freeze that a snapshot may know, with their hashes.
    tombstones: Tombstones,
    bytes: usize,
}

#[derive(Debug, Default, Clone)]
struct Tombstones {
    hashes: Vec<u64>,
    keys: Rows,
}

impl RowTable {
    /// An empty table.
    ///
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(schema: TableSchema) -> Result<Self, StateError> {
        Ok(Self {
            key_layout: Arc::new(RowLayout::new(&schema.name, &schema.identity())?),
            value_layout: Arc::new(RowLayout::new(&schema.name, &schema.value)?),
            has_sub_key: !schema.sub_key.is_empty(),
            schema: Arc::new(schema),
            blocks: Vec::new(),
            changes: Vec::new(),
            touched: Vec::new(),
            index: HashTable::new(),
            is_indexed: true,
            len: 0,
            free: Vec::new(),
            tombstones: Tombstones::default(),
            bytes: 0,
        })
    }

    /// An empty table for rows whose keys the owner makes unique and which it finds by itself: without the index that
    /// [`Self::find`] needs. Only [`Self::insert_unique`] adds rows.
    ///
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn unindexed(schema: TableSchema) -> Result<Self, StateError> {
        Ok(Self { is_indexed: false, ..Self::new(schema)? })
    }

    /// Its columns.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Layout of key and sub-key columns together: the bytes that identify a row.
    pub fn key_layout(&self) -> &RowLayout {
        &self.key_layout
    }

    /// Layout of the value columns.
    pub fn value_layout(&self) -> &RowLayout {
        &self.value_layout
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory in bytes, index included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.index.allocation_size()
    }

    #[inline]
    fn index_hash(has_sub_key: bool, hash: u64, key: &[u8]) -> u64 {
        if has_sub_key { hash.rotate_left(17) ^ hash_bytes(key) } else { hash }
    }

    /// The row with this key (key and sub-key, encoded), if any. `hash` is the canonical hash of the key columns.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<RowId> {
        debug_assert!(
            self.is_indexed || !self.index.is_empty() || self.len == 0,
            "nothing finds rows without the index"
        );
        let index_hash = Self::index_hash(self.has_sub_key, hash, key);
        let blocks = &self.blocks;
        self.index.find(index_hash, |row| blocks[row.block()].key(row.slot()) == key).copied()
    }

    /// Finds the row, or adds it with `value`; true if it was added.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8], value: &[u8]) -> (RowId, bool) {
        match self.find(hash, key) {
            Some(row) => (row, false),
            None => (self.insert(hash, key, value, true), true),
        }
    }

    /// Adds a row whose key is in no other row.
    #[inline]
    pub fn insert_unique(&mut self, hash: u64, key: &[u8], value: &[u8]) -> RowId {
        self.insert(hash, key, value, true)
    }

    /// After the last [`Self::load`]: an unindexed table gives the memory of its loading back.
    pub fn loaded(&mut self) {
        if !self.is_indexed {
            self.index = HashTable::new();
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], changed: bool) -> RowId {
        let row = self.free.pop().unwrap_or_else(|| self.fresh_slot(key.len() + value.len()));
        self.change_block(row.block(), |block| block.put(row.slot(), hash, key, value));
        if changed {
            let changes = self.touch(row.block());
            changes.dirty.insert(row.slot());
            changes.fresh.insert(row.slot());
        }
        self.len += 1;
        if changed && !self.is_indexed {
            return row;
        }
        let (blocks, has_sub_key) = (&self.blocks, self.has_sub_key);
        self.index.insert_unique(Self::index_hash(has_sub_key, hash, key), row, |row| {
            let block = &blocks[row.block()];
            Self::index_hash(has_sub_key, block.hash(row.slot()), block.key(row.slot()))
        });
        row
    }

    /// A slot that no row ever had, for a row of so many bytes.
    fn fresh_slot(&mut self, bytes: usize) -> RowId {
        if self.blocks.last().is_none_or(|b| !b.takes_fresh(bytes)) {
            // Rows are mostly of one size: room for as much as the last block took spares growing it again and again.
            let expected = self.blocks.last().map_or(0, |b| b.used_bytes() + b.used_bytes() / 64);
            let block = Block::with_capacity(expected);
            self.bytes += block.bytes();
            self.blocks.push(HeldBlock::new(block));
            self.changes.push(Changes::NONE);
        }
        let last = self.blocks.len() - 1;
        RowId::new(last, self.blocks[last].next_fresh_slot())
    }

    /// Changes a block, and keeps count of its bytes.
    #[inline]
    fn change_block<T>(&mut self, block: usize, change: impl FnOnce(&mut Block) -> T) -> T {
        let block = self.blocks[block].writable();
        let before = block.bytes();
        let result = change(block);
        let after = block.bytes();
        self.bytes = self.bytes + after - before;
        result
    }

    #[inline]
    fn touch(&mut self, block: usize) -> &mut Changes {
        let changes = &mut self.changes[block];
        if !changes.listed {
            changes.listed = true;
            self.touched.push(block as u32);
        }
        changes
    }

    /// Canonical hash of the row's key columns.
    #[inline]
    pub fn hash(&self, row: RowId) -> u64 {
        self.blocks[row.block()].hash(row.slot())
    }

    /// The row's key and sub-key, encoded.
    #[inline]
    pub fn key(&self, row: RowId) -> &[u8] {
        self.blocks[row.block()].key(row.slot())
    }

    /// The row's value, encoded.
    #[inline]
    pub fn value(&self, row: RowId) -> &[u8] {
        self.blocks[row.block()].value(row.slot())
    }

    /// The row's value, to change in place; the row counts as changed.
    #[inline]
    pub fn value_mut(&mut self, row: RowId) -> &mut [u8] {
        self.touch(row.block()).dirty.insert(row.slot());
        self.blocks[row.block()].writable().value_mut(row.slot())
    }

    /// Changes the row's value in place, with the value's layout at hand; the row counts as changed.
    #[inline]
    pub fn update<T>(&mut self, row: RowId, change: impl FnOnce(&RowLayout, &mut [u8]) -> T) -> T {
        self.touch(row.block()).dirty.insert(row.slot());
        change(&self.value_layout, self.blocks[row.block()].writable().value_mut(row.slot()))
    }

    /// Like [`Self::update`], if `needed` says so of the value as it is.
    #[inline]
    pub fn update_if(
        &mut self,
        row: RowId,
        needed: impl FnOnce(&RowLayout, &[u8]) -> bool,
        change: impl FnOnce(&RowLayout, &mut [u8]),
    ) {
        if needed(&self.value_layout, self.value(row)) {
            self.update(row, change);
        }
    }

    /// Another value, of any length; the row keeps its id and counts as changed.
    pub fn replace(&mut self, row: RowId, value: &[u8]) {
        self.touch(row.block()).dirty.insert(row.slot());
        self.change_block(row.block(), |block| block.replace(row.slot(), value));
    }

    /// Removes a row.
    pub fn remove(&mut self, row: RowId) {
        let (hash, key) = (self.hash(row), self.key(row));
        let index_hash = Self::index_hash(self.has_sub_key, hash, key);
        let is_fresh = self.changes[row.block()].fresh.contains(row.slot());
        if !is_fresh {
            self.tombstones.hashes.push(hash);
            self.tombstones.keys.push(self.blocks[row.block()].key(row.slot()));
        }
        self.unlink(index_hash, row);
        let changes = self.touch(row.block());
        changes.dirty.remove(row.slot());
        changes.fresh.remove(row.slot());
    }

    fn unlink(&mut self, index_hash: u64, row: RowId) {
        if let Ok(entry) = self.index.find_entry(index_hash, |other| *other == row) {
            entry.remove();
        }
        self.len -= 1;
        self.change_block(row.block(), |block| block.remove(row.slot()));
        self.free.push(row);
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        let blocks = self.blocks.iter().enumerate();
        blocks.flat_map(|(block, rows)| rows.live_slots().map(move |slot| RowId::new(block, slot)))
    }

    /// Shares what changed since the last freeze (rows written, keys removed) with the snapshot. Copies no row.
    pub fn freeze(&mut self, epoch: Epoch) -> FrozenTable {
        let touched = std::mem::take(&mut self.touched);
        let mut blocks = Vec::with_capacity(touched.len());
        for block in touched {
            let changes = std::mem::replace(&mut self.changes[block as usize], Changes::NONE);
            if changes.dirty != SlotSet::EMPTY {
                blocks.push(self.blocks[block as usize].share(changes.dirty));
            }
        }
        FrozenTable {
            schema: Arc::clone(&self.schema),
            key_layout: Arc::clone(&self.key_layout),
            value_layout: Arc::clone(&self.value_layout),
            epoch,
            blocks,
            tombstones: std::mem::take(&mut self.tombstones),
        }
    }

    /// Like [`Self::freeze`], but shares every row: a snapshot that needs no earlier one. Removed keys are shared all the same,
    /// for if this snapshot is given up, what it holds is a change upon an earlier one.
    pub fn freeze_whole(&mut self, epoch: Epoch) -> FrozenTable {
        for block in 0..self.blocks.len() {
            let live = self.blocks[block].live();
            if live != SlotSet::EMPTY {
                self.touch(block).dirty = live;
            }
        }
        self.freeze(epoch)
    }

    /// Applies rows of a snapshot file (see [`crate::file`]), tombstones first. Loaded rows do not count as changed.
    ///
    /// # Errors
    /// The rows' columns are not the table's.
    pub fn load(&mut self, rows: &RecordBatch, range: HashRange) -> Result<(), StateError> {
        self.check_schema(rows)?;
        let hashes = rows.column(0).as_primitive::<UInt64Type>().values();
        let operations = rows.column(1).as_primitive::<Int8Type>().values();
        let identity = self.schema.key.len() + self.schema.sub_key.len();
        let columns: Vec<ArrayRef> = rows.columns()[2..].to_vec();
        let (mut keys, mut values) = (Rows::new(), Rows::new());
        self.key_layout.encode(&columns[..identity], rows.num_rows(), &mut keys)?;
        self.value_layout.encode(&columns[identity..], rows.num_rows(), &mut values)?;
        for row in (0..rows.num_rows()).filter(|row| range.contains(hashes[*row])) {
            let (hash, key) = (hashes[row], keys.get(row));
            let existing = self.find(hash, key);
            match (operations[row] == PUT, existing) {
                (true, None) => {
                    self.insert(hash, key, values.get(row), false);
                }
                (true, Some(existing)) => {
                    self.change_block(existing.block(), |block| block.replace(existing.slot(), values.get(row)));
                }
                (false, Some(existing)) => {
                    let index_hash = Self::index_hash(self.has_sub_key, hash, key);
                    self.unlink(index_hash, existing);
                }
                (false, None) => {}
            }
        }
        Ok(())
    }

    fn check_schema(&self, rows: &RecordBatch) -> Result<(), StateError> {
        let text = |fields: &[FieldRef]| {
            fields.iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", ")
        };
        let needed = self.schema.fields();
        let schema = rows.schema();
        let found = &schema.fields()[2.min(schema.fields().len())..];
        if found.iter().map(|f| f.data_type()).eq(needed.iter().map(|f| f.data_type())) {
            return Ok(());
        }
        Err(StateError::SchemaMismatch { table: self.schema.name.clone(), found: text(found), needed: text(&needed) })
    }
}

/// What changed in a table up to a freeze: shared blocks, to be encoded on another thread.
#[derive(Debug)]
pub struct FrozenTable {
    schema: Arc<TableSchema>,
    key_layout: Arc<RowLayout>,
    value_layout: Arc<RowLayout>,
    epoch: Epoch,
    blocks: Vec<Arc<FrozenBlock>>,
    tombstones: Tombstones,
}

impl FrozenTable {
    /// The table's columns.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The freeze's epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.tombstones.hashes.is_empty()
    }

    /// Rows written and keys removed.
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.rows().len()).sum::<usize>() + self.tombstones.hashes.len()
    }

    pub(crate) fn key_layout(&self) -> &RowLayout {
        &self.key_layout
    }

    pub(crate) fn value_layout(&self) -> &RowLayout {
        &self.value_layout
    }

    /// The changes in the order of their hashes.
    pub(crate) fn change_order(&self) -> ChangeOrder {
        let removed = self.tombstones.hashes.iter().zip(0..).map(|(hash, place)| (*hash, place));
        let mut written = Vec::with_capacity(self.blocks.iter().map(|block| block.rows().len()).sum());
        for (index, frozen) in self.blocks.iter().enumerate() {
            frozen.read(|block| {
                written.extend(frozen.rows().iter().map(|slot| (block.hash(slot), RowId::new(index, slot).0)));
            });
        }
        let mut order = ChangeOrder { removed: removed.collect(), written };
        order.removed.sort_unstable();
        order.written.sort_unstable();
        order
    }

    /// The key at a place of [`ChangeOrder::removed`].
    pub(crate) fn removed_key(&self, place: u32) -> &[u8] {
        self.tombstones.keys.get(place as usize)
    }

    /// Adds key and value at a place of [`ChangeOrder::written`] to `keys` and `values`.
    pub(crate) fn push_written(&self, place: u32, keys: &mut Rows, values: &mut Rows) {
        let row = RowId(place);
        self.blocks[row.block()].read(|block| {
            keys.push(block.key(row.slot()));
            values.push(block.value(row.slot()));
        });
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

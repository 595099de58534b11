//! The first `n` rows per partition: sorted lists of row ids beside the table.

use super::order::{Order, OrderKeys};
use crate::operators::OperatorContext;
use crate::operators::key_index::{KeyIndex, KeyRow, KeyShape, bitmap_bytes};
use crate::operators::stored_rows::{Added, Identity, StoredRows, unknown_retraction};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use std::cmp::Ordering;
use std::sync::Arc;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowId, RowLayout, RowTable, Rows};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, RowKind};

/// The place of a group that the batch did not touch yet.
const UNTOUCHED: u32 = u32::MAX;

/// A partition.
#[derive(Debug)]
struct Group {
    /// Its rows, first one first.
    rows: Vec<RowId>,
    /// A row that has its key while it has no rows: the last that left.
    last_left: RowId,
    /// Its place among the groups that the batch touched.
    touched: u32,
}

/// A group that the batch touched, with its first rows before.
#[derive(Debug, Clone, Copy)]
struct Touched {
    group: u32,
    hash: u64,
    before: (usize, usize),
}

/// A row to be given.
#[derive(Debug, Clone, Copy)]
struct Entry {
    row: RowId,
    kind: RowKind,
    rank: i64,
}

/// See the module.
pub(super) struct TopRows {
    name: String,
    rows: StoredRows,
    shape: KeyShape,
    partition_layout: RowLayout,
    partitions: Rows,
    index: KeyIndex,
    groups: Vec<Group>,
    free_groups: Vec<u32>,
    order: Order,
    order_keys: OrderKeys,
    limit: usize,
    output: SchemaRef,
    output_rank: bool,
    emits_before: bool,
    batch_mode: bool,
    touched: Vec<Touched>,
    /// The first rows before the batch of every touched group, one after another.
    before: Vec<RowId>,
    /// Rows that are in no group; they stay in the table until what changed is given.
    leaving: Vec<RowId>,
    /// Rows to be given, from `at`.
    entries: Vec<Entry>,
    at: usize,
    /// Groups still to be given at the end, last first.
    final_groups: Vec<u32>,
    is_ending: bool,
}

impl TopRows {
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = &context.inputs[0];
        let identity = if context.input_changes[0] { Identity::Counted } else { Identity::Numbered };
        let rows = StoredRows::new("rows", input, &spec.partition, identity, None)?;
        Ok(Self {
            shape: KeyShape::new(&rows.table.schema().key)?,
            partition_layout: RowLayout::new("rows", &rows.table.schema().key)?,
            rows,
            partitions: Rows::new(),
            index: KeyIndex::default(),
            groups: Vec::new(),
            free_groups: Vec::new(),
            order: Order::new(&spec.order, input)?,
            order_keys: OrderKeys::default(),
            limit: usize::try_from(spec.limit).unwrap_or(usize::MAX),
            output: context.output,
            output_rank: spec.output_rank,
            emits_before: context.output_changes,
            batch_mode: context.batch_mode,
            touched: Vec::new(),
            before: Vec::new(),
            leaving: Vec::new(),
            entries: Vec::new(),
            at: 0,
            final_groups: Vec::new(),
            is_ending: false,
            name: context.name,
        })
    }

    pub const fn table(&mut self) -> &mut RowTable {
        &mut self.rows.table
    }

    pub fn on_batch(&mut self, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let keys = self.rows.key_columns(batch);
        let hashes = hash_columns(&keys, batch.rows())?;
        self.partitions.clear();
        self.partition_layout.encode(&keys, batch.rows(), &mut self.partitions)?;
        let order = self.order.of_batch(batch)?;
        if self.rows.is_counted() {
            self.take_changes(batch, &hashes, &order)?;
        } else {
            self.take_inserts(batch, &hashes, &order)?;
        }
        self.note_changes();
        self.run(output)
    }

    /// Rows of an append-only input: those behind a full group's last are dropped at once.
    fn take_inserts(&mut self, batch: &Batch, hashes: &[u64], order: &arrow::row::Rows) -> Result<(), DataflowError> {
        let may_enter = |row: &u32| {
            let row = *row as usize;
            let group = self.find_group(hashes[row], row);
            !group.is_some_and(|group| self.is_behind(group, order.row(row).data()))
        };
        let candidates: Vec<u32> = (0..batch.rows() as u32).filter(may_enter).collect();
        if candidates.len() == batch.rows() {
            self.rows.encode(batch, None)?;
        } else {
            self.rows.encode(&batch.take(&UInt32Array::from(candidates.clone()))?, None)?;
        }
        for (encoded, row) in candidates.into_iter().enumerate() {
            let row = row as usize;
            let order = order.row(row).data();
            let found = self.find_group(hashes[row], row);
            if found.is_some_and(|group| self.is_behind(group, order)) {
                continue;
            }
            let (Added::New(id) | Added::Again(id, _)) = self.rows.add(hashes[row], encoded);
            self.order_keys.set(id, order);
            let group = found.unwrap_or_else(|| self.new_group(hashes[row], id));
            self.touch(group, hashes[row]);
            // Numbers grow, so the row comes behind all of its order.
            let rows = &mut self.groups[group as usize].rows;
            let at = rows.partition_point(|other| self.order_keys.get(*other) <= order);
            rows.insert(at, id);
            if rows.len() > self.limit {
                self.leaving.extend(rows.pop());
            }
        }
        Ok(())
    }

    /// Rows of a changelog.
    fn take_changes(&mut self, batch: &Batch, hashes: &[u64], order: &arrow::row::Rows) -> Result<(), DataflowError> {
        self.rows.encode(batch, None)?;
        for (row, &hash) in hashes.iter().enumerate() {
            let found = self.find_group(hash, row);
            // The group is looked at before the row's count changes.
            if let Some(group) = found {
                self.touch(group, hash);
            }
            if batch.kind(row).is_addition() {
                let id = match self.rows.add(hash, row) {
                    Added::Again(_, 1..) => continue,
                    Added::New(id) | Added::Again(id, _) => id,
                };
                self.order_keys.set(id, order.row(row).data());
                let group = found.unwrap_or_else(|| {
                    let group = self.new_group(hash, id);
                    self.touch(group, hash);
                    group
                });
                let at = self.groups[group as usize].rows.partition_point(|other| self.compare(*other, id).is_lt());
                self.groups[group as usize].rows.insert(at, id);
            } else {
                let left = self.rows.take_back(hash, row);
                let (Some((id, left)), Some(group)) = (left, found) else {
                    return Err(unknown_retraction(&self.name, batch, row));
                };
                if left < 0 {
                    return Err(unknown_retraction(&self.name, batch, row));
                }
                if left == 0 {
                    let rows = &self.groups[group as usize].rows;
                    let at = rows.partition_point(|other| self.compare(*other, id).is_lt());
                    let group = &mut self.groups[group as usize];
                    group.last_left = group.rows.remove(at);
                    self.leaving.push(id);
                }
            }
        }
        Ok(())
    }

    fn find_group(&self, hash: u64, row: usize) -> Option<u32> {
        let layout = &self.partition_layout;
        let slots = bitmap_bytes(self.rows.table.schema().key.len());
        let key = KeyRow { layout, slots, bytes: self.partitions.get(row) };
        self.index.find(hash, |group| self.shape.same(key, self.key_of(group)))
    }

    /// A row with the group's key.
    fn key_of(&self, group: u32) -> KeyRow<'_> {
        let group = &self.groups[group as usize];
        self.stored_key(*group.rows.first().unwrap_or(&group.last_left))
    }

    fn stored_key(&self, row: RowId) -> KeyRow<'_> {
        let table = &self.rows.table;
        let slots = bitmap_bytes(table.schema().key.len() + table.schema().sub_key.len());
        KeyRow { layout: table.key_layout(), slots, bytes: table.key(row) }
    }

    /// A new group with the partition of `id`.
    fn new_group(&mut self, hash: u64, id: RowId) -> u32 {
        let group = Group { rows: Vec::new(), last_left: id, touched: UNTOUCHED };
        let number = match self.free_groups.pop() {
            Some(number) => {
                self.groups[number as usize] = group;
                number
            }
            None => {
                self.groups.push(group);
                self.groups.len() as u32 - 1
            }
        };
        self.index.put(hash, number, |_| false);
        number
    }

    /// True if the group is full and a later row of this order does not enter it.
    fn is_behind(&self, group: u32, order: &[u8]) -> bool {
        let rows = &self.groups[group as usize].rows;
        rows.len() >= self.limit && rows.last().is_some_and(|last| self.order_keys.get(*last) <= order)
    }

    fn compare(&self, a: RowId, b: RowId) -> Ordering {
        let by_order = self.order_keys.get(a).cmp(self.order_keys.get(b));
        by_order.then_with(|| {
            if self.rows.is_counted() {
                self.rows.table.key(a).cmp(self.rows.table.key(b))
            } else {
                self.rows.number(a).cmp(&self.rows.number(b))
            }
        })
    }

    /// Remembers what the group's first rows are before the batch changes them.
    fn touch(&mut self, group: u32, hash: u64) {
        if self.groups[group as usize].touched != UNTOUCHED {
            return;
        }
        self.groups[group as usize].touched = self.touched.len() as u32;
        let from = self.before.len();
        if !self.batch_mode {
            let mut before = std::mem::take(&mut self.before);
            self.first_rows(group, &mut before);
            self.before = before;
        }
        self.touched.push(Touched { group, hash, before: (from, self.before.len()) });
    }

    /// The rows of a group up to the limit, each as often as its count says.
    fn first_rows(&self, group: u32, into: &mut Vec<RowId>) {
        let mut room = self.limit;
        for row in &self.groups[group as usize].rows {
            let times = room.min(usize::try_from(self.rows.count(*row)).unwrap_or(0));
            into.extend(std::iter::repeat_n(*row, times));
            room -= times;
            if room == 0 {
                return;
            }
        }
    }

    /// What the batch changed, as rows to be given; groups without rows are forgotten.
    fn note_changes(&mut self) {
        let mut after = Vec::new();
        for touched in std::mem::take(&mut self.touched) {
            if !self.batch_mode {
                after.clear();
                self.first_rows(touched.group, &mut after);
                let before = std::mem::take(&mut self.before);
                let first_before = &before[touched.before.0..touched.before.1];
                if self.output_rank || self.limit == 1 {
                    self.note_by_rank(first_before, &after);
                } else {
                    self.note_by_row(first_before, &after);
                }
                self.before = before;
            }
            let group = &mut self.groups[touched.group as usize];
            group.touched = UNTOUCHED;
            if group.rows.is_empty() {
                group.rows = Vec::new();
                self.index.remove(touched.hash, touched.group);
                self.free_groups.push(touched.group);
            }
        }
        self.before.clear();
    }

    /// Each rank by itself: what had it goes, what has it comes.
    fn note_by_rank(&mut self, before: &[RowId], after: &[RowId]) {
        for index in 0..before.len().max(after.len()) {
            let rank = index as i64 + 1;
            let mut note = |row: RowId, kind: RowKind| self.entries.push(Entry { row, kind, rank });
            match (before.get(index), after.get(index)) {
                (Some(old), Some(new)) if old != new => {
                    if self.emits_before {
                        note(*old, RowKind::UpdateBefore);
                    }
                    note(*new, RowKind::UpdateAfter);
                }
                (Some(old), None) => note(*old, RowKind::Delete),
                (None, Some(new)) => note(*new, RowKind::Insert),
                _ => {}
            }
        }
    }

    /// Rows that are only before go, then rows that are only after come. Both lists are in order.
    fn note_by_row(&mut self, before: &[RowId], after: &[RowId]) {
        let (mut old, mut new) = (before.iter().copied().peekable(), after.iter().copied().peekable());
        let mut coming = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(o), Some(n)) if o == n => Ordering::Equal,
                (Some(o), Some(n)) => self.compare(*o, *n),
            };
            if order.is_le()
                && let Some(row) = old.next()
                && order.is_lt()
            {
                self.entries.push(Entry { row, kind: RowKind::Delete, rank: 0 });
            }
            if order.is_ge()
                && let Some(row) = new.next()
                && order.is_gt()
            {
                coming.push(Entry { row, kind: RowKind::Insert, rank: 0 });
            }
        }
        self.entries.append(&mut coming);
    }

    /// Goes on until all is given or the output is full.
    pub fn run(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            while self.at < self.entries.len() {
                if !output.has_room() {
                    return Ok(Flow::More);
                }
                self.give_some(output)?;
            }
            self.entries.clear();
            self.at = 0;
            self.remove_left();
            if self.final_groups.is_empty() {
                return Ok(Flow::Done);
            }
            self.note_final();
        }
    }

    fn give_some(&mut self, output: &mut Output) -> Result<(), DataflowError> {
        let to = self.entries.len().min(self.at + Output::BATCH_ROWS);
        let entries = &self.entries[self.at..to];
        let ids: Vec<RowId> = entries.iter().map(|e| e.row).collect();
        let mut columns: Vec<ArrayRef> = self.rows.decoder(&ids).columns()?;
        if self.output_rank {
            columns.push(Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.rank))));
        }
        let kinds: Vec<i8> = entries.iter().map(|e| e.kind as i8).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        let changes = kinds.iter().any(|kind| *kind != RowKind::Insert as i8);
        output.push(if changes { Batch::changelog(records, Int8Array::from(kinds))? } else { Batch::inserts(records) });
        self.at = to;
        Ok(())
    }

    /// Removes the rows that left their group and did not come back.
    fn remove_left(&mut self) {
        // A row that left, came back and left again is listed twice.
        self.leaving.sort_unstable();
        self.leaving.dedup();
        for row in self.leaving.drain(..) {
            if self.is_ending || !self.rows.is_counted() || self.rows.count(row) == 0 {
                self.rows.table.remove(row);
            }
        }
    }

    pub fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.batch_mode {
            self.is_ending = true;
            let groups = 0..self.groups.len() as u32;
            self.final_groups = groups.filter(|g| !self.groups[*g as usize].rows.is_empty()).rev().collect();
        }
        self.run(output)
    }

    /// The next groups at the end: their rows are given and forgotten.
    fn note_final(&mut self) {
        let mut first = Vec::new();
        while self.entries.len() < Output::BATCH_ROWS
            && let Some(group) = self.final_groups.pop()
        {
            first.clear();
            self.first_rows(group, &mut first);
            for (index, row) in first.iter().enumerate() {
                self.entries.push(Entry { row: *row, kind: RowKind::Insert, rank: index as i64 + 1 });
            }
            self.leaving.append(&mut self.groups[group as usize].rows);
        }
    }

    pub fn restored(&mut self) -> Result<(), DataflowError> {
        self.index.clear();
        self.groups.clear();
        self.free_groups.clear();
        self.order_keys.clear();
        let ids = self.rows.restored();
        for ids in ids.chunks(Output::BATCH_ROWS) {
            let order = self.order.of_stored(&self.rows, ids)?;
            for (index, id) in ids.iter().enumerate() {
                self.order_keys.set(*id, order.row(index).data());
                let hash = self.rows.table.hash(*id);
                let found = self.index.find(hash, |group| self.shape.same(self.stored_key(*id), self.key_of(group)));
                let group = found.unwrap_or_else(|| self.new_group(hash, *id));
                self.groups[group as usize].rows.push(*id);
            }
        }
        for group in 0..self.groups.len() {
            let mut rows = std::mem::take(&mut self.groups[group].rows);
            rows.sort_by(|a, b| self.compare(*a, *b));
            self.groups[group].rows = rows;
        }
        Ok(())
    }
}

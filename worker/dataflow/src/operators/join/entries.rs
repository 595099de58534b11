//! Joined rows that wait for room in the output, each as often as its count says.

use crate::DataflowError;
use arrow::array::{Array, ArrayRef, Int8Array, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use streamfleet_state::RowId;
use streamfleet_types::RowKind;

/// A joined row; what is absent is NULL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// A row of the batch.
    pub probe: Option<u32>,
    /// A stored row of the other side.
    pub build: Option<RowId>,
    pub kind: RowKind,
    pub times: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The input that the batch came by.
    pub probe_input: usize,
    entries: Vec<Entry>,
    /// The entry to go on with, and how often it was given.
    at: usize,
    given: i64,
}

/// Joined rows as indices, of one output batch.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The stored rows that `build` counts.
    pub ids: Vec<RowId>,
    pub kinds: Vec<i8>,
    probe: Vec<Option<u32>>,
    build: Vec<Option<u32>>,
}

impl Entries {
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next rows, at most `limit`.
    pub fn next_chunk(&mut self, limit: usize) -> Chunk {
        let mut chunk = Chunk::default();
        while let Some(entry) = self.entries.get(self.at) {
            let room = (limit - chunk.kinds.len()) as i64;
            let times = (entry.times - self.given).min(room);
            let build = entry.build.filter(|_| times > 0).map(|id| {
                chunk.ids.push(id);
                chunk.ids.len() as u32 - 1
            });
            for _ in 0..times {
                chunk.probe.push(entry.probe);
                chunk.build.push(build);
                chunk.kinds.push(entry.kind as i8);
            }
            self.given += times;
            if self.given < entry.times {
                return chunk;
            }
            self.at += 1;
            self.given = 0;
        }
        self.entries.clear();
        self.at = 0;
        chunk
    }
}

impl Chunk {
    /// A column of the batch, as the rows have it; NULL throughout if there is no batch.
    pub fn probe_column(&self, column: Option<&ArrayRef>, data_type: &DataType) -> Result<ArrayRef, DataflowError> {
        Ok(match column {
            Some(column) => take(column, &UInt32Array::from(self.probe.clone()), None)?,
            None => new_null_array(data_type, self.kinds.len()),
        })
    }

    /// A column of the stored rows, as the rows have it. `column` has one value for each of `ids`.
    pub fn build_column(&self, column: ArrayRef) -> Result<ArrayRef, DataflowError> {
        if column.len() == self.build.len() && self.ids.len() == self.kinds.len() {
            return Ok(column);
        }
        Ok(take(&column, &UInt32Array::from(self.build.clone()), None)?)
    }

    /// The row kinds, if any is not `+I`.
    pub fn into_kinds(self) -> Option<Int8Array> {
        let changes = self.kinds.iter().any(|kind| *kind != RowKind::Insert as i8);
        changes.then(|| Int8Array::from(self.kinds))
    }
}

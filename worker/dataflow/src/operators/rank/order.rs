//! The order within a partition, as bytes that compare as the rows do.

use crate::DataflowError;
use crate::operators::stored_rows::StoredRows;
use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use streamfleet_logical::SortKey;
use streamfleet_state::RowId;
use streamfleet_types::Batch;

/// See the module.
pub(super) struct Order {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Order {
    pub fn new(keys: &[SortKey], input: &SchemaRef) -> Result<Self, DataflowError> {
        let field = |key: &SortKey| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            SortField::new_with_options(input.field(key.column).data_type().clone(), options)
        };
        let converter = RowConverter::new(keys.iter().map(field).collect())?;
        Ok(Self { columns: keys.iter().map(|k| k.column).collect(), converter })
    }

    /// The order of every row of a batch.
    pub fn of_batch(&self, batch: &Batch) -> Result<Rows, DataflowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The order of stored rows.
    pub fn of_stored(&self, rows: &StoredRows, ids: &[RowId]) -> Result<Rows, DataflowError> {
        let mut decoder = rows.decoder(ids);
        let columns = self.columns.iter().map(|c| decoder.column(*c)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// The order of stored rows, found by their ids: spans of one buffer.
#[derive(Debug, Default)]
pub(super) struct OrderKeys {
    bytes: Vec<u8>,
    /// Where each row's bytes begin, and how many they are.
    starts: Vec<usize>,
    lengths: Vec<u32>,
    garbage: usize,
}

impl OrderKeys {
    const GARBAGE_BYTES: usize = 64 * 1024;

    #[inline]
    pub fn get(&self, row: RowId) -> &[u8] {
        let row = row.0 as usize;
        &self.bytes[self.starts[row]..][..self.lengths[row] as usize]
    }

    /// Sets the order of a row; what an earlier row of this id had is forgotten.
    pub fn set(&mut self, row: RowId, order: &[u8]) {
        let row = row.0 as usize;
        if self.starts.len() <= row {
            self.starts.resize(row + 1, 0);
            self.lengths.resize(row + 1, 0);
        }
        let (start, length) = (self.starts[row], self.lengths[row] as usize);
        if length == order.len() {
            self.bytes[start..start + length].copy_from_slice(order);
            return;
        }
        self.garbage += length;
        self.starts[row] = self.bytes.len();
        self.lengths[row] = order.len() as u32;
        self.bytes.extend_from_slice(order);
        if self.garbage > Self::GARBAGE_BYTES && self.garbage * 2 > self.bytes.len() {
            self.squeeze();
        }
    }

    fn squeeze(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for (start, length) in self.starts.iter_mut().zip(&self.lengths) {
            let from = std::mem::replace(start, bytes.len());
            bytes.extend_from_slice(&self.bytes[from..from + *length as usize]);
        }
        self.bytes = bytes;
        self.garbage = 0;
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

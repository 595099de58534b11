//! The unit that operators exchange: an Arrow record batch, with row kinds when the stream is a changelog.

use crate::RowKind;
use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// Why a batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The row kinds and the columns have different lengths.
    #[error("{kinds} row kinds for {rows} rows")]
    KindsLength {
        /// The number of row kinds given.
        kinds: usize,
        /// The number of rows of the columns.
        rows: usize,
    },
    /// The columns do not fit together.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// Rows of one schema. `kinds` is absent when every row is `+I`, as always in an append-only stream.
#[derive(Debug, Clone)]
pub struct Batch {
    columns: RecordBatch,
    kinds: Option<Int8Array>,
}

impl Batch {
    /// Rows that are all `+I`.
    pub fn inserts(columns: RecordBatch) -> Self {
        Self { columns, kinds: None }
    }

    /// Rows with their kinds: one [`RowKind`] byte a row, no nulls.
    pub fn changelog(columns: RecordBatch, kinds: Int8Array) -> Result<Self, BatchError> {
        if kinds.len() != columns.num_rows() {
            return Err(BatchError::KindsLength { kinds: kinds.len(), rows: columns.num_rows() });
        }
        Ok(Self { columns, kinds: Some(kinds) })
    }

    /// The same kinds over other columns of the same length.
    pub fn with_columns(&self, columns: RecordBatch) -> Result<Self, BatchError> {
        match &self.kinds {
            None => Ok(Self::inserts(columns)),
            Some(kinds) => Self::changelog(columns, kinds.clone()),
        }
    }

    /// The columns as a record batch.
    pub fn records(&self) -> &RecordBatch {
        &self.columns
    }

    /// One column.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.columns.column(index)
    }

    /// The row kinds; `None` means that every row is `+I`.
    pub fn kinds(&self) -> Option<&Int8Array> {
        self.kinds.as_ref()
    }

    /// The kind of one row.
    pub fn kind(&self, row: usize) -> RowKind {
        match &self.kinds {
            None => RowKind::Insert,
            Some(kinds) => RowKind::from_byte(kinds.value(row)).expect("a batch holds only valid row kinds"),
        }
    }

    /// The schema of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The memory that the rows take, in bytes; buffers shared with another batch are counted in each.
    pub fn bytes(&self) -> usize {
        self.columns.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>()
            + self.kinds.as_ref().map_or(0, Int8Array::len)
    }

    /// `length` rows from `offset`, without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            columns: self.columns.slice(offset, length),
            kinds: self.kinds.as_ref().map(|k| k.slice(offset, length)),
        }
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, BatchError> {
        let columns = compute::take_record_batch(&self.columns, indices)?;
        let kinds = match &self.kinds {
            None => None,
            Some(kinds) => {
                let taken = compute::take(kinds, indices, None)?;
                Some(Int8Array::from(taken.to_data()))
            }
        };
        Ok(Self { columns, kinds })
    }

    /// All rows of `batches`, which share `schema`, in order.
    pub fn concat(schema: &SchemaRef, batches: &[Self]) -> Result<Self, BatchError> {
        let columns = compute::concat_batches(schema, batches.iter().map(|b| &b.columns))?;
        if batches.iter().all(|b| b.kinds.is_none()) {
            return Ok(Self::inserts(columns));
        }
        let mut kinds = Vec::with_capacity(columns.num_rows());
        for batch in batches {
            match &batch.kinds {
                Some(k) => kinds.extend_from_slice(k.values()),
                None => kinds.resize(kinds.len() + batch.rows(), RowKind::Insert as i8),
            }
        }
        Self::changelog(columns, kinds.into())
    }
}

//! A table's values as messages, for who measures formats by themselves.

use super::{Format, Layout, MessageBuffer, MessageDecoder, MessageEncoder};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Batch;

/// Decodes values.
pub struct ValueDecoder(Box<dyn MessageDecoder>);

impl ValueDecoder {
    /// A decoder for the table's format into these columns.
    ///
    /// # Errors
    /// An option or a column is not to the format's liking.
    pub fn new(table: &TableDescriptor, schema: SchemaRef) -> Result<Self, DataflowError> {
        let layout = Layout::whole(&schema);
        Ok(Self(Format::of_value(table)?.message_decoder(&table.name, schema, &layout)?))
    }

    /// Takes a value.
    pub fn take(&mut self, message: &[u8]) {
        self.0.take(message);
    }

    /// The rows of the values taken, if any, and how many values were bad.
    ///
    /// # Errors
    /// The decoder failed.
    pub fn finish(&mut self) -> Result<(Option<RecordBatch>, usize), DataflowError> {
        let decoded = self.0.finish()?;
        Ok((decoded.records, decoded.bad.len()))
    }
}

/// Encodes values.
pub struct ValueEncoder(Box<dyn MessageEncoder>);

impl ValueEncoder {
    /// An encoder for the table's format of these columns.
    ///
    /// # Errors
    /// An option is not to the format's liking.
    pub fn new(table: &TableDescriptor, schema: &SchemaRef) -> Result<Self, DataflowError> {
        Ok(Self(Format::of_value(table)?.message_encoder(&table.name, schema)?))
    }

    /// Appends a value for every row.
    ///
    /// # Errors
    /// A row cannot be written.
    pub fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        self.0.encode(rows, out)
    }
}

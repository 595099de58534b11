//! Rows with their kinds to messages about changes: an update is a deletion and an insertion, as Flink writes it.

use super::{ChangeOptions, Dialect};
use crate::format::json::JsonEncoder;
use crate::format::json::encode::written_names;
use crate::format::message::{MessageBuffer, MessageEncoder};
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes one change a message.
pub(in crate::format) struct ChangeEncoder {
    /// What stands around a row that is added.
    added: (&'static str, &'static str),
    /// What stands around a row that is taken away.
    removed: (&'static str, &'static str),
    rows: JsonEncoder,
}

impl ChangeEncoder {
    /// # Errors
    /// The options are for reading only.
    pub fn new(table: &str, options: &ChangeOptions) -> Result<Self, DataflowError> {
        options.check_writable(table)?;
        let (added, removed) = match options.dialect {
            Dialect::Debezium if options.json.omit_nulls => {
                (("{\"after\":", ",\"op\":\"c\"}"), ("{\"before\":", ",\"op\":\"d\"}"))
            }
            Dialect::Debezium => {
                (("{\"before\":null,\"after\":", ",\"op\":\"c\"}"), ("{\"before\":", ",\"after\":null,\"op\":\"d\"}"))
            }
            Dialect::Canal => (("{\"data\":[", "],\"type\":\"INSERT\"}"), ("{\"data\":[", "],\"type\":\"DELETE\"}")),
            Dialect::Maxwell => (("{\"data\":", ",\"type\":\"insert\"}"), ("{\"data\":", ",\"type\":\"delete\"}")),
        };
        Ok(Self { added, removed, rows: JsonEncoder::new(&options.json) })
    }
}

impl MessageEncoder for ChangeEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        let records = rows.records();
        let names = written_names(records);
        for row in 0..records.num_rows() {
            let (before, behind) = if rows.kind(row).is_addition() { self.added } else { self.removed };
            out.bytes.extend_from_slice(before.as_bytes());
            self.rows.object(&mut out.bytes, &names, records, row);
            out.bytes.extend_from_slice(behind.as_bytes());
            out.end();
        }
        Ok(())
    }
}

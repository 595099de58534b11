//! A sink that forgets. It looks at every column first, so that nothing upstream can be left undone unnoticed.

use streamfleet_dataflow::{DataflowError, Flow, Sink};
use streamfleet_logical::ConnectorDescriptor;
use streamfleet_types::{Batch, Epoch};

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    ConnectorDescriptor {
        name: "blackhole",
        source: false,
        sink: true,
        sink_takes_changes: true,
        uses_format: false,
        key_format: false,
        options: vec![],
        metadata: vec![],
        ..ConnectorDescriptor::default()
    }
}

/// The sink.
pub fn sink() -> Box<dyn Sink> {
    Box::new(Blackhole::default())
}

#[derive(Debug, Default)]
struct Blackhole {
    rows: u64,
    bytes: u64,
}

impl Sink for Blackhole {
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        self.rows += batch.rows() as u64;
        // Walks all columns and their children: every one of them is an array that holds its values.
        self.bytes += batch.bytes() as u64;
        Ok(Flow::Done)
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<(), DataflowError> {
        Ok(())
    }

    fn poll_prepared(&mut self, _epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError> {
        Ok(Some(vec![]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    #[test]
    fn takes_everything_and_prepares_nothing() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "bc", "def"]));
        let batch = Batch::inserts(RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap());
        let mut sink = Blackhole::default();
        assert_eq!(sink.write(&batch).unwrap(), Flow::Done);
        assert_eq!(sink.write(&batch.slice(1, 1)).unwrap(), Flow::Done);
        assert_eq!(sink.rows, 4);
        assert_eq!(sink.bytes, (3 * 8 + 4 * 4 + 6) + (8 + 2 * 4 + 2));
        sink.prepare(Epoch(1)).unwrap();
        assert_eq!(sink.poll_prepared(Epoch(1)).unwrap(), Some(vec![]));
    }
}

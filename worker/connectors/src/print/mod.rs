//! A sink that writes Flink's text of every row to standard output or standard error, at once: what was written stays
//! written when a job rewinds.

pub(crate) mod java;
mod text;

use crate::options::{boolean, number, option};
use std::io::{self, Write};
use streamfleet_dataflow::{DataflowError, Flow, Sink, SinkContext};
use streamfleet_logical::{ConnectorDescriptor, OptionKind, SinkSpec, TableDescriptor};
use streamfleet_types::{Batch, Epoch, Outlook};
use text::Cells;

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    ConnectorDescriptor {
        name: "print",
        source: false,
        sink: true,
        sink_takes_changes: true,
        uses_format: false,
        key_format: false,
        options: vec![
            option("print-identifier", OptionKind::Text, "", "Stands before every row."),
            option("standard-error", OptionKind::Boolean, "false", "Write to standard error."),
            option(
                "sink.parallelism",
                OptionKind::Integer,
                "",
                "Taken, and without effect: a job has one parallelism.",
            ),
        ],
        metadata: vec![],
        ..ConnectorDescriptor::default()
    }
}

/// The sink of a table.
pub fn sink(spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
    number::<u32>(&spec.table, "sink.parallelism", 1)?;
    for field in spec.table.physical_fields() {
        text::check(&spec.table.name, &field)?;
    }
    let prefix = prefix(&spec.table, context.subtask, context.parallelism);
    Ok(if boolean(&spec.table, "standard-error", false)? {
        Box::new(Print { table: spec.table.name.clone(), prefix, out: io::stderr(), text: Vec::new() })
    } else {
        Box::new(Print { table: spec.table.name.clone(), prefix, out: io::stdout(), text: Vec::new() })
    })
}

/// `identifier:subtask> `; the subtask counts from 1 and is absent at parallelism 1.
fn prefix(table: &TableDescriptor, subtask: u32, parallelism: u32) -> String {
    match (table.option("print-identifier").unwrap_or_default(), parallelism) {
        ("", 0 | 1) => String::new(),
        ("", _) => format!("{}> ", subtask + 1),
        (identifier, 0 | 1) => format!("{identifier}> "),
        (identifier, _) => format!("{identifier}:{}> ", subtask + 1),
    }
}

struct Print<W> {
    table: String,
    prefix: String,
    out: W,
    /// The text of the batch; kept for its memory.
    text: Vec<u8>,
}

impl<W: Write + Send> Sink for Print<W> {
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        let columns = batch.records().columns().iter().map(|c| Cells::of(c.as_ref())).collect::<Result<Vec<_>, _>>()?;
        self.text.clear();
        for row in 0..batch.rows() {
            self.text.extend_from_slice(self.prefix.as_bytes());
            text::write_row(&mut self.text, batch.kind(row), &columns, row);
            self.text.push(b'\n');
        }
        let written = self.out.write_all(&self.text).and_then(|()| self.out.flush());
        written.map_err(|error| {
            let place = format!("table {}, the process's output", self.table);
            let detail = format!("cannot write: {error} (is the reader of a pipe gone, or the disk full?)");
            let is_closed = error.kind() == std::io::ErrorKind::BrokenPipe;
            DataflowError::outside(place, detail, if is_closed { Outlook::Lasts } else { Outlook::MayPass })
        })?;
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
mod tests;

//! Random or counted rows, for trials and tests.
//!
//! Row `n` (from 0) is a pure function of the seed and `n`; only dates and times are taken from the clock, as in Flink,
//! unless `base-time` is given.

mod field;
mod options;
mod source;

use crate::options::option;
use options::Options;
use source::DatagenSource;
use streamfleet_dataflow::{DataflowError, Source, SourceContext};
use streamfleet_logical::{ConnectorDescriptor, OptionKind, ScanSpec};

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    use OptionKind::{Boolean, Duration, Integer, Number, OneOf, Text};
    ConnectorDescriptor {
        name: "datagen",
        source: true,
        sink: false,
        sink_takes_changes: false,
        uses_format: false,
        key_format: false,
        options: vec![
            option("rows-per-second", Integer, "10000", "The rate, over all parallel parts."),
            option("number-of-rows", Integer, "", "How many rows; without end if absent and no field is a sequence."),
            option("fields.#.kind", OneOf(&["random", "sequence"]), "random", "How the field is filled."),
            option("fields.#.min", Number, "", "The least random value; the type's least if absent."),
            option("fields.#.max", Number, "", "The greatest random value; the type's greatest if absent."),
            option("fields.#.max-past", Duration, "0 s", "A random timestamp is up to so long ago."),
            option("fields.#.length", Integer, "100", "Length of a random text in characters, or of bytes."),
            option("fields.#.var-len", Boolean, "false", "Make texts and bytes of any length from 1 to the length."),
            option("fields.#.start", Text, "", "The first value of a sequence."),
            option("fields.#.end", Text, "", "The last value of a sequence; the rows end with it."),
            option("fields.#.null-rate", Number, "0", "The share of NULLs."),
            option("base-time", Integer, "", "Event time of row 0, ms since the Unix epoch, for dates and times."),
            option("seed", Integer, "0", "Another seed gives other rows."),
            option("splits", Integer, "", "Parts read in parallel; the source's parallelism at first start if absent."),
        ],
        metadata: vec![],
        ..ConnectorDescriptor::default()
    }
}

/// The source of a table.
pub fn source(spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
    Ok(Box::new(DatagenSource::new(spec, context)?))
}

/// True if the rows end.
pub fn is_bounded(spec: &ScanSpec) -> Result<bool, DataflowError> {
    Ok(Options::of(&spec.table)?.rows.is_some())
}

#[cfg(test)]
mod tests;

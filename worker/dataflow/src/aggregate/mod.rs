//! Aggregate functions over state tables: each call keeps a few columns of its group's row, updated in place.

mod accumulator;
mod distinct;
mod extremes;
mod heaps;
mod number;
mod values;

pub(crate) use accumulator::Accumulators;
pub(crate) use values::GroupFields;

/// Which rows a call counts, and with which sign; one entry per row of the batch: 1 to add, -1 to take back, 0 to ignore.
pub(crate) type Signs = Vec<i8>;

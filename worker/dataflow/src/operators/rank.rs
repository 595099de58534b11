//! Keeps the first rows per partition by an order: `ROW_NUMBER() OVER (PARTITION BY .. ORDER BY ..) <= n`.
//!
//! # State tables
//! `rows`: partition, identity (see [`super::stored_rows`]) -> the row. Of an append-only input only the first `n` rows of a
//! partition are kept, of a changelog all, since any may come to the front. Without an order `seen`: partition -> nothing.
//! By event time `rows`: partition -> the row, until it was given.
//!
//! # On batch
//! Emits the net change of each partition that the batch touches. Of rows that the order does not tell apart the one that
//! came first is first; in a changelog, where rows come and go, their bytes decide. Without an order the first row of each
//! partition is emitted as it comes, and is final. By event time nothing is emitted; a row behind the watermark is late and
//! counted.
//!
//! # On time
//! By event time the rows that the watermark has reached are emitted, and are final. Else nothing. In batch mode all partitions
//! are emitted at the end, if there is an order.

mod arrival;
mod event_time;
mod first;
mod order;
mod top;

use super::stored_rows::records;
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrival::FirstToCome;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use event_time::FirstByTime;
use first::FirstRow;
use std::sync::Arc;
use streamfleet_logical::RankSpec;
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, Millis};
use top::TopRows;

/// See the module.
pub struct RankOperator(Strategy);

enum Strategy {
    /// The row of each partition that comes first.
    Arrival(Box<FirstToCome>),
    /// The row of each partition with the least event time.
    EventTime(Box<FirstByTime>),
    /// One row per partition of an append-only input: deduplication.
    First(Box<FirstRow>),
    /// Anything else.
    Top(Box<TopRows>),
}

impl RankOperator {
    /// # Errors
    /// A column cannot be ordered by, or cannot be kept in state.
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        Ok(Self(if spec.order.is_empty() {
            Strategy::Arrival(Box::new(FirstToCome::new(spec, context)?))
        } else if let Some(time) = spec.event_time {
            Strategy::EventTime(Box::new(FirstByTime::new(spec, time, context)?))
        } else if spec.limit == 1 && !context.input_changes[0] {
            Strategy::First(Box::new(FirstRow::new(spec, context)?))
        } else {
            Strategy::Top(Box::new(TopRows::new(spec, context)?))
        }))
    }
}

impl Operator for RankOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        match &mut self.0 {
            Strategy::Arrival(arrival) => vec![arrival.table()],
            Strategy::EventTime(first) => vec![first.table()],
            Strategy::First(first) => vec![first.table()],
            Strategy::Top(top) => vec![top.table()],
        }
    }

    fn restored(&mut self, watermark: Millis) -> Result<(), DataflowError> {
        match &mut self.0 {
            Strategy::Arrival(_) | Strategy::First(_) => Ok(()),
            Strategy::EventTime(first) => {
                first.restored(watermark);
                Ok(())
            }
            Strategy::Top(top) => top.restored(),
        }
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::Arrival(arrival) => arrival.on_batch(batch, output),
            Strategy::EventTime(first) => first.on_batch(batch),
            Strategy::First(first) => first.on_batch(batch, output),
            Strategy::Top(top) => top.on_batch(batch, output),
        }
    }

    fn on_watermark(&mut self, watermark: Millis, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::EventTime(first) => first.on_watermark(watermark, output),
            Strategy::Arrival(_) | Strategy::First(_) | Strategy::Top(_) => Ok(Flow::Done),
        }
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::Arrival(_) => Ok(Flow::Done),
            Strategy::EventTime(first) => first.on_end(output),
            Strategy::First(first) => first.on_end(output),
            Strategy::Top(top) => top.on_end(output),
        }
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::Arrival(_) => Ok(Flow::Done),
            Strategy::EventTime(first) => first.give(output),
            Strategy::First(first) => first.give_final(output),
            Strategy::Top(top) => top.run(output),
        }
    }

    fn late_rows(&self) -> u64 {
        if let Strategy::EventTime(first) = &self.0 { first.late_rows() } else { 0 }
    }

    fn timeless_rows(&self) -> u64 {
        if let Strategy::EventTime(first) = &self.0 { first.timeless_rows() } else { 0 }
    }
}

/// First rows, with their rank if it is asked for.
fn ranked(
    schema: &SchemaRef,
    output_rank: bool,
    mut columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, DataflowError> {
    if output_rank {
        columns.push(Arc::new(Int64Array::from_value(1, rows)));
    }
    records(schema, columns, rows)
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;

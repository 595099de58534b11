//! Keeps the first rows per partition by an order: `ROW_NUMBER() OVER (PARTITION BY .. ORDER BY ..) <= n`.
//!
//! # State tables
//! `rows`: partition, identity (see [`super::stored_rows`]) -> the row. Of an append-only input only the first `n` rows of a
//! partition are kept, of a changelog all, since any may come to the front.
//!
//! # On batch
//! Emits the net change of each partition that the batch touches. Of rows that the order does not tell apart the one that
//! came first is first; in a changelog, where rows come and go, their bytes decide.
//!
//! # On time
//! Nothing. In batch mode all partitions are emitted at the end.

mod first;
mod order;
mod top;

use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use first::FirstRow;
use streamfleet_logical::RankSpec;
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, Millis};
use top::TopRows;

/// See the module.
pub struct RankOperator(Strategy);

enum Strategy {
    /// One row per partition of an append-only input: deduplication.
    First(Box<FirstRow>),
    /// Anything else.
    Top(Box<TopRows>),
}

impl RankOperator {
    /// # Errors
    /// A column cannot be ordered by, or cannot be kept in state.
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        Ok(Self(if spec.limit == 1 && !context.input_changes[0] {
            Strategy::First(Box::new(FirstRow::new(spec, context)?))
        } else {
            Strategy::Top(Box::new(TopRows::new(spec, context)?))
        }))
    }
}

impl Operator for RankOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        match &mut self.0 {
            Strategy::First(first) => vec![first.table()],
            Strategy::Top(top) => vec![top.table()],
        }
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        match &mut self.0 {
            Strategy::First(_) => Ok(()),
            Strategy::Top(top) => top.restored(),
        }
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::First(first) => first.on_batch(batch, output),
            Strategy::Top(top) => top.on_batch(batch, output),
        }
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::First(first) => first.on_end(output),
            Strategy::Top(top) => top.on_end(output),
        }
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        match &mut self.0 {
            Strategy::First(first) => first.give_final(output),
            Strategy::Top(top) => top.run(output),
        }
    }
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;

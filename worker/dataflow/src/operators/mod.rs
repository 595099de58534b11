//! One file per operator, each with the same parts: state tables, on batch, on time.

#[cfg(test)]
mod aggregate_testing;
mod calc;
mod chains;
mod changelog_normalize;
mod group_aggregate;
mod join;
mod key_index;
mod rank;
mod stored_rows;
#[cfg(test)]
pub(crate) mod testing;
mod union;
mod upsert_materialize;
mod window_aggregate;
mod window_assign;
mod window_rank;

use crate::{DataflowError, Flow, Output};
use arrow::datatypes::SchemaRef;
use datafusion_common::DFSchemaRef;
use streamfleet_logical::OperatorSpec;
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, HashRange, Millis};

/// What an operator is given when it is built.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// Its name for errors.
    pub name: String,
    /// Schemas of its inputs.
    pub inputs: Vec<SchemaRef>,
    /// The same with qualifiers, for expressions.
    pub input_df_schemas: Vec<DFSchemaRef>,
    /// Schema of its output.
    pub output: SchemaRef,
    /// Input streams that carry changes, per input; the others are append-only.
    pub input_changes: Vec<bool>,
    /// Its output is a changelog that somebody reads `-U` rows of.
    pub output_changes: bool,
    /// Batch mode: emit final results only, at the end of input.
    pub batch_mode: bool,
    /// Hashes of the keys that come to this subtask.
    pub owned: HashRange,
}

/// One subtask of an operator: a state machine driven by a slot.
///
/// # Flow
/// `restored` once, after the tables were filled from a snapshot (also when there was none). Then elements in order:
/// `on_batch`, `on_watermark`, `on_end`. Any call may stop with [`Flow::More`] when the output is full, or when it has worked
/// long enough: the slot calls `resume` when there is room, until `Done`. Barriers are answered by the slot alone: it freezes `tables` between calls,
/// never after a `More`.
///
/// # Guarantees asked
/// No call waits, locks, or does I/O. Everything that must survive is in `tables`; other fields are caches that
/// `restored` rebuilds. Output depends only on the tables and the elements. No allocation per row.
pub trait Operator: Send {
    /// The state tables, always in the same order.
    fn tables(&mut self) -> Vec<&mut RowTable>;

    /// Rebuilds caches and indexes from the tables. `watermark` is the operator's in the snapshot.
    fn restored(&mut self, watermark: Millis) -> Result<(), DataflowError>;

    /// Takes rows of an input.
    fn on_batch(&mut self, input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError>;

    /// Event time has come this far on all inputs; always greater than before. The slot passes it on after `Done`.
    fn on_watermark(&mut self, watermark: Millis, output: &mut Output) -> Result<Flow, DataflowError>;

    /// All inputs have ended. In streaming mode a watermark of `MAX_WATERMARK` came before.
    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError>;

    /// Goes on with the call that said `More`.
    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError>;

    /// Rows dropped because they came after their window, so far.
    fn late_rows(&self) -> u64 {
        0
    }

    /// Rows dropped because their event time is NULL, so far.
    fn timeless_rows(&self) -> u64 {
        0
    }
}

/// Builds the operator of a spec.
///
/// # Errors
/// The spec asks for something that is not supported. Scans and sinks are not operators: the slot runs them itself.
pub fn build(spec: &OperatorSpec, context: OperatorContext) -> Result<Box<dyn Operator>, DataflowError> {
    Ok(match spec {
        OperatorSpec::Calc(spec) => Box::new(calc::CalcOperator::new(spec, &context)?),
        OperatorSpec::WindowAssign(spec) => Box::new(window_assign::WindowAssignOperator::new(spec, &context)),
        OperatorSpec::WindowAggregate(spec) => Box::new(window_aggregate::WindowAggregateOperator::new(spec, context)?),
        OperatorSpec::GroupAggregate(spec) => Box::new(group_aggregate::GroupAggregateOperator::new(spec, context)?),
        OperatorSpec::Join(spec) => Box::new(join::JoinOperator::new(spec, context)?),
        OperatorSpec::Rank(spec) => match spec.window_end {
            Some(end) => Box::new(window_rank::WindowRankOperator::new(spec, end, context)?),
            None => Box::new(rank::RankOperator::new(spec, context)?),
        },
        OperatorSpec::ChangelogNormalize(spec) => {
            Box::new(changelog_normalize::ChangelogNormalizeOperator::new(spec, context)?)
        }
        OperatorSpec::UpsertMaterialize(spec) => {
            Box::new(upsert_materialize::UpsertMaterializeOperator::new(spec, context)?)
        }
        OperatorSpec::Union => Box::new(union::UnionOperator::new(context.output)),
        OperatorSpec::Scan(_) | OperatorSpec::Sink(_) => {
            let detail = "scans and sinks are run by the slot".to_owned();
            return Err(DataflowError::Unsupported { operator: context.name, detail });
        }
    })
}

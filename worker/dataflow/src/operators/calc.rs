//! Filters, then projects.
//!
//! The columns (and fields of struct columns) that the projection uses are taken from the unfiltered batch without copying;
//! only these are filtered, and the projection runs over what is left.

use super::{Operator, OperatorContext};
use crate::expression::{Predicate, Projector, compile, failed};
use crate::{DataflowError, Flow, Output};
use arrow::array::{Int8Array, RecordBatch, RecordBatchOptions};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_expr::{Expr, ExprSchemable};
use std::sync::Arc;
use streamfleet_logical::CalcSpec;
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, Millis};

/// See the module.
pub struct CalcOperator {
    predicate: Option<Predicate>,
    /// The leaves that the projection uses, over the input.
    leaves: Projector,
    leaf_schema: SchemaRef,
    /// The output columns, over the leaves.
    projection: Projector,
}

/// True for a column, or a field of a struct column: found without computing.
fn is_leaf(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            call.args.first().is_some_and(is_leaf) && call.args[1..].iter().all(|a| matches!(a, Expr::Literal(..)))
        }
        _ => false,
    }
}

impl CalcOperator {
    /// # Errors
    /// An expression does not fit the input.
    pub fn new(spec: &CalcSpec, context: &OperatorContext) -> Result<Self, DataflowError> {
        let name = context.name.as_str();
        let input = &context.input_df_schemas[0];
        let predicate = spec.predicate.as_ref().map(|p| Predicate::new(name, p, input)).transpose()?;
        let mut leaves: Vec<Expr> = Vec::new();
        let mut rewritten = Vec::new();
        for expression in &spec.expressions {
            let over_leaves = expression.clone().transform_down(|e| {
                if !is_leaf(&e) {
                    return Ok(Transformed::no(e));
                }
                let index = leaves.iter().position(|l| *l == e).unwrap_or_else(|| {
                    leaves.push(e);
                    leaves.len() - 1
                });
                let column = Expr::Column(datafusion_common::Column::from_name(leaf_name(index)));
                Ok(Transformed::new(column, true, datafusion_common::tree_node::TreeNodeRecursion::Jump))
            });
            rewritten.push(over_leaves.map_err(|e| failed(name, e))?.data);
        }
        let leaf_schema = leaf_schema(name, &leaves, input)?;
        let leaf_df: DFSchemaRef =
            Arc::new(DFSchema::try_from(leaf_schema.as_ref().clone()).map_err(|e| failed(name, e))?);
        let compiled = leaves.iter().map(|l| compile(name, l, input)).collect::<Result<_, _>>()?;
        Ok(Self {
            predicate,
            leaves: Projector::of_compiled(name, compiled, Arc::clone(&leaf_schema)),
            leaf_schema,
            projection: Projector::new(name, &rewritten, &leaf_df, Arc::clone(&context.output))?,
        })
    }
}

fn leaf_name(index: usize) -> String {
    format!("leaf{index}")
}

fn leaf_schema(name: &str, leaves: &[Expr], input: &DFSchemaRef) -> Result<SchemaRef, DataflowError> {
    let mut fields = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        let data_type = leaf.get_type(input.as_ref()).map_err(|e| failed(name, e))?;
        fields.push(Field::new(leaf_name(index), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

impl Operator for CalcOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        Vec::new()
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let records = batch.records();
        let mask = self.predicate.as_ref().map(|p| p.evaluate(records)).transpose()?;
        let passing = mask.as_ref().map_or(batch.rows(), |m| m.true_count());
        if passing == 0 {
            return Ok(Flow::Done);
        }
        let leaves = self.leaves.project(records)?;
        let Some(mask) = mask.filter(|_| passing < batch.rows()) else {
            output.push(batch.with_columns(self.projection.project(&leaves)?)?);
            return Ok(Flow::Done);
        };
        let mut filter = FilterBuilder::new(&mask);
        if self.leaf_schema.fields().len() > 1 {
            filter = filter.optimize();
        }
        let filter = filter.build();
        let columns = leaves.columns().iter().map(|c| filter.filter(c)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(passing));
        let narrow = RecordBatch::try_new_with_options(Arc::clone(&self.leaf_schema), columns, &options)?;
        let projected = self.projection.project(&narrow)?;
        output.push(match batch.kinds() {
            None => Batch::inserts(projected),
            Some(kinds) => Batch::changelog(projected, Int8Array::from(filter.filter(kinds)?.to_data()))?,
        });
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn resume(&mut self, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }
}

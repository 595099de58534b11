//! What an operator is, as a text that two operators share only if they do the same: for ids and fingerprints.
//!
//! Columns are written as quoted name and index, texts quoted, so that no two specs read alike. The text depends neither on
//! places in the script nor on qualifiers.

use crate::PlanError;
use crate::graph::kind_name;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::Expr;
use streamfleet_logical::{AggregateCall, Node, OperatorSpec, WindowInput};

/// The text of a node without its inputs.
///
/// # Errors
/// An expression names a column that its input does not have.
pub(crate) fn identity(node: &Node) -> Result<String, PlanError> {
    let arguments = arguments(node)?;
    Ok(format!("{} {arguments} -> [{}]", kind_name(&node.spec), fields(&node.schema)))
}

fn arguments(node: &Node) -> Result<String, PlanError> {
    let key = |input: usize, indices: &[usize]| columns(&node.inputs[input].schema, indices);
    Ok(match &node.spec {
        OperatorSpec::Scan(scan) => {
            let schema = &scan.read_schema;
            format!(
                "{:?} read [{}] give {} watermark {} use {:?} where {}",
                scan.table.name,
                fields(schema),
                list(&scan.expressions, schema)?,
                list(&scan.watermark, schema)?,
                scan.used_paths,
                list(&scan.filter_hint, schema)?,
            )
        }
        OperatorSpec::Calc(calc) => {
            let schema = &node.inputs[0].schema;
            format!("{} where {}", list(&calc.expressions, schema)?, list(&calc.predicate, schema)?)
        }
        OperatorSpec::WindowAssign(assign) => format!("{:?} on {}", assign.window, key(0, &[assign.time])),
        OperatorSpec::WindowAggregate(aggregate) => {
            let window = match &aggregate.window {
                WindowInput::Assign { window, time } => format!("{window:?} on {}", key(0, &[*time])),
                WindowInput::Attached { start, end } => format!("attached {}", key(0, &[*start, *end])),
            };
            format!("{window} by {} {}", key(0, &aggregate.keys), calls(node, &aggregate.aggregates))
        }
        OperatorSpec::GroupAggregate(aggregate) => {
            format!("by {} {}", key(0, &aggregate.keys), calls(node, &aggregate.aggregates))
        }
        OperatorSpec::Join(join) => {
            let (left, right): (Vec<usize>, Vec<usize>) = join.on.iter().copied().unzip();
            format!(
                "{:?} on {} = {} where {} within {:?}",
                join.kind,
                key(0, &left),
                key(1, &right),
                list(&join.filter, &join.filter_schema)?,
                join.bounds,
            )
        }
        OperatorSpec::Union => String::new(),
        OperatorSpec::Rank(rank) => format!(
            "{} by {} order {:?} window {:?} with rank {}{}",
            rank.limit,
            key(0, &rank.partition),
            rank.order,
            rank.window_end,
            rank.output_rank,
            if rank.event_time.is_some() { " in event time" } else { "" },
        ),
        OperatorSpec::ChangelogNormalize(normalize) => format!("by {}", key(0, &normalize.key)),
        OperatorSpec::UpsertMaterialize(materialize) => format!("by {}", key(0, &materialize.key)),
        OperatorSpec::Sink(sink) => format!("{:?}", sink.table.name),
    })
}

fn calls(node: &Node, calls: &[AggregateCall]) -> String {
    let optional = |index: Option<usize>| columns(&node.inputs[0].schema, index.as_slice());
    let one = |call: &AggregateCall| {
        let (argument, filter) = (optional(call.argument), optional(call.filter));
        format!("{} {argument} distinct {} filter {filter} {:?}", call.function, call.distinct, call.result)
    };
    format!("[{}]", calls.iter().map(one).collect::<Vec<_>>().join("; "))
}

fn named(schema: &DFSchema, index: usize) -> String {
    format!("{:?}#{index}", schema.field(index).name())
}

fn columns(schema: &DFSchema, indices: &[usize]) -> String {
    format!("[{}]", indices.iter().map(|i| named(schema, *i)).collect::<Vec<_>>().join(", "))
}

fn fields(schema: &DFSchema) -> String {
    let one = |field: &arrow::datatypes::FieldRef| format!("{:?} {:?}", field.name(), field.data_type().to_string());
    schema.fields().iter().map(one).collect::<Vec<_>>().join(", ")
}

fn list<'a>(expressions: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Result<String, PlanError> {
    let texts = expressions.into_iter().map(|e| text(e, schema)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]", texts.join("; ")))
}

/// An expression whose columns are given by name and index, and whose texts are quoted.
fn text(expr: &Expr, schema: &DFSchema) -> Result<String, PlanError> {
    let plain = expr.clone().transform_up(|e| {
        Ok(match e {
            Expr::Column(column) => {
                let index = schema.index_of_column(&column)?;
                Transformed::yes(Expr::Column(Column::new_unqualified(named(schema, index))))
            }
            Expr::Literal(ScalarValue::Utf8(Some(value)), metadata) => {
                let quoted = value.escape_debug().to_string();
                Transformed::yes(Expr::Literal(ScalarValue::Utf8(Some(quoted)), metadata))
            }
            other => Transformed::no(other),
        })
    });
    plain.map(|t| t.data.to_string()).map_err(|e| PlanError::Expression(e.to_string()))
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;

//! Filters and projections: one `Calc` for as many as can be merged.

use super::Lowering;
use super::properties::{plain_column, projected};
use super::scan::narrow_scan;
use crate::error::SqlError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchemaRef};
use datafusion_expr::Expr;
use std::sync::Arc;
use streamfleet_logical::{CalcSpec, Node, OperatorSpec, Properties, RankSpec};

/// Every column of a schema, as expressions.
pub(crate) fn columns_of(schema: &DFSchemaRef) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The index of a column.
pub(crate) fn column_index(lowering: &Lowering<'_>, schema: &DFSchemaRef, column: &Column) -> Result<usize, SqlError> {
    schema.index_of_column(column).map_err(|e| lowering.failed(&e))
}

/// Filters and projects; merges with a `Calc` beneath, and leaves hints with a scan beneath.
pub(crate) fn calc(
    lowering: &Lowering<'_>,
    input: &Arc<Node>,
    predicate: Option<&Expr>,
    expressions: &[Expr],
    schema: &DFSchemaRef,
) -> Result<Arc<Node>, SqlError> {
    let expressions: Vec<Expr> = expressions.iter().map(|e| e.clone().unalias()).collect();
    let copies: Vec<Option<usize>> = expressions
        .iter()
        .map(|e| plain_column(e).map(|c| column_index(lowering, &input.schema, c)).transpose())
        .collect::<Result<_, _>>()?;
    let properties = projected(&input.properties, &copies);
    let is_identity = predicate.is_none()
        && copies.len() == input.schema.fields().len()
        && copies.iter().enumerate().all(|(i, c)| *c == Some(i));
    if is_identity {
        return Ok(Arc::new(Node { schema: Arc::clone(schema), ..input.as_ref().clone() }));
    }
    if let OperatorSpec::Calc(below) = &input.spec
        && let Some(merged) = merge(lowering, input, below, predicate, &expressions)?
    {
        return calc(lowering, &input.inputs[0], merged.predicate.as_ref(), &merged.expressions, schema);
    }
    if let OperatorSpec::Rank(rank) = &input.spec
        && let Some(narrow) = without_rank_column(input, rank, predicate, &expressions)
    {
        return calc(lowering, &narrow, predicate, &expressions, schema);
    }
    let spec = CalcSpec { predicate: predicate.cloned(), expressions };
    Ok(finish(lowering, Arc::clone(input), spec, schema, properties))
}

fn finish(
    lowering: &Lowering<'_>,
    input: Arc<Node>,
    spec: CalcSpec,
    schema: &DFSchemaRef,
    properties: Properties,
) -> Arc<Node> {
    let input = match &input.spec {
        OperatorSpec::Scan(scan) => narrow_scan(lowering, &input, scan, &spec),
        _ => input,
    };
    Arc::new(Node { spec: OperatorSpec::Calc(spec), inputs: vec![input], schema: Arc::clone(schema), properties })
}

/// Both calcs as one, unless that would compute something twice or move a clock's reading.
fn merge(
    lowering: &Lowering<'_>,
    middle: &Node,
    below: &CalcSpec,
    predicate: Option<&Expr>,
    expressions: &[Expr],
) -> Result<Option<CalcSpec>, SqlError> {
    let is_cheap = |e: &Expr| matches!(e, Expr::Literal(..)) || is_leaf(e);
    let mut uses = vec![0usize; below.expressions.len()];
    for expression in predicate.into_iter().chain(expressions) {
        for (column, count) in expression.column_refs_counts() {
            uses[column_index(lowering, &middle.schema, column)?] += count;
        }
    }
    let shared = below.expressions.iter().zip(&uses).any(|(e, n)| *n > 1 && !is_cheap(e));
    if shared || below.expressions.iter().any(Expr::is_volatile) {
        return Ok(None);
    }
    let substitute = |expr: &Expr| substitute(lowering, expr, &middle.schema, &below.expressions);
    let upper = predicate.map(&substitute).transpose()?;
    let predicate = match (below.predicate.clone(), upper) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (a, b) => a.or(b),
    };
    let expressions = expressions.iter().map(substitute).collect::<Result<_, _>>()?;
    Ok(Some(CalcSpec { predicate, expressions }))
}

/// An expression over a schema with every column replaced by the expression that computes it.
pub(crate) fn substitute(
    lowering: &Lowering<'_>,
    expr: &Expr,
    schema: &DFSchemaRef,
    by: &[Expr],
) -> Result<Expr, SqlError> {
    let replaced = expr.clone().transform_up(|e| match &e {
        Expr::Column(column) => Ok(Transformed::yes(by[schema.index_of_column(column)?].clone())),
        _ => Ok(Transformed::no(e)),
    });
    replaced.map(|t| t.data).map_err(|e| lowering.failed(&e))
}

/// True for a column, or a field of a struct column.
pub(crate) fn is_leaf(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            call.args.first().is_some_and(is_leaf) && call.args[1..].iter().all(|a| matches!(a, Expr::Literal(..)))
        }
        _ => false,
    }
}

/// The rank without its rank column, if nothing above uses that.
fn without_rank_column(
    node: &Arc<Node>,
    rank: &RankSpec,
    predicate: Option<&Expr>,
    expressions: &[Expr],
) -> Option<Arc<Node>> {
    if !rank.output_rank {
        return None;
    }
    let last = node.schema.fields().len() - 1;
    let column = Column::from(node.schema.qualified_field(last));
    let is_used = predicate.into_iter().chain(expressions).any(|e| e.column_refs().contains(&column));
    if is_used {
        return None;
    }
    let input = &node.inputs[0];
    let mut properties = node.properties.clone();
    // Only the partition with the rank identified a row; for a single row the partition alone does.
    properties.upsert_keys = if rank.limit == 1 { vec![rank.partition.clone()] } else { vec![] };
    Some(Arc::new(Node {
        spec: OperatorSpec::Rank(RankSpec { output_rank: false, ..rank.clone() }),
        inputs: vec![Arc::clone(input)],
        schema: Arc::clone(&input.schema),
        properties,
    }))
}

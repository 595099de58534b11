//! `ROW_NUMBER() OVER (PARTITION BY .. ORDER BY ..) AS rn` limited by `rn <= n`: the first rows per key.

use super::Lowering;
use super::calc::{calc, columns_of};
use super::properties::plain_column;
use crate::error::SqlError;
use crate::functions::{PROCTIME, ROW_NUMBER};
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion_expr::expr::Sort;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Window, WindowFunctionDefinition,
};
use std::sync::Arc;
use streamfleet_logical::{ChangelogMode, Node, OperatorSpec, Properties, RankSpec, SortKey, StateBound};

/// The node of a filter that limits a rank; `None` if it is another filter.
pub(crate) fn rank(lowering: &mut Lowering<'_>, filter: &Filter) -> Result<Option<Arc<Node>>, SqlError> {
    let Some((window, steps)) = find_window(&filter.input) else { return Ok(None) };
    // The name of the rank at the filter: the window's last column, followed up through projections and aliases.
    let rank_index = window.schema.fields().len() - 1;
    let Some(rank_column) = follow(window, &steps, rank_index) else { return Ok(None) };
    let conjuncts = split_conjunction(&filter.predicate);
    let Some((at, limit)) = conjuncts.iter().enumerate().find_map(|(i, e)| Some((i, limit_of(e, &rank_column)?)))
    else {
        return Ok(None);
    };
    let mut node = ranked(lowering, window, limit)?;
    for step in steps.iter().rev() {
        node = match step {
            LogicalPlan::Projection(p) => calc(lowering, &node, None, &p.expr, &p.schema)?,
            LogicalPlan::SubqueryAlias(a) => Arc::new(Node { schema: Arc::clone(&a.schema), ..node.as_ref().clone() }),
            LogicalPlan::Filter(f) => {
                let (expressions, schema) = (columns_of(&node.schema), Arc::clone(&node.schema));
                calc(lowering, &node, Some(&f.predicate), &expressions, &schema)?
            }
            _ => node,
        };
    }
    let rest = conjuncts.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, e)| (*e).clone());
    match conjunction(rest) {
        None => Ok(Some(node)),
        Some(rest) => {
            let (expressions, schema) = (columns_of(&node.schema), Arc::clone(&node.schema));
            calc(lowering, &node, Some(&rest), &expressions, &schema).map(Some)
        }
    }
}

/// The ROW_NUMBER beneath a plan, with the steps down to it.
fn find_window(plan: &LogicalPlan) -> Option<(&Window, Vec<&LogicalPlan>)> {
    let mut steps = Vec::new();
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Window(window) => {
                let [expr] = &window.window_expr[..] else { return None };
                let Expr::WindowFunction(function) = expr.clone().unalias() else { return None };
                let is_row_number =
                    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(f) if f.name() == ROW_NUMBER);
                return is_row_number.then_some((window, steps));
            }
            LogicalPlan::Projection(p) => {
                steps.push(at);
                at = &p.input;
            }
            LogicalPlan::SubqueryAlias(a) => {
                steps.push(at);
                at = &a.input;
            }
            _ => return None,
        }
    }
}

/// What the window's column at `index` is called at the top of the steps.
fn follow(window: &Window, steps: &[&LogicalPlan], index: usize) -> Option<Column> {
    let mut index = index;
    let mut schema = &window.schema;
    for step in steps.iter().rev() {
        if let LogicalPlan::Projection(p) = step {
            let column = Column::from(schema.qualified_field(index));
            index = p.expr.iter().position(|e| plain_column(e) == Some(&column))?;
        }
        schema = step.schema();
    }
    Some(Column::from(schema.qualified_field(index)))
}

/// The limit that a condition sets on the rank.
fn limit_of(condition: &Expr, rank: &Column) -> Option<u64> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let number = |e: &Expr| match e {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => u64::try_from(*n).ok(),
        Expr::Literal(ScalarValue::Int32(Some(n)), _) => u64::try_from(*n).ok(),
        _ => None,
    };
    let is_rank = |e: &Expr| match e {
        Expr::Cast(cast) => plain_column(&cast.expr) == Some(rank),
        other => plain_column(other) == Some(rank),
    };
    let limit = match (is_rank(left), number(right), is_rank(right), number(left)) {
        (true, Some(n), ..) => match op {
            Operator::LtEq => n,
            Operator::Lt => n.checked_sub(1)?,
            Operator::Eq if n == 1 => 1,
            _ => return None,
        },
        (_, _, true, Some(n)) => match op {
            Operator::GtEq => n,
            Operator::Gt => n.checked_sub(1)?,
            _ => return None,
        },
        _ => return None,
    };
    (limit >= 1).then_some(limit)
}

/// True for `PROCTIME()`, and for a column that is one: of a table, or of a subquery or view that hands it on.
fn is_processing_time(input: &Node, expr: &Expr) -> bool {
    if let Expr::ScalarFunction(call) = expr {
        return call.func.name() == PROCTIME;
    }
    let Some(index) = plain_column(expr).and_then(|column| input.schema.maybe_index_of_column(column)) else {
        return false;
    };
    let below = |node: &Arc<Node>| {
        index < node.schema.fields().len()
            && is_processing_time(node, &Expr::Column(Column::from(node.schema.qualified_field(index))))
    };
    match &input.spec {
        // What these compute is over what lies beneath them.
        OperatorSpec::Scan(scan) => {
            matches!(&scan.expressions[index], clock @ Expr::ScalarFunction(_) if is_processing_time(input, clock))
        }
        OperatorSpec::Calc(calc) => is_processing_time(&input.inputs[0], &calc.expressions[index]),
        OperatorSpec::Union => input.inputs.iter().all(below),
        OperatorSpec::WindowAssign(_) | OperatorSpec::Rank(_) => below(&input.inputs[0]),
        _ => false,
    }
}

fn ranked(lowering: &mut Lowering<'_>, window: &Window, limit: u64) -> Result<Arc<Node>, SqlError> {
    let input = lowering.lower(&window.input)?;
    let Expr::WindowFunction(function) = window.window_expr[0].clone().unalias() else {
        return Err(lowering.unsupported("this OVER", "OVER"));
    };
    // Computed keys become columns of their own behind the input's, and are dropped again above.
    let mut expressions = columns_of(&input.schema);
    let mut index_of = |expr: &Expr| {
        expressions.iter().position(|e| e == expr).unwrap_or_else(|| {
            expressions.push(expr.clone());
            expressions.len() - 1
        })
    };
    let partition: Vec<usize> = function.params.partition_by.iter().map(&mut index_of).collect();
    let order_by = &function.params.order_by;
    if order_by.is_empty() {
        return Err(lowering.unsupported("ROW_NUMBER without ORDER BY", "ROW_NUMBER"));
    }
    let is_append_only = input.properties.changelog == ChangelogMode::AppendOnly;
    let windowed = input.properties.window.filter(|_| is_append_only);
    let window_end = windowed.and_then(|w| w.end).filter(|end| partition.contains(end));
    // One row of each key may be final: by the time at which rows are processed the one that comes first stays the first, and
    // by event time the watermark says when no earlier one comes.
    let by = match &order_by[..] {
        [by] if is_append_only && limit == 1 && window_end.is_none() && by.asc => Some(&by.expr),
        _ => None,
    };
    let by_arrival = by.is_some_and(|by| is_processing_time(&input, by));
    let event_time = by.and_then(plain_column).and_then(|column| input.schema.maybe_index_of_column(column));
    let event_time = event_time.filter(|column| input.properties.time_attributes.contains(column));
    let key = |s: &Sort| SortKey { column: index_of(&s.expr), descending: !s.asc, nulls_first: s.nulls_first };
    let order: Vec<SortKey> = if by_arrival { Vec::new() } else { order_by.iter().map(key).collect() };
    let count = input.schema.fields().len();
    let below = if expressions.len() == count {
        Arc::clone(&input)
    } else {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            input.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for (number, expr) in expressions[count..].iter().enumerate() {
            let data_type = expr.get_type(input.schema.as_ref()).map_err(|e| lowering.failed(&e))?;
            fields.push((None, Arc::new(Field::new(format!("__key{number}"), data_type, true))));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| lowering.failed(&e))?;
        calc(lowering, &input, None, &expressions, &Arc::new(schema))?
    };
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
        below.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
    fields.push((None, Arc::new(Field::new("__rank", DataType::Int64, false))));
    let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| lowering.failed(&e))?;
    let rank_column = below.schema.fields().len();
    let mut key = partition.clone();
    key.push(rank_column);
    let gives_new_rows = by_arrival || event_time.is_some() || window_end.is_some();
    let properties = Properties {
        changelog: if gives_new_rows { ChangelogMode::AppendOnly } else { ChangelogMode::Retract },
        upsert_keys: vec![key],
        time_attributes: below.properties.time_attributes.iter().copied().filter(|_| gives_new_rows).collect(),
        window: windowed.filter(|_| gives_new_rows),
        state: if window_end.is_some() { StateBound::EventTime } else { StateBound::Keys },
    };
    let node = Arc::new(Node {
        spec: OperatorSpec::Rank(RankSpec { partition, order, limit, window_end, event_time, output_rank: true }),
        inputs: vec![Arc::clone(&below)],
        schema: Arc::new(schema),
        properties,
    });
    // The window's own columns: the input's, then the rank.
    let of = |index: usize| Expr::Column(Column::from(node.schema.qualified_field(index)));
    let mut outputs: Vec<Expr> = (0..count).map(of).collect();
    outputs.push(of(rank_column));
    calc(lowering, &node, None, &outputs, &window.schema)
}

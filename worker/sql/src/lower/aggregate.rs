//! Aggregations: over windows where the grouping has a window's columns, else over keys.

use super::Lowering;
use super::calc::{calc, columns_of, substitute};
use super::properties::append_only;
use crate::error::SqlError;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion_expr::{Aggregate, Expr, ExprSchemable};
use std::sync::Arc;
use streamfleet_logical::type_name;
use streamfleet_logical::{
    AggregateCall, AggregateFunction, ChangelogMode, GroupAggregateSpec, Node, OperatorSpec, Properties, StateBound,
    UnsupportedAggregate, WindowAggregateSpec, WindowColumns, WindowInput, supported,
};

/// A column to be computed beneath the aggregation, once each.
#[derive(Default)]
struct Computed {
    expressions: Vec<Expr>,
}

impl Computed {
    fn index_of(&mut self, expr: &Expr) -> usize {
        let expr = expr.clone().unalias();
        self.expressions.iter().position(|e| *e == expr).unwrap_or_else(|| {
            self.expressions.push(expr);
            self.expressions.len() - 1
        })
    }
}

/// What a grouping expression is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Key(usize),
    WindowStart,
    WindowEnd,
    WindowTime,
}

pub(crate) fn aggregate(lowering: &mut Lowering<'_>, aggregate: &Aggregate) -> Result<Arc<Node>, SqlError> {
    if let Some(Expr::GroupingSet(_)) = aggregate.group_expr.first() {
        return Err(lowering.unsupported("GROUPING SETS, ROLLUP and CUBE", "GROUP"));
    }
    let input = lowering.lower(&aggregate.input)?;
    let window = input.properties.window.filter(|w| w.end.is_some());
    let window_column = |expr: &Expr| -> Option<usize> {
        let column = super::properties::plain_column(expr)?;
        input.schema.maybe_index_of_column(column)
    };
    let in_window = |expr: &Expr, which: fn(&WindowColumns) -> Option<usize>| {
        window.as_ref().and_then(which).is_some_and(|w| window_column(expr) == Some(w))
    };
    let is_windowed = aggregate.group_expr.iter().any(|e| in_window(e, |w| w.end));
    let mut computed = Computed::default();
    let mut keys = Vec::new();
    let mut groups = Vec::new();
    for expr in &aggregate.group_expr {
        groups.push(match expr {
            e if is_windowed && in_window(e, |w| w.start) => Group::WindowStart,
            e if is_windowed && in_window(e, |w| w.end) => Group::WindowEnd,
            e if is_windowed && in_window(e, |w| w.time) => Group::WindowTime,
            e => {
                let index = computed.index_of(e);
                keys.push(index);
                Group::Key(keys.len() - 1)
            }
        });
    }
    let mut calls = Vec::new();
    for (number, expr) in aggregate.aggr_expr.iter().enumerate() {
        let call = call(lowering, expr, number, &input.schema, &mut computed)?;
        check_supported(lowering, &call, &computed, &input)?;
        calls.push(call);
    }
    if is_windowed {
        windowed(lowering, aggregate, &input, window.unwrap_or_default(), &groups, keys, calls, computed)
    } else {
        grouped(lowering, aggregate, &input, keys, calls, &computed)
    }
}

fn call(
    lowering: &Lowering<'_>,
    expr: &Expr,
    number: usize,
    schema: &DFSchemaRef,
    computed: &mut Computed,
) -> Result<AggregateCall, SqlError> {
    let expr = expr.clone().unalias();
    let Expr::AggregateFunction(function) = &expr else {
        return Err(lowering.unsupported(format!("the aggregate {expr}"), "SELECT"));
    };
    let name = function.func.name();
    let which = match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "first_value" => AggregateFunction::FirstValue,
        "last_value" => AggregateFunction::LastValue,
        other => return Err(lowering.unsupported(format!("the aggregate {}", other.to_uppercase()), other)),
    };
    if !function.params.order_by.is_empty() || function.params.args.len() > 1 {
        let what = format!("{} with an order or several arguments", name.to_uppercase());
        return Err(lowering.unsupported(what, name));
    }
    let argument = match function.params.args.first() {
        // COUNT(*) and COUNT(1) count rows; COUNT(NULL) counts none, COUNT(DISTINCT 1) at most one.
        #[expect(deprecated, reason = "the planner still gives COUNT(*) a wildcard")]
        None | Some(Expr::Wildcard { .. }) if which == AggregateFunction::Count => None,
        Some(Expr::Literal(value, _)) if which == AggregateFunction::Count => {
            let counts_rows = !value.is_null() && !function.params.distinct;
            let value = if value.is_null() { &ScalarValue::Int64(None) } else { value };
            (!counts_rows).then(|| computed.index_of(&Expr::Literal(value.clone(), None)))
        }
        None => None,
        Some(argument) => Some(computed.index_of(argument)),
    };
    let filter = function.params.filter.as_ref().map(|f| computed.index_of(f));
    let result = expr.get_type(schema.as_ref()).map_err(|e| lowering.failed(&e))?;
    let distinct = function.params.distinct && !matches!(which, AggregateFunction::Min | AggregateFunction::Max);
    Ok(AggregateCall { function: which, argument, filter, distinct, result, name: format!("a{number}") })
}

/// Refuses a call that no operator can compute.
fn check_supported(
    lowering: &Lowering<'_>,
    call: &AggregateCall,
    computed: &Computed,
    input: &Node,
) -> Result<(), SqlError> {
    let argument = call.argument.map(|index| computed.expressions[index].get_type(input.schema.as_ref()));
    let argument = argument.transpose().map_err(|e| lowering.failed(&e))?;
    let changes = input.properties.changelog == ChangelogMode::Retract;
    supported(call, argument.as_ref(), changes).map_err(|why| {
        let what = match &why {
            UnsupportedAggregate::Argument(function, data_type) => format!("{function} of {}", type_name(data_type)),
            other => other.to_string(),
        };
        lowering.unsupported(what, &call.function.to_string())
    })
}

/// A calc that gives the computed columns, named `c<n>`.
fn compute(lowering: &Lowering<'_>, input: &Arc<Node>, expressions: &[Expr]) -> Result<Arc<Node>, SqlError> {
    let mut fields = Vec::new();
    for (number, expr) in expressions.iter().enumerate() {
        let data_type = expr.get_type(input.schema.as_ref()).map_err(|e| lowering.failed(&e))?;
        fields.push(Field::new(format!("c{number}"), data_type, true));
    }
    let schema = plain_schema(lowering, fields)?;
    calc(lowering, input, None, expressions, &schema)
}

fn plain_schema(lowering: &Lowering<'_>, fields: Vec<Field>) -> Result<DFSchemaRef, SqlError> {
    Ok(Arc::new(DFSchema::try_from(Schema::new(fields)).map_err(|e| lowering.failed(&e))?))
}

fn output_fields(below: &Node, keys: &[usize], calls: &[AggregateCall]) -> Vec<Field> {
    let keys = keys.iter().enumerate().map(|(n, k)| {
        let field = below.schema.field(*k);
        Field::new(format!("k{n}"), field.data_type().clone(), true)
    });
    keys.chain(calls.iter().map(|c| Field::new(&c.name, c.result.clone(), true))).collect()
}

fn grouped(
    lowering: &mut Lowering<'_>,
    aggregate: &Aggregate,
    input: &Arc<Node>,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    computed: &Computed,
) -> Result<Arc<Node>, SqlError> {
    let below = if computed.expressions.is_empty() {
        Arc::clone(input)
    } else {
        compute(lowering, input, &computed.expressions)?
    };
    let fields = output_fields(&below, &keys, &calls);
    let is_distinct = calls.is_empty() && input.properties.changelog == ChangelogMode::AppendOnly;
    let properties = Properties {
        changelog: if is_distinct { ChangelogMode::AppendOnly } else { ChangelogMode::Retract },
        upsert_keys: vec![(0..keys.len()).collect()],
        state: StateBound::Keys,
        ..append_only()
    };
    let node = Arc::new(Node {
        spec: OperatorSpec::GroupAggregate(GroupAggregateSpec { keys, aggregates: calls }),
        inputs: vec![below],
        schema: plain_schema(lowering, fields)?,
        properties,
    });
    // The same columns under the aggregate's own names.
    calc(lowering, &node, None, &columns_of(&node.schema), &aggregate.schema)
}

/// The computed columns over the input of a window assignment, if nothing but it (and a choice of its columns) lies between:
/// the aggregation then assigns windows by itself.
fn fused(
    lowering: &Lowering<'_>,
    input: &Arc<Node>,
    computed: &Computed,
) -> Result<Option<(Arc<Node>, WindowInput)>, SqlError> {
    let (assigned, expressions) = match &input.spec {
        OperatorSpec::WindowAssign(_) => (input, computed.expressions.clone()),
        OperatorSpec::Calc(calc) if calc.predicate.is_none() => {
            let mut expressions = Vec::new();
            for expression in &computed.expressions {
                expressions.push(substitute(lowering, expression, &input.schema, &calc.expressions)?);
            }
            (&input.inputs[0], expressions)
        }
        _ => return Ok(None),
    };
    let OperatorSpec::WindowAssign(assign) = &assigned.spec else { return Ok(None) };
    let source = &assigned.inputs[0];
    let first_window_column = source.schema.fields().len();
    let window_columns: Vec<Column> = (first_window_column..assigned.schema.fields().len())
        .map(|index| Column::from(assigned.schema.qualified_field(index)))
        .collect();
    if expressions.iter().any(|e| window_columns.iter().any(|c| e.column_refs().contains(c))) {
        return Ok(None);
    }
    let mut over_source = Computed { expressions };
    let time = Expr::Column(Column::from(source.schema.qualified_field(assign.time)));
    let time = over_source.index_of(&time);
    let below = compute(lowering, source, &over_source.expressions)?;
    Ok(Some((below, WindowInput::Assign { window: assign.window, time })))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one aggregation, found by the caller")]
fn windowed(
    lowering: &mut Lowering<'_>,
    aggregate: &Aggregate,
    input: &Arc<Node>,
    window: WindowColumns,
    groups: &[Group],
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    mut computed: Computed,
) -> Result<Arc<Node>, SqlError> {
    let column = |index: usize| Expr::Column(Column::from(input.schema.qualified_field(index)));
    let (below, window) = match fused(lowering, input, &computed)? {
        Some(fused) => fused,
        None => {
            let Some((start, end)) = window.start.zip(window.end) else {
                let what = "a grouping by window_end of a stream that has lost its window_start";
                return Err(lowering.unsupported(what, "GROUP"));
            };
            let (start, end) = (computed.index_of(&column(start)), computed.index_of(&column(end)));
            (compute(lowering, input, &computed.expressions)?, WindowInput::Attached { start, end })
        }
    };
    let mut fields = output_fields(&below, &keys, &calls);
    let first = fields.len();
    for name in ["window_start", "window_end", "window_time"] {
        fields.push(Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true));
    }
    let identity = (0..keys.len()).chain([first + 1]).collect();
    let properties = Properties {
        upsert_keys: vec![identity],
        time_attributes: vec![first + 1, first + 2],
        window: Some(WindowColumns { start: Some(first), end: Some(first + 1), time: Some(first + 2) }),
        state: StateBound::EventTime,
        ..append_only()
    };
    let key_count = keys.len();
    let node = Arc::new(Node {
        spec: OperatorSpec::WindowAggregate(WindowAggregateSpec { window, keys, aggregates: calls }),
        inputs: vec![below],
        schema: plain_schema(lowering, fields)?,
        properties,
    });
    let of = |index: usize| Expr::Column(Column::from(node.schema.qualified_field(index)));
    let mut expressions: Vec<Expr> = groups
        .iter()
        .map(|group| match group {
            Group::Key(index) => of(*index),
            Group::WindowStart => of(first),
            Group::WindowEnd => of(first + 1),
            Group::WindowTime => of(first + 2),
        })
        .collect();
    expressions.extend((key_count..first).map(of));
    calc(lowering, &node, None, &expressions, &aggregate.schema)
}

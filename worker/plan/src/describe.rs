//! One line about an operator, for people. Ids and fingerprints come from `identity`, which leaves nothing out.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::Expr;
use std::fmt::Write;
use streamfleet_logical::{JoinKind, Node, OperatorSpec, WindowInput, type_name};

/// What an operator does, in one line: kind, arguments, output columns with types.
pub fn describe(node: &Node) -> String {
    let mut text = headline(node);
    let fields: Vec<String> =
        node.schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
    write!(text, " -> ({})", fields.join(", ")).expect("a string takes any text");
    text
}

fn list(expressions: &[Expr]) -> String {
    expressions.iter().map(readable).collect::<Vec<_>>().join(", ")
}

/// An expression with its literals as they are written in SQL.
fn readable(expression: &Expr) -> String {
    let as_sql = |part: Expr| {
        let text = match &part {
            Expr::Literal(value, _) => literal(value),
            _ => None,
        };
        // A column shows as its bare name.
        Ok(text.map_or_else(|| Transformed::no(part), |t| Transformed::yes(Expr::Column(Column::new_unqualified(t)))))
    };
    match expression.clone().transform(as_sql) {
        Ok(transformed) => transformed.data.to_string(),
        Err(_) => expression.to_string(),
    }
}

/// A literal as SQL, if this knows better than the literal itself.
fn literal(value: &ScalarValue) -> Option<String> {
    match value {
        _ if value.is_null() => Some("NULL".to_owned()),
        ScalarValue::Utf8(Some(text)) => Some(format!("'{}'", text.replace('\'', "''"))),
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let millis = i64::from(interval.days) * 86_400_000 + interval.nanoseconds / 1_000_000;
            Some(match interval.months {
                0 if millis % 1000 == 0 => format!("INTERVAL '{}' SECOND", millis / 1000),
                0 => format!("INTERVAL '{}.{:03}' SECOND", millis / 1000, millis % 1000),
                months if millis == 0 => format!("INTERVAL '{months}' MONTH"),
                _ => return None,
            })
        }
        ScalarValue::Int8(_)
        | ScalarValue::Int16(_)
        | ScalarValue::Int32(_)
        | ScalarValue::Int64(_)
        | ScalarValue::UInt64(_)
        | ScalarValue::Boolean(_)
        | ScalarValue::Float64(_) => Some(value.to_string()),
        _ => None,
    }
}

fn columns(node: &Node, input: usize, indices: &[usize]) -> String {
    let schema = &node.inputs[input].schema;
    let is_shared = |name: &str| schema.fields().iter().filter(|f| f.name() == name).count() > 1;
    let one = |index: &usize| match schema.field(*index).name() {
        name if is_shared(name) => format!("{name}#{index}"),
        name => name.clone(),
    };
    indices.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn headline(node: &Node) -> String {
    match &node.spec {
        OperatorSpec::Scan(scan) => {
            let mut text = format!("Scan {} [{}]", scan.table.name, list(&scan.expressions));
            if let Some(watermark) = &scan.watermark {
                write!(text, " watermark {}", readable(watermark)).expect("a string takes any text");
            }
            text
        }
        OperatorSpec::Calc(calc) => match &calc.predicate {
            Some(predicate) => format!("Calc [{}] where {}", list(&calc.expressions), readable(predicate)),
            None => format!("Calc [{}]", list(&calc.expressions)),
        },
        OperatorSpec::WindowAssign(assign) => {
            format!("WindowAssign {} on {}", assign.window, columns(node, 0, &[assign.time]))
        }
        OperatorSpec::WindowAggregate(aggregate) => {
            let window = match &aggregate.window {
                WindowInput::Assign { window, time } => format!("{window} on {}", columns(node, 0, &[*time])),
                WindowInput::Attached { start, end } => format!("windows of {}", columns(node, 0, &[*start, *end])),
            };
            let calls = calls(node, &aggregate.aggregates);
            format!("WindowAggregate {window} by [{}] [{calls}]", columns(node, 0, &aggregate.keys))
        }
        OperatorSpec::GroupAggregate(aggregate) => {
            let calls = calls(node, &aggregate.aggregates);
            format!("GroupAggregate by [{}] [{calls}]", columns(node, 0, &aggregate.keys))
        }
        OperatorSpec::Join(join) => {
            let kind = match join.kind {
                JoinKind::Inner => "InnerJoin",
                JoinKind::Left => "LeftJoin",
            };
            let on = join.on.iter().map(|(l, r)| format!("{} = {}", columns(node, 0, &[*l]), columns(node, 1, &[*r])));
            let mut text = format!("{kind} on [{}]", on.collect::<Vec<_>>().join(", "));
            if let Some(filter) = &join.filter {
                write!(text, " where {}", readable(filter)).expect("a string takes any text");
            }
            if let Some(b) = &join.bounds {
                let (left, right) = (columns(node, 0, &[b.left_time]), columns(node, 1, &[b.right_time]));
                write!(text, " within {right} - {left} in [{}, {}] ms", b.lower, b.upper)
                    .expect("a string takes any text");
            }
            text
        }
        OperatorSpec::Union => "Union".to_owned(),
        OperatorSpec::Rank(rank) => {
            let order = rank.order.iter().map(|k| {
                let direction = if k.descending { " DESC" } else { "" };
                format!("{}{direction}", columns(node, 0, &[k.column]))
            });
            let order = if rank.order.is_empty() { "arrival".to_owned() } else { order.collect::<Vec<_>>().join(", ") };
            format!(
                "{}Rank first {} by [{}] order [{order}]",
                match (rank.window_end, rank.event_time) {
                    (Some(_), _) => "Window",
                    (None, Some(_)) => "EventTime",
                    (None, None) => "",
                },
                rank.limit,
                columns(node, 0, &rank.partition)
            )
        }
        OperatorSpec::ChangelogNormalize(normalize) => {
            format!("ChangelogNormalize by [{}]", columns(node, 0, &normalize.key))
        }
        OperatorSpec::UpsertMaterialize(materialize) => {
            format!("UpsertMaterialize by [{}]", columns(node, 0, &materialize.key))
        }
        OperatorSpec::Sink(sink) => format!("Sink {}", sink.table.name),
    }
}

fn calls(node: &Node, calls: &[streamfleet_logical::AggregateCall]) -> String {
    let one = |call: &streamfleet_logical::AggregateCall| {
        let argument = call.argument.map_or_else(|| "*".to_owned(), |a| columns(node, 0, &[a]));
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let filter = call.filter.map_or_else(String::new, |f| format!(" FILTER {}", columns(node, 0, &[f])));
        format!("{}({distinct}{argument}){filter} AS {}", call.function, call.name)
    };
    calls.iter().map(one).collect::<Vec<_>>().join(", ")
}

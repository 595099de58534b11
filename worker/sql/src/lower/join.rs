//! Joins on equal keys.

use super::Lowering;
use super::bounds::bounds;
use super::calc::{calc, columns_of};
use super::properties::plain_column;
use crate::error::SqlError;
use arrow::datatypes::Field;
use datafusion_common::{Column, DFSchema, JoinType, NullEquality, TableReference};
use datafusion_expr::{Expr, ExprSchemable, Join};
use std::sync::Arc;
use streamfleet_logical::{ChangelogMode, JoinKind, JoinSpec, Node, OperatorSpec, Properties, StateBound};

/// One side with its keys as columns; computed keys lie behind the side's own columns.
struct Side {
    node: Arc<Node>,
    keys: Vec<usize>,
    own_columns: usize,
}

fn side(lowering: &Lowering<'_>, node: Arc<Node>, keys: &[&Expr]) -> Result<Side, SqlError> {
    let own_columns = node.schema.fields().len();
    let mut expressions = columns_of(&node.schema);
    let mut indices = Vec::new();
    for key in keys {
        let index = match plain_column(key) {
            Some(column) => node.schema.index_of_column(column).map_err(|e| lowering.failed(&e))?,
            None => {
                expressions.push((*key).clone().unalias());
                expressions.len() - 1
            }
        };
        indices.push(index);
    }
    if expressions.len() == own_columns {
        return Ok(Side { node, keys: indices, own_columns });
    }
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
        node.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
    for (number, expr) in expressions[own_columns..].iter().enumerate() {
        let data_type = expr.get_type(node.schema.as_ref()).map_err(|e| lowering.failed(&e))?;
        fields.push((None, Arc::new(Field::new(format!("__key{number}"), data_type, true))));
    }
    let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| lowering.failed(&e))?;
    let node = calc(lowering, &node, None, &expressions, &Arc::new(schema))?;
    Ok(Side { node, keys: indices, own_columns })
}

pub(crate) fn join(lowering: &mut Lowering<'_>, join: &Join) -> Result<Arc<Node>, SqlError> {
    let (kind, swapped) = match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Left, true),
        other => return Err(lowering.unsupported(format!("a {other} join"), "JOIN")),
    };
    if join.null_equality == NullEquality::NullEqualsNull {
        return Err(lowering.unsupported("IS NOT DISTINCT FROM as a join's condition", "DISTINCT"));
    }
    if join.on.is_empty() {
        return Err(lowering.unsupported("a join without an equality between the two sides", "JOIN"));
    }
    let (left, right) = (lowering.lower(&join.left)?, lowering.lower(&join.right)?);
    let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) = join.on.iter().map(|(l, r)| (l, r)).unzip();
    let (mut left, mut right) = (side(lowering, left, &left_keys)?, side(lowering, right, &right_keys)?);
    if swapped {
        std::mem::swap(&mut left, &mut right);
    }
    let node = joined(lowering, kind, join.filter.as_ref(), &left, &right)?;
    let of = |index: usize| Expr::Column(Column::from(node.schema.qualified_field(index)));
    let left_width = left.node.schema.fields().len();
    let left_columns = 0..left.own_columns;
    let right_columns = left_width..left_width + right.own_columns;
    let outputs: Vec<Expr> = if swapped {
        right_columns.chain(left_columns).map(of).collect()
    } else {
        left_columns.chain(right_columns).map(of).collect()
    };
    calc(lowering, &node, None, &outputs, &join.schema)
}

fn joined(
    lowering: &mut Lowering<'_>,
    kind: JoinKind,
    filter: Option<&Expr>,
    left: &Side,
    right: &Side,
) -> Result<Arc<Node>, SqlError> {
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = Vec::new();
    for node in [&left.node, &right.node] {
        for (qualifier, field) in node.schema.iter() {
            fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
        }
    }
    // Two sides may both have unnamed computed keys.
    for (index, (qualifier, field)) in fields.iter_mut().enumerate() {
        if qualifier.is_none() && field.name().starts_with("__key") {
            *field = Arc::new(Field::new(format!("__key_at{index}"), field.data_type().clone(), true));
        }
    }
    let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| lowering.failed(&e))?;
    let schema = Arc::new(schema);
    let on: Vec<(usize, usize)> = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
    let left_width = left.node.schema.fields().len();
    let bounds = bounds(&left.node.properties, &right.node.properties, &on, filter, &schema, left_width);
    let changes = |s: &Side| s.node.properties.changelog == ChangelogMode::Retract;
    let is_append_only = !changes(left) && !changes(right) && (kind == JoinKind::Inner || bounds.is_some());
    if bounds.is_none() {
        lowering.warn_unbounded("this join", "JOIN");
    }
    let properties = Properties {
        changelog: if is_append_only { ChangelogMode::AppendOnly } else { ChangelogMode::Retract },
        upsert_keys: upsert_keys(kind, left, right),
        // With bounds, a joined row is no later than the earlier of its two sides allows.
        time_attributes: match &bounds {
            Some(b) if b.lower == 0 && b.upper == 0 => vec![b.left_time, b.right_time + left_width],
            _ => vec![],
        },
        window: left.node.properties.window.filter(|_| bounds.is_some_and(|b| b.lower == 0 && b.upper == 0)),
        state: if bounds.is_some() { StateBound::EventTime } else { StateBound::Unbounded },
    };
    let spec = JoinSpec { kind, on, filter: filter.cloned(), filter_schema: Arc::clone(&schema), bounds };
    let inputs = vec![Arc::clone(&left.node), Arc::clone(&right.node)];
    Ok(Arc::new(Node { spec: OperatorSpec::Join(spec), inputs, schema, properties }))
}

/// Column sets that identify a joined row, each such that all changes of a row come from one subtask, in order, and that an
/// update does not leave it.
///
/// A side's key serves only if it holds the join's columns: else an update may move its row to another subtask, and the new
/// version may overtake the end of the old one.
fn upsert_keys(kind: JoinKind, left: &Side, right: &Side) -> Vec<Vec<usize>> {
    let keys_of = |side: &Side| -> Vec<Vec<usize>> {
        let known = side.node.properties.upsert_keys.iter();
        known.filter(|key| side.keys.iter().all(|column| key.contains(column))).cloned().collect()
    };
    // A side of which no two rows share the join's columns gives every row of the other at most one partner.
    let is_single =
        |side: &Side, keys: &[Vec<usize>]| keys.iter().any(|key| key.iter().all(|column| side.keys.contains(column)));
    let (lefts, mut rights) = (keys_of(left), keys_of(right));
    let (left_is_single, right_is_single) = (is_single(left, &lefts), is_single(right, &rights));
    let left_width = left.node.schema.fields().len();
    rights.iter_mut().flatten().for_each(|column| *column += left_width);
    let both = lefts.iter().flat_map(|l| rights.iter().map(|r| [l.as_slice(), r].concat()));
    let mut found: Vec<Vec<usize>> = both.collect();
    if right_is_single {
        found.extend(lefts);
    }
    // Of a left row without partner the right side's key is NULL.
    if kind == JoinKind::Inner && left_is_single {
        found.extend(rights);
    }
    found
}

//! How far apart in event time two joined rows can be, from the join's conditions.

use crate::window_tvf::interval_millis;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator};
use std::sync::Arc;
use streamfleet_logical::{Properties, TimeBounds};
use streamfleet_types::Millis;

/// The bounds of `right time - left time`, if the conditions imply both for one pair of time attributes.
pub(crate) fn bounds(
    left: &Properties,
    right: &Properties,
    on: &[(usize, usize)],
    filter: Option<&Expr>,
    schema: &DFSchema,
    left_width: usize,
) -> Option<TimeBounds> {
    let is_time = |l: usize, r: usize| left.time_attributes.contains(&l) && right.time_attributes.contains(&r);
    if let Some((left_time, right_time)) = on.iter().copied().find(|(l, r)| is_time(*l, *r)) {
        return Some(TimeBounds { left_time, right_time, lower: 0, upper: 0 });
    }
    let mut found: Vec<TimeBounds> = Vec::new();
    for condition in split_conjunction(filter?) {
        for (a, b, distance) in differences(condition, schema) {
            // a - b <= distance
            let (left_time, right_time, lower, upper) = if a < left_width && b >= left_width {
                (a, b - left_width, Some(distance.saturating_neg()), None)
            } else if b < left_width && a >= left_width {
                (b, a - left_width, None, Some(distance))
            } else {
                continue;
            };
            if !is_time(left_time, right_time) {
                continue;
            }
            let entry = found.iter().position(|f| (f.left_time, f.right_time) == (left_time, right_time));
            let entry = entry.unwrap_or_else(|| {
                found.push(TimeBounds { left_time, right_time, lower: Millis::MIN, upper: Millis::MAX });
                found.len() - 1
            });
            let entry = &mut found[entry];
            entry.lower = lower.map_or(entry.lower, |l| l.max(entry.lower));
            entry.upper = upper.map_or(entry.upper, |u| u.min(entry.upper));
        }
    }
    found.into_iter().find(|f| f.lower != Millis::MIN && f.upper != Millis::MAX)
}

/// What a condition says as `column a - column b <= distance`.
fn differences(condition: &Expr, schema: &DFSchema) -> Vec<(usize, usize, Millis)> {
    let at_most = |smaller: &Expr, greater: &Expr| -> Option<(usize, usize, Millis)> {
        let (a, a_shift) = shifted(smaller, schema)?;
        let (b, b_shift) = shifted(greater, schema)?;
        Some((a, b, b_shift.checked_sub(a_shift)?))
    };
    let found = match condition {
        Expr::Between(Between { expr, negated: false, low, high }) => vec![at_most(low, expr), at_most(expr, high)],
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::LtEq | Operator::Lt => vec![at_most(left, right)],
            Operator::GtEq | Operator::Gt => vec![at_most(right, left)],
            Operator::Eq => vec![at_most(left, right), at_most(right, left)],
            _ => vec![],
        },
        _ => vec![],
    };
    found.into_iter().flatten().collect()
}

/// An expression as a column plus milliseconds.
fn shifted(expr: &Expr, schema: &DFSchema) -> Option<(usize, Millis)> {
    let literal = |e: &Expr| match e {
        Expr::Literal(value, _) => whole_millis(value),
        Expr::Cast(c) => match c.expr.as_ref() {
            Expr::Literal(value @ ScalarValue::IntervalMonthDayNano(_), _) => whole_millis(value),
            _ => None,
        },
        _ => None,
    };
    match expr {
        Expr::Column(column) => Some((schema.maybe_index_of_column(column)?, 0)),
        Expr::Alias(alias) => shifted(&alias.expr, schema),
        Expr::Cast(cast) if keeps_millis(&cast.expr.get_type(schema).ok()?, cast.field.data_type()) => {
            shifted(&cast.expr, schema)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, shift) = shifted(left, schema)?;
            match op {
                Operator::Plus => Some((column, shift.checked_add(literal(right)?)?)),
                Operator::Minus => Some((column, shift.checked_sub(literal(right)?)?)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// True for a cast between timestamps that moves none by a millisecond: any other cast may round, or compare otherwise.
fn keeps_millis(from: &DataType, to: &DataType) -> bool {
    let is_utc = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|z| z == "UTC" || z == "+00:00");
    match (from, to) {
        (DataType::Timestamp(_, from), DataType::Timestamp(unit, to)) => {
            *unit != TimeUnit::Second && is_utc(from) && is_utc(to)
        }
        _ => false,
    }
}

/// The milliseconds of an interval that is a whole number of them: parts would be lost, and the bound be too narrow.
fn whole_millis(value: &ScalarValue) -> Option<Millis> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.nanoseconds % 1_000_000 != 0 => None,
        other => interval_millis(other),
    }
}

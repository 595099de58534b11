//! What a node's output is known to be, from what its inputs are.

use datafusion_expr::Expr;
use streamfleet_logical::{ChangelogMode, Properties, StateBound, WindowColumns};

/// Properties of a stateless append-only stream.
pub(crate) const fn append_only() -> Properties {
    Properties {
        changelog: ChangelogMode::AppendOnly,
        upsert_keys: Vec::new(),
        time_attributes: Vec::new(),
        window: None,
        state: StateBound::None,
    }
}

/// Properties of a projection: `outputs[i]` is the input column that output column i is a copy of, if it is one.
pub(crate) fn projected(input: &Properties, outputs: &[Option<usize>]) -> Properties {
    let place_of = |column: usize| outputs.iter().position(|o| *o == Some(column));
    let window = input.window.map(|w| WindowColumns {
        start: w.start.and_then(place_of),
        end: w.end.and_then(place_of),
        time: w.time.and_then(place_of),
    });
    Properties {
        changelog: input.changelog,
        upsert_keys: input
            .upsert_keys
            .iter()
            .filter_map(|key| key.iter().map(|c| place_of(*c)).collect::<Option<Vec<_>>>())
            .collect(),
        time_attributes: (0..outputs.len())
            .filter(|o| outputs[*o].is_some_and(|i| input.time_attributes.contains(&i)))
            .collect(),
        window: window.filter(|w| w.end.is_some() || w.start.is_some()),
        state: StateBound::None,
    }
}

/// The column that an expression is a plain copy of.
pub(crate) fn plain_column(expr: &Expr) -> Option<&datafusion_common::Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}

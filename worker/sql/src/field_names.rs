//! `SELECT bid.price` of a ROW column is called `price`, as in Flink: the planner would call it by its whole path.

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins};

/// Gives fields of ROW columns in select lists their own names.
pub(crate) fn name_fields(query: &mut Query) {
    for cte in query.with.iter_mut().flat_map(|w| &mut w.cte_tables) {
        name_fields(&mut cte.query);
    }
    name_in_set(&mut query.body);
}

fn name_in_set(set: &mut SetExpr) {
    match set {
        SetExpr::Select(select) => name_in_select(select),
        SetExpr::Query(query) => name_fields(query),
        SetExpr::SetOperation { left, right, .. } => {
            name_in_set(left);
            name_in_set(right);
        }
        _ => {}
    }
}

fn name_in_select(select: &mut Select) {
    let mut relations = Vec::new();
    for TableWithJoins { relation, joins } in &mut select.from {
        for factor in std::iter::once(relation).chain(joins.iter_mut().map(|j| &mut j.relation)) {
            relations.extend(name_of(factor));
            if let TableFactor::Derived { subquery, .. } = factor {
                name_fields(subquery);
            }
        }
    }
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) = item else { continue };
        let is_of_relation = relations.contains(&path[0].value);
        let is_field = if is_of_relation { path.len() > 2 } else { path.len() > 1 };
        if let Some(alias) = path.last().filter(|_| is_field) {
            let alias: Ident = alias.clone();
            *item = SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(std::mem::take(path)), alias };
        }
    }
}

/// What a relation is called in its SELECT.
fn name_of(factor: &TableFactor) -> Option<String> {
    let (alias, name) = match factor {
        TableFactor::Table { alias, name, .. } => (alias, name.0.last().map(ToString::to_string)),
        TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } => (alias, None),
        _ => return None,
    };
    let unquoted = |n: String| n.trim_matches('`').to_owned();
    alias.as_ref().map(|a| a.name.value.clone()).or(name.map(unquoted))
}

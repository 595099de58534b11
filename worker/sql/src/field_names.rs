//! Names of selected columns, as in Flink: `SELECT bid.price` of a ROW column is called `price`, where the planner would call
//! it by its whole path, and two columns of one name are told apart.

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins};
use std::collections::HashSet;

/// Gives fields of ROW columns in select lists their own names, and every column its own.
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
    let mut taken = HashSet::new();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) = item {
            let is_of_relation = relations.contains(&path[0].value);
            let is_field = if is_of_relation { path.len() > 2 } else { path.len() > 1 };
            if let Some(alias) = path.last().filter(|_| is_field) {
                let alias: Ident = alias.clone();
                *item = SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(std::mem::take(path)), alias };
            }
        }
        tell_apart(item, &mut taken);
    }
}

/// Gives a column that is called like one before it a number, as Flink does: `x`, `x0`.
fn tell_apart(item: &mut SelectItem, taken: &mut HashSet<String>) {
    let name = match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => match path.last() {
            Some(name) => name.value.clone(),
            None => return,
        },
        SelectItem::UnnamedExpr(expr) => expr.to_string(),
        _ => return,
    };
    if taken.insert(name.clone()) {
        return;
    }
    let mut number = 0;
    while !taken.insert(format!("{name}{number}")) {
        number += 1;
    }
    let alias = Ident::with_quote('`', format!("{name}{number}"));
    match item {
        SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
        SelectItem::UnnamedExpr(expr) => {
            let expr = std::mem::replace(expr, Expr::Identifier(alias.clone()));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
        _ => {}
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

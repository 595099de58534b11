//! What of the parser's language a query may use: an allow-list, for the parser knows every dialect's constructs and the
//! planner passes over some of them in silence.

use crate::error::{SqlError, SqlErrorKind};
use crate::script::{StatementTokens, position_of};
use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query,
    Select, SelectFlavor, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, UnaryOperator, Visit, Visitor,
};
use sqlparser::tokenizer::{Span, Token, Whitespace};
use std::collections::HashSet;
use std::ops::ControlFlow;
use streamfleet_logical::Position;

/// Constructs known by their words, all of them reserved in Flink SQL.
const PHRASES: &[(&[&str], &str)] = &[
    (&["FOR", "SYSTEM_TIME"], "FOR SYSTEM_TIME AS OF"),
    (&["FOR", "UPDATE"], "FOR UPDATE"),
    (&["MATCH_RECOGNIZE"], "MATCH_RECOGNIZE"),
    (&["LATERAL"], "LATERAL"),
    (&["TABLESAMPLE"], "TABLESAMPLE"),
    (&["SIMILAR", "TO"], "SIMILAR TO"),
    (&["INTERSECT"], "INTERSECT"),
    (&["EXCEPT"], "EXCEPT"),
    (&["RESPECT", "NULLS"], "RESPECT NULLS"),
    (&["IGNORE", "NULLS"], "IGNORE NULLS"),
];

/// Refuses what is known by its words, before the parser may stumble over it.
///
/// # Errors
/// The first construct that is not supported.
pub(crate) fn check_words(statement: &StatementTokens) -> Result<(), SqlError> {
    let solid: Vec<_> = statement
        .tokens
        .iter()
        .filter(|t| match &t.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) => text.starts_with('+'),
            Token::Whitespace(_) => false,
            _ => true,
        })
        .collect();
    for (at, token) in solid.iter().enumerate() {
        if let Token::Whitespace(_) = token.token {
            return Err(SqlErrorKind::Unsupported("a hint (`/*+ .. */`)".to_owned()).at(position_of(token)));
        }
        let says = |words: &[&str]| {
            words.iter().enumerate().all(|(i, word)| {
                solid.get(at + i).is_some_and(|t| {
                    matches!(&t.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
                })
            })
        };
        if let Some((_, name)) = PHRASES.iter().find(|(words, _)| says(words)) {
            return Err(SqlErrorKind::Unsupported((*name).to_owned()).at(position_of(token)));
        }
    }
    Ok(())
}

/// Refuses every construct of a query that is not known to be planned with Flink's meaning.
///
/// # Errors
/// The first construct that is not supported.
pub(crate) fn check_query(statement: &StatementTokens, query: &Query) -> Result<(), SqlError> {
    check(statement, query)
}

/// The same for an expression.
///
/// # Errors
/// The first construct that is not supported.
pub(crate) fn check_expression(statement: &StatementTokens, expr: &Expr) -> Result<(), SqlError> {
    check(statement, expr)
}

fn check(statement: &StatementTokens, tree: &impl Visit) -> Result<(), SqlError> {
    match tree.visit(&mut Check { statement, inputs: HashSet::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Check<'a> {
    statement: &'a StatementTokens,
    /// Addresses of the queries that window functions read: the only ones that may stand in an expression.
    inputs: HashSet<usize>,
}

type Flow = ControlFlow<Box<SqlError>>;

const GO: Flow = ControlFlow::Continue(());

impl Check<'_> {
    /// Refuses a construct, at its place if the parser knows it, else where its first word stands.
    fn refuse(&self, span: Span, what: impl Into<String>) -> Flow {
        let what = what.into();
        let position = match span.start {
            start if start.line > 0 => Position { line: start.line, column: start.column },
            _ => {
                let word = what.split_whitespace().find(|w| w.chars().all(|c| c.is_uppercase()));
                word.and_then(|w| self.statement.find(w)).unwrap_or_else(|| self.statement.position())
            }
        };
        ControlFlow::Break(Box::new(SqlErrorKind::Unsupported(what).at(position)))
    }

    /// Refuses the first construct that is present.
    fn none_of(&self, span: Span, constructs: &[(bool, &str)]) -> Flow {
        match constructs.iter().find(|(is_present, _)| *is_present) {
            Some((_, what)) => self.refuse(span, *what),
            None => GO,
        }
    }

    fn set(&self, body: &SetExpr) -> Flow {
        match body {
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                if *op != SetOperator::Union {
                    return self.refuse(Span::empty(), op.to_string());
                }
                if !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None) {
                    return self.refuse(Span::empty(), format!("UNION {set_quantifier}"));
                }
                self.set(left)?;
                self.set(right)
            }
            // Nested queries are visited by themselves; VALUES is refused by name later.
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => GO,
            SetExpr::Table(_) => self.refuse(Span::empty(), "TABLE as a query"),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse(body.span(), "a statement within a query")
            }
        }
    }

    fn function(&self, expr: &Expr, call: &Function) -> Flow {
        let has_clauses = matches!(&call.args, FunctionArguments::List(list) if !list.clauses.is_empty());
        self.none_of(
            expr.span(),
            &[
                (call.null_treatment.is_some(), "RESPECT NULLS or IGNORE NULLS"),
                (!call.within_group.is_empty(), "WITHIN GROUP"),
                (has_clauses, "a clause behind a function's arguments"),
                (call.uses_odbc_syntax, "a call in braces"),
                (!matches!(call.parameters, FunctionArguments::None), "a call with parameters and arguments"),
                (matches!(call.args, FunctionArguments::Subquery(_)), "a subquery as a function's argument"),
            ],
        )
    }

    fn binary(&self, expr: &Expr, op: &BinaryOperator) -> Flow {
        use BinaryOperator::{
            And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus, StringConcat,
        };
        match op {
            Plus | Minus | Multiply | Divide | Modulo | StringConcat | Gt | Lt | GtEq | LtEq | Eq | NotEq | And
            | Or => GO,
            other => self.refuse(expr.span(), format!("the operator `{other}`")),
        }
    }
}

impl Visitor for Check<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.none_of(
            Span::empty(),
            &[
                (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
                (query.fetch.is_some(), "FETCH FIRST"),
                (query.for_clause.is_some(), "FOR XML, JSON or BROWSE"),
                (query.settings.is_some(), "SETTINGS"),
                (query.format_clause.is_some(), "FORMAT"),
                (!query.pipe_operators.is_empty(), "the operator `|>`"),
            ],
        )?;
        self.set(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        let (is_all, has_modifiers) = match &select.group_by {
            GroupByExpr::All(_) => (true, false),
            GroupByExpr::Expressions(_, modifiers) => (false, !modifiers.is_empty()),
        };
        self.none_of(
            Span::empty(),
            &[
                (!select.optimizer_hints.is_empty(), "a hint (`/*+ .. */`)"),
                (select.select_modifiers.is_some(), "a modifier behind SELECT"),
                (select.top.is_some(), "TOP"),
                (select.exclude.is_some(), "EXCLUDE"),
                (select.into.is_some(), "SELECT .. INTO"),
                (!select.lateral_views.is_empty(), "LATERAL VIEW"),
                (select.prewhere.is_some(), "PREWHERE"),
                (!select.connect_by.is_empty(), "CONNECT BY"),
                (!select.cluster_by.is_empty(), "CLUSTER BY"),
                (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
                (!select.sort_by.is_empty(), "SORT BY"),
                (select.value_table_mode.is_some(), "SELECT AS"),
                (select.flavor != SelectFlavor::Standard, "a query that begins with FROM"),
                (is_all, "GROUP BY ALL"),
                (has_modifiers, "GROUP BY .. WITH"),
            ],
        )
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        let span = factor.span();
        match factor {
            TableFactor::Table {
                name: _,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => self.none_of(
                span,
                &[
                    (sample.is_some(), "TABLESAMPLE"),
                    (version.is_some(), "FOR SYSTEM_TIME AS OF"),
                    (args.is_some(), "a table function without TABLE(..)"),
                    (!with_hints.is_empty() || !index_hints.is_empty(), "a hint behind a table"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION behind a table"),
                    (json_path.is_some(), "a path behind a table"),
                ],
            ),
            TableFactor::Derived { lateral, sample, .. } => {
                self.none_of(span, &[(*lateral, "LATERAL"), (sample.is_some(), "TABLESAMPLE")])
            }
            TableFactor::TableFunction { expr, .. } => {
                if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr {
                    for argument in &list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(e))
                        | FunctionArg::Named { arg: FunctionArgExpr::Expr(e), .. }
                        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(e), .. } = argument
                        {
                            self.inputs.insert(address(e));
                        }
                    }
                }
                GO
            }
            // Refused by name later.
            TableFactor::UNNEST { .. } | TableFactor::NestedJoin { .. } => GO,
            TableFactor::Function { .. } => self.refuse(span, "a table function without TABLE(..)"),
            TableFactor::MatchRecognize { .. } => self.refuse(span, "MATCH_RECOGNIZE"),
            TableFactor::Pivot { .. } => self.refuse(span, "PIVOT"),
            TableFactor::Unpivot { .. } => self.refuse(span, "UNPIVOT"),
            _ => self.refuse(span, "this kind of table"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        let span = expr.span();
        match expr {
            Expr::Subquery(_) if self.inputs.contains(&address(expr)) => GO,
            Expr::Subquery(_) => self.refuse(span, "a query as a value"),
            Expr::InSubquery { .. } => self.refuse(span, "IN (SELECT ..)"),
            Expr::Exists { .. } => self.refuse(span, "EXISTS"),
            Expr::AnyOp { .. } => self.refuse(span, "ANY or SOME"),
            Expr::AllOp { .. } => self.refuse(span, "ALL as a comparison"),
            Expr::SimilarTo { .. } => self.refuse(span, "SIMILAR TO"),
            Expr::ILike { .. } => self.refuse(span, "ILIKE"),
            Expr::RLike { .. } => self.refuse(span, "RLIKE"),
            Expr::Like { any: true, .. } => self.refuse(span, "LIKE ANY"),
            Expr::AtTimeZone { .. } => self.refuse(span, "AT TIME ZONE"),
            Expr::Collate { .. } => self.refuse(span, "COLLATE"),
            Expr::Function(call) => self.function(expr, call),
            Expr::BinaryOp { op, .. } => self.binary(expr, op),
            Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not, .. } => GO,
            Expr::UnaryOp { op, .. } => self.refuse(span, format!("the operator `{op}`")),
            Expr::Interval(interval) if interval.last_field.is_some() => {
                self.refuse(span, "an interval from one unit TO another: add two intervals; it")
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::TryCast, array: false, format: None, .. } => GO,
            Expr::Cast { .. } => self.refuse(span, "a cast that is not CAST(.. AS ..) or TRY_CAST(.. AS ..)"),
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Overlay { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Case { .. }
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Tuple(_)
            | Expr::Array(_)
            | Expr::Map(_)
            | Expr::Interval(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..) => GO,
            other => self.refuse(span, format!("`{other}`")),
        }
    }
}

/// Where a node of the tree lies, while the tree stands still.
fn address(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

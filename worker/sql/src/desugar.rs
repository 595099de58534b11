//! Flink's special forms as calls of functions of the same meaning, so that all of them are planned in one way.
//!
//! `CAST(a AS INT)` becomes a call of a function whose name holds the type; no such name can be written in SQL without
//! quotes, and `Functions` gives it out to nobody who asks for the list.

use crate::error::{SqlError, SqlErrorKind};
use crate::functions::{CAST, TRY_CAST};
use crate::script::StatementTokens;
use crate::sql_type::SqlType;
use sqlparser::ast::{
    AccessExpr, CastKind, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Spanned, Subscript, TrimWhereField, TypedString,
    Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;
use std::ops::ControlFlow;
use streamfleet_logical::Position;

/// Rewrites every expression of a query.
///
/// # Errors
/// A form that is not supported, at its place.
pub(crate) fn desugar_query(statement: &StatementTokens, query: &mut Query) -> Result<(), SqlError> {
    desugar(statement, query)
}

/// The same for an expression.
///
/// # Errors
/// A form that is not supported, at its place.
pub(crate) fn desugar_expression(statement: &StatementTokens, expr: &mut Expr) -> Result<(), SqlError> {
    desugar(statement, expr)
}

fn desugar(statement: &StatementTokens, tree: &mut impl VisitMut) -> Result<(), SqlError> {
    match tree.visit(&mut Desugar { statement }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Desugar<'a> {
    statement: &'a StatementTokens,
}

impl Desugar<'_> {
    fn place(&self, span: Span, word: &str) -> Position {
        match span.start {
            start if start.line > 0 => Position { line: start.line, column: start.column },
            _ => self.statement.find(word).unwrap_or_else(|| self.statement.position()),
        }
    }

    fn unsupported(&self, span: Span, word: &str, what: impl Into<String>) -> SqlError {
        SqlErrorKind::Unsupported(what.into()).at(self.place(span, word))
    }

    fn cast(&self, span: Span, prefix: &str, expr: Expr, type_text: &str) -> Result<Expr, SqlError> {
        if let Err(why) = SqlType::parse(type_text) {
            return Err(SqlErrorKind::Type(why).at(self.place(span, "CAST")));
        }
        Ok(call(span, &format!("{prefix}{type_text}"), vec![expr]))
    }

    fn typed_literal(&self, literal: &TypedString) -> Result<Option<Expr>, SqlError> {
        let span = literal.value.span;
        let kind = literal.data_type.to_string().to_uppercase();
        let Value::SingleQuotedString(text) = &literal.value.value else { return Ok(None) };
        let kind = match kind.as_str() {
            "TIMESTAMP" => match text.split_once('.').map_or(0, |(_, fraction)| fraction.len()) {
                0 => "TIMESTAMP(0)",
                3 => "TIMESTAMP(3)",
                6 => "TIMESTAMP(6)",
                n => {
                    let what = format!("a TIMESTAMP with {n} digits of a second: write 0, 3 or 6 digits, so it");
                    return Err(self.unsupported(span, "TIMESTAMP", what));
                }
            },
            "DATE" => "DATE",
            "TIME" if !text.contains('.') => "TIME",
            other => return Err(self.unsupported(span, other, format!("the literal {other} '{text}'"))),
        };
        if !is_canonical(kind, text) {
            let shape = match kind {
                "DATE" => "DATE 'yyyy-MM-dd'",
                "TIME" => "TIME 'HH:mm:ss'",
                _ => "TIMESTAMP 'yyyy-MM-dd HH:mm:ss[.SSS]'",
            };
            let why = format!("'{text}' is no {}: write {shape}", kind.split('(').next().unwrap_or(kind));
            return Err(SqlErrorKind::Type(why).at(self.place(span, text)));
        }
        let value = Expr::Value(literal.value.clone());
        self.cast(span, CAST, value, kind).map(Some)
    }

    fn number(&self, span: Span, digits: &str) -> Result<Option<Expr>, SqlError> {
        let text = || Expr::Value(Value::SingleQuotedString(digits.to_owned()).with_span(span));
        if digits.contains(['e', 'E']) {
            return self.cast(span, CAST, text(), "DOUBLE").map(Some);
        }
        if let Some((whole, fraction)) = digits.split_once('.') {
            let whole = whole.trim_start_matches('0').len().max(1);
            let (precision, scale) = (whole + fraction.len(), fraction.len());
            return self.cast(span, CAST, text(), &format!("DECIMAL({precision}, {scale})")).map(Some);
        }
        if digits.parse::<i64>().is_err() && digits != "9223372036854775808" {
            let why = format!("{digits} is greater than a BIGINT: write it with a fraction, such as {digits}.0");
            return Err(SqlErrorKind::Type(why).at(self.place(span, digits)));
        }
        Ok(None)
    }

    fn access(&self, span: Span, root: Expr, chain: Vec<AccessExpr>) -> Result<Expr, SqlError> {
        let mut at = root;
        let mut dots: Vec<AccessExpr> = Vec::new();
        for access in chain {
            match access {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    if !dots.is_empty() {
                        at = Expr::CompoundFieldAccess { root: Box::new(at), access_chain: std::mem::take(&mut dots) };
                    }
                    at = call(span, "item at", vec![at, index]);
                }
                AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return Err(self.unsupported(span, "[", "a slice of an array"));
                }
                dot @ AccessExpr::Dot(_) if matches!(at, Expr::Function(_)) => {
                    let AccessExpr::Dot(Expr::Identifier(name)) = &dot else {
                        return Err(self.unsupported(span, ".", format!("`{dot}` behind a value")));
                    };
                    let name = Expr::Value(Value::SingleQuotedString(name.value.clone()).with_span(name.span));
                    at = call(span, "field of", vec![at, name]);
                }
                dot @ AccessExpr::Dot(_) => dots.push(dot),
            }
        }
        if !dots.is_empty() {
            at = Expr::CompoundFieldAccess { root: Box::new(at), access_chain: dots };
        }
        Ok(at)
    }

    fn rewritten(&self, expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
        let span = expr.span();
        let take = |e: &mut Expr| std::mem::replace(e, Expr::Value(Value::Null.into()));
        Ok(Some(match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => return self.number(value.span, digits),
                _ => return Ok(None),
            },
            Expr::TypedString(literal) => return self.typed_literal(literal),
            Expr::Cast { kind, expr, data_type, .. } => {
                let prefix = if *kind == CastKind::TryCast { TRY_CAST } else { CAST };
                let text = data_type.to_string();
                return self.cast(span, prefix, take(expr), &text).map(Some);
            }
            Expr::Extract { field, expr, .. } => {
                let unit = unit_text(span, &field.to_string());
                call(span, "extract", vec![unit, take(expr)])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(field) } => {
                rounding(span, "floor", take(expr), field)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(field) } => {
                rounding(span, "ceil", take(expr), field)
            }
            Expr::Floor { .. } | Expr::Ceil { .. } => {
                return Err(self.unsupported(span, "FLOOR", "FLOOR or CEIL with a number of digits"));
            }
            Expr::Position { expr, r#in } => call(span, "position", vec![take(expr), take(r#in)]),
            Expr::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                let name = if *shorthand { "substr" } else { "substring" };
                let mut arguments = vec![take(expr)];
                arguments.extend(substring_from.as_mut().map(|e| take(e)));
                arguments.extend(substring_for.as_mut().map(|e| take(e)));
                call(span, name, arguments)
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![take(expr), take(overlay_what), take(overlay_from)];
                arguments.extend(overlay_for.as_mut().map(|e| take(e)));
                call(span, "overlay", arguments)
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "trim leading",
                    Some(TrimWhereField::Trailing) => "trim trailing",
                    Some(TrimWhereField::Both) | None => "trim",
                };
                let mut arguments = vec![take(expr)];
                arguments.extend(trim_what.as_mut().map(|e| take(e)));
                call(span, name, arguments)
            }
            Expr::Array(array) => call(span, "array of", std::mem::take(&mut array.elem)),
            Expr::CompoundFieldAccess { root, access_chain }
                if access_chain.iter().any(|a| matches!(a, AccessExpr::Subscript(_))) =>
            {
                return self.access(span, take(root), std::mem::take(access_chain)).map(Some);
            }
            Expr::Function(function) => {
                name_unit(function);
                return Ok(None);
            }
            _ => return Ok(None),
        }))
    }
}

/// Whether a literal has the one shape that Flink's parser takes. Whether there is such a day is found out by the conversion.
fn is_canonical(kind: &str, text: &str) -> bool {
    use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
    let has_shape = |shape: &str| {
        text.len() >= shape.len()
            && shape.bytes().zip(text.bytes()).all(|(s, t)| if s == b'0' { t.is_ascii_digit() } else { s == t })
    };
    match kind {
        "DATE" => has_shape("0000-00-00") && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok(),
        "TIME" => has_shape("00:00:00") && NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok(),
        _ => has_shape("0000-00-00 00:00:00") && NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").is_ok(),
    }
}

fn unit_text(span: Span, unit: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(unit.to_uppercase()).with_span(span))
}

fn rounding(span: Span, name: &str, expr: Expr, field: &DateTimeField) -> Expr {
    match field {
        DateTimeField::NoDateTime => call(span, name, vec![expr]),
        unit => call(span, &format!("{name} to"), vec![unit_text(span, &unit.to_string()), expr]),
    }
}

/// `TIMESTAMPADD(SECOND, ..)`: the unit is a word, not a column.
fn name_unit(function: &mut Function) {
    let name = function.name.to_string();
    if !["timestampadd", "timestampdiff"].iter().any(|n| name.eq_ignore_ascii_case(n)) {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(unit))) = list.args.first_mut()
        && let Expr::Identifier(word) = unit
    {
        *unit = unit_text(word.span, &word.value);
    }
}

fn call(span: Span, name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident { value: name.to_owned(), quote_style: None, span }]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

impl VisitorMut for Desugar<'_> {
    type Break = Box<SqlError>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match self.rewritten(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(Box::new(error)),
        }
        ControlFlow::Continue(())
    }
}

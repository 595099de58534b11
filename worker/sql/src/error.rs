//! What is wrong with a script, and where.

use crate::script::{StatementTokens, position_of};
use datafusion_common::DataFusionError;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::TokenWithSpan;
use std::fmt;
use streamfleet_logical::Position;
use streamfleet_manifest::nearest;

/// What is wrong with a script, and where.
#[derive(Debug)]
pub struct SqlError {
    /// Where.
    pub position: Position,
    /// What.
    pub kind: SqlErrorKind,
}

/// What is wrong.
#[derive(Debug)]
pub enum SqlErrorKind {
    /// The text is no SQL.
    Syntax(String),
    /// A name that nothing has, with the nearest that something has.
    Unknown {
        /// `table`, `column`, `function`, `connector`, `format` or `option`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for, with a leading space; may be empty.
        place: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// Understood, but not supported.
    Unsupported(String),
    /// Types do not fit.
    Type(String),
    /// An option's value is not usable, or a required one is missing.
    Option(String),
    /// Declared twice, or otherwise not valid.
    Invalid(String),
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.kind)
    }
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => write!(f, "syntax error: {text}"),
            Self::Unknown { what, name, place, nearest } => {
                write!(f, "no {what} `{name}`{place}")?;
                nearest.as_ref().map_or(Ok(()), |n| write!(f, "; did you mean `{n}`?"))
            }
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::Type(text) | Self::Option(text) | Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl SqlErrorKind {
    pub(crate) const fn at(self, position: Position) -> SqlError {
        SqlError { position, kind: self }
    }

    /// A name that nothing has; `known` are the names that exist.
    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        place: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let nearest = nearest(name, known).map(str::to_owned);
        Self::Unknown { what, name: name.to_owned(), place: place.to_owned(), nearest }
    }
}

/// The parser puts the place at the end of its text: taken out, it becomes the error's position.
pub(crate) fn from_parser(error: &ParserError, fallback: Position) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "nested too deeply",
    };
    let (text, position) = match text.rsplit_once(" at Line: ") {
        Some((before, place)) => (before, parse_place(place).unwrap_or(fallback)),
        None => (text, fallback),
    };
    SqlErrorKind::Syntax(text.to_owned()).at(position)
}

fn parse_place(place: &str) -> Option<Position> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

/// The text of a planning error, without the wrapping that names no cause, and with Flink's names of types.
pub(crate) fn planning_text(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = text.rsplit_once("user-defined coercion failed with: ").map_or(text.as_str(), |(_, cause)| cause);
    let text = text.strip_prefix("Execution error: ").unwrap_or(text);
    // What follows lists DataFusion's own signatures.
    let text =
        text.split_once(" No function matches the given name").map_or(text, |(cause, _)| cause.trim_end_matches('.'));
    let text = text.strip_prefix("Error during planning: ").unwrap_or(text);
    let text = with_names_of_types(text.strip_prefix("Schema error: ").unwrap_or(text));
    of_operator(&text).unwrap_or(text)
}

/// What an operator does not take, as `typing` says it: the operator first, by which its place is found.
fn of_operator(text: &str) -> Option<String> {
    let arithmetic = text.strip_prefix("Cannot coerce arithmetic expression ");
    let comparison = text.strip_prefix("Cannot infer common argument type for comparison operation ");
    let types = arithmetic.map(|t| t.strip_suffix(" to valid types").unwrap_or(t)).or(comparison)?;
    let operators = ["+", "-", "*", "/", "%", "=", "!=", "<", "<=", ">", ">="];
    let (left, operator, right) = operators.iter().find_map(|operator| {
        let (left, right) = types.split_once(&format!(" {operator} "))?;
        Some((left, if *operator == "!=" { "<>" } else { operator }, right))
    })?;
    Some(format!("{operator} of {left} and {right} is not possible: cast one of them"))
}

/// Arrow's names of types as Flink's.
fn with_names_of_types(text: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("Boolean", "BOOLEAN"),
        ("Int8", "TINYINT"),
        ("Int16", "SMALLINT"),
        ("Int32", "INT"),
        ("Int64", "BIGINT"),
        ("Float32", "FLOAT"),
        ("Float64", "DOUBLE"),
        ("Decimal128", "DECIMAL"),
        ("Utf8", "STRING"),
        ("Binary", "BYTES"),
        ("Date32", "DATE"),
        ("Time32(ms)", "TIME"),
        ("Timestamp(s)", "TIMESTAMP(0)"),
        ("Timestamp(ms)", "TIMESTAMP(3)"),
        ("Timestamp(µs)", "TIMESTAMP(6)"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_whole = |name: &str| !rest[name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        match NAMES.iter().find(|(name, _)| !in_word && rest.starts_with(name) && is_whole(name)) {
            Some((name, flinks)) => {
                out.push_str(flinks);
                rest = &rest[name.len()..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

/// Where the thing stands that a planning error is about: what it quotes, or the word or operator that it begins with.
pub(crate) fn place_of(statement: &StatementTokens, text: &str) -> Option<Position> {
    let quoted = text.split(['\'', '`', '"']).nth(1).and_then(|word| statement.find(word));
    let first = text.split(' ').next().unwrap_or_default();
    let is_name = first.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "_|=<>+-*/%".contains(c));
    quoted.or_else(|| {
        let begins = |t: &&TokenWithSpan| is_name && t.token.to_string().eq_ignore_ascii_case(first);
        statement.tokens.iter().find(begins).map(position_of)
    })
}

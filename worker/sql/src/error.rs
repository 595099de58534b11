//! What is wrong with a script, and where.

use datafusion_common::DataFusionError;
use sqlparser::parser::ParserError;
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

/// The text of a planning error, without the wrapping that names no cause.
pub(crate) fn planning_text(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = text.strip_prefix("Error during planning: ").unwrap_or(&text);
    text.strip_prefix("Schema error: ").unwrap_or(text).to_owned()
}

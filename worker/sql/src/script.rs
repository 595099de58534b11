//! A script as statements: tokens with places, cut at semicolons.

use crate::dialect::FlinkDialect;
use crate::error::{SqlError, SqlErrorKind};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use streamfleet_logical::Position;

/// The tokens of one statement, without the semicolon.
#[derive(Debug, Clone)]
pub(crate) struct StatementTokens {
    pub tokens: Vec<TokenWithSpan>,
}

pub(crate) fn position_of(token: &TokenWithSpan) -> Position {
    Position { line: token.span.start.line, column: token.span.start.column }
}

impl StatementTokens {
    /// Where the statement begins.
    pub fn position(&self) -> Position {
        self.tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_))).map(position_of).unwrap_or_default()
    }

    /// Where the statement ends.
    pub fn end(&self) -> Position {
        let last = self.tokens.iter().rev().find(|t| !matches!(t.token, Token::Whitespace(_)));
        last.map(|t| Position { line: t.span.end.line, column: t.span.end.column }).unwrap_or_default()
    }

    /// Where a word first stands, compared as written, else without case.
    pub fn find(&self, word: &str) -> Option<Position> {
        let find = |same: &dyn Fn(&str) -> bool| {
            let is = |t: &&TokenWithSpan| match &t.token {
                Token::Word(w) => same(&w.value),
                Token::SingleQuotedString(text) => same(text),
                _ => false,
            };
            self.tokens.iter().find(is).map(position_of)
        };
        find(&|value| value == word).or_else(|| find(&|value| value.eq_ignore_ascii_case(word)))
    }
}

/// Cuts a script into statements. `EXECUTE STATEMENT SET BEGIN .. END` gives the statements within.
///
/// # Errors
/// A string or comment that does not end.
pub(crate) fn statements(script: &str) -> Result<Vec<StatementTokens>, SqlError> {
    let tokens = Tokenizer::new(&FlinkDialect, script).tokenize_with_location().map_err(|e| {
        let position = Position { line: e.location.line, column: e.location.column };
        SqlErrorKind::Syntax(e.message).at(position)
    })?;
    let mut statements = Vec::new();
    let mut current = Vec::new();
    let mut open_set = None;
    for token in tokens {
        match token.token {
            Token::SemiColon => finish(&mut statements, &mut current, &mut open_set),
            Token::EOF => {}
            Token::DoubleQuotedString(_) => {
                let text = format!("{token}: texts stand in single quotes, names in backticks");
                return Err(SqlErrorKind::Syntax(text).at(position_of(&token)));
            }
            Token::ShiftRight => split_in_two(&token, &mut current),
            _ => current.push(token),
        }
    }
    finish(&mut statements, &mut current, &mut open_set);
    match open_set {
        None => Ok(statements),
        Some(position) => Err(SqlErrorKind::Syntax("a statement set has BEGIN, but no END".to_owned()).at(position)),
    }
}

/// `>>` closes two types; Flink SQL has no shift.
fn split_in_two(token: &TokenWithSpan, current: &mut Vec<TokenWithSpan>) {
    for shift in 0..2 {
        let mut half = token.clone();
        half.token = Token::Gt;
        half.span.start.column += shift;
        current.push(half);
    }
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// `open_set`: where the statement set began that has not ended.
fn finish(statements: &mut Vec<StatementTokens>, current: &mut Vec<TokenWithSpan>, open_set: &mut Option<Position>) {
    let tokens = std::mem::take(current);
    let words: Vec<usize> = (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_))).collect();
    let starts_with = |expected: &[&str]| {
        words.len() >= expected.len() && words.iter().zip(expected).all(|(i, word)| is_word(&tokens[*i], word))
    };
    let start = words.first().map(|i| position_of(&tokens[*i]));
    let skip = if starts_with(&["EXECUTE", "STATEMENT", "SET", "BEGIN"]) {
        *open_set = start;
        4
    } else if starts_with(&["BEGIN", "STATEMENT", "SET"]) {
        *open_set = start;
        3
    } else if words.len() == 1 && starts_with(&["END"]) {
        *open_set = None;
        1
    } else {
        0
    };
    let from = words.get(skip).copied().unwrap_or(tokens.len());
    if from < tokens.len() {
        statements.push(StatementTokens { tokens: tokens[from..].to_vec() });
    }
}

//! Flink SQL text to logical plans.
//!
//! A script is cut into statements; tables, views and functions are declared one after the other; every `INSERT INTO` becomes
//! a plan whose root is a sink. Parsing, name resolution and types come from DataFusion behind an allow-list of functions
//! (`functions`) and rules (`optimize`); what comes out is lowered to streaming nodes (`lower`) or refused with the
//! place in the text.

mod check;
mod context;
mod data_type;
mod ddl;
mod declare;
mod desugar;
mod dialect;
mod error;
mod field_names;
mod foreign_option;
mod functions;
mod insert;
mod lower;
mod optimize;
mod options;
mod script;
mod sql_type;
mod table_source;
mod typing;
mod upsert;
mod window_tvf;

pub use error::{SqlError, SqlErrorKind};
pub use options::{check_setting, under_own_names};

use context::Context;
use data_type::word_follows;
use error::from_parser;
use script::{StatementTokens, position_of, statements};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use streamfleet_logical::{ConnectorDescriptor, FormatDescriptor, Node, Position, SettingSpec};

/// The setting that says whether results are given as rows come, or when the input has ended.
pub const RUNTIME_MODE: &str = "execution.runtime-mode";

/// What connectors, formats and settings there are.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The connectors.
    pub connectors: Vec<ConnectorDescriptor>,
    /// The formats.
    pub formats: Vec<FormatDescriptor>,
    /// The settings that a script may `SET`.
    pub settings: Vec<SettingSpec>,
    /// Settings that hold where the script sets none.
    pub defaults: BTreeMap<String, String>,
    /// Settings that go before the script's.
    pub overrides: BTreeMap<String, String>,
}

/// Something that is allowed, but that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub position: Position,
    /// What.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.text)
    }
}

/// A compiled script.
#[derive(Debug)]
pub struct Program {
    /// One sink per `INSERT INTO`.
    pub sinks: Vec<Arc<Node>>,
    /// What the script has `SET`.
    pub settings: BTreeMap<String, String>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// Compiles a script.
///
/// # Errors
/// Anything that is wrong with it, with its place.
pub fn compile(script: &str, catalog: &Catalog) -> Result<Program, SqlError> {
    let mut compiler = Compiler {
        catalog,
        context: Context::new(),
        program: Program { sinks: Vec::new(), settings: BTreeMap::new(), warnings: Vec::new() },
        own_names: BTreeSet::new(),
    };
    for statement in statements(script)? {
        compiler.statement(&statement).map_err(|e| at_the_end(e, &statement))?;
    }
    Ok(compiler.program)
}

/// What is missing at the end is missed there, not where the statement begins.
fn at_the_end(mut error: SqlError, statement: &StatementTokens) -> SqlError {
    if let SqlErrorKind::Syntax(text) = &error.kind
        && text.ends_with("EOF")
    {
        error.position = statement.end();
    }
    error
}

pub(crate) struct Compiler<'a> {
    pub catalog: &'a Catalog,
    pub context: Context,
    pub program: Program,
    /// Settings that the script has set under their own names.
    own_names: BTreeSet<String>,
}

impl Compiler<'_> {
    fn statement(&mut self, statement: &StatementTokens) -> Result<(), SqlError> {
        let tokens = without_table_words(&statement.tokens);
        let mut parser = Parser::new(&dialect::FlinkDialect).with_tokens_with_locations(tokens);
        let position = statement.position();
        if word_follows(&mut parser, "CREATE") {
            let is_temporary = word_follows(&mut parser, "TEMPORARY");
            if is_temporary {
                word_follows(&mut parser, "SYSTEM");
            }
            if word_follows(&mut parser, "TABLE") {
                let declaration = ddl::parse_create_table(&mut parser)?;
                end(&mut parser)?;
                return self.create_table(statement, declaration);
            }
            if word_follows(&mut parser, "VIEW") {
                return self.create_view(statement, &mut parser);
            }
            if word_follows(&mut parser, "FUNCTION") {
                return self.create_function(&mut parser);
            }
            let token = parser.peek_token();
            return Err(SqlErrorKind::Unsupported(format!("CREATE {token}")).at(position_of(&token)));
        }
        if word_follows(&mut parser, "SET") {
            return self.set(&mut parser);
        }
        if word_follows(&mut parser, "INSERT") {
            return self.insert(statement, &mut parser);
        }
        let token = parser.peek_token();
        let what = match token.token.to_string().to_uppercase().as_str() {
            word @ ("DROP" | "ALTER" | "USE" | "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" | "UPDATE" | "DELETE"
            | "ADD" | "RESET" | "REMOVE" | "LOAD" | "UNLOAD" | "CALL" | "ANALYZE" | "TRUNCATE" | "COMPILE"
            | "EXECUTE") => {
                format!("{word} in a job's script")
            }
            "SELECT" | "WITH" => "a query without INSERT INTO: say where its rows go".to_owned(),
            _ => {
                let text = format!("expected a statement, found {token}");
                return Err(SqlErrorKind::Syntax(text).at(position));
            }
        };
        Err(SqlErrorKind::Unsupported(what).at(position))
    }

    fn set(&mut self, parser: &mut Parser<'_>) -> Result<(), SqlError> {
        let text = |parser: &mut Parser<'_>| {
            let token = parser.next_token();
            match &token.token {
                Token::SingleQuotedString(text) => Ok((text.clone(), position_of(&token))),
                _ => {
                    let message = format!("expected 'key' = 'value' in single quotes, found {token}");
                    Err(SqlErrorKind::Syntax(message).at(position_of(&token)))
                }
            }
        };
        let (key, position) = text(parser)?;
        data_type::expect(parser, &Token::Eq)?;
        let (value, _) = text(parser)?;
        end(parser)?;
        let note = check_setting(&self.catalog.settings, &key, &value).map_err(|kind| kind.at(position))?;
        self.program.warnings.extend(note.map(|text| Warning { position, text }));
        let spec = options::setting_of(&self.catalog.settings, &key);
        let own = spec.map_or_else(|| key.clone(), |spec| spec.option.name.to_owned());
        // What is set under a setting's own name counts more than under an older one, in whatever order.
        if own == key {
            self.own_names.insert(own.clone());
        } else if self.own_names.contains(&own) {
            return Ok(());
        }
        self.program.settings.insert(own, value);
        Ok(())
    }

    /// The value of a setting for the statement at hand.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        let places = [&self.catalog.overrides, &self.program.settings, &self.catalog.defaults];
        places.into_iter().find_map(|values| values.get(key)).map(String::as_str)
    }

    fn create_function(&mut self, parser: &mut Parser<'_>) -> Result<(), SqlError> {
        ddl::if_not_exists(parser)?;
        let position = position_of(&parser.peek_token());
        let name = parser.parse_identifier().map_err(|e| from_parser(&e, position))?;
        data_type::words(parser, &["AS"])?;
        let token = parser.next_token();
        let Token::SingleQuotedString(class) = &token.token else {
            let text = format!("expected a class name in single quotes, found {token}");
            return Err(SqlErrorKind::Syntax(text).at(position_of(&token)));
        };
        if word_follows(parser, "LANGUAGE") {
            parser.next_token();
        }
        end(parser)?;
        let Some(function) = self.context.functions.of_class(class) else {
            let what = format!("the function class {class}: there is no JVM here, so it");
            return Err(SqlErrorKind::Unsupported(what).at(position_of(&token)));
        };
        self.context.functions.scalars.insert(name.value.to_lowercase(), function);
        Ok(())
    }
}

/// Nothing may follow.
pub(crate) fn end(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    let token = parser.peek_token();
    if token.token == Token::EOF {
        return Ok(());
    }
    let text = format!("expected the end of the statement, found {token}");
    Err(SqlErrorKind::Syntax(text).at(position_of(&token)))
}

/// The tokens without the word TABLE before a window function's table: `TUMBLE(TABLE t, ..)`, `TUMBLE(DATA => TABLE t, ..)`.
fn without_table_words(tokens: &[sqlparser::tokenizer::TokenWithSpan]) -> Vec<sqlparser::tokenizer::TokenWithSpan> {
    let mut kept: Vec<sqlparser::tokenizer::TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut last = Token::EOF;
    let solid: Vec<&sqlparser::tokenizer::TokenWithSpan> =
        tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    for (index, token) in solid.iter().enumerate() {
        let is_table =
            matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("TABLE"));
        let before_name = solid.get(index + 1).is_some_and(|next| matches!(next.token, Token::Word(_) | Token::LParen));
        let is_one_of = |token: &Token, words: &[&str]| matches!(token, Token::Word(w) if words.iter().any(|word| w.value.eq_ignore_ascii_case(word)));
        let of_window = index >= 2
            && match last {
                Token::LParen => is_one_of(&solid[index - 2].token, &["TUMBLE", "HOP", "CUMULATE", "SESSION"]),
                Token::RArrow => is_one_of(&solid[index - 2].token, &["DATA"]),
                _ => false,
            };
        last = token.token.clone();
        if !(is_table && before_name && of_window) {
            kept.push((*token).clone());
        }
    }
    kept
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

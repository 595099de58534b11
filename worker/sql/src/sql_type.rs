//! SQL types: Arrow's under Flink's names, with the lengths that only conversions know of.

use crate::data_type::{self, LOCAL_ZONE};
use crate::dialect::FlinkDialect;
use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::fmt;
use streamfleet_logical::type_name;

/// The type that a conversion is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SqlType {
    pub data_type: DataType,
    pub length: Option<Length>,
}

/// How long a text or byte string may be; the rest is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Length {
    /// Exactly as long: filled up.
    Fixed(usize),
    /// At most as long.
    Most(usize),
}

impl From<DataType> for SqlType {
    fn from(data_type: DataType) -> Self {
        Self { data_type, length: None }
    }
}

impl SqlType {
    /// The type with this text, as `CAST(.. AS ..)` has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = Tokenizer::new(&FlinkDialect, text).tokenize_with_location().map_err(|e| e.message)?;
        let words: Vec<Token> =
            tokens.iter().map(|t| t.token.clone()).filter(|t| !matches!(t, Token::Whitespace(_))).collect();
        let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens);
        let (data_type, _) = data_type::parse_type(&mut parser).map_err(|e| e.kind.to_string())?;
        if parser.peek_token().token != Token::EOF {
            return Err(format!("the type {text} in a cast is not supported"));
        }
        let Some(Token::Word(word)) = words.first() else { return Ok(data_type.into()) };
        let number = match words.get(2) {
            Some(Token::Number(digits, _)) => digits.parse::<usize>().ok(),
            _ => None,
        };
        let name = word.value.to_uppercase();
        Ok(match (name.as_str(), number) {
            ("CHAR" | "BINARY", n) => Self { data_type, length: Some(Length::Fixed(n.unwrap_or(1))) },
            ("VARCHAR" | "VARBINARY", Some(n)) => Self { data_type, length: Some(Length::Most(n)) },
            ("TIME", Some(1..)) => return Err("TIME with fractions of a second in a cast is not supported".to_owned()),
            ("TIMESTAMP" | "TIMESTAMP_LTZ", Some(0)) => {
                let zone = matches!(data_type, DataType::Timestamp(_, Some(_))).then(|| LOCAL_ZONE.into());
                DataType::Timestamp(TimeUnit::Second, zone).into()
            }
            ("TIMESTAMP" | "TIMESTAMP_LTZ", Some(1 | 2 | 4 | 5 | 7..)) => {
                return Err(format!("{text} in a cast is not supported: use the precision 0, 3 or 6"));
            }
            _ => data_type.into(),
        })
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_text = self.data_type == DataType::Utf8;
        match (self.length, is_text) {
            (Some(Length::Fixed(n)), true) => write!(f, "CHAR({n})"),
            (Some(Length::Fixed(n)), false) => write!(f, "BINARY({n})"),
            (Some(Length::Most(n)), true) => write!(f, "VARCHAR({n})"),
            (Some(Length::Most(n)), false) => write!(f, "VARBINARY({n})"),
            (None, _) => f.write_str(&type_name(&self.data_type)),
        }
    }
}

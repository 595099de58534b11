//! Flink's type names as Arrow types.

use crate::error::{SqlError, SqlErrorKind, from_parser};
use crate::script::position_of;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::sync::Arc;

/// The zone of `TIMESTAMP_LTZ`: instants are kept in UTC.
pub(crate) const LOCAL_ZONE: &str = "UTC";

/// Parses a type, with `NOT NULL` if it follows: the type, and whether it is nullable.
pub(crate) fn parse_type(parser: &mut Parser<'_>) -> Result<(DataType, bool), SqlError> {
    let token = parser.next_token();
    let position = position_of(&token);
    let Token::Word(word) = &token.token else {
        return Err(SqlErrorKind::Syntax(format!("expected a type, found {token}")).at(position));
    };
    let name = word.value.to_uppercase();
    let data_type = match name.as_str() {
        "STRING" => DataType::Utf8,
        "VARCHAR" | "CHAR" => {
            numbers(parser)?;
            DataType::Utf8
        }
        "BOOLEAN" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "FLOAT" => DataType::Float32,
        "DOUBLE" => {
            word_follows(parser, "PRECISION");
            DataType::Float64
        }
        "DECIMAL" | "DEC" | "NUMERIC" => match numbers(parser)?[..] {
            [] => DataType::Decimal128(10, 0),
            [precision] => DataType::Decimal128(precision as u8, 0),
            [precision, scale, ..] => DataType::Decimal128(precision as u8, scale as i8),
        },
        "DATE" => DataType::Date32,
        "TIME" => {
            numbers(parser)?;
            DataType::Time32(TimeUnit::Millisecond)
        }
        "BYTES" => DataType::Binary,
        "BINARY" | "VARBINARY" => {
            numbers(parser)?;
            DataType::Binary
        }
        "TIMESTAMP" | "TIMESTAMP_LTZ" => {
            let precision = numbers(parser)?.first().copied().unwrap_or(6);
            let mut local = name == "TIMESTAMP_LTZ";
            if word_follows(parser, "WITHOUT") {
                words(parser, &["TIME", "ZONE"])?;
            } else if word_follows(parser, "WITH") {
                words(parser, &["LOCAL", "TIME", "ZONE"])?;
                local = true;
            }
            // Event time has milliseconds; what a declaration asks beyond is kept in microseconds.
            let unit = if precision <= 3 { TimeUnit::Millisecond } else { TimeUnit::Microsecond };
            DataType::Timestamp(unit, local.then(|| LOCAL_ZONE.into()))
        }
        "ARRAY" => {
            let (element, nullable) = one_parameter(parser)?;
            DataType::List(Arc::new(Field::new("element", element, nullable)))
        }
        "MAP" => {
            expect(parser, &Token::Lt)?;
            let (key, _) = parse_type(parser)?;
            expect(parser, &Token::Comma)?;
            let (value, nullable) = parse_type(parser)?;
            close_angle(parser)?;
            let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, nullable)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        "ROW" => DataType::Struct(row_fields(parser)?),
        _ => {
            let known = [
                "STRING",
                "VARCHAR",
                "CHAR",
                "BOOLEAN",
                "TINYINT",
                "SMALLINT",
                "INT",
                "BIGINT",
                "FLOAT",
                "DOUBLE",
                "DECIMAL",
                "DATE",
                "TIME",
                "BYTES",
                "TIMESTAMP",
                "TIMESTAMP_LTZ",
                "ARRAY",
                "MAP",
                "ROW",
            ];
            return Err(SqlErrorKind::unknown("type", &word.value, "", known).at(position));
        }
    };
    if let DataType::Decimal128(precision, scale) = data_type
        && (precision == 0 || precision > 38 || scale < 0 || scale as u8 > precision)
    {
        let text = format!("DECIMAL({precision}, {scale}): precision is 1 to 38, scale 0 to precision");
        return Err(SqlErrorKind::Type(text).at(position));
    }
    let nullable = if word_follows(parser, "NOT") {
        words(parser, &["NULL"])?;
        false
    } else {
        word_follows(parser, "NULL");
        true
    };
    Ok((data_type, nullable))
}

fn row_fields(parser: &mut Parser<'_>) -> Result<Fields, SqlError> {
    let angle = !parser.consume_token(&Token::LParen);
    if angle {
        expect(parser, &Token::Lt)?;
    }
    let mut fields = Vec::new();
    loop {
        let position = position_of(&parser.peek_token());
        let name = parser.parse_identifier().map_err(|e| from_parser(&e, position))?;
        let (data_type, nullable) = parse_type(parser)?;
        if word_follows(parser, "COMMENT") {
            parser.next_token();
        }
        fields.push(Field::new(name.value, data_type, nullable));
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if angle {
        close_angle(parser)?;
    } else {
        expect(parser, &Token::RParen)?;
    }
    Ok(fields.into())
}

fn one_parameter(parser: &mut Parser<'_>) -> Result<(DataType, bool), SqlError> {
    expect(parser, &Token::Lt)?;
    let parameter = parse_type(parser)?;
    close_angle(parser)?;
    Ok(parameter)
}

/// A closing `>`. The script's reader has taken `>>` apart inside of types.
fn close_angle(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    expect(parser, &Token::Gt)
}

/// `(n, ..)`, if it follows.
fn numbers(parser: &mut Parser<'_>) -> Result<Vec<u32>, SqlError> {
    let mut found = Vec::new();
    if !parser.consume_token(&Token::LParen) {
        return Ok(found);
    }
    loop {
        let token = parser.next_token();
        match &token.token {
            Token::Number(text, _) if text.parse::<u32>().is_ok() => found.extend(text.parse::<u32>()),
            _ => {
                let text = format!("expected a number, found {token}");
                return Err(SqlErrorKind::Syntax(text).at(position_of(&token)));
            }
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(parser, &Token::RParen)?;
    Ok(found)
}

/// Takes a word, if it follows.
pub(crate) fn word_follows(parser: &mut Parser<'_>, expected: &str) -> bool {
    let is = matches!(&parser.peek_token().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(expected));
    if is {
        parser.next_token();
    }
    is
}

/// Takes words that must follow.
pub(crate) fn words(parser: &mut Parser<'_>, expected: &[&str]) -> Result<(), SqlError> {
    for word in expected {
        if !word_follows(parser, word) {
            let token = parser.peek_token();
            return Err(SqlErrorKind::Syntax(format!("expected {word}, found {token}")).at(position_of(&token)));
        }
    }
    Ok(())
}

/// Takes a token that must follow.
pub(crate) fn expect(parser: &mut Parser<'_>, expected: &Token) -> Result<(), SqlError> {
    let position = position_of(&parser.peek_token());
    parser.expect_token(expected).map(|_| ()).map_err(|e| from_parser(&e, position))
}

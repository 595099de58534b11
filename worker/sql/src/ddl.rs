//! `CREATE TABLE` as written: names, types and expressions, not yet resolved.

use crate::data_type::{expect, parse_type, word_follows, words};
use crate::error::{SqlError, SqlErrorKind, from_parser};
use crate::script::position_of;
use arrow::datatypes::DataType;
use sqlparser::ast::Expr;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::collections::BTreeMap;
use streamfleet_logical::Position;

/// A column as declared.
#[derive(Debug)]
pub(crate) struct ColumnDeclaration {
    pub name: String,
    pub position: Position,
    pub kind: DeclaredKind,
}

#[derive(Debug)]
pub(crate) enum DeclaredKind {
    Physical { data_type: DataType, nullable: bool },
    Metadata { data_type: DataType, nullable: bool, key: String, is_virtual: bool },
    Computed(Box<Expr>),
}

/// A table as declared.
#[derive(Debug)]
pub(crate) struct TableDeclaration {
    pub name: String,
    pub position: Position,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDeclaration>,
    pub watermark: Option<(String, Expr, Position)>,
    pub primary_key: Vec<(String, Position)>,
    pub partitioned_by: Vec<(String, Position)>,
    pub options: BTreeMap<String, String>,
    pub option_positions: BTreeMap<String, Position>,
}

fn identifier(parser: &mut Parser<'_>) -> Result<(String, Position), SqlError> {
    let position = position_of(&parser.peek_token());
    let identifier = parser.parse_identifier().map_err(|e| from_parser(&e, position))?;
    Ok((identifier.value, position))
}

fn expression(parser: &mut Parser<'_>) -> Result<Expr, SqlError> {
    let position = position_of(&parser.peek_token());
    parser.parse_expr().map_err(|e| from_parser(&e, position))
}

fn string(parser: &mut Parser<'_>) -> Result<(String, Position), SqlError> {
    let token = parser.next_token();
    match token.token {
        Token::SingleQuotedString(ref text) => Ok((text.clone(), position_of(&token))),
        _ => {
            let text = format!("expected a string in single quotes, found {token}");
            Err(SqlErrorKind::Syntax(text).at(position_of(&token)))
        }
    }
}

fn name_list(parser: &mut Parser<'_>) -> Result<Vec<(String, Position)>, SqlError> {
    expect(parser, &Token::LParen)?;
    let mut names = vec![identifier(parser)?];
    while parser.consume_token(&Token::Comma) {
        names.push(identifier(parser)?);
    }
    expect(parser, &Token::RParen)?;
    Ok(names)
}

/// `IF NOT EXISTS`, if it follows.
pub(crate) fn if_not_exists(parser: &mut Parser<'_>) -> Result<bool, SqlError> {
    if !word_follows(parser, "IF") {
        return Ok(false);
    }
    words(parser, &["NOT", "EXISTS"])?;
    Ok(true)
}

/// Parses what follows `CREATE [TEMPORARY] TABLE`.
pub(crate) fn parse_create_table(parser: &mut Parser<'_>) -> Result<TableDeclaration, SqlError> {
    let if_not_exists = if_not_exists(parser)?;
    let (name, position) = identifier(parser)?;
    let mut table = TableDeclaration {
        name,
        position,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        partitioned_by: Vec::new(),
        options: BTreeMap::new(),
        option_positions: BTreeMap::new(),
    };
    refuse_copies(parser)?;
    expect(parser, &Token::LParen)?;
    loop {
        parse_element(parser, &mut table)?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(parser, &Token::RParen)?;
    if word_follows(parser, "COMMENT") {
        string(parser)?;
    }
    if word_follows(parser, "PARTITIONED") {
        words(parser, &["BY"])?;
        table.partitioned_by = name_list(parser)?;
    }
    refuse_copies(parser)?;
    words(parser, &["WITH"])?;
    expect(parser, &Token::LParen)?;
    loop {
        let (key, position) = string(parser)?;
        expect(parser, &Token::Eq)?;
        let (value, _) = string(parser)?;
        if table.options.insert(key.clone(), value).is_some() {
            return Err(SqlErrorKind::Option(format!("option '{key}' is given twice")).at(position));
        }
        table.option_positions.insert(key, position);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(parser, &Token::RParen)?;
    refuse_copies(parser)?;
    Ok(table)
}

/// Tables that are made after a query or another table are refused by name.
fn refuse_copies(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    let position = position_of(&parser.peek_token());
    let what = if word_follows(parser, "AS") {
        "CREATE TABLE .. AS SELECT"
    } else if word_follows(parser, "LIKE") {
        "CREATE TABLE .. LIKE"
    } else {
        return Ok(());
    };
    Err(SqlErrorKind::Unsupported(what.to_owned()).at(position))
}

fn parse_element(parser: &mut Parser<'_>, table: &mut TableDeclaration) -> Result<(), SqlError> {
    if word_follows(parser, "CONSTRAINT") {
        identifier(parser)?;
    }
    if word_follows(parser, "PRIMARY") {
        words(parser, &["KEY"])?;
        table.primary_key = name_list(parser)?;
        let position = position_of(&parser.peek_token());
        if !(word_follows(parser, "NOT") && word_follows(parser, "ENFORCED")) {
            let text = "a primary key must be NOT ENFORCED: the data is not owned here".to_owned();
            return Err(SqlErrorKind::Invalid(text).at(position));
        }
        return Ok(());
    }
    if word_follows(parser, "WATERMARK") {
        words(parser, &["FOR"])?;
        let (column, position) = identifier(parser)?;
        words(parser, &["AS"])?;
        let expression = expression(parser)?;
        if table.watermark.replace((column, expression, position)).is_some() {
            return Err(SqlErrorKind::Invalid("a table has one watermark".to_owned()).at(position));
        }
        return Ok(());
    }
    let (name, position) = identifier(parser)?;
    let kind = if word_follows(parser, "AS") {
        DeclaredKind::Computed(Box::new(expression(parser)?))
    } else {
        let (data_type, nullable) = parse_type(parser)?;
        if word_follows(parser, "METADATA") {
            let key = if word_follows(parser, "FROM") { string(parser)?.0 } else { name.clone() };
            let is_virtual = word_follows(parser, "VIRTUAL");
            DeclaredKind::Metadata { data_type, nullable, key, is_virtual }
        } else if word_follows(parser, "PRIMARY") {
            words(parser, &["KEY", "NOT", "ENFORCED"])?;
            table.primary_key.push((name.clone(), position));
            DeclaredKind::Physical { data_type, nullable }
        } else {
            DeclaredKind::Physical { data_type, nullable }
        }
    };
    if word_follows(parser, "COMMENT") {
        string(parser)?;
    }
    if table.columns.iter().any(|c| c.name == name) {
        return Err(SqlErrorKind::Invalid(format!("column `{name}` is declared twice")).at(position));
    }
    table.columns.push(ColumnDeclaration { name, position, kind });
    Ok(())
}

//! Messages about changes to rows with their kinds.

use super::{ChangeOptions, Dialect};
use crate::format::json::decode::{JsonDecoder, text_of};
use crate::format::json::parser::{Parser, Token, Wrong};
use crate::format::message::{BadMessage, DecodedMessages, MessageDecoder};
use arrow::array::Int8Array;
use arrow::datatypes::SchemaRef;
use regex::Regex;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::RowKind;

/// Decodes one change, or several, a message.
pub(in crate::format) struct ChangeDecoder {
    options: ChangeOptions,
    rows: Gathered,
    bad: Vec<BadMessage>,
    taken: u32,
}

/// Rows with their kinds.
struct Gathered {
    decoder: JsonDecoder,
    /// Of the rows that stay.
    kinds: Vec<i8>,
    /// The message of each of these.
    origins: Vec<u32>,
}

impl Gathered {
    /// A row of a message; with `otherwise` the fields that the first object lacks are those of the second.
    fn row(&mut self, kind: RowKind, text: &str, otherwise: Option<&str>, number: u32) -> Result<(), String> {
        self.decoder.object(text, otherwise)?;
        self.kinds.push(kind as i8);
        self.origins.push(number);
        Ok(())
    }
}

impl ChangeDecoder {
    pub fn new(schema: SchemaRef, options: &ChangeOptions) -> Result<Self, DataflowError> {
        let decoder = JsonDecoder::new(schema, &options.json)?;
        let rows = Gathered { decoder, kinds: Vec::new(), origins: Vec::new() };
        Ok(Self { options: options.clone(), rows, bad: Vec::new(), taken: 0 })
    }
}

impl MessageDecoder for ChangeDecoder {
    fn take(&mut self, message: &[u8]) {
        let number = self.taken;
        self.taken += 1;
        // A message without a value marks, for a compacted log, that a deletion came before.
        if message.is_empty() {
            return;
        }
        let (first, given) = (self.rows.decoder.rows_mut().rows(), self.rows.kinds.len());
        let changes = text_of(message.trim_ascii()).and_then(|text| match self.options.dialect {
            Dialect::Debezium => debezium(&mut self.rows, text, number, self.options.has_schema),
            Dialect::Canal => canal(&mut self.rows, text, number, &self.options),
            Dialect::Maxwell => maxwell(&mut self.rows, text, number),
        });
        if let Err(reason) = changes {
            // A change is taken as a whole or not at all.
            self.rows.decoder.rows_mut().leave_out(first);
            self.rows.kinds.truncate(given);
            self.rows.origins.truncate(given);
            self.bad.push(BadMessage { number, reason });
        }
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        self.taken = 0;
        let decoded = self.rows.decoder.rows_mut().finish(0)?;
        let kinds = std::mem::take(&mut self.rows.kinds);
        let inserts_only = kinds.iter().all(|k| *k == RowKind::Insert as i8);
        Ok(DecodedMessages {
            records: decoded.records,
            kinds: (!inserts_only).then(|| Int8Array::from(kinds)),
            origins: Some(std::mem::take(&mut self.rows.origins)),
            bad: std::mem::take(&mut self.bad),
            nulled: decoded.nulled,
        })
    }
}

const NO_JSON: &str = "the record is no JSON";

/// The values of some members of an object, as they are written; the last of one name counts, and `null` is none.
fn members<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Result<[Option<&'a str>; N], String> {
    let mut found = [None; N];
    let mut parser = Parser::new(text);
    let mut walk = || -> Result<bool, Wrong> {
        if parser.token()? != Token::Object {
            return Ok(false);
        }
        let mut follows = parser.object()?;
        while follows {
            let place = parser.key()?.plain().and_then(|key| names.iter().position(|name| *name == key));
            parser.skip_space();
            let start = parser.at;
            let token = parser.skip_value()?;
            if let Some(place) = place {
                found[place] = (token != Token::Null).then(|| parser.since(start));
            }
            follows = parser.goes_on(b'}')?;
        }
        parser.end().map(|()| true)
    };
    match walk() {
        Ok(true) => Ok(found),
        Ok(false) => Err("the record is no JSON object".to_owned()),
        Err(wrong) => Err(format!("{NO_JSON}: {wrong}")),
    }
}

/// The elements of an array, as they are written.
fn elements<'a>(text: &'a str, name: &str) -> Result<Vec<&'a str>, String> {
    let mut found = Vec::new();
    let mut parser = Parser::new(text);
    let mut walk = || -> Result<bool, Wrong> {
        if parser.token()? != Token::Array {
            return Ok(false);
        }
        let mut follows = !parser.follows(b']');
        while follows {
            parser.skip_space();
            let start = parser.at;
            parser.skip_value()?;
            found.push(parser.since(start));
            follows = parser.goes_on(b']')?;
        }
        Ok(true)
    };
    match walk() {
        Ok(true) => Ok(found),
        Ok(false) => Err(format!("its `{name}` is no array")),
        Err(wrong) => Err(format!("{NO_JSON}: {wrong}")),
    }
}

/// A string's inside.
fn string(text: &str) -> Option<String> {
    match Parser::new(text).token() {
        Ok(Token::Text(text)) => text.unescaped(&mut String::new()).map(str::to_owned),
        _ => None,
    }
}

fn needed<'a>(value: Option<&'a str>, name: &str, of: &str) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("a change of type {of} has no `{name}`"))
}

/// Why an update or a deletion cannot be read.
pub(in crate::format) fn before_is_missing(of: &str) -> String {
    format!("the `before` of {of} is NULL: a table in PostgreSQL needs REPLICA IDENTITY FULL to give it")
}

/// Why a message is no change.
pub(in crate::format) fn unknown_operation(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("its `{name}` is {value}, which is no kind of change known here"),
        None => format!("it has no `{name}`: it is no message about a change"),
    }
}

fn debezium(rows: &mut Gathered, text: &str, number: u32, has_schema: bool) -> Result<(), String> {
    let text = match has_schema {
        false => text,
        true => {
            let [payload] = members(text, ["payload"])?;
            payload.ok_or("it has no `payload`: 'schema-include' is for messages with their schema")?
        }
    };
    let [before, after, op] = members(text, ["before", "after", "op"])?;
    let before = |of: &str| before.ok_or_else(|| before_is_missing(of));
    match op {
        Some("\"c\"" | "\"r\"") => rows.row(RowKind::Insert, needed(after, "after", "insert")?, None, number),
        Some("\"u\"") => {
            rows.row(RowKind::UpdateBefore, before("an update")?, None, number)?;
            rows.row(RowKind::UpdateAfter, needed(after, "after", "update")?, None, number)
        }
        Some("\"d\"") => rows.row(RowKind::Delete, before("a deletion")?, None, number),
        other => Err(unknown_operation("op", other)),
    }
}

fn canal(rows: &mut Gathered, text: &str, number: u32, options: &ChangeOptions) -> Result<(), String> {
    let [data, old, kind, database, table] = members(text, ["data", "old", "type", "database", "table"])?;
    let is_wanted = |pattern: &Option<Regex>, name: Option<&str>| match pattern {
        None => true,
        Some(pattern) => name.and_then(string).is_some_and(|name| pattern.is_match(&name)),
    };
    if !is_wanted(&options.database, database) || !is_wanted(&options.table, table) {
        return Ok(());
    }
    match kind {
        Some("\"INSERT\"") => {
            let data = elements(needed(data, "data", "INSERT")?, "data")?;
            data.into_iter().try_for_each(|row| rows.row(RowKind::Insert, row, None, number))
        }
        Some("\"DELETE\"") => {
            let data = elements(needed(data, "data", "DELETE")?, "data")?;
            data.into_iter().try_for_each(|row| rows.row(RowKind::Delete, row, None, number))
        }
        Some("\"UPDATE\"") => {
            let data = elements(needed(data, "data", "UPDATE")?, "data")?;
            let old = elements(needed(old, "old", "UPDATE")?, "old")?;
            if data.len() != old.len() {
                return Err(format!("{} rows in `data`, but {} in `old`", data.len(), old.len()));
            }
            data.into_iter().zip(old).try_for_each(|(after, changed)| {
                rows.row(RowKind::UpdateBefore, changed, Some(after), number)?;
                rows.row(RowKind::UpdateAfter, after, None, number)
            })
        }
        // A table was made: no row has changed.
        Some("\"CREATE\"") => Ok(()),
        other => Err(unknown_operation("type", other)),
    }
}

fn maxwell(rows: &mut Gathered, text: &str, number: u32) -> Result<(), String> {
    let [data, old, kind] = members(text, ["data", "old", "type"])?;
    match kind {
        Some("\"insert\"") => rows.row(RowKind::Insert, needed(data, "data", "insert")?, None, number),
        Some("\"delete\"") => rows.row(RowKind::Delete, needed(data, "data", "delete")?, None, number),
        Some("\"update\"") => {
            let after = needed(data, "data", "update")?;
            let changed = needed(old, "old", "update")?;
            rows.row(RowKind::UpdateBefore, changed, Some(after), number)?;
            rows.row(RowKind::UpdateAfter, after, None, number)
        }
        other => Err(unknown_operation("type", other)),
    }
}

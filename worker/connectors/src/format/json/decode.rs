//! JSON lines to columns.

use super::JsonOptions;
use super::parser::{Parser, Token, Wrong, compact};
use crate::format::column::{Column, Values};
use crate::format::message::{DecodedMessages, MessageDecoder};
use crate::format::rows::{Fate, Rows};
use crate::format::{BATCH_ROWS, Decoded, RecordDecoder};
use arrow::datatypes::SchemaRef;
use std::collections::HashMap;
use streamfleet_dataflow::DataflowError;

/// Finds fields by their names; the names mostly come in the same order.
struct Names {
    places: HashMap<String, usize>,
    in_order: Vec<String>,
}

impl Names {
    fn find(&self, name: &str, expected: usize) -> Option<usize> {
        if self.in_order.get(expected).is_some_and(|n| n == name) {
            return Some(expected);
        }
        self.places.get(name).copied()
    }
}

/// Buffers that are used again for every value.
#[derive(Default)]
struct Scratch {
    text: String,
    /// The text of a map's key.
    key: String,
    /// Where the fields of the rows at hand begin, the innermost row's last.
    places: Vec<Option<usize>>,
}

/// What came of reading an object in one pass.
enum Pass {
    /// Every field that it has was taken.
    Done,
    /// A field comes twice: the last one counts, but the first was taken.
    Twice,
    /// It is no JSON object.
    Wrong(String),
}

/// Decodes one object a line, or a message.
pub(in crate::format) struct JsonDecoder {
    names: Names,
    fail_on_missing_field: bool,
    rows: Rows,
    /// Where in the object the value of each column begins.
    places: Vec<Option<usize>>,
    /// The same in the object whose fields count where the first one lacks them.
    other_places: Vec<Option<usize>>,
    scratch: Scratch,
}

impl JsonDecoder {
    pub fn new(schema: SchemaRef, options: &JsonOptions) -> Result<Self, DataflowError> {
        let in_order: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let places = in_order.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Ok(Self {
            names: Names { places, in_order },
            fail_on_missing_field: options.fail_on_missing_field,
            rows: Rows::new(schema, options.rules(), options.ignore_parse_errors)?,
            places: Vec::new(),
            other_places: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// The rows, for who ends them himself.
    pub const fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    fn clear_places(&mut self) {
        self.places.clear();
        self.places.resize(self.names.in_order.len(), None);
    }

    /// Takes an object as a row, and ends the row. Fields that the object lacks are those of `otherwise`, if there is one.
    /// `Err`: why there is no row.
    pub fn object(&mut self, text: &str, otherwise: Option<&str>) -> Result<(), String> {
        let nulled = self.rows.fate.nulled();
        if otherwise.is_none() {
            match self.read_at_once(text) {
                Pass::Done => return self.rows.close_row(),
                Pass::Twice => self.give_up_row(nulled),
                Pass::Wrong(reason) => {
                    self.give_up_row(nulled);
                    return Err(reason);
                }
            }
        }
        self.other_places.clear();
        self.other_places.resize(self.names.in_order.len(), None);
        if let Some(otherwise) = otherwise {
            self.find_values(otherwise)?;
            std::mem::swap(&mut self.places, &mut self.other_places);
        }
        self.find_values(text)?;
        let Rows { columns, fate, .. } = &mut self.rows;
        let mut reader = Reader { fail_on_missing_field: self.fail_on_missing_field, fate, scratch: &mut self.scratch };
        for (index, column) in columns.iter_mut().enumerate() {
            let other = || otherwise.zip(self.other_places[index]);
            match self.places[index].map(|at| (text, at)).or_else(other) {
                Some((text, at)) => {
                    let mut parser = Parser::new(text);
                    parser.at = at;
                    reader.value(column, &mut parser);
                }
                None => missing(column, reader.fate, self.fail_on_missing_field),
            }
        }
        self.rows.close_row()
    }

    /// Ends a row that not all columns have taken a value of.
    fn give_up_row(&mut self, nulled: u64) {
        for (column, place) in self.rows.columns.iter_mut().zip(&self.places) {
            if place.is_none() {
                column.take_filler();
            }
        }
        self.rows.fate.forget(nulled);
        self.rows.void_row();
    }

    /// Reads an object's values into the columns while it is checked. Columns without a place have taken nothing then, but
    /// when it is done.
    fn read_at_once(&mut self, text: &str) -> Pass {
        self.clear_places();
        let Rows { columns, fate, .. } = &mut self.rows;
        let mut reader = Reader { fail_on_missing_field: self.fail_on_missing_field, fate, scratch: &mut self.scratch };
        let mut parser = Parser::new(text);
        let mut walk = || -> Result<Option<Pass>, Wrong> {
            if parser.token()? != Token::Object {
                return Ok(Some(Pass::Wrong("the record is no JSON object".to_owned())));
            }
            let (mut members, mut expected) = (parser.object()?, 0);
            while members {
                let name = parser.key()?.unescaped(&mut reader.scratch.text).and_then(|n| self.names.find(n, expected));
                match name {
                    Some(place) if self.places[place].is_some() => return Ok(Some(Pass::Twice)),
                    Some(place) => {
                        parser.skip_space();
                        let start = parser.at;
                        reader.unchecked_value(&mut columns[place], &mut parser)?;
                        self.places[place] = Some(start);
                        expected = place + 1;
                    }
                    None => {
                        parser.skip_value()?;
                    }
                }
                members = parser.goes_on(b'}')?;
            }
            parser.end().map(|()| None)
        };
        match walk() {
            Ok(None) => {}
            Ok(Some(pass)) => return pass,
            Err(wrong) => return Pass::Wrong(format!("the record is no JSON: {wrong}")),
        }
        for (column, place) in columns.iter_mut().zip(&self.places) {
            if place.is_none() {
                missing(column, reader.fate, self.fail_on_missing_field);
            }
        }
        Pass::Done
    }

    /// Checks a whole object and finds the values that are wanted; the last of one name counts.
    fn find_values(&mut self, text: &str) -> Result<(), String> {
        self.clear_places();
        let mut parser = Parser::new(text);
        let mut walk = || -> Result<bool, Wrong> {
            if parser.token()? != Token::Object {
                return Ok(false);
            }
            let (mut members, mut expected) = (parser.object()?, 0);
            while members {
                let name = parser.key()?.unescaped(&mut self.scratch.text).and_then(|n| self.names.find(n, expected));
                let start = parser.at;
                parser.skip_value()?;
                if let Some(place) = name {
                    self.places[place] = Some(start);
                    expected = place + 1;
                }
                members = parser.goes_on(b'}')?;
            }
            parser.end().map(|()| true)
        };
        match walk() {
            Ok(true) => Ok(()),
            Ok(false) => Err("the record is no JSON object".to_owned()),
            Err(wrong) => Err(format!("the record is no JSON: {wrong}")),
        }
    }

    fn take_line(&mut self, line: &[u8], start: usize, end: usize) {
        match text_of(line).and_then(|line| self.object(line, None)) {
            Ok(()) => self.rows.good(),
            Err(reason) => self.rows.bad(start, end, reason),
        }
    }
}

/// A record as text.
pub(super) fn text_of(record: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(record)
        .map_err(|error| format!("the record is no UTF-8 from its byte {} on", error.valid_up_to() + 1))
}

impl RecordDecoder for JsonDecoder {
    fn decode(&mut self, bytes: &[u8], at_end: bool) -> Result<Decoded, DataflowError> {
        let mut consumed = 0;
        while self.rows.seen() < BATCH_ROWS && consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let length = match memchr::memchr(b'\n', rest) {
                Some(end) => end + 1,
                None if at_end => rest.len(),
                None => break,
            };
            let line = rest[..length].trim_ascii();
            if !line.is_empty() {
                self.take_line(line, consumed, consumed + length);
            }
            consumed += length;
        }
        self.rows.finish(consumed)
    }
}

impl MessageDecoder for JsonDecoder {
    fn take(&mut self, message: &[u8]) {
        let number = self.rows.seen();
        self.take_line(message.trim_ascii(), number, number);
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

fn missing(column: &mut Column, fate: &mut Fate, is_error: bool) {
    if is_error {
        let name = &column.name;
        fate.drop_record(|| format!("field {name} is missing"));
        column.take_filler();
    } else {
        fate.null(column);
    }
}

/// A whole number of so few digits that none is lost; `None`: it is another.
fn short_integer(number: &str) -> Option<i64> {
    let bytes = number.as_bytes();
    let (is_negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return None;
    }
    let mut value = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if is_negative { -value } else { value })
}

/// Reads values out of a line that was checked.
struct Reader<'a> {
    fail_on_missing_field: bool,
    fate: &'a mut Fate,
    scratch: &'a mut Scratch,
}

impl Reader<'_> {
    /// Checks a value and reads it into a column; the parser stands behind it then. `Err`: the column has taken nothing.
    fn unchecked_value(&mut self, column: &mut Column, parser: &mut Parser<'_>) -> Result<(), Wrong> {
        let start = parser.at;
        let token = parser.token()?;
        let taken = match (&token, &mut column.values) {
            (Token::Number(number), Values::Int64(values)) => short_integer(number).map(|v| values.append_value(v)),
            (Token::Number(number), Values::Int32(values)) => {
                short_integer(number).and_then(|v| i32::try_from(v).ok()).map(|v| values.append_value(v))
            }
            (Token::Text(text), Values::Text(values)) => text.plain().map(|t| values.append_value(t)),
            _ => None,
        };
        match token {
            _ if taken.is_some() => {}
            Token::Object | Token::Array => {
                parser.at = start;
                parser.skip_value()?;
                let end = parser.at;
                parser.at = start;
                self.value(column, parser);
                parser.at = end;
            }
            token => self.scalar(column, token, parser.since(start)),
        }
        Ok(())
    }

    /// Reads a value into a column; the parser stands behind it then.
    fn value(&mut self, column: &mut Column, parser: &mut Parser<'_>) {
        parser.skip_space();
        let start = parser.at;
        // The line was checked: what is wrong here cannot come, and is no value either.
        let Ok(token) = parser.token() else { return self.fate.unfit(column, "?") };
        match (token, &mut column.values) {
            (Token::Object, Values::Row(_)) => {
                if self.row(column, parser).is_err() {
                    self.fate.drop_record(|| "a row that ends early".to_owned());
                }
            }
            (Token::Array, Values::List(list)) => {
                let mut elements = !parser.follows(b']');
                while elements {
                    self.value(&mut list.element, parser);
                    list.count();
                    elements = parser.goes_on(b']').unwrap_or(false);
                }
                list.end();
            }
            (Token::Object, Values::Map(map)) => {
                let mut entries = parser.object().unwrap_or(false);
                while entries {
                    let Ok(key) = parser.key() else { break };
                    let mut scratch = std::mem::take(&mut self.scratch.key);
                    match key.unescaped(&mut scratch) {
                        Some(key) => self.fate.text(&mut map.key, key),
                        None => self.fate.unfit(&mut map.key, parser.since(start)),
                    }
                    self.scratch.key = scratch;
                    self.value(&mut map.value, parser);
                    map.count();
                    entries = parser.goes_on(b'}').unwrap_or(false);
                }
                map.end();
            }
            (Token::Object | Token::Array, values) => {
                let is_text = matches!(values, Values::Text(_));
                parser.at = start;
                // Checked before, as above.
                let _ = parser.skip_value();
                let text = parser.since(start);
                if is_text {
                    compact(text, &mut self.scratch.text);
                    self.fate.text(column, &self.scratch.text);
                } else {
                    self.fate.unfit(column, text);
                }
            }
            (token, _) => self.scalar(column, token, parser.since(start)),
        }
    }

    /// Reads a value that holds no others; `written`: as it is written.
    fn scalar(&mut self, column: &mut Column, token: Token<'_>, written: &str) {
        match (token, &column.values) {
            (Token::Null, _) => self.fate.null(column),
            (Token::Text(text), _) => match text.unescaped(&mut self.scratch.text) {
                Some(text) => self.fate.text(column, text),
                None => self.fate.unfit(column, written),
            },
            (Token::Number(_) | Token::Boolean(_), Values::Bytes(..)) | (Token::Object | Token::Array, _) => {
                self.fate.unfit(column, written);
            }
            (Token::Number(number), _) => {
                let rules = self.fate.rules();
                if !column.take_text(number, rules) && !column.take_integral(number) {
                    self.fate.unfit(column, number);
                }
            }
            (Token::Boolean(value), _) => self.fate.text(column, if value { "true" } else { "false" }),
        }
    }

    fn row(&mut self, column: &mut Column, parser: &mut Parser<'_>) -> Result<(), Wrong> {
        let Values::Row(row) = &mut column.values else { return Ok(()) };
        // Where each field's value begins: the last of one name counts.
        let base = self.scratch.places.len();
        self.scratch.places.resize(base + row.columns.len(), None);
        let mut members = parser.object()?;
        while members {
            let key = parser.key()?;
            let name = key.unescaped(&mut self.scratch.text);
            let place = name.and_then(|name| row.columns.iter().position(|c| c.name == name));
            parser.skip_space();
            let start = parser.at;
            parser.skip_value()?;
            if let Some(place) = place {
                self.scratch.places[base + place] = Some(start);
            }
            members = parser.goes_on(b'}')?;
        }
        let end = parser.at;
        for (place, column) in row.columns.iter_mut().enumerate() {
            match self.scratch.places[base + place] {
                Some(at) => {
                    parser.at = at;
                    self.value(column, parser);
                }
                None => missing(column, self.fate, self.fail_on_missing_field),
            }
        }
        parser.at = end;
        self.scratch.places.truncate(base);
        row.end();
        Ok(())
    }
}

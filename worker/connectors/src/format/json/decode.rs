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

/// Decodes one object a line, or a message.
pub(in crate::format) struct JsonDecoder {
    names: Names,
    fail_on_missing_field: bool,
    rows: Rows,
    /// Where in the line the value of each column begins.
    places: Vec<Option<usize>>,
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
            scratch: Scratch::default(),
        })
    }

    /// Checks the whole line and finds the values that are wanted; the last of one name counts.
    fn find_values(&mut self, line: &str) -> Result<(), String> {
        self.places.clear();
        self.places.resize(self.names.in_order.len(), None);
        let mut parser = Parser::new(line);
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
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => {
                let reason = format!("the record is no UTF-8 from its byte {} on", error.valid_up_to() + 1);
                return self.rows.bad(start, end, reason);
            }
        };
        if let Err(reason) = self.find_values(line) {
            return self.rows.bad(start, end, reason);
        }
        let Rows { columns, fate, .. } = &mut self.rows;
        for (column, place) in columns.iter_mut().zip(&self.places) {
            match place {
                Some(at) => {
                    let mut parser = Parser::new(line);
                    parser.at = *at;
                    let mut reader =
                        Reader { fail_on_missing_field: self.fail_on_missing_field, fate, scratch: &mut self.scratch };
                    reader.value(column, &mut parser);
                }
                None => missing(column, fate, self.fail_on_missing_field),
            }
        }
        self.rows.end_row(start, end);
    }
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

/// Reads values out of a line that was checked.
struct Reader<'a> {
    fail_on_missing_field: bool,
    fate: &'a mut Fate,
    scratch: &'a mut Scratch,
}

impl Reader<'_> {
    /// Reads a value into a column; the parser stands behind it then.
    fn value(&mut self, column: &mut Column, parser: &mut Parser<'_>) {
        parser.skip_space();
        let start = parser.at;
        // The line was checked: what is wrong here cannot come, and is no value either.
        let Ok(token) = parser.token() else { return self.fate.unfit(column, "?") };
        match (token, &mut column.values) {
            (Token::Null, _) => self.fate.null(column),
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
            (Token::Text(text), _) => match text.unescaped(&mut self.scratch.text) {
                Some(text) => self.fate.text(column, text),
                None => self.fate.unfit(column, parser.since(start)),
            },
            (Token::Number(_) | Token::Boolean(_), Values::Bytes(..)) => self.fate.unfit(column, parser.since(start)),
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

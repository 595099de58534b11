//! Avro records to columns. A message is checked as a whole before any column takes a value of it.

use super::shape::{RecordShape, Shape, Shapes, Unit};
use crate::format::column::{Column, Values};
use crate::format::message::{DecodedMessages, MessageDecoder};
use crate::format::rows::{Fate, Rows};
use crate::format::text::{TextRules, TimeStyle};
use arrow::datatypes::SchemaRef;
use std::borrow::Cow;
use std::fmt;
use streamfleet_dataflow::DataflowError;

/// Records within one another that are looked into, of such that may contain themselves.
const MOST_DEPTH: u32 = 64;

/// Rows for columns of this schema.
pub(super) fn rows_of(schema: SchemaRef) -> Result<Rows, DataflowError> {
    Rows::new(schema, TextRules { times: TimeStyle::Sql, plain_decimals: false }, false)
}

/// Decodes one record a message, all of one schema.
pub(in crate::format) struct AvroDecoder {
    shapes: Shapes,
    rows: Rows,
}

impl AvroDecoder {
    /// For columns of a schema, of which `shapes` says how they lie in a message.
    pub(super) fn new(schema: SchemaRef, shapes: Shapes) -> Result<Self, DataflowError> {
        Ok(Self { shapes, rows: rows_of(schema)? })
    }
}

impl MessageDecoder for AvroDecoder {
    fn take(&mut self, message: &[u8]) {
        take_record(&mut self.rows, &self.shapes, message, 0);
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

/// Takes a message whose record begins at this byte.
pub(super) fn take_record(rows: &mut Rows, shapes: &Shapes, message: &[u8], start: usize) {
    let number = rows.seen();
    match record(rows, shapes, message, start) {
        Ok(()) => rows.end_row(number, number),
        Err(wrong) => rows.bad(number, number, wrong.to_string()),
    }
}

fn record(rows: &mut Rows, shapes: &Shapes, message: &[u8], start: usize) -> Result<(), Wrong> {
    let mut cursor = Cursor { bytes: message, at: start, passed: &shapes.passed };
    cursor.pass_branch(shapes.branch)?;
    let start = cursor.at;
    cursor.check_record(&shapes.record, 0)?;
    if cursor.at < message.len() {
        return Err(cursor.wrong("bytes behind the record: was it written under another schema?"));
    }
    cursor.at = start;
    cursor.take_record(&shapes.record, &mut rows.columns, &mut rows.fate)
}

/// What is wrong with a message, and where.
pub(super) struct Wrong {
    what: Cow<'static, str>,
    at: usize,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at + 1)
    }
}

/// A place in a message.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub at: usize,
    /// See [`Shapes::passed`].
    passed: &'a [RecordShape],
}

impl<'a> Cursor<'a> {
    /// The first byte; `passed`: see [`Shapes::passed`].
    pub const fn new(bytes: &'a [u8], passed: &'a [RecordShape]) -> Self {
        Self { bytes, at: 0, passed }
    }

    /// Takes the next record; nothing of it is taken if it is not whole.
    pub fn take_checked(&mut self, shapes: &Shapes, rows: &mut Rows) -> Result<(), Wrong> {
        self.pass_branch(shapes.branch)?;
        let start = self.at;
        self.check_record(&shapes.record, 0)?;
        self.at = start;
        self.take_record(&shapes.record, &mut rows.columns, &mut rows.fate)
    }

    pub fn wrong(&self, what: impl Into<Cow<'static, str>>) -> Wrong {
        Wrong { what: what.into(), at: self.at }
    }

    pub fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let bytes = self.bytes[self.at..].get(..length).ok_or_else(|| self.wrong("the record ends within a value"))?;
        self.at += length;
        Ok(bytes)
    }

    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.take_bytes(N)?);
        Ok(fixed)
    }

    /// A whole number: seven bits a byte, the least first, and the sign in the lowest.
    pub fn long(&mut self) -> Result<i64, Wrong> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.wrong("a whole number of more than 64 bits"))
    }

    fn int(&mut self) -> Result<i32, Wrong> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| self.wrong("a whole number of more than 32 bits"))
    }

    pub fn variable(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.wrong("a length below zero"))?;
        self.take_bytes(length)
    }

    pub fn text(&mut self) -> Result<&'a str, Wrong> {
        let bytes = self.variable()?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("a string that is no UTF-8"))
    }

    fn boolean(&mut self) -> Result<bool, Wrong> {
        match self.fixed()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.wrong("a boolean that is neither 0 nor 1")),
        }
    }

    /// Which of a union's branches follows.
    fn branch<'s>(&mut self, shapes: &'s [Shape]) -> Result<&'s Shape, Wrong> {
        let branch = self.long()?;
        let found = usize::try_from(branch).ok().and_then(|branch| shapes.get(branch));
        found.ok_or_else(|| self.wrong("a branch that the union does not have"))
    }

    /// Passes what stands before a record that may be NULL as a whole, and is not.
    fn pass_branch(&mut self, branch: Option<usize>) -> Result<(), Wrong> {
        match branch {
            Some(branch) if self.long()? != branch as i64 => Err(self.wrong("no record but null")),
            _ => Ok(()),
        }
    }

    /// Which of some names follows.
    fn symbol<'s>(&mut self, symbols: &'s [String]) -> Result<&'s str, Wrong> {
        let place = self.int()?;
        let found = usize::try_from(place).ok().and_then(|place| symbols.get(place));
        found.map(String::as_str).ok_or_else(|| self.wrong("a symbol that the enum does not have"))
    }

    fn decimal(&mut self, size: Option<usize>) -> Result<&'a [u8], Wrong> {
        match size {
            Some(size) => self.take_bytes(size),
            None => self.variable(),
        }
    }

    /// Items to come in the next block of an array or map; 0 at its end.
    pub fn block(&mut self) -> Result<u64, Wrong> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes, for who wants to pass over it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    fn check_record(&mut self, record: &RecordShape, depth: u32) -> Result<(), Wrong> {
        record.fields.iter().try_for_each(|(_, shape)| self.check(shape, depth))
    }

    /// Passes a value, which is checked.
    fn check(&mut self, shape: &Shape, depth: u32) -> Result<(), Wrong> {
        match shape {
            Shape::Null => Ok(()),
            Shape::Boolean => self.boolean().map(|_| ()),
            Shape::Int(_) => self.int().map(|_| ()),
            Shape::Long(_) => self.long().map(|_| ()),
            Shape::Float => self.fixed::<4>().map(|_| ()),
            Shape::Double => self.fixed::<8>().map(|_| ()),
            Shape::Text => self.text().map(|_| ()),
            Shape::Bytes => self.variable().map(|_| ()),
            Shape::Fixed(size) => self.take_bytes(*size).map(|_| ()),
            Shape::Decimal { size, .. } => self.decimal(*size).map(|_| ()),
            Shape::Symbol(symbols) => self.symbol(symbols).map(|_| ()),
            Shape::Record(record) => self.check_record(record, depth),
            Shape::Array(items) => self.check_items(|cursor| cursor.check(items, depth)),
            Shape::Map(values) => self.check_items(|cursor| {
                cursor.text()?;
                cursor.check(values, depth)
            }),
            Shape::Union(shapes) => {
                let shape = self.branch(shapes)?;
                self.check(shape, depth)
            }
            Shape::Passed(_) if depth == MOST_DEPTH => Err(self.wrong("records too deep within one another")),
            Shape::Passed(place) => {
                let passed = self.passed;
                self.check_record(&passed[*place], depth + 1)
            }
            Shape::Unfit(reason) => Err(self.wrong(reason.clone())),
        }
    }

    fn check_items(&mut self, mut check: impl FnMut(&mut Self) -> Result<(), Wrong>) -> Result<(), Wrong> {
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let before = self.at;
                check(self)?;
                if self.at == before {
                    return Err(self.wrong("items without a byte"));
                }
            }
        }
    }

    /// Reads a record of a message that was checked.
    fn take_record(&mut self, record: &RecordShape, columns: &mut [Column], fate: &mut Fate) -> Result<(), Wrong> {
        for (column, shape) in &record.fields {
            match column {
                Some(column) => self.take(shape, &mut columns[*column], fate)?,
                None => self.check(shape, 0)?,
            }
        }
        record.absent.iter().for_each(|column| fate.null(&mut columns[*column]));
        Ok(())
    }

    /// Reads a value of a message that was checked.
    fn take(&mut self, shape: &Shape, column: &mut Column, fate: &mut Fate) -> Result<(), Wrong> {
        match (&mut column.values, shape) {
            (_, Shape::Union(shapes)) => {
                let shape = self.branch(shapes)?;
                return self.take(shape, column, fate);
            }
            (_, Shape::Null) => fate.null(column),
            (Values::Boolean(b), Shape::Boolean) => b.append_value(self.boolean()?),
            (Values::Int8(b), Shape::Int(_) | Shape::Long(_)) => match self.long()? {
                value @ -0x80..0x80 => b.append_value(value as i8),
                value => fate.unfit(column, value),
            },
            (Values::Int16(b), Shape::Int(_) | Shape::Long(_)) => match self.long()? {
                value @ -0x8000..0x8000 => b.append_value(value as i16),
                value => fate.unfit(column, value),
            },
            (Values::Int32(b), Shape::Int(_) | Shape::Long(_)) => match i32::try_from(self.long()?) {
                Ok(value) => b.append_value(value),
                Err(_) => fate.unfit(column, "a whole number of more than 32 bits"),
            },
            (Values::Int64(b), Shape::Int(_) | Shape::Long(_)) => b.append_value(self.long()?),
            (Values::Float32(b), Shape::Float) => b.append_value(f32::from_le_bytes(self.fixed()?)),
            (Values::Float32(b), Shape::Int(_) | Shape::Long(_)) => b.append_value(self.long()? as f32),
            (Values::Float64(b), Shape::Double) => b.append_value(f64::from_le_bytes(self.fixed()?)),
            (Values::Float64(b), Shape::Float) => b.append_value(f32::from_le_bytes(self.fixed()?).into()),
            (Values::Float64(b), Shape::Int(_) | Shape::Long(_)) => b.append_value(self.long()? as f64),
            (Values::Text(b), Shape::Text) => b.append_value(self.text()?),
            (Values::Text(b), Shape::Symbol(symbols)) => b.append_value(self.symbol(symbols)?),
            (Values::Text(b), Shape::Bytes) => match std::str::from_utf8(self.variable()?) {
                Ok(text) => b.append_value(text),
                Err(_) => fate.unfit(column, "bytes that are no UTF-8"),
            },
            (Values::Bytes(b, _), Shape::Bytes | Shape::Text) => b.append_value(self.variable()?),
            (Values::Bytes(b, _), Shape::Fixed(size)) => b.append_value(self.take_bytes(*size)?),
            (Values::Bytes(b, _), Shape::Decimal { size, .. }) => b.append_value(self.decimal(*size)?),
            (Values::Date(b), Shape::Int(_)) => b.append_value(self.int()?),
            (Values::Time(b), Shape::Int(_) | Shape::Long(_)) => {
                let value = self.long()?;
                let millis = if *shape == Shape::Long(Unit::Micros) { value.div_euclid(1000) } else { value };
                match millis {
                    0..86_400_000 => b.append_value(millis as i32),
                    _ => fate.unfit(column, value),
                }
            }
            (Values::Millis(b, _), Shape::Long(unit)) => {
                let value = self.long()?;
                b.append_value(match unit {
                    Unit::Micros => value.div_euclid(1000),
                    Unit::Nanos => value.div_euclid(1_000_000),
                    Unit::Unknown | Unit::Millis | Unit::Days => value,
                });
            }
            (Values::Micros(b, _), Shape::Long(unit)) => {
                let value = self.long()?;
                let micros = match unit {
                    Unit::Millis => value.checked_mul(1000),
                    Unit::Nanos => Some(value.div_euclid(1000)),
                    Unit::Unknown | Unit::Micros | Unit::Days => Some(value),
                };
                match micros {
                    Some(micros) => b.append_value(micros),
                    None => fate.unfit(column, value),
                }
            }
            (Values::Decimal(b, precision, to), Shape::Decimal { size, scale: from }) => {
                let value = unscaled(self.decimal(*size)?).and_then(|value| rescaled(value, *from, *to));
                match value.filter(|v| v.unsigned_abs() < 10u128.pow(u32::from(*precision))) {
                    Some(value) => b.append_value(value),
                    None => fate.unfit(column, "a number of too many digits"),
                }
            }
            (Values::Row(row), Shape::Record(record)) => {
                self.take_record(record, &mut row.columns, fate)?;
                row.end();
            }
            (Values::List(list), Shape::Array(items)) => {
                loop {
                    let count = self.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        self.take(items, &mut list.element, fate)?;
                        list.count();
                    }
                }
                list.end();
            }
            (Values::Map(map), Shape::Map(values)) => {
                loop {
                    let count = self.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        fate.text(&mut map.key, self.text()?);
                        self.take(values, &mut map.value, fate)?;
                        map.count();
                    }
                }
                map.end();
            }
            _ => return Err(self.wrong("a value of another kind than its column")),
        }
        Ok(())
    }
}

/// A number with another count of digits behind its point, rounded half up. `None`: it is too large.
fn rescaled(value: i128, from: i8, to: i8) -> Option<i128> {
    let power = 10i128.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from {
        return value.checked_mul(power);
    }
    let is_half = (value % power).unsigned_abs() >= power.unsigned_abs().div_ceil(2);
    Some(value / power + if is_half { value.signum() } else { 0 })
}

/// A number in as many bytes as it needs, the highest first. `None`: it has more than 128 bits.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let (spare, bytes) = bytes.split_at(bytes.len().saturating_sub(16));
    let is_kept = bytes.first().is_none_or(|b| (b ^ sign) & 0x80 == 0);
    if !is_kept && !spare.is_empty() || spare.iter().any(|b| *b != sign) {
        return None;
    }
    let mut wide = [sign; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

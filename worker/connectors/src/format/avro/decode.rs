//! Avro records to columns. A message is checked as a whole before any column takes a value of it.

use crate::format::Layout;
use crate::format::column::{Column, Values, entry_fields};
use crate::format::message::{DecodedMessages, MessageDecoder};
use crate::format::rows::{Fate, Rows};
use crate::format::text::{TextRules, TimeStyle};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use streamfleet_dataflow::DataflowError;

/// Decodes one record a message.
pub(in crate::format) struct AvroDecoder {
    /// All fields of a record.
    fields: Vec<Field>,
    /// The column that takes each of them, if one does.
    columns: Vec<Option<usize>>,
    rows: Rows,
}

impl AvroDecoder {
    pub fn new(schema: SchemaRef, layout: &Layout) -> Result<Self, DataflowError> {
        let column = |field: usize| layout.places.iter().position(|place| *place == field);
        let rules = TextRules { times: TimeStyle::Sql, plain_decimals: false };
        Ok(Self {
            columns: (0..layout.fields.len()).map(column).collect(),
            fields: layout.fields.clone(),
            rows: Rows::new(schema, rules, false)?,
        })
    }

    fn record(&mut self, message: &[u8]) -> Result<(), Wrong> {
        let mut cursor = Cursor { bytes: message, at: 0 };
        self.fields.iter().try_for_each(|field| cursor.check(field.data_type(), field.is_nullable()))?;
        if cursor.at < message.len() {
            return Err(cursor.wrong("bytes behind the record: was it written under another schema?"));
        }
        cursor.at = 0;
        let Rows { columns, fate, .. } = &mut self.rows;
        for (field, column) in self.fields.iter().zip(&self.columns) {
            match column {
                Some(column) => cursor.take(field.data_type(), field.is_nullable(), &mut columns[*column], fate)?,
                None => cursor.check(field.data_type(), field.is_nullable())?,
            }
        }
        Ok(())
    }
}

impl MessageDecoder for AvroDecoder {
    fn take(&mut self, message: &[u8]) {
        let number = self.rows.seen();
        match self.record(message) {
            Ok(()) => self.rows.end_row(number, number),
            Err(wrong) => self.rows.bad(number, number, format!("{} at byte {}", wrong.what, wrong.at + 1)),
        }
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

/// What is wrong with a message, and where.
struct Wrong {
    what: &'static str,
    at: usize,
}

/// A place in a message.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    const fn wrong(&self, what: &'static str) -> Wrong {
        Wrong { what, at: self.at }
    }

    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let bytes = self.bytes[self.at..].get(..length).ok_or_else(|| self.wrong("the record ends within a value"))?;
        self.at += length;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.take_bytes(N)?);
        Ok(fixed)
    }

    /// A whole number: seven bits a byte, the least first, and the sign in the lowest.
    fn long(&mut self) -> Result<i64, Wrong> {
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

    fn variable(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.wrong("a length below zero"))?;
        self.take_bytes(length)
    }

    fn text(&mut self) -> Result<&'a str, Wrong> {
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

    /// False for NULL.
    fn is_there(&mut self, nullable: bool) -> Result<bool, Wrong> {
        match if nullable { self.long()? } else { 1 } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong("a branch that the union of null and a type does not have")),
        }
    }

    /// Items to come in the next block of an array or map; 0 at its end.
    fn block(&mut self) -> Result<u64, Wrong> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes, for who wants to pass over it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    /// Passes a value, which is checked.
    fn check(&mut self, data_type: &DataType, nullable: bool) -> Result<(), Wrong> {
        if !self.is_there(nullable)? {
            return Ok(());
        }
        match data_type {
            DataType::Boolean => self.boolean().map(|_| ()),
            DataType::Float32 => self.fixed::<4>().map(|_| ()),
            DataType::Float64 => self.fixed::<8>().map(|_| ()),
            DataType::Utf8 => self.text().map(|_| ()),
            DataType::Binary | DataType::Decimal128(..) => self.variable().map(|_| ()),
            DataType::Int64 | DataType::Timestamp(..) => self.long().map(|_| ()),
            DataType::Struct(fields) => fields.iter().try_for_each(|f| self.check(f.data_type(), f.is_nullable())),
            DataType::List(element) => {
                self.check_items(|cursor| cursor.check(element.data_type(), element.is_nullable()))
            }
            DataType::Map(entries, _) => match entry_fields(entries) {
                Ok(fields) => self.check_items(|cursor| {
                    cursor.text()?;
                    cursor.check(fields[1].data_type(), fields[1].is_nullable())
                }),
                Err(_) => Err(self.wrong("a map without keys and values")),
            },
            // The rest are 32 bits wide or less.
            _ => self.int().map(|_| ()),
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

    /// Reads a value of a message that was checked.
    fn take(
        &mut self,
        data_type: &DataType,
        nullable: bool,
        column: &mut Column,
        fate: &mut Fate,
    ) -> Result<(), Wrong> {
        if !self.is_there(nullable)? {
            fate.null(column);
            return Ok(());
        }
        match (&mut column.values, data_type) {
            (Values::Boolean(b), _) => b.append_value(self.boolean()?),
            (Values::Int8(b), _) => match i8::try_from(self.int()?) {
                Ok(value) => b.append_value(value),
                Err(_) => fate.unfit(column, "a whole number of more than 8 bits"),
            },
            (Values::Int16(b), _) => match i16::try_from(self.int()?) {
                Ok(value) => b.append_value(value),
                Err(_) => fate.unfit(column, "a whole number of more than 16 bits"),
            },
            (Values::Int32(b), _) => b.append_value(self.int()?),
            (Values::Int64(b), _) => b.append_value(self.long()?),
            (Values::Float32(b), _) => b.append_value(f32::from_le_bytes(self.fixed()?)),
            (Values::Float64(b), _) => b.append_value(f64::from_le_bytes(self.fixed()?)),
            (Values::Text(b), _) => b.append_value(self.text()?),
            (Values::Bytes(b, _), _) => b.append_value(self.variable()?),
            (Values::Date(b), _) => b.append_value(self.int()?),
            (Values::Time(b), _) => match self.int()? {
                value @ 0..86_400_000 => b.append_value(value),
                value => fate.unfit(column, value),
            },
            (Values::Millis(b, _), _) => b.append_value(self.long()?),
            (Values::Micros(b, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => b.append_value(self.long()?),
            (Values::Micros(..), _) => {
                self.long()?;
                fate.unfit(column, "a time of another unit");
            }
            (Values::Decimal(b, precision, _), _) => {
                let value = unscaled(self.variable()?);
                match value.filter(|v| v.unsigned_abs() < 10u128.pow(u32::from(*precision))) {
                    Some(value) => b.append_value(value),
                    None => fate.unfit(column, "a number of more digits"),
                }
            }
            (Values::Row(row), DataType::Struct(fields)) => {
                for (field, column) in fields.iter().zip(&mut row.columns) {
                    self.take(field.data_type(), field.is_nullable(), column, fate)?;
                }
                row.end();
            }
            (Values::List(list), DataType::List(element)) => {
                loop {
                    let count = self.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        self.take(element.data_type(), element.is_nullable(), &mut list.element, fate)?;
                        list.count();
                    }
                }
                list.end();
            }
            (Values::Map(map), DataType::Map(entries, _)) => {
                let Ok(fields) = entry_fields(entries) else { return Err(self.wrong("a map without keys")) };
                loop {
                    let count = self.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        fate.text(&mut map.key, self.text()?);
                        self.take(fields[1].data_type(), fields[1].is_nullable(), &mut map.value, fate)?;
                        map.count();
                    }
                }
                map.end();
            }
            (Values::Row(_) | Values::List(_) | Values::Map(_), _) => {
                return Err(self.wrong("a value of another kind than its column"));
            }
        }
        Ok(())
    }
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

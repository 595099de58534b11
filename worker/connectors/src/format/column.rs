//! Columns that grow by one value at a time, of any type that a text format can name.

use super::text::{self, TextRules};
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder, StringBuilder,
    StructArray, Time32MillisecondBuilder, TimestampMicrosecondBuilder, TimestampMillisecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use std::sync::Arc;

/// A column being filled.
pub(crate) struct Column {
    pub name: String,
    data_type: DataType,
    /// It takes NULL.
    pub nullable: bool,
    pub values: Values,
}

/// What was filled in so far.
pub(crate) enum Values {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    Bytes(BinaryBuilder, Vec<u8>),
    Date(Date32Builder),
    Time(Time32MillisecondBuilder),
    /// With true, an instant.
    Millis(TimestampMillisecondBuilder, bool),
    Micros(TimestampMicrosecondBuilder, bool),
    Row(RowValues),
    List(ListValues),
    Map(MapValues),
}

/// Rows of several columns.
pub(crate) struct RowValues {
    pub columns: Vec<Column>,
    fields: Fields,
    nulls: NullBufferBuilder,
}

/// Lists of elements.
pub(crate) struct ListValues {
    pub element: Box<Column>,
    field: FieldRef,
    lists: Lists,
}

/// Lists of entries.
pub(crate) struct MapValues {
    pub key: Box<Column>,
    pub value: Box<Column>,
    entries: FieldRef,
    fields: Fields,
    is_sorted: bool,
    lists: Lists,
}

/// Where each list ends, and which lists are NULL.
struct Lists {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    length: usize,
}

impl Lists {
    fn new() -> Self {
        Self { offsets: vec![0], nulls: NullBufferBuilder::new(0), length: 0 }
    }

    fn end(&mut self, is_valid: bool) {
        // A list lies within one record, whose size is bounded.
        self.offsets.push(self.length as i32);
        self.nulls.append(is_valid);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>) {
        self.length = 0;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), self.nulls.finish())
    }
}

impl RowValues {
    /// A row whose columns were all given.
    pub fn end(&mut self) {
        self.nulls.append(true);
    }
}

impl ListValues {
    /// An element was given.
    pub const fn count(&mut self) {
        self.lists.length += 1;
    }

    /// A list whose elements were all given.
    pub fn end(&mut self) {
        self.lists.end(true);
    }
}

impl MapValues {
    /// An entry was given.
    pub const fn count(&mut self) {
        self.lists.length += 1;
    }

    /// A map whose entries were all given.
    pub fn end(&mut self) {
        self.lists.end(true);
    }
}

/// True if texts can be values of the type.
pub(super) const fn is_scalar(data_type: &DataType) -> bool {
    text::is_writable(data_type)
}

impl Column {
    /// An empty column; the type is one that the format has said to read.
    pub fn new(name: &str, data_type: &DataType, nullable: bool) -> Result<Self, ArrowError> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Values::Int8(Int8Builder::new()),
            DataType::Int16 => Values::Int16(Int16Builder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float32 => Values::Float32(Float32Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(
                Decimal128Builder::new().with_precision_and_scale(*precision, *scale)?,
                *precision,
                *scale,
            ),
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Bytes(BinaryBuilder::new(), Vec::new()),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Time32(TimeUnit::Millisecond) => Values::Time(Time32MillisecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                Values::Millis(TimestampMillisecondBuilder::new().with_timezone_opt(zone.clone()), zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Micros(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()), zone.is_some())
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(Self::of_field).collect::<Result<_, _>>()?;
                Values::Row(RowValues { columns, fields: fields.clone(), nulls: NullBufferBuilder::new(0) })
            }
            DataType::List(field) => Values::List(ListValues {
                element: Box::new(Self::of_field(field)?),
                field: Arc::clone(field),
                lists: Lists::new(),
            }),
            DataType::Map(entries, is_sorted) => {
                let fields = entry_fields(entries)?;
                Values::Map(MapValues {
                    key: Box::new(Self::of_field(&fields[0])?),
                    value: Box::new(Self::of_field(&fields[1])?),
                    entries: Arc::clone(entries),
                    fields: fields.clone(),
                    is_sorted: *is_sorted,
                    lists: Lists::new(),
                })
            }
            other => return Err(ArrowError::NotYetImplemented(format!("columns of type {other}"))),
        };
        Ok(Self { name: name.to_owned(), data_type: data_type.clone(), nullable, values })
    }

    fn of_field(field: &FieldRef) -> Result<Self, ArrowError> {
        Self::new(field.name(), field.data_type(), field.is_nullable())
    }

    /// The type's name.
    pub const fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Takes a text as a value. False if it names none: then nothing was taken.
    pub fn take_text(&mut self, text: &str, rules: TextRules) -> bool {
        let trimmed = text.trim_matches(|c: char| c <= ' ');
        let value = match &mut self.values {
            Values::Boolean(b) => text::boolean(trimmed).map(|v| b.append_value(v)),
            Values::Int8(b) => text::integer(trimmed).map(|v| b.append_value(v)),
            Values::Int16(b) => text::integer(trimmed).map(|v| b.append_value(v)),
            Values::Int32(b) => text::integer(trimmed).map(|v| b.append_value(v)),
            Values::Int64(b) => text::integer(trimmed).map(|v| b.append_value(v)),
            Values::Float32(b) => text::float32(trimmed).map(|v| b.append_value(v)),
            Values::Float64(b) => text::float64(trimmed).map(|v| b.append_value(v)),
            Values::Decimal(b, precision, scale) => {
                text::decimal(trimmed, *precision, *scale).map(|v| b.append_value(v))
            }
            Values::Text(b) => {
                b.append_value(text);
                Some(())
            }
            Values::Bytes(b, scratch) => text::bytes(trimmed, scratch).map(|()| b.append_value(scratch)),
            Values::Date(b) => text::date(trimmed, rules.times).map(|v| b.append_value(v)),
            Values::Time(b) => text::time(trimmed, rules.times).map(|v| b.append_value(v)),
            Values::Millis(b, is_instant) => {
                text::timestamp_micros(trimmed, rules.times, *is_instant).map(|v| b.append_value(v.div_euclid(1000)))
            }
            Values::Micros(b, is_instant) => {
                text::timestamp_micros(trimmed, rules.times, *is_instant).map(|v| b.append_value(v))
            }
            Values::Row(_) | Values::List(_) | Values::Map(_) => None,
        };
        value.is_some()
    }

    /// Takes a whole number in another notation, such as `5.0`, into a column of whole numbers.
    pub fn take_integral(&mut self, text: &str) -> bool {
        let Some(value) = text::integral(text) else { return false };
        let value = match &mut self.values {
            Values::Int8(b) => value.try_into().ok().map(|v| b.append_value(v)),
            Values::Int16(b) => value.try_into().ok().map(|v| b.append_value(v)),
            Values::Int32(b) => value.try_into().ok().map(|v| b.append_value(v)),
            Values::Int64(b) => {
                b.append_value(value);
                Some(())
            }
            _ => None,
        };
        value.is_some()
    }

    /// Takes NULL.
    pub fn take_null(&mut self) {
        match &mut self.values {
            Values::Boolean(b) => b.append_null(),
            Values::Int8(b) => b.append_null(),
            Values::Int16(b) => b.append_null(),
            Values::Int32(b) => b.append_null(),
            Values::Int64(b) => b.append_null(),
            Values::Float32(b) => b.append_null(),
            Values::Float64(b) => b.append_null(),
            Values::Decimal(b, ..) => b.append_null(),
            Values::Text(b) => b.append_null(),
            Values::Bytes(b, _) => b.append_null(),
            Values::Date(b) => b.append_null(),
            Values::Time(b) => b.append_null(),
            Values::Millis(b, _) => b.append_null(),
            Values::Micros(b, _) => b.append_null(),
            Values::Row(row) => {
                row.columns.iter_mut().for_each(Self::take_null);
                row.nulls.append(false);
            }
            Values::List(list) => list.lists.end(false),
            Values::Map(map) => map.lists.end(false),
        }
    }

    /// Takes any value, for a record that will be dropped: a column that takes no NULL would refuse the whole batch.
    pub fn take_filler(&mut self) {
        if self.nullable {
            return self.take_null();
        }
        match &mut self.values {
            Values::Boolean(b) => b.append_value(false),
            Values::Int8(b) => b.append_value(0),
            Values::Int16(b) => b.append_value(0),
            Values::Int32(b) => b.append_value(0),
            Values::Int64(b) => b.append_value(0),
            Values::Float32(b) => b.append_value(0.0),
            Values::Float64(b) => b.append_value(0.0),
            Values::Decimal(b, ..) => b.append_value(0),
            Values::Text(b) => b.append_value(""),
            Values::Bytes(b, _) => b.append_value([]),
            Values::Date(b) => b.append_value(0),
            Values::Time(b) => b.append_value(0),
            Values::Millis(b, _) => b.append_value(0),
            Values::Micros(b, _) => b.append_value(0),
            Values::Row(row) => {
                row.columns.iter_mut().for_each(Self::take_filler);
                row.nulls.append(true);
            }
            Values::List(list) => list.end(),
            Values::Map(map) => map.end(),
        }
    }

    /// What was taken, as an array; the column is empty then.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match &mut self.values {
            Values::Boolean(b) => Arc::new(b.finish()),
            Values::Int8(b) => Arc::new(b.finish()),
            Values::Int16(b) => Arc::new(b.finish()),
            Values::Int32(b) => Arc::new(b.finish()),
            Values::Int64(b) => Arc::new(b.finish()),
            Values::Float32(b) => Arc::new(b.finish()),
            Values::Float64(b) => Arc::new(b.finish()),
            Values::Decimal(b, ..) => Arc::new(b.finish()),
            Values::Text(b) => Arc::new(b.finish()),
            Values::Bytes(b, _) => Arc::new(b.finish()),
            Values::Date(b) => Arc::new(b.finish()),
            Values::Time(b) => Arc::new(b.finish()),
            Values::Millis(b, _) => Arc::new(b.finish()),
            Values::Micros(b, _) => Arc::new(b.finish()),
            Values::Row(row) => {
                let length = row.nulls.len();
                let columns = row.columns.iter_mut().map(Self::finish).collect::<Result<_, _>>()?;
                let nulls = row.nulls.finish();
                Arc::new(StructArray::try_new_with_length(row.fields.clone(), columns, nulls, length)?)
            }
            Values::List(list) => {
                let (offsets, nulls) = list.lists.finish();
                Arc::new(ListArray::try_new(Arc::clone(&list.field), offsets, list.element.finish()?, nulls)?)
            }
            Values::Map(map) => {
                let (offsets, nulls) = map.lists.finish();
                let columns = vec![map.key.finish()?, map.value.finish()?];
                let entries = StructArray::try_new(map.fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(Arc::clone(&map.entries), offsets, entries, nulls, map.is_sorted)?)
            }
        })
    }
}

/// Key and value of a map's entries.
pub(super) fn entry_fields(entries: &FieldRef) -> Result<&Fields, ArrowError> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Ok(fields),
        other => Err(ArrowError::SchemaError(format!("the entries of a map are of type {other}"))),
    }
}

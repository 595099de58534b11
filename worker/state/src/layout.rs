//! Rows as bytes: a NULL bitmap, one fixed slot per column, then a variable part.
//!
//! Slots hold little-endian values at their natural width, unaligned. A string's slot holds offset and length (u32 each) of
//! its bytes, the offset counted from the row's start. Structs, lists and maps lie in the variable part in Arrow's row
//! format. The encoding is canonical: equal values give equal bytes (a NULL's slot is zero, floats have one NaN and one
//! zero), so keys compare as bytes.

use crate::{Rows, StateError};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanBuilder, Float32Array, PrimitiveArray,
    StringBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type, IntervalUnit, TimeUnit};
use arrow::row::{RowConverter, SortField};

/// How one column lies in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Plain bytes of this width.
    Fixed(usize),
    Boolean,
    Float32,
    Float64,
    /// A string or binary value, as (offset, length) into the variable part.
    Bytes,
    /// Anything nested, in Arrow's row format in the variable part.
    Nested,
}

impl Slot {
    const fn width(self) -> usize {
        match self {
            Self::Fixed(width) => width,
            Self::Boolean => 1,
            Self::Float32 => 4,
            Self::Float64 | Self::Bytes | Self::Nested => 8,
        }
    }
}

#[derive(Debug)]
struct Column {
    data_type: DataType,
    slot: Slot,
    offset: usize,
}

/// How the columns of a row lie in its bytes.
#[derive(Debug)]
pub struct RowLayout {
    columns: Vec<Column>,
    fixed_width: usize,
}

fn slot_of(data_type: &DataType) -> Option<Slot> {
    Some(match data_type {
        DataType::Boolean => Slot::Boolean,
        DataType::Float32 => Slot::Float32,
        DataType::Float64 => Slot::Float64,
        DataType::Int8 | DataType::UInt8 => Slot::Fixed(1),
        DataType::Int16 | DataType::UInt16 => Slot::Fixed(2),
        DataType::Int32 | DataType::UInt32 | DataType::Date32 | DataType::Time32(_) => Slot::Fixed(4),
        DataType::Int64 | DataType::UInt64 | DataType::Date64 | DataType::Time64(_) => Slot::Fixed(8),
        DataType::Timestamp(..) | DataType::Duration(_) | DataType::Interval(IntervalUnit::DayTime) => Slot::Fixed(8),
        DataType::Decimal128(..) => Slot::Fixed(16),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary => Slot::Bytes,
        DataType::Null | DataType::Struct(_) | DataType::List(_) | DataType::Map(..) => Slot::Nested,
        _ => return None,
    })
}

impl RowLayout {
    /// The layout of these columns. `table` is for errors.
    ///
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(table: &str, fields: &[FieldRef]) -> Result<Self, StateError> {
        let mut offset = fields.len().div_ceil(8);
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let data_type = field.data_type().clone();
            let slot = slot_of(&data_type).ok_or_else(|| StateError::UnsupportedType {
                table: table.to_owned(),
                data_type: data_type.to_string(),
            })?;
            columns.push(Column { data_type, slot, offset });
            offset += slot.width();
        }
        Ok(Self { columns, fixed_width: offset })
    }

    /// Appends every row of the columns to `rows`.
    ///
    /// # Errors
    /// A column is not of its declared type.
    pub fn encode(&self, columns: &[ArrayRef], count: usize, rows: &mut Rows) -> Result<(), StateError> {
        let first = rows.ends.len();
        let base = rows.bytes.len();
        // Variable columns first as plain byte slices; then the rows' lengths are known.
        let variable = self.variable_columns(columns)?;
        let mut end = base;
        for row in 0..count {
            end += self.fixed_width;
            for column in variable.iter().flatten() {
                end += column.length(row);
            }
            rows.ends.push(end);
        }
        rows.bytes.resize(end, 0);
        let starts = Starts { ends: &rows.ends, first, base };
        let mut cursors: Vec<u32> =
            if variable.iter().any(Option::is_some) { vec![self.fixed_width as u32; count] } else { Vec::new() };
        for (index, (column, values)) in self.columns.iter().zip(columns).enumerate() {
            write_nulls(values, index, &starts, &mut rows.bytes);
            match &variable[index] {
                Some(values) => values.write(column.offset, &starts, &mut cursors, &mut rows.bytes),
                None => write_fixed(column, values, &starts, &mut rows.bytes),
            }
        }
        Ok(())
    }

    fn variable_columns(&self, columns: &[ArrayRef]) -> Result<Vec<Option<VariableColumn>>, StateError> {
        let mut variable = Vec::with_capacity(columns.len());
        for (column, values) in self.columns.iter().zip(columns) {
            variable.push(match column.slot {
                Slot::Bytes if matches!(column.data_type, DataType::Binary | DataType::Utf8) => {
                    Some(VariableColumn::Bytes(values.clone()))
                }
                Slot::Bytes => Some(VariableColumn::Bytes(cast(values, &DataType::Utf8)?)),
                Slot::Nested => {
                    let converter = RowConverter::new(vec![SortField::new(column.data_type.clone())])?;
                    let rows = converter.convert_columns(std::slice::from_ref(values))?;
                    Some(VariableColumn::Nested(rows, values.clone()))
                }
                _ => None,
            });
        }
        Ok(variable)
    }

    /// Columns of the given rows, in order.
    ///
    /// # Errors
    /// Nested values cannot be decoded.
    pub fn decode(&self, rows: &[&[u8]]) -> Result<Vec<ArrayRef>, StateError> {
        (0..self.columns.len()).map(|column| self.decode_column(column, rows)).collect()
    }

    /// One column of the given rows, in order.
    ///
    /// # Errors
    /// Nested values cannot be decoded.
    pub fn decode_column(&self, index: usize, rows: &[&[u8]]) -> Result<ArrayRef, StateError> {
        let column = &self.columns[index];
        let array: ArrayRef = match column.slot {
            Slot::Boolean => {
                let mut builder = BooleanBuilder::with_capacity(rows.len());
                for row in rows {
                    builder.append_option((!self.is_null(row, index)).then(|| row[column.offset] != 0));
                }
                std::sync::Arc::new(builder.finish())
            }
            Slot::Float32 => std::sync::Arc::new(PrimitiveArray::<Float32Type>::new(
                rows.iter().map(|r| f32::from_le_bytes(read(r, column.offset))).collect(),
                self.nulls(index, rows),
            )),
            Slot::Float64 => std::sync::Arc::new(PrimitiveArray::<Float64Type>::new(
                rows.iter().map(|r| f64::from_le_bytes(read(r, column.offset))).collect(),
                self.nulls(index, rows),
            )),
            Slot::Fixed(_) => self.decode_fixed(index, rows),
            Slot::Bytes if column.data_type == DataType::Binary => {
                let mut builder = BinaryBuilder::with_capacity(rows.len(), rows.len() * 16);
                for row in rows {
                    builder.append_option((!self.is_null(row, index)).then(|| self.get_bytes(row, index)));
                }
                std::sync::Arc::new(builder.finish())
            }
            Slot::Bytes => {
                let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
                for row in rows {
                    let text = || std::str::from_utf8(self.get_bytes(row, index)).expect("only strings were encoded");
                    builder.append_option((!self.is_null(row, index)).then(text));
                }
                let strings: ArrayRef = std::sync::Arc::new(builder.finish());
                if column.data_type == DataType::Utf8 { strings } else { cast(&strings, &column.data_type)? }
            }
            Slot::Nested => {
                if rows.is_empty() {
                    return Ok(new_null_array(&column.data_type, 0));
                }
                let converter = RowConverter::new(vec![SortField::new(column.data_type.clone())])?;
                let parser = converter.parser();
                let parsed = rows.iter().map(|r| parser.parse(self.get_bytes(r, index)));
                converter.convert_rows(parsed)?.swap_remove(0)
            }
        };
        Ok(array)
    }

    fn decode_fixed(&self, index: usize, rows: &[&[u8]]) -> ArrayRef {
        use arrow::datatypes::{
            Date32Type, Date64Type, Decimal128Type, DurationMillisecondType, Int8Type, Int16Type, Int32Type, Int64Type,
            Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
            TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
            UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        };
        let column = &self.columns[index];
        let nulls = self.nulls(index, rows);
        let offset = column.offset;
        macro_rules! column_of {
            ($type:ty) => {{
                type Native = <$type as ArrowPrimitiveType>::Native;
                let values: ScalarBuffer<Native> =
                    rows.iter().map(|r| Native::from_le_bytes(read(r, offset))).collect();
                let array = PrimitiveArray::<$type>::new(values, nulls);
                std::sync::Arc::new(array.with_data_type(column.data_type.clone()))
            }};
        }
        match &column.data_type {
            DataType::Int8 => column_of!(Int8Type),
            DataType::Int16 => column_of!(Int16Type),
            DataType::Int32 => column_of!(Int32Type),
            DataType::UInt8 => column_of!(UInt8Type),
            DataType::UInt16 => column_of!(UInt16Type),
            DataType::UInt32 => column_of!(UInt32Type),
            DataType::UInt64 => column_of!(UInt64Type),
            DataType::Date32 => column_of!(Date32Type),
            DataType::Date64 => column_of!(Date64Type),
            DataType::Time32(TimeUnit::Second) => column_of!(Time32SecondType),
            DataType::Time32(_) => column_of!(Time32MillisecondType),
            DataType::Time64(TimeUnit::Microsecond) => column_of!(Time64MicrosecondType),
            DataType::Time64(_) => column_of!(Time64NanosecondType),
            DataType::Timestamp(TimeUnit::Second, _) => column_of!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => column_of!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => column_of!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => column_of!(TimestampNanosecondType),
            DataType::Duration(_) => column_of!(DurationMillisecondType),
            DataType::Decimal128(..) => column_of!(Decimal128Type),
            _ => column_of!(Int64Type),
        }
    }

    fn nulls(&self, index: usize, rows: &[&[u8]]) -> Option<NullBuffer> {
        let nulls: NullBuffer = rows.iter().map(|row| !self.is_null(row, index)).collect();
        (nulls.null_count() > 0).then_some(nulls)
    }

    /// A row of all NULL.
    pub fn null_row(&self) -> Vec<u8> {
        let mut row = vec![0; self.fixed_width];
        (0..self.columns.len()).for_each(|c| row[c / 8] |= 1 << (c % 8));
        row
    }

    /// True if the column is NULL.
    #[inline]
    pub fn is_null(&self, row: &[u8], column: usize) -> bool {
        row[column / 8] & (1 << (column % 8)) != 0
    }

    /// Marks a column as NULL (and zeroes its slot) or not.
    #[inline]
    pub fn set_null(&self, row: &mut [u8], column: usize, null: bool) {
        if null {
            row[column / 8] |= 1 << (column % 8);
            let Column { offset, slot, .. } = self.columns[column];
            row[offset..offset + slot.width()].fill(0);
        } else {
            row[column / 8] &= !(1 << (column % 8));
        }
    }

    /// A fixed-width column as i64 (integers, booleans, dates, times, timestamps).
    #[inline]
    pub fn get_i64(&self, row: &[u8], column: usize) -> i64 {
        let Column { offset, slot, .. } = self.columns[column];
        match slot.width() {
            8 => i64::from_le_bytes(read(row, offset)),
            4 => i64::from(i32::from_le_bytes(read(row, offset))),
            2 => i64::from(i16::from_le_bytes(read(row, offset))),
            _ => i64::from(i8::from_le_bytes(read(row, offset))),
        }
    }

    /// Writes a fixed-width column (cut to its width) and marks it not NULL.
    #[inline]
    pub fn set_i64(&self, row: &mut [u8], column: usize, value: i64) {
        let Column { offset, slot, .. } = self.columns[column];
        row[column / 8] &= !(1 << (column % 8));
        let width = slot.width().min(8);
        row[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// A decimal column.
    #[inline]
    pub fn get_i128(&self, row: &[u8], column: usize) -> i128 {
        i128::from_le_bytes(read(row, self.columns[column].offset))
    }

    /// Writes a decimal column and marks it not NULL.
    #[inline]
    pub fn set_i128(&self, row: &mut [u8], column: usize, value: i128) {
        row[column / 8] &= !(1 << (column % 8));
        let offset = self.columns[column].offset;
        row[offset..offset + 16].copy_from_slice(&value.to_le_bytes());
    }

    /// A float column as f64.
    #[inline]
    pub fn get_f64(&self, row: &[u8], column: usize) -> f64 {
        let Column { offset, slot, .. } = self.columns[column];
        match slot {
            Slot::Float32 => f64::from(f32::from_le_bytes(read(row, offset))),
            _ => f64::from_le_bytes(read(row, offset)),
        }
    }

    /// Writes a float column and marks it not NULL.
    #[inline]
    pub fn set_f64(&self, row: &mut [u8], column: usize, value: f64) {
        let Column { offset, slot, .. } = self.columns[column];
        row[column / 8] &= !(1 << (column % 8));
        match slot {
            Slot::Float32 => row[offset..offset + 4].copy_from_slice(&(value as f32).to_le_bytes()),
            _ => row[offset..offset + 8].copy_from_slice(&value.to_le_bytes()),
        }
    }

    /// The row with another value in a variable-length column, put in the place of what `changed` holds.
    pub fn with_bytes(&self, row: &[u8], column: usize, value: Option<&[u8]>, changed: &mut Vec<u8>) {
        changed.clear();
        changed.extend_from_slice(&row[..self.fixed_width]);
        self.set_null(changed, column, value.is_none());
        for (index, at) in self.columns.iter().enumerate() {
            if !matches!(at.slot, Slot::Bytes | Slot::Nested) || self.is_null(changed, index) && at.slot == Slot::Bytes
            {
                continue;
            }
            let bytes = if index == column { value.unwrap_or_default() } else { self.get_bytes(row, index) };
            let start = (changed.len() as u32).to_le_bytes();
            changed[at.offset..at.offset + 4].copy_from_slice(&start);
            changed[at.offset + 4..at.offset + 8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            changed.extend_from_slice(bytes);
        }
    }

    /// The row with another value in a column, given as a row of a layout of that one column; put in the place of what
    /// `changed` holds.
    pub fn with_column(&self, row: &[u8], column: usize, single: &Self, value: &[u8], changed: &mut Vec<u8>) {
        let (to, from) = (&self.columns[column], &single.columns[0]);
        if matches!(to.slot, Slot::Bytes | Slot::Nested) {
            let present = (!single.is_null(value, 0)).then(|| single.get_bytes(value, 0));
            return self.with_bytes(row, column, present, changed);
        }
        changed.clear();
        changed.extend_from_slice(row);
        self.set_null(changed, column, single.is_null(value, 0));
        let width = to.slot.width();
        changed[to.offset..to.offset + width].copy_from_slice(&value[from.offset..from.offset + width]);
    }

    /// The bytes of a variable-length column (string, binary).
    #[inline]
    pub fn get_bytes<'a>(&self, row: &'a [u8], column: usize) -> &'a [u8] {
        let slot = self.columns[column].offset;
        let offset = u32::from_le_bytes(read(row, slot)) as usize;
        let length = u32::from_le_bytes(read(row, slot + 4)) as usize;
        &row[offset..offset + length]
    }
}

#[inline]
fn read<const N: usize>(row: &[u8], offset: usize) -> [u8; N] {
    row[offset..offset + N].try_into().expect("the slice has N bytes")
}

/// Where the rows being written begin.
struct Starts<'a> {
    ends: &'a [usize],
    first: usize,
    base: usize,
}

impl Starts<'_> {
    #[inline]
    fn of(&self, row: usize) -> usize {
        (self.first + row).checked_sub(1).map_or(self.base, |before| self.ends[before])
    }
}

/// A column whose values lie in the variable part.
enum VariableColumn {
    Bytes(ArrayRef),
    Nested(arrow::row::Rows, ArrayRef),
}

impl VariableColumn {
    fn value(&self, row: usize) -> &[u8] {
        match self {
            Self::Nested(rows, _) => rows.row(row).data(),
            Self::Bytes(array) if *array.data_type() == DataType::Binary => array.as_binary::<i32>().value(row),
            Self::Bytes(array) => array.as_string::<i32>().value(row).as_bytes(),
        }
    }

    fn array(&self) -> &ArrayRef {
        match self {
            Self::Bytes(array) | Self::Nested(_, array) => array,
        }
    }

    fn length(&self, row: usize) -> usize {
        match self {
            // A nested NULL is a value of the row format too: it decodes to NULL by itself.
            Self::Nested(rows, _) => rows.row(row).data().len(),
            Self::Bytes(_) if self.array().is_null(row) => 0,
            Self::Bytes(_) => self.value(row).len(),
        }
    }

    fn write(&self, slot: usize, starts: &Starts<'_>, cursors: &mut [u32], bytes: &mut [u8]) {
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let length = self.length(row);
            if length == 0 && self.array().is_null(row) {
                continue;
            }
            let start = starts.of(row);
            bytes[start + slot..start + slot + 4].copy_from_slice(&cursor.to_le_bytes());
            bytes[start + slot + 4..start + slot + 8].copy_from_slice(&(length as u32).to_le_bytes());
            let from = start + *cursor as usize;
            bytes[from..from + length].copy_from_slice(self.value(row));
            *cursor += length as u32;
        }
    }
}

fn write_nulls(values: &ArrayRef, column: usize, starts: &Starts<'_>, bytes: &mut [u8]) {
    if values.logical_null_count() == 0 {
        return;
    }
    let nulls = values.logical_nulls().expect("there are NULLs");
    for row in (0..values.len()).filter(|row| nulls.is_null(*row)) {
        bytes[starts.of(row) + column / 8] |= 1 << (column % 8);
    }
}

fn write_fixed(column: &Column, values: &ArrayRef, starts: &Starts<'_>, bytes: &mut [u8]) {
    let offset = column.offset;
    let nulls = values.nulls();
    let mut put = |row: usize, value: &[u8]| {
        if nulls.is_none_or(|n| n.is_valid(row)) {
            let at = starts.of(row) + offset;
            bytes[at..at + value.len()].copy_from_slice(value);
        }
    };
    match column.slot {
        Slot::Boolean => {
            let values = values.as_boolean();
            (0..values.len()).for_each(|row| put(row, &[u8::from(values.value(row))]));
        }
        Slot::Float32 => {
            let values: &Float32Array = values.as_primitive();
            let canonical = |v: f32| {
                if v.is_nan() {
                    f32::NAN
                } else if v == 0.0 {
                    0.0
                } else {
                    v
                }
            };
            (0..values.len()).for_each(|row| put(row, &canonical(values.value(row)).to_le_bytes()));
        }
        Slot::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            let canonical = |v: f64| {
                if v.is_nan() {
                    f64::NAN
                } else if v == 0.0 {
                    0.0
                } else {
                    v
                }
            };
            (0..values.len()).for_each(|row| put(row, &canonical(values.value(row)).to_le_bytes()));
        }
        Slot::Fixed(width) => {
            // Arrow keeps fixed-width values little-endian, end to end.
            let data = values.to_data();
            let raw = &data.buffers()[0].as_slice()[data.offset() * width..];
            match width {
                1 => raw.as_chunks::<1>().0[..values.len()].iter().enumerate().for_each(|(row, v)| put(row, v)),
                2 => raw.as_chunks::<2>().0[..values.len()].iter().enumerate().for_each(|(row, v)| put(row, v)),
                4 => raw.as_chunks::<4>().0[..values.len()].iter().enumerate().for_each(|(row, v)| put(row, v)),
                16 => raw.as_chunks::<16>().0[..values.len()].iter().enumerate().for_each(|(row, v)| put(row, v)),
                _ => raw.as_chunks::<8>().0[..values.len()].iter().enumerate().for_each(|(row, v)| put(row, v)),
            }
        }
        Slot::Bytes | Slot::Nested => unreachable!("variable columns are written by VariableColumn"),
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

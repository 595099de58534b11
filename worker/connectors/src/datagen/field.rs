//! One column: how its values are made.

use crate::generator::{Random, scale};
use crate::options::{bad, boolean, duration, number, optional_number};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray, StringArray,
    Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Output};
use streamfleet_logical::{TableDescriptor, type_name};
use streamfleet_types::Millis;

/// The longest text or bytes: a batch of them stays within the 2 GiB that an array can hold.
const MAX_LENGTH: u64 = i32::MAX as u64 / Output::BATCH_ROWS as u64;
const MS_OF_DAY: i64 = 86_400_000;

/// How the values of a column are made.
#[derive(Debug)]
pub struct Field {
    data_type: DataType,
    values: Values,
    random: Random,
    /// The share of NULLs.
    null_rate: f64,
    nulls: Random,
}

#[derive(Debug)]
enum Values {
    Boolean,
    /// Whole numbers from the first to the last, both included; of a decimal, its unscaled value.
    Integers(i128, i128),
    Numbers(f64, f64),
    /// Hexadecimal digits: how many at most, and whether fewer.
    Text(u64, bool),
    Bytes(u64, bool),
    /// Up to so many milliseconds ago; dates and times of day are now.
    Past(u64),
    /// From the first to the last; of a decimal, times the power of ten of its scale.
    Sequence(i64, i64, i128),
}

impl Field {
    /// The column with this index in the table.
    pub fn of(table: &TableDescriptor, index: usize, seed: u64) -> Result<Self, DataflowError> {
        let column = &table.columns[index];
        let option = |name: &str| format!("fields.{}.{name}", column.name);
        let null_rate = number(table, &option("null-rate"), 0.0)?;
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(bad(table, &option("null-rate"), "a share from 0 to 1 is needed"));
        }
        if null_rate > 0.0 && !column.nullable {
            return Err(bad(table, &option("null-rate"), "the column is NOT NULL"));
        }
        let values = match table.option(&option("kind")).unwrap_or("random") {
            "random" => random_values(table, &column.data_type, &option)?,
            "sequence" => sequence(table, &column.data_type, &option)?,
            _ => return Err(bad(table, &option("kind"), "random or sequence is needed")),
        };
        let number = |n: u64| Random::new(seed, 1_000 + 2 * index as u64 + n);
        Ok(Self { data_type: column.data_type.clone(), values, random: number(0), null_rate, nulls: number(1) })
    }

    /// How many rows the field can fill; `None`: any number.
    pub const fn rows(&self) -> Option<u64> {
        match self.values {
            Values::Sequence(start, end, _) => Some(end.abs_diff(start).saturating_add(1)),
            _ => None,
        }
    }

    /// The values of `rows` rows from row `first`; `now` of each row is asked for dates and times.
    pub fn column(&self, first: u64, rows: usize, now: impl Fn(u64) -> Millis) -> Result<ArrayRef, ArrowError> {
        let nulls = (self.null_rate > 0.0).then(|| {
            NullBuffer::new(BooleanBuffer::collect_bool(rows, |n| self.nulls.unit(first + n as u64) >= self.null_rate))
        });
        let array: ArrayRef = match &self.values {
            Values::Boolean => {
                let values = BooleanBuffer::collect_bool(rows, |n| self.random.at(first + n as u64) >> 63 == 1);
                Arc::new(BooleanArray::new(values, None))
            }
            Values::Integers(min, max) => self.integers(first, rows, |row| between(self.random.at(row), *min, *max))?,
            Values::Sequence(start, _, one) => {
                self.integers(first, rows, |row| (i128::from(*start) + i128::from(row)) * one)?
            }
            Values::Numbers(min, max) => {
                let number = |row| min + self.random.unit(row) * (max - min);
                if self.data_type == DataType::Float32 {
                    primitive::<Float32Type>(first, rows, |row| number(row) as f32)
                } else {
                    primitive::<Float64Type>(first, rows, number)
                }
            }
            Values::Text(length, varies) => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let (text, offsets) = self.bytes(first, rows, *length, *varies, |byte| DIGITS[usize::from(byte >> 4)]);
                Arc::new(StringArray::try_new(offsets, text, None)?)
            }
            Values::Bytes(length, varies) => {
                let (bytes, offsets) = self.bytes(first, rows, *length, *varies, |byte| byte);
                Arc::new(BinaryArray::try_new(offsets, bytes, None)?)
            }
            Values::Past(past) => {
                self.times(first, rows, |row| now(row) - scale(self.random.at(row), past.saturating_add(1)) as i64)
            }
        };
        match nulls {
            None => Ok(array),
            Some(nulls) => Ok(make_array(array.to_data().into_builder().nulls(Some(nulls)).build()?)),
        }
    }

    fn integers(&self, first: u64, rows: usize, value: impl Fn(u64) -> i128) -> Result<ArrayRef, ArrowError> {
        Ok(match &self.data_type {
            DataType::Int8 => primitive::<Int8Type>(first, rows, |row| value(row) as i8),
            DataType::Int16 => primitive::<Int16Type>(first, rows, |row| value(row) as i16),
            DataType::Int32 => primitive::<Int32Type>(first, rows, |row| value(row) as i32),
            DataType::Float32 => primitive::<Float32Type>(first, rows, |row| value(row) as f32),
            DataType::Float64 => primitive::<Float64Type>(first, rows, |row| value(row) as f64),
            DataType::Decimal128(precision, scale) => {
                let values: Decimal128Array = (first..first + rows as u64).map(|row| Some(value(row))).collect();
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Utf8 => {
                let texts = (first..first + rows as u64).map(|row| Some(value(row).to_string()));
                Arc::new(texts.collect::<StringArray>())
            }
            _ => primitive::<Int64Type>(first, rows, |row| value(row) as i64),
        })
    }

    fn bytes(
        &self,
        first: u64,
        rows: usize,
        longest: u64,
        varies: bool,
        byte: impl Fn(u8) -> u8,
    ) -> (Buffer, OffsetBuffer<i32>) {
        let mut bytes = Vec::with_capacity(rows * longest as usize);
        let mut lengths = Vec::with_capacity(rows);
        for row in first..first + rows as u64 {
            let bits = self.random.at(row);
            let length = if varies { 1 + scale(bits, longest) } else { longest };
            lengths.push(length as usize);
            // Another field's worth of numbers for every row.
            let random = Random::new(bits, 0);
            for word in 0..length.div_ceil(8) {
                let left = (length - word * 8).min(8) as usize;
                bytes.extend(random.at(word).to_le_bytes()[..left].iter().map(|b| byte(*b)));
            }
        }
        (Buffer::from_vec(bytes), OffsetBuffer::from_lengths(lengths))
    }

    fn times(&self, first: u64, rows: usize, ms: impl Fn(u64) -> Millis) -> ArrayRef {
        let all = first..first + rows as u64;
        let of_day = |row| ms(row).rem_euclid(MS_OF_DAY);
        match &self.data_type {
            DataType::Date32 => {
                Arc::new(all.map(|row| Some(ms(row).div_euclid(MS_OF_DAY) as i32)).collect::<Date32Array>())
            }
            DataType::Time32(TimeUnit::Second) => {
                Arc::new(all.map(|row| Some((of_day(row) / 1_000) as i32)).collect::<Time32SecondArray>())
            }
            DataType::Time32(_) => {
                Arc::new(all.map(|row| Some(of_day(row) as i32)).collect::<Time32MillisecondArray>())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Arc::new(all.map(|row| Some(of_day(row) * 1_000)).collect::<Time64MicrosecondArray>())
            }
            DataType::Time64(_) => {
                Arc::new(all.map(|row| Some(of_day(row) * 1_000_000)).collect::<Time64NanosecondArray>())
            }
            DataType::Timestamp(TimeUnit::Second, zone) => {
                let values: PrimitiveArray<TimestampSecondType> =
                    all.map(|row| Some(ms(row).div_euclid(1_000))).collect();
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let values: PrimitiveArray<TimestampMicrosecondType> = all.map(|row| Some(ms(row) * 1_000)).collect();
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                let values: PrimitiveArray<TimestampNanosecondType> =
                    all.map(|row| Some(ms(row) * 1_000_000)).collect();
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            other => {
                let values: PrimitiveArray<TimestampMillisecondType> = all.map(|row| Some(ms(row))).collect();
                let zone = if let DataType::Timestamp(_, zone) = other { zone.clone() } else { None };
                Arc::new(values.with_timezone_opt(zone))
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(first: u64, rows: usize, value: impl Fn(u64) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values((first..first + rows as u64).map(value)))
}

/// A whole number from `min` to `max`, both included.
fn between(bits: u64, min: i128, max: i128) -> i128 {
    // The widest range of a decimal exceeds an i128, but not a u128.
    let width = max.wrapping_sub(min) as u128;
    match u64::try_from(width) {
        Ok(width) => min + ((u128::from(bits) * (u128::from(width) + 1)) >> 64) as i128,
        // Wider than the random bits: only decimals.
        Err(_) => min.wrapping_add((bits as f64 / 2f64.powi(64) * width as f64) as u128 as i128),
    }
    .min(max)
}

fn random_values(
    table: &TableDescriptor,
    data_type: &DataType,
    option: &impl Fn(&str) -> String,
) -> Result<Values, DataflowError> {
    let integers = |least: i64, greatest: i64| {
        let (min, max) = (number(table, &option("min"), least)?, number(table, &option("max"), greatest)?);
        for (name, value) in [("min", min), ("max", max)] {
            if !(least..=greatest).contains(&value) {
                return Err(bad(table, &option(name), format!("the type holds {least} to {greatest}")));
            }
        }
        if min > max {
            return Err(bad(table, &option("max"), format!("it is less than the least value, {min}")));
        }
        Ok(Values::Integers(min.into(), max.into()))
    };
    let numbers = |greatest: f64| {
        let (min, max) = (number(table, &option("min"), 0.0)?, number(table, &option("max"), greatest)?);
        match min {
            _ if !f64::is_finite(max - min) => Err(bad(table, &option("max"), "the range is too wide")),
            min if min > max => Err(bad(table, &option("max"), format!("it is less than the least value, {min}"))),
            min => Ok(Values::Numbers(min, max)),
        }
    };
    let length = || match number(table, &option("length"), 100)? {
        length @ 1..=MAX_LENGTH => Ok((length, boolean(table, &option("var-len"), false)?)),
        _ => Err(bad(table, &option("length"), format!("1 to {MAX_LENGTH} is possible"))),
    };
    Ok(match data_type {
        DataType::Boolean => Values::Boolean,
        DataType::Int8 => integers(i8::MIN.into(), i8::MAX.into())?,
        DataType::Int16 => integers(i16::MIN.into(), i16::MAX.into())?,
        DataType::Int32 => integers(i32::MIN.into(), i32::MAX.into())?,
        DataType::Int64 => integers(i64::MIN, i64::MAX)?,
        DataType::Float32 => numbers(f32::MAX.into())?,
        DataType::Float64 => numbers(f64::MAX)?,
        DataType::Decimal128(precision, scale) => {
            let greatest = 10i128.pow(u32::from(*precision)) - 1;
            let unscaled = |name: &str, default: i128| match optional_number::<f64>(table, &option(name))? {
                None => Ok(default),
                Some(value) => match (value * 10f64.powi((*scale).into())).round() as i128 {
                    unscaled if unscaled.abs() <= greatest => Ok(unscaled),
                    _ => Err(bad(table, &option(name), format!("it does not fit {}", type_name(data_type)))),
                },
            };
            match (unscaled("min", -greatest)?, unscaled("max", greatest)?) {
                (min, max) if min > max => return Err(bad(table, &option("max"), "it is less than the least value")),
                (min, max) => Values::Integers(min, max),
            }
        }
        DataType::Utf8 => length().map(|(length, varies)| Values::Text(length, varies))?,
        DataType::Binary => length().map(|(length, varies)| Values::Bytes(length, varies))?,
        DataType::Timestamp(..) => {
            let past = duration(table, &option("max-past"))?.unwrap_or_default().as_millis();
            Values::Past(u64::try_from(past).map_err(|_| bad(table, &option("max-past"), "it is too long"))?)
        }
        DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) => Values::Past(0),
        other => return Err(unsupported(table, &option("kind"), other, "random")),
    })
}

fn sequence(
    table: &TableDescriptor,
    data_type: &DataType,
    option: &impl Fn(&str) -> String,
) -> Result<Values, DataflowError> {
    let bound = |name: &str| {
        optional_number::<i64>(table, &option(name))?.ok_or_else(|| bad(table, &option(name), "a sequence needs it"))
    };
    let (start, end) = (bound("start")?, bound("end")?);
    if end < start {
        return Err(bad(table, &option("end"), format!("it is before the start, {start}")));
    }
    let fits = |least: i64, greatest: i64| least <= start && end <= greatest;
    let (fits, one) = match data_type {
        DataType::Int8 => (fits(i8::MIN.into(), i8::MAX.into()), 1),
        DataType::Int16 => (fits(i16::MIN.into(), i16::MAX.into()), 1),
        DataType::Int32 => (fits(i32::MIN.into(), i32::MAX.into()), 1),
        DataType::Int64 | DataType::Float32 | DataType::Float64 | DataType::Utf8 => (true, 1),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            let whole = u32::from(*precision).saturating_sub(scale.unsigned_abs().into());
            let greatest = i64::try_from(10i128.pow(whole) - 1).unwrap_or(i64::MAX);
            (fits(-greatest, greatest), 10i128.pow(scale.unsigned_abs().into()))
        }
        other => return Err(unsupported(table, &option("kind"), other, "sequence")),
    };
    if !fits {
        return Err(bad(table, &option("end"), format!("{start} to {end} does not fit {}", type_name(data_type))));
    }
    Ok(Values::Sequence(start, end, one))
}

fn unsupported(table: &TableDescriptor, option: &str, data_type: &DataType, kind: &str) -> DataflowError {
    DataflowError::Unsupported {
        operator: format!("table {}", table.name),
        detail: format!(
            "connector 'datagen' cannot fill a column of type {} with '{option}' = '{kind}'",
            type_name(data_type)
        ),
    }
}

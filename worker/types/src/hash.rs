//! The hash of a key, fixed for ever: snapshots are sorted by it and key groups are ranges of it.
//!
//! A key's hash is a fold over its columns from left to right, starting at `SEED`: `h = mix(h ^ rotl(v, 23) * K1)`, where `v`
//! is the column value's own hash and `mix` is the 64-bit finaliser of MurmurHash3. Values hash by what they mean, not by how
//! they are stored, so that widening a key's type moves no key:
//!
//! | value | hashes as |
//! |---|---|
//! | NULL | the constant `NULL` |
//! | every integer, date, time, timestamp, boolean | `mix(i64 + K2)` of its value; timestamps in their own unit |
//! | decimal | trailing zeros of the fraction removed; an integer that fits i64 as that integer, else XXH3 of (i128 LE, scale) |
//! | float, double | as f64; one NaN, `-0.0` as `0.0`; XXH3 of its 8 bytes LE |
//! | string, binary | XXH3 of the bytes |
//! | array, row, map | XXH3 of the value's text |
//!
//! Golden values in this module's tests pin it.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, LargeStringArray, PrimitiveArray,
    StringArray, StringViewArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use arrow::datatypes::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_64;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const K1: u64 = 0xC2B2_AE3D_27D4_EB4F;
const K2: u64 = 0x1656_67B1_9E37_79F9;
const NULL: u64 = 0x27D4_EB2F_1656_67C5;

const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h ^= h >> 33;
    h = h.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

const fn fold(h: u64, value: u64) -> u64 {
    mix(h ^ value.rotate_left(23).wrapping_mul(K1))
}

const fn hash_i64(value: i64) -> u64 {
    mix((value as u64).wrapping_add(K2))
}

fn hash_f64(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    xxh3_64(&canonical.to_bits().to_le_bytes())
}

fn hash_decimal(mut value: i128, mut scale: i8) -> u64 {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    match i64::try_from(value) {
        Ok(integer) if scale <= 0 => hash_i64(integer),
        _ => {
            let mut bytes = [0u8; 17];
            bytes[..16].copy_from_slice(&value.to_le_bytes());
            bytes[16] = scale as u8;
            xxh3_64(&bytes)
        }
    }
}

/// Hash of a row's bytes, for indexes that never leave memory.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The hash of every row's key, given the key's columns in order. With no column, every row has the same hash.
///
/// # Errors
/// A column of a type that cannot be a key.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>, ArrowError> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        fold_column(column, &mut hashes)?;
    }
    Ok(hashes)
}

fn fold_with(array: &dyn Array, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    match array.nulls() {
        None => hashes.iter_mut().enumerate().for_each(|(row, h)| *h = fold(*h, value(row))),
        Some(nulls) => hashes.iter_mut().enumerate().for_each(|(row, h)| {
            *h = fold(*h, if nulls.is_null(row) { NULL } else { value(row) });
        }),
    }
}

fn fold_integers<T: ArrowPrimitiveType>(array: &ArrayRef, hashes: &mut [u64], to_i64: impl Fn(T::Native) -> i64) {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let values = array.values();
    fold_with(array, hashes, |row| hash_i64(to_i64(values[row])));
}

fn fold_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Null => hashes.iter_mut().for_each(|h| *h = fold(*h, NULL)),
        DataType::Boolean => {
            let array: &BooleanArray = column.as_boolean();
            fold_with(array, hashes, |row| hash_i64(i64::from(array.value(row))));
        }
        DataType::Int8 => fold_integers::<Int8Type>(column, hashes, i64::from),
        DataType::Int16 => fold_integers::<Int16Type>(column, hashes, i64::from),
        DataType::Int32 => fold_integers::<Int32Type>(column, hashes, i64::from),
        DataType::Int64 => fold_integers::<Int64Type>(column, hashes, |v| v),
        DataType::UInt8 => fold_integers::<UInt8Type>(column, hashes, i64::from),
        DataType::UInt16 => fold_integers::<UInt16Type>(column, hashes, i64::from),
        DataType::UInt32 => fold_integers::<UInt32Type>(column, hashes, i64::from),
        DataType::UInt64 => fold_integers::<UInt64Type>(column, hashes, |v| v as i64),
        DataType::Date32 => fold_integers::<Date32Type>(column, hashes, i64::from),
        DataType::Date64 => fold_integers::<Date64Type>(column, hashes, |v| v),
        DataType::Time32(TimeUnit::Second) => fold_integers::<Time32SecondType>(column, hashes, i64::from),
        DataType::Time32(_) => fold_integers::<Time32MillisecondType>(column, hashes, i64::from),
        DataType::Time64(TimeUnit::Microsecond) => fold_integers::<Time64MicrosecondType>(column, hashes, |v| v),
        DataType::Time64(_) => fold_integers::<Time64NanosecondType>(column, hashes, |v| v),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => fold_integers::<TimestampSecondType>(column, hashes, |v| v),
            TimeUnit::Millisecond => fold_integers::<TimestampMillisecondType>(column, hashes, |v| v),
            TimeUnit::Microsecond => fold_integers::<TimestampMicrosecondType>(column, hashes, |v| v),
            TimeUnit::Nanosecond => fold_integers::<TimestampNanosecondType>(column, hashes, |v| v),
        },
        DataType::Decimal128(_, scale) => {
            let array: &Decimal128Array = column.as_primitive::<Decimal128Type>();
            fold_with(array, hashes, |row| hash_decimal(array.value(row), *scale));
        }
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            fold_with(array, hashes, |row| hash_f64(f64::from(array.value(row))));
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            fold_with(array, hashes, |row| hash_f64(array.value(row)));
        }
        DataType::Utf8 => {
            let array: &StringArray = column.as_string();
            fold_with(array, hashes, |row| xxh3_64(array.value(row).as_bytes()));
        }
        DataType::LargeUtf8 => {
            let array: &LargeStringArray = column.as_string();
            fold_with(array, hashes, |row| xxh3_64(array.value(row).as_bytes()));
        }
        DataType::Utf8View => {
            let array: &StringViewArray = column.as_string_view();
            fold_with(array, hashes, |row| xxh3_64(array.value(row).as_bytes()));
        }
        DataType::Binary => {
            let array: &BinaryArray = column.as_binary();
            fold_with(array, hashes, |row| xxh3_64(array.value(row)));
        }
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            let options = FormatOptions::default().with_null("NULL");
            let text = ArrayFormatter::try_new(column, &options)?;
            fold_with(column, hashes, |row| xxh3_64(text.value(row).to_string().as_bytes()));
        }
        other => return Err(ArrowError::NotYetImplemented(format!("a column of type {other} cannot be a key"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array};
    use std::sync::Arc;

    fn one(array: impl Array + 'static) -> u64 {
        hash_columns(&[Arc::new(array)], 1).expect("a key type")[0]
    }

    #[test]
    fn widening_moves_no_key() {
        assert_eq!(one(Int32Array::from(vec![-5])), one(Int64Array::from(vec![-5])));
        let decimal = Decimal128Array::from(vec![-500]).with_precision_and_scale(10, 2).expect("fits");
        assert_eq!(one(decimal), one(Int64Array::from(vec![-5])));
        assert_eq!(one(Float64Array::from(vec![-0.0])), one(Float64Array::from(vec![0.0])));
        assert_eq!(one(StringArray::from(vec!["ab"])), one(StringViewArray::from(vec!["ab"])));
    }

    #[test]
    fn golden() {
        let keys: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(42), None])),
            Arc::new(StringArray::from(vec![Some("JFK"), Some("")])),
        ];
        let hashes = hash_columns(&keys, 2).expect("key types");
        assert_eq!(hashes, GOLDEN, "the hash is part of the snapshot format and must never change");
    }

    const GOLDEN: [u64; 2] = [6_066_631_231_885_537_809, 539_899_566_747_510_739];
}

//! Numbers, truth values and bytes as one another, as Java converts them.

use crate::functions::decimal::rounded;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, i256,
};
use datafusion_common::{Result, exec_err};
use std::sync::Arc;

pub(in crate::functions) fn column(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if let DataType::Boolean = array.data_type() {
        return column(&cast(array, &DataType::Int32)?, to);
    }
    match to {
        DataType::Boolean => Ok(Arc::new(truth(array)?)),
        DataType::Decimal128(precision, scale) => decimals(array, *precision, *scale),
        DataType::Int8 => narrowed::<Int8Type>(array, |v| v as i8),
        DataType::Int16 => narrowed::<Int16Type>(array, |v| v as i16),
        DataType::Int32 => narrowed::<Int32Type>(array, |v| v as i32),
        DataType::Int64 => narrowed::<Int64Type>(array, |v| v),
        DataType::Float32 | DataType::Float64 => floats(array, to),
        _ => exec_err!("no conversion of {} to {to}", array.data_type()),
    }
}

fn truth(array: &ArrayRef) -> Result<BooleanArray> {
    Ok(match array.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let values = cast(array, &DataType::Float64)?;
            values.as_primitive::<Float64Type>().iter().map(|v| v.map(|v| v != 0.0)).collect()
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v != 0)).collect(),
        _ => {
            let values = cast(array, &DataType::Int64)?;
            values.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| v != 0)).collect()
        }
    })
}

/// As a whole number: from a BIGINT cut off at the front, from fractions at the end.
fn narrowed<T: ArrowPrimitiveType>(array: &ArrayRef, from_long: fn(i64) -> T::Native) -> Result<ArrayRef> {
    let is_long = T::DATA_TYPE == DataType::Int64;
    let values: PrimitiveArray<T> = match array.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let wide = cast(array, &DataType::Float64)?;
            let wide = wide.as_primitive::<Float64Type>();
            // Java goes by way of INT to what is shorter.
            wide.unary(|v| from_long(if is_long { v as i64 } else { i64::from(v as i32) }))
        }
        DataType::Decimal128(_, scale) => {
            let by = 10_i128.pow(u32::from(scale.unsigned_abs()));
            array.as_primitive::<Decimal128Type>().unary(|v| from_long((v / by) as i64))
        }
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().unary(from_long),
    };
    Ok(Arc::new(values))
}

fn decimals(array: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
    let limit = 10_u128.pow(u32::from(precision));
    let fits = |v: i128| v.unsigned_abs() < limit;
    let fitted = |v: Option<i256>| v.and_then(i256::to_i128).filter(|v| fits(*v));
    let result: Decimal128Array = match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            values.iter().map(|v| v.and_then(|v| parse(&format!("{}", f64::from(v)), precision, scale))).collect()
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            values.iter().map(|v| v.and_then(|v| parse(&format!("{v}"), precision, scale))).collect()
        }
        DataType::Decimal128(_, from) if *from == scale => {
            array.as_primitive::<Decimal128Type>().unary_opt(|v| fits(v).then_some(v))
        }
        DataType::Decimal128(_, from) => {
            let digits = i32::from(*from) - i32::from(scale);
            let values = array.as_primitive::<Decimal128Type>();
            values.iter().map(|v| v.and_then(|v| fitted(Some(rounded(i256::from_i128(v), digits))))).collect()
        }
        _ => {
            let by = 10_i128.pow(u32::from(scale.unsigned_abs()));
            let values = cast(array, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            values.unary_opt(|v| i128::from(v).checked_mul(by).filter(|v| fits(*v)))
        }
    };
    Ok(Arc::new(result.with_precision_and_scale(precision, scale)?))
}

fn floats(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(..) = array.data_type() else { return Ok(cast(array, to)?) };
    let values = array.as_primitive::<Decimal128Type>();
    let texts = (0..values.len()).map(|row| values.is_valid(row).then(|| values.value_as_string(row)));
    Ok(match to {
        DataType::Float32 => {
            let one = |t: Option<String>| t.and_then(|t| t.parse::<f32>().ok());
            Arc::new(texts.map(one).collect::<PrimitiveArray<Float32Type>>())
        }
        _ => {
            let one = |t: Option<String>| t.and_then(|t| t.parse::<f64>().ok());
            Arc::new(texts.map(one).collect::<PrimitiveArray<Float64Type>>())
        }
    })
}

/// A number's text, with an exponent or without, as the digits of a DECIMAL; `None` if it is no number or does not fit.
pub(super) fn parse(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // All digits, then where the point lies in them.
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let kept = i64::from(exponent) + whole.len() as i64 + i64::from(scale);
    let digit = |at: i64| usize::try_from(at).ok().and_then(|at| all.get(at)).map_or(0, |b| i128::from(b - b'0'));
    let mut value: i128 = 0;
    for at in 0..kept {
        value = value.checked_mul(10)?.checked_add(digit(at))?;
        if value.unsigned_abs() >= 10_u128.pow(u32::from(precision)) {
            return None;
        }
    }
    if kept >= 0 && digit(kept) >= 5 {
        value += 1;
    }
    let fits = value.unsigned_abs() < 10_u128.pow(u32::from(precision));
    fits.then_some(if is_negative { -value } else { value })
}

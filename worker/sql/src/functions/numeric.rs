//! Functions of numbers, as Java computes them.

use super::decimal::rounded;
use super::scalar::{Integers, Texts, scalar, take, written};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::compute::kernels::cmp::{gt_eq, lt_eq};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and_kleene, cast, is_not_null, nullif};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    i256,
};
use datafusion_common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::f64::consts;
use std::sync::Arc;
use streamfleet_logical::type_name;

type Call = ScalarFunctionArgs;

pub(super) fn all() -> Vec<ScalarUDF> {
    let same: fn(&[DataType]) -> DataType = |types| types[0].clone();
    let double: fn(&[DataType]) -> DataType = |_| DataType::Float64;
    let text: fn(&[DataType]) -> DataType = |_| DataType::Utf8;
    macro_rules! of_double {
        ($($name:literal => $function:expr),* $(,)?) => {
            vec![$(scalar($name, |name, types| take(name, types, "d"), double, |c| of_one(c, $function))),*]
        };
    }
    macro_rules! of_two {
        ($name:literal, $function:expr) => {
            scalar($name, |name, types| take(name, types, "dd"), double, |c| of_pair(c, $function))
        };
    }
    let mut all = of_double! {
        "sqrt" => f64::sqrt, "exp" => f64::exp, "ln" => f64::ln, "log10" => f64::log10, "log2" => |v| v.ln() / 2_f64.ln(),
        "sin" => f64::sin, "cos" => f64::cos, "tan" => f64::tan, "cot" => |v| 1.0 / v.tan(),
        "asin" => f64::asin, "acos" => f64::acos, "atan" => f64::atan,
        "sinh" => f64::sinh, "cosh" => f64::cosh, "tanh" => f64::tanh,
        "degrees" => f64::to_degrees, "radians" => |v| v / 180.0 * consts::PI,
    };
    all.extend([
        of_two!("power", f64::powf),
        of_two!("atan2", f64::atan2),
        scalar(
            "log",
            |name, types| take(name, types, "d?d"),
            double,
            |c| match c.args.len() {
                1 => of_one(c, f64::ln),
                _ => of_pair(c, |base, v| v.ln() / base.ln()),
            },
        ),
        scalar("pi", |name, types| take(name, types, ""), double, |c| Ok(constant(c, consts::PI))),
        scalar("e", |name, types| take(name, types, ""), double, |c| Ok(constant(c, consts::E))),
        scalar("abs", number, same, |c| of_kind(c, &ABS)),
        scalar("sign", number, same, |c| of_kind(c, &SIGN)),
        scalar("floor", number, whole, |c| to_whole(c, f64::floor, i128::div_euclid)),
        scalar("ceil", number, whole, |c| to_whole(c, f64::ceil, |v, by| -(-v).div_euclid(by))),
        scalar("ceiling", number, whole, |c| to_whole(c, f64::ceil, |v, by| -(-v).div_euclid(by))),
        scalar(
            "bin",
            |name, types| take(name, types, "b"),
            text,
            |c| {
                let numbers = c.args[0].to_array(c.number_rows)?;
                let numbers = numbers.as_primitive::<Int64Type>().clone();
                Ok(written(c.number_rows, |row, out| {
                    out.push_str(&format!("{:b}", numbers.is_valid(row).then(|| numbers.value(row))?));
                    Some(())
                }))
            },
        ),
        scalar("hex", hex_types, text, hex),
        scalar("greatest", several, same, |c| extreme(c, true)),
        scalar("least", several, same, |c| extreme(c, false)),
        // `typing` gives it whole numbers only.
        scalar("mod", |name, types| take(name, types, "dd").map(|_| types.to_vec()), |types| types[1].clone(), rest),
        scalar("if", choice, |types| types[1].clone(), |_| exec_err!("IF is a CASE")),
        scalar("typeof", one, |_| DataType::Utf8, |_| exec_err!("TYPEOF is a constant")),
        scalar("ifnull", two, |types| types[0].clone(), |_| exec_err!("IFNULL is a COALESCE")),
        ScalarUDF::new_from_impl(Digits { rounds: true, signature: Signature::user_defined(Volatility::Immutable) }),
        ScalarUDF::new_from_impl(Digits { rounds: false, signature: Signature::user_defined(Volatility::Immutable) }),
    ]);
    all
}

fn number(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [one] if one.is_numeric() => Ok(types.to_vec()),
        [DataType::Null] => Ok(vec![DataType::Int32]),
        [other] => plan_err!("{} takes a number, not {}", name.to_uppercase(), type_name(other)),
        _ => plan_err!("{} does not take {} arguments", name.to_uppercase(), types.len()),
    }
}

fn several(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [] => plan_err!("{} does not take 0 arguments", name.to_uppercase()),
        [first, ..] if first.is_nested() => {
            plan_err!("{} of {} is not possible", name.to_uppercase(), type_name(first))
        }
        _ => Ok(types.to_vec()),
    }
}

fn choice(_: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Boolean, _, _] => Ok(types.to_vec()),
        _ => plan_err!("IF takes a condition and two values"),
    }
}

fn one(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    if types.len() == 1 {
        return Ok(types.to_vec());
    }
    plan_err!("{} takes one value", name.to_uppercase())
}

fn two(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    if types.len() == 2 {
        return Ok(types.to_vec());
    }
    plan_err!("{} takes two values", name.to_uppercase())
}

fn whole(types: &[DataType]) -> DataType {
    match &types[0] {
        DataType::Decimal128(precision, _) => DataType::Decimal128(*precision, 0),
        other => other.clone(),
    }
}

fn doubles(value: &ColumnarValue, rows: usize) -> Result<Float64Array> {
    Ok(value.to_array(rows)?.as_primitive::<Float64Type>().clone())
}

fn of_one(call: &Call, function: fn(f64) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(doubles(&call.args[0], call.number_rows)?.unary::<_, Float64Type>(function)))
}

fn of_pair(call: &Call, function: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (a, b) = (doubles(&call.args[0], call.number_rows)?, doubles(&call.args[1], call.number_rows)?);
    Ok(Arc::new(arrow::compute::binary::<_, _, _, Float64Type>(&a, &b, function)?))
}

fn constant(call: &Call, value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value; call.number_rows]))
}

/// `a % b` of whole numbers, of the type of `b`.
pub(crate) fn modulo(a: datafusion_expr::Expr, b: datafusion_expr::Expr) -> datafusion_expr::Expr {
    scalar("mod", |_, types| Ok(types.to_vec()), |types| types[1].clone(), rest).call(vec![a, b])
}

fn rest(call: &Call) -> Result<ArrayRef> {
    let to = call.return_field.data_type();
    // A constant divisor is the common case, and needs no column of its own.
    if let (ColumnarValue::Array(dividends), ColumnarValue::Scalar(divisor)) = (&call.args[0], &call.args[1])
        && let ScalarValue::Int64(Some(by)) = divisor.cast_to(&DataType::Int64)?
        && by != 0
    {
        let dividends = cast(dividends, &DataType::Int64)?;
        let dividends = dividends.as_primitive::<Int64Type>();
        return Ok(match to {
            DataType::Int32 => Arc::new(dividends.unary::<_, Int32Type>(|v| v.wrapping_rem(by) as i32)),
            DataType::Int64 => Arc::new(dividends.unary::<_, Int64Type>(|v| v.wrapping_rem(by))),
            _ => {
                let rests: ArrayRef = Arc::new(dividends.unary::<_, Int64Type>(|v| v.wrapping_rem(by)));
                super::cast::wrapped(&rests, to)?
            }
        });
    }
    let wide =
        |value: &ColumnarValue| Ok::<_, DataFusionError>(cast(&value.to_array(call.number_rows)?, &DataType::Int64)?);
    let rests = arrow::compute::kernels::numeric::rem(&wide(&call.args[0])?, &wide(&call.args[1])?)?;
    super::cast::wrapped(&rests, to)
}

/// One function for all kinds of numbers.
struct Kinds {
    long: fn(i64) -> i64,
    double: fn(f64) -> f64,
    /// Of a DECIMAL's digits and its one.
    decimal: fn(i128, i128) -> i128,
}

const ABS: Kinds = Kinds { long: i64::wrapping_abs, double: f64::abs, decimal: |v, _| v.abs() };
const SIGN: Kinds = Kinds {
    long: i64::signum,
    double: |v| if v == 0.0 || v.is_nan() { v } else { v.signum() },
    decimal: |v, one| v.signum() * one,
};

fn of_kind(call: &Call, kinds: &Kinds) -> Result<ArrayRef> {
    let array = call.args[0].to_array(call.number_rows)?;
    let (long, double) = (kinds.long, kinds.double);
    Ok(match array.data_type() {
        DataType::Int8 => Arc::new(array.as_primitive::<Int8Type>().unary::<_, Int8Type>(|v| long(v.into()) as i8)),
        DataType::Int16 => Arc::new(array.as_primitive::<Int16Type>().unary::<_, Int16Type>(|v| long(v.into()) as i16)),
        DataType::Int32 => Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int32Type>(|v| long(v.into()) as i32)),
        DataType::Int64 => Arc::new(array.as_primitive::<Int64Type>().unary::<_, Int64Type>(long)),
        DataType::Float32 => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|v| double(v.into()) as f32))
        }
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(double)),
        DataType::Decimal128(precision, scale) => {
            let one = 10_i128.pow(u32::from(scale.unsigned_abs()));
            let values = array.as_primitive::<Decimal128Type>();
            let values: Decimal128Array = values.unary(|v| (kinds.decimal)(v, one));
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        other => return exec_err!("{other} is no number"),
    })
}

fn to_whole(call: &Call, double: fn(f64) -> f64, decimal: fn(i128, i128) -> i128) -> Result<ArrayRef> {
    let array = call.args[0].to_array(call.number_rows)?;
    Ok(match array.data_type() {
        DataType::Decimal128(precision, scale) => {
            let by = 10_i128.pow(u32::from(scale.unsigned_abs()));
            let values: Decimal128Array = array.as_primitive::<Decimal128Type>().unary(|v| decimal(v, by));
            Arc::new(values.with_precision_and_scale(*precision, 0)?)
        }
        data_type if data_type.is_floating() => of_kind(call, &Kinds { double, ..ABS })?,
        _ => array,
    })
}

fn hex_types(_: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Utf8] => Ok(types.to_vec()),
        _ => take("hex", types, "b"),
    }
}

fn hex(call: &Call) -> Result<ArrayRef> {
    let array = call.args[0].to_array(call.number_rows)?;
    if let DataType::Utf8 = array.data_type() {
        let texts = Texts::of(&call.args[0])?;
        return Ok(written(call.number_rows, |row, out| {
            texts.get(row)?.bytes().for_each(|b| out.push_str(&format!("{b:02X}")));
            Some(())
        }));
    }
    let numbers = array.as_primitive::<Int64Type>();
    Ok(written(call.number_rows, |row, out| {
        out.push_str(&format!("{:X}", numbers.is_valid(row).then(|| numbers.value(row))?));
        Some(())
    }))
}

/// NULL if one of the values is.
fn extreme(call: &Call, greatest: bool) -> Result<ArrayRef> {
    let mut columns = call.args.iter().map(|a| a.to_array(call.number_rows));
    let Some(first) = columns.next() else { return exec_err!("no values") };
    let mut best = first?;
    for column in columns {
        let column = column?;
        let stays = if greatest { gt_eq(&best, &column)? } else { lt_eq(&best, &column)? };
        let are_there = and_kleene(&is_not_null(&best)?, &is_not_null(&column)?)?;
        let chosen = zip(&stays, &best, &column)?;
        best = nullif(&chosen, &arrow::compute::not(&are_there)?)?;
    }
    Ok(best)
}

/// `ROUND(number[, digits])` and `TRUNCATE(number[, digits])`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Digits {
    rounds: bool,
    signature: Signature,
}

impl Digits {
    /// The type of the result, with as many digits of a DECIMAL as are asked for.
    fn result(&self, data_type: &DataType, digits: Option<i32>) -> Result<DataType> {
        Ok(match data_type {
            DataType::Decimal128(precision, scale) => {
                let (p, s) = (i32::from(*precision), i32::from(*scale));
                match digits {
                    None => {
                        let name = self.name().to_uppercase();
                        return plan_err!("{name} of a DECIMAL to digits that are not a constant is not supported");
                    }
                    Some(digits) if digits >= s => data_type.clone(),
                    Some(digits) if digits < 0 => DataType::Decimal128((p - s + 1).min(38) as u8, 0),
                    Some(digits) => DataType::Decimal128((1 + p - s + digits).min(38) as u8, digits as i8),
                }
            }
            other => other.clone(),
        })
    }
}

impl ScalarUDFImpl for Digits {
    fn name(&self) -> &str {
        if self.rounds { "round" } else { "truncate" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let mut types = number(self.name(), arguments.get(..1).unwrap_or_default())?;
        types.extend(take(self.name(), arguments.get(1..).unwrap_or_default(), "?i")?);
        Ok(types)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("the digits decide the type")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let digits = match args.scalar_arguments.get(1) {
            None => Some(0),
            Some(Some(ScalarValue::Int32(digits))) => *digits,
            Some(Some(ScalarValue::Int64(digits))) => digits.and_then(|d| i32::try_from(d).ok()),
            Some(_) => None,
        };
        let data_type = self.result(args.arg_fields[0].data_type(), digits)?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = call.number_rows;
        let array = call.args[0].to_array(rows)?;
        let digits = match call.args.get(1) {
            Some(digits) => Integers::of(digits)?,
            None => Integers::Value(Some(0)),
        };
        let rounds = self.rounds;
        Ok(ColumnarValue::Array(match array.data_type() {
            DataType::Decimal128(..) => {
                let DataType::Decimal128(precision, scale) = call.return_field.data_type() else {
                    return exec_err!("a DECIMAL was expected");
                };
                let from = array.as_primitive::<Decimal128Type>();
                let drop = |digits: i32| i32::from(from.scale()) - digits;
                let one = |row: usize| {
                    let (value, digits) = (from.is_valid(row).then(|| from.value(row))?, digits.get(row)?);
                    let drop = drop(digits);
                    if drop <= 0 {
                        return Some(value);
                    }
                    let by = 10_i128.checked_pow(drop as u32);
                    let kept = match by {
                        None => 0,
                        Some(_) if rounds => rounded(i256::from_i128(value), drop).to_i128()?,
                        Some(by) => value / by,
                    };
                    // Digits before the point stay as zeros.
                    Some(kept * 10_i128.checked_pow((-digits).max(0) as u32).unwrap_or(0))
                };
                let values: Decimal128Array = (0..rows).map(one).collect();
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            data_type if data_type.is_floating() => {
                let wide = cast(&array, &DataType::Float64)?;
                let (wide, is_float) = (wide.as_primitive::<Float64Type>(), *data_type == DataType::Float32);
                let one = |row: usize| {
                    let value = wide.is_valid(row).then(|| wide.value(row))?;
                    let text = if is_float { format!("{}", value as f32) } else { format!("{value}") };
                    Some(of_digits(&text, digits.get(row)?, rounds).unwrap_or(value))
                };
                let values: Float64Array = (0..rows).map(one).collect();
                cast(&values, data_type)?
            }
            data_type => {
                let wide = cast(&array, &DataType::Int64)?;
                let wide = wide.as_primitive::<Int64Type>();
                let one = |row: usize| {
                    let (value, digits) = (wide.is_valid(row).then(|| wide.value(row))?, digits.get(row)?);
                    if digits >= 0 {
                        return Some(value);
                    }
                    let Some(by) = 10_i128.checked_pow((-digits) as u32) else { return Some(0) };
                    let kept = match rounds {
                        true => rounded(i256::from_i128(value.into()), -digits).to_i128()?,
                        false => i128::from(value) / by,
                    };
                    // Cut off at the front, as in Java.
                    Some(kept.wrapping_mul(by) as i64)
                };
                let values: arrow::array::Int64Array = (0..rows).map(one).collect();
                super::cast::wrapped(&(Arc::new(values) as ArrayRef), data_type)?
            }
        }))
    }
}

/// A DOUBLE's shortest text with so many digits behind the point; `None` if nothing is to be done.
fn of_digits(text: &str, digits: i32, rounds: bool) -> Option<f64> {
    let (is_negative, body) = text.strip_prefix('-').map_or((false, text), |body| (true, body));
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if !whole.bytes().all(|b| b.is_ascii_digit()) || (fraction.len() as i64) <= i64::from(digits) || body.len() > 36 {
        return None;
    }
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    let drop = fraction.len() as i32 - digits;
    let kept = match 10_i128.checked_pow(drop as u32) {
        None => 0,
        Some(_) if rounds => rounded(i256::from_i128(all), drop).to_i128()?,
        Some(by) => all / by,
    };
    let value: f64 = format!("{kept}e{}", -digits).parse().ok()?;
    Some(if is_negative { -value } else { value })
}

//! Arithmetic of DECIMAL with Flink's result types: rounded half up, NULL where the result does not fit its type.

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, i256};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// The most digits of a DECIMAL.
const MOST: i32 = 38;
/// Digits behind the point that a result keeps if digits must go.
const LEAST_SCALE: i32 = 6;

/// Precision and scale of a number as a DECIMAL, as Flink sees it.
pub(crate) const fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// The type that holds both of two.
pub(crate) fn common((p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> (u8, i8) {
    let scale = s1.max(s2);
    let whole = (p1 as i8 - s1).max(p2 as i8 - s2);
    adjusted(i32::from(whole) + i32::from(scale), i32::from(scale))
}

fn adjusted(precision: i32, scale: i32) -> (u8, i8) {
    if precision <= MOST {
        return (precision as u8, scale as i8);
    }
    let whole = precision - scale;
    (MOST as u8, (MOST - whole).max(scale.min(LEAST_SCALE)) as i8)
}

fn result_type(op: Operator, (p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> (u8, i8) {
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    match op {
        Operator::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        Operator::Divide => {
            let scale = LEAST_SCALE.max(s1 + p2 + 1);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        Operator::Modulo => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).min(p2 - s2) + scale, scale)
        }
        _ => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
    }
}

/// `left op right` of two exact numbers, one of them a DECIMAL.
pub(crate) fn arithmetic(op: Operator, left: Expr, right: Expr) -> Expr {
    let name = match op {
        Operator::Plus => "decimal +",
        Operator::Minus => "decimal -",
        Operator::Multiply => "decimal *",
        Operator::Divide => "decimal /",
        _ => "decimal %",
    };
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::new_from_impl(Arithmetic { name, op, signature }).call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl Arithmetic {
    fn types(&self, arguments: &[DataType]) -> Result<[(u8, i8); 3]> {
        match (as_decimal(&arguments[0]), as_decimal(&arguments[1])) {
            (Some(a), Some(b)) => Ok([a, b, result_type(self.op, a, b)]),
            _ => plan_err!("{} of {} and {}", self.name, arguments[0], arguments[1]),
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [_, _, (precision, scale)] = self.types(arguments)?;
        Ok(DataType::Decimal128(precision, scale))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = call.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let [(p1, s1), (p2, s2), (precision, scale)] = self.types(&types)?;
        let (left, right) = (Operand::of(&call.args[0])?, Operand::of(&call.args[1])?);
        let rows = call.number_rows;
        let (s1, s2, s) = (i32::from(s1), i32::from(s2), i32::from(scale));
        let narrow = i32::from(p1).max(i32::from(p2)) <= 18;
        let result: Decimal128Array = match self.op {
            // The product of these digits fits, and is not rounded.
            Operator::Multiply if i32::from(p1) + i32::from(p2) <= MOST && s == s1 + s2 => {
                left.fast(&right, rows, i128::wrapping_mul)?
            }
            Operator::Plus | Operator::Minus if narrow && s == s1.max(s2) => {
                let (up_left, up_right) = (10_i128.pow((s - s1) as u32), 10_i128.pow((s - s2) as u32));
                let sign = if self.op == Operator::Plus { 1 } else { -1 };
                left.fast(&right, rows, |a, b| {
                    // NULLs may hold anything.
                    a.wrapping_mul(up_left).wrapping_add(b.wrapping_mul(up_right).wrapping_mul(sign))
                })?
            }
            op => left.with(&right, rows, |a, b| {
                let (a, b) = (i256::from_i128(a), i256::from_i128(b));
                let exact = match op {
                    Operator::Multiply => Some(rounded(a * b, s1 + s2 - s)),
                    Operator::Divide => divided(a, b, s + s2 - s1)?,
                    _ => {
                        let common = s1.max(s2);
                        let (a, b) = (a * power(common - s1), b * power(common - s2));
                        if op == Operator::Modulo && b == i256::ZERO {
                            return exec_err!("Division by zero");
                        }
                        let exact = match op {
                            Operator::Plus => a + b,
                            Operator::Minus => a - b,
                            _ => a % b,
                        };
                        Some(rounded(exact, common - s))
                    }
                };
                Ok(exact.and_then(i256::to_i128).filter(|v| v.unsigned_abs() < 10_u128.pow(u32::from(precision))))
            })?,
        };
        let result: ArrayRef = Arc::new(result.with_precision_and_scale(precision, scale)?);
        if let [ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)] = &call.args[..] {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn power(exponent: i32) -> i256 {
    let mut value = i256::ONE;
    for _ in 0..exponent {
        value = value.wrapping_mul(i256::from_i128(10));
    }
    value
}

/// Without this many digits at the end, rounded half up (away from zero).
pub(super) fn rounded(value: i256, digits: i32) -> i256 {
    if digits <= 0 {
        return value * power(-digits);
    }
    half_up(value, power(digits))
}

fn half_up(value: i256, by: i256) -> i256 {
    let (quotient, rest) = (value / by, value % by);
    let (rest, by) = (if rest.is_negative() { -rest } else { rest }, if by.is_negative() { -by } else { by });
    if rest < by - rest {
        quotient
    } else if value.is_negative() == by.is_negative() {
        quotient + i256::ONE
    } else {
        quotient - i256::ONE
    }
}

/// `a * 10^exponent / b`, rounded half up.
fn divided(a: i256, b: i256, exponent: i32) -> Result<Option<i256>> {
    if b == i256::ZERO {
        return exec_err!("Division by zero");
    }
    let is_negative = a.is_negative() != b.is_negative();
    let positive = |v: i256| if v.is_negative() { -v } else { v };
    let (a, b) = (positive(a), positive(b));
    let (a, b) = if exponent < 0 { (Some(a), b * power(-exponent)) } else { (a.checked_mul(power(exponent)), b) };
    let Some(a) = a else { return exec_err!("a division of DECIMAL needs more than 76 digits") };
    let quotient = half_up(a, b);
    Ok(Some(if is_negative { -quotient } else { quotient }))
}

/// One side: whole numbers are decimals of scale 0.
enum Operand {
    Wide(Decimal128Array),
    Long(arrow::array::Int64Array),
    Value(Option<i128>),
}

impl Operand {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let array_of = |array: &ArrayRef| -> Result<Self> {
            Ok(match array.data_type() {
                DataType::Decimal128(..) => Self::Wide(array.as_primitive::<Decimal128Type>().clone()),
                _ => Self::Long(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            })
        };
        match value {
            ColumnarValue::Array(array) => array_of(array),
            ColumnarValue::Scalar(scalar) => Ok(Self::Value(match array_of(&scalar.to_array()?)? {
                Self::Wide(one) => one.is_valid(0).then(|| one.value(0)),
                Self::Long(one) => one.is_valid(0).then(|| i128::from(one.value(0))),
                Self::Value(one) => one,
            })),
        }
    }

    fn get(&self, row: usize) -> Option<i128> {
        match self {
            Self::Wide(values) => values.is_valid(row).then(|| values.value(row)),
            Self::Long(values) => values.is_valid(row).then(|| i128::from(values.value(row))),
            Self::Value(value) => *value,
        }
    }

    /// The same of a computation that cannot fail, without a look at each row.
    fn fast(&self, other: &Self, rows: usize, compute: impl Fn(i128, i128) -> i128) -> Result<Decimal128Array> {
        Ok(match (self, other) {
            (Self::Value(Some(a)), Self::Long(b)) => b.unary(|b| compute(*a, b.into())),
            (Self::Long(a), Self::Value(Some(b))) => a.unary(|a| compute(a.into(), *b)),
            (Self::Value(Some(a)), Self::Wide(b)) => b.unary(|b| compute(*a, b)),
            (Self::Wide(a), Self::Value(Some(b))) => a.unary(|a| compute(a, *b)),
            (Self::Wide(a), Self::Wide(b)) => arrow::compute::binary(a, b, compute)?,
            (Self::Wide(a), Self::Long(b)) => arrow::compute::binary(a, b, |a, b| compute(a, b.into()))?,
            (Self::Long(a), Self::Wide(b)) => arrow::compute::binary(a, b, |a, b| compute(a.into(), b))?,
            _ => self.with(other, rows, |a, b| Ok(Some(compute(a, b))))?,
        })
    }

    fn with(
        &self,
        other: &Self,
        rows: usize,
        compute: impl Fn(i128, i128) -> Result<Option<i128>>,
    ) -> Result<Decimal128Array> {
        let one = |row| match (self.get(row), other.get(row)) {
            (Some(a), Some(b)) => compute(a, b),
            _ => Ok(None),
        };
        (0..rows).map(one).collect()
    }
}

//! `CAST` and `TRY_CAST` with Flink's meaning: numbers wrap and are cut off as in Java, decimals are rounded half up and
//! NULL where they do not fit, texts are read and written in Flink's shapes.

mod from_text;
mod numbers;
mod times;
mod to_text;

use crate::sql_type::{Length, SqlType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, new_null_array};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
pub(crate) use from_text::{date, timestamp};
pub(super) use numbers::column as wrapped;
use std::sync::Arc;
use streamfleet_logical::type_name;
pub(crate) use times::per_second;
pub(super) use to_text::double as double_text;

/// What a conversion's function is called, before the type.
pub(crate) const CAST: &str = "cast as ";
/// The same of one that gives NULL for what cannot be converted.
pub(crate) const TRY_CAST: &str = "try cast as ";

/// The function with this name, if it is a conversion's.
pub(crate) fn of_name(name: &str) -> Option<ScalarUDF> {
    let (text, is_safe) = match name.strip_prefix(TRY_CAST) {
        Some(text) => (text, true),
        None => (name.strip_prefix(CAST)?, false),
    };
    Some(function(SqlType::parse(text).ok()?, is_safe))
}

fn function(to: SqlType, is_safe: bool) -> ScalarUDF {
    let name = format!("{}{to}", if is_safe { TRY_CAST } else { CAST });
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(Conversion { name, to, is_safe, signature })
}

/// An expression of type `from` as another type; as Arrow's own cast where that has the same meaning.
pub(crate) fn convert(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    if from == to {
        return expr;
    }
    if is_arrows(from, to) {
        return datafusion_expr::cast(expr, to.clone());
    }
    function(to.clone().into(), false).call(vec![expr])
}

/// The same for a conversion that the query asks for, if Arrow's own cast is the same.
pub(crate) fn simpler(call: &datafusion_expr::expr::ScalarFunction, from: &DataType) -> Option<Expr> {
    let conversion = call.func.inner().downcast_ref::<Conversion>()?;
    let [argument] = &call.args[..] else { return None };
    if conversion.to.length.is_some() {
        return None;
    }
    let to = &conversion.to.data_type;
    if from == to {
        return Some(argument.clone());
    }
    if let Expr::Literal(value, metadata) = argument
        && value.is_null()
    {
        return ScalarValue::try_from(to).ok().map(|null| Expr::Literal(null, metadata.clone()));
    }
    is_arrows(from, to).then(|| datafusion_expr::cast(argument.clone(), to.clone()))
}

/// True where Arrow's cast is Flink's.
fn is_arrows(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let width = |t: &T| t.primitive_width().unwrap_or(0);
    match (from, to) {
        (a, b) if a.is_integer() && b.is_integer() => width(a) <= width(b),
        (a, T::Float32 | T::Float64) if a.is_integer() => true,
        (T::Float32, T::Float64) => true,
        (T::Timestamp(a, from), T::Timestamp(b, to)) => from == to && per_second(*a) <= per_second(*b),
        (T::Decimal128(p1, s1), T::Decimal128(p2, s2)) => s2 >= s1 && (*p2 as i8 - s2) >= (*p1 as i8 - s1),
        (a, T::Decimal128(p, s)) if a.is_integer() => {
            super::decimal::as_decimal(a).is_some_and(|(whole, _)| *p as i8 - *s >= whole as i8)
        }
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    /// Holds the type: ids and fingerprints are made of names.
    name: String,
    to: SqlType,
    is_safe: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if !is_possible(&arguments[0], &self.to.data_type) {
            let cast = if self.is_safe { "TRY_CAST" } else { "CAST" };
            return plan_err!("{cast} of {} AS {} is not possible", type_name(&arguments[0]), self.to);
        }
        Ok(self.to.data_type.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &call.args[0] {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(converted(array, &self.to, self.is_safe)?)),
            ColumnarValue::Scalar(scalar) => {
                let one = converted(&scalar.to_array()?, &self.to, self.is_safe)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
            }
        }
    }
}

/// Whether there is a conversion at all.
pub(super) fn is_possible(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let is_number = |t: &T| t.is_numeric();
    match (from, to) {
        (T::Null, _) => true,
        (T::Interval(_) | T::Duration(_), _) | (_, T::Interval(_)) => false,
        (a, b) if a == b => true,
        // The order of a MAP's entries is not Flink's.
        (T::Map(..), _) => false,
        (a, T::Utf8) => !matches!(a, T::Struct(_) | T::List(_)) || nested_has_text(a),
        (T::Utf8, b) => !b.is_nested(),
        (T::Boolean, b) | (b, T::Boolean) => is_number(b),
        (a, b) if is_number(a) && is_number(b) => true,
        (T::Date32, T::Timestamp(..)) | (T::Timestamp(..), T::Date32 | T::Time32(_)) => true,
        (T::Time32(_), T::Timestamp(..)) => false,
        (T::Timestamp(..), T::Timestamp(..)) => true,
        _ => false,
    }
}

fn nested_has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|f| nested_has_text(f.data_type())),
        DataType::List(field) => nested_has_text(field.data_type()),
        other => is_possible(other, &DataType::Utf8),
    }
}

fn converted(array: &ArrayRef, to: &SqlType, is_safe: bool) -> Result<ArrayRef> {
    use DataType as T;
    let converted = match (array.data_type(), &to.data_type) {
        (T::Null, to) => new_null_array(to, array.len()),
        (a, b) if a == b => Arc::clone(array),
        (_, T::Utf8) => to_text::column(array)?,
        (T::Utf8, to) => from_text::column(array.as_string(), to, is_safe)?,
        (T::Date32 | T::Time32(_) | T::Timestamp(..), to) => times::column(array, to)?,
        (_, to) => numbers::column(array, to)?,
    };
    Ok(match (to.length, converted.data_type()) {
        (None, _) => converted,
        (Some(length), T::Binary) => Arc::new(fitted_bytes(converted.as_binary(), length)),
        (Some(length), _) => Arc::new(fitted_texts(converted.as_string(), length)),
    })
}

fn fitted_texts(texts: &StringArray, length: Length) -> StringArray {
    let fit = |text: &str| -> String {
        let (Length::Fixed(n) | Length::Most(n)) = length;
        let mut cut: String = text.chars().take(n).collect();
        if let Length::Fixed(n) = length {
            cut.extend(std::iter::repeat_n(' ', n.saturating_sub(cut.chars().count())));
        }
        cut
    };
    texts.iter().map(|t| t.map(fit)).collect()
}

fn fitted_bytes(bytes: &BinaryArray, length: Length) -> BinaryArray {
    let fit = |bytes: &[u8]| -> Vec<u8> {
        let (Length::Fixed(n) | Length::Most(n)) = length;
        let mut cut = bytes[..n.min(bytes.len())].to_vec();
        if let Length::Fixed(n) = length {
            cut.resize(n, 0);
        }
        cut
    };
    bytes.iter().map(|b| b.map(fit)).collect()
}

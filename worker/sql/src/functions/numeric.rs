//! Numeric functions.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::kernels::numeric::rem;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(Modulo::new())]
}

/// `MOD(a, b)`: the sign is the dividend's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Modulo {
    signature: Signature,
}

impl Modulo {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Modulo {
    fn name(&self) -> &str {
        "mod"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b] = arguments else { return plan_err!("MOD takes two numbers") };
        let wide = match (a, b) {
            (a, b) if a.is_integer() && b.is_integer() => DataType::Int64,
            (a, b) if a.is_numeric() && b.is_numeric() => DataType::Float64,
            _ => return plan_err!("MOD takes two numbers, not {a} and {b}"),
        };
        Ok(vec![wide.clone(), wide])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // A constant divisor is the common case, and needs no column of its own.
        if let [ColumnarValue::Array(dividends), ColumnarValue::Scalar(divisor)] = &call.args[..]
            && let datafusion_common::ScalarValue::Int64(Some(divisor)) = divisor
            && *divisor != 0
        {
            let dividends = dividends.as_primitive::<Int64Type>();
            let rests: Int64Array = dividends.unary(|v| v.wrapping_rem(*divisor));
            return Ok(ColumnarValue::Array(Arc::new(rests)));
        }
        let columns: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&call.args)?;
        Ok(ColumnarValue::Array(rem(&columns[0], &columns[1])?))
    }
}

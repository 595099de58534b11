//! Aggregate functions, for planning only: types by Flink's rules; the work is done by our own operators.

use arrow::datatypes::DataType;
use datafusion_common::{Result, not_impl_err, plan_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

pub(super) fn all() -> Vec<AggregateUDF> {
    ["count", "sum", "avg", "min", "max", "first_value", "last_value"]
        .into_iter()
        .map(|name| {
            let signature = match name {
                "count" => Signature::variadic_any(Volatility::Immutable),
                _ => Signature::any(1, Volatility::Immutable),
            };
            AggregateUDF::new_from_impl(Aggregate { name, signature })
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn is_nullable(&self) -> bool {
        self.name != "count"
    }

    fn default_value(&self, data_type: &DataType) -> Result<datafusion_common::ScalarValue> {
        if self.name == "count" {
            return Ok(datafusion_common::ScalarValue::Int64(Some(0)));
        }
        datafusion_common::ScalarValue::try_from(data_type)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if self.name == "count" {
            return Ok(DataType::Int64);
        }
        let Some(argument) = arguments.first() else { return plan_err!("{} takes one argument", self.name) };
        Ok(match (self.name, argument) {
            ("sum", DataType::Decimal128(_, scale)) => DataType::Decimal128(38, *scale),
            ("avg", DataType::Decimal128(_, scale)) => DataType::Decimal128(38, (*scale).max(6)),
            ("sum" | "avg", other) if !other.is_numeric() => {
                let name = self.name.to_uppercase();
                return plan_err!("{name} takes a number, not {}", streamfleet_logical::type_name(other));
            }
            (_, other) => other.clone(),
        })
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is computed by the streaming operators", self.name)
    }
}

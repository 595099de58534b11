//! Which aggregate calls the operators can compute: asked by the planner, so that a query is refused before it runs.

use crate::{AggregateCall, AggregateFunction};
use arrow::datatypes::DataType;
use std::fmt;

/// Why an aggregate call cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnsupportedAggregate {
    /// Only `COUNT` can do without an argument.
    NoArgument(AggregateFunction),
    /// The function does not take values of this type.
    Argument(AggregateFunction, DataType),
    /// The result depends on the order of arrival, and the input takes rows back.
    OverChanges(AggregateFunction),
}

impl fmt::Display for UnsupportedAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArgument(function) => write!(f, "{function} of *"),
            Self::Argument(function, data_type) => write!(f, "{function} of {data_type}"),
            Self::OverChanges(function) => write!(
                f,
                "{function} over an input with updates or deletions (which row is first or last is not known once rows \
                 are taken back; use MIN or MAX, or ROW_NUMBER() with an ORDER BY)"
            ),
        }
    }
}

impl std::error::Error for UnsupportedAggregate {}

/// Whether the operators can compute `call`, given its argument's type (`None` for `*`). `input_changes`: the input carries
/// updates or deletions.
///
/// # Errors
/// They cannot; the error says why.
pub fn supported(
    call: &AggregateCall,
    argument: Option<&DataType>,
    input_changes: bool,
) -> Result<(), UnsupportedAggregate> {
    use AggregateFunction as F;
    let Some(argument) = argument else {
        return if call.function == F::Count { Ok(()) } else { Err(UnsupportedAggregate::NoArgument(call.function)) };
    };
    let takes = match call.function {
        F::Count | F::FirstValue | F::LastValue => true,
        F::Sum | F::Avg => is_number(argument),
        F::Min | F::Max => is_number(argument) || is_ordered(argument),
    };
    if !takes {
        return Err(UnsupportedAggregate::Argument(call.function, argument.clone()));
    }
    if input_changes && matches!(call.function, F::FirstValue | F::LastValue) {
        return Err(UnsupportedAggregate::OverChanges(call.function));
    }
    Ok(())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
}

const fn is_ordered(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean | T::Utf8 | T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_)
    )
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;

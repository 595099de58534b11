//! Arguments as numbers: integers (and everything stored as one), decimals, floats.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;

/// How values of a type are kept while they are aggregated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// As i64: integers, booleans, dates, times, timestamps.
    Integer,
    /// As i128.
    Decimal,
    /// As f64.
    Float,
}

impl Number {
    /// The kind of a type; `None` for strings and nested types.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Decimal128(..) => Some(Self::Decimal),
            DataType::Float32 | DataType::Float64 => Some(Self::Float),
            t if t.is_integer() || t.is_temporal() || *t == DataType::Boolean => Some(Self::Integer),
            _ => None,
        }
    }
}

/// A column of numbers, widened.
pub(crate) enum Numbers {
    Integer(ArrayRef),
    Decimal(ArrayRef),
    Float(ArrayRef),
}

impl Numbers {
    /// Widens a column; temporal values count as integers of their own unit.
    pub fn of(column: &ArrayRef, kind: Number) -> Result<Self, ArrowError> {
        Ok(match kind {
            Number::Decimal => Self::Decimal(column.clone()),
            Number::Float => Self::Float(cast(column, &DataType::Float64)?),
            Number::Integer => {
                let narrow = match column.data_type() {
                    DataType::Date32 | DataType::Time32(_) => cast(column, &DataType::Int32)?,
                    _ => column.clone(),
                };
                Self::Integer(cast(&narrow, &DataType::Int64)?)
            }
        })
    }

    pub fn into_array(self) -> ArrayRef {
        match self {
            Self::Integer(a) | Self::Decimal(a) | Self::Float(a) => a,
        }
    }

    pub fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Integer(a) | Self::Decimal(a) | Self::Float(a) => a.is_valid(row),
        }
    }

    pub fn integers(&self) -> &[i64] {
        match self {
            Self::Integer(a) => a.as_primitive::<Int64Type>().values(),
            Self::Decimal(_) | Self::Float(_) => &[],
        }
    }

    pub fn decimals(&self) -> &[i128] {
        match self {
            Self::Decimal(a) => a.as_primitive::<Decimal128Type>().values(),
            Self::Integer(_) | Self::Float(_) => &[],
        }
    }

    pub fn floats(&self) -> &[f64] {
        match self {
            Self::Float(a) => a.as_primitive::<Float64Type>().values(),
            Self::Integer(_) | Self::Decimal(_) => &[],
        }
    }
}

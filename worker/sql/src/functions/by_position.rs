//! A conversion of nested values by position, as Flink's: DataFusion's casts match the fields of rows by name.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// An expression of a nested type as another one of the same shape.
pub(crate) fn by_position(expression: Expr, to: &DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let name = format!("by_position<{to}>");
    ScalarUDF::new_from_impl(ByPosition { name, to: to.clone(), signature }).call(vec![expression])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByPosition {
    /// Holds the type: ids and fingerprints are made of names.
    name: String,
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ByPosition {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        Ok(ColumnarValue::Array(convert(&columns[0], &self.to)?))
    }
}

fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match (array.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(array)),
        (DataType::Null, to) => Ok(new_null_array(to, array.len())),
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            let rows = array.as_struct();
            let parts = rows.columns().iter().zip(to).map(|(c, f)| convert(c, f.data_type()));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let rows = StructArray::try_new_with_length(to.clone(), parts, rows.nulls().cloned(), rows.len())?;
            Ok(Arc::new(rows))
        }
        (DataType::List(_), DataType::List(to)) => {
            let lists = array.as_list::<i32>();
            let values = convert(lists.values(), to.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(to), lists.offsets().clone(), values, lists.nulls().cloned())?))
        }
        (DataType::Map(..), DataType::Map(to, sorted)) => {
            let maps = array.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            let entries = convert(&entries, to.data_type())?.as_struct().clone();
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(to), offsets, entries, nulls, *sorted)?))
        }
        (from, to) if from.is_nested() || to.is_nested() => exec_err!("{from} is not of the shape of {to}"),
        _ => Ok(cast(array, to)?),
    }
}

#[cfg(test)]
#[path = "by_position_tests.rs"]
mod tests;

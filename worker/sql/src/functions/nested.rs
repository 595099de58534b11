//! Arrays, maps and rows.

use super::scalar::{Integers, Texts, counted, scalar};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{interleave, take as take_rows};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use streamfleet_logical::type_name;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        scalar("item at", item_types, item_type, item),
        scalar("array of", elements_types, |types| list_of(types.first().unwrap_or(&DataType::Null)), array_of),
        scalar("cardinality", collection, |_| DataType::Int32, cardinality),
        ScalarUDF::new_from_impl(FieldOf { signature: Signature::user_defined(Volatility::Immutable) }),
    ]
}

fn list_of(element: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element.clone(), true)))
}

fn collection(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::List(_) | DataType::Map(..)] => Ok(types.to_vec()),
        _ => plan_err!("{} takes an ARRAY or MAP", name.to_uppercase()),
    }
}

fn elements_types(_: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types.first() {
        None => plan_err!("ARRAY[] without elements is not supported"),
        Some(first) if types.iter().all(|t| t == first) => Ok(types.to_vec()),
        // Before `typing` has given them one type.
        Some(_) => Ok(vec![types.iter().find(|t| !t.is_integer()).unwrap_or(&types[0]).clone(); types.len()]),
    }
}

fn item_types(_: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [list @ DataType::List(_), index] if index.is_integer() => Ok(vec![list.clone(), DataType::Int32]),
        [map @ DataType::Map(..), key] if *key == DataType::Utf8 && key_type(map) == Some(&DataType::Utf8) => {
            Ok(vec![map.clone(), DataType::Utf8])
        }
        [map @ DataType::Map(..), _] => {
            plan_err!("a key of {} that is not a STRING is not supported", type_name(map))
        }
        [DataType::List(_), other] => plan_err!("an ARRAY's index is a whole number, not {}", type_name(other)),
        [other, ..] => plan_err!("[..] of {} is not possible", type_name(other)),
        [] => plan_err!("[..] of nothing"),
    }
}

fn key_type(map: &DataType) -> Option<&DataType> {
    match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.first().map(|f| f.data_type()),
            _ => None,
        },
        _ => None,
    }
}

fn item_type(types: &[DataType]) -> DataType {
    match &types[0] {
        DataType::List(element) => element.data_type().clone(),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => fields[1].data_type().clone(),
            _ => DataType::Null,
        },
        _ => DataType::Null,
    }
}

/// The element at an index from 1, or the value of a key; NULL if there is none.
fn item(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let rows = call.number_rows;
    let all = call.args[0].to_array(rows)?;
    let found: UInt32Array = if let DataType::List(_) = all.data_type() {
        let (lists, indices) = (all.as_list::<i32>(), Integers::of(&call.args[1])?);
        let one = |row: usize| {
            let (from, to) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
            let index = indices.get(row).filter(|i| lists.is_valid(row) && *i >= 1 && *i <= to - from)?;
            Some((from + index - 1) as u32)
        };
        (0..rows).map(one).collect()
    } else {
        let (maps, keys) = (all.as_map(), Texts::of(&call.args[1])?);
        let of_entries = maps.keys().as_string::<i32>();
        let one = |row: usize| {
            let key = keys.get(row).filter(|_| maps.is_valid(row))?;
            let mut range = maps.value_offsets()[row]..maps.value_offsets()[row + 1];
            range.find(|at| of_entries.value(*at as usize) == key).map(|at| at as u32)
        };
        (0..rows).map(one).collect()
    };
    let values = match all.data_type() {
        DataType::List(_) => all.as_list::<i32>().values(),
        _ => all.as_map().values(),
    };
    Ok(take_rows(values, &found, None)?)
}

fn array_of(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let rows = call.number_rows;
    let columns = call.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let references: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let order: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..columns.len()).map(move |c| (c, row))).collect();
    let values = interleave(&references, &order)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(columns.len(), rows));
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(element, offsets, values, None)?))
}

fn cardinality(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let all = call.args[0].to_array(call.number_rows)?;
    let offsets = match all.data_type() {
        DataType::List(_) => all.as_list::<i32>().value_offsets().to_vec(),
        _ => all.as_map().value_offsets().to_vec(),
    };
    Ok(counted(all.len(), |row| all.is_valid(row).then(|| offsets[row + 1] - offsets[row])))
}

/// `value.field` where the value is computed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FieldOf {
    signature: Signature,
}

impl ScalarUDFImpl for FieldOf {
    fn name(&self) -> &str {
        "field of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("the field's name decides the type")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(Some(ScalarValue::Utf8(Some(name)))) = args.scalar_arguments.get(1) else {
            return plan_err!("a field's name is a constant");
        };
        match args.arg_fields[0].data_type() {
            DataType::Struct(fields) => match fields.find(name) {
                Some((_, field)) => Ok(Arc::new(field.as_ref().clone().with_nullable(true))),
                None => plan_err!("no field `{name}` in {}", type_name(args.arg_fields[0].data_type())),
            },
            other => plan_err!("no field `{name}` in {}", type_name(other)),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = call.args[0].to_array(call.number_rows)?;
        let name = Texts::of(&call.args[1])?;
        let rows = rows.as_struct();
        let Some(column) = name.get(0).and_then(|n| rows.column_by_name(n)) else {
            return plan_err!("no such field");
        };
        let nulls = arrow::buffer::NullBuffer::union(rows.nulls(), column.nulls());
        let data = column.to_data().into_builder().nulls(nulls).build()?;
        Ok(ColumnarValue::Array(arrow::array::make_array(data)))
    }
}

//! Fields go by position, and NULL rows stay NULL.

use super::convert;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use std::sync::Arc;

fn fields(names: [&str; 2], data_type: &DataType) -> Fields {
    names.map(|name| Field::new(name, data_type.clone(), true)).into_iter().collect()
}

fn rows() -> ArrayRef {
    let of = |values: Vec<i32>| Arc::new(Int32Array::from(values)) as ArrayRef;
    let nulls = NullBuffer::from(vec![true, false]);
    let columns = vec![of(vec![1, 2]), of(vec![10, 20])];
    Arc::new(StructArray::new(fields(["a", "b"], &DataType::Int32), columns, Some(nulls)))
}

#[test]
fn names_do_not_matter() {
    // The names are swapped: by name, 1 would become 10.
    let to = DataType::Struct(fields(["b", "a"], &DataType::Int64));
    let found = convert(&rows(), &to).unwrap();
    assert_eq!(found.data_type(), &to);
    assert_eq!(found.as_struct().column(0).as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 2]));
    assert!(found.is_valid(0) && found.is_null(1));
}

#[test]
fn rows_within_arrays_are_converted() {
    let item = |fields| Arc::new(Field::new("item", DataType::Struct(fields), true));
    let from = fields(["a", "b"], &DataType::Int32);
    let lists = ListArray::new(item(from), OffsetBuffer::from_lengths([2, 0]), rows(), None);
    let to = DataType::List(item(fields(["b", "a"], &DataType::Int64)));
    let found = convert(&(Arc::new(lists) as ArrayRef), &to).unwrap();
    assert_eq!(found.data_type(), &to);
    let first = found.as_list::<i32>().value(0);
    assert_eq!(first.as_struct().column(0).as_primitive::<Int64Type>().value(0), 1);
}

#[test]
fn another_shape_is_an_error() {
    let three: Fields = ["a", "b", "c"].map(|n| Field::new(n, DataType::Int32, true)).into_iter().collect();
    assert!(convert(&rows(), &DataType::Struct(three)).is_err());
}

use super::*;
use arrow::array::{
    BooleanArray, Decimal128Array, Float64Array, Int16Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Int32Type};
use std::sync::Arc;

fn columns() -> Vec<ArrayRef> {
    let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("long enough")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(i64::MAX)]));
    let nested = StructArray::from(vec![
        (Arc::new(Field::new("s", DataType::Utf8, true)), Arc::clone(&strings)),
        (Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&numbers)),
    ]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(7)]),
    ]);
    vec![
        strings,
        numbers,
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)])),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(-0.0), None, Some(f64::NAN)])),
        Arc::new(Int16Array::from(vec![Some(-1), None, Some(2), Some(3)])),
        Arc::new(
            Decimal128Array::from(vec![Some(12345), None, Some(-1), Some(0)])
                .with_precision_and_scale(20, 3)
                .expect("fits"),
        ),
        Arc::new(TimestampMillisecondArray::from(vec![Some(5), None, Some(-5), Some(0)]).with_timezone("UTC")),
        Arc::new(nested),
        Arc::new(list),
    ]
}

fn fields(columns: &[ArrayRef]) -> Vec<FieldRef> {
    columns
        .iter()
        .enumerate()
        .map(|(i, c)| Arc::new(Field::new(format!("c{i}"), c.data_type().clone(), true)))
        .collect()
}

#[test]
fn every_type_comes_back() {
    let columns = columns();
    let layout = RowLayout::new("t", &fields(&columns)).expect("known types");
    let mut rows = Rows::new();
    layout.encode(&columns, 4, &mut rows).expect("encodes");
    // A second batch behind the first, and slices with an offset.
    let sliced: Vec<ArrayRef> = columns.iter().map(|c| c.slice(1, 3)).collect();
    layout.encode(&sliced, 3, &mut rows).expect("encodes");
    assert_eq!(rows.len(), 7);
    let all: Vec<&[u8]> = (0..7).map(|r| rows.get(r)).collect();
    for (index, (column, decoded)) in columns.iter().zip(layout.decode(&all[..4]).expect("decodes")).enumerate() {
        if index == 3 {
            let values = decoded.as_primitive::<Float64Type>();
            assert!(values.value(1) == 0.0 && values.value(1).is_sign_positive() && values.value(3).is_nan());
            continue;
        }
        assert_eq!(&decoded, column, "column {index}");
    }
    for (row, again) in [(1, 4), (2, 5), (3, 6)] {
        assert_eq!(rows.get(row), rows.get(again), "equal values give equal bytes");
    }
}

#[test]
fn fixed_columns_change_in_place() {
    let columns = columns();
    let layout = RowLayout::new("t", &fields(&columns)).expect("known types");
    let mut row = layout.null_row();
    assert!((0..columns.len()).all(|c| layout.is_null(&row, c)));
    layout.set_i64(&mut row, 1, -7);
    layout.set_i64(&mut row, 4, -2);
    layout.set_f64(&mut row, 3, 2.5);
    layout.set_i128(&mut row, 5, -9);
    assert_eq!((layout.get_i64(&row, 1), layout.get_i64(&row, 4)), (-7, -2));
    assert_eq!((layout.get_f64(&row, 3), layout.get_i128(&row, 5)), (2.5, -9));
    layout.set_null(&mut row, 1, true);
    assert!(layout.is_null(&row, 1) && layout.get_i64(&row, 1) == 0);
}

#[test]
fn a_type_that_cannot_be_kept_is_named() {
    let field = Arc::new(Field::new("f", DataType::Float16, true));
    let error = RowLayout::new("t", &[field]).expect_err("half floats are not SQL");
    assert_eq!(error.to_string(), "state table t: a column of type Float16 cannot be kept in state");
}

use super::*;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int32Array, Int32Builder, Int64Array, ListArray, MapBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
    Time32MillisecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::Position;

fn printed(prefix: &str, batch: &Batch) -> String {
    let mut sink = Print { table: "t".into(), prefix: prefix.into(), out: Vec::new(), text: Vec::new() };
    assert_eq!(sink.write(batch).unwrap(), Flow::Done);
    String::from_utf8(sink.out).unwrap()
}

fn lines(column: impl arrow::array::Array + 'static) -> Vec<String> {
    let column: ArrayRef = Arc::new(column);
    let text = printed("", &Batch::inserts(RecordBatch::try_from_iter([("c", column)]).unwrap()));
    text.lines().map(|line| line.strip_prefix("+I[").unwrap().strip_suffix(']').unwrap().to_owned()).collect()
}

#[test]
fn kinds_and_prefix() {
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), None, Some("")]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 3]));
    let records = RecordBatch::try_from_iter([("name", names), ("n", counts)]).unwrap();
    let batch = Batch::changelog(records, Int8Array::from(vec![0, 1, 2, 3])).unwrap();
    assert_eq!(printed("", &batch), "+I[a, 1]\n-U[a, 1]\n+U[null, 2]\n-D[, 3]\n");
    assert_eq!(printed("x:2> ", &batch.slice(1, 1)), "x:2> -U[a, 1]\n");
}

#[test]
fn the_prefix_is_flinks() {
    let table = |identifier: Option<&str>| TableDescriptor {
        name: "t".into(),
        columns: vec![],
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: identifier
            .map(|id| BTreeMap::from([("print-identifier".to_owned(), id.to_owned())]))
            .unwrap_or_default(),
        position: Position::default(),
    };
    assert_eq!(prefix(&table(None), 0, 1), "");
    assert_eq!(prefix(&table(None), 0, 2), "1> ");
    assert_eq!(prefix(&table(Some("out")), 0, 1), "out> ");
    assert_eq!(prefix(&table(Some("out")), 2, 4), "out:3> ");
}

#[test]
fn doubles_as_java_prints_them() {
    let values = vec![
        0.0,
        -0.0,
        1.0,
        100.0,
        1_234_567.0,
        9_999_999.0,
        1e7,
        12_345_678.9,
        1e10,
        0.001,
        0.01,
        0.1,
        0.000_999,
        1.5e-5,
        -2.5,
        123.456,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        5e-324,
    ];
    assert_eq!(
        lines(Float64Array::from(values)),
        [
            "0.0",
            "-0.0",
            "1.0",
            "100.0",
            "1234567.0",
            "9999999.0",
            "1.0E7",
            "1.23456789E7",
            "1.0E10",
            "0.001",
            "0.01",
            "0.1",
            "9.99E-4",
            "1.5E-5",
            "-2.5",
            "123.456",
            "NaN",
            "Infinity",
            "-Infinity",
            "1.7976931348623157E308",
            "4.9E-324",
        ]
    );
    assert_eq!(lines(Float32Array::from(vec![0.1, 1e10, 3.25])), ["0.1", "1.0E10", "3.25"]);
}

#[test]
fn decimals_as_java_prints_them() {
    let decimals =
        |values: Vec<i128>, scale| lines(Decimal128Array::from(values).with_precision_and_scale(30, scale).unwrap());
    assert_eq!(decimals(vec![12_345, -12_345, 5, 0, -5], 2), ["123.45", "-123.45", "0.05", "0.00", "-0.05"]);
    assert_eq!(decimals(vec![7, -7], 0), ["7", "-7"]);
    assert_eq!(decimals(vec![1, 12, 1_200], 8), ["1E-8", "1.2E-7", "0.00001200"]);
}

#[test]
fn times_as_java_prints_them() {
    // 2001-01-01T00:10
    let millis = vec![978_307_800_000, 978_307_805_000, 978_307_805_120, -1, 253_402_300_800_000];
    assert_eq!(
        lines(TimestampMillisecondArray::from(millis.clone())),
        [
            "2001-01-01T00:10",
            "2001-01-01T00:10:05",
            "2001-01-01T00:10:05.120",
            "1969-12-31T23:59:59.999",
            "+10000-01-01T00:00",
        ]
    );
    assert_eq!(
        lines(TimestampMillisecondArray::from(millis[..3].to_vec()).with_timezone("UTC")),
        ["2001-01-01T00:10:00Z", "2001-01-01T00:10:05Z", "2001-01-01T00:10:05.120Z"]
    );
    assert_eq!(
        lines(TimestampNanosecondArray::from(vec![1_000, 1])),
        ["1970-01-01T00:00:00.000001", "1970-01-01T00:00:00.000000001"]
    );
    assert_eq!(lines(Date32Array::from(vec![0, 11_016, -719_529])), ["1970-01-01", "2000-02-29", "-0001-12-31"]);
    assert_eq!(lines(Time32MillisecondArray::from(vec![0, 36_901_000])), ["00:00", "10:15:01"]);
}

#[test]
fn nested_values() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    assert_eq!(lines(list), ["[1, null]", "null", "[]"]);
    let row = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
        (
            Arc::new(Field::new("b", DataType::Boolean, true)),
            Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef,
        ),
    ]);
    assert_eq!(lines(row), ["+I[1, true]", "+I[null, false]"]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.keys().append_value("l");
    map.values().append_null();
    map.append(true).unwrap();
    assert_eq!(lines(map.finish()), ["{k=1, l=null}"]);
    assert_eq!(lines(BinaryArray::from(vec![&[1u8, 255][..]])), ["[1, -1]"]);
}

#[test]
fn a_closed_output_is_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Print { table: "out".into(), prefix: String::new(), out: Closed, text: vec![] };
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = Batch::inserts(RecordBatch::try_from_iter([("c", column)]).unwrap());
    let error = sink.write(&batch).unwrap_err().to_string();
    assert!(error.contains("table out") && error.contains("broken pipe"), "{error}");
}

#[test]
fn a_column_without_text_is_refused() {
    let field = Field::new("c", DataType::UInt64, true);
    let error = text::check("out", &field).unwrap_err().to_string();
    assert!(error.contains("`c`") && error.contains("UInt64"), "{error}");
}

//! Records of one schema read into columns of another.

use super::decode::AvroDecoder;
use super::encode::AvroEncoder;
use super::schema;
use super::shape::Shapes;
use crate::format::{MessageBuffer, MessageDecoder, MessageEncoder};
use crate::testing::rows;
use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use std::sync::Arc;
use streamfleet_logical::type_name;
use streamfleet_types::Batch;

fn columns(columns: &[(&str, DataType)]) -> Fields {
    columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect()
}

fn shapes(schema: &str, columns: &Fields) -> Result<Shapes, String> {
    Shapes::of(&schema::parse(schema).expect("a schema"), &[], columns)
}

fn record(fields: &[&str]) -> String {
    format!("{{\"type\":\"record\",\"name\":\"r\",\"namespace\":\"n\",\"fields\":[{}]}}", fields.join(","))
}

fn field(name: &str, schema: &str) -> String {
    format!("{{\"name\":\"{name}\",\"type\":{schema}}}")
}

const ENUM: &str = "{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"x\",\"y\"]}";
const FIXED: &str = "{\"type\":\"fixed\",\"name\":\"f\",\"size\":2}";
const TIMES: &str = "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}";

/// One value of a column as a field of this schema.
fn written(schema: &str, column: ArrayRef) -> Result<Vec<u8>, String> {
    let field = Field::new("a", column.data_type().clone(), true);
    let schema = record(&[&self::field("a", &format!("[\"null\",{schema}]"))]);
    let shapes = Shapes::to_write(&schema::parse(&schema).expect("a schema"), [&Arc::new(field.clone())])?;
    let columns = Arc::new(Schema::new(vec![field]));
    let rows = Batch::inserts(RecordBatch::try_new(Arc::clone(&columns), vec![column]).expect("fits"));
    let mut out = MessageBuffer::default();
    AvroEncoder::new("t", &columns, shapes).encode(&rows, &mut out).map_err(|error| error.to_string())?;
    assert_eq!(out.bytes[0], 2, "the second branch");
    Ok(out.bytes[1..].to_vec())
}

#[test]
fn values_are_written_as_the_schema_has_them() {
    let int = || Arc::new(Int32Array::from(vec![-3])) as ArrayRef;
    assert_eq!(written("\"long\"", int()), Ok(vec![5]));
    assert_eq!(written("\"float\"", int()), Ok((-3f32).to_le_bytes().to_vec()));
    assert_eq!(written("\"double\"", int()), Ok((-3f64).to_le_bytes().to_vec()));
    assert_eq!(written("\"double\"", Arc::new(Int64Array::from(vec![9]))), Ok(9f64.to_le_bytes().to_vec()));
    assert_eq!(written("\"double\"", Arc::new(Float32Array::from(vec![0.5]))), Ok(0.5f64.to_le_bytes().to_vec()));
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    assert_eq!(written(ENUM, text("y")), Ok(vec![2]));
    let error = written(ENUM, text("z")).expect_err("no symbol");
    assert_eq!(error, "table t: field a: `z` is no symbol of the enum: x, y");
    let bytes = |bytes: &[u8]| Arc::new(BinaryArray::from(vec![bytes])) as ArrayRef;
    assert_eq!(written(FIXED, bytes(b"ab")), Ok(b"ab".to_vec()));
    let error = written(FIXED, bytes(b"abc")).expect_err("too long");
    assert_eq!(error, "table t: field a: 3 bytes, where the schema has a fixed of 2");
    let fixed = |size: usize| {
        format!(
            "{{\"type\":\"fixed\",\"name\":\"f\",\"size\":{size},\"logicalType\":\"decimal\",\"precision\":4,\"scale\":2}}"
        )
    };
    let decimal = |unscaled: i128| {
        let array = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(6, 2).expect("fits");
        Arc::new(array) as ArrayRef
    };
    assert_eq!(written(&fixed(2), decimal(-129)), Ok(vec![0xff, 0x7f]));
    assert_eq!(written(&fixed(20), decimal(129)), Ok([&[0; 19][..], &[129]].concat()));
    assert_eq!(written(&fixed(2), decimal(0x7fff)), Ok(vec![0x7f, 0xff]));
    let error = written(&fixed(2), decimal(0x8000)).expect_err("too large");
    assert_eq!(error, "table t: field a: a number of more than 2 bytes");
}

/// The rows and what is wrong with messages.
fn decode(shapes: Shapes, columns: &Fields, messages: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let mut decoder = AvroDecoder::new(Arc::new(Schema::new(columns.clone())), shapes).expect("sound columns");
    messages.iter().for_each(|message| decoder.take(message));
    let decoded = decoder.finish().expect("decodes");
    let bad = decoded.bad.into_iter().map(|b| format!("{} {}", b.number, b.reason)).collect();
    (decoded.records.map(|r| rows(&r)).unwrap_or_default(), bad)
}

/// One value, written under this schema, as a column of this type.
fn value(schema: &str, data_type: DataType, bytes: &[u8]) -> Result<String, String> {
    let columns = columns(&[("a", data_type)]);
    let shapes = shapes(&record(&[&field("a", schema)]), &columns)?;
    let (mut rows, mut bad) = decode(shapes, &columns, &[bytes]);
    rows.pop().ok_or_else(|| bad.pop().expect("a row or a reason"))
}

fn logical(of: &str, name: &str) -> String {
    format!("{{\"type\":\"{of}\",\"logicalType\":\"{name}\"}}")
}

#[test]
fn values_become_those_of_wider_types() {
    use DataType::{Binary, Boolean, Date32, Float32, Float64, Int8, Int16, Int32, Int64, Utf8};
    let read = |schema: &str, data_type: DataType, bytes: &[u8]| value(schema, data_type, bytes).expect("fits");
    assert_eq!(read("\"int\"", Int64, &[3]), "-2");
    assert_eq!(read("\"long\"", Int32, &[4]), "2");
    assert_eq!(read("\"int\"", Float64, &[4]), "2.0");
    assert_eq!(read("\"long\"", Float32, &[4]), "2.0");
    assert_eq!(read("\"float\"", Float64, &0.5f32.to_le_bytes()), "0.5");
    assert_eq!(read("\"boolean\"", Boolean, &[1]), "true");
    assert_eq!(read("\"bytes\"", Utf8, &[4, b'a', b'b']), "ab");
    assert_eq!(read("\"string\"", Binary, &[4, b'a', b'b']), "6162");
    assert_eq!(read("{\"type\":\"fixed\",\"name\":\"f\",\"size\":2}", Binary, b"ab"), "6162");
    assert_eq!(read("{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"x\",\"y\"]}", Utf8, &[2]), "y");
    assert_eq!(read(&logical("int", "date"), Date32, &[2]), "1970-01-02");
    assert_eq!(read(&logical("string", "uuid"), Utf8, &[2, b'u']), "u");
    let lost = |schema: &str, data_type: DataType, bytes: &[u8]| value(schema, data_type, bytes).expect_err("lost");
    assert_eq!(lost("\"long\"", Int8, &[0x80, 2]), "0 field a: `128` is no TINYINT");
    assert!(lost("\"long\"", Int16, &[0xfe, 0xff, 0x7f]).contains("is no SMALLINT"));
    assert!(lost("\"bytes\"", Utf8, &[2, 0xff]).contains("no UTF-8"));
    assert!(
        lost("{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"x\"]}", Utf8, &[2]).contains("a symbol that the enum")
    );
    for (schema, data_type) in
        [("\"string\"", Int64), ("\"double\"", Float32), ("\"int\"", Boolean), ("\"int\"", Utf8), ("\"float\"", Int32)]
    {
        let error = lost(schema, data_type.clone(), &[]);
        assert_eq!(error, format!("field a of type {} is no {}", schema.replace('"', ""), type_name(&data_type)));
    }
}

#[test]
fn times_and_decimals_follow_what_their_schema_says() {
    let read = |schema: &str, data_type: DataType, bytes: &[u8]| value(schema, data_type, bytes).expect("fits");
    let time = |unit| DataType::Timestamp(unit, None);
    // 1,500 in each unit.
    let number = [0xb8, 0x17];
    assert_eq!(
        read(&logical("long", "timestamp-millis"), time(TimeUnit::Millisecond), &number),
        "1970-01-01T00:00:01.500"
    );
    assert_eq!(
        read(&logical("long", "timestamp-micros"), time(TimeUnit::Millisecond), &number),
        "1970-01-01T00:00:00.001"
    );
    assert_eq!(
        read(&logical("long", "timestamp-micros"), time(TimeUnit::Microsecond), &number),
        "1970-01-01T00:00:00.001500"
    );
    assert_eq!(
        read(&logical("long", "local-timestamp-millis"), time(TimeUnit::Microsecond), &number),
        "1970-01-01T00:00:01.500"
    );
    assert_eq!(read("\"long\"", time(TimeUnit::Millisecond), &number), "1970-01-01T00:00:01.500");
    assert_eq!(read(&logical("long", "timestamp-millis"), DataType::Int64, &number), "1500");
    assert_eq!(read(&logical("long", "time-micros"), DataType::Time32(TimeUnit::Millisecond), &number), "00:00:00.001");
    assert_eq!(read(&logical("int", "time-millis"), DataType::Time32(TimeUnit::Millisecond), &number), "00:00:01.500");
    assert!(value("\"long\"", DataType::Time32(TimeUnit::Millisecond), &number).is_err());
    let far =
        value(&logical("long", "timestamp-millis"), time(TimeUnit::Microsecond), &[&[0xfe; 9][..], &[1]].concat());
    assert!(far.expect_err("too far").contains("is no TIMESTAMP"));
    let decimal = |scale: u32, size: Option<u32>| match size {
        None => format!("{{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":{scale}}}"),
        Some(size) => format!(
            "{{\"type\":\"fixed\",\"name\":\"f\",\"size\":{size},\"logicalType\":\"decimal\",\"precision\":4,\"scale\":{scale}}}"
        ),
    };
    let two = DataType::Decimal128(4, 2);
    assert_eq!(read(&decimal(2, None), two.clone(), &[4, 0xff, 0x7f]), "-1.29");
    assert_eq!(read(&decimal(1, None), two.clone(), &[2, 25]), "2.50");
    assert_eq!(read(&decimal(3, None), two.clone(), &[4, 0x04, 0xe2]), "1.25");
    assert_eq!(read(&decimal(2, Some(3)), two.clone(), &[0, 0, 129]), "1.29");
    assert_eq!(read("\"bytes\"", two.clone(), &[2, 100]), "1.00");
    let lost = |schema: &str, bytes: &[u8]| value(schema, two.clone(), bytes).expect_err("lost");
    for (unscaled, rounded) in [(1254i16, "1.25"), (1255, "1.26"), (-1255, "-1.26"), (-1254, "-1.25"), (4, "0.00")] {
        let [high, low] = unscaled.to_be_bytes();
        assert_eq!(read(&decimal(3, None), two.clone(), &[4, high, low]), rounded);
    }
    assert!(lost(&decimal(0, None), &[2, 100]).contains("too many digits"), "too large");
}

#[test]
fn fields_go_to_columns_of_their_names() {
    let inner = DataType::Struct(columns(&[("y", DataType::Int32), ("x", DataType::Utf8)]));
    let entries = Field::new(
        "entries",
        DataType::Struct(
            vec![Field::new("key", DataType::Utf8, false), Field::new("value", inner.clone(), true)].into(),
        ),
        false,
    );
    let columns = columns(&[
        ("gone", DataType::Int64),
        ("map", DataType::Map(Arc::new(entries), false)),
        ("list", DataType::List(Arc::new(Field::new("element", inner, true)))),
        ("id", DataType::Int64),
    ]);
    // The record of the list is named, and used again in the map.
    let point = record(&[&field("x", "\"string\""), &field("z", "[\"null\",\"int\"]"), &field("y", "\"int\"")])
        .replace("\"r\"", "\"point\"");
    let schema = record(&[
        &field("id", "\"long\""),
        &field("list", &format!("{{\"type\":\"array\",\"items\":{point}}}")),
        &field("ignored", "[\"null\",\"point\",\"string\"]"),
        &field("map", "[{\"type\":\"map\",\"values\":\"n.point\"},\"null\"]"),
    ]);
    let shapes = shapes(&schema, &columns).expect("fits");
    let a_point = |x: u8, y: u8| vec![2, x, 0, y];
    let message = [
        &[2][..],
        &[4],
        &a_point(b'a', 2),
        &a_point(b'b', 4),
        &[0],
        &[2],
        &a_point(b'c', 6),
        &[0, 2, 2, b'k'],
        &a_point(b'd', 8),
        &[0],
    ]
    .concat();
    let without = [&[4, 0][..], &[4, 2, b'i'], &[2]].concat();
    let (rows, bad) = decode(shapes, &columns, &[&message, &without]);
    assert_eq!(bad, [""; 0]);
    assert_eq!(rows, ["NULL|{k: {y: 4, x: d}}|[{y: 1, x: a}, {y: 2, x: b}]|1", "NULL|NULL|[]|2"]);
}

#[test]
fn a_column_that_takes_no_null_needs_its_field() {
    let columns: Fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, false)].into();
    let shapes = shapes(&record(&[&field("a", "\"long\"")]), &columns).expect("seen when a record comes");
    let (rows, bad) = decode(shapes, &columns, &[&[2]]);
    assert_eq!((rows.len(), bad), (0, vec!["0 field b: NULL, but it is declared NOT NULL".to_owned()]));
}

#[test]
fn a_branch_that_does_not_fit_is_told_when_it_comes() {
    let union = "[\"null\",\"string\",\"long\"]";
    assert_eq!(value(union, DataType::Int64, &[4, 6]), Ok("3".to_owned()));
    assert_eq!(value(union, DataType::Int64, &[0]), Ok("NULL".to_owned()));
    assert_eq!(
        value(union, DataType::Int64, &[2, 2, b'x']),
        Err("0 field a of type string is no BIGINT at byte 2".to_owned())
    );
    assert_eq!(
        value("[\"null\",\"string\"]", DataType::Int64, &[0]),
        Err("field a of type string is no BIGINT".to_owned())
    );
    assert!(value("\"null\"", DataType::Int64, &[]).is_err());
}

#[test]
fn records_that_contain_themselves_are_passed_to_a_depth() {
    let columns = columns(&[("id", DataType::Int64)]);
    let list = record(&[&field("id", "\"long\""), &field("next", "[\"null\",\"r\"]")]);
    let shapes = shapes(&list, &columns).expect("fits");
    let chain = |length: usize| [&[2u8, 2].repeat(length)[..], &[2, 0]].concat();
    let (rows, bad) = decode(shapes, &columns, &[&chain(0), &chain(3), &chain(10_000)]);
    assert_eq!(rows, ["1", "1"]);
    assert!(bad[0].starts_with("2 records too deep within one another"), "{bad:?}");
}

#[test]
fn schemas_that_rows_cannot_be_written_under_are_told() {
    let not_null = |data_type: DataType| -> Fields { vec![Field::new("a", data_type, false)].into() };
    let why =
        |schema: &str, columns: &Fields| Shapes::to_write(&schema::parse(schema).expect("a schema"), columns).err();
    let of = |schema: &str| record(&[&field("a", schema)]);
    assert_eq!(why(&of("\"long\""), &not_null(DataType::Int64)), None);
    assert_eq!(why(&of("[\"long\",\"null\"]"), &columns(&[("a", DataType::Int64)])), None);
    let expected = [
        (of("\"long\""), columns(&[("a", DataType::Int64)]), "field a takes no null, but its column does"),
        (of("\"int\""), not_null(DataType::Int64), "column a of type BIGINT cannot become an int"),
        (of("\"float\""), not_null(DataType::Float64), "column a of type DOUBLE cannot become a float"),
        (of("\"string\""), not_null(DataType::Int32), "column a of type INT cannot become a string"),
        (of(ENUM), not_null(DataType::Binary), "column a of type BYTES cannot become a symbol of an enum"),
        (of(FIXED), not_null(DataType::Utf8), "column a of type STRING cannot become a fixed"),
        (of(TIMES), not_null(DataType::Int32), "column a of type INT cannot become a long"),
        (record(&[]), not_null(DataType::Int64), "column a has no field in it"),
        (
            record(&[&field("a", "\"long\""), &field("b", "\"long\"")]),
            not_null(DataType::Int64),
            "its field number 2 has no column",
        ),
        (of("[\"long\",\"string\"]"), not_null(DataType::Int64), "field a may be of several types"),
    ];
    for (schema, columns, reason) in expected {
        assert_eq!(why(&schema, &columns).as_deref(), Some(reason));
    }
    // What is derived from columns can be written.
    let all: Fields = vec![
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("d", DataType::Decimal128(5, 2), false),
        Field::new(
            "r",
            DataType::Struct(columns(&[("l", DataType::List(Arc::new(Field::new("element", DataType::Int8, true))))])),
            true,
        ),
    ]
    .into();
    let (text, schema) = schema::of_columns(&all, false).expect("a schema");
    Shapes::to_write(&schema, &all).expect("its own");
    let of: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(of["name"].as_str(), Some("record"));
    assert_eq!(of["namespace"].as_str(), Some("org.apache.flink.avro.generated"));
    let inner = &of["fields"][2]["type"][1];
    assert_eq!(inner["name"].as_str(), Some("record_r"));
    assert_eq!(inner.get("namespace"), None, "it has that of the record around it");
    assert!(text.contains("\"timestamp-millis\""), "{text}");
    // A schema with the namespace in its name, as it was registered once, says the same.
    let mut older = of.clone();
    older["name"] = "org.apache.flink.avro.generated.record".into();
    older.as_object_mut().expect("a record").remove("namespace");
    let older = older.to_string().replace("record_r", "org.apache.flink.avro.generated.record_r");
    assert_eq!(schema::parse(&older).expect("a schema"), schema);
    assert!(schema::of_columns(&columns(&[("größe", DataType::Int64)]), false).is_err());
}

//! Every type through every format, and what each format refuses.

use super::*;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Fields, Int32Type, Schema, TimeUnit};
use std::collections::BTreeMap;
use streamfleet_logical::Position;

fn declared(format: &str, options: &[(&str, &str)]) -> TableDescriptor {
    let mut all: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.insert("format".to_owned(), format.to_owned());
    TableDescriptor {
        name: "t".to_owned(),
        columns: vec![],
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: all,
        position: Position::default(),
    }
}

fn format_of(format: &str, options: &[(&str, &str)]) -> Format {
    Format::of(&declared(format, options)).expect("sound options")
}

fn refused(format: &str, options: &[(&str, &str)]) -> String {
    Format::of(&declared(format, options)).expect_err("refused").to_string()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).expect("fits")
}

fn encode(format: &Format, records: &RecordBatch) -> Result<Vec<u8>, DataflowError> {
    let mut encoder = format.encoder("t", &records.schema())?;
    encoder.write(records)?;
    let mut bytes = encoder.take(0)?;
    bytes.extend(encoder.finish()?);
    Ok(bytes)
}

fn decode(format: &Format, schema: &SchemaRef, bytes: &[u8]) -> Decoded {
    let layout = Layout::whole(schema);
    if let Some(mut decoder) = format.decoder(Arc::clone(schema), &layout, true).expect("a known type") {
        return decoder.decode(bytes, true).expect("decodes");
    }
    let size = bytes.len() as u64;
    let mut file = ParquetFile::new("f".to_owned(), size, Arc::clone(schema), (None, None));
    let mut records = None;
    while let Some((start, length)) = file.wanted().expect("a sound file") {
        file.on_bytes(bytes[start as usize..(start + length) as usize].to_vec()).expect("a sound file");
        while let Some(rows) = file.next_batch().expect("a sound file") {
            assert!(records.replace(rows).is_none(), "one batch");
        }
    }
    Decoded { records, consumed: bytes.len(), bad: vec![], nulled: 0 }
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

/// The text of every row, or why it is none.
fn rows(format: &Format, schema: &SchemaRef, text: impl AsRef<[u8]>) -> (Vec<String>, Vec<String>) {
    let decoded = decode(format, schema, text.as_ref());
    let rows = decoded.records.map(|r| crate::testing::rows(&r)).unwrap_or_default();
    (rows, decoded.bad.into_iter().map(|b| b.reason).collect())
}

fn scalars() -> RecordBatch {
    let utc = |unit: TimeUnit| DataType::Timestamp(unit, Some("UTC".into()));
    let micros = vec![Some(1_600_000_000_123_456), None, Some(-1), Some(0)];
    let millis = vec![Some(1_600_000_000_120), None, Some(-62_135_596_800_000), Some(0)];
    batch(vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])) as ArrayRef),
        ("tinyint", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX), Some(0)]))),
        ("smallint", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX), Some(0)]))),
        ("int", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX), Some(0)]))),
        ("bigint", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(0)]))),
        ("float", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::MAX), Some(f32::NEG_INFINITY)]))),
        ("double", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::MIN_POSITIVE), Some(f64::INFINITY)]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(12345678901234567890123456789012345678), None, Some(-1), Some(0)])
                    .with_precision_and_scale(38, 18)
                    .expect("fits"),
            ),
        ),
        (
            "string",
            Arc::new(StringArray::from(vec![Some("a \"b\", c\\d;\r\nä\u{1}"), Some("#"), Some(" x "), Some("\t")])),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0u8, 255, 10][..]), None, Some(b"a"), Some(b"ab")]))),
        ("date", Arc::new(Date32Array::from(vec![Some(18_000), None, Some(-719_000), Some(3_000_000)]))),
        ("time", Arc::new(Time32MillisecondArray::from(vec![Some(86_399_999), None, Some(0), Some(60_010)]))),
        ("ts3", Arc::new(TimestampMillisecondArray::from(millis.clone()))),
        ("ts6", Arc::new(TimestampMicrosecondArray::from(micros.clone()))),
        ("ltz3", Arc::new(TimestampMillisecondArray::from(millis).with_data_type(utc(TimeUnit::Millisecond)))),
        ("ltz6", Arc::new(TimestampMicrosecondArray::from(micros).with_data_type(utc(TimeUnit::Microsecond)))),
    ])
}

fn lists() -> (&'static str, ArrayRef) {
    let values = vec![Some(vec![Some(1), None, Some(3)]), None, Some(vec![]), Some(vec![Some(4), Some(5)])];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(values);
    let field = Arc::new(Field::new("element", DataType::Int32, true));
    let (_, offsets, values, nulls) = lists.into_parts();
    ("list", Arc::new(ListArray::new(field, offsets, values, nulls)))
}

fn nested_rows() -> (&'static str, ArrayRef) {
    let fields = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, Some(2), None])),
        Arc::new(StringArray::from(vec![Some("x"), None, Some("y"), Some("z")])),
    ];
    ("row", Arc::new(StructArray::new(fields, columns, Some(vec![true, false, true, true].into()))))
}

fn maps() -> (&'static str, ArrayRef) {
    let fields =
        Fields::from(vec![Field::new("key", DataType::Int64, false), Field::new("value", DataType::Utf8, true)]);
    let entries = StructArray::new(
        fields.clone(),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("a"), None, Some("\"c\"")])),
        ],
        None,
    );
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let offsets = OffsetBuffer::from_lengths([2, 0, 0, 1]);
    let nulls = Some(vec![true, false, true, true].into());
    ("map", Arc::new(MapArray::new(field, offsets, entries, nulls, false)))
}

#[test]
fn every_type_comes_back_from_every_format() {
    let all = |more: Vec<(&'static str, ArrayRef)>| {
        let scalars = scalars();
        let fields = scalars.schema();
        let names: Vec<String> = fields.fields().iter().map(|f| f.name().clone()).collect();
        let mut columns: Vec<(&str, ArrayRef)> =
            names.iter().map(String::as_str).zip(scalars.columns().iter().cloned()).collect();
        columns.extend(more);
        batch(columns)
    };
    let null = ("csv.null-literal", "\\N");
    for (format, options, records) in [
        ("json", &[][..], all(vec![lists(), nested_rows(), maps()])),
        ("json", &[("json.timestamp-format.standard", "ISO-8601")], all(vec![])),
        ("json", &[("json.encode.decimal-as-plain-number", "true")], all(vec![])),
        ("json", &[("json.encode.ignore-null-fields", "true")], all(vec![lists(), nested_rows(), maps()])),
        ("csv", &[null], all(vec![lists(), nested_rows()])),
        ("csv", &[null, ("csv.array-element-delimiter", "||")], all(vec![lists(), nested_rows()])),
        ("csv", &[null, ("csv.field-delimiter", "\\t"), ("csv.quote-character", "'")], all(vec![])),
        ("csv", &[null, ("csv.escape-character", "\\"), ("csv.allow-comments", "true")], all(vec![])),
        ("csv", &[("csv.disable-quote-character", "true"), ("csv.escape-character", "~")], all(vec![])),
        ("csv", &[("csv.header", "true")], all(vec![])),
        ("parquet", &[], all(vec![lists(), nested_rows(), maps()])),
        ("parquet", &[("parquet.compression", "ZSTD")], all(vec![])),
        ("parquet", &[("parquet.compression", "UNCOMPRESSED")], all(vec![])),
    ] {
        let made = format_of(format, options);
        let fields: Vec<Field> = records.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        made.check("t", &fields).expect("all types");
        let bytes = encode(&made, &records).expect("encodes");
        let decoded = decode(&made, &records.schema(), &bytes);
        assert_eq!(decoded.bad, [], "{format} {options:?}\n{}", String::from_utf8_lossy(&bytes));
        let found = decoded.records.expect("rows");
        for (index, field) in records.schema().fields().iter().enumerate() {
            let (found, expected) = (found.column(index), records.column(index));
            assert_eq!(
                found,
                expected,
                "{format} {options:?}, column {}\n{}",
                field.name(),
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}

#[test]
fn raw_values_come_back_one_a_line() {
    for endianness in ["big-endian", "little-endian"] {
        let format = format_of("raw", &[("raw.endianness", endianness)]);
        for column in scalars().columns().iter().take(10) {
            let without_nulls = arrow::compute::filter(column, &arrow::compute::is_not_null(column).expect("any type"));
            let column = without_nulls.expect("any type");
            let records = batch(vec![("v", column)]);
            let fields = [Field::new("v", records.column(0).data_type().clone(), true)];
            if format.check("t", &fields).is_err() {
                assert!(matches!(fields[0].data_type(), DataType::Decimal128(..)));
                continue;
            }
            match encode(&format, &records) {
                Ok(bytes) => {
                    let found = decode(&format, &records.schema(), &bytes);
                    assert_eq!((found.records, found.bad), (Some(records), vec![]));
                }
                // The texts and bytes hold a line's end.
                Err(error) => assert!(error.to_string().contains("the bytes of a line's end"), "{error}"),
            }
        }
    }
    let int = schema(&[("v", DataType::Int32)]);
    let big = format_of("raw", &[]);
    assert_eq!(rows(&big, &int, b"\0\0\x01\x02\n\0\0\0\x03\r\n").0, ["258", "3"]);
    let little = format_of("raw", &[("raw.endianness", "little-endian")]);
    assert_eq!(rows(&little, &int, b"\x02\x01\0\0").0, ["258"]);
    assert_eq!(rows(&big, &int, "12\n").1, ["column v: 2 bytes that are no INT"]);
    assert_eq!(
        rows(&big, &schema(&[("v", DataType::Utf8)]), b"a\n\nb\xff\n"),
        (vec!["a".into(), String::new()], vec!["column v: 2 bytes that are no STRING".into()])
    );
    let two = [Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)];
    let error = big.check("t", &two).expect_err("two columns").to_string();
    assert!(error.contains("2 columns in format 'raw', which holds exactly one"), "{error}");
    let null = batch(vec![("v", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef)]);
    let error = encode(&big, &null).expect_err("NULL").to_string();
    assert!(error.starts_with("table t, column v: NULL has no bytes"), "{error}");
}

#[test]
fn json_is_written_as_flink_writes_it() {
    let records = batch(vec![
        ("d", Arc::new(Decimal128Array::from(vec![1, 100]).with_precision_and_scale(10, 8).expect("fits")) as ArrayRef),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![500, 0]))),
        ("l", Arc::new(TimestampMicrosecondArray::from(vec![500, 0]).with_timezone("UTC"))),
        ("f", Arc::new(Float64Array::from(vec![1e10, f64::NAN]))),
        ("s", Arc::new(StringArray::from(vec![Some("a\"\n"), None]))),
    ]);
    let text = |options: &[(&str, &str)]| {
        String::from_utf8(encode(&format_of("json", options), &records).expect("encodes")).expect("text")
    };
    assert_eq!(
        text(&[]),
        "{\"d\":1E-8,\"t\":\"1970-01-01 00:00:00.5\",\"l\":\"1970-01-01 00:00:00.0005Z\",\"f\":1.0E10,\"s\":\"a\\\"\\n\"}\n\
         {\"d\":0.00000100,\"t\":\"1970-01-01 00:00:00\",\"l\":\"1970-01-01 00:00:00Z\",\"f\":\"NaN\",\"s\":null}\n"
    );
    let other = text(&[
        ("json.encode.decimal-as-plain-number", "true"),
        ("json.timestamp-format.standard", "ISO-8601"),
        ("json.encode.ignore-null-fields", "true"),
    ]);
    assert_eq!(
        other,
        "{\"d\":0.00000001,\"t\":\"1970-01-01T00:00:00.5\",\"l\":\"1970-01-01T00:00:00.0005Z\",\"f\":1.0E10,\"s\":\"a\\\"\\n\"}\n\
         {\"d\":0.00000100,\"t\":\"1970-01-01T00:00:00\",\"l\":\"1970-01-01T00:00:00Z\",\"f\":\"NaN\"}\n"
    );
}

#[test]
fn json_values_are_converted_as_jackson_does() {
    let schema = schema(&[
        ("i", DataType::Int32),
        ("d", DataType::Decimal128(20, 2)),
        ("b", DataType::Boolean),
        ("f", DataType::Float64),
        ("s", DataType::Utf8),
    ]);
    let format = format_of("json", &[]);
    let good = |text: &str| {
        let (rows, bad) = rows(&format, &schema, text);
        assert_eq!(bad, Vec::<String>::new(), "{text}");
        rows.join("/")
    };
    assert_eq!(good(r#"{"i":" 5 ","d":"1.005","b":"TRUE","f":"Infinity","s":5}"#), "5|1.01|true|inf|5");
    assert_eq!(
        good(r#"{"s":{"a" : [1, "x y"]},"i":5.0,"f":1,"x":[[]],"d":1e2}"#),
        "5|100.00|NULL|1.0|{\"a\":[1,\"x y\"]}"
    );
    assert_eq!(good(r#"{"d":123456789012345678.125,"i":1,"i":2}"#), "2|123456789012345678.13|NULL|NULL|NULL");
    assert_eq!(good(" \n{\"s\":true} \r\n\n{}"), "NULL|NULL|NULL|NULL|true/NULL|NULL|NULL|NULL|NULL");
    for (text, expected) in [
        (r#"{"i":5.5}"#, "field i: `5.5` is no INT"),
        (r#"{"i":3000000000}"#, "field i: `3000000000` is no INT"),
        (r#"{"i":[1]}"#, "field i: `[1]` is no INT"),
        (r#"{"d":1234567890123456789}"#, "field d: `1234567890123456789` is no DECIMAL(20, 2)"),
        (r#"{"b":"yes"}"#, "field b: `yes` is no BOOLEAN"),
        (r#"{"s":"\ud800"}"#, "field s: `\"\\ud800\"` is no STRING"),
        ("[1]", "the record is no JSON object"),
        ("{\"i\":1,}", "the record is no JSON: a name in quotes is expected at column 8"),
        ("{\"i\":1}x", "the record is no JSON: text behind the value at column 8"),
    ] {
        assert_eq!(rows(&format, &schema, text), (vec![], vec![expected.to_owned()]), "{text}");
    }
    let long = format!("{{\"i\":\"{}\"}}", "x".repeat(1000));
    assert_eq!(rows(&format, &schema, long).1, [format!("field i: `{}..` is no INT", "x".repeat(100))]);
    assert_eq!(rows(&format, &schema, b"{\"s\":\"\xff\"}").1, ["the record is no UTF-8 from its byte 7 on"]);
}

#[test]
fn ignored_errors_are_null_where_they_are() {
    let format = format_of("json", &[("json.ignore-parse-errors", "true")]);
    let list = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
    let strict = DataType::List(Arc::new(Field::new("element", DataType::Int32, false)));
    let row =
        DataType::Struct(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)].into());
    let schema = schema(&[("i", DataType::Int32), ("l", list), ("r", row), ("n", strict)]);
    let text = "{\"i\":\"x\",\"l\":[1,\"x\",3],\"r\":{\"b\":1,\"a\":{}},\"n\":[7]}\nnot json\n{\"i\":2,\"n\":[1,\"x\"]}\n{\"i\":3,\"n\":[null]}\n{\"i\":4}";
    let decoded = decode(&format, &schema, text.as_bytes());
    assert_eq!(decoded.nulled, 3);
    let reasons: Vec<String> = decoded.bad.into_iter().map(|b| b.reason).collect();
    assert_eq!(reasons[0], "the record is no JSON: no JSON value at column 1");
    // NULL cannot be where the declaration forbids it.
    assert_eq!(reasons[1..], ["field element: `x` is no INT", "field element: NULL, but it is declared NOT NULL"]);
    let rows = crate::testing::rows(&decoded.records.expect("rows"));
    assert_eq!(rows, ["NULL|[1, NULL, 3]|{a: NULL, b: 1}|[7]", "4|NULL|NULL|NULL"]);

    let format = format_of("csv", &[("csv.ignore-parse-errors", "true")]);
    let schema = self::schema(&[("i", DataType::Int32), ("s", DataType::Utf8)]);
    let decoded = decode(&format, &schema, b"x,a\n2\n\xff,c\n1,2,3\n4,d");
    assert_eq!(decoded.nulled, 1);
    assert_eq!(crate::testing::rows(&decoded.records.expect("rows")), ["NULL|a", "2|NULL", "4|d"]);
    let reasons: Vec<String> = decoded.bad.into_iter().map(|b| b.reason).collect();
    assert_eq!(reasons, ["the record is no UTF-8 from its byte 1 on", "3 fields, expected 2"]);
}

#[test]
fn a_missing_field_can_be_an_error() {
    let format = format_of("json", &[("json.fail-on-missing-field", "true")]);
    let row = DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into());
    let schema = schema(&[("i", DataType::Int32), ("r", row)]);
    let (rows, bad) = rows(&format, &schema, "{\"i\":null,\"r\":null}\n{\"r\":null}\n{\"i\":1,\"r\":{}}");
    assert_eq!(
        (rows, bad),
        (vec!["NULL|NULL".to_owned()], vec!["field i is missing".to_owned(), "field a is missing".to_owned()])
    );
    let error = refused("json", &[("json.fail-on-missing-field", "true"), ("json.ignore-parse-errors", "true")]);
    assert!(
        error.contains("'json.fail-on-missing-field' = 'true': it contradicts 'json.ignore-parse-errors'"),
        "{error}"
    );
}

#[test]
fn csv_fields_are_trimmed_but_for_texts_and_empty_ones_are_null() {
    let schema = schema(&[
        ("i", DataType::Int32),
        ("s", DataType::Utf8),
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]);
    let format = format_of("csv", &[]);
    let text = " 5 , a , 2020-1-2 03:04:05.6 \n,,\n\"6\",\"\",\"2020-01-02 03:04:05\"";
    let expected = ["5| a |2020-01-02T03:04:05.600", "NULL||NULL", "6||2020-01-02T03:04:05"];
    assert_eq!(rows(&format, &schema, text), (expected.map(str::to_owned).to_vec(), vec![]));
    let format = format_of("csv", &[("csv.null-literal", "-")]);
    let text = "-,-,-\n,a,-\n";
    let (good, bad) = rows(&format, &schema, text);
    assert_eq!((good, bad), (vec!["NULL|NULL|NULL".to_owned()], vec!["field i: `` is no INT".to_owned()]));
    for (text, expected) in [
        ("1,a\n", "2 fields, expected 3"),
        ("1,a,,\n", "4 fields, expected 3"),
        ("1,\"a,\n", "a quoted field has no closing quote"),
        ("1,a,2020-01-02T03:04:05", "field t: `2020-01-02T03:04:05` is no TIMESTAMP(3)"),
    ] {
        assert_eq!(rows(&format, &schema, text).1, [expected], "{text}");
    }
}

#[test]
fn a_single_empty_field_is_no_empty_line() {
    let records = batch(vec![("i", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])) as ArrayRef)]);
    let format = format_of("csv", &[]);
    let bytes = encode(&format, &records).expect("encodes");
    assert_eq!(bytes, b"1\n\"\"\n3\n");
    assert_eq!(decode(&format, &records.schema(), &bytes).records, Some(records.clone()));
    let error = encode(&format_of("csv", &[("csv.disable-quote-character", "true")]), &records).expect_err("refused");
    assert!(error.to_string().starts_with("table t, column i: `` cannot be written without quotes"), "{error}");
}

#[test]
fn what_csv_cannot_keep_apart_is_refused() {
    let text = |text: &str| {
        batch(vec![
            ("s", Arc::new(StringArray::from(vec![text])) as ArrayRef),
            ("t", Arc::new(StringArray::from(vec![text]))),
        ])
    };
    let bare = format_of("csv", &[("csv.disable-quote-character", "true")]);
    assert_eq!(encode(&bare, &text("a\"b")).expect("no quotes here"), b"a\"b,a\"b\n");
    let error = encode(&bare, &text("a,b")).expect_err("a delimiter").to_string();
    assert!(error.contains("`a,b` cannot be written without quotes"), "{error}");
    let element = Arc::new(Field::new("element", DataType::Utf8, true));
    let list = ListArray::new(element, OffsetBuffer::from_lengths([1]), Arc::new(StringArray::from(vec!["a;b"])), None);
    let error = encode(&format_of("csv", &[]), &batch(vec![("l", Arc::new(list) as ArrayRef)])).expect_err("ambiguous");
    assert!(error.to_string().contains("an element of `a;b` holds the delimiter of elements"), "{error}");
    for (options, expected) in [
        (&[("csv.field-delimiter", "ab")][..], "one ASCII character is needed"),
        (&[("csv.field-delimiter", "\\n")], "one ASCII character is needed"),
        (&[("csv.field-delimiter", "ä")], "one ASCII character is needed"),
        (&[("csv.field-delimiter", "\"")], "is the quote or escape character too"),
        (&[("csv.escape-character", "'"), ("csv.quote-character", "'")], "is the quote character too"),
        (&[("csv.quote-character", "'"), ("csv.disable-quote-character", "true")], "set only one of the two"),
        (&[("csv.array-element-delimiter", "")], "a text is needed"),
    ] {
        let error = refused("csv", options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
    let unicode = format_of("csv", &[("csv.field-delimiter", "\\u0001")]);
    assert_eq!(encode(&unicode, &text("a")).expect("encodes"), b"a\x01a\n");
}

#[test]
fn parquet_hands_row_groups_over_as_they_fill() {
    let format = format_of("parquet", &[("parquet.compression", "UNCOMPRESSED")]);
    let mut number = 1u64;
    let mut random = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number as i64
    };
    let mut records =
        || batch(vec![("v", Arc::new(Int64Array::from_iter_values((0..100_000).map(|_| random()))) as ArrayRef)]);
    let schema = records().schema();
    let mut encoder = format.encoder("t", &schema).expect("encodes");
    let mut bytes = Vec::new();
    for _ in 0..60 {
        encoder.write(&records()).expect("encodes");
        bytes.extend(encoder.take(1 << 20).expect("gives"));
        assert!(encoder.held_bytes() < 20 << 20, "{} bytes", encoder.held_bytes());
    }
    assert!(bytes.len() > 30 << 20, "{} bytes were handed over", bytes.len());
    bytes.extend(encoder.finish().expect("ends"));
    let mut file = ParquetFile::new("f".to_owned(), bytes.len() as u64, schema, (None, None));
    let mut rows = 0;
    while let Some((start, length)) = file.wanted().expect("a sound file") {
        file.on_bytes(bytes[start as usize..(start + length) as usize].to_vec()).expect("a sound file");
        while let Some(batch) = file.next_batch().expect("a sound file") {
            rows += batch.num_rows();
        }
    }
    assert_eq!(rows, 6_000_000);
}

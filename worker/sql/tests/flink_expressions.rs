//! Expressions have Flink's types and values: `flink_expressions/answers.tsv` holds what Flink 2.3 answered, row by row of
//! `flink_expressions/rows.json` (see `FlinkExpressions.java`, which asks it).
//!
//! An expression either has the same answer here or is refused in planning; those that are refused although Flink knows them
//! are listed in `flink_expressions/refused.txt`, so that nothing drops out of the supported ones unseen.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use streamfleet_dataflow::Projector;
use streamfleet_logical::{ConnectorDescriptor, Node, OperatorSpec};
use streamfleet_sql::{Catalog, compile};

const ANSWERS: &str = include_str!("flink_expressions/answers.tsv");
const REFUSED: &str = include_str!("flink_expressions/refused.txt");
const ROWS: usize = 3;

const TABLES: &str = "CREATE TABLE t (id INT, ti TINYINT, si SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, \
    c DECIMAL(10, 2), w DECIMAL(38, 18), n INT, o BOOLEAN, s STRING, sn STRING, sd STRING, st STRING, k STRING, y BYTES, \
    dt DATE, tm TIME, ts TIMESTAMP(3), t6 TIMESTAMP(6), tl TIMESTAMP_LTZ(3), a ARRAY<INT>, m MAP<STRING, INT>, \
    r ROW<x INT, y STRING>, j STRING) WITH ('connector' = 'rows');\n\
    CREATE TABLE out (kind STRING, v STRING) WITH ('connector' = 'rows');\n";

fn catalog() -> Catalog {
    let rows = ConnectorDescriptor {
        name: "rows",
        source: true,
        sink: true,
        sink_takes_changes: true,
        uses_format: false,
        key_format: false,
        options: vec![],
        metadata: vec![],
        ..ConnectorDescriptor::default()
    };
    let none = std::collections::BTreeMap::new;
    Catalog { connectors: vec![rows], formats: vec![], settings: vec![], defaults: none(), overrides: none() }
}

/// The columns of `rows.json`.
fn column(name: &str) -> ArrayRef {
    let texts =
        |values: [&str; 2]| Arc::new(StringArray::from(vec![Some(values[0]), None, Some(values[1])])) as ArrayRef;
    let (day, last) = (19_782_i64, 47_655_678_i64);
    let millis = day * 86_400_000 + last;
    match name {
        "id" => Arc::new(Int32Array::from(vec![1, 2, 3])),
        "ti" => Arc::new(Int8Array::from(vec![Some(5), None, Some(i8::MIN)])),
        "si" => Arc::new(Int16Array::from(vec![Some(300), None, Some(i16::MIN)])),
        "i" => Arc::new(Int32Array::from(vec![Some(42), None, Some(i32::MIN)])),
        "n" => Arc::new(Int32Array::from(vec![Some(7), None, Some(-3)])),
        "b" => Arc::new(Int64Array::from(vec![Some(5_000_000_000), None, Some(i64::MIN)])),
        "f" => Arc::new(Float32Array::from(vec![Some(2.5), None, Some(-0.1)])),
        "d" => Arc::new(Float64Array::from(vec![Some(-3.75), None, Some(1.0E10)])),
        "c" => decimals([1_234_567, -5], 10, 2),
        "w" => decimals([1_000_000_000_000_000_001, -12_345_678_901_234_567_890_123_456_789_012_345_678], 38, 18),
        "o" => Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        "s" => texts(["Hello World", ""]),
        "sn" => texts([" 42 ", "abc"]),
        "sd" => texts(["-12.345", "1e3"]),
        "st" => texts(["2024-02-29 13:14:15.678", "1969-12-31"]),
        "k" => texts(["a,b,,c", "é😀x,日本"]),
        "j" => texts([r#"{"a": {"b": [1, 2.5, "x"]}, "t": true, "s": "str", "z": null}"#, "not json"]),
        "y" => Arc::new(BinaryArray::from(vec![Some(b"hello".as_slice()), None, Some(b"".as_slice())])),
        "dt" => Arc::new(Date32Array::from(vec![Some(day as i32), None, Some(-1)])),
        "tm" => Arc::new(Time32MillisecondArray::from(vec![Some(47_655_000), None, Some(0)])),
        "ts" => Arc::new(TimestampMillisecondArray::from(vec![Some(millis), None, Some(-1)])),
        "tl" => Arc::new(TimestampMillisecondArray::from(vec![Some(millis), None, Some(-1)]).with_timezone("UTC")),
        "t6" => Arc::new(TimestampMicrosecondArray::from(vec![Some(millis * 1_000 + 901), None, Some(-1)])),
        "a" => {
            let values = Arc::new(Int32Array::from(vec![Some(10), None, Some(30)]));
            let element = Arc::new(Field::new("element", DataType::Int32, true));
            let nulls = Some(NullBuffer::from(vec![true, false, true]));
            Arc::new(ListArray::new(element, OffsetBuffer::from_lengths([3, 0, 0]), values, nulls))
        }
        "m" => {
            let fields: Fields =
                vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)].into();
            let keys = Arc::new(StringArray::from(vec!["k", "l"]));
            let values = Arc::new(Int32Array::from(vec![Some(1), None]));
            let entries = StructArray::new(fields.clone(), vec![keys, values], None);
            let entry = Arc::new(Field::new("entries", DataType::Struct(fields), false));
            let nulls = Some(NullBuffer::from(vec![true, false, true]));
            Arc::new(MapArray::new(entry, OffsetBuffer::from_lengths([2, 0, 0]), entries, nulls, false))
        }
        "r" => {
            let fields: Fields =
                vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
            let x = Arc::new(Int32Array::from(vec![Some(7), None, None]));
            let y = Arc::new(StringArray::from(vec![Some("in row"), None, None]));
            Arc::new(StructArray::new(fields, vec![x, y], Some(NullBuffer::from(vec![true, false, true]))))
        }
        other => panic!("no column {other}"),
    }
}

fn decimals(values: [i128; 2], precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![Some(values[0]), None, Some(values[1])]);
    Arc::new(values.with_precision_and_scale(precision, scale).expect("digits that fit"))
}

/// What a node gives for one row.
fn evaluate(node: &Node, row: usize) -> Result<RecordBatch, String> {
    let project = |expressions: &[_], schema: &_, input: &RecordBatch| {
        let projector = Projector::new("test", expressions, schema, node.arrow_schema()).map_err(|e| e.to_string())?;
        projector.project(input).map_err(|e| e.to_string())
    };
    match &node.spec {
        OperatorSpec::Sink(_) => evaluate(&node.inputs[0], row),
        OperatorSpec::Scan(scan) => {
            let schema: &Schema = scan.read_schema.as_arrow();
            let columns = schema.fields().iter().map(|f| column(f.name()).slice(row, 1)).collect();
            let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).map_err(|e| e.to_string())?;
            project(&scan.expressions, &scan.read_schema, &batch)
        }
        OperatorSpec::Calc(calc) => {
            let input = evaluate(&node.inputs[0], row)?;
            project(&calc.expressions, &node.inputs[0].schema, &input)
        }
        other => panic!("not an expression: {other:?}"),
    }
}

/// Flink's type without what is not told apart here.
fn known_type(flink: &str) -> String {
    let kind = flink.replace(" NOT NULL", "");
    let name = kind.split('(').next().unwrap_or_default();
    match name {
        "CHAR" | "VARCHAR" => "STRING".to_owned(),
        "BINARY" | "VARBINARY" => "BYTES".to_owned(),
        "TIME" => "TIME".to_owned(),
        _ => kind.clone(),
    }
}

/// Equal, or as fractions nearly so: the last digit of a DOUBLE is not the same in every library.
fn is_same(kind: &str, flink: &str, ours: &str) -> bool {
    if flink == ours {
        return true;
    }
    let number = |text: &str| text.trim_matches('\'').parse::<f64>().ok();
    match (kind, number(flink), number(ours)) {
        ("DOUBLE", Some(a), Some(b)) => (a - b).abs() <= a.abs() * 4e-16,
        ("FLOAT", Some(a), Some(b)) => a as f32 == b as f32,
        _ => false,
    }
}

/// Type and values of an expression, or why it is refused in planning.
fn answer(expression: &str) -> Result<(String, Vec<String>), String> {
    let script = format!("{TABLES}INSERT INTO out SELECT TYPEOF({expression}), CAST({expression} AS STRING) FROM t;");
    let program = compile(&script, &catalog()).map_err(|e| e.to_string())?;
    let mut kind = String::new();
    let mut values = Vec::new();
    for row in 0..ROWS {
        values.push(match evaluate(&program.sinks[0], row) {
            Err(_) => "!".to_owned(),
            Ok(batch) => {
                kind = batch.column(0).as_string::<i32>().value(0).to_owned();
                let texts = batch.column(1).as_string::<i32>();
                let escaped = |text: &str| format!("'{}'", text.replace('\t', "\\t").replace('\n', "\\n"));
                if texts.is_null(0) { "NULL".to_owned() } else { escaped(texts.value(0)) }
            }
        });
    }
    Ok((kind, values))
}

#[test]
fn expressions_are_flinks_or_refused() {
    let listed: BTreeSet<&str> = REFUSED.lines().filter(|l| !l.is_empty() && !l.starts_with("# ")).collect();
    let (mut wrong, mut refused, mut matched, mut neither) = (Vec::new(), BTreeMap::new(), 0, 0);
    for line in ANSWERS.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [expression, kind, values @ ..] = &fields[..] else { panic!("{line}") };
        match (answer(expression), *kind) {
            (Err(_), "!!") => neither += 1,
            (Err(why), _) => {
                refused.insert(*expression, why);
            }
            (Ok((ours, found)), "!!") => wrong.push(format!("{expression}: Flink refuses it; here {ours} {found:?}")),
            (Ok((ours, found)), kind) => {
                let kind = known_type(kind);
                let same = values.iter().zip(&found).all(|(flink, ours)| is_same(&kind, flink, ours));
                let has_type = found.iter().all(|v| v == "!") || kind == "!" || ours == kind;
                if same && has_type {
                    matched += 1;
                } else {
                    wrong.push(format!("{expression}: Flink {kind} {values:?}; here {ours} {found:?}"));
                }
            }
        }
    }
    println!(
        "{matched} matched, {} refused here only, {neither} refused by both, {} wrong",
        refused.len(),
        wrong.len()
    );
    if std::env::var_os("STREAMFLEET_SHOW_REFUSED").is_some() {
        refused.iter().for_each(|(expression, why)| println!("refused: {expression}\t{why}"));
    }
    let now: BTreeSet<&str> = refused.keys().copied().collect();
    wrong.extend(now.difference(&listed).map(|e| format!("{e}: refused, and not listed: {}", refused[e])));
    wrong.extend(listed.difference(&now).map(|e| format!("{e}: listed as refused, and it is not")));
    assert!(wrong.is_empty(), "{} expressions:\n{}", wrong.len(), wrong.join("\n"));
}

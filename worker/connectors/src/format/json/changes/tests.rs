use crate::format::{Format, Layout, MessageBuffer};
use crate::testing::{rows, table};
use arrow::array::Int8Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use streamfleet_types::{Batch, RowKind};

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8),
        field("weight", DataType::Decimal128(10, 2)),
    ]))
}

fn format(options: &[(&str, &str)]) -> Format {
    Format::of(&table(&[], options)).expect("sound options")
}

/// Rows with kind and message, and what is wrong with the other messages.
fn decode(options: &[(&str, &str)], messages: &[&str]) -> (Vec<String>, Vec<String>) {
    let layout = Layout::whole(&schema());
    let mut decoder = format(options).message_decoder("t", schema(), &layout).expect("messages");
    messages.iter().for_each(|message| decoder.take(message.as_bytes()));
    let decoded = decoder.finish().expect("decodes");
    let texts = decoded.records.as_ref().map(rows).unwrap_or_default();
    let origins = decoded.origins.expect("not every message is a row");
    assert_eq!(texts.len(), origins.len());
    let kind = |row: usize| match &decoded.kinds {
        Some(kinds) => RowKind::from_byte(kinds.value(row)).expect("a kind"),
        None => RowKind::Insert,
    };
    let row = |(row, text): (usize, &String)| format!("{}{} {text}", origins[row], kind(row).short_name());
    let bad = decoded.bad.iter().map(|bad| format!("{} {}", bad.number, bad.reason));
    (texts.iter().enumerate().map(row).collect(), bad.collect())
}

const DEBEZIUM: &[(&str, &str)] = &[("format", "debezium-json")];
const CANAL: &[(&str, &str)] = &[("format", "canal-json")];
const MAXWELL: &[(&str, &str)] = &[("format", "maxwell-json")];

#[test]
fn debezium_tells_rows_before_and_after() {
    let (rows, bad) = decode(
        DEBEZIUM,
        &[
            r#"{"before":null,"after":{"id":1,"name":"a","weight":3.14},"source":{"db":"x"},"op":"c","ts_ms":1}"#,
            r#"{"after":{"id":2,"name":"b","weight":"5.18"},"op":"r"}"#,
            "",
            r#"{"op":"u","before":{"id":1,"name":"a","weight":3.14},"after":{"id":1,"name":"A","weight":null}}"#,
            r#"{"before":{"id":2,"name":"b","weight":5.18},"after":null,"op":"d"}"#,
        ],
    );
    assert_eq!(rows, ["0+I 1|a|3.14", "1+I 2|b|5.18", "3-U 1|a|3.14", "3+U 1|A|NULL", "4-D 2|b|5.18"]);
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn debezium_with_its_schema() {
    let options = [("format", "debezium-json"), ("debezium-json.schema-include", "true")];
    let (rows, bad) = decode(
        &options,
        &[
            r#"{"schema":{"type":"struct","fields":[]},"payload":{"after":{"id":1},"op":"c"}}"#,
            r#"{"after":{"id":1},"op":"c"}"#,
        ],
    );
    assert_eq!(rows, ["0+I 1|NULL|NULL"]);
    assert!(bad[0].starts_with("1 it has no `payload`"), "{bad:?}");
    let error = format(&options).message_encoder("t", &schema()).err().expect("refused").to_string();
    assert!(error.contains("'debezium-json.schema-include' = 'true'"), "{error}");
}

#[test]
fn a_bad_change_is_left_out_as_a_whole() {
    let (rows, bad) = decode(
        DEBEZIUM,
        &[
            r#"{"before":null,"after":{"id":1},"op":"u"}"#,
            r#"{"before":{"id":1},"after":{"id":"x"},"op":"u"}"#,
            r#"{"before":{"id":1},"after":{"id":2}"#,
            r#"{"after":{"id":7},"op":"c"}"#,
            r#"{"after":{"id":7},"op":"t"}"#,
            r#"{"id":7}"#,
            r#"{"before":{"id":1},"after":7,"op":"u"}"#,
            r#"{"before":null,"op":"d"}"#,
            r#"{"after":null,"op":"c"}"#,
            "[]",
        ],
    );
    assert_eq!(rows, ["3+I 7|NULL|NULL"]);
    let expected = [
        "0 the `before` of an update is NULL: a table in PostgreSQL needs REPLICA IDENTITY FULL to give it",
        "1 field id: `x` is no BIGINT",
        "2 the record is no JSON: a comma or the end is expected at column 36",
        "4 its `op` is \"t\", which is no kind of change known here",
        "5 it has no `op`: it is no message about a change",
        "6 the record is no JSON object",
        "7 the `before` of a deletion is NULL: a table in PostgreSQL needs REPLICA IDENTITY FULL to give it",
        "8 a change of type insert has no `after`",
        "9 the record is no JSON object",
    ];
    assert_eq!(bad, expected);
    let ignoring = [("format", "debezium-json"), ("debezium-json.ignore-parse-errors", "true")];
    let (rows, bad) = decode(&ignoring, &[r#"{"before":{"id":1},"after":{"id":"x"},"op":"u"}"#]);
    assert_eq!(rows, ["0-U 1|NULL|NULL", "0+U NULL|NULL|NULL"]);
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn canal_tells_only_the_fields_that_were_changed() {
    let update = r#"{"data":[{"id":"1","name":"A","weight":"3.14"},{"id":"2","name":"b","weight":null}],"database":"shop","es":1,"isDdl":false,"old":[{"name":"a"},{"weight":"5.18"}],"table":"goods","type":"UPDATE"}"#;
    let insert = r#"{"data":[{"id":"1","name":"a","weight":"3.14"},{"id":"2"}],"database":"shop","table":"goods","type":"INSERT","old":null}"#;
    let delete = r#"{"data":[{"id":"2"}],"database":"shop","table":"other","type":"DELETE"}"#;
    let create = r#"{"data":null,"database":"shop","table":"goods","type":"CREATE","sql":"CREATE TABLE .."}"#;
    let (rows, bad) = decode(CANAL, &[insert, create, update, delete]);
    let expected = [
        "0+I 1|a|3.14",
        "0+I 2|NULL|NULL",
        "2-U 1|a|3.14",
        "2+U 1|A|3.14",
        "2-U 2|b|5.18",
        "2+U 2|b|NULL",
        "3-D 2|NULL|NULL",
    ];
    assert_eq!(rows, expected);
    assert!(bad.is_empty(), "{bad:?}");
    let filtered =
        [("format", "canal-json"), ("canal-json.table.include", "oth.*"), ("canal-json.database.include", "shop")];
    assert_eq!(decode(&filtered, &[insert, update, delete, create]).0, ["2-D 2|NULL|NULL"]);
    let (rows, bad) =
        decode(CANAL, &[r#"{"data":[{"id":"1"},{"id":"2"}],"old":[{}],"type":"UPDATE"}"#, r#"{"type":"ALTER"}"#]);
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(bad[0], "0 2 rows in `data`, but 1 in `old`");
    assert!(bad[1].starts_with("1 its `type` is \"ALTER\""), "{bad:?}");
    let error = Format::of(&table(&[], &[("format", "canal-json"), ("canal-json.table.include", "(")])).unwrap_err();
    assert!(error.to_string().contains("it is no regular expression"), "{error}");
}

#[test]
fn maxwell_tells_only_the_fields_that_were_changed() {
    let (rows, bad) = decode(
        MAXWELL,
        &[
            r#"{"database":"d","table":"t","type":"insert","ts":1,"xid":2,"commit":true,"data":{"id":1,"name":"a","weight":1}}"#,
            r#"{"type":"update","data":{"id":1,"name":"b","weight":1},"old":{"name":null}}"#,
            r#"{"type":"delete","data":{"id":1,"name":"b","weight":1}}"#,
            r#"{"type":"update","data":{"id":1}}"#,
            r#"{"type":"bootstrap-start"}"#,
        ],
    );
    assert_eq!(rows, ["0+I 1|a|1.00", "1-U 1|NULL|1.00", "1+U 1|b|1.00", "2-D 1|b|1.00"]);
    assert_eq!(bad[0], "3 a change of type update has no `old`");
    assert!(bad[1].starts_with("4 its `type` is \"bootstrap-start\""), "{bad:?}");
}

#[test]
fn changes_are_written_as_insertions_and_deletions() {
    let source = decode(DEBEZIUM, &[]).0;
    assert!(source.is_empty());
    let layout = Layout::whole(&schema());
    let mut decoder = format(DEBEZIUM).message_decoder("t", schema(), &layout).expect("messages");
    for _ in 0..2 {
        decoder
            .take(br#"{"op":"u","before":{"id":1,"name":"a","weight":1},"after":{"id":1,"name":"b","weight":null}}"#);
    }
    let records = decoder.finish().expect("decodes").records.expect("rows");
    let kinds = [RowKind::Delete, RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter];
    let kinds = Int8Array::from_iter_values(kinds.iter().map(|k| *k as i8));
    let batch = Batch::changelog(records, kinds).expect("fits");
    let encode = |options: &[(&str, &str)]| {
        let mut encoder = format(options).message_encoder("t", &schema()).expect("messages");
        let mut out = MessageBuffer::default();
        encoder.encode(&batch, &mut out).expect("encodes");
        (0..out.ends.len()).map(|i| String::from_utf8(out.get(i).to_vec()).expect("text")).collect::<Vec<_>>()
    };
    let debezium = encode(DEBEZIUM);
    assert_eq!(debezium[0], r#"{"before":{"id":1,"name":"a","weight":1.00},"after":null,"op":"d"}"#);
    assert_eq!(debezium[1], r#"{"before":null,"after":{"id":1,"name":"b","weight":null},"op":"c"}"#);
    assert_eq!(debezium[2], debezium[0]);
    assert_eq!(debezium[3], debezium[1]);
    assert_eq!(
        encode(CANAL)[..2],
        [
            r#"{"data":[{"id":1,"name":"a","weight":1.00}],"type":"DELETE"}"#,
            r#"{"data":[{"id":1,"name":"b","weight":null}],"type":"INSERT"}"#,
        ]
    );
    assert_eq!(
        encode(MAXWELL)[..2],
        [
            r#"{"data":{"id":1,"name":"a","weight":1.00},"type":"delete"}"#,
            r#"{"data":{"id":1,"name":"b","weight":null},"type":"insert"}"#,
        ]
    );
    let omitting = [("format", "debezium-json"), ("debezium-json.encode.ignore-null-fields", "true")];
    assert_eq!(encode(&omitting)[1], r#"{"after":{"id":1,"name":"b"},"op":"c"}"#);
}

#[test]
fn files_hold_no_changes() {
    let layout = Layout::whole(&schema());
    let error = format(CANAL).decoder(schema(), &layout, true).err().expect("refused").to_string();
    assert!(error.contains("canal-json") && error.contains("'connector' = 'filesystem'"), "{error}");
    assert!(format(CANAL).encoder("t", &schema()).is_err());
}

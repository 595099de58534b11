use crate::format::{Format, Layout, MessageBuffer};
use crate::testing::{rows, table};
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;
use streamfleet_types::Batch;

fn format(options: &[(&str, &str)]) -> Format {
    let mut all = vec![("format", "avro")];
    all.extend(options);
    Format::of(&table(&[], &all)).expect("sound options")
}

fn decode(fields: &SchemaRef, wanted: &[usize], messages: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let all: Vec<Field> = fields.fields().iter().map(|f| f.as_ref().clone()).collect();
    let schema = Schema::new(wanted.iter().map(|w| all[*w].clone().with_nullable(true)).collect::<Vec<_>>());
    let layout = Layout { places: wanted.to_vec(), fields: all };
    let mut decoder = format(&[]).message_decoder("t", Arc::new(schema), &layout).expect("messages");
    messages.iter().for_each(|message| decoder.take(message));
    let decoded = decoder.finish().expect("decodes");
    let bad = decoded.bad.into_iter().map(|b| format!("{} {}", b.number, b.reason)).collect();
    (decoded.records.map(|r| rows(&r)).unwrap_or_default(), bad)
}

fn encode(records: &RecordBatch) -> Vec<Vec<u8>> {
    let mut encoder = format(&[]).message_encoder("t", &records.schema()).expect("messages");
    let mut out = MessageBuffer::default();
    encoder.encode(&Batch::inserts(records.clone()), &mut out).expect("encodes");
    (0..out.ends.len()).map(|i| out.get(i).to_vec()).collect()
}

fn records() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(-129), Some(128), Some(0), None]).with_precision_and_scale(5, 2);
    let lists = vec![Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(-64)])];
    let columns: Vec<(&str, bool, ArrayRef)> = vec![
        ("id", false, Arc::new(Int64Array::from(vec![0, -1, 64, i64::MIN]))),
        ("name", true, Arc::new(StringArray::from(vec![Some("foo"), None, Some(""), Some("ä")]))),
        ("price", true, Arc::new(decimals.expect("fits"))),
        ("list", true, Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    let fields: Vec<Field> = columns.iter().map(|(n, null, c)| Field::new(*n, c.data_type().clone(), *null)).collect();
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("fits")
}

#[test]
fn records_are_written_as_the_specification_says() {
    let messages = encode(&records());
    assert_eq!(
        messages[0],
        [0, 2, 6, b'f', b'o', b'o', 2, 4, 0xff, 0x7f, 2, 4, 2, 2, 0, 0],
        "0; branch 1, length 3; branch 1, two bytes of -129; branch 1, two items: branch 1, 1; branch 0; end"
    );
    assert_eq!(messages[1], [1, 0, 2, 4, 0, 0x80, 2, 0]);
    assert_eq!(messages[2], [0x80, 1, 2, 0, 2, 2, 0, 0]);
    assert_eq!(messages[3][..10], [0xff; 9].iter().copied().chain([1]).collect::<Vec<u8>>()[..]);
}

#[test]
fn what_was_written_is_read() {
    let records = records();
    let messages = encode(&records);
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let (read, bad) = decode(&records.schema(), &[0, 1, 2, 3], &messages);
    assert_eq!(read, rows(&records));
    assert!(bad.is_empty(), "{bad:?}");
    // Fields that are not wanted are passed over.
    let (read, _) = decode(&records.schema(), &[2, 0], &messages);
    assert_eq!(read, ["-1.29|0", "1.28|-1", "0.00|64", "NULL|-9223372036854775808"]);
}

#[test]
fn what_is_no_record_is_told() {
    let fields = vec![Field::new("a", DataType::Int32, false), Field::new("b", DataType::Utf8, true)];
    let schema = Arc::new(Schema::new(fields));
    let (rows, bad) = decode(
        &schema,
        &[0, 1],
        &[
            &[2, 2, 2, b'x'],
            &[2],
            &[2, 2, 8, b'x'],
            &[2, 0, 0],
            &[2, 4],
            &[2, 2, 2, 0xff],
            &[0x80, 0x80, 0x80, 0x80, 0x20, 0],
            &[0xff; 12],
            &[2, 2, 1],
        ],
    );
    assert_eq!(rows, ["1|x"]);
    let expected = [
        "1 the record ends within a value at byte 2",
        "2 the record ends within a value at byte 4",
        "3 bytes behind the record: was it written under another schema? at byte 3",
        "4 a branch that the union does not have at byte 3",
        "5 a string that is no UTF-8 at byte 5",
        "6 a whole number of more than 32 bits at byte 6",
        "7 a whole number of more than 64 bits at byte 11",
        "8 a length below zero at byte 4",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn points_in_time_need_the_newer_mapping() {
    let time = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    let check = |options: &[(&str, &str)], data_type| format(options).check("t", &[Field::new("a", data_type, true)]);
    let newer = [("avro.timestamp_mapping.legacy", "false")];
    assert!(check(&[], time(TimeUnit::Millisecond, None)).is_ok());
    for data_type in [time(TimeUnit::Microsecond, None), time(TimeUnit::Millisecond, Some("UTC"))] {
        let error = check(&[], data_type.clone()).expect_err("refused").to_string();
        let of = streamfleet_logical::type_name(&data_type);
        let advice = format!("column a of type {of} in format 'avro': set 'avro.timestamp_mapping.legacy' = 'false'");
        assert!(error.ends_with(&advice), "{error}");
        assert!(check(&newer, data_type).is_ok());
    }
    let error = check(&[], DataType::UInt8).expect_err("no type of Avro's").to_string();
    assert!(error.ends_with("in format 'avro'"), "{error}");
}

//! Topics whose messages name their schemas in a registry.

use super::fake::FakeCluster;
use crate::registry::RegistryFault;
use crate::testing::{StepClock, context, rows, scan, sink_context, table};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Flow, Sink, Source, SourceStatus};
use streamfleet_logical::SinkSpec;
use streamfleet_types::{Batch, Epoch, Outlook, RowKind};

const OPTIONS: [(&str, &str); 6] = [
    ("connector", "kafka"),
    ("topic", "t"),
    ("format", "avro-confluent"),
    ("avro-confluent.url", "http://r:1"),
    ("properties.bootstrap.servers", "b:1"),
    ("scan.startup.mode", "earliest-offset"),
];

fn columns() -> Vec<(&'static str, DataType)> {
    vec![("id", DataType::Int64), ("name", DataType::Utf8)]
}

fn sink(cluster: &FakeCluster, more: &[(&str, &str)]) -> Box<dyn Sink> {
    let options: Vec<_> = OPTIONS.iter().chain(more).copied().collect();
    let spec = SinkSpec { table: Arc::new(table(&columns(), &options)) };
    super::sink(&spec, Arc::new(cluster.clone()), sink_context(&Arc::<StepClock>::default())).expect("sound options")
}

fn source(cluster: &FakeCluster, more: &[(&str, &str)]) -> Box<dyn Source> {
    let options: Vec<_> = OPTIONS.iter().chain(more).copied().collect();
    let spec = scan(&columns(), &options);
    super::source(&spec, Arc::new(cluster.clone()), context(0, 1, &Arc::<StepClock>::default())).expect("sound options")
}

/// Polls until it waits although answers came.
fn drain(source: &mut dyn Source) -> Result<Vec<String>, DataflowError> {
    let mut all = Vec::new();
    let mut waits = 0;
    while waits < 4 {
        match source.poll()? {
            SourceStatus::Rows(batch) => {
                waits = 0;
                all.extend(rows(batch.batch.records()));
            }
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Waiting(_) | SourceStatus::Ended => waits += 1,
        }
    }
    Ok(all)
}

fn batch() -> Batch {
    let ids = Arc::new(Int64Array::from(vec![Some(1), None]));
    let names = Arc::new(StringArray::from(vec![Some("a"), Some("b")]));
    Batch::inserts(
        RecordBatch::try_from_iter_with_nullable([("id", ids as _, true), ("name", names as _, true)]).expect("fits"),
    )
}

/// A message of the registry's form.
fn message(id: u8, record: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id][..], record].concat()
}

fn record(fields: &str) -> String {
    format!("{{\"type\":\"record\",\"name\":\"r\",\"fields\":[{fields}]}}")
}

#[test]
fn rows_wait_for_their_schemas_number_and_are_read_back() {
    let cluster = FakeCluster::default();
    cluster.0.lock().unwrap().holds_schemas = true;
    let mut sink = sink(
        &cluster,
        &[("key.format", "avro-confluent"), ("key.fields", "id"), ("key.avro-confluent.url", "http://r:1")],
    );
    assert_eq!(sink.write(&batch()).expect("no error"), Flow::More, "the schemas have no numbers yet");
    cluster.release();
    assert_eq!(sink.write(&batch()).expect("no error"), Flow::Done);
    let mut state = cluster.0.lock().unwrap();
    let asked: Vec<String> = state.asked.iter().filter(|line| line.starts_with("register")).cloned().collect();
    assert_eq!(asked, ["register t-value", "register t-key"]);
    let block = state.sent[0].1.clone();
    assert_eq!(block.values.get(0), Some(&message(1, &[2, 2, 2, 2, b'a'])[..]));
    assert_eq!(block.keys.get(1), Some(&message(2, &[0])[..]));
    let written: Vec<_> = (0..2).map(|i| (None, block.values.get(i).map(<[u8]>::to_vec), 0)).collect();
    state.partitions.insert(FakeCluster::partition("t", 0), written);
    drop(state);
    let mut source = source(&cluster, &[]);
    source.start().expect("begins");
    assert_eq!(drain(source.as_mut()).expect("no error"), ["1|a", "NULL|b"]);
}

#[test]
fn records_wait_for_their_schema_in_order_and_are_not_passed() {
    let cluster = FakeCluster::default();
    let of = |id: u8, record: &[u8]| (None, Some(message(id, record)), 0);
    {
        let mut state = cluster.0.lock().unwrap();
        state.schemas.push(record("{\"name\":\"id\",\"type\":\"long\"}"));
        // Another order, an older type, a field that the table lacks, an enum.
        state.schemas.push(record(
            "{\"name\":\"more\",\"type\":{\"type\":\"array\",\"items\":\"int\"}},\
             {\"name\":\"name\",\"type\":[{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"x\",\"y\"]},\"null\"]},\
             {\"name\":\"id\",\"type\":\"int\"}",
        ));
        let records = vec![of(1, &[2]), of(1, &[4]), of(1, &[6]), of(2, &[4, 1, 1, 0, 0, 2, 8]), of(2, &[0, 2, 10])];
        state.partitions.insert(FakeCluster::partition("t", 0), records);
        state.holds_schemas = true;
    }
    let mut source = source(&cluster, &[]);
    source.start().expect("begins");
    assert_eq!(drain(source.as_mut()).expect("no error"), [""; 0]);
    assert_eq!(source.splits()[0].position["offset"], 0, "what waits is not passed");
    assert_eq!(drain(source.as_mut()).expect("no error"), [""; 0]);
    let asked =
        |cluster: &FakeCluster| cluster.0.lock().unwrap().asked.iter().filter(|a| a.starts_with("schema")).count();
    assert_eq!(asked(&cluster), 1, "once is enough");
    cluster.release();
    assert_eq!(drain(source.as_mut()).expect("no error"), ["1|NULL", "2|NULL", "3|NULL", "4|y", "5|NULL"]);
    assert_eq!(source.splits()[0].position["offset"], 5);
    assert_eq!(asked(&cluster), 2);
}

#[test]
fn messages_without_a_schema_are_bad_records() {
    let cluster = FakeCluster::default();
    {
        let mut state = cluster.0.lock().unwrap();
        state.schemas.push(record("{\"name\":\"id\",\"type\":\"string\"}"));
        state.schemas.push("nonsense".to_owned());
        state.schemas.push(record("{\"name\":\"id\",\"type\":\"long\"}"));
        let messages =
            [&b"{\"id\":1}"[..], &message(1, &[2, b'x']), &message(2, &[]), &message(9, &[]), &message(3, &[2])];
        let records = messages.iter().map(|message| (None, Some(message.to_vec()), 0)).collect();
        state.partitions.insert(FakeCluster::partition("t", 0), records);
    }
    let options = [("scan.errors", "dead-letter"), ("scan.errors.dead-letter.topic", "d")];
    let mut keeping = source(&cluster, &options);
    keeping.start().expect("begins");
    assert_eq!(drain(keeping.as_mut()).expect("no error"), ["1|NULL"]);
    assert_eq!(keeping.errors().dead_letters, 4);
    let state = cluster.0.lock().unwrap();
    let reasons: Vec<String> = state
        .sent
        .iter()
        .flat_map(|(_, block)| &block.headers)
        .map(|headers| {
            let header = headers.iter().find(|(name, _)| name == "streamfleet.reason").expect("a reason");
            String::from_utf8(header.1.clone().expect("a text")).expect("a text")
        })
        .collect();
    assert!(reasons[0].contains("was it written without a registry?"), "{reasons:?}");
    assert_eq!(reasons[1], "schema 1 in the registry: field id of type string is no BIGINT");
    assert!(reasons[2].starts_with("schema 2 in the registry: it is no Avro schema: "), "{reasons:?}");
    assert_eq!(reasons[3], "schema 9: it is not there");
    drop(state);
    let mut failing = source(&cluster, &[]);
    failing.start().expect("begins");
    let error = drain(failing.as_mut()).expect_err("the first record").to_string();
    assert!(error.contains("topic t, partition 0, offset 0"), "{error}");
}

#[test]
fn a_registry_that_fails_ends_the_job_with_its_reason() {
    let cluster = FakeCluster::default();
    let fault =
        RegistryFault { is_unknown: false, detail: "the registry is down".to_owned(), outlook: Outlook::MayPass };
    {
        let mut state = cluster.0.lock().unwrap();
        state.registry_fault = Some(fault);
        state.partitions.insert(FakeCluster::partition("t", 0), vec![(None, Some(message(1, &[2])), 0)]);
    }
    let mut source = source(&cluster, &[("scan.errors", "skip")]);
    source.start().expect("begins");
    let error = drain(source.as_mut()).expect_err("it is down").to_string();
    assert!(error.contains("table t") && error.contains("the registry is down"), "{error}");
    let mut sink = sink(&cluster, &[]);
    let error = sink.write(&batch()).expect_err("it is down").to_string();
    assert!(error.contains("table t") && error.contains("the registry is down"), "{error}");
    // A barrier needs no number of a schema.
    let cluster = FakeCluster::default();
    cluster.0.lock().unwrap().holds_schemas = true;
    let mut sink = self::sink(&cluster, &[]);
    sink.prepare(Epoch(1)).expect("no error");
    assert_eq!(sink.poll_prepared(Epoch(1)).expect("no error"), Some(Vec::new()));
}

const CHANGES: [(&str, &str); 6] = [
    ("connector", "kafka"),
    ("topic", "t"),
    ("format", "debezium-avro-confluent"),
    ("debezium-avro-confluent.url", "http://r:1"),
    ("properties.bootstrap.servers", "b:1"),
    ("scan.startup.mode", "earliest-offset"),
];

/// A source of changes, and whatever it gives: kind and row.
fn changes(cluster: &FakeCluster, more: &[(&str, &str)]) -> (Box<dyn Source>, Vec<String>) {
    let options: Vec<_> = CHANGES.iter().chain(more).copied().collect();
    let spec = scan(&columns(), &options);
    let context = context(0, 1, &Arc::<StepClock>::default());
    let mut source = super::source(&spec, Arc::new(cluster.clone()), context).expect("sound options");
    source.start().expect("begins");
    let (mut all, mut waits) = (Vec::new(), 0);
    while waits < 4 {
        match source.poll().expect("no error") {
            SourceStatus::Rows(given) => {
                waits = 0;
                let kinds = (0..given.batch.rows()).map(|row| given.batch.kind(row).short_name());
                all.extend(kinds.zip(rows(given.batch.records())).map(|(kind, row)| format!("{kind} {row}")));
            }
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Waiting(_) | SourceStatus::Ended => waits += 1,
        }
    }
    (source, all)
}

#[test]
fn changes_are_written_as_flink_writes_them_and_read_back() {
    let cluster = FakeCluster::default();
    let spec = SinkSpec { table: Arc::new(table(&columns(), &CHANGES)) };
    let context = sink_context(&Arc::<StepClock>::default());
    let mut sink = super::sink(&spec, Arc::new(cluster.clone()), context).expect("sound options");
    let ids = Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(2), None]));
    let names = Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("b"), Some("c")]));
    let records = RecordBatch::try_from_iter_with_nullable([("id", ids as _, true), ("name", names as _, true)]);
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete].map(|k| k as i8);
    let batch = Batch::changelog(records.expect("fits"), kinds.to_vec().into()).expect("as many");
    while sink.write(&batch).expect("no error") == Flow::More {}
    let mut state = cluster.0.lock().unwrap();
    let written: serde_json::Value = serde_json::from_str(&state.schemas[0]).expect("a schema");
    assert_eq!(written[0].as_str(), Some("null"), "as a whole it may be NULL");
    assert_eq!(written[1]["name"].as_str(), Some("record"));
    let fields = written[1]["fields"].as_array().expect("fields");
    let names: Vec<_> = fields.iter().filter_map(|field| field["name"].as_str()).collect();
    assert_eq!(names, ["before", "after", "op"]);
    assert_eq!(fields[0]["type"][1]["name"].as_str(), Some("record_before"));
    let block = state.sent[0].1.clone();
    // The branch that is no null; no row before, the row after, "c".
    assert_eq!(block.values.get(0), Some(&message(1, &[2, 0, 2, 2, 2, 2, 2, b'a', 2, 2, b'c'])[..]));
    assert_eq!(block.values.get(3), Some(&message(1, &[2, 2, 0, 2, 2, b'c', 0, 2, 2, b'd'])[..]));
    let written: Vec<_> = (0..4).map(|i| (None, block.values.get(i).map(<[u8]>::to_vec), 0)).collect();
    state.partitions.insert(FakeCluster::partition("t", 0), written);
    drop(state);
    assert_eq!(changes(&cluster, &[]).1, ["+I 1|a", "-D 1|a", "+I 2|b", "-D NULL|c"]);
    // A schema of one's own may be the record alone, with an `op` that is always there.
    let row = "{\"type\":\"record\",\"name\":\"v\",\"fields\":[{\"name\":\"name\",\"type\":[\"null\",\"string\"]},\
               {\"name\":\"id\",\"type\":[\"null\",\"long\"]}]}";
    let own = record(&format!(
        "{{\"name\":\"op\",\"type\":\"string\"}},{{\"name\":\"before\",\"type\":[\"null\",{row}]}},\
         {{\"name\":\"after\",\"type\":[\"null\",\"v\"]}}"
    ));
    let with_own = |schema: &str| {
        let options = [&CHANGES[..], &[("debezium-avro-confluent.schema", schema)]].concat();
        let spec = SinkSpec { table: Arc::new(table(&columns(), &options)) };
        let cluster = FakeCluster::default();
        let sink = super::sink(&spec, Arc::new(cluster.clone()), sink_context(&Arc::<StepClock>::default()));
        sink.map(|sink| (cluster, sink))
    };
    let (cluster, mut sink) = with_own(&own).expect("sound options");
    while sink.write(&batch).expect("no error") == Flow::More {}
    let state = cluster.0.lock().unwrap();
    assert_eq!(state.sent[0].1.values.get(0), Some(&message(1, &[2, b'c', 0, 2, 2, 2, b'a', 2, 2])[..]));
    let error = with_own(&own.replace("\"before\"", "\"previous\"")).err().expect("no such field").to_string();
    assert!(error.contains("'debezium-avro-confluent.schema': column before has no field in it"), "{error}");
}

#[test]
fn changes_of_debezium_are_read_under_its_own_schema() {
    let cluster = FakeCluster::default();
    {
        let mut state = cluster.0.lock().unwrap();
        let row = "{\"type\":\"record\",\"name\":\"Value\",\"fields\":[{\"name\":\"name\",\"type\":[\"null\",\"string\"]},\
                   {\"name\":\"id\",\"type\":\"int\"}]}";
        state.schemas.push(format!(
            "{{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"shop.orders\",\"fields\":[\
             {{\"name\":\"before\",\"type\":[\"null\",{row}]}},{{\"name\":\"after\",\"type\":[\"null\",\"Value\"]}},\
             {{\"name\":\"source\",\"type\":\"string\"}},{{\"name\":\"op\",\"type\":\"string\"}},\
             {{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"]}}]}}"
        ));
        state.schemas.push(record("{\"name\":\"id\",\"type\":\"long\"}"));
        let change = |before: &[u8], after: &[u8], op: u8| {
            let side = |row: &[u8]| if row.is_empty() { vec![0] } else { [&[2], row].concat() };
            Some(message(1, &[&side(before)[..], &side(after), &[2, b's', 2, op, 0]].concat()))
        };
        let (a, b) = (&[2, 2, b'a', 2][..], &[0, 4][..]);
        let records = [
            change(&[], a, b'r'),
            change(a, b, b'u'),
            Some(Vec::new()),
            change(b, &[], b'd'),
            None,
            change(&[], a, b'u'),
            change(&[], &[], b'c'),
            change(a, a, b't'),
            Some(message(2, &[2])),
            change(&[], b, b'c'),
        ];
        let records = records.into_iter().map(|record| (None, record, 0)).collect();
        state.partitions.insert(FakeCluster::partition("t", 0), records);
    }
    let options = [("scan.errors", "dead-letter"), ("scan.errors.dead-letter.topic", "d")];
    let (source, rows) = changes(&cluster, &options);
    assert_eq!(rows, ["+I 1|a", "-U 1|a", "+U 2|NULL", "-D 2|NULL", "+I 2|NULL"]);
    assert_eq!(source.errors().dead_letters, 4);
    let state = cluster.0.lock().unwrap();
    let header = |headers: &[(String, Option<Vec<u8>>)], name: &str| {
        let header = headers.iter().find(|(found, _)| found == name).expect("a header");
        String::from_utf8(header.1.clone().expect("a text")).expect("a text")
    };
    let letters: Vec<String> = state
        .sent
        .iter()
        .flat_map(|(_, block)| &block.headers)
        .map(|headers| format!("{} {}", header(headers, "streamfleet.offset"), header(headers, "streamfleet.reason")))
        .collect();
    let expected = [
        "5 the `before` of an update is NULL: a table in PostgreSQL needs REPLICA IDENTITY FULL",
        "6 a change of type insert has no `after`",
        "7 its `op` is t, which is no kind of change known here",
        "8 it has no `op`: it is no message about a change",
    ];
    for (letter, expected) in letters.iter().zip(expected) {
        assert!(letter.starts_with(expected), "{letters:?}");
    }
}

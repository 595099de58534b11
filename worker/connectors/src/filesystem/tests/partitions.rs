//! Tables in folders named after values.

use super::*;

/// The texts of the files that a storage holds below a folder.
fn texts(storage: &Memory, folder: &str) -> Vec<(String, String)> {
    let objects = storage.objects.lock().expect("one thread");
    let below = objects.iter().filter(|(path, _)| path.starts_with(folder));
    below.map(|(path, bytes)| (path.clone(), String::from_utf8_lossy(bytes).into_owned())).collect()
}

fn partitioned(options: &[(&str, &str)], by: &[&str]) -> Arc<TableDescriptor> {
    let mut table = table(options).as_ref().clone();
    table.partitioned_by = by.iter().map(|name| (*name).to_owned()).collect();
    Arc::new(table)
}

#[test]
fn partitions_are_folders_and_come_back_as_columns() {
    for format in ["json", "csv", "parquet"] {
        for by in [&["text"][..], &["ts", "text"], &["amount"]] {
            let storage = Arc::new(Memory::default());
            let table = partitioned(&[("path", "out"), ("format", format), ("csv.null-literal", "NULL")], by);
            let text = |n: i64| match n % 4 {
                0 => None,
                1 => Some("a/b=c%".to_owned()),
                _ => Some(format!("{}", n % 3)),
            };
            let mut columns = rows(0, 50).columns().to_vec();
            columns[1] = Arc::new((0..50).map(text).collect::<StringArray>());
            let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
            let handles = write(&storage, &table, &[records.slice(0, 20), records.slice(20, 30)]);
            assert!(storage.paths().iter().all(|p| p.contains("/.part")), "{format}: nothing shows before the commit");
            commit(&storage, &table, &handles);
            for path in storage.paths() {
                assert_eq!(path.split('/').count(), by.len() + 2, "{path}");
                assert!(path.split('/').skip(1).zip(by).all(|(f, by)| f.starts_with(&format!("{by}="))), "{path}");
            }
            let mut source = started(source_of(&storage, &table, 1000));
            let found: Vec<RecordBatch> = read(&mut source).expect("readable").into_iter().map(|(b, _)| b).collect();
            let found = arrow::compute::concat_batches(&found[0].schema(), &found).expect("one schema");
            let mut found = crate::testing::rows(&found);
            let mut expected = crate::testing::rows(&records);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{format} by {by:?}");
        }
    }
}

#[test]
fn partition_folders_have_hives_names() {
    let storage = Arc::new(Memory::default());
    let options = [("path", "out"), ("format", "csv"), ("partition.default-name", "_none")];
    let table = partitioned(&options, &["ts", "text"]);
    let mut columns = rows(0, 2).columns().to_vec();
    columns[1] = Arc::new(StringArray::from(vec![Some("a:b"), Some("")]));
    columns[3] = Arc::new(TimestampMillisecondArray::from(vec![Some(3_600_000), None]));
    let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
    let handles = write(&storage, &table, &[records]);
    commit(&storage, &table, &handles);
    let expected = [
        ("out/ts=1970-01-01 01%3A00%3A00/text=a%3Ab/part-u-0.csv".to_owned(), "0,\n".to_owned()),
        ("out/ts=_none/text=_none/part-u-1.csv".to_owned(), "1,0.25\n".to_owned()),
    ];
    assert_eq!(texts(&storage, "out"), expected);
    // Only the wanted columns are made; and not every file name that looks like one is a folder.
    let batches = read(&mut started(subtask_of(&storage, &table, &[3, 0], (0, 1)))).expect("readable");
    let rows: Vec<String> = batches.iter().flat_map(|(b, _)| crate::testing::rows(b)).collect();
    assert_eq!(rows, ["1970-01-01T01:00:00|0", "NULL|1"]);
    put(&storage, "out/ts=x/text=a/f", "1,2\n");
    let error = read(&mut started(source_of(&storage, &table, 100))).expect_err("no timestamp").to_string();
    assert_eq!(error, "out/ts=x/text=a/f: folder ts: `x` is no TIMESTAMP(3)");
    put(&storage, "out/f", "1,2\n");
    let error = read(&mut started(source_of(&storage, &table, 100))).expect_err("no folder").to_string();
    assert!(error.starts_with("out/f: the file lies in no folder `ts=..`"), "{error}");
}

#[test]
fn what_cannot_partition_a_table_is_refused() {
    let clock: Arc<StepClock> = Arc::default();
    let kafka: Arc<dyn crate::kafka::client::Cluster> = Arc::new(crate::kafka::NativeCluster);
    let refused = |table: Arc<TableDescriptor>| {
        let context = sink_context(&Arc::default(), &clock, "u");
        crate::sink(&SinkSpec { table }, &kafka, context).err().expect("refused").to_string()
    };
    let options = [("connector", "filesystem"), ("path", "out"), ("format", "csv")];
    for (by, expected) in [
        (&["id", "id"][..], "PARTITIONED BY with id twice"),
        (&["id", "text", "amount", "ts"], "with every column"),
        (&["other"], "PARTITIONED BY other, which is no physical column"),
    ] {
        let error = refused(partitioned(&options, by));
        assert!(error.contains(expected), "{error}");
    }
    let error = refused(partitioned(&[("connector", "print")], &["id"]));
    assert!(error.contains("PARTITIONED BY with 'connector' = 'print'"), "{error}");
}

#[test]
fn many_partitions_are_open_one_after_another() {
    let storage = Arc::new(Memory::default());
    let table = partitioned(&[("path", "out"), ("format", "json")], &["id"]);
    let batches = [rows(0, 100), rows(90, 10), rows(0, 1)];
    let handles = write(&storage, &table, &batches);
    // 64 are open: of the first hundred the last ones stay, and the first has to be opened again.
    assert_eq!(handles.len(), 101);
    commit(&storage, &table, &handles);
    let files = texts(&storage, "out");
    assert_eq!(files.len(), 101);
    assert_eq!(files.iter().map(|(_, text)| text.lines().count()).sum::<usize>(), 111);
}

#[test]
fn many_half_filled_row_groups_do_not_pile_up() {
    let storage = Arc::new(Memory::default());
    let options = [("path", "out"), ("format", "parquet"), ("parquet.compression", "UNCOMPRESSED")];
    let table = partitioned(&options, &["id"]);
    let clock: Arc<StepClock> = Arc::default();
    let mut sink = sink(&SinkSpec { table: Arc::clone(&table) }, sink_context(&storage, &clock, "u")).expect("sound");
    let mut number = 1u64;
    let mut text = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{number:016x}").repeat(4096)
    };
    let mut rows_in = 0;
    // Each of ten partitions gets 10 MB: less than a row group.
    for _ in 0..16 {
        let mut columns = rows(0, 100).columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_iter_values((0..100).map(|n| n % 10)));
        columns[1] = Arc::new((0..100).map(|_| Some(text())).collect::<StringArray>());
        let records = RecordBatch::try_new(rows(0, 1).schema(), columns).expect("fits");
        assert_eq!(sink.write(&Batch::inserts(records)).expect("there is room"), Flow::Done);
        rows_in += 100;
    }
    assert!(sink.written_bytes() > 30 << 20, "{} bytes were handed over", sink.written_bytes());
    sink.prepare(Epoch(1)).expect("closes");
    let handles = sink.poll_prepared(Epoch(1)).expect("no error").expect("at once");
    assert_eq!(handles.len(), 10);
    commit(&storage, &table, &handles);
    let batches = read(&mut started(source_of(&storage, &table, 1 << 20))).expect("readable");
    assert_eq!(batches.iter().map(|(b, _)| b.num_rows()).sum::<usize>(), rows_in);
}

#[test]
fn a_partition_column_may_begin_like_a_hidden_file() {
    let storage = Arc::new(Memory::default());
    let mut table = partitioned(&[("path", "in"), ("format", "csv")], &["_day"]).as_ref().clone();
    table.columns[1].name = "_day".to_owned();
    put(&storage, "in/_day=a/f", "1,,\n");
    put(&storage, "in/_day=a/_f", "2,,\n");
    put(&storage, "in/_other=a/_day=b/f", "3,,\n");
    let batches = read(&mut started(source_of(&storage, &Arc::new(table), 100))).expect("readable");
    assert_eq!(ids(&batches), [1]);
}

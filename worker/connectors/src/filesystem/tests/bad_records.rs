//! Records that cannot be read: an error, NULL, nothing or a dead letter.

use super::*;

#[test]
fn a_bad_record_fails_with_its_place_or_is_skipped() {
    use streamfleet_dataflow::Source;
    let cases = [
        ("json", "{\"id\":1}\n{\"id\":\"x\"}\n{\"id\":3}\n", "in/a, line 2, byte 9: field id: `x` is no BIGINT"),
        (
            "json",
            "{\"id\":1}\n\n not json\n{\"id\":3}\n",
            "in/a, line 3, byte 10: the record is no JSON: no JSON value at column 1",
        ),
        (
            "json",
            "{\"id\":1}\n{\"id\":2,\"x\":\"\u{1}",
            "in/a, line 2, byte 9: the record is no JSON: a string without its closing quote",
        ),
        ("csv", "1,a,,\nx,b,,\n3,c,,\n", "in/a, line 2, byte 6: field id: `x` is no BIGINT"),
        ("csv", "1,\"a\nb\",,\n2\n3,c,,\n", "in/a, line 3, byte 10: 1 fields, expected 4"),
    ];
    for (format, text, expected) in cases {
        let storage = Arc::new(Memory::default());
        storage.objects.lock().expect("one thread").insert("in/a".to_owned(), text.as_bytes().to_vec());
        let failing = table(&[("path", "in"), ("format", format)]);
        let mut source = source_of(&storage, &failing, 1 << 20);
        source.start().expect("starts");
        let error = read(&mut source).expect_err("a bad record").to_string();
        assert!(error.starts_with(expected) && error.contains("'scan.errors' = 'skip'"), "{error}");
        let skipping = table(&[("path", "in"), ("format", format), ("scan.errors", "skip")]);
        let mut source = source_of(&storage, &skipping, 1 << 20);
        source.start().expect("starts");
        let good = ids(&read(&mut source).expect("skips"));
        assert!(good.starts_with(&[1]) && good.len() == text.matches(['1', '3']).count().min(2), "{good:?}");
        assert_eq!(source.errors().skipped_records, 1);
    }
}

#[test]
fn good_records_behind_a_batch_of_bad_ones_are_read() {
    use streamfleet_dataflow::Source;
    for (format, bad, good) in [("json", "{\"id\":\"x\"}\n", "{\"id\":7}\n"), ("csv", "x,a,,\n", "7,a,,\n")] {
        let storage = Arc::new(Memory::default());
        put(&storage, "in/a", format!("{}{good}{bad}{good}", bad.repeat(20_000)));
        let table = table(&[("path", "in"), ("format", format), ("scan.errors", "skip")]);
        for chunk_bytes in [1000, 1 << 20] {
            let mut source = started(source_of(&storage, &table, chunk_bytes));
            assert_eq!(ids(&read(&mut source).expect("skips")), [7, 7], "{format}, chunks of {chunk_bytes}");
            assert_eq!(source.errors().skipped_records, 20_001);
        }
    }
}

#[test]
fn ignored_errors_make_fields_null_and_leave_records_out() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", "{\"id\":1,\"amount\":\"much\"}\nnot json\n{\"id\":\"3\"}\n");
    let table = table(&[("path", "in"), ("format", "json"), ("json.ignore-parse-errors", "true")]);
    let mut source = started(source_of(&storage, &table, 1 << 20));
    assert_eq!(ids(&read(&mut source).expect("ignores")), [1, 3]);
    let errors = source.errors();
    assert_eq!((errors.skipped_records, errors.dead_letters, errors.nulled_fields), (1, 0, 1));
}

#[test]
fn records_that_cannot_be_read_are_kept_aside() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", b"{\"id\":1}\nnot json\n{\"id\":2}\n{\"id\":\"\xff\"}\n".to_vec());
    let options =
        [("path", "in"), ("format", "json"), ("scan.errors", "dead-letter"), ("scan.errors.dead-letter.path", "dead/")];
    for chunk_bytes in [5, 1 << 20] {
        let mut source = started(source_of(&storage, &table(&options), chunk_bytes));
        assert_eq!(ids(&read(&mut source).expect("keeps aside")), [1, 2]);
        assert_eq!((source.errors().skipped_records, source.errors().dead_letters), (2, 2));
        assert!(source.splits_known());
        let mut objects = storage.objects.lock().expect("one thread");
        // One file per sending.
        let files: Vec<String> = objects.keys().filter(|p| p.starts_with("dead/dead-letters-u-")).cloned().collect();
        assert_eq!(files.len(), if chunk_bytes == 5 { 2 } else { 1 });
        let kept: Vec<u8> = files.iter().flat_map(|path| objects.remove(path).expect("kept")).collect();
        let kept: Vec<serde_json::Value> =
            String::from_utf8(kept).expect("text").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(kept.len(), 2);
        assert_eq!(
            kept[0],
            serde_json::json!({"table": "t", "file": "in/a", "line": 2, "byte": 9, "text": "not json",
                "reason": "the record is no JSON: no JSON value at column 1"})
        );
        assert_eq!(kept[1]["base64"], "eyJpZCI6Iv8ifQo=");
        assert_eq!((&kept[1]["line"], &kept[1]["byte"]), (&4.into(), &27.into()));
    }
}

#[test]
fn no_checkpoint_passes_a_dead_letter_that_is_not_durable() {
    use streamfleet_dataflow::Source;
    let full = Arc::new(Memory { is_full: true, ..Memory::default() });
    put(&full, "in/a", "not json\n{\"id\":2}\n");
    let options =
        [("path", "in"), ("format", "json"), ("scan.errors", "dead-letter"), ("scan.errors.dead-letter.path", "dead")];
    let mut source = started(source_of(&full, &table(&options), 1 << 20));
    assert!(source.splits_known() || source.splits().is_empty());
    let error = loop {
        match source.poll() {
            Ok(SourceStatus::Ended) => panic!("the dead letter is lost"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.starts_with("table t: cannot write dead/dead-letters-u-0.jsonl: no space left"), "{error}");
    assert!(!source.splits_known(), "its position must not be kept");
}

/// A storage that answers writes only when it is told to.
#[derive(Default)]
struct Slow {
    memory: Memory,
    held: Mutex<Vec<(StorageRequest, Completion)>>,
}

impl Slow {
    fn answer(&self) {
        let held = std::mem::take(&mut *self.held.lock().expect("one thread"));
        held.into_iter().for_each(|(request, done)| self.memory.submit(request, done));
    }
}

impl Storage for Slow {
    fn submit(&self, request: StorageRequest, done: Completion) {
        if matches!(request, StorageRequest::Put { .. }) {
            self.held.lock().expect("one thread").push((request, done));
        } else {
            self.memory.submit(request, done);
        }
    }
}

#[test]
fn a_source_ends_only_when_its_dead_letters_are_durable() {
    use streamfleet_dataflow::Source;
    for is_full in [false, true] {
        let slow = Arc::new(Slow { memory: Memory { is_full, ..Memory::default() }, ..Slow::default() });
        put(&slow.memory, "in/a", "{\"id\":1}\nnot json\n");
        let table = table(&[
            ("path", "in"),
            ("format", "json"),
            ("scan.errors", "dead-letter"),
            ("scan.errors.dead-letter.path", "dead"),
        ]);
        let spec = ScanSpec::whole(table).expect("names differ");
        let clock: Arc<StepClock> = Arc::default();
        let files = Arc::clone(&slow) as Arc<dyn Storage>;
        let context = SourceContext { files, ..crate::testing::context(0, 1, &clock) };
        let mut source = started(FileSource::new(&spec, context).expect("sound"));
        let mut found: Vec<i64> = Vec::new();
        for _ in 0..10 {
            match source.poll().expect("nothing failed yet") {
                SourceStatus::Rows(rows) => {
                    found.extend(rows.batch.records().column(0).as_primitive::<Int64Type>().values())
                }
                SourceStatus::Ended => panic!("a dead letter is under way"),
                SourceStatus::Waiting(_) | SourceStatus::SplitEnded(_) => {}
            }
        }
        assert_eq!(found, [1]);
        assert!(!source.splits_known());
        slow.answer();
        assert_eq!(source.splits_known(), !is_full);
        assert_eq!(matches!(source.poll(), Ok(SourceStatus::Ended)), !is_full);
        assert_eq!(source.poll().is_err(), is_full);
    }
}

#[test]
fn options_that_contradict_one_another_are_refused() {
    let refused = |options: &[(&str, &str)]| {
        let mut all = vec![("path", "in"), ("format", "json")];
        all.extend(options);
        let spec = ScanSpec::whole(table(&all)).expect("names differ");
        let clock: Arc<StepClock> = Arc::default();
        source(&spec, crate::testing::context(0, 1, &clock)).err().expect("refused").to_string()
    };
    let path = "scan.errors.dead-letter.path";
    for (options, expected) in [
        (&[("scan.errors", "dead-letter")][..], "needs a folder to keep the records in"),
        (&[(path, "dead")], "it needs 'scan.errors' = 'dead-letter'"),
        (&[("scan.errors", "dead-letter"), (path, "in/dead")], "lies in the table's own"),
        (&[("scan.errors", "dead-letter"), (path, "in")], "lies in the table's own"),
        (&[("scan.errors", "ignore")], "it is fail, skip or dead-letter"),
        (&[("source.monitor-interval", "0 s")], "more than nothing is needed"),
        (&[("source.path.regex-pattern", "(")], "no regular expression"),
    ] {
        let error = refused(options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}

#[test]
fn a_record_without_end_is_refused_before_it_fills_the_memory() {
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a", format!("1,a,,\n2,\"{}", "x\n".repeat(10_000)));
    let table = table(&[("path", "in"), ("format", "csv"), ("scan.errors", "skip")]);
    let mut source = started(source_of(&storage, &table, 100).with_max_record_bytes(1000));
    let error = read(&mut source).expect_err("too long").to_string();
    let expected =
        "in/a, line 2, byte 6: a record begins here that has no end within 1000 bytes, the most that a record may have";
    assert!(error.starts_with(expected), "{error}");
    let mut source = started(source_of(&storage, &table, 100));
    assert_eq!(ids(&read(&mut source).expect("the limit is far")), [1]);
}

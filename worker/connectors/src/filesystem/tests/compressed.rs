//! Compressed files.

use super::*;
use std::io::Write;
use streamfleet_dataflow::Source;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn lines(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| format!("{{\"id\":{id},\"text\":\"row {id}\"}}\n")).collect()
}

#[test]
fn compressed_files_are_read_from_every_position() {
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a.json.gz", gzip(&lines(0..20_000)));
    put(&storage, "in/b.json", lines(20_000..20_100));
    put(&storage, "in/c.json.zst", zstd::encode_all(lines(20_100..40_000).as_bytes(), 3).expect("memory"));
    put(&storage, "in/d.json.gz", gzip(""));
    let table = table(&[("path", "in"), ("format", "json")]);
    for chunk_bytes in [997, 1 << 20] {
        let mut source = started(source_of(&storage, &table, chunk_bytes));
        let batches = read(&mut source).expect("readable");
        assert_eq!(ids(&batches), (0..40_000).collect::<Vec<_>>());
        for (index, (_, splits)) in batches.iter().enumerate().step_by((batches.len() / 10).max(1)) {
            let mut again = source_of(&storage, &table, chunk_bytes);
            again.restore(splits.clone()).expect("its own positions");
            assert_eq!(ids(&read(&mut again).expect("readable")), ids(&batches[index + 1..]), "from batch {index}");
        }
    }
}

#[test]
fn other_text_formats_may_be_compressed_too() {
    for (format, text) in [("csv", "1,a,,\n2,b,,\n"), ("csv", "id,text,amount,ts\n1,a,,\n2,b,,\n")] {
        let storage = Arc::new(Memory::default());
        put(&storage, "in/a.gz", gzip(text));
        let header = if text.starts_with("id") { "true" } else { "false" };
        let table = table(&[("path", "in"), ("format", format), ("csv.header", header)]);
        let mut source = started(source_of(&storage, &table, 3));
        assert_eq!(ids(&read(&mut source).expect("readable")), [1, 2]);
    }
}

#[test]
fn bad_records_have_their_place_in_what_was_compressed() {
    let storage = Arc::new(Memory::default());
    put(&storage, "in/a.json.gz", gzip(&format!("{}not json\n{}", lines(0..5_000), lines(5_000..6_000))));
    let failing = table(&[("path", "in"), ("format", "json")]);
    let error = read(&mut started(source_of(&storage, &failing, 777))).expect_err("a bad record").to_string();
    let byte = lines(0..5_000).len();
    assert!(error.starts_with(&format!("in/a.json.gz, line 5001, byte {byte}: the record is no JSON")), "{error}");
    let skipping = table(&[("path", "in"), ("format", "json"), ("scan.errors", "skip")]);
    let mut source = started(source_of(&storage, &skipping, 777));
    assert_eq!(ids(&read(&mut source).expect("skips")).len(), 6_000);
    assert_eq!(source.errors().skipped_records, 1);
    // A record without an end, of which the file has much more than a record may have.
    put(&storage, "in/a.json.gz", gzip(&format!("{{\"text\":\"{}", "x".repeat(10 << 20))));
    let mut source = started(source_of(&storage, &skipping, 777).with_max_record_bytes(100_000));
    let error = read(&mut source).expect_err("too long").to_string();
    assert!(error.contains("no end within 100000 bytes"), "{error}");
}

#[test]
fn damaged_and_other_files_are_told() {
    let whole = gzip(&lines(0..20_000));
    let table = table(&[("path", "in"), ("format", "json"), ("scan.errors", "skip")]);
    let refusal = |path: &str, bytes: &[u8]| {
        let storage = Arc::new(Memory::default());
        put(&storage, path, bytes);
        read(&mut started(source_of(&storage, &table, 1000))).expect_err("not readable").to_string()
    };
    let error = refusal("in/a.json.gz", &whole[..whole.len() - 9]);
    let end = whole.len() - 9;
    assert!(
        error.starts_with(&format!("in/a.json.gz, before byte {end}: the file is no gzip file, is damaged")),
        "{error}"
    );
    let error = refusal("in/a.json.gz", lines(0..9).as_bytes());
    assert!(error.contains("the file is no gzip file"), "{error}");
    let error = refusal("in/a.json.bz2", &whole);
    assert!(error.contains("in/a.json.bz2: files that bzip2 compressed are not read"), "{error}");
    assert!(error.contains("'source.path.regex-pattern'"), "{error}");
}

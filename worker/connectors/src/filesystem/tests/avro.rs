//! Avro's files.

use super::{Memory, commit, ids, put, read, rows, source_of, started, table, write};
use std::sync::Arc;
use streamfleet_dataflow::Source;

const PATH: &str = "out/part-u-0.avro";

fn written(codec: &str) -> (Arc<Memory>, Vec<u8>) {
    let storage = Arc::new(Memory::default());
    let table = table(&[("path", "out"), ("format", "avro"), ("avro.codec", codec)]);
    let handles = write(&storage, &table, &[rows(0, 500)]);
    commit(&storage, &table, &handles);
    let bytes = storage.objects.lock().expect("one thread")[PATH].clone();
    (storage, bytes)
}

#[test]
fn files_of_every_codec_are_read_from_every_position() {
    let plain = written("null").1.len();
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let (storage, bytes) = written(codec);
        assert_eq!(bytes.len() < plain, codec != "null", "{codec}");
        let table = table(&[("path", "out"), ("format", "avro")]);
        for chunk_bytes in [50, 1000, 1 << 20] {
            let batches = read(&mut started(source_of(&storage, &table, chunk_bytes))).expect("readable");
            assert!(batches.len() > 5, "several blocks");
            assert_eq!(ids(&batches), (0..500).collect::<Vec<_>>(), "{codec}");
            for (index, (_, splits)) in batches.iter().enumerate() {
                let mut again = source_of(&storage, &table, chunk_bytes);
                again.restore(splits.clone()).expect("its own positions");
                // A snapshot that is taken before the head was read again names the same position.
                let _ = again.poll().expect("no error");
                let _ = again.poll().expect("no error");
                assert_eq!(again.splits()[0].position["offset"], splits[0].position["offset"]);
                assert_eq!(ids(&read(&mut again).expect("readable")), ids(&batches[index + 1..]), "{codec}");
            }
        }
    }
}

#[test]
fn the_schema_of_the_file_decides() {
    let (storage, _) = written("snappy");
    let mut other = table(&[("path", "out"), ("format", "avro")]).as_ref().clone();
    other.columns.remove(2);
    other.columns.swap(0, 1);
    other.columns[0].name = "new".to_owned();
    let batches = read(&mut started(source_of(&storage, &Arc::new(other.clone()), 1 << 20))).expect("readable");
    assert_eq!(batches[0].0.column(0).null_count(), batches[0].0.num_rows(), "the file has no such field");
    other.columns[1].data_type = arrow::datatypes::DataType::Utf8;
    let error = read(&mut started(source_of(&storage, &Arc::new(other), 1 << 20))).expect_err("a number is no text");
    let expected =
        format!("{PATH}, byte 0: its schema: field id of type long is no STRING; the rest of the file is left out");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_damaged_file_is_told_and_never_breaks_the_job_down() {
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let (storage, good) = written(codec);
        let table = table(&[("path", "out"), ("format", "avro"), ("scan.errors", "skip")]);
        let failing = super::table(&[("path", "out"), ("format", "avro")]);
        let mut told = 0;
        for at in (0..good.len()).step_by(17) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            put(&storage, PATH, bytes);
            let mut source = started(source_of(&storage, &table, 1 << 20));
            read(&mut source).expect("what is broken is left out");
            if source.errors().skipped_records > 0 {
                told += 1;
                let error = read(&mut started(source_of(&storage, &failing, 1 << 20))).expect_err("it is told");
                assert!(error.to_string().starts_with(&format!("{PATH}, byte ")), "{error}");
            }
        }
        // Without a checksum a flipped bit of a value is a value.
        assert!(
            told * if codec == "null" { 20 } else { 3 } > good.len() / 17,
            "{codec}: {told} of {}",
            good.len() / 17
        );
        for length in [1, 3, 40, good.len() / 2, good.len() - 1] {
            put(&storage, PATH, good[..length].to_vec());
            let error = read(&mut started(source_of(&storage, &failing, 100))).expect_err("it is cut");
            assert!(error.to_string().contains("the file ends within"), "{length}: {error}");
        }
    }
}

#[test]
fn other_files_and_codecs_are_named() {
    let (storage, good) = written("null");
    let table = table(&[("path", "out"), ("format", "avro")]);
    let error = |bytes: Vec<u8>| {
        put(&storage, PATH, bytes);
        read(&mut started(source_of(&storage, &table, 1 << 20))).expect_err("refused").to_string()
    };
    assert!(error(b"{\"id\": 1}\n".to_vec()).contains("it is no Avro file"));
    let at = good.windows(15).position(|w| w == b"avro.codec\x08null").expect("the codec") + 11;
    let mut bytes = good.clone();
    bytes[at..at + 4].copy_from_slice(b"lzma");
    let text = error(bytes);
    assert!(text.contains("its codec is `lzma`, and null, deflate, snappy, zstandard are known"), "{text}");
    put(&storage, PATH, Vec::new());
    assert!(read(&mut started(source_of(&storage, &table, 1 << 20))).expect("nothing in it").is_empty());
}

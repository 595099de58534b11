use super::*;
use crate::{RowTable, TableSchema};
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use streamfleet_types::hash::hash_columns;

fn table(rows: i64) -> RowTable {
    let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
    let schema = TableSchema { name: "t".to_owned(), key: vec![field("k")], sub_key: vec![], value: vec![field("v")] };
    let mut table = RowTable::new(schema).expect("known types");
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..rows))];
    let hashes = hash_columns(&columns, rows as usize).expect("a key type");
    let mut encoded = crate::Rows::new();
    table.key_layout().encode(&columns, rows as usize, &mut encoded).expect("encodes");
    for (row, hash) in hashes.into_iter().enumerate() {
        table.find_or_insert(hash, encoded.get(row), encoded.get(row));
    }
    table
}

fn frozen(rows: i64) -> FrozenTable {
    table(rows).freeze(Epoch(7))
}

fn encoded(tables: &[(String, FrozenTable)]) -> Vec<u8> {
    encode(tables, Epoch(7), HashRange::ALL).expect("encodes").expect("something changed")
}

/// The whole file, written in parts of about so many bytes.
fn in_parts(tables: &[(String, FrozenTable)], about: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(tables, Epoch(7), HashRange::ALL).expect("something changed");
    let mut bytes = Vec::new();
    while let Some(part) = encoder.next_part(tables, about).expect("encodes") {
        assert!(!part.is_empty());
        bytes.extend(part);
    }
    assert_eq!(encoder.bytes(), bytes.len() as u64);
    bytes
}

fn file(rows: i64) -> Vec<u8> {
    let tables = [("op".to_owned(), frozen(rows))];
    encoded(&tables)
}

#[test]
fn nothing_changed_gives_no_file() {
    assert!(Encoder::new(&[("op".to_owned(), frozen(0))], Epoch(1), HashRange::ALL).is_none());
}

#[test]
fn a_file_is_the_same_in_parts_of_any_size() {
    let tables = [("a".to_owned(), frozen(20_000)), ("empty".to_owned(), frozen(0)), ("b".to_owned(), frozen(10))];
    let whole = encoded(&tables);
    for about in [0, 1, 1_000, 100_000] {
        assert!(in_parts(&tables, about) == whole, "in parts of {about}");
    }
    assert_eq!(Reader::open("f", whole).expect("sound").tables().len(), 2);
}

#[test]
fn a_file_holds_the_rows_of_the_freeze_while_the_table_goes_on() {
    let expected = file(50_000);
    let mut table = table(50_000);
    let tables = [("op".to_owned(), table.freeze(Epoch(7)))];
    let rows: Vec<_> = table.iter().collect();
    let written = std::thread::scope(|scope| {
        let encoding = scope.spawn(|| in_parts(&tables, 1));
        rows.iter().rev().for_each(|row| table.value_mut(*row)[1] ^= 1);
        encoding.join().expect("does not panic")
    });
    assert!(written == expected);
    assert_eq!(table.freeze(Epoch(8)).rows(), 50_000);
}

#[test]
fn reads_only_the_batches_of_a_range() {
    let reader = Reader::open("f", file(30_000)).expect("sound");
    assert_eq!(reader.tables()[0].rows, 30_000);
    let all: Vec<RecordBatch> = reader.read("op", "t", HashRange::ALL).collect::<Result<_, _>>().expect("sound");
    assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 30_000);
    let low = HashRange { first: 0, last: u64::MAX / 8 };
    assert!(reader.read("op", "t", low).count() < all.len());
    assert_eq!(reader.read("other", "t", HashRange::ALL).count(), 0);
    assert_eq!(all[0].column(2).as_primitive::<Int64Type>().len(), 8192);
}

#[test]
fn a_batch_of_long_rows_has_fewer_of_them() {
    let field = |name: &str, of| Arc::new(Field::new(name, of, true));
    let (key, value) = (vec![field("k", DataType::Int64)], vec![field("v", DataType::Utf8)]);
    let schema = TableSchema { name: "t".to_owned(), key, sub_key: vec![], value };
    let mut table = RowTable::new(schema).expect("known types");
    let texts = [1, 2 << 20, 3 << 20, 10, 10 << 20, 1, 1];
    let count = texts.len();
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..count as i64))];
    let long = texts.iter().map(|length| "x".repeat(*length));
    let values: Vec<ArrayRef> = vec![Arc::new(arrow::array::StringArray::from_iter_values(long))];
    let (mut encoded_keys, mut encoded_values) = (crate::Rows::new(), crate::Rows::new());
    table.key_layout().encode(&keys, count, &mut encoded_keys).expect("encodes");
    table.value_layout().encode(&values, count, &mut encoded_values).expect("encodes");
    // In the order of their hashes, which are made up.
    for row in 0..count {
        table.find_or_insert(row as u64, encoded_keys.get(row), encoded_values.get(row));
    }
    let reader = Reader::open("f", encoded(&[("op".to_owned(), table.freeze(Epoch(7)))])).expect("sound");
    let batches = reader.read("op", "t", HashRange::ALL).map(|batch| batch.expect("sound"));
    assert_eq!(batches.map(|batch| batch.num_rows()).collect::<Vec<_>>(), [3, 2, 2]);
    assert_eq!(reader.tables()[0].rows, count as u64);
}

#[test]
fn damage_is_found_and_never_panics() {
    let good = file(3_000);
    let check = |bytes: Vec<u8>| -> Result<usize, StateError> {
        let reader = Reader::open("f", bytes)?;
        let batches: Vec<RecordBatch> = reader.read("op", "t", HashRange::ALL).collect::<Result<_, _>>()?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    };
    assert_eq!(check(good.clone()).expect("sound"), 3_000);
    for length in (0..good.len()).step_by(97) {
        check(good[..length].to_vec()).expect_err("a cut file is damaged");
    }
    for at in (0..good.len()).step_by(31) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x41;
        check(bytes).expect_err("a flipped bit is found");
    }
    let mut newer = good;
    newer[8] = 9;
    let error = check(newer).expect_err("a newer version is refused");
    assert_eq!(error.to_string(), "snapshot file f has format version 9; this build reads up to 1");
}

//! Files that a released format version wrote are read for ever. `STREAMFLEET_WRITE_GOLDEN=1` writes the file of the version at
//! hand; a file that was released is never written again.

use crate::file::{Reader, encode};
use crate::{RowTable, Rows, TableSchema};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use std::path::PathBuf;
use std::sync::Arc;
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Epoch, HashRange};

const ROWS: usize = 6;

fn golden(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}.state"))
}

fn schema() -> TableSchema {
    let field = |name: &str, data_type| -> FieldRef { Arc::new(Field::new(name, data_type, true)) };
    TableSchema {
        name: "rows".to_owned(),
        key: vec![field("id", DataType::Int64)],
        sub_key: vec![field("name", DataType::Utf8)],
        value: vec![
            field("price", DataType::Decimal128(10, 2)),
            field("ratio", DataType::Float64),
            field("open", DataType::Boolean),
            field("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
            field("note", DataType::Utf8),
        ],
    }
}

fn columns() -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(-7), None, Some(i64::MAX), Some(4)])),
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some(""), Some("c"), None, Some("gone")])),
        Arc::new(
            Decimal128Array::from(vec![Some(100), Some(-1), None, Some(0), Some(99_999), Some(5)])
                .with_precision_and_scale(10, 2)
                .expect("fits"),
        ),
        Arc::new(Float64Array::from(vec![Some(0.5), Some(-0.0), None, Some(1e300), Some(3.0), Some(2.0)])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), None])),
        Arc::new(TimestampMillisecondArray::from(vec![
            Some(0),
            Some(-1),
            None,
            Some(1_700_000_000_000),
            Some(5),
            Some(6),
        ])),
        Arc::new(StringArray::from(vec![Some("plain"), Some("ünï"), None, Some("a\nb"), Some(""), Some("x")])),
    ]
}

/// Puts rows into a table.
fn put(table: &mut RowTable, columns: &[ArrayRef]) {
    let count = columns[0].len();
    let hashes = hash_columns(&columns[..1], count).expect("a key type");
    let (mut keys, mut values) = (Rows::new(), Rows::new());
    table.key_layout().encode(&columns[..2], count, &mut keys).expect("encodes");
    table.value_layout().encode(&columns[2..], count, &mut values).expect("encodes");
    for (row, hash) in hashes.into_iter().enumerate() {
        table.find_or_insert(hash, keys.get(row), values.get(row));
    }
}

/// All rows as text, sorted.
fn shown(table: &RowTable) -> Vec<String> {
    let rows: Vec<_> = table.iter().collect();
    let keys: Vec<&[u8]> = rows.iter().map(|r| table.key(*r)).collect();
    let values: Vec<&[u8]> = rows.iter().map(|r| table.value(*r)).collect();
    let mut columns = table.key_layout().decode(&keys).expect("decodes");
    columns.extend(table.value_layout().decode(&values).expect("decodes"));
    let cell = |column: &ArrayRef, row: usize| array_value_to_string(column, row).expect("prints");
    let line = |row: usize| columns.iter().map(|c| cell(c, row)).collect::<Vec<_>>().join(" | ");
    let mut lines: Vec<String> = (0..rows.len()).map(line).collect();
    lines.sort();
    lines
}

/// A table whose last row was removed after a snapshot knew of it.
fn table() -> RowTable {
    let mut table = RowTable::new(schema()).expect("known types");
    put(&mut table, &columns());
    table.freeze(Epoch(1));
    let gone = table.iter().last().expect("six rows");
    table.remove(gone);
    table
}

fn load(bytes: Vec<u8>, into: &mut RowTable, range: HashRange) {
    let reader = Reader::open("golden", bytes).expect("sound");
    for rows in reader.read("op", "rows", range) {
        into.load(&rows.expect("sound"), range).expect("the same columns");
    }
}

#[test]
fn files_of_every_version_are_read() {
    let expected = table();
    if std::env::var_os("STREAMFLEET_WRITE_GOLDEN").is_some() {
        let tables = [("op".to_owned(), table().freeze_whole(Epoch(2)))];
        let bytes = encode(&tables, Epoch(2), HashRange::ALL).expect("encodes").expect("has rows");
        std::fs::write(golden(1), bytes).expect("the golden file can be written");
    }
    let bytes = std::fs::read(golden(1)).expect("the golden file of version 1 is in the repository");
    // A fresh table, and one that still has the row which the file removes.
    let mut fresh = RowTable::new(schema()).expect("known types");
    load(bytes.clone(), &mut fresh, HashRange::ALL);
    let mut older = RowTable::new(schema()).expect("known types");
    put(&mut older, &columns());
    load(bytes.clone(), &mut older, HashRange::ALL);
    assert_eq!(expected.len(), ROWS - 1);
    assert_eq!(shown(&fresh), shown(&expected));
    assert_eq!(shown(&older), shown(&expected));
    // Two halves together are the whole.
    let middle = u64::MAX / 2;
    let mut halves = Vec::new();
    for range in [HashRange { first: 0, last: middle }, HashRange { first: middle + 1, last: u64::MAX }] {
        let mut half = RowTable::new(schema()).expect("known types");
        load(bytes.clone(), &mut half, range);
        assert!(half.len() < ROWS - 1, "both halves have rows");
        halves.extend(shown(&half));
    }
    halves.sort();
    assert_eq!(halves, shown(&expected));
}

#[test]
fn a_whole_freeze_holds_every_row_and_the_removals() {
    let mut table = table();
    table.freeze(Epoch(2));
    assert!(table.freeze(Epoch(3)).is_empty());
    let gone = table.iter().next().expect("five rows");
    table.remove(gone);
    let whole = table.freeze_whole(Epoch(4));
    assert_eq!(whole.rows(), ROWS - 2 + 1);
    assert!(table.freeze(Epoch(5)).is_empty());
}

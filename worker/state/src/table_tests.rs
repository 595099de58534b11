//! Random writes against a model, with freezes on the way; the files of all freezes give the model's rows back.

use super::*;
use crate::file::{Reader, encode};
use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use std::collections::BTreeMap;
use streamfleet_types::hash::hash_columns;

fn schema() -> TableSchema {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    TableSchema {
        name: "t".to_owned(),
        key: vec![field("k", DataType::Int64)],
        sub_key: vec![field("s", DataType::Int64)],
        value: vec![field("v", DataType::Int64), field("text", DataType::Utf8)],
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn key_of(table: &RowTable, key: i64, sub_key: i64) -> (u64, Vec<u8>) {
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![key])), Arc::new(Int64Array::from(vec![sub_key]))];
    let mut rows = Rows::new();
    table.key_layout().encode(&columns, 1, &mut rows).expect("encodes");
    (hash_columns(&columns[..1], 1).expect("a key type")[0], rows.get(0).to_vec())
}

fn value_of(table: &RowTable, v: i64) -> Vec<u8> {
    let text = "x".repeat((v % 23) as usize);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![v])), Arc::new(StringArray::from(vec![text]))];
    let mut rows = Rows::new();
    table.value_layout().encode(&columns, 1, &mut rows).expect("encodes");
    rows.get(0).to_vec()
}

fn content(tables: &[&RowTable]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = tables.iter().flat_map(|t| t.iter().map(|r| (t.key(r).to_vec(), t.value(r).to_vec())));
    rows.collect()
}

fn load(files: &[Vec<u8>], range: HashRange) -> RowTable {
    let mut table = RowTable::new(schema()).expect("known types");
    for bytes in files {
        let reader = Reader::open("f", bytes.clone()).expect("a sound file");
        for rows in reader.read("op", "t", range) {
            table.load(&rows.expect("a sound batch"), range).expect("fits");
        }
    }
    table
}

#[test]
fn files_of_all_freezes_give_the_rows_back() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut table = RowTable::new(schema()).expect("known types");
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut frozen = Vec::new();
        let mut files = Vec::new();
        for step in 0..6000 {
            let (hash, key) = key_of(&table, random.below(400) as i64, random.below(4) as i64);
            match random.below(10) {
                0..5 => {
                    let value = value_of(&table, random.below(1000) as i64);
                    let (row, inserted) = table.find_or_insert(hash, &key, &value);
                    assert_eq!(inserted, !model.contains_key(&key));
                    if !inserted {
                        table.replace(row, &value);
                    }
                    model.insert(key, value);
                }
                5 | 6 => {
                    if let Some(row) = table.find(hash, &key) {
                        let layout = Arc::clone(&table.value_layout);
                        layout.set_i64(table.value_mut(row), 0, step);
                        layout.set_i64(model.get_mut(&key).expect("the model has what the table has"), 0, step);
                    }
                }
                _ => {
                    let found = table.find(hash, &key);
                    assert_eq!(found.is_some(), model.remove(&key).is_some());
                    if let Some(row) = found {
                        table.remove(row);
                    }
                }
            }
            assert_eq!(table.len(), model.len());
            let blocks: usize = table.blocks.iter().map(|b| b.bytes()).sum();
            assert_eq!(table.bytes, blocks, "bytes are counted as blocks are shared, copied and changed");
            if random.below(700) == 0 {
                frozen.push(("op".to_owned(), table.freeze(Epoch(frozen.len() as u64 + 1))));
            }
            // Encoding happens some time after the freeze: later writes must not show.
            if random.below(900) == 0 && !frozen.is_empty() {
                let next = frozen.remove(0);
                files.extend(encode(&[next], Epoch(1), HashRange::ALL).expect("encodes"));
            }
        }
        frozen.push(("op".to_owned(), table.freeze(Epoch(99))));
        for next in frozen {
            files.extend(encode(&[next], Epoch(1), HashRange::ALL).expect("encodes"));
        }
        assert_eq!(content(&[&table]), model);
        assert_eq!(content(&[&load(&files, HashRange::ALL)]), model, "seed {seed}");
        let third = u64::MAX / 3;
        let parts = [
            load(&files, HashRange { first: 0, last: third }),
            load(&files, HashRange { first: third + 1, last: 2 * third }),
            load(&files, HashRange { first: 2 * third + 1, last: u64::MAX }),
        ];
        assert!(parts.iter().all(|p| !p.is_empty()));
        assert_eq!(parts.iter().map(RowTable::len).sum::<usize>(), model.len());
        assert_eq!(content(&parts.iter().collect::<Vec<_>>()), model);
    }
}

#[test]
fn an_unchanged_table_freezes_to_nothing_and_gives_memory_back() {
    let mut table = RowTable::new(schema()).expect("known types");
    let value = value_of(&table, 1);
    let mut rows = Vec::new();
    for key in 0..5000 {
        let (hash, key) = key_of(&table, key, 0);
        rows.push(table.find_or_insert(hash, &key, &value).0);
    }
    let full = table.bytes();
    assert_eq!(table.freeze(Epoch(1)).rows(), 5000);
    assert!(table.freeze(Epoch(2)).is_empty());
    rows.into_iter().for_each(|row| table.remove(row));
    assert!(table.is_empty() && table.bytes() < full / 2);
    assert_eq!(table.freeze(Epoch(3)).rows(), 5000, "every key leaves a tombstone");
}

#[test]
fn an_unindexed_table_comes_back_from_its_files_without_its_index() {
    let mut table = RowTable::unindexed(schema()).expect("known types");
    let mut files = Vec::new();
    let mut rows = Vec::new();
    for part in 0..3 {
        for key in part * 2000..(part + 1) * 2000 {
            let (hash, key) = key_of(&table, key, 0);
            let value = value_of(&table, part);
            rows.push(table.insert_unique(hash, &key, &value));
        }
        if part > 0 {
            // Changed and removed rows of the file before.
            let value = value_of(&table, 22);
            table.replace(rows[0], &value);
            table.remove(rows.swap_remove(1));
        }
        let frozen = vec![("op".to_owned(), table.freeze(Epoch(part as u64 + 1)))];
        files.extend(encode(&frozen, Epoch(1), HashRange::ALL).expect("encodes"));
    }
    assert_eq!((table.len(), table.index.allocation_size()), (5998, 0));
    let mut loaded = RowTable::unindexed(schema()).expect("known types");
    for bytes in &files {
        let reader = Reader::open("f", bytes.clone()).expect("a sound file");
        for rows in reader.read("op", "t", HashRange::ALL) {
            loaded.load(&rows.expect("a sound batch"), HashRange::ALL).expect("fits");
        }
    }
    loaded.loaded();
    assert_eq!(content(&[&loaded]), content(&[&table]));
    assert_eq!((loaded.len(), loaded.index.allocation_size()), (5998, 0));
    let row = loaded.iter().next().expect("there are rows");
    loaded.remove(row);
    assert_eq!(loaded.freeze(Epoch(9)).rows(), 1, "a tombstone");
}

//! How long a slot stands still for a snapshot of a gigabyte of state, and what the writing beside it takes.
//!
//! `cargo bench -p streamfleet-state --bench freeze`

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;
use std::time::Instant;
use streamfleet_state::file::Encoder;
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Epoch, HashRange};

const BYTES: usize = 1 << 30;
const VALUE_COLUMNS: usize = 20;
const BATCH: usize = 4096;
const PART_BYTES: usize = 4 << 20;
const PRIME: usize = 1_000_003;

fn main() {
    let field = |name: String| Arc::new(Field::new(name, DataType::Int64, true));
    let schema = TableSchema {
        name: "rows".to_owned(),
        key: vec![field("key".to_owned())],
        sub_key: vec![],
        value: (0..VALUE_COLUMNS).map(|n| field(format!("value{n}"))).collect(),
    };
    let mut table = RowTable::new(schema).expect("known types");
    let (mut keys, mut values) = (Rows::new(), Rows::new());
    let mut next = 0;
    while table.bytes() < BYTES {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(next..next + BATCH as i64));
        let hashes = hash_columns(std::slice::from_ref(&numbers), BATCH).expect("a key type");
        keys.clear();
        values.clear();
        table.key_layout().encode(std::slice::from_ref(&numbers), BATCH, &mut keys).expect("encodes");
        table.value_layout().encode(&vec![numbers; VALUE_COLUMNS], BATCH, &mut values).expect("encodes");
        for (row, hash) in hashes.into_iter().enumerate() {
            table.find_or_insert(hash, keys.get(row), values.get(row));
        }
        next += BATCH as i64;
    }
    let gigabytes = table.bytes() as f64 / 1e9;
    println!("{} rows, {gigabytes:.2} GB", table.len());
    let ids: Vec<RowId> = table.iter().collect();
    let began = Instant::now();
    let frozen = table.freeze(Epoch(1));
    println!("freeze of all rows     {:>8.3} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let whole = table.freeze_whole(Epoch(2));
    println!("freeze_whole           {:>8.3} ms", began.elapsed().as_secs_f64() * 1e3);
    drop(whole);
    let began = Instant::now();
    let tables = [("operator".to_owned(), frozen)];
    let mut encoder = Encoder::new(&tables, Epoch(1), HashRange::ALL).expect("rows changed");
    println!("order of the changes   {:>8.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    while encoder.next_part(&tables, PART_BYTES).expect("encodes").is_some() {}
    let seconds = began.elapsed().as_secs_f64();
    let (encoded, rate) = (encoder.bytes() as f64 / 1e6, gigabytes * 1e3 / seconds);
    println!("encoding               {:>8.0} ms, {encoded:.0} MB, {rate:.0} MB of state a second", seconds * 1e3);
    drop(tables);
    let alone = write_some(&mut table, &ids, 0);
    let frozen = table.freeze(Epoch(3));
    let beside = write_some(&mut table, &ids, 1);
    println!("writing a third        {alone:>8.0} ms alone, {beside:.0} ms beside a snapshot of another third");
    assert_eq!(frozen.rows(), ids.len().div_ceil(3));
}

/// Writes every third row, all over the memory; how many milliseconds it takes.
fn write_some(table: &mut RowTable, ids: &[RowId], first: usize) -> f64 {
    let count = ids.len();
    let began = Instant::now();
    // A step that is prime to the number of rows meets each of them once.
    let places = (0..count).map(|n| (n * PRIME) % count).filter(|place| place % 3 == first);
    places.for_each(|place| table.value_mut(ids[place])[10] ^= 1);
    began.elapsed().as_secs_f64() * 1e3
}

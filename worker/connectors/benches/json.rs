//! How many bytes of JSON one thread decodes and encodes in a second: bids of about 150 bytes, one a message.
//!
//! `cargo bench --workspace --bench json [-- MESSAGES]`

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use std::sync::Arc;
use std::time::Instant;
use streamfleet_connectors::format::{MessageBuffer, ValueDecoder, ValueEncoder};
use streamfleet_logical::{Position, TableDescriptor};
use streamfleet_types::Batch;

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages between two calls of `finish`.
const BATCH: usize = 2048;

/// Repetitions, of which the best counts.
const ROUNDS: usize = 5;

fn table() -> TableDescriptor {
    TableDescriptor {
        name: "bid".to_owned(),
        columns: vec![],
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: [("format".to_owned(), "json".to_owned())].into(),
        position: Position::default(),
    }
}

fn message(number: u64) -> String {
    let (auction, bidder, price) = (1000 + number % 97, 1000 + number * 7 % 10_007, 100 + number * number % 9_999_991);
    let (minute, second, milli) = (number / 60_000 % 60, number / 1000 % 60, number % 1000);
    format!(
        "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"channel-{}\",\
         \"url\":\"https://www.nexmark.com/item.htm?query=1&channel_id={number}\",\
         \"dateTime\":\"2015-07-15 00:{minute:02}:{second:02}.{milli:03}\"}}",
        number % 10_000
    )
}

fn report(what: &str, bytes: usize, messages: usize, seconds: f64) {
    println!(
        "{what}: {:.0} MB/s, {:.2} million messages a second, {:.0} bytes each",
        bytes as f64 / seconds / 1e6,
        messages as f64 / seconds / 1e6,
        bytes as f64 / messages as f64
    );
}

fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(500_000usize);
    let messages: Vec<String> = (0..count as u64).map(message).collect();
    let bytes: usize = messages.iter().map(String::len).sum();
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let columns = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("dateTime", time),
    ];
    let fields: Vec<Field> = columns.into_iter().map(|(name, t)| Field::new(name, t, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut decoder = ValueDecoder::new(&table(), Arc::clone(&schema)).expect("a sound table");
    let mut best = f64::MAX;
    let mut batches = Vec::new();
    for _ in 0..ROUNDS {
        batches.clear();
        let start = Instant::now();
        for chunk in messages.chunks(BATCH) {
            chunk.iter().for_each(|message| decoder.take(message.as_bytes()));
            let (rows, bad) = decoder.finish().expect("decodes");
            assert_eq!(bad, 0);
            batches.extend(rows.map(Batch::inserts));
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    report("decode", bytes, count, best);
    let mut encoder = ValueEncoder::new(&table(), &schema).expect("a sound table");
    let mut best = f64::MAX;
    let mut out = MessageBuffer::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for batch in &batches {
            out.bytes.clear();
            out.ends.clear();
            encoder.encode(batch, &mut out).expect("encodes");
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    report("encode", bytes, count, best);
}

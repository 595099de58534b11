//! How many Nexmark events one thread generates in a second, by what a query uses of them.
//!
//! `cargo bench -p streamfleet-connectors --bench nexmark [-- EVENTS]`

use arrow::datatypes::{DataType, Field, TimeUnit};
use std::sync::Arc;
use std::time::{Duration, Instant};
use streamfleet_dataflow::{SourceContext, SourceStatus};
use streamfleet_env::{Clock, Completion, Storage, StorageRequest};
use streamfleet_logical::{Column, ColumnKind, Position, ScanSpec, TableDescriptor};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nothing;

impl Storage for Nothing {
    fn submit(&self, _: StorageRequest, _: Completion) {}
}

impl Clock for Nothing {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }
}

fn row(integers: &[&str], strings: &[&str], times: &[&str]) -> DataType {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let of = |names: &[&str], t: &DataType| names.iter().map(|n| Field::new(*n, t.clone(), true)).collect::<Vec<_>>();
    DataType::Struct([of(integers, &DataType::Int64), of(strings, &DataType::Utf8), of(times, &time)].concat().into())
}

fn scan(options: &[(&str, String)], used: &[&[&str]]) -> ScanSpec {
    let columns = [
        ("event_type", DataType::Int32),
        ("person", row(&["id"], &["name", "emailAddress", "creditCard", "city", "state", "extra"], &["dateTime"])),
        (
            "auction",
            row(
                &["id", "initialBid", "reserve", "seller", "category"],
                &["itemName", "description", "extra"],
                &["dateTime", "expires"],
            ),
        ),
        ("bid", row(&["auction", "bidder", "price"], &["channel", "url", "extra"], &["dateTime"])),
    ];
    let columns = columns.map(|(name, data_type)| Column {
        name: name.into(),
        data_type,
        nullable: true,
        kind: ColumnKind::Physical,
    });
    let mut options: std::collections::BTreeMap<_, _> =
        options.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    options.insert("connector".into(), "nexmark".into());
    let table = TableDescriptor {
        name: "nexmark".into(),
        columns: columns.into(),
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options,
        position: Position::default(),
    };
    let mut spec = ScanSpec::whole(Arc::new(table)).expect("the names differ");
    spec.used_paths = used.iter().map(|path| path.iter().map(|name| (*name).to_owned()).collect()).collect();
    spec
}

fn measure(name: &str, spec: &ScanSpec) {
    let context = SourceContext {
        files: Arc::new(Nothing),
        clock: Arc::new(Nothing),
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        batch_mode: false,
        unique: "u".to_owned(),
    };
    let kafka: Arc<dyn streamfleet_connectors::kafka::client::Cluster> =
        Arc::new(streamfleet_connectors::kafka::NativeCluster);
    let mut source = streamfleet_connectors::source(spec, &kafka, context).expect("the options are right");
    source.start().expect("nothing is needed to start");
    let (mut rows, mut bytes) = (0usize, 0usize);
    let begin = Instant::now();
    loop {
        match source.poll().expect("generating does not fail") {
            SourceStatus::Rows(batch) => {
                rows += batch.batch.rows();
                bytes += std::hint::black_box(&batch.batch).bytes();
            }
            SourceStatus::Ended => break,
            _ => {}
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name:<34} {:>7.2} M events/s {:>7.0} MB/s {:>6.1} ns/event",
        rows as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
        seconds * 1e9 / rows as f64
    );
}

fn main() {
    let events = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(10_000_000);
    let all = [("events.num", events.to_string())];
    let zero = || "0".to_owned();
    let bids = [("events.num", events.to_string()), ("person.proportion", zero()), ("auction.proportion", zero())];
    measure("all kinds, all columns", &scan(&all, &[]));
    measure("bids, all columns", &scan(&bids, &[]));
    let q0: &[&[&str]] = &[
        &["event_type"],
        &["bid", "auction"],
        &["bid", "bidder"],
        &["bid", "price"],
        &["bid", "dateTime"],
        &["bid", "extra"],
    ];
    measure("bids, q0's columns", &scan(&bids, q0));
    measure(
        "bids, auction, price and time",
        &scan(&bids, &[&["event_type"], &["bid", "auction"], &["bid", "price"], &["bid", "dateTime"]]),
    );
    for field in ["auction", "bidder", "price", "channel", "url", "dateTime", "extra"] {
        measure(&format!("bids, {field} alone"), &scan(&bids, &[&["bid", field]]));
    }
}

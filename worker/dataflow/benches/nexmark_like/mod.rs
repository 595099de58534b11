//! Rows with the shape and the skew of Nexmark's, made without its generator: of 50 events 3 are auctions and 46 are bids;
//! half of the bids go to one hot auction in a hundred, the rest to one of the last hundred.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use std::sync::Arc;
use std::time::{Duration, Instant};
use streamfleet_dataflow::{Flow, OperatorContext, Output, build};
use streamfleet_logical::OperatorSpec;
use streamfleet_types::Batch;

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub fn events() -> u64 {
    std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(2_000_000)
}

pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn scramble(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7FB5_D329_728E_A185);
    (n ^ (n >> 27)).wrapping_mul(0x81DA_DEF4_BC2D_D44D) >> 20
}

/// Columns by name, so that each query has only what it uses.
fn records(schema: &SchemaRef, ids: &[u64], number: impl Fn(&str, u64) -> i64) -> Batch {
    let column = |field: &Arc<arrow::datatypes::Field>| -> ArrayRef {
        match field.data_type() {
            DataType::Int64 => Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| number(field.name(), *id)))),
            DataType::Utf8 => {
                Arc::new(StringArray::from_iter_values(ids.iter().map(|id| match field.name().as_str() {
                    "channel" => format!("channel-{}", id % 9000),
                    "url" => format!("https://www.nexmark.com/x{}/item.htm?query=1", scramble(*id) % 1_000_000),
                    _ => "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz"[..30 + (id % 20) as usize].to_owned(),
                })))
            }
            _ => {
                let times = ids.iter().map(|id| number(field.name(), *id));
                Arc::new(TimestampMillisecondArray::from_iter_values(times))
            }
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Batch::inserts(RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of the schema"))
}

/// The auctions of some events; only every `every`th.
pub fn auctions(schema: &SchemaRef, from: u64, count: u64, every: u64) -> Batch {
    let ids: Vec<u64> = (from * 3 / 50..(from + count) * 3 / 50).filter(|id| id % every == 0).collect();
    records(schema, &ids, |name, id| match name {
        "category" => 10 + (id % 5) as i64,
        "start" => id as i64 / 3,
        "expires" => id as i64 / 3 + 20 + (id % 50) as i64,
        "seller" => (id / 7) as i64,
        _ => id as i64,
    })
}

/// The bids of some events.
pub fn bids(schema: &SchemaRef, from: u64, count: u64) -> Batch {
    let ids: Vec<u64> = (from * 46 / 50..(from + count) * 46 / 50).collect();
    records(schema, &ids, |name, id| {
        let newest = (id * 3 / 46) as i64;
        match name {
            "auction" if id % 2 == 0 => newest / 100 * 100,
            "auction" => (newest - (scramble(id) % 100) as i64).max(0),
            "bidder" if id % 4 == 0 => newest / 3 - (scramble(id + 1) % 1000) as i64,
            "bidder" => newest / 300 * 100 + 1,
            "price" => (scramble(id + 2) % 10_000_000) as i64,
            _ => id as i64 / 46,
        }
    })
}

/// What is measured.
pub struct Bench<'a> {
    pub name: &'a str,
    pub spec: OperatorSpec,
    pub context: OperatorContext,
    pub events: u64,
    /// The batches of some events, each with its input.
    pub make: &'a dyn Fn(u64, u64) -> Vec<(usize, Batch)>,
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

pub fn run(bench: Bench<'_>) {
    const EVENTS_A_BATCH: u64 = 8192;
    let mut operator = build(&bench.spec, bench.context).expect("a spec that is supported");
    operator.restored(i64::MIN).expect("nothing to restore");
    let before = resident_bytes();
    let mut output = Output::default();
    let (mut time, mut rows_in, mut rows_out, mut raw_bytes) = (Duration::ZERO, 0, 0, 0);
    let mut first = 0;
    while first < bench.events {
        for (input, batch) in (bench.make)(first, EVENTS_A_BATCH) {
            rows_in += batch.rows();
            raw_bytes += batch.bytes();
            let started = Instant::now();
            let mut flow = operator.on_batch(input, &batch, &mut output).expect("good rows");
            while flow == Flow::More {
                rows_out += output.drain().map(|b| b.rows()).sum::<usize>();
                flow = operator.resume(&mut output).expect("good rows");
            }
            time += started.elapsed();
            rows_out += output.drain().map(|b| b.rows()).sum::<usize>();
        }
        first += EVENTS_A_BATCH;
    }
    let tables = operator.tables();
    let stored: usize = tables.iter().map(|t| t.len()).sum();
    let bytes: usize = tables.iter().map(|t| t.bytes()).sum();
    let resident = resident_bytes().saturating_sub(before) as usize;
    println!(
        "{}: {rows_in} rows in, {rows_out} out, {:.2} s, {:.2} M rows/s; {stored} stored rows of {} B: {} B each in tables, {} B resident",
        bench.name,
        time.as_secs_f64(),
        rows_in as f64 / time.as_secs_f64() / 1e6,
        raw_bytes / rows_in.max(1),
        bytes / stored.max(1),
        resident / stored.max(1),
    );
}

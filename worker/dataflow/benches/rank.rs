//! How fast one thread ranks, and what a stored row costs: Nexmark's q18 (the last bid per bidder and auction) and q19 (the
//! ten highest bids per auction).
//!
//! `cargo bench -p streamfleet-dataflow --bench rank [-- EVENTS]`

#[allow(dead_code, reason = "shared with the other benches")]
mod nexmark_like;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::DFSchema;
use nexmark_like::{Bench, bids, events, run, time_type};
use std::sync::Arc;
use streamfleet_dataflow::OperatorContext;
use streamfleet_logical::{OperatorSpec, RankSpec, SortKey};
use streamfleet_types::HashRange;

fn main() {
    let events = events();
    let (int, text) = (DataType::Int64, DataType::Utf8);
    let fields = [
        ("auction", int.clone()),
        ("bidder", int.clone()),
        ("price", int.clone()),
        ("channel", text.clone()),
        ("url", text.clone()),
        ("time", time_type()),
        ("extra", text),
    ];
    let mut fields: Vec<Field> = fields.into_iter().map(|(n, t)| Field::new(n, t, true)).collect();
    let bid = Arc::new(Schema::new(fields.clone()));
    fields.push(Field::new("rank", int, false));
    let ranked = Arc::new(Schema::new(fields));
    for (name, partition, column, limit) in [("q18", vec![1, 0], 5, 1), ("q19", vec![0], 2, 10)] {
        let order = vec![SortKey { column, descending: true, nulls_first: false }];
        let output_rank = limit > 1;
        let context = OperatorContext {
            name: "rank".to_owned(),
            inputs: vec![Arc::clone(&bid)],
            input_df_schemas: vec![Arc::new(DFSchema::try_from(bid.as_ref().clone()).expect("names"))],
            output: Arc::clone(if output_rank { &ranked } else { &bid }),
            input_changes: vec![false],
            output_changes: true,
            batch_mode: false,
            owned: HashRange::ALL,
        };
        let spec =
            OperatorSpec::Rank(RankSpec { partition, order, limit, window_end: None, event_time: None, output_rank });
        run(Bench { name, spec, context, events, make: &|from, count| vec![(0, bids(&bid, from, count))] });
    }
}

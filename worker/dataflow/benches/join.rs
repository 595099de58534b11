//! How fast one thread joins, and what a stored row costs: Nexmark's q4 (narrow bids with auctions) and q20 (whole bids).
//!
//! `cargo bench -p streamfleet-dataflow --bench join [-- EVENTS]`

mod nexmark_like;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, col};
use nexmark_like::{Bench, auctions, bids, events, run, time_type};
use std::sync::Arc;
use streamfleet_dataflow::OperatorContext;
use streamfleet_logical::{JoinKind, JoinSpec, OperatorSpec};
use streamfleet_types::HashRange;

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn join(
    left: SchemaRef,
    right: SchemaRef,
    on: (usize, usize),
    filter: Option<Expr>,
) -> (OperatorSpec, OperatorContext) {
    let [l, r] = [("l", &left), ("r", &right)].map(|(n, s)| DFSchema::try_from_qualified_schema(n, s).expect("names"));
    let joined = Arc::new(l.join(&r).expect("other names"));
    let spec =
        JoinSpec { kind: JoinKind::Inner, on: vec![on], filter, filter_schema: Arc::clone(&joined), bounds: None };
    let context = OperatorContext {
        name: "join".to_owned(),
        inputs: vec![left, right],
        input_df_schemas: vec![Arc::new(l), Arc::new(r)],
        output: Arc::clone(joined.inner()),
        input_changes: vec![false, false],
        output_changes: true,
        batch_mode: false,
        owned: HashRange::ALL,
    };
    (OperatorSpec::Join(spec), context)
}

fn main() {
    let events = events();
    let (int, text) = (DataType::Int64, DataType::Utf8);

    let auction =
        schema(&[("id", int.clone()), ("category", int.clone()), ("start", time_type()), ("expires", time_type())]);
    let bid = schema(&[("auction", int.clone()), ("price", int.clone()), ("time", time_type())]);
    let filter = col("r.time").between(col("l.start"), col("l.expires"));
    let (spec, context) = join(auction.clone(), bid.clone(), (0, 0), Some(filter));
    run(Bench {
        name: "q4",
        spec,
        context,
        events,
        make: &|from, count| vec![(0, auctions(&auction, from, count, 1)), (1, bids(&bid, from, count))],
    });

    let auction = schema(&[
        ("id", int.clone()),
        ("category", int.clone()),
        ("start", time_type()),
        ("expires", time_type()),
        ("item", text.clone()),
        ("description", text.clone()),
        ("seller", int.clone()),
        ("extra", text.clone()),
    ]);
    let bid = schema(&[
        ("auction", int.clone()),
        ("bidder", int.clone()),
        ("price", int),
        ("channel", text.clone()),
        ("url", text.clone()),
        ("time", time_type()),
        ("extra", text),
    ]);
    let (spec, context) = join(bid.clone(), auction.clone(), (0, 0), None);
    run(Bench {
        name: "q20",
        spec,
        context,
        events,
        make: &|from, count| vec![(1, auctions(&auction, from, count, 5)), (0, bids(&bid, from, count))],
    });
}

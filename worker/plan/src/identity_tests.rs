//! Operators that do different things have different texts.

use super::identity;
use crate::JobGraph;
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef};
use datafusion_expr::{Expr, lit};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use streamfleet_logical::{
    AggregateCall, AggregateFunction, CalcSpec, ChangelogMode, ChangelogNormalizeSpec, GroupAggregateSpec, JoinKind,
    JoinSpec, Node, OperatorSpec, Position, Properties, RankSpec, ScanSpec, SinkSpec, SortKey, StateBound,
    TableDescriptor, TimeBounds, UpsertMaterializeSpec, WindowAggregateSpec, WindowAssignSpec, WindowInput, WindowSpec,
};

/// Two columns of one name under two qualifiers, and a time.
fn schema() -> DFSchemaRef {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    let fields = vec![
        (Some("a".into()), field("id", DataType::Int64)),
        (Some("b".into()), field("id", DataType::Int64)),
        (None, field("ts", DataType::Timestamp(TimeUnit::Millisecond, None))),
    ];
    Arc::new(DFSchema::new_with_metadata(fields, Default::default()).unwrap())
}

fn node(spec: OperatorSpec, inputs: Vec<Arc<Node>>) -> Arc<Node> {
    let properties = Properties {
        changelog: ChangelogMode::AppendOnly,
        upsert_keys: vec![],
        time_attributes: vec![],
        window: None,
        state: StateBound::None,
    };
    Arc::new(Node { spec, inputs, schema: schema(), properties })
}

fn table(name: &str) -> Arc<TableDescriptor> {
    Arc::new(TableDescriptor {
        name: name.into(),
        columns: vec![],
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: BTreeMap::new(),
        position: Position::default(),
    })
}

fn scan() -> Arc<Node> {
    node(OperatorSpec::Scan(ScanSpec::whole(table("t")).unwrap()), vec![])
}

fn over(spec: OperatorSpec) -> Arc<Node> {
    node(spec, vec![scan(), scan()])
}

fn calc(expressions: Vec<Expr>) -> Arc<Node> {
    over(OperatorSpec::Calc(CalcSpec { predicate: None, expressions }))
}

fn column(qualifier: &str) -> Expr {
    Expr::Column(Column::new(Some(qualifier), "id"))
}

fn group(keys: Vec<usize>, call: AggregateCall) -> Arc<Node> {
    over(OperatorSpec::GroupAggregate(GroupAggregateSpec { keys, aggregates: vec![call] }))
}

fn count() -> AggregateCall {
    AggregateCall {
        function: AggregateFunction::Count,
        argument: Some(0),
        filter: None,
        distinct: false,
        result: DataType::Int64,
        name: "a0".into(),
    }
}

fn join() -> JoinSpec {
    JoinSpec { kind: JoinKind::Inner, on: vec![(0, 0)], filter: None, filter_schema: schema(), bounds: None }
}

fn rank() -> RankSpec {
    let order = vec![SortKey { column: 2, descending: false, nulls_first: true }];
    RankSpec { partition: vec![0], order, limit: 1, window_end: None, event_time: None, output_rank: false }
}

fn window(window: WindowInput) -> Arc<Node> {
    over(OperatorSpec::WindowAggregate(WindowAggregateSpec { window, keys: vec![0], aggregates: vec![] }))
}

const fn tumble(offset: i64) -> WindowSpec {
    WindowSpec::Tumble { size: 10, offset }
}

#[test]
fn different_specs_have_different_texts() {
    let bounds = Some(TimeBounds { left_time: 2, right_time: 2, lower: 0, upper: 1 });
    let first_last = SortKey { column: 2, descending: false, nulls_first: false };
    let all = [
        calc(vec![column("a")]),
        calc(vec![column("b")]),
        calc(vec![column("a"), column("b")]),
        over(OperatorSpec::Calc(CalcSpec { predicate: Some(column("a").gt(lit(1))), expressions: vec![column("a")] })),
        over(OperatorSpec::Calc(CalcSpec { predicate: Some(column("b").gt(lit(1))), expressions: vec![column("a")] })),
        calc(vec![lit("x\"); Utf8(\"y")]),
        calc(vec![lit("x"), lit("y")]),
        calc(vec![lit(1i32)]),
        calc(vec![lit(1i64)]),
        group(vec![0], count()),
        group(vec![1], count()),
        group(vec![0], AggregateCall { argument: Some(1), ..count() }),
        group(vec![0], AggregateCall { argument: None, ..count() }),
        group(vec![0], AggregateCall { filter: Some(1), ..count() }),
        group(vec![0], AggregateCall { distinct: true, ..count() }),
        group(vec![0], AggregateCall { result: DataType::Int32, ..count() }),
        over(OperatorSpec::WindowAssign(WindowAssignSpec { window: tumble(0), time: 2 })),
        over(OperatorSpec::WindowAssign(WindowAssignSpec { window: tumble(1), time: 2 })),
        window(WindowInput::Assign { window: tumble(0), time: 2 }),
        window(WindowInput::Assign { window: tumble(1), time: 2 }),
        window(WindowInput::Attached { start: 0, end: 2 }),
        window(WindowInput::Attached { start: 1, end: 2 }),
        over(OperatorSpec::Join(join())),
        over(OperatorSpec::Join(JoinSpec { kind: JoinKind::Left, ..join() })),
        over(OperatorSpec::Join(JoinSpec { on: vec![(1, 0)], ..join() })),
        over(OperatorSpec::Join(JoinSpec { on: vec![(0, 1)], ..join() })),
        over(OperatorSpec::Join(JoinSpec { filter: Some(column("a").gt(lit(1))), ..join() })),
        over(OperatorSpec::Join(JoinSpec { filter: Some(column("b").gt(lit(1))), ..join() })),
        over(OperatorSpec::Join(JoinSpec { bounds, ..join() })),
        over(OperatorSpec::Rank(rank())),
        over(OperatorSpec::Rank(RankSpec { partition: vec![1], ..rank() })),
        over(OperatorSpec::Rank(RankSpec { order: vec![first_last], ..rank() })),
        over(OperatorSpec::Rank(RankSpec { order: vec![], ..rank() })),
        over(OperatorSpec::Rank(RankSpec { event_time: Some(2), ..rank() })),
        over(OperatorSpec::Rank(RankSpec { limit: 2, ..rank() })),
        over(OperatorSpec::Rank(RankSpec { output_rank: true, ..rank() })),
        over(OperatorSpec::Rank(RankSpec { window_end: Some(0), ..rank() })),
        over(OperatorSpec::ChangelogNormalize(ChangelogNormalizeSpec { key: vec![0] })),
        over(OperatorSpec::ChangelogNormalize(ChangelogNormalizeSpec { key: vec![1] })),
        over(OperatorSpec::UpsertMaterialize(UpsertMaterializeSpec { key: vec![0] })),
        over(OperatorSpec::UpsertMaterialize(UpsertMaterializeSpec { key: vec![1] })),
        over(OperatorSpec::Union),
    ];
    let mut texts = HashSet::new();
    for node in &all {
        let text = identity(node).unwrap();
        assert!(texts.insert(text.clone()), "two operators share {text}");
    }
}

#[test]
fn equal_specs_are_shared_and_others_are_not() {
    let sink = |input| node(OperatorSpec::Sink(SinkSpec { table: table("out") }), vec![input]);
    let graph = |a, b| JobGraph::new(&[sink(a), sink(b)], &|_| None).unwrap();
    let (by_a, by_b) = (group(vec![0], count()), group(vec![1], count()));
    // A scan, a group and two sinks; or two groups.
    assert_eq!(graph(Arc::clone(&by_a), group(vec![0], count())).vertices.len(), 4);
    let two = graph(Arc::clone(&by_a), Arc::clone(&by_b));
    assert_eq!(two.vertices.len(), 5);
    let one = |input| JobGraph::new(&[sink(input)], &|_| None).unwrap();
    assert_eq!(one(Arc::clone(&by_a)).fingerprint, one(Arc::clone(&by_a)).fingerprint);
    assert_ne!(one(by_a).fingerprint, one(by_b).fingerprint);
}

#[test]
fn a_place_names_the_tables_of_its_statements() {
    let to =
        |name, input: &Arc<Node>| node(OperatorSpec::Sink(SinkSpec { table: table(name) }), vec![Arc::clone(input)]);
    let shared = group(vec![0], count());
    let alone = calc(vec![column("b")]);
    let graph = JobGraph::new(&[to("x", &shared), to("y", &shared), to("z", &alone)], &|_| None).unwrap();
    let places: Vec<&str> = graph.vertices.iter().map(|v| v.place.as_str()).collect();
    let expected = [
        "scan t",
        "group-aggregate from table t into tables x, y",
        "sink x",
        "sink y",
        "calc from table t into table z",
        "sink z",
    ];
    assert_eq!(places, expected);
}

//! Which rankings give rows that stay.

use super::{TABLES, nodes, plan, run};
use std::sync::Arc;
use streamfleet_logical::{ChangelogMode, Node, OperatorSpec, RankSpec, StateBound};

const SEEN: &str = "CREATE TABLE seen (a BIGINT, b BIGINT, ts TIMESTAMP(3), came AS PROCTIME(), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'files', 'path' = 'in', 'format' = 'json');";

fn seen_plan(statement: &str) -> Vec<Arc<Node>> {
    nodes(&run(&format!("{TABLES}{SEEN}{statement}")).expect(statement).sinks[0])
}

fn rank(nodes: &[Arc<Node>]) -> (&RankSpec, &Arc<Node>) {
    let found = nodes.iter().find_map(|n| match &n.spec {
        OperatorSpec::Rank(rank) => Some((rank, n)),
        _ => None,
    });
    found.expect("a rank")
}

#[test]
fn ranks_are_final_per_window_and_changing_without() {
    let changing = plan(
        "INSERT INTO print SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) WHERE n <= 3",
    );
    let rank = changing.iter().find(|n| matches!(n.spec, OperatorSpec::Rank(_))).expect("a rank");
    let OperatorSpec::Rank(spec) = &rank.spec else { panic!("{rank:?}") };
    assert_eq!((spec.limit, spec.output_rank, spec.window_end), (3, false, None));
    assert_eq!(rank.properties.state, StateBound::Keys);
    let windowed = plan(
        "INSERT INTO files SELECT auction, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC) AS n FROM (
           SELECT auction, window_start, window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR))
           GROUP BY auction, window_start, window_end)) WHERE n = 1",
    );
    assert_eq!(windowed[0].properties.changelog, ChangelogMode::AppendOnly);
}

/// The first row by the time of processing or by event time is final, so it may go into a table that takes only new rows.
#[test]
fn the_first_row_by_time_is_final() {
    let first = |from: &str, order: &str, limit: &str| {
        format!(
            "INSERT INTO files SELECT a, b FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY {order}) AS n FROM {from}) WHERE {limit}"
        )
    };
    for (from, order, limit) in [
        ("seen", "came", "n = 1"),
        ("seen", "came ASC NULLS LAST", "n <= 1"),
        ("seen", "PROCTIME()", "n < 2"),
        ("(SELECT a, b, came AS handed_on FROM seen WHERE b > 3)", "handed_on", "n = 1"),
        ("(SELECT a, b, came FROM seen UNION ALL SELECT b, a, came FROM seen)", "came", "n = 1"),
        ("(SELECT a + 1 AS a, b, PROCTIME() AS p FROM seen)", "p", "n = 1"),
    ] {
        let nodes = seen_plan(&first(from, order, limit));
        let (spec, node) = rank(&nodes);
        assert_eq!((spec.order.len(), spec.limit, spec.partition.len()), (0, 1, 1), "{from} {order}");
        assert_eq!(node.properties.changelog, ChangelogMode::AppendOnly, "{from} {order}");
        assert_eq!(node.properties.state, StateBound::Keys);
    }
    for from in ["seen", "(SELECT a, b, ts FROM seen WHERE b > 3)"] {
        let nodes = seen_plan(&first(from, "ts", "n = 1"));
        let (spec, node) = rank(&nodes);
        let time = node.inputs[0].schema.index_of_column_by_name(None, "ts");
        assert!(spec.event_time.is_some() && spec.event_time == time, "{from}: {spec:?}");
        assert_eq!(node.properties.changelog, ChangelogMode::AppendOnly);
    }
    let why = "takes only new rows (connector 'files'), but the query updates or deletes rows: its ROW_NUMBER";
    for (from, order, limit) in [
        ("seen", "came DESC", "n = 1"),
        ("seen", "came", "n <= 2"),
        ("seen", "came, b", "n = 1"),
        ("seen", "ts DESC", "n = 1"),
        ("seen", "ts, b", "n = 1"),
        ("seen", "ts", "n <= 2"),
        ("seen", "b", "n = 1"),
        ("(SELECT a, b, CAST(came AS TIMESTAMP(3)) AS came FROM seen)", "came", "n = 1"),
        ("(SELECT a, b, came FROM seen UNION ALL SELECT b, a, NOW() FROM seen)", "came", "n = 1"),
    ] {
        let error = run(&format!("{TABLES}{SEEN}{}", first(from, order, limit))).expect_err(order);
        assert!(error.contains(why), "{from} {order}: {error}");
    }
    let of_changes = "(SELECT a, COUNT(*) AS b FROM seen GROUP BY a)";
    assert!(run(&format!("{TABLES}{SEEN}{}", first(of_changes, "PROCTIME()", "n = 1"))).is_err());
    // Its rows keep their event time: they may be counted by window.
    let nodes = seen_plan(
        "INSERT INTO files SELECT COUNT(*), MAX(b) FROM TABLE(TUMBLE(TABLE (SELECT a, b, ts FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY came) AS n FROM seen) WHERE n = 1), DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end",
    );
    assert!(nodes.iter().any(|n| matches!(n.spec, OperatorSpec::WindowAggregate(_))));
    // Its rank is known, too.
    let ranked = seen_plan(
        "INSERT INTO files SELECT a, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY came) AS n FROM seen) WHERE n = 1",
    );
    assert!(rank(&ranked).0.output_rank);
}

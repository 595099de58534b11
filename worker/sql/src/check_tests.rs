//! Every construct that is not planned is refused by name, at its place.

use super::{check_query, check_words};
use crate::dialect::FlinkDialect;
use crate::script::statements;
use sqlparser::parser::Parser;

/// The refusal of a query of one line, as `column: text`; of a construct that only the parser refuses, its text.
fn refusal(query: &str) -> Option<String> {
    let statement = statements(query).unwrap().remove(0);
    let checked = check_words(&statement).and_then(|()| {
        let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(statement.tokens.clone());
        check_query(&statement, &parser.parse_query().expect(query))
    });
    checked.err().map(|e| format!("{}: {}", e.position.column, e.kind))
}

#[test]
fn unplanned_constructs_are_named() {
    let cases = [
        ("SELECT a FROM t /*+ OPTIONS('x' = 'y') */", "17: a hint (`/*+ .. */`)"),
        ("SELECT /*+ BROADCAST(t) */ a FROM t", "8: a hint (`/*+ .. */`)"),
        ("SELECT a FROM t TABLESAMPLE BERNOULLI (10)", "17: TABLESAMPLE"),
        ("SELECT a FROM t FOR UPDATE", "17: FOR UPDATE"),
        ("SELECT a FROM t FOR SYSTEM_TIME AS OF t.p", "17: FOR SYSTEM_TIME AS OF"),
        ("SELECT a FROM t MATCH_RECOGNIZE (PATTERN (A B))", "17: MATCH_RECOGNIZE"),
        ("SELECT a FROM t, LATERAL TABLE(f(a))", "18: LATERAL"),
        ("SELECT FIRST_VALUE(a) RESPECT NULLS FROM t", "23: RESPECT NULLS"),
        ("SELECT FIRST_VALUE(a) IGNORE NULLS FROM t", "23: IGNORE NULLS"),
        ("SELECT a FROM t WHERE b SIMILAR TO 'x'", "25: SIMILAR TO"),
        ("SELECT a FROM t WHERE b ILIKE 'x'", "23: ILIKE"),
        ("SELECT a FROM t WHERE b ~ 'x'", "23: the operator `~`"),
        ("SELECT a FROM t WHERE b IN (SELECT b FROM u)", "23: IN (SELECT ..)"),
        ("SELECT a FROM t WHERE EXISTS (SELECT b FROM u)", ": EXISTS"),
        ("SELECT a, (SELECT MAX(b) FROM u) FROM t", ": a query as a value"),
        ("SELECT a FROM t INTERSECT SELECT a FROM u", "17: INTERSECT"),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", "17: EXCEPT"),
        ("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", "17: FETCH FIRST"),
        ("SELECT a::INT FROM t", "8: a cast that is not CAST(.. AS ..) or TRY_CAST(.. AS ..)"),
        ("SELECT a FROM (SELECT a FROM t WHERE b IN (SELECT b FROM u)) AS s", "38: IN (SELECT ..)"),
    ];
    for (query, expected) in cases {
        let found = refusal(query).unwrap_or_else(|| panic!("accepted: {query}"));
        assert!(found.contains(expected), "{query}\n  found    {found}\n  expected {expected}");
        assert!(found.ends_with("is not supported"), "{found}");
    }
}

#[test]
fn what_is_planned_passes() {
    let queries = [
        "WITH w AS (SELECT a, COUNT(*) AS n FROM t GROUP BY a) SELECT * FROM w WHERE n > 1",
        "SELECT a + 1, -b, CAST(c AS STRING), CASE WHEN a = 1 THEN 'x' ELSE b || 'y' END FROM t",
        "SELECT a FROM t WHERE b LIKE 'x%' AND c BETWEEN 1 AND 2 OR NOT d IS NULL UNION ALL SELECT a FROM u",
        "SELECT window_start, COUNT(DISTINCT a) FILTER (WHERE b IN (1, 2)) FROM TABLE(TUMBLE((SELECT * FROM t), DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start",
        "SELECT a, `LATERAL`, `EXCEPT` FROM t /* not a hint */ -- nor this",
        "SELECT EXTRACT(HOUR FROM ts), SUBSTRING(a FROM 1 FOR 2), TRIM(BOTH ' ' FROM a) FROM t JOIN u ON t.a = u.a",
    ];
    for query in queries {
        assert_eq!(refusal(query), None, "{query}");
    }
}

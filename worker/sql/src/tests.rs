//! Scripts that are refused, with the place and the reason; and plans of those that are not.

#[path = "options_tests.rs"]
mod options;
#[path = "ranks_tests.rs"]
mod ranks;

use crate::{Catalog, Program, compile};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::{
    ChangelogMode, ConnectorDescriptor, FormatDescriptor, Node, OperatorSpec, OptionKind, OptionSpec, SettingSpec,
    StateBound, WindowInput,
};

fn catalog() -> Catalog {
    let option = |name, kind, required| OptionSpec { name, kind, required, older: "", default: "", help: "" };
    let connector = |name, sink_takes_changes, uses_format, options| ConnectorDescriptor {
        name,
        source: true,
        sink: true,
        sink_takes_changes,
        uses_format,
        options,
        metadata: vec![],
        ..ConnectorDescriptor::default()
    };
    Catalog {
        connectors: vec![
            connector("files", false, true, vec![option("path", OptionKind::Text, true)]),
            connector("print", true, false, vec![option("every", OptionKind::Duration, false)]),
            ConnectorDescriptor { source: false, ..connector("hole", true, false, vec![]) },
            ConnectorDescriptor {
                key_format: true,
                ..connector("log", false, true, vec![option("properties.#", OptionKind::Text, false)])
            },
            ConnectorDescriptor { key_format: true, upsert: true, ..connector("upsert-log", true, true, vec![]) },
        ],
        formats: vec![
            FormatDescriptor {
                name: "json",
                changes: false,
                options: vec![OptionSpec { older: "json.severe", ..option("json.strict", OptionKind::Boolean, false) }],
            },
            FormatDescriptor { name: "debezium-json", changes: true, options: vec![] },
            FormatDescriptor {
                name: "csv",
                changes: false,
                options: vec![option("csv.field-delimiter", OptionKind::Text, false)],
            },
        ],
        settings: vec![
            SettingSpec {
                option: option("parallelism.default", OptionKind::Integer, false),
                check: Some(|value| if value.starts_with('-') { Err("it must be above zero") } else { Ok(()) }),
                no_effect: None,
            },
            SettingSpec {
                option: option("execution.runtime-mode", OptionKind::OneOf(&["batch", "streaming"]), false),
                check: None,
                no_effect: Some("a test"),
            },
            SettingSpec {
                option: OptionSpec {
                    older: "table.exec.sink.enforcer",
                    ..option("table.exec.sink.not-null-enforcer", OptionKind::OneOf(&["error", "drop"]), false)
                },
                check: None,
                no_effect: None,
            },
            SettingSpec {
                option: option(
                    "table.exec.sink.upsert-materialize",
                    OptionKind::OneOf(&["auto", "none", "force"]),
                    false,
                ),
                check: None,
                no_effect: None,
            },
        ],
        defaults: BTreeMap::new(),
        overrides: BTreeMap::new(),
    }
}

const TABLES: &str = "CREATE TABLE bid (auction BIGINT, price BIGINT, item ROW<name STRING, size INT>, ts TIMESTAMP(3),
  day AS DATE_FORMAT(ts, 'yyyy-MM-dd'), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
  WITH ('connector' = 'files', 'path' = 'in', 'format' = 'json');
CREATE TABLE other (id BIGINT, name STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'files', 'path' = 'in', 'format' = 'json');
CREATE TABLE files (a BIGINT, b BIGINT) WITH ('connector' = 'files', 'path' = 'out', 'format' = 'json');
CREATE TABLE print (a BIGINT, b BIGINT) WITH ('connector' = 'print');
CREATE TABLE drain (a BIGINT, b BIGINT) WITH ('connector' = 'hole');
";

fn run(script: &str) -> Result<Program, String> {
    compile(script, &catalog()).map_err(|e| e.to_string())
}

/// Compiles a statement behind the tables; its first line is line 1.
fn refused(statement: &str) -> String {
    let script = format!("{}{statement}", TABLES.replace('\n', " "));
    let error = run(&script).expect_err(statement);
    let (place, message) = error.split_once(": ").expect("a place");
    let column: usize = place.strip_prefix("line 1, column ").expect("line 1").parse().expect("a number");
    format!("{}: {message}", column - TABLES.len())
}

fn nodes(root: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut found = vec![Arc::clone(root)];
    found.extend(root.inputs.iter().flat_map(nodes));
    found
}

fn plan(statement: &str) -> Vec<Arc<Node>> {
    let program = run(&format!("{TABLES}{statement}")).expect(statement);
    nodes(&program.sinks[0])
}

fn kinds(nodes: &[Arc<Node>]) -> Vec<&'static str> {
    let kind = |n: &Arc<Node>| match n.spec {
        OperatorSpec::Scan(_) => "scan",
        OperatorSpec::Calc(_) => "calc",
        OperatorSpec::WindowAssign(_) => "assign",
        OperatorSpec::WindowAggregate(_) => "window",
        OperatorSpec::GroupAggregate(_) => "group",
        OperatorSpec::Join(_) => "join",
        OperatorSpec::Union => "union",
        OperatorSpec::Rank(_) => "rank",
        OperatorSpec::ChangelogNormalize(_) => "normalize",
        OperatorSpec::UpsertMaterialize(_) => "materialize",
        OperatorSpec::Sink(_) => "sink",
    };
    nodes.iter().map(kind).collect()
}

#[test]
fn every_refusal_names_place_and_reason() {
    let cases = [
        ("INSERT INTO print SELECT auction, prise FROM bid", "35: no column `prise`; did you mean `price`?"),
        ("INSERT INTO print SELECT auction, price FROM bit", "46: no table `bit`; did you mean `bid`?"),
        ("INSERT INTO prnt SELECT auction, price FROM bid", "13: no table `prnt`; did you mean `print`?"),
        ("INSERT INTO print SELECT LOWR(day), price FROM bid", "26: no function `lowr`; did you mean `lower`?"),
        ("INSERT INTO print SELECT auction FROM bid WHERE", "48: syntax error: Expected: an expression, found: EOF"),
        ("SELECT 1", "1: a query without INSERT INTO: say where its rows go is not supported"),
        ("INSERT INTO print SELECT auction, SUM(price) OVER (ORDER BY ts) FROM bid", "46: OVER"),
        (
            "INSERT INTO print SELECT auction, price FROM bid ORDER BY price",
            "50: ORDER BY of a whole result is not supported",
        ),
        ("INSERT INTO print SELECT auction, price FROM bid LIMIT 3", "50: LIMIT is not supported"),
        (
            "INSERT INTO print SELECT auction, price FROM bid FULL JOIN other ON auction = id",
            "55: a Full join is not supported",
        ),
        (
            "INSERT INTO print SELECT auction, price FROM bid JOIN other ON auction > id",
            "50: a join without an equality between the two sides is not supported",
        ),
        (
            "INSERT INTO files SELECT auction, MAX(price) FROM bid GROUP BY auction",
            "13: table files takes only new rows (connector 'files'), but the query updates or deletes rows: its GROUP BY is not over a window",
        ),
        ("CREATE TABLE t (a INTT) WITH ('connector' = 'print')", "19: no type `INTT`; did you mean `INT`?"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'printt')", "30: no connector `printt`; did you mean `print`?"),
        (
            "CREATE TABLE t (a INT) WITH ('connector' = 'print', 'evry' = '1 s')",
            "53: no option `evry` of connector 'print'; did you mean `every`?",
        ),
        (
            "CREATE TABLE t (a INT) WITH ('connector' = 'print', 'every' = 'often')",
            "53: option 'every' = 'often': `often` is no duration: write a number and a unit, such as `10 s` or `1 min`",
        ),
        (
            "CREATE TABLE t (a INT) WITH ('connector' = 'files', 'format' = 'json')",
            "14: table t: connector 'files' needs the option 'path'",
        ),
        (
            "CREATE TABLE t (a INT) WITH ('connector' = 'files', 'path' = 'x', 'format' = 'jsn')",
            "67: no format `jsn`; did you mean `json`?",
        ),
        ("CREATE TABLE t (a INT, a INT) WITH ('connector' = 'print')", "24: column `a` is declared twice"),
        ("CREATE TABLE bid (a INT) WITH ('connector' = 'print')", "14: `bid` is declared already"),
        (
            "CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'print')",
            "38: the watermark's column `a` must be TIMESTAMP(3) or TIMESTAMP_LTZ(3), not INT",
        ),
        (
            "CREATE FUNCTION f AS 'com.example.F'",
            "22: the function class com.example.F: there is no JVM here, so it is not supported",
        ),
        ("DROP TABLE bid", "1: DROP in a job's script is not supported"),
        ("RESET 'parallelism.default'", "1: RESET in a job's script is not supported"),
        ("CREATE TABLE t AS SELECT auction FROM bid", "16: CREATE TABLE .. AS SELECT is not supported"),
        ("CREATE TABLE t LIKE bid", "16: CREATE TABLE .. LIKE is not supported"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'print') LIKE bid", "53: CREATE TABLE .. LIKE is not supported"),
        (
            "INSERT INTO print SELECT a, b FROM drain",
            "36: reading from connector 'hole' (table drain) is not supported",
        ),
        (
            "INSERT INTO print SELECT auction, price FROM bid /*+ OPTIONS('every' = '1 s') */",
            "50: a hint (`/*+ .. */`) is not supported",
        ),
        (
            "INSERT INTO print SELECT auction, price FROM bid WHERE auction IN (SELECT id FROM other)",
            "56: IN (SELECT ..) is not supported",
        ),
        ("INSERT INTO print (a, a) SELECT auction, price FROM bid", "23: column `a` is named twice"),
        (
            "INSERT INTO print SELECT auction, price FROM bid JOIN other ON auction IS NOT DISTINCT FROM id",
            "79: IS NOT DISTINCT FROM as a join's condition is not supported",
        ),
    ];
    for (statement, expected) in cases {
        let found = refused(statement);
        assert!(found.starts_with(expected), "{statement}\n  found    {found}\n  expected {expected}");
    }
}

#[test]
fn types_that_do_not_fit_show_both_schemas() {
    let error = refused("INSERT INTO print SELECT auction, day FROM bid");
    assert!(
        error.starts_with("13: column types of query and table print do not match: column `b` cannot take STRING"),
        "{error}"
    );
    assert!(
        error.contains("query: [auction BIGINT, day STRING]") && error.contains("table: [a BIGINT, b BIGINT]"),
        "{error}"
    );
}

#[test]
fn a_window_aggregate_assigns_its_windows_and_reads_only_what_it_needs() {
    let nodes = plan(
        "INSERT INTO files SELECT auction, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, auction",
    );
    assert_eq!(kinds(&nodes), ["sink", "calc", "window", "scan"]);
    let OperatorSpec::WindowAggregate(window) = &nodes[2].spec else { panic!("{:?}", nodes[2]) };
    assert!(matches!(window.window, WindowInput::Assign { .. }));
    let OperatorSpec::Scan(scan) = &nodes[3].spec else { panic!("{:?}", nodes[3]) };
    assert_eq!(scan.used_paths, [["auction"], ["ts"]]);
    assert_eq!(nodes[0].properties.changelog, ChangelogMode::AppendOnly);
}

#[test]
fn fields_of_rows_are_pruned_and_named() {
    let nodes = plan(
        "CREATE VIEW v AS SELECT item.size, item.name, price FROM bid WHERE auction = 3;
         INSERT INTO print SELECT size, price FROM v WHERE name = 'x'",
    );
    assert_eq!(kinds(&nodes), ["sink", "calc", "scan"]);
    let OperatorSpec::Scan(scan) = &nodes[2].spec else { panic!("{:?}", nodes[2]) };
    let paths: Vec<String> = scan.used_paths.iter().map(|p| p.join(".")).collect();
    assert_eq!(paths, ["auction", "item.name", "item.size", "price", "ts"]);
    assert_eq!(scan.wanted_integers("auction"), Some(vec![3]));
}

#[test]
fn joins_know_their_bounds() {
    let of = |statement: &str| {
        let nodes = plan(statement);
        let join = nodes.iter().find_map(|n| match &n.spec {
            OperatorSpec::Join(join) => Some(join.bounds),
            _ => None,
        });
        join.expect("a join")
    };
    let bounds = of("INSERT INTO files SELECT auction, id FROM bid AS b JOIN other AS o ON b.auction = o.id
                     AND b.ts BETWEEN o.ts - INTERVAL '10' SECOND AND o.ts + INTERVAL '1' MINUTE");
    // o.ts - b.ts lies between -1 minute and 10 seconds.
    assert_eq!(bounds.map(|b| (b.lower, b.upper)), Some((-60_000, 10_000)));
    assert_eq!(of("INSERT INTO files SELECT auction, id FROM bid JOIN other ON auction = id"), None);
    let program = run(&format!("{TABLES}INSERT INTO files SELECT auction, id FROM bid JOIN other ON auction = id"));
    let program = program.expect("valid");
    assert_eq!(program.warnings.len(), 1, "an unbounded join is warned of");
}

#[test]
fn only_casts_that_keep_milliseconds_give_bounds() {
    let has_bounds = |precision: u8| {
        let nodes = plan(&format!(
            "INSERT INTO print SELECT auction, id FROM bid AS b JOIN other AS o ON b.auction = o.id
             AND CAST(b.ts AS TIMESTAMP({precision})) BETWEEN CAST(o.ts AS TIMESTAMP({precision})) - INTERVAL '10' SECOND
             AND CAST(o.ts AS TIMESTAMP({precision})) + INTERVAL '10' SECOND"
        ));
        nodes.iter().any(|n| matches!(&n.spec, OperatorSpec::Join(join) if join.bounds.is_some()))
    };
    assert!(has_bounds(6));
    assert!(!has_bounds(0), "rounding to seconds moves rows by up to a second");
}

#[test]
fn count_of_constants() {
    let argument = |call: &str| {
        let nodes = plan(&format!("INSERT INTO print SELECT auction, {call} FROM bid GROUP BY auction"));
        let counts = nodes.iter().find_map(|n| match &n.spec {
            OperatorSpec::GroupAggregate(spec) => Some(spec.aggregates[0].clone()),
            _ => None,
        });
        counts.expect("an aggregate").argument
    };
    assert_eq!((argument("COUNT(*)"), argument("COUNT(1)")), (None, None));
    for call in ["COUNT(NULL)", "COUNT(CAST(NULL AS INT))", "COUNT(DISTINCT 1)", "COUNT(price)"] {
        assert!(argument(call).is_some(), "{call} does not count rows");
    }
}

#[test]
fn nulls_are_the_smallest_unless_said() {
    let nulls_first = |order: &str| {
        let nodes = plan(&format!(
            "INSERT INTO print SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price {order}) AS n FROM bid) WHERE n <= 3"
        ));
        let rank = nodes.iter().find_map(|n| match &n.spec {
            OperatorSpec::Rank(rank) => Some(rank.order[0].nulls_first),
            _ => None,
        });
        rank.expect("a rank")
    };
    assert!(nulls_first("ASC") && !nulls_first("DESC"));
    assert!(!nulls_first("ASC NULLS LAST") && nulls_first("DESC NULLS FIRST"));
}

#[test]
fn rows_are_inserted_by_position_if_every_field_fits() {
    let into = |row: &str| {
        run(&format!(
            "{TABLES}CREATE TABLE r (item {row}) WITH ('connector' = 'print'); INSERT INTO r SELECT item FROM bid"
        ))
    };
    let program = into("ROW<size STRING, name BIGINT>").expect("text and number fit, whatever they are called");
    let is_by_position = |n: &Arc<Node>| matches!(&n.spec, OperatorSpec::Calc(c) if c.expressions[0].to_string().starts_with("by_position"));
    assert!(nodes(&program.sinks[0]).iter().any(is_by_position));
    for row in ["ROW<name INT, size INT>", "ROW<name STRING>", "ARRAY<STRING>"] {
        let error = into(row).expect_err(row);
        assert!(error.contains("column `item` cannot take"), "{error}");
    }
}

#[test]
fn statement_sets_settings_and_comments() {
    let program = run(&format!(
        "{TABLES}-- a comment; with a semicolon\nSET 'parallelism.default' = '3';\nEXECUTE STATEMENT SET BEGIN
         INSERT INTO files SELECT auction, price FROM bid; /* another */ INSERT INTO print (b) SELECT price FROM bid;
         END;"
    ));
    let program = program.expect("valid");
    assert_eq!(program.sinks.len(), 2);
    assert_eq!(program.settings["parallelism.default"], "3");
}

#[test]
fn named_arguments_of_windows_are_taken_by_name() {
    let window = |call: &str| {
        let nodes = plan(&format!("INSERT INTO files SELECT auction, price FROM TABLE({call})"));
        let found = nodes.iter().find_map(|n| match &n.spec {
            OperatorSpec::WindowAssign(spec) => Some(spec.window),
            _ => None,
        });
        found.expect("a window")
    };
    let by_position = window("HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)");
    let by_name =
        "HOP(SIZE => INTERVAL '10' SECOND, TIMECOL => DESCRIPTOR(ts), DATA => TABLE bid, SLIDE => INTERVAL '2' SECOND)";
    assert_eq!(window(by_name), by_position);
    let call = |arguments: &str| {
        let statement = format!("INSERT INTO files SELECT auction, price FROM TABLE(TUMBLE({arguments}))");
        run(&format!("{TABLES}{statement}")).expect_err(arguments)
    };
    let data = "DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts)";
    for (arguments, message) in [
        (
            format!("{data}, WIDTH => INTERVAL '1' HOUR"),
            "TUMBLE has no parameter WIDTH; it takes DATA, TIMECOL, SIZE, OFFSET",
        ),
        (format!("{data}, OFFSET => INTERVAL '1' HOUR"), "TUMBLE needs SIZE"),
        (format!("{data}, INTERVAL '1' HOUR"), "name all arguments or none"),
        (format!("{data}, SIZE => INTERVAL '1' HOUR, SIZE => INTERVAL '1' HOUR"), "SIZE is given twice"),
    ] {
        let error = call(&arguments);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn settings_are_checked_where_they_stand() {
    let error = run("SET 'parallelism.default' = '1';\nSET\n  'paralelism.default' = '2';").expect_err("unknown");
    assert_eq!(error, "line 3, column 3: no option `paralelism.default` of a job; did you mean `parallelism.default`?");
    let error = run("SET 'parallelism.default' = '1';\n EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;")
        .expect_err("open");
    assert_eq!(error, "line 2, column 2: syntax error: a statement set has BEGIN, but no END");
    let error = run("SET 'parallelism.default' = '-1';").expect_err("unusable");
    assert_eq!(error, "line 1, column 5: option 'parallelism.default' = '-1': it must be above zero");
    let program = run("SET 'execution.runtime-mode' = 'BATCH';").expect("valid");
    assert_eq!(program.warnings[0].text, "option 'execution.runtime-mode' has no effect here: a test");
}

#[test]
fn errors_in_views_point_into_the_view() {
    let script = format!(
        "{TABLES}CREATE VIEW few AS\n  SELECT auction, price FROM bid LIMIT 3;\n\
         INSERT INTO print SELECT auction, price FROM few;"
    );
    let line = TABLES.lines().count() + 2;
    let error = run(&script).expect_err("a view with LIMIT");
    assert_eq!(error, format!("line {line}, column 34: LIMIT is not supported"));
}

#[test]
fn one_column_can_be_selected_twice() {
    plan("INSERT INTO print SELECT auction, auction FROM bid");
    plan(
        "CREATE VIEW twice AS SELECT auction, auction FROM bid;\nINSERT INTO print SELECT auction, auction0 FROM twice",
    );
}

#[test]
fn what_cannot_be_computed_is_refused_in_planning() {
    let cases = [
        (
            "INSERT INTO print SELECT auction, 1 FROM (SELECT auction, MIN(item) AS m FROM bid GROUP BY auction) WHERE m IS NULL",
            "MIN of ROW<`name` STRING, `size` INT> is not supported",
        ),
        (
            "INSERT INTO print SELECT auction, price + day FROM bid",
            "41: + of BIGINT and STRING is not possible: cast one of them",
        ),
        ("INSERT INTO print SELECT auction, LPAD(price, 3, 'x') FROM bid", "35: LPAD takes STRING there, not BIGINT"),
        (
            "INSERT INTO print SELECT auction, price FROM bid WHERE day LIKE item.name",
            "LIKE with a pattern that is not a constant",
        ),
        (
            "INSERT INTO print SELECT auction, price FROM bid WHERE REGEXP(day, '(?=a)')",
            "the pattern '(?=a)' is not supported",
        ),
        (
            "INSERT INTO print SELECT auction, CAST(ts AS BIGINT) FROM bid",
            "35: CAST of TIMESTAMP(3) AS BIGINT is not possible",
        ),
        ("INSERT INTO print SELECT auction, CAST(price AS INTT) FROM bid", "no type `INTT`; did you mean `INT`?"),
        ("INSERT INTO print SELECT auction, date_part('year', ts) FROM bid", "35: no function `date_part`"),
        (
            "INSERT INTO print SELECT auction, price FROM bid WHERE ts > TIMESTAMP '2024-13-01 00:00:00'",
            "71: '2024-13-01 00:00:00' is no TIMESTAMP",
        ),
    ];
    for (statement, expected) in cases {
        let found = refused(statement);
        assert!(found.contains(expected), "{statement}\n  found    {found}\n  expected {expected}");
    }
}

#[test]
fn the_types_of_row_numbers_and_unions_are_flinks() {
    let ranked = "FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price) AS n FROM bid) WHERE n <= 3";
    let sink = plan(&format!("INSERT INTO print SELECT auction, n - 3 {ranked}"));
    assert!(!nodes(&sink[0]).iter().any(|n| n.schema.fields().iter().any(|f| f.data_type().is_unsigned_integer())));
    let union = plan(
        "INSERT INTO print SELECT auction, price FROM bid UNION ALL SELECT CAST(id AS INT), CAST(NULL AS SMALLINT) FROM other",
    );
    assert!(union.iter().any(|n| matches!(n.spec, OperatorSpec::Union)));
    for node in union.iter().filter(|n| matches!(n.spec, OperatorSpec::Union)) {
        assert!(
            node.inputs.iter().all(|i| i.arrow_schema().fields().iter().all(|f| *f.data_type() == DataType::Int64))
        );
    }
    let error =
        run(&format!("{TABLES}INSERT INTO print SELECT auction, price FROM bid UNION ALL SELECT id, name FROM other"));
    assert!(error.expect_err("no common type").contains("UNION of BIGINT and STRING has no common type"));
}

#[test]
fn what_only_looks_right_is_refused() {
    let cases = [
        ("INSERT INTO print SELECT auction, \"price\" FROM bid", "texts stand in single quotes, names in backticks"),
        (
            "INSERT INTO print SELECT auction, CASE WHEN price THEN 1 ELSE 2 END FROM bid",
            "WHEN takes a BOOLEAN, not BIGINT",
        ),
        (
            "INSERT INTO print SELECT auction, COUNT(*) FILTER (WHERE day) FROM bid GROUP BY auction",
            "FILTER takes a BOOLEAN, not STRING",
        ),
        (
            "INSERT INTO print SELECT auction, price FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '100' DAY))",
            "HOP: every row would lie in 8640000 windows; at most 100000 are possible",
        ),
    ];
    for (statement, message) in cases {
        let error = run(&format!("{TABLES}{statement}")).expect_err(statement);
        assert!(error.contains(message), "{statement}\n  {error}");
    }
}

#[test]
fn a_sinks_not_null_column_is_not_null_in_the_plan() {
    let script = format!(
        "{TABLES}CREATE TABLE strict (a BIGINT NOT NULL, b BIGINT) WITH ('connector' = 'print');
         INSERT INTO strict SELECT auction, price FROM bid"
    );
    let filter = |mode: &str| {
        let program = run(&format!("{mode}{script}")).expect("valid");
        let fields = program.sinks[0].inputs[0].arrow_schema();
        assert!(!fields.field(0).is_nullable() && fields.field(1).is_nullable(), "{fields:?}");
        match &program.sinks[0].inputs[0].spec {
            OperatorSpec::Calc(calc) => calc.predicate.as_ref().map(ToString::to_string),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(filter(""), None, "such a row fails the job");
    assert_eq!(filter("SET 'table.exec.sink.not-null-enforcer' = 'ERROR';"), None);
    let dropping = filter("SET 'table.exec.sink.not-null-enforcer' = 'DROP';").expect("a filter");
    assert!(dropping.ends_with("IS NOT NULL") && !dropping.contains("AND"), "{dropping}");
}

#[test]
fn settings_count_more_under_their_own_names() {
    let mode = |sets: &[(&str, &str)]| {
        let sets: String = sets.iter().map(|(key, value)| format!("SET '{key}' = '{value}';")).collect();
        let program = run(&format!("{TABLES}{sets}INSERT INTO files SELECT auction, price FROM bid")).expect("sound");
        program.settings.get("table.exec.sink.not-null-enforcer").cloned()
    };
    let (own, older) = ("table.exec.sink.not-null-enforcer", "table.exec.sink.enforcer");
    assert_eq!(mode(&[(older, "drop")]).as_deref(), Some("drop"));
    assert_eq!(mode(&[(older, "error"), (older, "drop")]).as_deref(), Some("drop"));
    assert_eq!(mode(&[(own, "drop"), (older, "error")]).as_deref(), Some("drop"));
    assert_eq!(mode(&[(older, "error"), (own, "drop")]).as_deref(), Some("drop"));
}

#[test]
fn options_are_taken_under_their_older_names() {
    let table = |options: &str| {
        format!(
            "CREATE TABLE t (a BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'upsert-log', 'key.format' = 'json',
               'value.format' = 'json', {options});"
        )
    };
    let options = |options: &str| -> Result<Option<String>, String> {
        let insert = "INSERT INTO t SELECT auction FROM bid";
        let program: Program = run(&format!("{TABLES}{}{insert}", table(options)))?;
        match &program.sinks[0].spec {
            OperatorSpec::Sink(sink) => Ok(sink.table.option("value.json.strict").map(str::to_owned)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(options("'value.json.severe' = 'true'"), Ok(Some("true".to_owned())));
    assert_eq!(options("'value.json.severe' = 'true', 'value.json.strict' = 'false'"), Ok(Some("false".to_owned())));
    let error = options("'value.json.severe' = 'very'").expect_err("no boolean");
    assert!(error.contains("option 'value.json.strict' = 'very'"), "{error}");
}

const LOGS: &str = "CREATE TABLE changes (id BIGINT, name STRING, ts TIMESTAMP(3), PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'log', 'format' = 'debezium-json', 'properties.a.b' = 'c');
CREATE TABLE latest (id BIGINT NOT NULL, name STRING NOT NULL, day AS LOWER(name), PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'upsert-log', 'key.format' = 'json', 'value.format' = 'json', 'value.json.strict' = 'true');
CREATE TABLE plain (id BIGINT, name STRING) WITH ('connector' = 'log', 'value.format' = 'json');
CREATE TABLE names (n BIGINT) WITH ('connector' = 'print');
";

fn log_plan(statement: &str) -> Vec<Arc<Node>> {
    let program = run(&format!("{LOGS}{statement}")).expect(statement);
    nodes(&program.sinks[0])
}

#[test]
fn tables_of_changes_give_and_take_them() {
    let plan = log_plan("INSERT INTO changes SELECT id, name, ts FROM changes");
    assert_eq!(kinds(&plan), ["sink", "scan"]);
    assert_eq!(plan[1].properties.changelog, ChangelogMode::Retract);
    assert_eq!(plan[1].properties.upsert_keys, [[0]]);
    assert!(!plan[1].schema.field(0).is_nullable() && plan[1].schema.field(1).is_nullable(), "a key takes no NULL");
    let plan = log_plan("INSERT INTO latest SELECT id, MAX(name) FROM changes GROUP BY id");
    assert!(kinds(&plan).contains(&"group"), "{:?}", kinds(&plan));
    let script = |statement: &str| run(&format!("{LOGS}{statement}")).expect_err(statement);
    let error = script("INSERT INTO plain SELECT id, name FROM changes");
    assert!(error.contains("takes only new rows") && error.contains("table changes gives updates"), "{error}");
}

/// The kinds of a plan's nodes from the sink down to the first that neither calculates nor materializes; no calculations.
fn upper_kinds(plan: &[Arc<Node>]) -> Vec<&'static str> {
    let kinds = kinds(plan);
    let end = kinds.iter().position(|k| !["sink", "calc", "materialize"].contains(k)).map_or(kinds.len(), |at| at + 1);
    kinds[..end].iter().filter(|k| **k != "calc").copied().collect()
}

#[test]
fn rows_told_apart_by_other_columns_than_the_sinks_key_are_materialized() {
    const TWO: &str = "CREATE TABLE orders (id BIGINT, customer BIGINT, PRIMARY KEY (id) NOT ENFORCED)
          WITH ('connector' = 'log', 'format' = 'debezium-json');
        CREATE TABLE customers (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
          WITH ('connector' = 'log', 'format' = 'debezium-json');
        CREATE TABLE pairs (a BIGINT, b BIGINT, name STRING, PRIMARY KEY (a, b) NOT ENFORCED)
          WITH ('connector' = 'upsert-log', 'key.format' = 'json', 'value.format' = 'json');";
    let upper = |statement: &str| {
        let program = run(&format!("{LOGS}{TWO}{statement}")).expect(statement);
        upper_kinds(&nodes(&program.sinks[0]))
    };
    for (select, is_materialized) in [
        // Their key is the grouping's, not the table's.
        ("INSERT INTO latest SELECT COUNT(*), name FROM changes GROUP BY name", true),
        ("INSERT INTO latest SELECT id, MAX(name) FROM changes GROUP BY id", false),
        // An order's row moves with its customer.
        ("INSERT INTO latest SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer = c.id", true),
        ("INSERT INTO pairs SELECT o.id, c.id, c.name FROM orders o JOIN customers c ON o.customer = c.id", true),
        ("INSERT INTO latest SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id", true),
        // Each has at most one partner, and stays with it.
        ("INSERT INTO latest SELECT o.id, c.name FROM orders o JOIN customers c ON o.id = c.id", false),
        ("INSERT INTO latest SELECT c.id, c.name FROM orders o JOIN customers c ON o.id = c.id", false),
        ("INSERT INTO latest SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.id = c.id", false),
        ("INSERT INTO latest SELECT c.id, c.name FROM orders o LEFT JOIN customers c ON o.id = c.id", true),
        ("INSERT INTO pairs SELECT o.id, c.id, c.name FROM orders o JOIN customers c ON o.id = c.id", false),
    ] {
        let expected: &[&str] = if is_materialized { &["sink", "materialize"] } else { &["sink"] };
        let found = upper(select);
        assert_eq!(&found[..found.len() - 1], expected, "{select}");
    }
    let select = "INSERT INTO latest SELECT COUNT(*), name FROM changes GROUP BY name";
    let of = |mode: &str| upper(&format!("SET 'table.exec.sink.upsert-materialize' = '{mode}'; {select}"));
    assert_eq!((of("NONE"), of("AUTO")), (vec!["sink", "group"], vec!["sink", "materialize", "group"]));
    let plain = "INSERT INTO latest SELECT id, name FROM plain";
    assert_eq!(upper(plain), ["sink", "scan"]);
    let forced = upper(&format!("SET 'table.exec.sink.upsert-materialize' = 'FORCE'; {plain}"));
    assert_eq!(forced, ["sink", "materialize", "scan"]);
    assert_eq!(upper(&format!("{select} ON CONFLICT DO DEDUPLICATE")), ["sink", "materialize", "group"]);
}

#[test]
fn a_batch_job_gives_final_rows_to_any_table() {
    let compiled = |mode: &str, select: &str| {
        run(&format!("{LOGS}SET 'execution.runtime-mode' = '{mode}'; INSERT INTO plain {select}")).map(|_| ())
    };
    let select = "SELECT COUNT(*), name FROM plain GROUP BY name";
    assert!(compiled("streaming", select).expect_err("updates").contains("its GROUP BY is not over a window"));
    for select in [
        select,
        "SELECT COUNT(*), name FROM changes GROUP BY name",
        "SELECT id, name FROM latest WHERE id > 3",
        "SELECT a.id, b.name FROM plain a LEFT JOIN latest b ON a.id = b.id",
    ] {
        compiled("batch", select).expect(select);
    }
    for select in ["SELECT id, name FROM changes", "SELECT a.id, b.name FROM plain a JOIN changes b ON a.id = b.id"] {
        assert!(compiled("batch", select).expect_err(select).contains("table changes gives updates"), "{select}");
    }
}

#[test]
fn other_ways_to_settle_conflicts_are_refused() {
    let refused = |statement: &str| run(&format!("{LOGS}{statement}")).expect_err(statement);
    let error = refused("INSERT INTO latest SELECT id, name FROM plain ON CONFLICT DO NOTHING");
    assert!(error.contains("ON CONFLICT DO NOTHING") && error.contains("is not supported"), "{error}");
    let error = refused("INSERT INTO names SELECT id FROM plain ON CONFLICT DO DEDUPLICATE");
    assert!(error.contains("needs a table whose rows replace one another"), "{error}");
    let error = refused("INSERT INTO latest SELECT id, name FROM plain ON CONFLICT DO SOMETHING");
    assert!(error.contains("expected DEDUPLICATE, found SOMETHING"), "{error}");
}

#[test]
fn rows_that_replace_one_another_become_a_changelog() {
    let plan = log_plan("INSERT INTO latest SELECT id, name FROM latest");
    assert_eq!(kinds(&plan), ["sink", "normalize", "scan"]);
    assert_eq!(plan[1].properties.upsert_keys, [[0]]);
    assert_eq!(plan[1].properties.state, StateBound::Keys);
    assert!(!plan[1].schema.field(1).is_nullable() && plan[2].schema.field(1).is_nullable());
    // The key is read although the query does not use it, and the filter is not pushed beneath the operator.
    let plan = log_plan("INSERT INTO names SELECT CHAR_LENGTH(day) FROM latest WHERE name LIKE 'a%'");
    assert_eq!(kinds(&plan), ["sink", "calc", "normalize", "scan"]);
    let OperatorSpec::ChangelogNormalize(spec) = &plan[2].spec else { panic!("{:?}", plan[2]) };
    assert_eq!(plan[3].schema.field(spec.key[0]).name(), "id");
    let OperatorSpec::Scan(scan) = &plan[3].spec else { panic!("{:?}", plan[3]) };
    assert!(scan.filter_hint.is_none());
}

#[test]
fn formats_of_keys_and_values_are_checked() {
    let refused = |columns: &str, options: &str| {
        let script = format!("CREATE TABLE t ({columns}) WITH ({options})");
        run(&script).expect_err(&script)
    };
    for (columns, options, expected) in [
        ("a INT", "'connector' = 'log'", "needs a 'format' or a 'value.format' option"),
        ("a INT", "'connector' = 'log', 'format' = 'json', 'value.format' = 'json'", "set only one of the two"),
        ("a INT", "'connector' = 'files', 'path' = 'p', 'value.format' = 'json'", "needs a 'format' option"),
        ("a INT", "'connector' = 'log', 'value.format' = 'json', 'json.strict' = 'true'", "no option `json.strict`"),
        (
            "a INT",
            "'connector' = 'log', 'value.format' = 'json', 'value.json.strict' = '1'",
            "'value.json.strict' = '1'",
        ),
        ("a INT", "'connector' = 'log', 'format' = 'json', 'key.format' = 'debezium-json'", "a key has no changes"),
        ("a INT", "'connector' = 'log', 'format' = 'json', 'properties.' = ''", "no option `properties.`"),
        ("a INT", "'connector' = 'upsert-log', 'format' = 'json', 'key.format' = 'json'", "needs a PRIMARY KEY"),
        (
            "a INT, PRIMARY KEY (a) NOT ENFORCED",
            "'connector' = 'upsert-log', 'format' = 'json'",
            "needs a 'key.format'",
        ),
        (
            "a INT, PRIMARY KEY (a) NOT ENFORCED",
            "'connector' = 'upsert-log', 'value.format' = 'debezium-json', 'key.format' = 'json'",
            "cannot use format 'debezium-json'",
        ),
    ] {
        let error = refused(columns, options);
        assert!(error.contains(expected), "{options}: {error}");
    }
}

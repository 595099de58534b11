//! Options of tables: what they say of watermarks, and those that belong to something else.

use super::{nodes, refused, run};
use crate::Program;
use std::time::Duration;
use streamfleet_logical::{OperatorSpec, WatermarkStrategy};

/// A script that reads a table with these further options.
fn declared(options: &str, watermark: &str) -> Result<Program, String> {
    run(&format!(
        "CREATE TABLE t (a BIGINT, b BIGINT, ts TIMESTAMP(3){watermark}) WITH ('connector' = 'log', 'format' = 'json'{options});
         CREATE TABLE print (a BIGINT, b BIGINT) WITH ('connector' = 'print');
         INSERT INTO print SELECT a, b FROM t;"
    ))
}

const WATERMARK: &str = ", WATERMARK FOR ts AS ts";

fn strategy(options: &str) -> WatermarkStrategy {
    let program = declared(options, WATERMARK).expect("sound");
    assert!(program.warnings.is_empty(), "{:?}", program.warnings);
    let scan = nodes(&program.sinks[0]).into_iter().find_map(|n| match &n.spec {
        OperatorSpec::Scan(scan) => scan.table.watermark.clone(),
        _ => None,
    });
    scan.expect("the table has a watermark")
}

#[test]
fn a_table_may_have_its_own_time_until_it_is_idle() {
    let timeout = |options: &str| strategy(options).idle_timeout;
    assert_eq!(timeout(""), None);
    assert_eq!(timeout(", 'scan.watermark.idle-timeout' = '1min'"), Some(Duration::from_secs(60)));
    assert_eq!(timeout(", 'scan.watermark.idle-timeout' = '0'"), Some(Duration::ZERO), "never, whatever the job says");
    for strategy in ["on-event", "on-periodic"] {
        assert_eq!(timeout(&format!(", 'scan.watermark.emit.strategy' = '{strategy}'")), None);
    }
    for (options, message) in [
        (
            "'scan.watermark.idle-timeout' = 'long'",
            "option 'scan.watermark.idle-timeout' = 'long': `long` is no duration",
        ),
        (
            "'scan.watermark.emit.strategy' = 'on-row'",
            "option 'scan.watermark.emit.strategy' = 'on-row': it is one of on-event, on-periodic",
        ),
        ("'scan.watermark.emit.on-event.gap' = '1'", "no option `scan.watermark.emit.on-event.gap` of connector 'log'"),
    ] {
        let error = declared(&format!(", {options}"), WATERMARK).expect_err(options);
        assert!(error.starts_with("line 1, column ") && error.contains(message), "{error}");
    }
    for (option, value) in [("idle-timeout", "1 s"), ("emit.strategy", "on-event")] {
        let program = declared(&format!(", 'scan.watermark.{option}' = '{value}'"), "").expect("sound");
        let warning = format!("table t: 'scan.watermark.{option}' has no effect: the table has no WATERMARK");
        assert_eq!(program.warnings.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), [warning]);
    }
}

#[test]
fn an_option_of_something_else_is_refused_with_what_it_belongs_to() {
    let of_json = "it belongs to format 'json'";
    let cases = [
        ("'log', 'format' = 'csv'", "json.strict", format!("{of_json}, and the table has 'format' = 'csv'")),
        ("'log', 'format' = 'csv'", "json.severe", format!("{of_json}, and the table has 'format' = 'csv'")),
        (
            "'log', 'value.format' = 'json'",
            "json.strict",
            "with 'value.format' it is called `value.json.strict`".to_owned(),
        ),
        ("'log', 'format' = 'json'", "value.json.strict", "with 'format' it is called `json.strict`".to_owned()),
        (
            "'log', 'format' = 'json'",
            "key.json.strict",
            format!("{of_json} of a key, and the table has no 'key.format'"),
        ),
        (
            "'log', 'format' = 'json', 'key.format' = 'csv'",
            "key.json.strict",
            format!("{of_json}, and the table has 'format' = 'json' and 'key.format' = 'csv'"),
        ),
        ("'print'", "json.strict", format!("{of_json}, and the connector takes no format")),
        ("'log', 'format' = 'json'", "every", "it belongs to connector 'print'".to_owned()),
        ("'print'", "properties.bootstrap.servers", "it belongs to connector 'log'".to_owned()),
        (
            "'hole'",
            "scan.watermark.idle-timeout",
            "it is for tables that are read, and those of 'hole' are only written".to_owned(),
        ),
    ];
    for (connector, option, expected) in cases {
        let statement = format!("CREATE TABLE t (a INT) WITH ('connector' = {connector}, '{option}' = '1')");
        let place = statement.find(&format!("'{option}'")).expect("it is there") + 1;
        let name = connector.split('\'').nth(1).expect("a name");
        let expected = format!("{place}: no option `{option}` of connector '{name}': {expected}");
        let found = refused(&statement);
        assert!(found.starts_with(&expected), "{statement}\n  found    {found}\n  expected {expected}");
    }
    let of_nothing = refused("CREATE TABLE t (a INT) WITH ('connector' = 'print', 'nonsense' = '1')");
    assert_eq!(of_nothing, "53: no option `nonsense` of connector 'print'");
}

#[test]
fn watermark_alignment_is_read_from_a_tables_options() {
    const GROUP: &str = ", 'scan.watermark.alignment.group' = 'g'";
    const DRIFT: &str = ", 'scan.watermark.alignment.max-drift' = '1 min'";
    let alignment = |options: &str| {
        let found = strategy(options).alignment;
        found.map(|a| (a.group.to_string(), a.max_drift, a.update_interval.as_millis()))
    };
    assert_eq!(alignment(""), None);
    assert_eq!(alignment(&format!("{GROUP}{DRIFT}")), Some(("g".to_owned(), 60_000, 1_000)));
    let often = ", 'scan.watermark.alignment.update-interval' = '200 ms'";
    assert_eq!(alignment(&format!("{GROUP}{DRIFT}{often}")), Some(("g".to_owned(), 60_000, 200)));
    for (options, message) in [
        (GROUP, "table t: 'scan.watermark.alignment.group' needs 'scan.watermark.alignment.max-drift' too".to_owned()),
        (DRIFT, "table t: 'scan.watermark.alignment.max-drift' needs 'scan.watermark.alignment.group' too".to_owned()),
        (often, "needs 'scan.watermark.alignment.group' and 'scan.watermark.alignment.max-drift' too".to_owned()),
        (
            format!("{DRIFT}, 'scan.watermark.alignment.group' = ' '").as_str(),
            "table t: option 'scan.watermark.alignment.group' = ' ': a name is needed".to_owned(),
        ),
        (
            format!("{GROUP}{DRIFT}, 'scan.watermark.alignment.update-interval' = '0 s'").as_str(),
            "table t: option 'scan.watermark.alignment.update-interval': it must be longer than zero".to_owned(),
        ),
        (
            format!("{GROUP}, 'scan.watermark.alignment.max-drift' = 'much'").as_str(),
            "option 'scan.watermark.alignment.max-drift' = 'much': `much` is no duration".to_owned(),
        ),
    ] {
        let error = declared(options, WATERMARK).expect_err(options);
        assert!(error.starts_with("line 1, column ") && error.contains(&message), "{error}");
    }
    let program = declared(&format!("{GROUP}{DRIFT}"), "").expect("sound");
    let warning = "table t: 'scan.watermark.alignment.group' has no effect: the table has no WATERMARK";
    assert_eq!(program.warnings.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), [warning]);
}

//! What `docs/sql.md` says of functions and casts is what there is.

use super::Functions;
use super::cast::is_possible;
use crate::sql_type::SqlType;
use std::collections::{BTreeMap, BTreeSet};

const DOCS: &str = include_str!("../../../../docs/sql.md");

/// The rows of the table under a heading: for each cell, the words in backticks.
fn rows(heading: &str) -> Vec<Vec<Vec<String>>> {
    let section = DOCS.split("\n## ").find(|s| s.starts_with(heading)).expect("the heading");
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let table = section.lines().filter(|l| l.starts_with("| ") && l.contains('`'));
    table.map(|l| l.trim_matches('|').split(" | ").map(words).collect()).collect()
}

#[test]
fn every_function_is_documented() {
    let documented: BTreeSet<String> =
        rows("Functions").into_iter().flatten().flatten().map(|name| name.to_lowercase()).collect();
    let functions = Functions::new();
    let known: BTreeSet<String> = functions.names().map(str::to_owned).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_cast_is_documented() {
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows("Casts") {
        for from in &row[0] {
            documented.entry(from.clone()).or_default().extend(row[1].iter().cloned());
        }
    }
    let data_type = |name: &str| SqlType::parse(name).expect(name).data_type;
    for (from, to) in &documented {
        for other in documented.keys() {
            let is_documented = to.contains(other) || from == other;
            assert_eq!(is_possible(&data_type(from), &data_type(other)), is_documented, "{from} to {other}");
        }
    }
}

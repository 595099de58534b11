//! Crates import each other only as the table in `docs/architecture.md` says.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest file of product code, in lines; a longer one holds more than one concept.
const MAX_LINES: usize = 800;
/// What every crate may import.
const COMMON: [&str; 2] = ["types", "telemetry"];
/// The only crates that may import DataFusion.
const DATAFUSION: [&str; 4] = ["sql", "logical", "plan", "dataflow"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Crate to crates it may import, from the table.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let section = text.split("## Who may import whom").nth(1).unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| crate"))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next().unwrap().to_owned();
            let imports = cells.next().unwrap().split(", ").filter(|i| *i != "-").map(str::to_owned).collect();
            (name, imports)
        })
        .collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("streamfleet-").unwrap_or(name).to_owned()
}

/// The workspace's packages as Cargo describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What a crate imports in product code; a test may use more.
fn imports(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().unwrap();
    let product = dependencies.iter().filter(|d| d["kind"].is_null());
    product.map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in packages() {
        let name = short(package["name"].as_str().unwrap());
        let Some(edges) = allowed.get(&name) else {
            wrong.push(format!("{name} is missing in the table"));
            continue;
        };
        for import in imports(&package) {
            let ours = import.starts_with("streamfleet-");
            let import = short(&import);
            if ours && !edges.contains(&import) && !COMMON.contains(&import.as_str()) {
                wrong.push(format!("{name} imports {import}"));
            }
            if import.starts_with("datafusion") && !DATAFUSION.contains(&name.as_str()) {
                wrong.push(format!("{name} imports {import}"));
            }
        }
        seen.insert(name);
    }
    wrong.extend(allowed.keys().filter(|name| !seen.contains(*name)).map(|name| format!("{name} is no crate")));
    assert!(wrong.is_empty(), "docs/architecture.md does not allow: {wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let mut folders = vec![root().join("worker")];
    let mut long = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                if lines > MAX_LINES {
                    long.push(format!("{} has {lines} lines", path.display()));
                }
            }
        }
    }
    assert!(long.is_empty(), "more than {MAX_LINES} lines: {long:#?}");
}

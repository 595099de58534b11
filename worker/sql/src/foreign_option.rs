//! Options that a table does not take, but that it would take with another connector or format.

use crate::Catalog;
use crate::ddl::TableDeclaration;
use crate::options::matches;
use streamfleet_logical::{ConnectorDescriptor, OptionSpec, SCAN_OPTIONS};

/// The options that name a table's formats, with what stands before the options of these.
const FORMATS: [(&str, &str); 3] = [("value.format", "value."), ("format", ""), ("key.format", "key.")];

/// What an option that a table does not take belongs to, and what the table has instead; `None` if nothing takes it.
pub(crate) fn whose(
    key: &str,
    table: &TableDeclaration,
    connector: &ConnectorDescriptor,
    catalog: &Catalog,
) -> Option<String> {
    let name = connector.name;
    if let Some((prefix, own, formats)) = formats_with(key, catalog) {
        // Under 'value.format' the options of a format have other names than under 'format'.
        let is_named = |(option, _): &&(&str, &str)| {
            prefix != "key." && table.options.get(*option).is_some_and(|format| formats.contains(&format.as_str()))
        };
        if let Some((option, prefix)) = FORMATS.iter().filter(|_| connector.uses_format).find(is_named) {
            return Some(format!("with '{option}' it is called `{prefix}{own}`"));
        }
        let belongs = format!("it belongs to {}", listed("format", &formats));
        let given =
            FORMATS.iter().filter_map(|(option, _)| Some(format!("'{option}' = '{}'", table.options.get(*option)?)));
        let given = given.collect::<Vec<_>>().join(" and ");
        return Some(match connector.uses_format {
            false => format!("{belongs}, and the connector takes no format"),
            true if prefix == "key." && !table.options.contains_key("key.format") => {
                format!("{belongs} of a key, and the table has no 'key.format'")
            }
            true if given.is_empty() => format!("{belongs}, and the table has no 'format'"),
            true => format!("{belongs}, and the table has {given}"),
        });
    }
    if !connector.source && SCAN_OPTIONS.iter().any(|spec| spec.name == key) {
        return Some(format!("it is for tables that are read, and those of '{name}' are only written"));
    }
    let others = catalog.connectors.iter().filter(|other| has(&other.options, key)).map(|other| other.name);
    let others: Vec<&str> = others.collect();
    (!others.is_empty()).then(|| format!("it belongs to {}", listed("connector", &others)))
}

/// The formats that have an option, with what stands before its name.
fn formats_with<'a>(key: &'a str, catalog: &Catalog) -> Option<(&'static str, &'a str, Vec<&'static str>)> {
    FORMATS.iter().find_map(|(_, prefix)| {
        let own = key.strip_prefix(prefix)?;
        let formats = catalog.formats.iter().filter(|format| has(&format.options, own)).map(|format| format.name);
        let formats: Vec<&str> = formats.collect();
        (!formats.is_empty()).then_some((*prefix, own, formats))
    })
}

fn has(options: &[OptionSpec], key: &str) -> bool {
    options.iter().any(|spec| matches("", spec.name, key) || (!spec.older.is_empty() && spec.older == key))
}

/// `format 'json'`, `formats 'json' and 'csv'`.
fn listed(what: &str, names: &[&str]) -> String {
    let plural = if names.len() > 1 { "s" } else { "" };
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("{what}{plural} {}", names.join(" and "))
}

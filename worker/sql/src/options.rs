//! The `WITH` options of a table against what its connector and format take, and settings against what a job takes.

use crate::Catalog;
use crate::ddl::TableDeclaration;
use crate::error::{SqlError, SqlErrorKind};
use crate::foreign_option;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use streamfleet_logical::{
    ConnectorDescriptor, FormatDescriptor, IDLE_TIMEOUT, OptionKind, OptionSpec, SCAN_OPTIONS, SettingSpec,
    WatermarkAlignment,
};
use streamfleet_types::Millis;

/// What a table's options name.
pub(crate) struct Known<'a> {
    pub connector: &'a ConnectorDescriptor,
    /// The format of its values.
    pub format: Option<&'a FormatDescriptor>,
}

/// Options that may be set: each with what stands before its name.
type Settable<'a> = Vec<(&'static str, &'a OptionSpec)>;

/// Checks every option; those under older names have their own then.
pub(crate) fn check<'a>(table: &mut TableDeclaration, catalog: &'a Catalog) -> Result<Known<'a>, SqlError> {
    let position_of = |key: &str| table.option_positions.get(key).copied().unwrap_or(table.position);
    let Some(name) = table.options.get("connector") else {
        let text = format!("table {} has no 'connector' option", table.name);
        return Err(SqlErrorKind::Option(text).at(table.position));
    };
    let names = catalog.connectors.iter().map(|c| c.name);
    let connector = catalog.connectors.iter().find(|c| c.name == name);
    let connector =
        connector.ok_or_else(|| SqlErrorKind::unknown("connector", name, "", names).at(position_of("connector")))?;
    let name = connector.name;
    let of_reading = if connector.source { SCAN_OPTIONS } else { &[] };
    let mut known: Settable<'a> = connector.options.iter().chain(of_reading).map(|spec| ("", spec)).collect();
    let mut named = vec!["connector"];
    let format = formats(table, catalog, connector, &mut known, &mut named)?;
    take_older(table, &known);
    let position_of = |key: &str| table.option_positions.get(key).copied().unwrap_or(table.position);
    for (key, value) in &table.options {
        if named.contains(&key.as_str()) {
            continue;
        }
        let Some((_, spec)) = known.iter().find(|(prefix, spec)| matches(prefix, spec.name, key)) else {
            let place = match foreign_option::whose(key, table, connector, catalog) {
                Some(whose) => format!(" of connector '{name}': {whose}"),
                None => format!(" of connector '{name}'"),
            };
            let names: Vec<String> = known.iter().map(|(prefix, s)| format!("{prefix}{}", s.name)).collect();
            let names = names.iter().map(String::as_str);
            return Err(SqlErrorKind::unknown("option", key, &place, names).at(position_of(key)));
        };
        if let Err(why) = check_value(&spec.kind, value) {
            let text = format!("option '{key}' = '{value}': {why}");
            return Err(SqlErrorKind::Option(text).at(position_of(key)));
        }
    }
    let is_missing = |(prefix, spec): &&(&str, &OptionSpec)| {
        spec.required && !table.options.keys().any(|key| matches(prefix, spec.name, key))
    };
    match known.iter().find(is_missing) {
        Some((prefix, missing)) => {
            let text = format!("table {}: connector '{name}' needs the option '{prefix}{}'", table.name, missing.name);
            Err(SqlErrorKind::Option(text).at(table.position))
        }
        None => Ok(Known { connector, format }),
    }
}

/// Gives options under older names their own: what is set under that counts more, as in Flink.
fn take_older(table: &mut TableDeclaration, known: &Settable<'_>) {
    for (prefix, spec) in known.iter().filter(|(_, spec)| !spec.older.is_empty()) {
        let (older, name) = (format!("{prefix}{}", spec.older), format!("{prefix}{}", spec.name));
        if let Some(value) = table.options.remove(&older) {
            let position = table.option_positions.remove(&older);
            if let Entry::Vacant(vacant) = table.options.entry(name.clone()) {
                vacant.insert(value);
                table.option_positions.extend(position.map(|position| (name, position)));
            }
        }
    }
}

/// The formats that a table names: their options go to `known`, the options that name them to `named`. Gives the values'.
fn formats<'a>(
    table: &TableDeclaration,
    catalog: &'a Catalog,
    connector: &ConnectorDescriptor,
    known: &mut Settable<'a>,
    named: &mut Vec<&'static str>,
) -> Result<Option<&'a FormatDescriptor>, SqlError> {
    if !connector.uses_format {
        return Ok(None);
    }
    let position_of = |key: &str| table.option_positions.get(key).copied().unwrap_or(table.position);
    let refused = |key: &str, text: String| Err(SqlErrorKind::Option(text).at(position_of(key)));
    let mut find = |key: &'static str, prefix: &'static str| {
        let Some(name) = table.options.get(key) else { return Ok(None) };
        let formats = catalog.formats.iter().map(|f| f.name);
        let Some(format) = catalog.formats.iter().find(|f| f.name == name) else {
            return Err(SqlErrorKind::unknown("format", name, "", formats).at(position_of(key)));
        };
        named.push(key);
        known.extend(format.options.iter().map(|spec| (prefix, spec)));
        Ok(Some(format))
    };
    let plain = find("format", "")?;
    let (key, value) = match connector.key_format {
        true => (find("key.format", "key.")?, find("value.format", "value.")?),
        false => (None, None),
    };
    let name = connector.name;
    if plain.is_some() && value.is_some() {
        let text = format!("table {}: 'format' and 'value.format' say the same: set only one of the two", table.name);
        return refused("value.format", text);
    }
    let Some(format) = plain.or(value) else {
        let which = if connector.key_format { "a 'format' or a 'value.format'" } else { "a 'format'" };
        return refused("connector", format!("table {}: connector '{name}' needs {which} option", table.name));
    };
    if let Some(key) = key.filter(|key| key.changes) {
        let text = format!("table {}: 'key.format' = '{}': a key has no changes of its own", table.name, key.name);
        return refused("key.format", text);
    }
    if connector.upsert && key.is_none() {
        return refused("connector", format!("table {}: connector '{name}' needs a 'key.format' option", table.name));
    }
    if connector.upsert && format.changes {
        let text = format!(
            "table {}: connector '{name}' cannot use format '{}': by the key alone a record says what became of its row",
            table.name, format.name
        );
        return refused(if plain.is_some() { "format" } else { "value.format" }, text);
    }
    Ok(Some(format))
}

/// How a table keeps pace with others, if its options say so. They were checked by themselves.
pub(crate) fn watermark_alignment(table: &TableDeclaration) -> Result<Option<WatermarkAlignment>, SqlError> {
    const GROUP: &str = WatermarkAlignment::GROUP;
    const MAX_DRIFT: &str = WatermarkAlignment::MAX_DRIFT;
    const UPDATE_INTERVAL: &str = WatermarkAlignment::UPDATE_INTERVAL;
    let refused = |key: &str, text: String| refused(table, key, &text);
    let (max_drift, update_interval) = (span(table, MAX_DRIFT)?, span(table, UPDATE_INTERVAL)?);
    let group = table.options.get(GROUP);
    let (group, max_drift) = match (group, max_drift) {
        (Some(group), Some(max_drift)) => (group, max_drift),
        (None, None) if update_interval.is_none() => return Ok(None),
        (group, max_drift) => {
            let present = match (group, max_drift) {
                (Some(_), _) => GROUP,
                (None, Some(_)) => MAX_DRIFT,
                (None, None) => UPDATE_INTERVAL,
            };
            let missing = match (group, max_drift) {
                (Some(_), _) => format!("'{MAX_DRIFT}'"),
                (None, Some(_)) => format!("'{GROUP}'"),
                (None, None) => format!("'{GROUP}' and '{MAX_DRIFT}'"),
            };
            let text = format!("'{present}' needs {missing} too");
            return Err(refused(present, text));
        }
    };
    if group.trim().is_empty() {
        return Err(refused(GROUP, format!("option '{GROUP}' = '{group}': a name is needed")));
    }
    if update_interval.is_some_and(|interval| interval.is_zero()) {
        return Err(refused(UPDATE_INTERVAL, format!("option '{UPDATE_INTERVAL}': it must be longer than zero")));
    }
    Ok(Some(WatermarkAlignment {
        group: group.as_str().into(),
        max_drift: Millis::try_from(max_drift.as_millis()).unwrap_or(Millis::MAX),
        update_interval: update_interval.unwrap_or(WatermarkAlignment::DEFAULT_UPDATE_INTERVAL),
    }))
}

/// When a table that gives no row is idle, if its options say so.
pub(crate) fn idle_timeout(table: &TableDeclaration) -> Result<Option<Duration>, SqlError> {
    span(table, IDLE_TIMEOUT)
}

fn refused(table: &TableDeclaration, key: &str, text: &str) -> SqlError {
    let position = table.option_positions.get(key).copied().unwrap_or(table.position);
    SqlErrorKind::Option(format!("table {}: {text}", table.name)).at(position)
}

fn span(table: &TableDeclaration, key: &str) -> Result<Option<Duration>, SqlError> {
    let text = table.options.get(key).map(String::as_str);
    let parsed = text.map(streamfleet_manifest::parse_duration).transpose();
    parsed.map_err(|why| refused(table, key, &format!("option '{key}': {why}")))
}

/// Settings under their own names: one under an older name gives way to that under its own, as in Flink.
pub fn under_own_names(known: &[SettingSpec], values: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_own = |key: &String| setting_of(known, key).is_none_or(|spec| spec.option.name == key);
    let (mut own, older): (BTreeMap<_, _>, BTreeMap<_, _>) = values.into_iter().partition(|(key, _)| is_own(key));
    for (key, value) in older {
        let name = setting_of(known, &key).map_or(key, |spec| spec.option.name.to_owned());
        own.entry(name).or_insert(value);
    }
    own
}

/// The setting that a key names, by its own name or by an older one.
pub(crate) fn setting_of<'a>(known: &'a [SettingSpec], key: &str) -> Option<&'a SettingSpec> {
    known.iter().find(|spec| spec.option.name == key || (!spec.option.older.is_empty() && spec.option.older == key))
}

/// Checks a setting; gives what the user should know of it, if anything.
///
/// # Errors
/// No job has such a setting, or its value is not usable.
pub fn check_setting(known: &[SettingSpec], key: &str, value: &str) -> Result<Option<String>, SqlErrorKind> {
    let Some(spec) = setting_of(known, key) else {
        let older = known.iter().map(|spec| spec.option.older).filter(|older| !older.is_empty());
        let names = known.iter().map(|spec| spec.option.name).chain(older);
        return Err(SqlErrorKind::unknown("option", key, " of a job", names));
    };
    let usable = match &spec.option.kind {
        kind @ OptionKind::OneOf(_) => check_value(kind, &value.to_lowercase()),
        kind => check_value(kind, value),
    };
    let usable = usable.and_then(|()| spec.check.map_or(Ok(()), |check| check(value).map_err(str::to_owned)));
    match usable {
        Err(why) => Err(SqlErrorKind::Option(format!("option '{key}' = '{value}': {why}"))),
        Ok(()) => Ok(spec.no_effect.map(|why| format!("option '{key}' has no effect here: {why}"))),
    }
}

/// True if a key is the option's, behind a prefix; a `#` in the option's name stands for a column, or for any text.
pub(crate) fn matches(prefix: &str, name: &str, key: &str) -> bool {
    let Some(key) = key.strip_prefix(prefix) else { return false };
    match name.split_once('#') {
        None => name == key,
        Some((before, after)) => {
            key.len() > before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
        }
    }
}

fn check_value(kind: &OptionKind, value: &str) -> Result<(), String> {
    match kind {
        OptionKind::Text => Ok(()),
        OptionKind::Integer => value.parse::<i64>().map(|_| ()).map_err(|_| "it takes a whole number".to_owned()),
        OptionKind::Number => value.parse::<f64>().map(|_| ()).map_err(|_| "it takes a number".to_owned()),
        OptionKind::Boolean if matches!(value.to_lowercase().as_str(), "true" | "false") => Ok(()),
        OptionKind::Boolean => Err("it is `true` or `false`".to_owned()),
        OptionKind::Duration => streamfleet_manifest::parse_duration(value).map(|_| ()).map_err(|e| e.to_string()),
        OptionKind::MemorySize => streamfleet_manifest::parse_size(value).map(|_| ()).map_err(|e| e.to_string()),
        OptionKind::OneOf(values) if values.contains(&value) => Ok(()),
        OptionKind::OneOf(values) => Err(format!("it is one of {}", values.join(", "))),
    }
}

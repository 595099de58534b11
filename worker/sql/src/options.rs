//! The `WITH` options of a table against what its connector and format take, and settings against what a job takes.

use crate::Catalog;
use crate::ddl::TableDeclaration;
use crate::error::{SqlError, SqlErrorKind};
use streamfleet_logical::{ConnectorDescriptor, OptionKind, OptionSpec, SettingSpec};

/// Checks every option.
pub(crate) fn check<'a>(table: &TableDeclaration, catalog: &'a Catalog) -> Result<&'a ConnectorDescriptor, SqlError> {
    let position_of = |key: &str| table.option_positions.get(key).copied().unwrap_or(table.position);
    let Some(name) = table.options.get("connector") else {
        let text = format!("table {} has no 'connector' option", table.name);
        return Err(SqlErrorKind::Option(text).at(table.position));
    };
    let names = catalog.connectors.iter().map(|c| c.name);
    let connector = catalog.connectors.iter().find(|c| c.name == name);
    let connector =
        connector.ok_or_else(|| SqlErrorKind::unknown("connector", name, "", names).at(position_of("connector")))?;
    let mut known: Vec<(String, &OptionSpec)> = connector.options.iter().map(|o| (o.name.to_owned(), o)).collect();
    let format_keys = format_keys(table, connector)?;
    for (format_key, prefix) in &format_keys {
        let format_name = &table.options[*format_key];
        let formats = catalog.formats.iter().map(|f| f.name);
        let format = catalog.formats.iter().find(|f| f.name == format_name);
        let format = format
            .ok_or_else(|| SqlErrorKind::unknown("format", format_name, "", formats).at(position_of(format_key)))?;
        known.extend(format.options.iter().map(|o| (format!("{prefix}{}", o.name), o)));
    }
    for (key, value) in &table.options {
        if key == "connector" || format_keys.iter().any(|(format_key, _)| key == format_key) {
            continue;
        }
        let Some((_, spec)) = known.iter().find(|(name, _)| matches(name, key)) else {
            let place = format!(" of connector '{name}'");
            let names = known.iter().map(|(name, _)| name.as_str());
            return Err(SqlErrorKind::unknown("option", key, &place, names).at(position_of(key)));
        };
        if let Err(why) = check_value(&spec.kind, value) {
            let text = format!("option '{key}' = '{value}': {why}");
            return Err(SqlErrorKind::Option(text).at(position_of(key)));
        }
    }
    let is_missing = |name: &str| !table.options.keys().any(|key| matches(name, key));
    match known.iter().find(|(name, spec)| spec.required && is_missing(name)) {
        Some((missing, _)) => {
            let text = format!("table {}: connector '{name}' needs the option '{missing}'", table.name);
            Err(SqlErrorKind::Option(text).at(table.position))
        }
        None => Ok(connector),
    }
}

/// The options that name formats, and what the options of each format begin with.
fn format_keys(
    table: &TableDeclaration,
    connector: &ConnectorDescriptor,
) -> Result<Vec<(&'static str, &'static str)>, SqlError> {
    if !connector.uses_format {
        return Ok(Vec::new());
    }
    let has = |key: &str| table.options.contains_key(key);
    let refused = |text: String| SqlErrorKind::Option(text).at(table.position);
    let mut keys = match (has("format"), connector.key_format && has("value.format")) {
        (true, true) => {
            let text =
                format!("table {}: 'format' and 'value.format' are the same option: set one of them", table.name);
            return Err(refused(text));
        }
        (true, false) => vec![("format", "")],
        (false, true) => vec![("value.format", "value.")],
        (false, false) => {
            let text = format!("table {}: connector '{}' needs a 'format' option", table.name, connector.name);
            return Err(refused(text));
        }
    };
    if connector.key_format && has("key.format") {
        keys.push(("key.format", "key."));
    }
    Ok(keys)
}

/// Checks a setting; gives what the user should know of it, if anything.
///
/// # Errors
/// No job has such a setting, or its value is not usable.
pub fn check_setting(known: &[SettingSpec], key: &str, value: &str) -> Result<Option<String>, SqlErrorKind> {
    let Some(spec) = known.iter().find(|spec| spec.option.name == key) else {
        return Err(SqlErrorKind::unknown("option", key, " of a job", known.iter().map(|s| s.option.name)));
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

/// True if a key is the option's; a `#` in the option's name stands for a column.
fn matches(name: &str, key: &str) -> bool {
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

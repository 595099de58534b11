//! The values of `WITH` options, as Flink reads them. The SQL front checks their kinds; here they are checked again,
//! since a table may also come from elsewhere, and their sense is checked by the connector.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{OptionKind, OptionSpec, TableDescriptor};
use tracing::warn;

/// The error for an option that cannot be used.
pub fn bad(table: &TableDescriptor, option: &str, detail: impl Into<String>) -> DataflowError {
    DataflowError::Option {
        table: table.name.clone(),
        option: option.to_owned(),
        value: table.option(option).unwrap_or_default().to_owned(),
        detail: detail.into(),
    }
}

/// The same for an option whose value may be a secret.
pub fn hidden(table: &TableDescriptor, option: &str, detail: &str) -> DataflowError {
    DataflowError::Option {
        table: table.name.clone(),
        option: option.to_owned(),
        value: "(hidden)".to_owned(),
        detail: detail.to_owned(),
    }
}

/// Says once in a process what is to be known of a table: its options are read anew for every subtask.
pub fn warn_once(table: &TableDescriptor, text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let text = format!("table {}: {text}", table.name);
    if SAID.lock().is_ok_and(|mut said| said.insert(text.clone())) {
        warn!("{text}");
    }
}

/// A number, or `default` if the option is absent.
pub fn number<T: FromStr>(table: &TableDescriptor, option: &str, default: T) -> Result<T, DataflowError> {
    Ok(optional_number(table, option)?.unwrap_or(default))
}

/// A number, if the option is there.
pub fn optional_number<T: FromStr>(table: &TableDescriptor, option: &str) -> Result<Option<T>, DataflowError> {
    let Some(text) = table.option(option) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(bad(table, option, format!("a number is needed that fits {}", std::any::type_name::<T>()))),
    }
}

/// `true` or `false`, in any case.
pub fn boolean(table: &TableDescriptor, option: &str, default: bool) -> Result<bool, DataflowError> {
    match table.option(option).map(str::trim) {
        None => Ok(default),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(bad(table, option, "true or false is needed")),
    }
}

/// A span such as `10 s`, `1 min` or `500 ms`; milliseconds if no unit is named.
pub fn duration(table: &TableDescriptor, option: &str) -> Result<Option<Duration>, DataflowError> {
    let Some(text) = table.option(option) else { return Ok(None) };
    let nanos = split_unit(text).and_then(|(number, unit)| number.checked_mul(nanos_of(&unit)?));
    match nanos {
        Some(nanos) => Ok(Some(Duration::from_nanos(nanos))),
        None => Err(bad(table, option, "a duration is needed, such as '10 s', '1 min' or '500 ms'")),
    }
}

/// A size such as `64 mb` or `1 kb`, in bytes; bytes if no unit is named.
pub fn memory_size(table: &TableDescriptor, option: &str) -> Result<Option<u64>, DataflowError> {
    let Some(text) = table.option(option) else { return Ok(None) };
    let bytes = split_unit(text).and_then(|(number, unit)| number.checked_mul(bytes_of(&unit)?));
    match bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(bad(table, option, "a size is needed, such as '64 mb' or '1 kb'")),
    }
}

fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim().to_ascii_lowercase()))
}

fn nanos_of(unit: &str) -> Option<u64> {
    const MILLI: u64 = 1_000_000;
    Some(match unit {
        "ns" | "nano" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millisecond" | "milliseconds" => MILLI,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000 * MILLI,
        "min" | "m" | "minute" | "minutes" => 60_000 * MILLI,
        "h" | "hour" | "hours" => 3_600_000 * MILLI,
        "d" | "day" | "days" => 86_400_000 * MILLI,
        _ => return None,
    })
}

fn bytes_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tebibytes" => 1 << 40,
        _ => return None,
    })
}

/// Describes an option that may be absent.
pub const fn option(name: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind, required: false, older: "", default, help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    #[test]
    fn durations_and_sizes_are_flinks() {
        let spans = |text: &str| duration(&table(&[], &[("d", text)]), "d").ok().flatten();
        assert_eq!(spans("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(spans("10s"), Some(Duration::from_secs(10)));
        assert_eq!(spans("500"), Some(Duration::from_millis(500)));
        assert_eq!(spans("1 MIN"), Some(Duration::from_secs(60)));
        assert_eq!(spans("2 d"), Some(Duration::from_secs(172_800)));
        for wrong in ["", "s", "-1 s", "1.5 s", "1 fortnight", "999999999999999 d"] {
            assert_eq!(spans(wrong), None, "{wrong}");
        }
        let sizes = |text: &str| memory_size(&table(&[], &[("m", text)]), "m").ok().flatten();
        assert_eq!(sizes("200b"), Some(200));
        assert_eq!(sizes("64 mb"), Some(64 << 20));
        assert_eq!(sizes("1 kibibytes"), Some(1024));
        assert_eq!(sizes("1 pb"), None);
    }

    #[test]
    fn an_absent_option_has_its_default() {
        let table = table(&[], &[("there", "true")]);
        assert!(boolean(&table, "there", false).unwrap());
        assert!(!boolean(&table, "absent", false).unwrap());
        assert_eq!(number(&table, "absent", 7).unwrap(), 7);
        assert_eq!(duration(&table, "absent").unwrap(), None);
    }

    #[test]
    fn errors_name_table_option_and_value() {
        let error = number::<i8>(&table(&[], &[("n", "200")]), "n", 0).unwrap_err().to_string();
        assert_eq!(error, "table t: option 'n' = '200': a number is needed that fits i8");
    }
}

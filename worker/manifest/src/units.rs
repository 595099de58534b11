//! Durations and sizes as people write them, in Flink's notation and in Kubernetes'.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A text that is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: write a number and a unit, such as {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

fn split(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim().to_lowercase()))
}

/// Parses `10s`, `1 min`, `500 ms`, `1 d`; a bare number is milliseconds, as in Flink.
///
/// # Errors
/// It is no duration.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let parsed = split(text).and_then(|(number, unit)| {
        let nanos: u64 = match unit.as_str() {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            _ => return None,
        };
        number.checked_mul(nanos).map(Duration::from_nanos)
    });
    parsed.ok_or_else(|| UnitError { text: text.to_owned(), what: "duration", example: "`10 s` or `1 min`" })
}

/// Parses `64 mb`, `1Gi`, `512k`; a bare number is bytes.
///
/// # Errors
/// It is no size.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let parsed = split(text).and_then(|(number, unit)| {
        let bytes: u64 = match unit.as_str() {
            "" | "b" | "bytes" => 1,
            "k" | "kb" | "ki" | "kib" | "kibibytes" => 1 << 10,
            "m" | "mb" | "mi" | "mib" | "mebibytes" => 1 << 20,
            "g" | "gb" | "gi" | "gib" | "gibibytes" => 1 << 30,
            "t" | "tb" | "ti" | "tib" | "tebibytes" => 1 << 40,
            _ => return None,
        };
        number.checked_mul(bytes)
    });
    parsed.ok_or_else(|| UnitError { text: text.to_owned(), what: "size", example: "`64 mb` or `1Gi`" })
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $parse:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// The value.
            pub value: $inner,
            text: String,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Written {
                    Number(u64),
                    Text(String),
                }
                let text = match Written::deserialize(deserializer)? {
                    Written::Number(number) => number.to_string(),
                    Written::Text(text) => text,
                };
                let value = $parse(&text).map_err(serde::de::Error::custom)?;
                Ok(Self { value, text })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
    };
}

unit!(
    /// A duration as written.
    HumanDuration(Duration),
    parse_duration
);
unit!(
    /// A size in bytes as written.
    ByteSize(u64),
    parse_size
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1 min"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration(" 250 "), Ok(Duration::from_millis(250)));
        assert_eq!(parse_size("1Gi"), Ok(1 << 30));
        assert_eq!(parse_size("64 mb"), Ok(64 << 20));
        let error = parse_duration("soon").expect_err("no number");
        assert_eq!(error.to_string(), "`soon` is no duration: write a number and a unit, such as `10 s` or `1 min`");
        assert!(parse_size("99999999999 tb").is_err());
    }
}

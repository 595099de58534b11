//! Flink's rules for values as text: what `csv` and `json` read and write, and the values in the names of partitions.

mod parse;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use parse::{boolean, bytes, date, decimal, float32, float64, integer, integral, time, timestamp_micros};
pub(crate) use write::{is_writable, scalar};

/// How points in time are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeStyle {
    /// `2020-12-30 12:13:14.123`, and with a `Z` behind it for an instant.
    Sql,
    /// The same, as `java.sql` reads it: months and days may have one digit, a time of day needs no seconds.
    Csv,
    /// `2020-12-30T12:13:14.123`, and with a `Z` behind it for an instant. Seconds may be absent.
    Iso,
}

/// What a format can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextRules {
    /// Points in time.
    pub times: TimeStyle,
    /// Small decimals are written without an exponent.
    pub plain_decimals: bool,
}

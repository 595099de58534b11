//! When a partition begins, by the values in its folder's name.

use super::partition::Partitioning;
use crate::format::text::{self, TimeStyle};
use crate::options;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Millis;

const KIND: &str = "partition.time-extractor.kind";
const PATTERN: &str = "partition.time-extractor.timestamp-pattern";
const FORMATTER: &str = "partition.time-extractor.timestamp-formatter";

/// A part of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
}

/// What a text consists of, from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    /// With the least and the greatest number of digits.
    Digits(Field, usize, usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct PartitionTime {
    partitioning: Partitioning,
    /// Values stand in it for `$column`; if absent, the first value is the text.
    pattern: Option<String>,
    /// The formatter as the user wrote it, for people.
    shown: String,
    /// The text has one of these forms.
    forms: Vec<Vec<Piece>>,
    /// Numbers may be too large for their field: they carry over.
    carries_over: bool,
}

impl PartitionTime {
    /// What the table declares.
    pub fn of(table: &TableDescriptor, partitioning: &Partitioning) -> Result<Self, DataflowError> {
        if table.option(KIND).is_some_and(|kind| kind != "default") {
            return Err(options::bad(table, KIND, "only `default` is there: no classes can be loaded"));
        }
        let pattern = table.option(PATTERN).map(str::to_owned);
        if let Some(pattern) = &pattern
            && partitioning
                .names()
                .fold(pattern.clone(), |text, name| text.replace(&format!("${name}"), ""))
                .contains('$')
        {
            return Err(options::bad(table, PATTERN, "a `$` must be followed by a column of PARTITIONED BY"));
        }
        let formatter = table.option(FORMATTER);
        let forms = match formatter {
            None => default_forms(),
            Some(text) => vec![form_of(text).map_err(|detail| options::bad(table, FORMATTER, detail))?],
        };
        Ok(Self {
            partitioning: partitioning.clone(),
            pattern,
            shown: formatter.unwrap_or("yyyy-MM-dd HH:mm:ss").to_owned(),
            forms,
            carries_over: formatter.is_none(),
        })
    }

    /// Milliseconds since 1970 UTC.
    pub fn of_folder(&self, folder: &str) -> Result<Millis, DataflowError> {
        let text = self.text(folder);
        let time = self.forms.iter().find_map(|form| read(form, &text, self.carries_over));
        time.ok_or_else(|| DataflowError::Record {
            place: format!("table {}, partition {}", self.partitioning.table(), folder.trim_end_matches('/')),
            detail: format!(
                "`{text}` is no time as {}, so it cannot be said when the partition is complete: set '{PATTERN}' and \
                 '{FORMATTER}' to what the folders are named, and leave out rows without a time",
                self.shown
            ),
        })
    }

    fn text(&self, folder: &str) -> String {
        let values = self.partitioning.texts(folder);
        match &self.pattern {
            None => values.into_iter().next().unwrap_or_default(),
            Some(pattern) => {
                let columns = self.partitioning.names().zip(&values);
                columns.fold(pattern.clone(), |text, (name, value)| text.replace(&format!("${name}"), value))
            }
        }
    }
}

/// `yyyy-[m]m-[d]d`, and ` [h]h:[m]m:[s]s`, and a fraction.
fn default_forms() -> Vec<Vec<Piece>> {
    use Field::{Day, Fraction, Hour, Minute, Month, Second, Year};
    use Piece::{Digits, Literal};
    let two = |field| Digits(field, 1, 2);
    let mut forms = vec![vec![Digits(Year, 1, 10), Literal('-'), two(Month), Literal('-'), two(Day)]];
    for more in [
        &[Literal(' '), two(Hour), Literal(':'), two(Minute), Literal(':'), two(Second)][..],
        &[Literal('.'), Digits(Fraction, 1, 9)],
    ] {
        let longer = forms.last().into_iter().flatten().chain(more).copied().collect();
        forms.push(longer);
    }
    forms
}

/// What a pattern of Java's `DateTimeFormatter` asks for.
fn form_of(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut form = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('\'') {
            let (quoted, after) = after.split_once('\'').ok_or("a quote `'` is not closed")?;
            form.extend(if quoted.is_empty() { "'" } else { quoted }.chars().map(Piece::Literal));
            rest = after;
            continue;
        }
        let count = rest.chars().take_while(|c| *c == first).count();
        rest = &rest[count * first.len_utf8()..];
        // Two digits are two, one is one or two.
        let least = count;
        let most = if count == 1 { 2 } else { count };
        match (first, count) {
            ('y' | 'u', 4) => form.push(Piece::Digits(Field::Year, 4, 4)),
            ('M', 1 | 2) => form.push(Piece::Digits(Field::Month, least, most)),
            ('d', 1 | 2) => form.push(Piece::Digits(Field::Day, least, most)),
            ('H', 1 | 2) => form.push(Piece::Digits(Field::Hour, least, most)),
            ('m', 1 | 2) => form.push(Piece::Digits(Field::Minute, least, most)),
            ('s', 1 | 2) => form.push(Piece::Digits(Field::Second, least, most)),
            ('S', 1..=9) => form.push(Piece::Digits(Field::Fraction, count, count)),
            _ if first.is_ascii_alphabetic() || "[]{}#".contains(first) => {
                let found = first.to_string().repeat(count);
                return Err(format!("`{found}` is not supported: yyyy, MM, dd, HH, mm, ss, S and texts in quotes are"));
            }
            _ => form.extend(std::iter::repeat_n(Piece::Literal(first), count)),
        }
    }
    for (field, name) in [(Field::Year, "yyyy"), (Field::Month, "MM"), (Field::Day, "dd")] {
        if !form.iter().any(|piece| matches!(piece, Piece::Digits(of, ..) if *of == field)) {
            return Err(format!("`{name}` is needed"));
        }
    }
    Ok(form)
}

/// The time that a whole text stands for; fields that the form lacks are zero.
fn read(form: &[Piece], text: &str, carries_over: bool) -> Option<Millis> {
    let mut fields = [0i64; 6];
    let mut millis = 0;
    let mut rest = text;
    for piece in form {
        match piece {
            Piece::Literal(expected) => rest = rest.strip_prefix(*expected)?,
            Piece::Digits(field, least, most) => {
                let length = rest.bytes().take(*most).take_while(u8::is_ascii_digit).count();
                if length < *least {
                    return None;
                }
                let (digits, after) = rest.split_at(length);
                rest = after;
                match field {
                    Field::Fraction => millis = format!("{digits:0<3}").get(..3)?.parse().ok()?,
                    field => fields[*field as usize] = digits.parse().ok()?,
                }
            }
        }
    }
    let [year, month, day, hour, minute, second] = fields;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let is_time = rest.is_empty() && (fits || carries_over);
    if !is_time {
        return None;
    }
    let months = year * 12 + month - 1;
    let first = format!("{:04}-{:02}-01", months.div_euclid(12), months.rem_euclid(12) + 1);
    let days = i64::from(text::date(&first, TimeStyle::Sql)?) + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(text: &str) -> Option<Millis> {
        default_forms().iter().find_map(|form| read(form, text, true))
    }

    fn formatted(pattern: &str, text: &str) -> Option<Millis> {
        read(&form_of(pattern).expect("supported"), text, false)
    }

    #[test]
    fn times_are_read_as_flink_does() {
        const DAY: Millis = 86_400_000;
        assert_eq!(default("1970-01-02"), Some(DAY));
        assert_eq!(default("1970-1-2 3:4:5"), Some(DAY + 11_045_000));
        assert_eq!(default("2020-05-03 07:00:00"), Some(1_588_489_200_000));
        assert_eq!(default("2020-05-03 07:00:00.1234"), Some(1_588_489_200_123));
        // What is too much carries over.
        assert_eq!(default("1970-01-01 24:00:00"), Some(DAY));
        assert_eq!(default("1969-13-01 00:00:00"), Some(0));
        for wrong in ["", "1970-01", "1970-01-02 03", "1970-01-02T03:04:05", "x1970-01-02", "1970-01-02 03:04:05 "] {
            assert_eq!(default(wrong), None, "{wrong}");
        }
        assert_eq!(formatted("yyyy-MM-dd HH:mm:ss", "2020-05-03 07:00:00"), Some(1_588_489_200_000));
        assert_eq!(formatted("yyyyMMddHH", "2020050307"), Some(1_588_489_200_000));
        assert_eq!(formatted("uuuu/M/d", "1970/1/2"), Some(DAY));
        assert_eq!(formatted("'day' dd''MM''yyyy", "day 02'01'1970"), Some(DAY));
        assert_eq!(formatted("yyyy-MM-dd'T'HH:mm:ss.SSS", "1970-01-01T00:00:01.500"), Some(1_500));
        for wrong in ["20200503", "20200503077", "2020133307", "2020050324"] {
            assert_eq!(formatted("yyyyMMddHH", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for (pattern, expected) in [
            ("yy-MM-dd", "`yy` is not supported: yyyy, MM, dd, HH, mm, ss, S and texts in quotes are"),
            ("yyyy-MM-dd hh a", "`hh` is not supported"),
            ("yyyy-MM-dd[ HH]", "`[` is not supported"),
            ("yyyy-MM-dd'T", "a quote `'` is not closed"),
            ("yyyy-MM", "`dd` is needed"),
        ] {
            let error = form_of(pattern).expect_err(pattern);
            assert!(error.contains(expected), "{error}");
        }
    }
}

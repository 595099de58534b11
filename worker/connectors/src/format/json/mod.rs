//! JSON lines.

pub(super) mod changes;
mod decode;
mod encode;
mod parser;

pub(super) use decode::JsonDecoder;
pub(super) use encode::JsonEncoder;

use super::text::{TextRules, TimeStyle};
use crate::format::column::{entry_fields, is_scalar};
use crate::options::{self, option};
use arrow::datatypes::DataType;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, TableDescriptor};

/// The format's options.
#[derive(Debug, Clone)]
pub(crate) struct JsonOptions {
    pub ignore_parse_errors: bool,
    pub fail_on_missing_field: bool,
    times: TimeStyle,
    pub omit_nulls: bool,
    plain_decimals: bool,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    let boolean = |name, help| option(name, OptionKind::Boolean, "false", help);
    FormatDescriptor {
        name: "json",
        changes: false,
        options: vec![
            boolean(
                "json.ignore-parse-errors",
                "A field that cannot be read is NULL; a record that is no JSON object is counted and left out.",
            ),
            boolean(
                "json.fail-on-missing-field",
                "A record without one of the columns cannot be read; else the column is NULL.",
            ),
            option(
                "json.timestamp-format.standard",
                OptionKind::OneOf(&["SQL", "ISO-8601"]),
                "SQL",
                "Timestamps are written as `2020-12-30 12:13:14.123` or as `2020-12-30T12:13:14.123`; with a `Z` behind for TIMESTAMP_LTZ.",
            ),
            option(
                "json.map-null-key.mode",
                OptionKind::OneOf(&["FAIL", "DROP", "LITERAL"]),
                "FAIL",
                "Taken, and without effect: no map has NULL for a key.",
            ),
            option(
                "json.map-null-key.literal",
                OptionKind::Text,
                "null",
                "Taken, and without effect: no map has NULL for a key.",
            ),
            boolean("json.encode.ignore-null-fields", "Fields that are NULL are not written."),
            boolean(
                "json.encode.decimal-as-plain-number",
                "Small decimals are written as `0.00000001`, not as `1E-8`.",
            ),
        ],
    }
}

impl JsonOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        Self::named(table, "json")
    }

    /// Reads those of a format of this name.
    pub fn named(table: &TableDescriptor, format: &str) -> Result<Self, DataflowError> {
        let key = |option: &str| format!("{format}.{option}");
        let boolean = |option| options::boolean(table, &key(option), false);
        let (ignore_parse_errors, fail_on_missing_field) =
            (boolean("ignore-parse-errors")?, boolean("fail-on-missing-field")?);
        if ignore_parse_errors && fail_on_missing_field {
            let detail = format!("it contradicts '{format}.ignore-parse-errors' = 'true': set only one of the two");
            return Err(options::bad(table, &key("fail-on-missing-field"), detail));
        }
        let standard = key("timestamp-format.standard");
        let times = match table.option(&standard) {
            None | Some("SQL") => TimeStyle::Sql,
            Some("ISO-8601") => TimeStyle::Iso,
            Some(_) => return Err(options::bad(table, &standard, "it is SQL or ISO-8601")),
        };
        Ok(Self {
            ignore_parse_errors,
            fail_on_missing_field,
            times,
            omit_nulls: boolean("encode.ignore-null-fields")?,
            plain_decimals: boolean("encode.decimal-as-plain-number")?,
        })
    }

    /// How texts are read and written.
    pub const fn rules(&self) -> TextRules {
        TextRules { times: self.times, plain_decimals: self.plain_decimals }
    }
}

/// True if values of the type can be read and written.
pub(super) fn has_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|f| has_type(f.data_type())),
        DataType::List(element) => has_type(element.data_type()),
        DataType::Map(entries, _) => {
            entry_fields(entries).is_ok_and(|f| is_scalar(f[0].data_type()) && has_type(f[1].data_type()))
        }
        other => is_scalar(other),
    }
}

//! Changes of a database's rows as JSON messages: `debezium-json`, `canal-json`, `maxwell-json`.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(in crate::format) use decode::{ChangeDecoder, before_is_missing, unknown_operation};
pub(in crate::format) use encode::ChangeEncoder;

use super::JsonOptions;
use crate::options::{self, option};
use regex::Regex;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, OptionSpec, TableDescriptor};

/// Who writes the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Debezium,
    Canal,
    Maxwell,
}

impl Dialect {
    /// The format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debezium => "debezium-json",
            Self::Canal => "canal-json",
            Self::Maxwell => "maxwell-json",
        }
    }
}

/// The options of one of these formats.
#[derive(Debug, Clone)]
pub(crate) struct ChangeOptions {
    pub dialect: Dialect,
    pub json: JsonOptions,
    /// Debezium: the message lies in a `payload`, beside its schema.
    has_schema: bool,
    /// Canal: messages of other databases and tables are left out.
    database: Option<Regex>,
    table: Option<Regex>,
}

/// The options that all of them have.
macro_rules! common_options {
    ($name:literal) => {
        vec![
            option(
                concat!($name, ".ignore-parse-errors"),
                OptionKind::Boolean,
                "false",
                "A field that cannot be read is NULL; a record that is no change is counted and left out.",
            ),
            option(
                concat!($name, ".timestamp-format.standard"),
                OptionKind::OneOf(&["SQL", "ISO-8601"]),
                "SQL",
                "As `json.timestamp-format.standard`.",
            ),
            option(
                concat!($name, ".map-null-key.mode"),
                OptionKind::OneOf(&["FAIL", "DROP", "LITERAL"]),
                "FAIL",
                "Taken, and without effect: no map has NULL for a key.",
            ),
            option(
                concat!($name, ".map-null-key.literal"),
                OptionKind::Text,
                "null",
                "Taken, and without effect: no map has NULL for a key.",
            ),
            option(
                concat!($name, ".encode.ignore-null-fields"),
                OptionKind::Boolean,
                "false",
                "Fields that are NULL are not written.",
            ),
            option(
                concat!($name, ".encode.decimal-as-plain-number"),
                OptionKind::Boolean,
                "false",
                "Small decimals are written as `0.00000001`, not as `1E-8`.",
            ),
        ]
    };
}

/// What the planner knows of them.
pub(in crate::format) fn descriptors() -> Vec<FormatDescriptor> {
    let format = |dialect: Dialect, mut options: Vec<OptionSpec>, own: Vec<OptionSpec>| {
        options.extend(own);
        FormatDescriptor { name: dialect.name(), changes: true, options }
    };
    let pattern = |name, help| option(name, OptionKind::Text, "", help);
    vec![
        format(
            Dialect::Debezium,
            common_options!("debezium-json"),
            vec![option(
                "debezium-json.schema-include",
                OptionKind::Boolean,
                "false",
                "Messages hold their schema beside a `payload`, as Kafka Connect writes them with `schemas.enable`; cannot be written.",
            )],
        ),
        format(
            Dialect::Canal,
            common_options!("canal-json"),
            vec![
                pattern(
                    "canal-json.database.include",
                    "Only changes of databases are read whose whole name matches this regular expression.",
                ),
                pattern(
                    "canal-json.table.include",
                    "Only changes of tables are read whose whole name matches this regular expression.",
                ),
            ],
        ),
        format(Dialect::Maxwell, common_options!("maxwell-json"), vec![]),
    ]
}

impl ChangeOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor, dialect: Dialect) -> Result<Self, DataflowError> {
        let pattern = |name: &str| {
            let Some(text) = table.option(name) else { return Ok(None) };
            match Regex::new(&format!("^(?:{text})$")) {
                Ok(pattern) => Ok(Some(pattern)),
                Err(error) => Err(options::bad(table, name, format!("it is no regular expression: {error}"))),
            }
        };
        let is_canal = dialect == Dialect::Canal;
        Ok(Self {
            dialect,
            json: JsonOptions::named(table, dialect.name())?,
            has_schema: dialect == Dialect::Debezium && options::boolean(table, "debezium-json.schema-include", false)?,
            database: if is_canal { pattern("canal-json.database.include")? } else { None },
            table: if is_canal { pattern("canal-json.table.include")? } else { None },
        })
    }

    /// Refuses what can be read only.
    pub fn check_writable(&self, table: &str) -> Result<(), DataflowError> {
        if !self.has_schema {
            return Ok(());
        }
        Err(DataflowError::Option {
            table: table.to_owned(),
            option: "debezium-json.schema-include".to_owned(),
            value: "true".to_owned(),
            detail: "messages with a schema cannot be written: leave it out".to_owned(),
        })
    }
}

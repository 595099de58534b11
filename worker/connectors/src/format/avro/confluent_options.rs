//! The options of the formats whose schemas a registry keeps.

use super::{AvroOptions, schema, times_option};
use crate::options::{bad, boolean, option, warn_once};
use crate::registry::{RegistrySettings, passed_over, registry_options};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, OptionSpec, TableDescriptor};

/// Rows, and changes of rows as Debezium tells them.
pub(in crate::format) const ROWS: &str = "avro-confluent";
pub(in crate::format) const CHANGES: &str = "debezium-avro-confluent";

/// The options of one of the formats.
#[derive(Debug, Clone)]
pub(crate) struct ConfluentOptions {
    /// The format's name.
    pub format: &'static str,
    pub avro: AvroOptions,
    pub(super) settings: RegistrySettings,
    pub(super) subject: Option<String>,
    /// The schema that messages are written under, if not the table's own.
    pub(super) schema: Option<String>,
    pub(super) registers: bool,
}

/// What the planner knows of the options of the format of this name.
macro_rules! options_of {
    ($format:literal, $schema:literal) => {{
        let mut options = registry_options!($format);
        options.extend([
            OptionSpec {
                older: concat!($format, ".schema-registry.subject"),
                ..option(
                    concat!($format, ".subject"),
                    OptionKind::Text,
                    "",
                    "The subject that the schema of written rows is registered under; by default the topic's name with `-value` or `-key`. Taken as `schema-registry.subject` too.",
                )
            },
            OptionSpec {
                older: concat!($format, ".schema-registry.schema"),
                ..option(concat!($format, ".schema"), OptionKind::Text, "", $schema)
            },
            option(
                concat!($format, ".properties.auto.register.schemas"),
                OptionKind::Boolean,
                "true",
                "`false`: the schema must be registered already.",
            ),
            option(
                concat!($format, ".properties.#"),
                OptionKind::Text,
                "",
                "A setting of Confluent's client, if it is one of those above: `properties.basic.auth.user.info`, .. Others are passed over with a warning.",
            ),
            times_option(concat!($format, ".timestamp_mapping.legacy")),
        ]);
        options
    }};
}

/// What the planner knows of the formats.
pub(in crate::format) fn descriptors() -> [FormatDescriptor; 2] {
    let rows = options_of!(
        "avro-confluent",
        "The schema of written rows, which must have the table's columns; by default the one that Flink derives from them."
    );
    let changes = options_of!(
        "debezium-avro-confluent",
        "The schema of written changes: a record of `before`, `after` and `op`; by default the one that Flink derives from the columns."
    );
    [
        FormatDescriptor { name: ROWS, changes: false, options: rows },
        FormatDescriptor { name: CHANGES, changes: true, options: changes },
    ]
}

impl ConfluentOptions {
    /// Reads those of the format of this name.
    pub fn of(table: &TableDescriptor, format: &'static str) -> Result<Self, DataflowError> {
        let prefix = format!("{format}.");
        let name = |option: &str| format!("{prefix}{option}");
        let text = |option| table.option(&name(option)).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        if let Some(text) = text("schema") {
            schema::parse(&text).map_err(|detail| bad(table, &name("schema"), detail))?;
        }
        let idle = passed_over(table, &prefix);
        if !idle.is_empty() {
            warn_once(
                table,
                &format!("these settings of a registry's client have no effect here: {}", idle.join(", ")),
            );
        }
        Ok(Self {
            format,
            avro: AvroOptions::under(table, &prefix)?,
            settings: RegistrySettings::of(table, &prefix)?,
            subject: text("subject"),
            schema: text("schema"),
            registers: boolean(table, &name("properties.auto.register.schemas"), true)?,
        })
    }
}

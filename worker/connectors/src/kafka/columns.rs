//! Which columns of a table lie in a record's key, in its value, and beside them.

use crate::format::{Format, Layout};
use crate::options::{self, bad};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{ColumnKind, MetadataColumn, TableDescriptor};

/// What is known of a record beside key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Headers,
    LeaderEpoch,
    Offset,
    Timestamp,
    TimestampType,
}

impl Metadata {
    const ALL: [(&'static str, Self); 7] = [
        ("topic", Self::Topic),
        ("partition", Self::Partition),
        ("headers", Self::Headers),
        ("leader-epoch", Self::LeaderEpoch),
        ("offset", Self::Offset),
        ("timestamp", Self::Timestamp),
        ("timestamp-type", Self::TimestampType),
    ];

    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == key).map(|(_, metadata)| *metadata)
    }

    /// The type that Flink gives it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Topic | Self::TimestampType => DataType::Utf8,
            Self::Partition | Self::LeaderEpoch => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Headers => headers_type(),
        }
    }

    /// What the planner knows of all.
    pub fn columns() -> Vec<MetadataColumn> {
        Self::ALL.iter().map(|(key, m)| MetadataColumn { key, data_type: m.data_type() }).collect()
    }
}

/// `MAP<STRING, BYTES>`.
fn headers_type() -> DataType {
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

/// Key or value of a record: its format, and the fields that it holds.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub format: Format,
    /// Its fields, with the names that they have in the record.
    pub fields: Vec<Field>,
    /// For each field its column among the table's.
    pub columns: Vec<usize>,
}

impl Part {
    /// The schema of some of the fields, and where they lie.
    pub fn layout(&self, wanted: &[usize]) -> (SchemaRef, Layout) {
        // Of a changed row a record may hold the key alone. Else a column that takes no NULL makes the record a bad one.
        let is_partial = self.format.tells_changes();
        let field = |f: &usize| self.fields[*f].clone().with_nullable(is_partial || self.fields[*f].is_nullable());
        let fields: Vec<Field> = wanted.iter().map(field).collect();
        (Arc::new(Schema::new(fields)), Layout { fields: self.fields.clone(), places: wanted.to_vec() })
    }

    /// The schema of all fields.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.clone()))
    }
}

/// The columns of a table over Kafka.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub key: Option<Part>,
    pub value: Part,
}

impl Columns {
    /// What a table declares. With `key_is_primary` the key holds the primary key's columns.
    pub fn of(table: &TableDescriptor, key_is_primary: bool) -> Result<Self, DataflowError> {
        let is_physical = |i: &usize| matches!(table.columns[*i].kind, ColumnKind::Physical);
        let physical: Vec<usize> = (0..table.columns.len()).filter(is_physical).collect();
        let prefix = table.option("key.fields-prefix").unwrap_or_default();
        let key_format = Format::of_key(table)?;
        let names: Vec<String> = if key_is_primary { table.primary_key.clone() } else { list(table, "key.fields")? };
        let mut key_columns = Vec::new();
        for name in &names {
            let found = physical.iter().find(|i| table.columns[**i].name == *name);
            let index = *found.ok_or_else(|| bad(table, "key.fields", format!("the table has no column {name}")))?;
            if !name.starts_with(prefix) {
                return Err(bad(table, "key.fields-prefix", format!("column {name} does not begin with it")));
            }
            key_columns.push(index);
        }
        let without_key = match table.option("value.fields-include").unwrap_or("ALL") {
            "ALL" => false,
            "EXCEPT_KEY" => true,
            _ => return Err(bad(table, "value.fields-include", "it is ALL or EXCEPT_KEY")),
        };
        let key = match (key_format, key_columns.is_empty()) {
            (Some(format), false) => {
                let name = |i: &usize| table.columns[*i].name.strip_prefix(prefix).unwrap_or_default().to_owned();
                Some(part(table, format, &key_columns, name)?)
            }
            (Some(_), true) => {
                return Err(bad(table, "key.fields", "'key.format' needs the columns that a key consists of"));
            }
            (None, false) => return Err(bad(table, "key.format", "a key of columns needs a format")),
            (None, true) => None,
        };
        if key.is_none() && (without_key || !prefix.is_empty()) {
            return Err(bad(
                table,
                "key.format",
                "'value.fields-include' and 'key.fields-prefix' are of use with a key",
            ));
        }
        if !prefix.is_empty() && !without_key {
            return Err(bad(table, "key.fields-prefix", "it needs 'value.fields-include' = 'EXCEPT_KEY'"));
        }
        let in_value: Vec<usize> = physical.into_iter().filter(|i| !without_key || !key_columns.contains(i)).collect();
        let value = part(table, Format::of_value(table)?, &in_value, |i| table.columns[*i].name.clone())?;
        Ok(Self { key, value })
    }
}

fn part(
    table: &TableDescriptor,
    format: Format,
    columns: &[usize],
    name: impl Fn(&usize) -> String,
) -> Result<Part, DataflowError> {
    let field = |i: &usize| Field::new(name(i), table.columns[*i].data_type.clone(), table.columns[*i].nullable);
    let fields: Vec<Field> = columns.iter().map(field).collect();
    format.check(&table.name, &fields)?;
    Ok(Part { format, fields, columns: columns.to_vec() })
}

/// An option's list, separated by semicolons. As in Flink one may stand before the first entry, and one behind the last.
pub(super) fn list(table: &TableDescriptor, option: &str) -> Result<Vec<String>, DataflowError> {
    let parts: Vec<&str> = table.option(option).unwrap_or_default().split(';').map(str::trim).collect();
    let inner = parts.len().saturating_sub(2);
    if let Some(empty) = parts.iter().skip(1).take(inner).position(|part| part.is_empty()) {
        let before = parts.iter().take(empty + 1).filter(|part| !part.is_empty()).count();
        let detail = format!("entry {} of the list is empty: leave out one of the semicolons around it", before + 1);
        return Err(bad(table, option, detail));
    }
    Ok(parts.into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

/// A number of milliseconds.
pub(super) fn millis(table: &TableDescriptor, option: &str) -> Result<i64, DataflowError> {
    options::optional_number(table, option)?
        .ok_or_else(|| bad(table, option, "milliseconds since the Unix epoch are needed"))
}

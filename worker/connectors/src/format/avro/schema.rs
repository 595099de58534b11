//! The schema that Flink derives from a table's columns: a column that takes NULL is a union of `null` and its type, in this
//! order, with the default null.

use crate::format::column::entry_fields;
use apache_avro::Schema;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use serde_json::{Value, json};

/// The name that Flink gives a table's record, and the namespace of it and of the records in it.
const RECORD: &str = "record";
const NAMESPACE: &str = "org.apache.flink.avro.generated";

/// A schema's text, for people and registries, and what it says. `local_times`: a time without a zone is one of no known place,
/// not of UTC.
///
/// # Errors
/// A column's name cannot be a field's.
pub(super) fn of_columns<'a>(
    columns: impl IntoIterator<Item = &'a FieldRef>,
    local_times: bool,
) -> Result<(String, Schema), String> {
    let text = root(columns, local_times).to_string();
    let schema = parse(&text)?;
    Ok((text, schema))
}

/// The same for a record that may be NULL as a whole, as Flink writes changes.
///
/// # Errors
/// As [`of_columns`].
pub(super) fn nullable_of_columns<'a>(
    columns: impl IntoIterator<Item = &'a FieldRef>,
    local_times: bool,
) -> Result<(String, Schema), String> {
    let text = json!(["null", root(columns, local_times)]).to_string();
    let schema = parse(&text)?;
    Ok((text, schema))
}

/// What a text says.
///
/// # Errors
/// It is no schema.
pub(super) fn parse(text: &str) -> Result<Schema, String> {
    Schema::parse_str(text).map_err(|error| format!("it is no Avro schema: {error}"))
}

/// What a text says that refers to others, those first that others need.
///
/// # Errors
/// One of them is no schema.
pub(super) fn parse_with(text: &str, references: &[String]) -> Result<(Schema, Vec<Schema>), String> {
    if references.is_empty() {
        return Ok((parse(text)?, Vec::new()));
    }
    Schema::parse_str_with_list(text, references).map_err(|error| format!("it is no Avro schema: {error}"))
}

/// The record of all columns; those within it have its namespace without saying so.
fn root<'a>(columns: impl IntoIterator<Item = &'a FieldRef>, local_times: bool) -> Value {
    json!({"type": "record", "name": RECORD, "namespace": NAMESPACE, "fields": fields(RECORD, columns, local_times)})
}

/// The fields of a record of this name.
fn fields<'a>(name: &str, columns: impl IntoIterator<Item = &'a FieldRef>, local_times: bool) -> Vec<Value> {
    let field = |column: &'a FieldRef| {
        let of = type_of(column, &format!("{name}_{}", column.name()), local_times);
        match column.is_nullable() {
            true => json!({"name": column.name(), "type": of, "default": null}),
            false => json!({"name": column.name(), "type": of}),
        }
    };
    columns.into_iter().map(field).collect()
}

fn type_of(column: &FieldRef, name: &str, local_times: bool) -> Value {
    let of = match column.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Binary => json!("bytes"),
        DataType::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        DataType::Time32(_) => json!({"type": "int", "logicalType": "time-millis"}),
        DataType::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Microsecond { "micros" } else { "millis" };
            let local = if zone.is_none() && local_times { "local-" } else { "" };
            json!({"type": "long", "logicalType": format!("{local}timestamp-{unit}")})
        }
        DataType::Struct(columns) => {
            json!({"type": "record", "name": name, "fields": fields(name, columns, local_times)})
        }
        DataType::List(element) => json!({"type": "array", "items": type_of(element, name, local_times)}),
        DataType::Map(entries, _) => match entry_fields(entries) {
            Ok(fields) => json!({"type": "map", "values": type_of(&fields[1], name, local_times)}),
            Err(_) => json!({"type": "map", "values": "string"}),
        },
        // Columns of other types are refused before.
        _ => json!("string"),
    };
    if column.is_nullable() { json!(["null", of]) } else { of }
}

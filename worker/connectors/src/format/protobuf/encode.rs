//! Columns to messages.

use super::ProtobufOptions;
use super::plan::{FieldPlan, MessagePlan};
use crate::format::message::{MessageBuffer, MessageEncoder};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, Value};
use std::collections::HashMap;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes one message a row.
pub(in crate::format) struct ProtobufEncoder {
    table: String,
    plan: MessagePlan,
    null_literal: String,
}

impl ProtobufEncoder {
    /// For rows of these columns, which are fields of the message.
    pub fn new(table: &str, columns: &SchemaRef, options: &ProtobufOptions) -> Result<Self, DataflowError> {
        let plan = options.plan(table, columns.fields())?;
        Ok(Self { table: table.to_owned(), plan, null_literal: options.null_literal.clone() })
    }

    fn message(&self, plan: &MessagePlan, columns: &[ArrayRef], row: usize) -> Result<DynamicMessage, String> {
        let mut message = DynamicMessage::new(plan.message.clone());
        for (plan, column) in plan.fields.iter().zip(columns) {
            if !column.is_null(row) {
                message.set_field(&plan.field, self.field(plan, column.as_ref(), row)?);
            } else if plan.field.is_required() {
                let (field, column) = (plan.field.full_name(), plan.field.name());
                return Err(format!(
                    "field {field} is `required`, but column {column} is NULL: use COALESCE or leave such rows out"
                ));
            }
        }
        Ok(message)
    }

    fn field(&self, plan: &FieldPlan, column: &dyn Array, row: usize) -> Result<Value, String> {
        match column.data_type() {
            DataType::List(_) => {
                let elements = column.as_list::<i32>().value(row);
                let values = (0..elements.len()).map(|i| self.element(plan, elements.as_ref(), i));
                values.collect::<Result<_, _>>().map(Value::List)
            }
            DataType::Map(..) => {
                let entries = column.as_map().value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                let Kind::Message(entry) = plan.field.kind() else { return Err(unfit(plan, "a map")) };
                let kind = entry.map_entry_key_field().kind();
                let mut map = HashMap::with_capacity(entries.len());
                for i in 0..entries.len() {
                    let key = scalar(plan, &kind, keys.as_ref(), i)?;
                    let key = map_key(key).ok_or_else(|| unfit(plan, "a key of this type"))?;
                    map.insert(key, self.element(plan, values.as_ref(), i)?);
                }
                Ok(Value::Map(map))
            }
            _ => self.single(plan, column, row),
        }
    }

    /// An element of a list or a value of a map: messages have no NULL there.
    fn element(&self, plan: &FieldPlan, column: &dyn Array, row: usize) -> Result<Value, String> {
        match (&plan.kind, column.is_null(row)) {
            (Kind::String, true) => Ok(Value::String(self.null_literal.clone())),
            (kind, true) => Ok(Value::default_value(kind)),
            (_, false) => self.single(plan, column, row),
        }
    }

    fn single(&self, plan: &FieldPlan, column: &dyn Array, row: usize) -> Result<Value, String> {
        match &plan.message {
            Some(message) => self.message(message, column.as_struct().columns(), row).map(Value::Message),
            None => scalar(plan, &plan.kind, column, row),
        }
    }
}

fn unfit(plan: &FieldPlan, what: &str) -> String {
    format!("field {} does not take {what}", plan.field.full_name())
}

fn map_key(value: Value) -> Option<MapKey> {
    Some(match value {
        Value::Bool(key) => MapKey::Bool(key),
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        _ => return None,
    })
}

/// A plain value.
fn scalar(plan: &FieldPlan, kind: &Kind, column: &dyn Array, row: usize) -> Result<Value, String> {
    let whole = match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        _ => 0,
    };
    let found = match (kind, column.data_type()) {
        (Kind::Bool, _) => Some(Value::Bool(column.as_boolean().value(row))),
        (Kind::Float, _) => Some(Value::F32(column.as_primitive::<Float32Type>().value(row))),
        (Kind::Double, _) => Some(Value::F64(column.as_primitive::<Float64Type>().value(row))),
        (Kind::String, _) => Some(Value::String(column.as_string::<i32>().value(row).to_owned())),
        (Kind::Bytes, _) => Some(Value::Bytes(column.as_binary::<i32>().value(row).to_vec().into())),
        (Kind::Enum(of), DataType::Utf8) => {
            let name = column.as_string::<i32>().value(row);
            let found = of.get_value_by_name(name).map(|value| Value::EnumNumber(value.number()));
            return found.ok_or_else(|| unfit(plan, &format!("`{name}`, which the enum does not name")));
        }
        (Kind::Enum(_), _) => i32::try_from(whole).ok().map(Value::EnumNumber),
        (Kind::Int32 | Kind::Sint32 | Kind::Sfixed32, _) => i32::try_from(whole).ok().map(Value::I32),
        (Kind::Uint32 | Kind::Fixed32, _) => u32::try_from(whole).ok().map(Value::U32),
        (Kind::Int64 | Kind::Sint64 | Kind::Sfixed64, _) => Some(Value::I64(whole)),
        (Kind::Uint64 | Kind::Fixed64, _) => u64::try_from(whole).ok().map(Value::U64),
        (Kind::Message(_), _) => None,
    };
    found.ok_or_else(|| unfit(plan, &whole.to_string()))
}

impl MessageEncoder for ProtobufEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        for row in 0..rows.rows() {
            let message = self
                .message(&self.plan, rows.records().columns(), row)
                .map_err(|detail| DataflowError::Record { place: format!("table {}", self.table), detail })?;
            // Only a buffer that cannot grow takes no message.
            message.encode(&mut out.bytes).expect("a vector grows");
            out.end();
        }
        Ok(())
    }
}

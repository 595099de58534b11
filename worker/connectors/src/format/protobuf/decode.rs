//! Messages to columns.

use super::plan::{FieldPlan, MessagePlan};
use super::{ProtobufOptions, sift};
use crate::format::column::{Column, Values};
use crate::format::message::{DecodedMessages, MessageDecoder};
use crate::format::rows::{Fate, Rows};
use crate::format::text::{TextRules, TimeStyle};
use arrow::datatypes::SchemaRef;
use prost_reflect::prost::DecodeError;
use prost_reflect::{DynamicMessage, Kind, MapKey, Value};
use streamfleet_dataflow::DataflowError;

/// The text of a number that an open enum (of proto3) does not name: what libraries for Java call it, and so Flink.
const UNRECOGNIZED: &str = "UNRECOGNIZED";

/// Decodes one message a record.
pub(in crate::format) struct ProtobufDecoder {
    plan: MessagePlan,
    reads_defaults: bool,
    /// See [`sift::may_hide`].
    sifts_all: bool,
    rows: Rows,
}

impl ProtobufDecoder {
    /// For columns of this schema, which are fields of the message.
    pub fn new(table: &str, schema: SchemaRef, options: &ProtobufOptions) -> Result<Self, DataflowError> {
        let plan = options.plan(table, schema.fields())?;
        let rules = TextRules { times: TimeStyle::Sql, plain_decimals: false };
        Ok(Self {
            sifts_all: sift::may_hide(&plan.message),
            plan,
            reads_defaults: options.reads_defaults,
            rows: Rows::new(schema, rules, false)?,
        })
    }

    /// A message, of which what does not fit its descriptor is left out.
    fn message(&self, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
        let message = &self.plan.message;
        let decode = |bytes: &[u8]| DynamicMessage::decode(message.clone(), bytes);
        if self.sifts_all {
            return sift::sifted(message, bytes).map_or_else(|| decode(bytes), |sifted| decode(&sifted));
        }
        decode(bytes).or_else(|error| sift::sifted(message, bytes).map_or(Err(error), |sifted| decode(&sifted)))
    }
}

impl MessageDecoder for ProtobufDecoder {
    fn take(&mut self, bytes: &[u8]) {
        let number = self.rows.seen();
        match self.message(bytes) {
            Ok(message) => {
                let Rows { columns, fate, .. } = &mut self.rows;
                take_fields(&self.plan, &message, self.reads_defaults, columns, fate);
                self.rows.end_row(number, number);
            }
            Err(error) => {
                let reason = format!("it is no message {}: {error}", self.plan.message.full_name());
                self.rows.bad(number, number, reason);
            }
        }
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

fn take_fields(
    plan: &MessagePlan,
    message: &DynamicMessage,
    reads_defaults: bool,
    columns: &mut [Column],
    fate: &mut Fate,
) {
    for (plan, column) in plan.fields.iter().zip(columns) {
        let field = &plan.field;
        // What is plain in proto3 cannot be absent; a list or map that is absent is one without elements.
        let cannot_tell = !field.supports_presence() && !field.is_list() && !field.is_map();
        if reads_defaults || cannot_tell || message.has_field(field) {
            take(plan, &message.get_field(field), reads_defaults, column, fate);
        } else {
            fate.null(column);
        }
    }
}

fn take(plan: &FieldPlan, value: &Value, reads_defaults: bool, column: &mut Column, fate: &mut Fate) {
    match (&mut column.values, value) {
        (Values::Boolean(b), Value::Bool(value)) => b.append_value(*value),
        (Values::Float32(b), Value::F32(value)) => b.append_value(*value),
        (Values::Float64(b), Value::F64(value)) => b.append_value(*value),
        (Values::Text(b), Value::String(value)) => b.append_value(value),
        (Values::Bytes(b, _), Value::Bytes(value)) => b.append_value(value),
        (Values::Text(b), Value::EnumNumber(number)) => {
            let found = match &plan.kind {
                Kind::Enum(of) => of.get_value(*number),
                _ => None,
            };
            b.append_value(found.as_ref().map_or(UNRECOGNIZED, |found| found.name()));
        }
        (Values::Row(row), Value::Message(message)) => {
            if let Some(plan) = &plan.message {
                take_fields(plan, message, reads_defaults, &mut row.columns, fate);
            }
            row.end();
        }
        (Values::List(list), Value::List(values)) => {
            for value in values {
                take(plan, value, reads_defaults, &mut list.element, fate);
                list.count();
            }
            list.end();
        }
        (Values::Map(map), Value::Map(entries)) => {
            // The entries of a message have no order; a row always reads the same.
            let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                take(plan, &Value::from(key.clone()), reads_defaults, &mut map.key, fate);
                take(plan, value, reads_defaults, &mut map.value, fate);
                map.count();
            }
            map.end();
        }
        (_, value) => take_number(value, column, fate),
    }
}

/// A whole number of any width.
fn take_number(value: &Value, column: &mut Column, fate: &mut Fate) {
    let number = match value {
        Value::I32(number) | Value::EnumNumber(number) => i128::from(*number),
        Value::I64(number) => i128::from(*number),
        Value::U32(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        other => return fate.unfit(column, format!("{other:?}")),
    };
    let taken = match &mut column.values {
        Values::Int8(b) => i8::try_from(number).map(|n| b.append_value(n)),
        Values::Int16(b) => i16::try_from(number).map(|n| b.append_value(n)),
        Values::Int32(b) => i32::try_from(number).map(|n| b.append_value(n)),
        Values::Int64(b) => i64::try_from(number).map(|n| b.append_value(n)),
        _ => return fate.unfit(column, number),
    };
    if taken.is_err() {
        fate.unfit(column, number);
    }
}

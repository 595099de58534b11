//! Which field of a message goes with which column.

use crate::format::column::entry_fields;
use arrow::datatypes::{DataType, FieldRef};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use streamfleet_logical::type_name;

/// For each column, in order, its field.
#[derive(Debug, Clone)]
pub(super) struct MessagePlan {
    pub message: MessageDescriptor,
    pub fields: Vec<FieldPlan>,
}

/// A field and, if its values are messages, theirs.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    pub field: FieldDescriptor,
    /// What a value is, or an element of a list, or a value of a map.
    pub kind: Kind,
    pub message: Option<MessagePlan>,
}

impl MessagePlan {
    /// For columns whose names are those of the message's fields.
    ///
    /// # Errors
    /// A column has no field, or one of another type.
    pub fn of<'a>(
        message: &MessageDescriptor,
        columns: impl IntoIterator<Item = &'a FieldRef>,
    ) -> Result<Self, String> {
        let fields = columns.into_iter().map(|column| {
            let name = column.name();
            let field = message.get_field_by_name(name).ok_or_else(|| {
                let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
                format!("message {} has no field {name}; it has {}", message.full_name(), names.join(", "))
            })?;
            FieldPlan::of(field, column.data_type())
        });
        let fields = fields.collect::<Result<_, String>>()?;
        Ok(Self { message: message.clone(), fields })
    }
}

impl FieldPlan {
    fn of(field: FieldDescriptor, data_type: &DataType) -> Result<Self, String> {
        let unfit = || {
            let repeated = if field.is_list() { "repeated " } else { "" };
            let kind = if field.is_map() { "map".to_owned() } else { format!("{repeated}{}", name_of(&field.kind())) };
            format!("field {} of type {kind} is no {}", field.full_name(), type_name(data_type))
        };
        let (kind, inner) = match data_type {
            DataType::Map(entries, _) if field.is_map() => {
                let Kind::Message(entry) = field.kind() else { return Err(unfit()) };
                let fields = entry_fields(entries).map_err(|error| error.to_string())?;
                if !fits(&entry.map_entry_key_field().kind(), fields[0].data_type()) {
                    return Err(unfit());
                }
                (entry.map_entry_value_field().kind(), fields[1].data_type())
            }
            DataType::List(element) if field.is_list() => (field.kind(), element.data_type()),
            other if !field.is_map() && !field.is_list() => (field.kind(), other),
            _ => return Err(unfit()),
        };
        let message = match (&kind, inner) {
            (Kind::Message(message), DataType::Struct(fields)) => Some(MessagePlan::of(message, fields)?),
            (kind, inner) if fits(kind, inner) => None,
            _ => return Err(unfit()),
        };
        Ok(Self { field, kind, message })
    }
}

/// True if plain values of the kind are values of the type; a number too large for it is seen when it comes.
const fn fits(kind: &Kind, data_type: &DataType) -> bool {
    match kind {
        Kind::Bool => matches!(data_type, DataType::Boolean),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            matches!(data_type, DataType::Int32 | DataType::Int64)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            matches!(data_type, DataType::Int64)
        }
        Kind::Float => matches!(data_type, DataType::Float32),
        Kind::Double => matches!(data_type, DataType::Float64),
        Kind::String => matches!(data_type, DataType::Utf8),
        Kind::Bytes => matches!(data_type, DataType::Binary),
        Kind::Enum(_) => {
            matches!(data_type, DataType::Utf8 | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
        }
        Kind::Message(_) => false,
    }
}

fn name_of(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

//! Leaves out of a message what its descriptor does not fit, as every protobuf library does: a value of another wire type
//! than its field, and a number that a closed enum (of proto2) does not name. Both count as fields that nobody knows.

use prost_reflect::prost::DecodeError;
use prost_reflect::prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax};
use std::collections::HashSet;

/// Messages within one another that are looked into, as deep as they are decoded.
const MOST_DEPTH: u32 = 100;

/// True if a message may have to be sifted though it can be decoded: an unknown number of a closed enum is no error there, nor is
/// a map of another wire type.
pub(super) fn may_hide(message: &MessageDescriptor) -> bool {
    fn look(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
        seen.insert(message.full_name().to_owned())
            && message.fields().any(|field| match field.kind() {
                _ if field.is_map() => true,
                Kind::Enum(of) => is_closed(&of),
                Kind::Message(inner) => look(&inner, seen),
                _ => false,
            })
    }
    look(message, &mut HashSet::new())
}

/// A message without what does not fit. `None`: everything does, or the bytes are no message, which decoding tells.
pub(super) fn sifted(message: &MessageDescriptor, bytes: &[u8]) -> Option<Vec<u8>> {
    sift(message, bytes, 0).ok().and_then(|sifted| sifted.rest)
}

/// What became of a message.
#[derive(Default)]
struct Sifted {
    /// Its bytes, if some were left out.
    rest: Option<Vec<u8>>,
    /// A number of a closed enum was among them.
    lost_symbol: bool,
}

/// What becomes of a field.
enum Fate {
    Stays,
    /// Its value is replaced by these bytes, behind their length.
    Becomes(Vec<u8>),
    Goes,
}

fn sift(message: &MessageDescriptor, bytes: &[u8], depth: u32) -> Result<Sifted, DecodeError> {
    let mut sifted = Sifted::default();
    let mut left = bytes;
    while !left.is_empty() {
        let start = bytes.len() - left.len();
        let (number, wire_type) = decode_key(&mut left)?;
        let value = left;
        skip_field(wire_type, number, &mut left, DecodeContext::default())?;
        let value = &value[..value.len() - left.len()];
        let fate = match message.get_field(number) {
            Some(field) => field_fate(&field, wire_type, value, depth, &mut sifted.lost_symbol)?,
            // No column is an extension.
            None if message.get_extension(number).is_some() => Fate::Goes,
            None => Fate::Stays,
        };
        match fate {
            Fate::Stays => {
                if let Some(rest) = &mut sifted.rest {
                    rest.extend_from_slice(&bytes[start..bytes.len() - left.len()]);
                }
            }
            Fate::Goes => drop(sifted.rest.get_or_insert_with(|| bytes[..start].to_vec())),
            Fate::Becomes(value) => {
                let rest = sifted.rest.get_or_insert_with(|| bytes[..start].to_vec());
                encode_key(number, wire_type, rest);
                encode_varint(value.len() as u64, rest);
                rest.extend(value);
            }
        }
    }
    Ok(sifted)
}

/// `value`: with its length before it, if it has one.
fn field_fate(
    field: &FieldDescriptor,
    wire_type: WireType,
    mut value: &[u8],
    depth: u32,
    lost_symbol: &mut bool,
) -> Result<Fate, DecodeError> {
    let kind = field.kind();
    let is_packed = field.is_list()
        && wire_type == WireType::LengthDelimited
        && !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_));
    let expected = if field.is_group() { WireType::StartGroup } else { kind.wire_type() };
    if wire_type != expected && !is_packed {
        return Ok(Fate::Goes);
    }
    match kind {
        Kind::Enum(of) if is_closed(&of) => {
            if !is_packed {
                let is_known = is_known(&of, decode_varint(&mut value)?);
                *lost_symbol |= !is_known;
                return Ok(if is_known { Fate::Stays } else { Fate::Goes });
            }
            decode_varint(&mut value)?;
            let (mut kept, length) = (Vec::new(), value.len());
            while !value.is_empty() {
                let number = decode_varint(&mut value)?;
                if is_known(&of, number) {
                    encode_varint(number, &mut kept);
                }
            }
            Ok(if kept.len() < length { Fate::Becomes(kept) } else { Fate::Stays })
        }
        Kind::Message(inner) if !field.is_group() && depth < MOST_DEPTH => {
            decode_varint(&mut value)?;
            let sifted = sift(&inner, value, depth + 1)?;
            Ok(match sifted.rest {
                // An entry is known as a whole or not at all.
                _ if field.is_map() && sifted.lost_symbol => Fate::Goes,
                Some(rest) => Fate::Becomes(rest),
                None => Fate::Stays,
            })
        }
        _ => Ok(Fate::Stays),
    }
}

/// True if a number without a name is no value of the enum.
fn is_closed(of: &EnumDescriptor) -> bool {
    of.parent_file().syntax() == Syntax::Proto2
}

/// Numbers of enums have 32 bits; what lies above is cut off.
fn is_known(of: &EnumDescriptor, number: u64) -> bool {
    of.get_value(number as i32).is_some()
}

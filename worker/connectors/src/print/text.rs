//! Rows as Flink's `Row.toString` writes them.

use super::java;
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StringViewArray,
    StructArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::type_name;
use streamfleet_types::RowKind;

/// The values of a column, ready to be written.
pub struct Cells<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a [i128], i8),
    Text(&'a StringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    Date(&'a [i32]),
    /// Time of day in so many units a second.
    Time(ScalarBuffer<i64>, i64),
    /// Timestamp in so many units a second, and whether it has a zone.
    Timestamp(&'a [i64], i64, bool),
    Row(Vec<Cells<'a>>),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, Box<Cells<'a>>, Box<Cells<'a>>),
}

/// Refuses a column whose values have no text here.
pub fn check(table: &str, field: &Field) -> Result<(), DataflowError> {
    let empty = arrow::array::new_empty_array(field.data_type());
    Cells::of(empty.as_ref()).map(drop).map_err(|_| DataflowError::Unsupported {
        operator: format!("table {table}"),
        detail: format!(
            "connector 'print' cannot write column `{}` of type {}",
            field.name(),
            type_name(field.data_type())
        ),
    })
}

fn timestamps<'a, T: ArrowTimestampType>(array: &'a dyn Array, per_second: i64, zoned: bool) -> Values<'a> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    Values::Timestamp(array.values(), per_second, zoned)
}

impl<'a> Cells<'a> {
    /// The values of an array.
    pub fn of(array: &'a dyn Array) -> Result<Self, DataflowError> {
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) => Values::Decimal(array.as_primitive::<Decimal128Type>().values(), *scale),
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Utf8View => Values::TextView(array.as_string_view()),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
            DataType::Time32(TimeUnit::Second) => {
                Values::Time(array.as_primitive::<Time32SecondType>().values().iter().map(|&v| v.into()).collect(), 1)
            }
            DataType::Time32(_) => {
                let values = array.as_primitive::<Time32MillisecondType>().values();
                Values::Time(values.iter().map(|&v| v.into()).collect(), 1_000)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::Time(array.as_primitive::<Time64MicrosecondType>().values().clone(), 1_000_000)
            }
            DataType::Time64(_) => {
                Values::Time(array.as_primitive::<Time64NanosecondType>().values().clone(), 1_000_000_000)
            }
            DataType::Timestamp(unit, zone) => match unit {
                TimeUnit::Second => timestamps::<TimestampSecondType>(array, 1, zone.is_some()),
                TimeUnit::Millisecond => timestamps::<TimestampMillisecondType>(array, 1_000, zone.is_some()),
                TimeUnit::Microsecond => timestamps::<TimestampMicrosecondType>(array, 1_000_000, zone.is_some()),
                TimeUnit::Nanosecond => timestamps::<TimestampNanosecondType>(array, 1_000_000_000, zone.is_some()),
            },
            DataType::Struct(_) => {
                let array: &StructArray = array.as_struct();
                Values::Row(array.columns().iter().map(|c| Self::of(c.as_ref())).collect::<Result<_, _>>()?)
            }
            DataType::List(_) => {
                let array: &ListArray = array.as_list();
                Values::List(array, Box::new(Self::of(array.values().as_ref())?))
            }
            DataType::Map(..) => {
                let array: &MapArray = array.as_map();
                let (keys, values) = (Self::of(array.keys().as_ref())?, Self::of(array.values().as_ref())?);
                Values::Map(array, Box::new(keys), Box::new(values))
            }
            other => {
                return Err(DataflowError::Unsupported {
                    operator: "connector 'print'".into(),
                    detail: format!("values of type {other}"),
                });
            }
        };
        Ok(Self { array, values })
    }

    /// Writes one value.
    pub fn write(&self, out: &mut Vec<u8>, row: usize) {
        if self.array.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Values::Int8(values) => java::integer(out, values[row].into()),
            Values::Int16(values) => java::integer(out, values[row].into()),
            Values::Int32(values) => java::integer(out, values[row].into()),
            Values::Int64(values) => java::integer(out, values[row]),
            Values::Float32(values) => java::float(out, values[row]),
            Values::Float64(values) => java::double(out, values[row]),
            Values::Decimal(values, scale) => java::decimal(out, values[row], *scale),
            Values::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::TextView(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::Bytes(values) => {
                let bytes = values.value(row);
                write_list(out, bytes.len(), [b'[', b']'], |out, n| java::integer(out, (bytes[n] as i8).into()));
            }
            Values::Date(values) => java::date(out, values[row].into()),
            Values::Time(values, per_second) => {
                let (seconds, rest) = (values[row] / per_second, values[row] % per_second);
                java::time(out, seconds, rest * (1_000_000_000 / per_second));
            }
            Values::Timestamp(values, per_second, zoned) => java::timestamp(out, values[row], *per_second, *zoned),
            Values::Row(columns) => write_row(out, RowKind::Insert, columns, row),
            Values::List(list, values) => {
                let first = list.value_offsets()[row] as usize;
                write_list(out, list.value_length(row) as usize, [b'[', b']'], |out, n| values.write(out, first + n));
            }
            Values::Map(map, keys, values) => {
                let first = map.value_offsets()[row] as usize;
                write_list(out, map.value_length(row) as usize, [b'{', b'}'], |out, n| {
                    keys.write(out, first + n);
                    out.push(b'=');
                    values.write(out, first + n);
                });
            }
        }
    }
}

fn write_list(out: &mut Vec<u8>, length: usize, [open, close]: [u8; 2], write: impl Fn(&mut Vec<u8>, usize)) {
    out.push(open);
    for n in 0..length {
        if n > 0 {
            out.extend_from_slice(b", ");
        }
        write(out, n);
    }
    out.push(close);
}

/// Writes one row: its kind, then its values in brackets.
pub fn write_row(out: &mut Vec<u8>, kind: RowKind, columns: &[Cells<'_>], row: usize) {
    out.extend_from_slice(kind.short_name().as_bytes());
    write_list(out, columns.len(), [b'[', b']'], |out, column| columns[column].write(out, row));
}

//! Flink's names of Arrow types.

use arrow::datatypes::{DataType, TimeUnit};

/// Flink's name of a type.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let precision = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match data_type {
        T::Null => "NULL".to_owned(),
        T::Boolean => "BOOLEAN".to_owned(),
        T::Int8 => "TINYINT".to_owned(),
        T::Int16 => "SMALLINT".to_owned(),
        T::Int32 => "INT".to_owned(),
        T::Int64 => "BIGINT".to_owned(),
        T::Float32 => "FLOAT".to_owned(),
        T::Float64 => "DOUBLE".to_owned(),
        T::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "STRING".to_owned(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BYTES".to_owned(),
        T::Date32 | T::Date64 => "DATE".to_owned(),
        T::Time32(_) | T::Time64(_) => "TIME".to_owned(),
        T::Timestamp(unit, None) => format!("TIMESTAMP({})", precision(unit)),
        T::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", precision(unit)),
        T::Interval(_) | T::Duration(_) => "INTERVAL".to_owned(),
        T::List(element) | T::LargeList(element) => format!("ARRAY<{}>", type_name(element.data_type())),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) if fields.len() == 2 => {
                format!("MAP<{}, {}>", type_name(fields[0].data_type()), type_name(fields[1].data_type()))
            }
            other => other.to_string(),
        },
        T::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("`{}` {}", f.name(), type_name(f.data_type()))).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        other => other.to_string(),
    }
}

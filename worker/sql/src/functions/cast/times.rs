//! Dates, times and timestamps as one another. The session's zone is UTC.

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, PrimitiveArray, Time32MillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
};
use datafusion_common::{Result, exec_err};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;

/// Steps of a unit in a second.
pub(crate) const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Cuts off what a coarser type does not hold: towards the past, whole seconds towards 1970.
pub(super) fn column(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let micros = match array.data_type() {
        DataType::Timestamp(unit, _) => {
            let by = 1_000_000 / per_second(*unit).min(1_000_000);
            cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().unary::<_, Int64Type>(|v| v.wrapping_mul(by))
        }
        DataType::Date32 => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .unary::<_, Int64Type>(|v| v * DAY),
        other => return exec_err!("no conversion of {other} to {to}"),
    };
    let is_local = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    Ok(match to {
        // As Flink does it: towards 1970 without a zone, towards the past with one.
        DataType::Date32 => {
            let day = |v: i64| if is_local { v.div_euclid(DAY) } else { v.div_euclid(1_000) * 1_000 / DAY } as i32;
            Arc::new(Date32Array::from_iter(micros.iter().map(|v| v.map(day))))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            // TIME has whole seconds.
            let second = |v: i64| (if is_local { v.rem_euclid(DAY) } else { v % DAY } / 1_000_000 * 1_000) as i32;
            Arc::new(Time32MillisecondArray::from_iter(micros.iter().map(|v| v.map(second))))
        }
        DataType::Timestamp(unit, zone) => {
            let by = 1_000_000 / per_second(*unit).min(1_000_000);
            let zone = zone.clone();
            macro_rules! of {
                ($kind:ty) => {{
                    let values: PrimitiveArray<$kind> = micros.unary(|v| v.div_euclid(by));
                    Arc::new(values.with_timezone_opt(zone))
                }};
            }
            match unit {
                TimeUnit::Second => {
                    let values: PrimitiveArray<TimestampSecondType> = micros.unary(|v| v.div_euclid(1_000) / 1_000);
                    Arc::new(values.with_timezone_opt(zone))
                }
                TimeUnit::Millisecond => of!(TimestampMillisecondType),
                _ => of!(TimestampMicrosecondType),
            }
        }
        other => return exec_err!("no conversion of {} to {other}", array.data_type()),
    })
}

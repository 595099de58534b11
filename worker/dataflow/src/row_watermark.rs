//! The watermark that rows allow.

use crate::{DataflowError, Projector};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::TimestampMillisecondType;
use datafusion_common::{DFSchemaRef, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, Operator};
use streamfleet_types::Millis;

/// The expression of `WATERMARK FOR`. Nearly always it is a column less a span: then the span is taken off once per batch, for
/// calendar arithmetic on every row costs more than reading it.
pub struct RowWatermark {
    time: Projector,
    delay: Millis,
}

impl RowWatermark {
    /// # Errors
    /// The expression cannot be computed over the input.
    pub fn new(operator: &str, expression: &Expr, input: &DFSchemaRef) -> Result<Self, DataflowError> {
        let (time, delay) = without_delay(expression).unwrap_or((expression, 0));
        Ok(Self { time: Projector::timestamp(operator, time, input)?, delay })
    }

    /// The greatest of the rows'; `None` if no row has an event time.
    ///
    /// # Errors
    /// The expression fails on a row.
    pub fn greatest(&self, rows: &RecordBatch) -> Result<Option<Millis>, DataflowError> {
        let times = self.time.project(rows)?;
        let greatest = compute::max(times.column(0).as_primitive::<TimestampMillisecondType>());
        Ok(greatest.map(|time| time.saturating_sub(self.delay)))
    }
}

/// `time - INTERVAL ..` taken apart, if the span is a fixed number of milliseconds.
fn without_delay(expression: &Expr) -> Option<(&Expr, Millis)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) = expression else { return None };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) = right.as_ref() else { return None };
    let is_fixed = span.months == 0 && span.nanoseconds % 1_000_000 == 0;
    is_fixed.then(|| (left.as_ref(), i64::from(span.days) * 86_400_000 + span.nanoseconds / 1_000_000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit};
    use datafusion_common::DFSchema;
    use datafusion_expr::{col, lit};
    use std::sync::Arc;

    #[test]
    fn a_span_of_any_kind_is_taken_off() {
        let field = Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let of = Arc::new(DFSchema::try_from(schema.as_ref().clone()).unwrap());
        let rows = |times: Vec<Option<i64>>| {
            let column = Arc::new(TimestampMillisecondArray::from(times));
            RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()
        };
        // 31 March 2024, 12:00: a month before is the last of February.
        let noon = 1_711_886_400_000;
        let greatest = |months, days, nanoseconds| {
            let span = lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })));
            let watermark = RowWatermark::new("scan", &(col("ts") - span), &of).unwrap();
            assert_eq!(watermark.greatest(&rows(vec![None])).unwrap(), None);
            watermark.greatest(&rows(vec![Some(7), None, Some(noon), Some(9)])).unwrap().unwrap()
        };
        assert_eq!(greatest(0, 0, 4_000_000_000), noon - 4_000);
        assert_eq!(greatest(0, 2, 1_000_000), noon - 2 * 86_400_000 - 1);
        assert_eq!(greatest(1, 0, 0), noon - 31 * 86_400_000);
        let plain = RowWatermark::new("scan", &col("ts"), &of).unwrap();
        assert_eq!(plain.greatest(&rows(vec![Some(3), Some(5)])).unwrap(), Some(5));
    }
}

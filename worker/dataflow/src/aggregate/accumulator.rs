//! The calls of an aggregation: which columns they keep, how rows change them, what they come to.

use super::Signs;
use super::distinct::Distinct;
use super::extremes::Extremes;
use super::number::{Number, Numbers};
use super::values::GroupFields;
use crate::DataflowError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, SchemaRef};
use std::sync::Arc;
use streamfleet_logical::{AggregateCall, AggregateFunction, supported};
use streamfleet_state::{RowId, RowLayout, RowTable};
use streamfleet_types::Batch;

/// What a call keeps, from its first column on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// `count`.
    Count,
    /// `sum`, `count`.
    Sum(Number),
    /// `sum`, `count`.
    Average(Number),
    /// `value`; the greatest if true, else the least.
    Extreme(Number, bool),
    /// `value`, a string.
    ExtremeText(bool),
    /// `value`, any type: the first if true, else the last.
    Edge(bool),
}

struct Accumulator {
    call: AggregateCall,
    kept: Kept,
    /// Its first column among the value columns.
    first: usize,
    /// Fraction digits of a decimal argument.
    scale: i8,
    distinct: Option<Distinct>,
    /// All values, where the first one may be taken back.
    extremes: Option<Extremes>,
}

/// The calls of one aggregation.
pub(crate) struct Accumulators {
    operator: String,
    calls: Vec<Accumulator>,
    fields: Vec<FieldRef>,
}

impl Accumulators {
    /// The value columns begin with `first_fields`, then come the calls'.
    pub fn new(
        operator: &str,
        calls: &[AggregateCall],
        input: &SchemaRef,
        groups: GroupFields<'_>,
        first_fields: Vec<FieldRef>,
        input_changes: bool,
    ) -> Result<Self, DataflowError> {
        let mut accumulators = Self { operator: operator.to_owned(), calls: Vec::new(), fields: first_fields };
        for (number, call) in calls.iter().enumerate() {
            accumulators.add(number, call, input, groups, input_changes)?;
        }
        Ok(accumulators)
    }

    fn add(
        &mut self,
        number: usize,
        call: &AggregateCall,
        input: &SchemaRef,
        groups: GroupFields<'_>,
        input_changes: bool,
    ) -> Result<(), DataflowError> {
        let unsupported = |detail: String| DataflowError::Unsupported { operator: self.operator.clone(), detail };
        let argument = call.argument.map(|a| input.field(a).data_type().clone());
        supported(call, argument.as_ref(), input_changes).map_err(|refusal| unsupported(refusal.to_string()))?;
        let number_of = || {
            let data_type = argument.as_ref()?;
            Number::of(data_type)
        };
        let no_type = || unsupported(format!("{} of {}", call.function, argument.clone().unwrap_or(DataType::Null)));
        let kept = match call.function {
            AggregateFunction::Count => Kept::Count,
            AggregateFunction::Sum => Kept::Sum(number_of().ok_or_else(no_type)?),
            AggregateFunction::Avg => Kept::Average(number_of().ok_or_else(no_type)?),
            AggregateFunction::Min | AggregateFunction::Max => {
                let greatest = call.function == AggregateFunction::Max;
                match (number_of(), &argument) {
                    (Some(number), _) => Kept::Extreme(number, greatest),
                    (None, Some(DataType::Utf8)) => Kept::ExtremeText(greatest),
                    _ => return Err(no_type()),
                }
            }
            AggregateFunction::FirstValue => Kept::Edge(true),
            AggregateFunction::LastValue => Kept::Edge(false),
        };
        let distinct = match (&argument, call.distinct, kept) {
            (_, _, Kept::Extreme(..) | Kept::ExtremeText(_)) => None,
            (Some(data_type), true, _) => Some(Distinct::new(number, groups, data_type)?),
            _ => None,
        };
        let scale = match argument {
            Some(DataType::Decimal128(_, scale)) => scale,
            _ => 0,
        };
        let extremes = match kept {
            Kept::Extreme(kind, greatest) if input_changes => {
                Some(Extremes::new(number, groups, Some(kind), kept_type(kind, scale), greatest)?)
            }
            Kept::ExtremeText(greatest) if input_changes => {
                Some(Extremes::new(number, groups, None, DataType::Utf8, greatest)?)
            }
            _ => None,
        };
        let first = self.fields.len();
        let mut field = |suffix: &str, data_type: DataType| {
            self.fields.push(Arc::new(Field::new(format!("{}{number}_{suffix}", call.function), data_type, true)));
        };
        match kept {
            Kept::Count => field("count", DataType::Int64),
            Kept::Sum(number) | Kept::Average(number) => {
                field("sum", kept_type(number, scale));
                field("count", DataType::Int64);
            }
            Kept::Extreme(number, _) => field("value", kept_type(number, scale)),
            Kept::ExtremeText(_) => field("value", DataType::Utf8),
            Kept::Edge(_) => field("value", argument.ok_or_else(|| unsupported("an aggregate of *".to_owned()))?),
        }
        self.calls.push(Accumulator { call: call.clone(), kept, first, scale, distinct, extremes });
        Ok(())
    }

    /// The value columns.
    pub fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// The tables of calls that keep single values.
    pub fn tables(&mut self) -> impl Iterator<Item = &mut RowTable> {
        self.calls.iter_mut().flat_map(|call| {
            let distinct = call.distinct.iter_mut().map(|d| &mut d.values.table);
            distinct.chain(call.extremes.iter_mut().map(|e| &mut e.values.table))
        })
    }

    /// Rebuilds what is derived from the tables; `groups` has the groups.
    pub fn restored(&mut self, groups: &RowTable) -> Result<(), DataflowError> {
        for call in &mut self.calls {
            call.distinct.as_mut().map_or(Ok(()), |d| d.restored(groups))?;
            call.extremes.as_mut().map_or(Ok(()), |e| e.restored(groups))?;
        }
        Ok(())
    }

    /// Lets the single values of groups go, which are being removed: [`Self::finish_drop`] removes them.
    pub fn drop_groups(&mut self, groups: &[RowId]) {
        for call in &mut self.calls {
            if let Some(distinct) = &mut call.distinct {
                groups.iter().for_each(|group| distinct.drop_group(*group));
            }
            if let Some(extremes) = &mut call.extremes {
                groups.iter().for_each(|group| extremes.drop_group(*group));
            }
        }
    }

    /// Removes up to `limit` of the values that were let go; true if none is left.
    pub fn finish_drop(&mut self, limit: usize) -> bool {
        let mut left = limit;
        for call in &mut self.calls {
            while left > 0 && call.distinct.as_mut().is_some_and(Distinct::drop_one) {
                left -= 1;
            }
            while left > 0 && call.extremes.as_mut().is_some_and(Extremes::drop_one) {
                left -= 1;
            }
        }
        left > 0
    }

    /// A group's value before its first row.
    pub fn initial(&self, layout: &RowLayout) -> Vec<u8> {
        let mut row = layout.null_row();
        for accumulator in &self.calls {
            match accumulator.kept {
                Kept::Count => layout.set_i64(&mut row, accumulator.first, 0),
                Kept::Sum(_) | Kept::Average(_) => layout.set_i64(&mut row, accumulator.first + 1, 0),
                Kept::Extreme(..) | Kept::ExtremeText(_) | Kept::Edge(_) => {}
            }
        }
        row
    }

    /// Takes the rows of a batch into their groups' rows of `table`. `source` names the batch's row behind each entry of
    /// `groups`: a row may be in several windows. `identity` are the columns that tell groups apart, `hashes` those of the
    /// key, both by entry.
    pub fn update(
        &mut self,
        table: &mut RowTable,
        groups: &[RowId],
        source: Option<&[u32]>,
        identity: &[ArrayRef],
        hashes: &[u64],
        batch: &Batch,
    ) -> Result<(), DataflowError> {
        let of = |entry: usize| source.map_or(entry, |s| s[entry] as usize);
        let base: Signs = (0..groups.len()).map(|e| if batch.kind(of(e)).is_addition() { 1 } else { -1 }).collect();
        for accumulator in &mut self.calls {
            let mut signs = base.clone();
            if let Some(filter) = accumulator.call.filter {
                let mask: &BooleanArray = batch.column(filter).as_boolean();
                for (entry, sign) in signs.iter_mut().enumerate() {
                    if mask.is_null(of(entry)) || !mask.value(of(entry)) {
                        *sign = 0;
                    }
                }
            }
            let argument = match (accumulator.call.argument, source) {
                (None, _) => None,
                (Some(column), None) => Some(batch.column(column).clone()),
                (Some(column), Some(rows)) => {
                    let rows = arrow::array::UInt32Array::from(rows.to_vec());
                    Some(arrow::compute::take(batch.column(column), &rows, None)?)
                }
            };
            if let Some(argument) = &argument {
                if let Some(distinct) = &mut accumulator.distinct {
                    distinct.restrict(groups, identity, hashes, argument, &mut signs)?;
                }
                if let Some(nulls) = argument.logical_nulls() {
                    signs.iter_mut().zip(&nulls).for_each(|(s, valid)| *s *= i8::from(valid));
                }
            }
            if let (Some(extremes), Some(argument)) = (&mut accumulator.extremes, &argument) {
                extremes.update(table, accumulator.first, groups, identity, hashes, argument, &signs)?;
                continue;
            }
            accumulator.apply(&self.operator, table, groups, &signs, argument.as_ref())?;
        }
        Ok(())
    }

    /// The results of groups, one column per call, given their values.
    pub fn results(&self, layout: &RowLayout, values: &[&[u8]]) -> Result<Vec<ArrayRef>, DataflowError> {
        self.calls.iter().map(|c| c.result(&self.operator, layout, values)).collect()
    }
}

const fn kept_type(number: Number, scale: i8) -> DataType {
    match number {
        Number::Integer => DataType::Int64,
        Number::Decimal => DataType::Decimal128(38, scale),
        Number::Float => DataType::Float64,
    }
}

impl Accumulator {
    fn apply(
        &self,
        operator: &str,
        table: &mut RowTable,
        groups: &[RowId],
        signs: &Signs,
        argument: Option<&ArrayRef>,
    ) -> Result<(), DataflowError> {
        let first = self.first;
        let overflow = || DataflowError::Overflow {
            operator: operator.to_owned(),
            detail: format!("{} does not fit its type {}", self.call.name, self.call.result),
        };
        let entries = groups.iter().zip(signs).enumerate().filter(|(_, (_, sign))| **sign != 0);
        match self.kept {
            Kept::Count => {
                for (_, (group, sign)) in entries {
                    table.update(*group, |layout, row| {
                        layout.set_i64(row, first, layout.get_i64(row, first) + i64::from(*sign));
                    });
                }
            }
            Kept::Sum(kind) | Kept::Average(kind) => {
                let numbers = Numbers::of(argument.expect("a sum has an argument"), kind)?;
                let mut fits = true;
                for (entry, (group, sign)) in entries {
                    table.update(*group, |layout, row| {
                        layout.set_i64(row, first + 1, layout.get_i64(row, first + 1) + i64::from(*sign));
                        match kind {
                            Number::Integer => {
                                let change = numbers.integers()[entry].checked_mul(i64::from(*sign));
                                let sum = change.and_then(|c| layout.get_i64(row, first).checked_add(c));
                                fits &= sum.is_some();
                                layout.set_i64(row, first, sum.unwrap_or_default());
                            }
                            Number::Decimal => {
                                let change = numbers.decimals()[entry].checked_mul(i128::from(*sign));
                                let sum = change.and_then(|c| layout.get_i128(row, first).checked_add(c));
                                fits &= sum.is_some();
                                layout.set_i128(row, first, sum.unwrap_or_default());
                            }
                            Number::Float => {
                                let sum = layout.get_f64(row, first) + numbers.floats()[entry] * f64::from(*sign);
                                layout.set_f64(row, first, sum);
                            }
                        }
                    });
                }
                if !fits {
                    return Err(overflow());
                }
            }
            Kept::Extreme(kind, greatest) => {
                let numbers = Numbers::of(argument.expect("an extreme has an argument"), kind)?;
                for (entry, (group, _)) in entries.filter(|(entry, _)| numbers.is_valid(*entry)) {
                    table.update_if(
                        *group,
                        |layout, row| {
                            let none = layout.is_null(row, first);
                            let order = match kind {
                                Number::Integer => numbers.integers()[entry].cmp(&layout.get_i64(row, first)),
                                Number::Decimal => numbers.decimals()[entry].cmp(&layout.get_i128(row, first)),
                                Number::Float => numbers.floats()[entry].total_cmp(&layout.get_f64(row, first)),
                            };
                            none || (if greatest { order.is_gt() } else { order.is_lt() })
                        },
                        |layout, row| match kind {
                            Number::Integer => layout.set_i64(row, first, numbers.integers()[entry]),
                            Number::Decimal => layout.set_i128(row, first, numbers.decimals()[entry]),
                            Number::Float => layout.set_f64(row, first, numbers.floats()[entry]),
                        },
                    );
                }
            }
            Kept::ExtremeText(greatest) => {
                let texts = argument.expect("an extreme has an argument").as_string::<i32>();
                let mut changed = Vec::new();
                for (entry, (group, _)) in entries {
                    let text = texts.value(entry).as_bytes();
                    let row = table.value(*group);
                    let layout = table.value_layout();
                    let order = text.cmp(if layout.is_null(row, first) { b"" } else { layout.get_bytes(row, first) });
                    if layout.is_null(row, first) || (if greatest { order.is_gt() } else { order.is_lt() }) {
                        layout.with_bytes(row, first, Some(text), &mut changed);
                        table.replace(*group, &changed);
                    }
                }
            }
            Kept::Edge(is_first) => {
                let argument = argument.expect("an edge has an argument");
                let field: FieldRef = Arc::new(Field::new("value", argument.data_type().clone(), true));
                let single = RowLayout::new(operator, &[field])?;
                let (mut encoded, mut changed) = (streamfleet_state::Rows::new(), Vec::new());
                single.encode(std::slice::from_ref(argument), argument.len(), &mut encoded)?;
                for (entry, (group, _)) in entries {
                    let (row, layout) = (table.value(*group), table.value_layout());
                    if !is_first || layout.is_null(row, first) {
                        layout.with_column(row, first, &single, encoded.get(entry), &mut changed);
                        table.replace(*group, &changed);
                    }
                }
            }
        }
        Ok(())
    }

    fn result(&self, operator: &str, layout: &RowLayout, values: &[&[u8]]) -> Result<ArrayRef, DataflowError> {
        let column = match self.kept {
            Kept::Count | Kept::ExtremeText(_) | Kept::Edge(_) => layout.decode_column(self.first, values)?,
            Kept::Extreme(..) => restored_type(&layout.decode_column(self.first, values)?, &self.call.result)?,
            Kept::Sum(_) => {
                let sums = layout.decode_column(self.first, values)?;
                let empty: BooleanArray = values.iter().map(|v| Some(layout.get_i64(v, self.first + 1) == 0)).collect();
                let sums = arrow::compute::nullif(&sums, &empty)?;
                let fits = cast(&sums, &self.call.result)?;
                if fits.null_count() > sums.null_count() {
                    let detail = format!("{} does not fit its type {}", self.call.name, self.call.result);
                    return Err(DataflowError::Overflow { operator: operator.to_owned(), detail });
                }
                fits
            }
            Kept::Average(kind) => cast(&self.averages(kind, layout, values), &self.call.result)?,
        };
        Ok(column)
    }

    fn averages(&self, kind: Number, layout: &RowLayout, values: &[&[u8]]) -> ArrayRef {
        let count = |v: &[u8]| Some(layout.get_i64(v, self.first + 1)).filter(|n| *n != 0);
        match kind {
            // Flink's average of integers is an integer, cut towards zero.
            Number::Integer => {
                let one = |v: &&[u8]| count(v).map(|n| layout.get_i64(v, self.first) / n);
                Arc::new(values.iter().map(one).collect::<Int64Array>())
            }
            Number::Float => {
                let one = |v: &&[u8]| count(v).map(|n| layout.get_f64(v, self.first) / n as f64);
                Arc::new(values.iter().map(one).collect::<Float64Array>())
            }
            Number::Decimal => {
                let result_scale = match self.call.result {
                    DataType::Decimal128(_, scale) => scale,
                    _ => self.scale,
                };
                let factor = 10i128.pow((result_scale - self.scale).max(0) as u32);
                let one = |v: &&[u8]| {
                    count(v).map(|n| {
                        let (sum, n) = (layout.get_i128(v, self.first) * factor, i128::from(n));
                        let half = if (sum < 0) == (n < 0) { n / 2 } else { -(n / 2) };
                        (sum + half) / n
                    })
                };
                let averages: PrimitiveArray<Decimal128Type> = values.iter().map(one).collect();
                Arc::new(averages.with_data_type(DataType::Decimal128(38, result_scale)))
            }
        }
    }
}

/// Integers as the temporal or narrow type that they stand for.
fn restored_type(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, DataflowError> {
    let narrow = match data_type {
        DataType::Date32 | DataType::Time32(_) => cast(column, &DataType::Int32)?,
        _ => column.clone(),
    };
    Ok(cast(&narrow, data_type)?)
}

//! Aggregates per key and window, and emits a window when the watermark passes its end.
//!
//! # State tables
//! `windows`: key, (window end, window start) -> row count, accumulators. `distinct<n>` per DISTINCT call: key, (window end,
//! window start, value) -> count. `values<n>` per MIN or MAX of a changelog: likewise.
//!
//! # On batch
//! Every row goes to each of its windows that is still open; a row without one is late and counted, and so is one without an
//! event time.
//!
//! # On time
//! Windows that end at or before the watermark (+ 1 ms) are emitted in the order of their ends, and forgotten with all their
//! values.

use super::group_aggregate::key_fields;
use super::window_assign::time_column;
use super::{Operator, OperatorContext};
use crate::aggregate::{Accumulators, GroupFields};
use crate::{DataflowError, Flow, Output};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit, TimestampMillisecondType};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::{WindowAggregateSpec, WindowInput};
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, MAX_WATERMARK, MIN_WATERMARK, Millis};

/// Value column with the number of rows in the group.
const ROWS: usize = 0;

/// Values of windows that were emitted, removed in one call.
const DROP_VALUES: usize = 64 * 1024;

/// See the module.
pub struct WindowAggregateOperator {
    window: WindowInput,
    keys: Vec<usize>,
    accumulators: Accumulators,
    table: RowTable,
    initial: Vec<u8>,
    output: SchemaRef,
    watermark: Millis,
    late_rows: u64,
    timeless_rows: u64,
    /// The groups of every open window, by its end.
    open: BTreeMap<Millis, Vec<RowId>>,
    /// Of a window being emitted: what is left, last first.
    firing: Vec<RowId>,
    input_changes: bool,
    scratch: Rows,
}

/// The windows that the rows of a batch fall into: one entry per row and open window.
#[derive(Default)]
struct Assigned {
    rows: Vec<u32>,
    starts: Vec<Millis>,
    ends: Vec<Millis>,
}

impl WindowAggregateOperator {
    /// # Errors
    /// An aggregate of a type that is not supported, or not over changes.
    pub fn new(spec: &WindowAggregateSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = &context.inputs[0];
        let keys = key_fields(&spec.keys, input);
        let rows: FieldRef = Arc::new(Field::new("rows", DataType::Int64, false));
        let changes = context.input_changes[0];
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        let time = |name: &str| -> FieldRef { Arc::new(Field::new(name, millis.clone(), false)) };
        let window = vec![time("window_end"), time("window_start")];
        let groups = GroupFields { key: &keys, window: &window };
        let accumulators = Accumulators::new(&context.name, &spec.aggregates, input, groups, vec![rows], changes)?;
        let schema = TableSchema {
            name: "windows".to_owned(),
            key: keys,
            sub_key: window,
            value: accumulators.fields().to_vec(),
        };
        let table = RowTable::new(schema)?;
        let mut initial = accumulators.initial(table.value_layout());
        table.value_layout().set_i64(&mut initial, ROWS, 0);
        Ok(Self {
            window: spec.window.clone(),
            keys: spec.keys.clone(),
            accumulators,
            table,
            initial,
            output: context.output,
            watermark: MIN_WATERMARK,
            late_rows: 0,
            timeless_rows: 0,
            open: BTreeMap::new(),
            firing: Vec::new(),
            input_changes: changes,
            scratch: Rows::new(),
        })
    }

    fn is_open(&self, end: Millis) -> bool {
        end - 1 > self.watermark
    }

    fn assign(&mut self, batch: &Batch) -> Assigned {
        let mut assigned = Assigned::default();
        let time = match &self.window {
            WindowInput::Assign { time, .. } => *time,
            WindowInput::Attached { end, .. } => *end,
        };
        let times = batch.column(time).as_primitive::<TimestampMillisecondType>();
        self.timeless_rows += times.null_count() as u64;
        let mut late = 0;
        for row in (0..batch.rows()).filter(|row| times.is_valid(*row)) {
            let before = assigned.rows.len();
            let mut put = |start: Millis, end: Millis| {
                if end - 1 > self.watermark {
                    assigned.rows.push(row as u32);
                    assigned.starts.push(start);
                    assigned.ends.push(end);
                }
            };
            match &self.window {
                WindowInput::Assign { window, .. } => window.windows_of(times.value(row), &mut put),
                WindowInput::Attached { start, .. } => {
                    let starts = batch.column(*start).as_primitive::<TimestampMillisecondType>();
                    put(starts.value(row), times.value(row));
                }
            }
            late += u64::from(assigned.rows.len() == before);
        }
        self.late_rows += late;
        assigned
    }

    fn aggregate(&mut self, batch: &Batch, assigned: &Assigned) -> Result<(), DataflowError> {
        let every_row_once = assigned.rows.len() == batch.rows()
            && assigned.rows.iter().enumerate().all(|(entry, row)| entry == *row as usize);
        let indices = UInt32Array::from(assigned.rows.clone());
        let mut keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let column = batch.column(*key);
            keys.push(if every_row_once { column.clone() } else { take(column, &indices, None)? });
        }
        let hashes = hash_columns(&keys, assigned.rows.len())?;
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        let mut identity = keys.clone();
        identity.push(time_column(assigned.ends.clone(), &millis));
        identity.push(time_column(assigned.starts.clone(), &millis));
        self.scratch.clear();
        self.table.key_layout().encode(&identity, assigned.rows.len(), &mut self.scratch)?;
        let mut groups = Vec::with_capacity(assigned.rows.len());
        for (entry, hash) in hashes.iter().enumerate() {
            let (group, inserted) = self.table.find_or_insert(*hash, self.scratch.get(entry), &self.initial);
            if inserted {
                self.open.entry(assigned.ends[entry]).or_default().push(group);
            }
            groups.push(group);
        }
        if self.input_changes {
            for (group, row) in groups.iter().zip(&assigned.rows) {
                let sign = if batch.kind(*row as usize).is_addition() { 1 } else { -1 };
                self.table.update(*group, |layout, value| {
                    layout.set_i64(value, ROWS, layout.get_i64(value, ROWS) + sign);
                });
            }
        }
        let source = (!every_row_once).then_some(assigned.rows.as_slice());
        self.accumulators.update(&mut self.table, &groups, source, &identity, &hashes, batch)
    }

    /// Emits what is due, as far as there is room.
    fn fire(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            while !self.firing.is_empty() {
                if !output.has_room() {
                    return Ok(Flow::More);
                }
                let from = self.firing.len().saturating_sub(Output::BATCH_ROWS);
                let mut groups = self.firing.split_off(from);
                groups.reverse();
                self.emit(&groups, output)?;
                self.accumulators.drop_groups(&groups);
                groups.into_iter().for_each(|group| self.table.remove(group));
            }
            if !self.accumulators.finish_drop(DROP_VALUES) {
                return Ok(Flow::More);
            }
            match self.open.first_entry() {
                Some(window) if *window.key() - 1 <= self.watermark => {
                    self.firing = window.remove();
                    self.firing.reverse();
                }
                _ => return Ok(Flow::Done),
            }
        }
    }

    fn emit(&self, groups: &[RowId], output: &mut Output) -> Result<(), DataflowError> {
        let layout = self.table.value_layout();
        // A group whose rows were all taken back is no group.
        let is_there = |g: &&RowId| !self.input_changes || layout.get_i64(self.table.value(**g), ROWS) > 0;
        let groups: Vec<&RowId> = groups.iter().filter(is_there).collect();
        let keys: Vec<&[u8]> = groups.iter().map(|g| self.table.key(**g)).collect();
        let values: Vec<&[u8]> = groups.iter().map(|g| self.table.value(**g)).collect();
        let mut columns: Vec<ArrayRef> = self.table.key_layout().decode(&keys)?;
        let starts = columns.pop().expect("the key ends in the window's start");
        let ends = columns.pop().expect("the key has the window's end");
        let ends = ends.as_primitive::<TimestampMillisecondType>().values().to_vec();
        let starts = starts.as_primitive::<TimestampMillisecondType>().values().to_vec();
        columns.extend(self.accumulators.results(layout, &values)?);
        let times = ends.iter().map(|end| end - 1).collect();
        for window in [starts, ends, times] {
            let data_type = self.output.field(columns.len()).data_type();
            columns.push(time_column(window, data_type));
        }
        output.push(Batch::inserts(RecordBatch::try_new(Arc::clone(&self.output), columns)?));
        Ok(())
    }
}

impl Operator for WindowAggregateOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        std::iter::once(&mut self.table).chain(self.accumulators.tables()).collect()
    }

    fn restored(&mut self, watermark: Millis) -> Result<(), DataflowError> {
        self.watermark = watermark;
        self.open.clear();
        let end = self.keys.len();
        for group in self.table.iter() {
            let end = self.table.key_layout().get_i64(self.table.key(group), end);
            self.open.entry(end).or_default().push(group);
        }
        self.accumulators.restored(&self.table)
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, _output: &mut Output) -> Result<Flow, DataflowError> {
        let assigned = self.assign(batch);
        debug_assert!(assigned.ends.iter().all(|end| self.is_open(*end)));
        if !assigned.rows.is_empty() {
            self.aggregate(batch, &assigned)?;
        }
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, watermark: Millis, output: &mut Output) -> Result<Flow, DataflowError> {
        self.watermark = watermark;
        self.fire(output)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        // Batch mode has no watermarks: all windows end here.
        self.watermark = MAX_WATERMARK;
        self.fire(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.fire(output)
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    fn timeless_rows(&self) -> u64 {
        self.timeless_rows
    }
}

#[cfg(test)]
#[path = "window_aggregate_tests.rs"]
mod tests;

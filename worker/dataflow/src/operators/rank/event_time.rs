//! The row of every partition with the least event time: deduplication by event time. It is given when the watermark has
//! reached its time, for no row before it can come then; so it is final, and of its partition no more is kept than that.

use super::ranked;
use crate::operators::OperatorContext;
use crate::operators::stored_rows::{Added, Identity, StoredRows};
use crate::{DataflowError, Flow, Output};
use arrow::array::{Array, AsArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMillisecondType};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowId, RowTable};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, MAX_WATERMARK, MIN_WATERMARK, Millis};

/// Behind the columns of a row in state: whether its partition's row was given.
const GIVEN: i64 = 1;

/// See the module.
pub(super) struct FirstByTime {
    rows: StoredRows,
    /// Input column with the event time.
    time: usize,
    output: SchemaRef,
    output_rank: bool,
    watermark: Millis,
    /// Rows that are not given yet, by the time that they had when they were put here: an earlier row may have taken the place.
    waiting: BTreeMap<Millis, Vec<RowId>>,
    /// The value of a row that was given: what it was is forgotten.
    forgotten: Vec<u8>,
    late_rows: u64,
    timeless_rows: u64,
}

impl FirstByTime {
    pub fn new(spec: &RankSpec, time: usize, context: OperatorContext) -> Result<Self, DataflowError> {
        let given = Arc::new(Field::new("__given", DataType::Int64, false));
        let rows = StoredRows::new("rows", &context.inputs[0], &spec.partition, Identity::Key, Some(given))?;
        let layout = rows.table.value_layout();
        let mut forgotten = layout.null_row();
        layout.set_i64(&mut forgotten, rows.table.schema().value.len() - 1, GIVEN);
        Ok(Self {
            rows,
            time,
            output: context.output,
            output_rank: spec.output_rank,
            watermark: MIN_WATERMARK,
            waiting: BTreeMap::new(),
            forgotten,
            late_rows: 0,
            timeless_rows: 0,
        })
    }

    pub const fn table(&mut self) -> &mut RowTable {
        &mut self.rows.table
    }

    pub fn restored(&mut self, watermark: Millis) {
        self.watermark = watermark;
        self.waiting.clear();
        for id in self.rows.restored() {
            if let Some(time) = self.time_of(id) {
                self.waiting.entry(time).or_default().push(id);
            }
        }
    }

    /// The time of a row that is not given yet.
    fn time_of(&self, id: RowId) -> Option<Millis> {
        if self.rows.extra(id) == GIVEN { None } else { self.rows.get_i64(id, self.time) }
    }

    pub fn on_batch(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        let times = batch.column(self.time).as_primitive::<TimestampMillisecondType>();
        self.timeless_rows += times.null_count() as u64;
        let is_timely = |row: &u32| times.is_valid(*row as usize) && times.value(*row as usize) >= self.watermark;
        let timely: Vec<u32> = (0..batch.rows() as u32).filter(is_timely).collect();
        self.late_rows += (batch.rows() - times.null_count() - timely.len()) as u64;
        let batch =
            if timely.len() == batch.rows() { batch.clone() } else { batch.take(&UInt32Array::from(timely))? };
        let times = batch.column(self.time).as_primitive::<TimestampMillisecondType>().values();
        let hashes = hash_columns(&self.rows.key_columns(&batch), batch.rows())?;
        self.rows.encode(&batch, Some(Arc::new(Int64Array::from_value(0, batch.rows()))))?;
        for (row, (hash, time)) in hashes.iter().zip(times).enumerate() {
            match self.rows.add(*hash, row) {
                Added::New(id) => self.waiting.entry(*time).or_default().push(id),
                Added::Again(id, _) => {
                    if self.time_of(id).is_some_and(|before| *time < before) {
                        self.rows.replace(id, row);
                        self.waiting.entry(*time).or_default().push(id);
                    }
                }
            }
        }
        Ok(Flow::Done)
    }

    pub fn on_watermark(&mut self, watermark: Millis, output: &mut Output) -> Result<Flow, DataflowError> {
        self.watermark = watermark;
        self.give(output)
    }

    /// Batch mode has no watermarks: all rows are final here.
    pub fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.on_watermark(MAX_WATERMARK, output)
    }

    /// Gives the rows whose time the watermark has reached, the earliest first.
    pub fn give(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            let mut ids = Vec::new();
            while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= self.watermark) {
                let time = *first.key();
                let mut of_time = first.remove();
                of_time.retain(|id| self.time_of(*id) == Some(time));
                let fits = (Output::BATCH_ROWS - ids.len()).min(of_time.len());
                let rest = of_time.split_off(fits);
                ids.extend(of_time);
                if !rest.is_empty() {
                    self.waiting.insert(time, rest);
                    break;
                }
            }
            if ids.is_empty() {
                return Ok(Flow::Done);
            }
            let columns = self.rows.decoder(&ids).columns()?;
            output.push(Batch::inserts(ranked(&self.output, self.output_rank, columns, ids.len())?));
            ids.iter().for_each(|id| self.rows.table.replace(*id, &self.forgotten));
            if !output.has_room() {
                return Ok(Flow::More);
            }
        }
    }

    pub const fn late_rows(&self) -> u64 {
        self.late_rows
    }

    pub const fn timeless_rows(&self) -> u64 {
        self.timeless_rows
    }
}

#[cfg(test)]
#[path = "event_time_tests.rs"]
mod tests;

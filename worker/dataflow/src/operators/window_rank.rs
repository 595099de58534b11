//! The first rows per partition of a window, emitted once when the watermark passes the window's end.
//!
//! # State tables
//! `rows`: partition (the window's end among it), sequence number -> the row's other columns.
//!
//! # On batch
//! Rows are kept; a row of a window that was emitted is late and counted.
//!
//! # On time
//! The rows of every window that ends are sorted by partition and order; the first of each partition are emitted with their
//! rank, ties in the order of arrival.

use super::group_aggregate::key_fields;
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimestampMillisecondType, UInt64Type};
use arrow::row::{RowConverter, SortField};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, MAX_WATERMARK, MIN_WATERMARK, Millis};

/// See the module.
pub struct WindowRankOperator {
    spec: RankSpec,
    /// Input column of the window's end.
    end: usize,
    input: SchemaRef,
    output: SchemaRef,
    /// Input columns that are not in the partition.
    rest: Vec<usize>,
    table: RowTable,
    next_sequence: u64,
    watermark: Millis,
    late_rows: u64,
    open: BTreeMap<Millis, Vec<RowId>>,
    /// Made, but not given yet for want of room.
    ready: VecDeque<Batch>,
}

impl WindowRankOperator {
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(spec: &RankSpec, end: usize, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = Arc::clone(&context.inputs[0]);
        let rest: Vec<usize> = (0..input.fields().len()).filter(|c| !spec.partition.contains(c)).collect();
        let sequence: FieldRef = Arc::new(Field::new("sequence", DataType::UInt64, false));
        let table = RowTable::new(TableSchema {
            name: "rows".to_owned(),
            key: key_fields(&spec.partition, &input),
            sub_key: vec![sequence],
            value: key_fields(&rest, &input),
        })?;
        Ok(Self {
            spec: spec.clone(),
            end,
            input,
            output: context.output,
            rest,
            table,
            next_sequence: 0,
            watermark: MIN_WATERMARK,
            late_rows: 0,
            open: BTreeMap::new(),
            ready: VecDeque::new(),
        })
    }

    /// The input rows of a window, with their sequence numbers.
    fn rows_of(&self, rows: &[RowId]) -> Result<(RecordBatch, ArrayRef), DataflowError> {
        let keys: Vec<&[u8]> = rows.iter().map(|r| self.table.key(*r)).collect();
        let values: Vec<&[u8]> = rows.iter().map(|r| self.table.value(*r)).collect();
        let mut identity = self.table.key_layout().decode(&keys)?;
        let sequence = identity.pop().expect("the key ends in the sequence number");
        let values = self.table.value_layout().decode(&values)?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.input.fields().len()];
        for (column, array) in self.spec.partition.iter().zip(identity).chain(self.rest.iter().zip(values)) {
            columns[*column] = Some(array);
        }
        let columns: Option<Vec<ArrayRef>> = columns.into_iter().collect();
        let columns = columns.expect("every column is in the partition or in the rest");
        Ok((RecordBatch::try_new(Arc::clone(&self.input), columns)?, sequence))
    }

    fn rank(&self, rows: &[RowId]) -> Result<Vec<Batch>, DataflowError> {
        let (batch, sequence) = self.rows_of(rows)?;
        let field = |column: usize, options: SortOptions| {
            SortField::new_with_options(self.input.field(column).data_type().clone(), options)
        };
        let partition: Vec<ArrayRef> = self.spec.partition.iter().map(|c| batch.column(*c).clone()).collect();
        let partitions =
            RowConverter::new(self.spec.partition.iter().map(|c| field(*c, SortOptions::default())).collect())?
                .convert_columns(&partition)?;
        let mut order_fields: Vec<SortField> = Vec::new();
        let mut order: Vec<ArrayRef> = Vec::new();
        for key in &self.spec.order {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            order_fields.push(field(key.column, options));
            order.push(batch.column(key.column).clone());
        }
        order_fields.push(SortField::new(DataType::UInt64));
        order.push(sequence);
        let orders = RowConverter::new(order_fields)?.convert_columns(&order)?;
        let mut sorted: Vec<u32> = (0..batch.num_rows() as u32).collect();
        sorted.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            partitions.row(a).cmp(&partitions.row(b)).then_with(|| orders.row(a).cmp(&orders.row(b)))
        });
        let (mut chosen, mut ranks) = (Vec::new(), Vec::new());
        let mut rank = 0;
        for (index, row) in sorted.iter().enumerate() {
            let same = index > 0 && partitions.row(sorted[index - 1] as usize) == partitions.row(*row as usize);
            rank = if same { rank + 1 } else { 1 };
            if rank <= self.spec.limit {
                chosen.push(*row);
                ranks.push(rank as i64);
            }
        }
        let mut columns = take_record_batch(&batch, &UInt32Array::from(chosen))?.columns().to_vec();
        if self.spec.output_rank {
            columns.push(Arc::new(Int64Array::from(ranks)));
        }
        let whole = Batch::inserts(RecordBatch::try_new(Arc::clone(&self.output), columns)?);
        let starts = (0..whole.rows()).step_by(Output::BATCH_ROWS);
        Ok(starts.map(|s| whole.slice(s, Output::BATCH_ROWS.min(whole.rows() - s))).collect())
    }

    fn fire(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            while let Some(batch) = self.ready.pop_front() {
                if !output.has_room() {
                    self.ready.push_front(batch);
                    return Ok(Flow::More);
                }
                output.push(batch);
            }
            match self.open.first_entry() {
                Some(window) if *window.key() - 1 <= self.watermark => {
                    let rows = window.remove();
                    self.ready = self.rank(&rows)?.into();
                    rows.into_iter().for_each(|row| self.table.remove(row));
                }
                _ => return Ok(Flow::Done),
            }
        }
    }
}

impl Operator for WindowRankOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        vec![&mut self.table]
    }

    fn restored(&mut self, watermark: Millis) -> Result<(), DataflowError> {
        self.watermark = watermark;
        self.open.clear();
        let rows: Vec<RowId> = self.table.iter().collect();
        let keys: Vec<&[u8]> = rows.iter().map(|r| self.table.key(*r)).collect();
        let place = self.spec.partition.iter().position(|c| *c == self.end);
        let place = place.expect("the window's end is in the partition");
        let ends = self.table.key_layout().decode_column(place, &keys)?;
        let sequences = self.table.key_layout().decode_column(self.spec.partition.len(), &keys)?;
        let sequences = sequences.as_primitive::<UInt64Type>().values();
        self.next_sequence = sequences.iter().max().map_or(0, |s| s + 1);
        let mut numbered: Vec<(u64, Millis, RowId)> = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            numbered.push((sequences[index], ends.as_primitive::<TimestampMillisecondType>().value(index), *row));
        }
        numbered.sort_unstable();
        for (_, end, row) in numbered {
            self.open.entry(end).or_default().push(row);
        }
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, _output: &mut Output) -> Result<Flow, DataflowError> {
        let ends = batch.column(self.end).as_primitive::<TimestampMillisecondType>();
        let is_open = |row: &u32| ends.is_valid(*row as usize) && ends.value(*row as usize) - 1 > self.watermark;
        let timely: Vec<u32> = (0..batch.rows() as u32).filter(is_open).collect();
        self.late_rows += (batch.rows() - timely.len()) as u64;
        let batch =
            if timely.len() == batch.rows() { batch.clone() } else { batch.take(&UInt32Array::from(timely))? };
        let count = batch.rows();
        let mut identity: Vec<ArrayRef> = self.spec.partition.iter().map(|c| batch.column(*c).clone()).collect();
        let hashes = hash_columns(&identity, count)?;
        let first = self.next_sequence;
        self.next_sequence += count as u64;
        identity.push(Arc::new(UInt64Array::from_iter_values(first..self.next_sequence)));
        let rest: Vec<ArrayRef> = self.rest.iter().map(|c| batch.column(*c).clone()).collect();
        let (mut keys, mut values) = (Rows::new(), Rows::new());
        self.table.key_layout().encode(&identity, count, &mut keys)?;
        self.table.value_layout().encode(&rest, count, &mut values)?;
        let ends = batch.column(self.end).as_primitive::<TimestampMillisecondType>();
        for (row, hash) in hashes.into_iter().enumerate() {
            let (id, _) = self.table.find_or_insert(hash, keys.get(row), values.get(row));
            self.open.entry(ends.value(row)).or_default().push(id);
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
}

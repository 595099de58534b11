//! Joins two inputs on equal keys, inner or left; either may be a changelog.
//!
//! # State tables
//! `left` and `right`: join key, identity (see [`super::stored_rows`]) -> the row; on the left side of a left join also the
//! number of its partners.
//!
//! # On batch
//! Every row meets the rows of its key that the other side has, in steps of at most [`Output::BATCH_ROWS`] pairs; then the
//! batch joins its own side. An inner join gives each pair the kind of the row that came; a left join gives `+I` and `-D`:
//! a left row without partner is paired with NULLs, which is taken back when its first partner comes, and given again when
//! its last one goes. A NULL in a key equals nothing, so such rows are never kept.
//!
//! # On time
//! With time bounds a row goes when the watermark says that no partner can come any more: a left row when `time + upper`, a
//! right row when `time - lower` is not above it. Where the output must be append-only, and in batch mode, a left row without
//! partner is given then (or at the end) and not before.

mod entries;
mod filter;
mod side;

use super::chains::END;
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter as keep, take};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use entries::{Entries, Entry};
use filter::JoinFilter;
use side::{Expiry, Keys, Side, SideSpec};
use streamfleet_logical::{JoinKind, JoinSpec, type_name};
use streamfleet_state::{RowId, RowTable};
use streamfleet_types::{Batch, Millis, RowKind};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// See the module.
pub struct JoinOperator {
    name: String,
    kind: JoinKind,
    sides: [Side; 2],
    /// Join key columns of each side.
    keys: [Vec<usize>; 2],
    left_width: usize,
    filter: Option<JoinFilter>,
    output: SchemaRef,
    batch_mode: bool,
    /// Left rows without partner are given when they go, not when they come.
    nulls_at_expiry: bool,
    /// The batch that is being joined.
    probe: Option<Probe>,
    /// Joined rows that are still to be given.
    entries: Entries,
    /// Left rows without partner that go once they are given, last first.
    leaving: Vec<RowId>,
    /// Those of them that `entries` has.
    left: Vec<RowId>,
}

/// A batch on its way through the other side.
struct Probe {
    input: usize,
    batch: Batch,
    keys: Keys,
    /// The row to go on with, and where in its chain if that was begun.
    row: usize,
    next: Option<RowId>,
    /// Partners of every row of a left join's left batch, as far as known.
    matches: Vec<i64>,
}

/// Rows of the batch with rows of the other side.
#[derive(Default)]
struct Pairs {
    probe: Vec<u32>,
    build: Vec<RowId>,
}

impl JoinOperator {
    /// # Errors
    /// The filter does not fit, key types differ, or a column cannot be kept in state.
    pub fn new(spec: &JoinSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let inputs = &context.inputs;
        let unsupported = |detail| DataflowError::Unsupported { operator: context.name.clone(), detail };
        for (left, right) in &spec.on {
            let (left, right) = (inputs[LEFT].field(*left), inputs[RIGHT].field(*right));
            if left.data_type() != right.data_type() {
                return Err(unsupported(format!(
                    "a join of {} ({}) with {} ({}): cast one side",
                    left.name(),
                    type_name(left.data_type()),
                    right.name(),
                    type_name(right.data_type())
                )));
            }
        }
        if let Some(bounds) = &spec.bounds {
            for (input, column) in [(LEFT, bounds.left_time), (RIGHT, bounds.right_time)] {
                let time = inputs[input].field(column);
                if !matches!(time.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _)) {
                    return Err(unsupported(format!(
                        "{} of type {} as event time",
                        time.name(),
                        type_name(time.data_type())
                    )));
                }
            }
        }
        let keys: [Vec<usize>; 2] = [spec.on.iter().map(|on| on.0).collect(), spec.on.iter().map(|on| on.1).collect()];
        let side = |input: usize, name: &str| {
            Side::new(SideSpec {
                name,
                input: &inputs[input],
                keys: &keys[input],
                is_changelog: context.input_changes[input],
                counts_matches: spec.kind == JoinKind::Left && input == LEFT,
                expiry: spec.bounds.as_ref().map(|b| match input {
                    LEFT => Expiry::new(b.left_time, b.upper),
                    _ => Expiry::new(b.right_time, b.lower.saturating_neg()),
                }),
            })
        };
        let filter = spec.filter.as_ref().map(|f| JoinFilter::new(&context.name, f, &spec.filter_schema));
        Ok(Self {
            kind: spec.kind,
            sides: [side(LEFT, "left")?, side(RIGHT, "right")?],
            keys,
            left_width: inputs[LEFT].fields().len(),
            filter: filter.transpose()?,
            output: context.output,
            batch_mode: context.batch_mode,
            nulls_at_expiry: context.batch_mode || (spec.bounds.is_some() && !context.output_changes),
            probe: None,
            entries: Entries::default(),
            leaving: Vec::new(),
            left: Vec::new(),
            name: context.name,
        })
    }

    /// The side and its column of an output column.
    const fn place(&self, column: usize) -> (usize, usize) {
        if column < self.left_width { (LEFT, column) } else { (RIGHT, column - self.left_width) }
    }

    /// Goes on until all is given or the output is full.
    fn run(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            if self.give_entries(output)? == Flow::More {
                return Ok(Flow::More);
            }
            if let Some(mut probe) = self.probe.take() {
                if probe.row == probe.batch.rows() {
                    self.sides[probe.input].store(&self.name, &probe.batch, &probe.keys, probe.matches)?;
                    return Ok(Flow::Done);
                }
                let has_room = output.has_room();
                if has_room {
                    self.step(&mut probe, output)?;
                }
                self.probe = Some(probe);
                if !has_room {
                    return Ok(Flow::More);
                }
            } else {
                self.left.drain(..).for_each(|row| self.sides[LEFT].remove(row));
                if self.leaving.is_empty() {
                    return Ok(Flow::Done);
                }
                self.let_leave();
            }
        }
    }

    fn step(&mut self, probe: &mut Probe, output: &mut Output) -> Result<(), DataflowError> {
        let first_row = probe.row;
        let mut pairs = self.gather(probe);
        let is_plain = self.kind == JoinKind::Inner && !self.sides[1 - probe.input].rows.is_counted();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.output.fields().len()];
        let mask = self.evaluate_filter(probe, &pairs, &mut columns)?;
        if !is_plain {
            match (self.kind, probe.input) {
                (JoinKind::Inner, _) => self.pair_inner(probe, &pairs, mask.as_ref()),
                (JoinKind::Left, LEFT) => self.pair_left_rows(probe, first_row, &pairs, mask.as_ref()),
                (JoinKind::Left, _) => self.pair_right_rows(probe, &pairs, mask.as_ref()),
            }
            return Ok(());
        }
        if let Some(mask) = mask.filter(|m| m.true_count() < pairs.probe.len()) {
            pairs.retain(&mask);
            for column in columns.iter_mut().flatten() {
                *column = keep(column, &mask)?;
            }
        }
        if pairs.probe.is_empty() {
            return Ok(());
        }
        let missing: Vec<usize> = (0..columns.len()).filter(|c| columns[*c].is_none()).collect();
        self.fill(probe, &pairs, &missing, &mut columns)?;
        let columns = columns.into_iter().flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.probe.len()));
        let records = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
        output.push(match probe.batch.kinds() {
            None => Batch::inserts(records),
            Some(kinds) => {
                let kinds = pairs.probe.iter().map(|row| kinds.value(*row as usize)).collect::<Vec<i8>>();
                Batch::changelog(records, Int8Array::from(kinds))?
            }
        });
        Ok(())
    }

    /// The next pairs of equal keys.
    fn gather(&self, probe: &mut Probe) -> Pairs {
        let other = &self.sides[1 - probe.input];
        let mut pairs = Pairs::default();
        while probe.row < probe.batch.rows() {
            let mut at = probe.next.take().unwrap_or_else(|| other.first(&probe.keys, probe.row));
            while at != END {
                if pairs.probe.len() == Output::BATCH_ROWS {
                    probe.next = Some(at);
                    return pairs;
                }
                pairs.probe.push(probe.row as u32);
                pairs.build.push(at);
                at = other.next(at);
            }
            probe.row += 1;
        }
        pairs
    }

    /// True for the pairs that pass; the filter's columns are left in `columns`.
    fn evaluate_filter(
        &self,
        probe: &Probe,
        pairs: &Pairs,
        columns: &mut [Option<ArrayRef>],
    ) -> Result<Option<BooleanArray>, DataflowError> {
        let Some(filter) = self.filter.as_ref().filter(|_| !pairs.probe.is_empty()) else { return Ok(None) };
        self.fill(probe, pairs, filter.columns(), columns)?;
        let used = filter.columns().iter().map(|c| columns[*c].clone().expect("it was just filled")).collect();
        Ok(Some(filter.evaluate(used, pairs.probe.len())?))
    }

    /// Makes joined columns of the pairs.
    fn fill(
        &self,
        probe: &Probe,
        pairs: &Pairs,
        wanted: &[usize],
        columns: &mut [Option<ArrayRef>],
    ) -> Result<(), DataflowError> {
        // Often every row has exactly one partner: then its columns are taken as they are.
        let one_each = pairs.probe.len() == probe.batch.rows()
            && pairs.probe.iter().enumerate().all(|(index, row)| index == *row as usize);
        let indices = UInt32Array::from(if one_each { Vec::new() } else { pairs.probe.clone() });
        let mut decoder = self.sides[1 - probe.input].rows.decoder(&pairs.build);
        for &column in wanted {
            let (side, index) = self.place(column);
            // Keys are equal on both sides; but floats have several zeros.
            let key = self.keys[side].iter().position(|k| *k == index);
            let key = key.filter(|_| !self.output.field(column).data_type().is_floating());
            let of_probe = if side == probe.input { Some(index) } else { key.map(|k| self.keys[probe.input][k]) };
            columns[column] = Some(match of_probe {
                Some(index) if one_each => probe.batch.column(index).clone(),
                Some(index) => take(probe.batch.column(index), &indices, None)?,
                None => decoder.column(index)?,
            });
        }
        Ok(())
    }

    fn pair_inner(&mut self, probe: &Probe, pairs: &Pairs, mask: Option<&BooleanArray>) {
        let other = &self.sides[1 - probe.input].rows;
        for (row, build) in pairs.passing(mask) {
            let (kind, times) = (probe.batch.kind(row as usize), other.count(build));
            self.entries.push(Entry { probe: Some(row), build: Some(build), kind, times });
        }
        self.entries.probe_input = probe.input;
    }

    /// Left rows with their partners; those of which all partners are seen, and none passed, with NULLs.
    fn pair_left_rows(&mut self, probe: &mut Probe, first_row: usize, pairs: &Pairs, mask: Option<&BooleanArray>) {
        let other = &self.sides[RIGHT].rows;
        let mut passing = pairs.passing(mask).peekable();
        for row in first_row..probe.batch.rows().min(probe.row + 1) {
            let kind = if probe.batch.kind(row).is_addition() { RowKind::Insert } else { RowKind::Delete };
            while let Some((_, build)) = passing.next_if(|(at, _)| *at as usize == row) {
                let times = other.count(build);
                probe.matches[row] += times;
                self.entries.push(Entry { probe: Some(row as u32), build: Some(build), kind, times });
            }
            let is_kept = probe.keys.can_match(row);
            if row < probe.row && probe.matches[row] == 0 && !(is_kept && self.nulls_at_expiry) {
                self.entries.push(Entry { probe: Some(row as u32), build: None, kind, times: 1 });
            }
        }
        self.entries.probe_input = LEFT;
    }

    /// Right rows with their partners, whose pairs with NULLs come and go.
    fn pair_right_rows(&mut self, probe: &Probe, pairs: &Pairs, mask: Option<&BooleanArray>) {
        let left = &mut self.sides[LEFT].rows;
        for (row, build) in pairs.passing(mask) {
            let times = left.count(build);
            let with_nulls = |kind| Entry { probe: None, build: Some(build), kind, times };
            let joined = |kind| Entry { probe: Some(row), build: Some(build), kind, times };
            if probe.batch.kind(row as usize).is_addition() {
                if left.change_extra(build, 1) == 0 && !self.nulls_at_expiry {
                    self.entries.push(with_nulls(RowKind::Delete));
                }
                self.entries.push(joined(RowKind::Insert));
            } else {
                self.entries.push(joined(RowKind::Delete));
                if left.change_extra(build, -1) == 1 && !self.nulls_at_expiry {
                    self.entries.push(with_nulls(RowKind::Insert));
                }
            }
        }
        self.entries.probe_input = RIGHT;
    }

    /// The next left rows that go, with NULLs.
    fn let_leave(&mut self) {
        let from = self.leaving.len().saturating_sub(Output::BATCH_ROWS);
        for row in self.leaving.drain(from..).rev() {
            let times = self.sides[LEFT].rows.count(row);
            self.entries.push(Entry { probe: None, build: Some(row), kind: RowKind::Insert, times });
            self.left.push(row);
        }
        self.entries.probe_input = RIGHT;
    }

    fn give_entries(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        while !self.entries.is_empty() {
            if !output.has_room() {
                return Ok(Flow::More);
            }
            let chunk = self.entries.next_chunk(Output::BATCH_ROWS);
            let probe = self.probe.as_ref().map(|p| &p.batch);
            let probe_input = self.entries.probe_input;
            let mut decoder = self.sides[1 - probe_input].rows.decoder(&chunk.ids);
            let mut columns = Vec::with_capacity(self.output.fields().len());
            for (column, field) in self.output.fields().iter().enumerate() {
                let (side, index) = self.place(column);
                columns.push(if side == probe_input {
                    chunk.probe_column(probe.map(|p| p.column(index)), field.data_type())?
                } else {
                    chunk.build_column(decoder.column(index)?)?
                });
            }
            let options = RecordBatchOptions::new().with_row_count(Some(chunk.kinds.len()));
            let records = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
            output.push(match chunk.into_kinds() {
                None => Batch::inserts(records),
                Some(kinds) => Batch::changelog(records, kinds)?,
            });
        }
        Ok(Flow::Done)
    }
}

impl Pairs {
    fn passing<'a>(&'a self, mask: Option<&'a BooleanArray>) -> impl Iterator<Item = (u32, RowId)> + 'a {
        let pairs = self.probe.iter().copied().zip(self.build.iter().copied()).enumerate();
        pairs.filter(move |(index, _)| mask.is_none_or(|m| m.value(*index))).map(|(_, pair)| pair)
    }

    fn retain(&mut self, mask: &BooleanArray) {
        let mut kept = 0;
        for index in mask.values().set_indices() {
            self.probe[kept] = self.probe[index];
            self.build[kept] = self.build[index];
            kept += 1;
        }
        self.probe.truncate(kept);
        self.build.truncate(kept);
    }
}

impl Operator for JoinOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        self.sides.iter_mut().map(Side::table).collect()
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        self.sides.iter_mut().for_each(Side::restored);
        Ok(())
    }

    fn on_batch(&mut self, input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let keys = self.sides[input].keys(batch)?;
        let counts_matches = self.kind == JoinKind::Left && input == LEFT;
        let matches = vec![0; if counts_matches { batch.rows() } else { 0 }];
        self.probe = Some(Probe { input, batch: batch.clone(), keys, row: 0, next: None, matches });
        self.run(output)
    }

    fn on_watermark(&mut self, watermark: Millis, output: &mut Output) -> Result<Flow, DataflowError> {
        for input in [LEFT, RIGHT] {
            let side = &mut self.sides[input];
            let gives_nulls = input == LEFT && self.kind == JoinKind::Left && self.nulls_at_expiry;
            for row in side.take_expired(watermark) {
                if gives_nulls && side.rows.extra(row) == 0 {
                    self.leaving.push(row);
                } else {
                    side.remove(row);
                }
            }
        }
        self.leaving.reverse();
        self.run(output)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.batch_mode && self.kind == JoinKind::Left {
            self.leaving = self.sides[LEFT].unmatched();
            self.leaving.reverse();
        }
        self.run(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.run(output)
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;

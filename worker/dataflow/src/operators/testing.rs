//! What the tests of operators share: random rows, changelogs applied, and operators moved through snapshot files.

use super::{Operator, OperatorContext, build};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::DFSchema;
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::OperatorSpec;
use streamfleet_state::FrozenTable;
use streamfleet_state::file::{Reader, encode};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, Epoch, HashRange, Millis, RowKind};

pub(crate) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Left and right columns together, all nullable, with these qualifiers.
pub(super) fn joined_schema(left: &SchemaRef, right: &SchemaRef) -> DFSchema {
    let nullable = |schema: &SchemaRef| {
        Schema::new(schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>())
    };
    let left = DFSchema::try_from_qualified_schema("l", &nullable(left)).unwrap();
    left.join(&DFSchema::try_from_qualified_schema("r", &nullable(right)).unwrap()).unwrap()
}

pub(super) fn context(inputs: &[SchemaRef], output: SchemaRef) -> OperatorContext {
    let qualified = |s: &SchemaRef| Arc::new(DFSchema::try_from(s.as_ref().clone()).unwrap());
    OperatorContext {
        name: "op".to_owned(),
        inputs: inputs.to_vec(),
        input_df_schemas: inputs.iter().map(qualified).collect(),
        output,
        input_changes: vec![false; inputs.len()],
        output_changes: true,
        batch_mode: false,
        owned: HashRange::ALL,
    }
}

/// The text of every row, with its kind.
pub(super) fn rows(batch: &Batch) -> Vec<(RowKind, String)> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.records().columns().iter();
    let columns: Vec<_> = columns.map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let text = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.rows()).map(|row| (batch.kind(row), text(row))).collect()
}

/// What a changelog amounts to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Content(pub BTreeMap<String, i64>);

impl Content {
    pub fn apply(&mut self, batch: &Batch) {
        for (kind, row) in rows(batch) {
            let count = self.0.entry(row.clone()).or_default();
            *count += if kind.is_addition() { 1 } else { -1 };
            assert!(*count >= 0, "{} {row} was never given", kind.short_name());
            if *count == 0 {
                self.0.remove(&row);
            }
        }
    }

    pub fn add(&mut self, row: String) {
        *self.0.entry(row).or_default() += 1;
    }
}

/// Subtasks of one operator, each with its range of hashes.
pub(super) struct Fleet {
    spec: OperatorSpec,
    context: OperatorContext,
    /// Key columns per input.
    keys: Vec<Vec<usize>>,
    subtasks: Vec<(HashRange, Box<dyn Operator>)>,
    files: Vec<Vec<u8>>,
    epoch: u64,
    /// How often a call said `More`.
    pub pauses: usize,
}

/// The whole range of hashes in equal parts.
pub(super) fn ranges(parts: u64) -> Vec<HashRange> {
    let size = u64::MAX / parts;
    let last = |part| if part + 1 == parts { u64::MAX } else { (part + 1) * size - 1 };
    (0..parts).map(|part| HashRange { first: part * size, last: last(part) }).collect()
}

impl Fleet {
    pub fn new(spec: OperatorSpec, context: OperatorContext, keys: Vec<Vec<usize>>) -> Self {
        let operator = build(&spec, context.clone()).unwrap();
        let mut fleet = Self {
            spec,
            context,
            keys,
            subtasks: vec![(HashRange::ALL, operator)],
            files: vec![],
            epoch: 0,
            pauses: 0,
        };
        fleet.subtasks[0].1.restored(Millis::MIN).unwrap();
        fleet
    }

    fn finish(
        operator: &mut Box<dyn Operator>,
        mut flow: Flow,
        mut output: Output,
        pauses: &mut usize,
    ) -> Result<Vec<Batch>, DataflowError> {
        let mut all = Vec::new();
        loop {
            let batches: Vec<Batch> = output.drain().collect();
            assert!(batches.iter().map(Batch::rows).sum::<usize>() < Output::ROWS + 2 * Output::BATCH_ROWS);
            all.extend(batches);
            if flow == Flow::Done {
                return Ok(all);
            }
            *pauses += 1;
            flow = operator.resume(&mut output)?;
        }
    }

    pub fn on_batch(&mut self, input: usize, batch: &Batch) -> Result<Vec<Batch>, DataflowError> {
        let keys: Vec<ArrayRef> = self.keys[input].iter().map(|k| batch.column(*k).clone()).collect();
        let hashes = hash_columns(&keys, batch.rows())?;
        let mut all = Vec::new();
        for (range, operator) in &mut self.subtasks {
            let mine = (0..batch.rows() as u32).filter(|row| range.contains(hashes[*row as usize]));
            let mine = batch.take(&UInt32Array::from_iter_values(mine))?;
            if !mine.is_empty() {
                let mut output = Output::default();
                let flow = operator.on_batch(input, &mine, &mut output)?;
                all.extend(Self::finish(operator, flow, output, &mut self.pauses)?);
            }
        }
        Ok(all)
    }

    pub fn on_watermark(&mut self, watermark: Millis) -> Vec<Batch> {
        let mut all = Vec::new();
        for (_, operator) in &mut self.subtasks {
            let mut output = Output::default();
            let flow = operator.on_watermark(watermark, &mut output).unwrap();
            all.extend(Self::finish(operator, flow, output, &mut self.pauses).unwrap());
        }
        all
    }

    pub fn on_end(&mut self) -> Vec<Batch> {
        let mut all = Vec::new();
        for (_, operator) in &mut self.subtasks {
            let mut output = Output::default();
            let flow = operator.on_end(&mut output).unwrap();
            all.extend(Self::finish(operator, flow, output, &mut self.pauses).unwrap());
        }
        all
    }

    /// Takes a snapshot: what changed since the last one goes to another file.
    pub fn checkpoint(&mut self) {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        for (range, operator) in &mut self.subtasks {
            let tables = operator.tables().into_iter().map(|t| ("op".to_owned(), t.freeze(epoch)));
            let tables: Vec<(String, FrozenTable)> = tables.collect();
            self.files.extend(encode(&tables, epoch, *range).unwrap());
        }
    }

    /// Goes on from a snapshot taken now, with fresh operators.
    pub fn restart(&mut self, parallelism: u64, watermark: Millis) {
        self.checkpoint();
        self.subtasks.clear();
        for range in ranges(parallelism) {
            let mut operator = build(&self.spec, OperatorContext { owned: range, ..self.context.clone() }).unwrap();
            for file in &self.files {
                let reader = Reader::open("file", file.clone()).unwrap();
                for table in operator.tables() {
                    let name = table.schema().name.clone();
                    for rows in reader.read("op", &name, range) {
                        table.load(&rows.unwrap(), range).unwrap();
                    }
                }
            }
            operator.restored(watermark).unwrap();
            self.subtasks.push((range, operator));
        }
    }

    pub fn state_rows(&mut self) -> usize {
        self.subtasks.iter_mut().flat_map(|(_, o)| o.tables()).map(|t| t.len()).sum()
    }
}

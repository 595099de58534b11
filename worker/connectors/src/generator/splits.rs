//! Blocks of rows, dealt in turn to the splits of a generator.

use serde_json::json;
use streamfleet_dataflow::{DataflowError, SplitState};
use streamfleet_logical::TableDescriptor;

/// How many splits the table's options declare.
pub fn declared_splits(table: &TableDescriptor) -> Option<u32> {
    table.option("splits")?.trim().parse().ok().filter(|&n| n > 0)
}

/// The splits of one subtask. Split `k` of `n` has the blocks `k`, `k + n`, `k + 2n` and so on. The block with the
/// lowest number comes next, whichever split it belongs to, so that event time stays near.
#[derive(Debug)]
pub struct Splits {
    table: String,
    /// The number of blocks; `None`: without end.
    blocks: Option<u64>,
    splits: Vec<Split>,
}

#[derive(Debug)]
struct Split {
    index: u64,
    of: u64,
    next_block: u64,
    /// Its end was told.
    ended: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A block of the split with this number; [`Splits::taken`] moves on.
    Block {
        /// The split's number.
        split: usize,
        /// The block's number.
        block: u64,
    },
    /// The split with this number has no block left; told once.
    SplitEnded(usize),
    /// No split has a block left.
    Ended,
}

impl Splits {
    /// No splits yet, of a generator of so many blocks.
    pub fn new(table: &str, blocks: Option<u64>) -> Self {
        Self { table: table.to_owned(), blocks, splits: vec![] }
    }

    /// The splits of a subtask when a job starts from nothing: the splits are dealt in turn to the subtasks.
    pub fn start(&mut self, splits: u32, subtask: u32, parallelism: u32) {
        let mine = (subtask..splits).step_by(parallelism.max(1) as usize).map(u64::from);
        self.splits = mine.map(|k| Split { index: k, of: splits.into(), next_block: k, ended: false }).collect();
    }

    /// The splits as a snapshot has them.
    pub fn restore(&mut self, states: &[SplitState]) -> Result<(), DataflowError> {
        self.splits = states.iter().map(|state| self.parse(state)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn parse(&self, state: &SplitState) -> Result<Split, DataflowError> {
        let name = state.name.split_once('/').and_then(|(k, n)| Some((k.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
        match (name, state.position.get("nextBlock").and_then(serde_json::Value::as_u64)) {
            (Some((index, of)), Some(next_block)) if index < of && next_block % of == index => {
                Ok(Split { index, of, next_block, ended: false })
            }
            _ => Err(DataflowError::Record {
                place: format!("table {}, split '{}' of the snapshot", self.table, state.name),
                detail: format!(
                    "'{}' is not a position of a generator; is this the snapshot of another job?",
                    state.position
                ),
            }),
        }
    }

    fn is_over(&self, split: &Split) -> bool {
        self.blocks.is_some_and(|blocks| split.next_block >= blocks)
    }

    /// What comes next.
    pub fn next(&mut self) -> Next {
        if let Some(split) = self.splits.iter().position(|s| !s.ended && self.is_over(s)) {
            self.splits[split].ended = true;
            return Next::SplitEnded(split);
        }
        let open = self.splits.iter().enumerate().filter(|(_, s)| !s.ended);
        match open.min_by_key(|(_, s)| s.next_block) {
            Some((split, state)) => Next::Block { split, block: state.next_block },
            None => Next::Ended,
        }
    }

    /// The next block of a split was given.
    pub fn taken(&mut self, split: usize) {
        let split = &mut self.splits[split];
        split.next_block += split.of;
    }

    /// Where the splits stand.
    pub fn states(&self) -> Vec<SplitState> {
        let state = |s: &Split| SplitState {
            name: format!("{}/{}", s.index, s.of),
            position: json!({ "nextBlock": s.next_block }),
            finished: self.is_over(s),
        };
        self.splits.iter().map(state).collect()
    }
}

#[cfg(test)]
#[path = "splits_tests.rs"]
mod tests;

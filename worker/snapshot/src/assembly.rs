//! A snapshot in the making: parts come in from the slots until it is whole.

use std::collections::{BTreeMap, BTreeSet};
use streamfleet_types::log::{OperatorWatermark, SlotSnapshot, Snapshot, Transaction};
use streamfleet_types::{Epoch, Millis, OperatorId};

/// What every snapshot of one run has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobShape {
    /// Number of slots.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Fingerprint of the plan.
    pub fingerprint: String,
}

/// Collects the parts of one snapshot.
#[derive(Debug)]
pub struct Assembly {
    epoch: Epoch,
    parts: BTreeMap<u32, SlotSnapshot>,
}

impl Assembly {
    /// Nothing yet.
    pub const fn new(epoch: Epoch) -> Self {
        Self { epoch, parts: BTreeMap::new() }
    }

    /// The snapshot's number.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes a slot's part; true when all parts are there.
    pub fn add(&mut self, slot: u32, part: SlotSnapshot, shape: &JobShape) -> bool {
        self.parts.insert(slot, part);
        self.parts.len() == shape.parallelism as usize
    }

    /// The whole snapshot, on top of the last complete one. `open` are transactions of earlier snapshots that are not
    /// known to be committed.
    ///
    /// A slot names its files and transactions since the last complete snapshot *that it knows of*; what the base names
    /// already is not named twice. When every slot wrote its whole state, files of earlier epochs hold nothing more.
    pub fn finish(self, shape: &JobShape, base: Option<&Snapshot>, open: &[Transaction]) -> Snapshot {
        let is_whole = self.parts.values().all(|p| p.full);
        let mut files = base.filter(|_| !is_whole).map(|b| b.files.clone()).unwrap_or_default();
        let mut named: BTreeSet<String> = files.iter().map(|f| f.path.clone()).collect();
        let mut transactions = open.to_vec();
        let mut positions = Vec::new();
        let mut watermarks: BTreeMap<OperatorId, Millis> = BTreeMap::new();
        for part in self.parts.into_values() {
            for file in part.files {
                let is_needed = !is_whole || file.epoch == self.epoch;
                if is_needed && named.insert(file.path.clone()) {
                    files.push(file);
                }
            }
            for transaction in part.transactions {
                if !transactions.contains(&transaction) {
                    transactions.push(transaction);
                }
            }
            positions.extend(part.positions);
            for w in part.watermarks {
                watermarks.entry(w.operator).and_modify(|m| *m = (*m).min(w.watermark)).or_insert(w.watermark);
            }
        }
        files.sort_by(|a, b| (a.epoch, &a.path).cmp(&(b.epoch, &b.path)));
        positions.sort_by(|a, b| (&a.operator, &a.split).cmp(&(&b.operator, &b.split)));
        Snapshot {
            epoch: self.epoch,
            parallelism: shape.parallelism,
            max_parallelism: shape.max_parallelism,
            fingerprint: shape.fingerprint.clone(),
            files,
            positions,
            transactions,
            watermarks: watermarks
                .into_iter()
                .map(|(operator, watermark)| OperatorWatermark { operator, watermark })
                .collect(),
        }
    }
}

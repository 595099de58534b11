//! A slot's part in snapshots: what its tasks contribute, on its way to storage, until a record covers it.
//!
//! # Guarantees
//! What was frozen or prepared is never forgotten before a record covers it: an aborted snapshot's table changes and
//! transactions go into the next acknowledgement, and rows whose upload failed are sent again with the next snapshot.

use crate::RuntimeEnv;
use crate::mailbox::SlotHandle;
use crate::task::TaskSnapshot;
use crate::upload::{FrozenTables, KeptForUpload, Upload, UploadTarget};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use streamfleet_env::StorageError;
use streamfleet_snapshot::SlotReport;
use streamfleet_types::log::{OperatorWatermark, SlotSnapshot, SplitPosition, StateFile, Transaction};
use streamfleet_types::{Epoch, OperatorId};

/// A snapshot that tasks still contribute to, or that waits for storage.
struct InProgress {
    epoch: Epoch,
    tasks_left: usize,
    frozen: FrozenTables,
    positions: Vec<SplitPosition>,
    watermarks: Vec<OperatorWatermark>,
    full: bool,
}

/// What waits for a record: made durable, first named in this epoch's acknowledgement.
struct Unrecorded<T> {
    item: T,
    /// `None` until it was part of an acknowledgement.
    acknowledged_in: Option<Epoch>,
}

/// See the module.
pub(crate) struct Snapshots {
    env: RuntimeEnv,
    handle: SlotHandle,
    tasks: usize,
    target: UploadTarget,
    in_progress: Option<InProgress>,
    /// Frozen, not yet handed to an upload; oldest first.
    carried: Vec<(Epoch, FrozenTables)>,
    /// Handed to an upload, kept until it is known to be durable.
    uploads: BTreeMap<u64, KeptForUpload>,
    next_upload: u64,
    /// Uploads see by it that the slot is there.
    slot: Arc<()>,
    failure: Option<StorageError>,
    /// The coordinator waits until nothing of snapshots that were given up is held.
    settling: bool,
    files: Vec<Unrecorded<StateFile>>,
    transactions: Vec<Unrecorded<Transaction>>,
    /// Sinks (by task index) whose output of an epoch is not durable yet.
    preparing: Vec<(usize, Epoch)>,
}

impl Snapshots {
    pub fn new(env: RuntimeEnv, handle: SlotHandle, tasks: usize, target: UploadTarget) -> Self {
        Self {
            env,
            handle,
            tasks,
            target,
            in_progress: None,
            carried: Vec::new(),
            uploads: BTreeMap::new(),
            next_upload: 0,
            slot: Arc::default(),
            failure: None,
            settling: false,
            files: Vec::new(),
            transactions: Vec::new(),
            preparing: Vec::new(),
        }
    }

    /// A task reached the barrier of an epoch.
    pub fn on_task(&mut self, task: usize, epoch: Epoch, snapshot: TaskSnapshot) {
        if self.in_progress.as_ref().is_none_or(|p| p.epoch < epoch) {
            self.give_up();
            self.in_progress = Some(InProgress {
                epoch,
                tasks_left: self.tasks,
                frozen: Vec::new(),
                positions: Vec::new(),
                watermarks: Vec::new(),
                full: true,
            });
        }
        if snapshot.prepares {
            self.preparing.push((task, epoch));
        }
        let operator = snapshot.operator;
        let tables: FrozenTables = snapshot.tables.into_iter().map(|t| (operator.0.clone(), t)).collect();
        let progress = self.in_progress.as_mut().expect("set above");
        if progress.epoch != epoch {
            // A straggler of a snapshot that was given up: its changes must not be lost.
            self.carry(epoch, tables);
            return;
        }
        progress.frozen.extend(tables);
        progress.positions.extend(snapshot.positions);
        progress.full &= snapshot.full;
        if let Some(watermark) = snapshot.watermark {
            progress.watermarks.push(OperatorWatermark { operator, watermark });
        }
        progress.tasks_left -= 1;
        if progress.tasks_left == 0 {
            let frozen = std::mem::take(&mut progress.frozen);
            self.carry(epoch, frozen);
            self.upload();
        }
    }

    /// The coordinator gave up every snapshot up to this one.
    pub fn on_abort(&mut self, epoch: Epoch) {
        if self.in_progress.as_ref().is_some_and(|p| p.epoch <= epoch) {
            self.give_up();
        }
        self.settle();
    }

    /// What snapshots that were given up have frozen is to be written, or to be tried again.
    pub const fn settle(&mut self) {
        self.settling = true;
    }

    fn give_up(&mut self) {
        if let Some(progress) = self.in_progress.take() {
            self.carry(progress.epoch, progress.frozen);
        }
    }

    fn carry(&mut self, epoch: Epoch, tables: FrozenTables) {
        if !tables.is_empty() {
            self.carried.push((epoch, tables));
            self.carried.sort_by_key(|(epoch, _)| *epoch);
        }
    }

    /// The snapshot was recorded: what its acknowledgement named is covered.
    pub fn on_completed(&mut self, epoch: Epoch) {
        self.files.retain(|f| f.acknowledged_in.is_none_or(|e| e > epoch));
        self.transactions.retain(|t| t.acknowledged_in.is_none_or(|e| e > epoch));
    }

    /// A sink's output of an epoch is durable.
    pub fn on_prepared(&mut self, task: usize, epoch: Epoch, operator: &OperatorId, handles: Vec<serde_json::Value>) {
        self.preparing.retain(|p| *p != (task, epoch));
        self.transactions.extend(handles.into_iter().map(|handle| Unrecorded {
            item: Transaction { operator: operator.clone(), handle, epoch: Some(epoch) },
            acknowledged_in: None,
        }));
    }

    /// Sinks whose output is awaited, with its epoch.
    pub fn preparing(&self) -> &[(usize, Epoch)] {
        &self.preparing
    }

    fn upload(&mut self) {
        // An earlier failure was an earlier snapshot's; what it could not write is in this one.
        self.failure = None;
        let epochs = std::mem::take(&mut self.carried);
        let upload = self.next_upload;
        self.next_upload += 1;
        let kept = Arc::new(Mutex::new(epochs));
        self.uploads.insert(upload, Arc::clone(&kept));
        let slot = Arc::downgrade(&self.slot);
        Upload::begin(self.env.clone(), self.handle.clone(), self.target.clone(), upload, kept, slot);
    }

    /// An upload ended.
    pub fn on_uploaded(&mut self, upload: u64, result: Result<Vec<StateFile>, StorageError>) {
        let kept = self.uploads.remove(&upload).expect("an upload ends once");
        match result {
            Ok(files) => {
                let new = files.into_iter().map(|item| Unrecorded { item, acknowledged_in: None });
                self.files.extend(new);
            }
            Err(error) => {
                let tables = std::mem::take(&mut *kept.lock().expect("no holder of this lock panics"));
                for (epoch, tables) in tables {
                    self.carry(epoch, tables);
                }
                self.failure = Some(error);
            }
        }
    }

    /// Epochs whose frozen tables are held.
    pub fn held_epochs(&self) -> usize {
        let uploads = self.uploads.values().map(|kept| kept.lock().expect("no holder of this lock panics").len());
        let gathered = usize::from(self.in_progress.as_ref().is_some_and(|p| !p.frozen.is_empty()));
        uploads.sum::<usize>() + self.carried.len() + gathered
    }

    /// The report that is due, if any.
    pub fn poll_report(&mut self) -> Option<SlotReport> {
        self.poll_acknowledgement().or_else(|| self.poll_settled())
    }

    fn poll_settled(&mut self) -> Option<SlotReport> {
        if !self.settling || !self.uploads.is_empty() {
            return None;
        }
        let result = match self.failure.take() {
            Some(error) => Err(error.to_string()),
            None if self.carried.is_empty() => Ok(()),
            None => {
                self.upload();
                return None;
            }
        };
        self.settling = false;
        Some(SlotReport::Settled(result))
    }

    fn poll_acknowledgement(&mut self) -> Option<SlotReport> {
        let ready = self.in_progress.as_ref().is_some_and(|p| p.tasks_left == 0)
            && self.uploads.is_empty()
            && self.preparing.is_empty();
        if !ready {
            return None;
        }
        let progress = self.in_progress.take().expect("ready");
        if let Some(error) = self.failure.take() {
            return Some(SlotReport::Declined { epoch: progress.epoch, reason: error.to_string() });
        }
        for file in &mut self.files {
            file.acknowledged_in.get_or_insert(progress.epoch);
        }
        for transaction in &mut self.transactions {
            transaction.acknowledged_in.get_or_insert(progress.epoch);
        }
        let part = SlotSnapshot {
            files: self.files.iter().map(|f| f.item.clone()).collect(),
            positions: progress.positions,
            transactions: self.transactions.iter().map(|t| t.item.clone()).collect(),
            watermarks: progress.watermarks,
            full: progress.full,
        };
        Some(SlotReport::Acknowledged { epoch: progress.epoch, part: Box::new(part) })
    }
}

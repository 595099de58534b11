//! Loads a slot's state from a snapshot, before any row flows.
//!
//! Files are read whole and applied in the snapshot's order, so that later rows win; reading runs ahead by a few files.

use crate::RuntimeEnv;
use crate::error::RuntimeError;
use crate::mailbox::{SlotHandle, SlotMessage};
use crate::task::Task;
use std::collections::BTreeMap;
use streamfleet_env::{StorageError, StorageReply, StorageRequest};
use streamfleet_state::StateError;
use streamfleet_state::file::Reader;
use streamfleet_types::HashRange;
use streamfleet_types::log::StateFile;

/// Files asked for ahead of the one that is applied.
const READ_AHEAD: usize = 4;

/// A restore under way.
pub(crate) struct Restore {
    env: RuntimeEnv,
    handle: SlotHandle,
    range: HashRange,
    /// The files that hold rows of the range, in the order to apply them.
    files: Vec<StateFile>,
    asked: usize,
    applied: usize,
    /// Read, but not their turn yet.
    waiting: BTreeMap<usize, Vec<u8>>,
}

impl Restore {
    pub fn new(env: RuntimeEnv, handle: SlotHandle, range: HashRange, files: &[StateFile]) -> Self {
        let files = files.iter().filter(|f| f.range.overlaps(range)).cloned().collect();
        let mut restore = Self { env, handle, range, files, asked: 0, applied: 0, waiting: BTreeMap::new() };
        restore.ask();
        restore
    }

    /// True when every file is applied.
    pub fn is_done(&self) -> bool {
        self.applied == self.files.len()
    }

    fn ask(&mut self) {
        while self.asked < self.files.len().min(self.applied + READ_AHEAD) {
            let (index, handle) = (self.asked, self.handle.clone());
            let request = StorageRequest::Get { path: self.files[index].path.clone(), range: None };
            self.asked += 1;
            self.env.storage.submit(
                request,
                Box::new(move |answer| {
                    let result = answer.map(|reply| match reply {
                        StorageReply::Bytes(bytes) => bytes,
                        _ => Vec::new(),
                    });
                    handle.send(SlotMessage::FileRead { index, result });
                }),
            );
        }
    }

    /// A file was read; applies what is in turn to the tasks' tables.
    pub fn on_read(
        &mut self,
        index: usize,
        result: Result<Vec<u8>, StorageError>,
        tasks: &mut [Task],
    ) -> Result<(), RuntimeError> {
        let path = &self.files[index].path;
        let bytes = result.map_err(|source| RuntimeError::RestoreRead { path: path.clone(), source })?;
        self.waiting.insert(index, bytes);
        while let Some(bytes) = self.waiting.remove(&self.applied) {
            let path = &self.files[self.applied].path;
            self.apply(path, bytes, tasks)
                .map_err(|source| RuntimeError::RestoreState { path: path.clone(), source })?;
            self.applied += 1;
        }
        self.ask();
        Ok(())
    }
    fn apply(&self, path: &str, bytes: Vec<u8>, tasks: &mut [Task]) -> Result<(), StateError> {
        let reader = Reader::open(path, bytes)?;
        for task in tasks {
            let Task::Operator(task) = task else { continue };
            for table in task.operator.tables() {
                let name = table.schema().name.clone();
                for rows in reader.read(&task.id.0, &name, self.range) {
                    table.load(&rows?, self.range)?;
                }
            }
        }
        Ok(())
    }
}

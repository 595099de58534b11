//! Which partitions are complete: a file without content says so to those who read them.
//!
//! A partition waits from the barrier that ends its first file. When its time has come, the next barrier gives a mark for it: a
//! handle, committed after all files of that barrier, so nothing that the mark speaks of is missing. What waits is part
//! of the snapshot, and what waits no more is a handle of it: a partition is never forgotten, and what an aborted or unfinished
//! snapshot decided is decided again. Files that come later let the partition wait, and be marked, again.
//!
//! Each subtask decides for the partitions that it wrote. Event time counts when *all* subtasks have reached it, which they
//! learn with the next complete snapshot.

use super::partition::Partitioning;
use super::partition_time::PartitionTime;
use crate::options;
use serde_json::json;
use std::collections::BTreeMap;
use streamfleet_dataflow::{DataflowError, PendingWork, SinkStart};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::{MIN_WATERMARK, Millis};

const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";
const TIME_ZONE: &str = "sink.partition-commit.watermark-time-zone";
const POLICY: &str = "sink.partition-commit.policy.kind";
const FILE_NAME: &str = "sink.partition-commit.success-file.name";

enum Trigger {
    ProcessTime,
    PartitionTime(PartitionTime),
}

/// A partition with files that no mark covers.
struct Waiting {
    /// The wall clock at the barrier that ended its first file.
    since: Millis,
    /// It is marked when the time of the trigger is beyond this.
    until: Millis,
}

/// See the module.
pub(super) struct PartitionCommit {
    trigger: Trigger,
    delay: Millis,
    file_name: String,
    /// By folder.
    waiting: BTreeMap<String, Waiting>,
    /// What all subtasks have reached.
    watermark: Millis,
    /// Partitions are complete at the end only.
    batch_mode: bool,
    all_ended: bool,
}

impl PartitionCommit {
    /// What the table declares; `None` if no partition is to be marked.
    pub fn of(table: &TableDescriptor, partitioning: &Partitioning) -> Result<Option<Self>, DataflowError> {
        // As in Flink, a table without partitions has none to mark.
        let Some(policies) = table.option(POLICY).filter(|_| partitioning.is_partitioned()) else { return Ok(None) };
        for policy in policies.split(',').map(str::trim) {
            match policy {
                "success-file" => {}
                "metastore" => {
                    return Err(options::bad(table, POLICY, "there is no metastore: `success-file` is supported"));
                }
                _ => return Err(options::bad(table, POLICY, "`success-file` is the only policy that is supported")),
            }
        }
        if table.option(TIME_ZONE).is_some_and(|zone| zone != "UTC") {
            return Err(options::bad(table, TIME_ZONE, "only `UTC` is supported: name partitions by times in UTC"));
        }
        let trigger = match table.option(TRIGGER).unwrap_or("process-time") {
            "process-time" => Trigger::ProcessTime,
            "partition-time" => Trigger::PartitionTime(PartitionTime::of(table, partitioning)?),
            _ => return Err(options::bad(table, TRIGGER, "`process-time` or `partition-time` is needed")),
        };
        let file_name = table.option(FILE_NAME).unwrap_or("_SUCCESS").to_owned();
        if file_name.is_empty() || file_name.contains('/') {
            return Err(options::bad(table, FILE_NAME, "the name of a file is needed"));
        }
        let delay = options::duration(table, DELAY)?.unwrap_or_default();
        Ok(Some(Self {
            trigger,
            delay: Millis::try_from(delay.as_millis()).unwrap_or(Millis::MAX),
            file_name,
            waiting: BTreeMap::new(),
            watermark: MIN_WATERMARK,
            batch_mode: false,
            all_ended: false,
        }))
    }

    /// Goes on from a snapshot.
    pub fn start(&mut self, start: SinkStart) -> Result<(), DataflowError> {
        self.watermark = start.watermark;
        self.batch_mode = start.batch_mode;
        for PendingWork { name, state } in start.pending {
            let Some(since) = state["since"].as_i64() else {
                return Err(DataflowError::External {
                    place: format!("partition {name}"),
                    detail: format!("the checkpoint names it in a form that is not known: {state}"),
                });
            };
            self.wait(&name, since)?;
        }
        Ok(())
    }

    /// Refuses a partition of which it cannot be said when it is complete.
    pub fn check(&self, folder: &str) -> Result<(), DataflowError> {
        self.until(folder, 0).map(|_| ())
    }

    /// Every subtask has reached this.
    pub fn all_reached(&mut self, watermark: Millis) {
        self.watermark = self.watermark.max(watermark);
    }

    /// No files come any more.
    pub const fn all_ended(&mut self) {
        self.all_ended = true;
    }

    /// A barrier ended files in these folders: gives the paths, below the table's, of the marks that are due.
    pub fn at_barrier<'f>(
        &mut self,
        folders: impl Iterator<Item = &'f str>,
        now: Millis,
    ) -> Result<Vec<String>, DataflowError> {
        for folder in folders {
            self.wait(folder, now)?;
        }
        let is_due = |waiting: &Waiting| match self.trigger {
            _ if self.all_ended => true,
            _ if self.batch_mode => false,
            Trigger::ProcessTime => self.delay == 0 || now > waiting.until,
            Trigger::PartitionTime(_) => self.watermark > waiting.until,
        };
        let due: Vec<String> = self.waiting.iter().filter(|(_, w)| is_due(w)).map(|(f, _)| f.clone()).collect();
        self.waiting.retain(|_, waiting| !is_due(waiting));
        Ok(due.into_iter().map(|folder| folder + &self.file_name).collect())
    }

    /// What a snapshot has to name.
    pub fn pending(&self) -> Vec<PendingWork> {
        let waiting = self.waiting.iter();
        waiting.map(|(folder, w)| PendingWork { name: folder.clone(), state: json!({"since": w.since}) }).collect()
    }

    fn wait(&mut self, folder: &str, since: Millis) -> Result<(), DataflowError> {
        // Of several subtasks, restored into one, the first to see the partition counts.
        if self.waiting.get(folder).is_none_or(|waiting| since < waiting.since) {
            let until = self.until(folder, since)?;
            self.waiting.insert(folder.to_owned(), Waiting { since, until });
        }
        Ok(())
    }

    fn until(&self, folder: &str, since: Millis) -> Result<Millis, DataflowError> {
        let from = match &self.trigger {
            Trigger::ProcessTime => since,
            Trigger::PartitionTime(times) => times.of_folder(folder)?,
        };
        Ok(from.saturating_add(self.delay))
    }
}

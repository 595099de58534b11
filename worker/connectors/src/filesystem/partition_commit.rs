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

/// What the user should know of settings that are no errors, but do not do what they seem to.
fn without_effect(table: &TableDescriptor, is_partitioned: bool) -> Vec<String> {
    const OF_COMMIT: &str = "sink.partition-commit.";
    const OF_TIMES: &str = "partition.time-extractor.";
    let mut texts = Vec::new();
    let mut idle = |is_idle: &dyn Fn(&str) -> bool, why: &str| {
        let options = table.options.keys().filter(|option| is_idle(option));
        let options: Vec<String> = options.map(|option| format!("'{option}'")).collect();
        if !options.is_empty() {
            texts.push(format!("{}: without effect, since {why}", options.join(", ")));
        }
    };
    let is_any = |option: &str| option.starts_with(OF_COMMIT) || option.starts_with(OF_TIMES);
    if !is_partitioned {
        idle(&is_any, "the table has no PARTITIONED BY");
    } else if table.option(POLICY).is_none() {
        idle(&is_any, &format!("'{POLICY}' is not set: no partition is ever said to be complete"));
    } else {
        if table.option(TRIGGER) != Some("partition-time") {
            let is_of_times = |option: &str| option == TIME_ZONE || option.starts_with(OF_TIMES);
            idle(&is_of_times, &format!("'{TRIGGER}' is not 'partition-time'"));
        }
        if let Some(name) = table.option(FILE_NAME).filter(|name| !name.starts_with(['_', '.'])) {
            texts.push(format!("'{FILE_NAME}' = '{name}': readers take it for data unless it begins with `_` or `.`"));
        }
    }
    texts
}

/// True if partitions of the table wait for a watermark, by which alone they are complete before the end.
pub(super) fn waits_for_watermark(table: &TableDescriptor) -> bool {
    !table.partitioned_by.is_empty()
        && table.option(POLICY).is_some()
        && table.option(TRIGGER) == Some("partition-time")
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
        without_effect(table, partitioning.is_partitioned()).iter().for_each(|text| options::warn_once(table, text));
        let Some(policies) = table.option(POLICY) else { return Ok(None) };
        for policy in policies.split(',').map(str::trim) {
            match policy.to_ascii_lowercase().as_str() {
                "success-file" => {}
                "metastore" => {
                    return Err(options::bad(table, POLICY, "there is no metastore: `success-file` is supported"));
                }
                _ => return Err(options::bad(table, POLICY, "`success-file` is the only policy that is supported")),
            }
        }
        if !partitioning.is_partitioned() {
            // As in Flink, there is none to mark.
            return Ok(None);
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
                return Err(DataflowError::Record {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    #[test]
    fn settings_that_do_nothing_are_told() {
        let told = |options: &[(&str, &str)], is_partitioned| without_effect(&table(&[], options), is_partitioned);
        let policy = (POLICY, "success-file");
        let extractor = ("partition.time-extractor.timestamp-pattern", "$dt");
        assert_eq!(told(&[("path", "p"), ("sink.rolling-policy.file-size", "1 mb")], false), [""; 0]);
        assert_eq!(told(&[policy, (DELAY, "1 h"), (FILE_NAME, "_OK")], true), [""; 0]);
        assert_eq!(told(&[policy, (TRIGGER, "partition-time"), (TIME_ZONE, "UTC"), extractor], true), [""; 0]);
        let cases = [
            (&[policy, (TRIGGER, "process-time")][..], false, "the table has no PARTITIONED BY"),
            (&[(TRIGGER, "process-time"), (DELAY, "1 h")], true, "no partition is ever said to be complete"),
            (&[policy, extractor], true, "'sink.partition-commit.trigger' is not 'partition-time'"),
            (&[policy, (FILE_NAME, "done")], true, "readers take it for data"),
        ];
        for (options, is_partitioned, expected) in cases {
            let texts = told(options, is_partitioned);
            assert!(texts.len() == 1 && texts[0].contains(expected), "{texts:?}");
            assert!(texts[0].contains(options[options.len() - 1].0), "{texts:?}");
        }
    }

    #[test]
    fn a_table_waits_for_a_watermark_if_its_partitions_are_marked_by_it() {
        let waits = |options: &[(&str, &str)], partitioned_by: &[&str]| {
            let mut table = table(&[], options);
            table.partitioned_by = partitioned_by.iter().map(|name| (*name).to_owned()).collect();
            waits_for_watermark(&table)
        };
        let all = [(POLICY, "success-file"), (TRIGGER, "partition-time")];
        assert!(waits(&all, &["dt"]));
        assert!(!waits(&all, &[]) && !waits(&all[..1], &["dt"]) && !waits(&all[1..], &["dt"]));
    }
}

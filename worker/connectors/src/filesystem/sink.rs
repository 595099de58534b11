//! Writes files that show only after their checkpoint.
//!
//! Rows go into a staged part per partition, appended in pieces. A part ends at every barrier, when it is large or old, and
//! when too many others are open; it is prepared, and its handle holds its path and the token that shows it when the
//! checkpoint is complete. Of a table whose small files are merged it is sealed in a hidden folder instead.

use super::compaction::{self, Compaction};
use super::mailbox::Mailbox;
use super::orphans::{Owner, listings};
use super::partition::{Partitioning, Splitter};
use super::partition_commit::PartitionCommit;
use super::{path_of, splitter_of};
use crate::format::{Encoder, Format};
use crate::options;
use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Flow, PendingWork, Sink, SinkContext, SinkStart};
use streamfleet_env::{Clock, StorageReply, StorageRequest};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::{Batch, Epoch, Millis};

/// Bytes collected before they are sent.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes and requests under way before rows are refused.
const MOST_BYTES_UNDER_WAY: usize = 8 << 20;
const MOST_REQUESTS_UNDER_WAY: usize = 16;

/// Parts open at once; the one that was written to least recently makes room for another.
const MOST_OPEN_PARTS: usize = 64;

/// Memory for rows that are in parts but not sent; above it the fullest part hands over what it has.
const MOST_HELD_BYTES: usize = 64 << 20;

/// What earlier starts left is looked for so often: one that was thought dead may have written after this one began.
const CLEAN_EVERY: Duration = Duration::from_secs(10 * 60);

/// When a part is followed by another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rolling {
    bytes: u64,
    age: Duration,
    inactivity: Duration,
    /// Ages are looked at so often.
    check: Duration,
}

impl Rolling {
    /// What the table declares.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let duration = |option, default| Ok::<_, DataflowError>(options::duration(table, option)?.unwrap_or(default));
        Ok(Self {
            bytes: options::memory_size(table, "sink.rolling-policy.file-size")?.unwrap_or(128 << 20),
            age: duration("sink.rolling-policy.rollover-interval", Duration::from_secs(30 * 60))?,
            inactivity: duration("sink.rolling-policy.inactivity-interval", Duration::from_secs(30 * 60))?,
            check: duration("sink.rolling-policy.check-interval", Duration::from_secs(60))?,
        })
    }
}

struct Part {
    /// Its partition's.
    folder: String,
    encoder: Box<dyn Encoder>,
    path: String,
    /// Where it is staged: its path, or a hidden place.
    place: String,
    bytes: u64,
    opened: Duration,
    /// When it got its last rows.
    written: Duration,
    /// The batch that brought its last rows.
    last_batch: u64,
}

/// A part that takes no more rows.
struct Closed {
    folder: String,
    path: String,
    place: String,
    bytes: u64,
    /// Of the request that prepares or seals it.
    tag: u64,
    /// The answer to it, if it was to be prepared.
    token: Option<String>,
}

/// What a barrier ended.
struct Prepared {
    closed: Vec<Closed>,
    /// Paths of files that say that a partition is complete.
    marks: Vec<String>,
    /// The last request that must be answered before all this holds.
    last_tag: u64,
}

/// See the module.
pub(super) struct FileSink {
    table: String,
    format: Format,
    path: String,
    rolling: Rolling,
    unique: String,
    clock: Arc<dyn Clock>,
    mailbox: Mailbox,
    splitter: Splitter,
    /// Open parts, by the folder of their partition.
    parts: HashMap<String, Part>,
    next_part: u64,
    batches: u64,
    next_check: Duration,
    /// Absent if small files are not merged.
    compaction: Option<Compaction>,
    /// Sizes of the requests under way, by tag.
    under_way: HashMap<u64, usize>,
    /// Of these, the ones that only clean up: what fails there is left for the next start.
    cleaning: HashSet<u64>,
    /// When to look for what others left; `None`: that is not this subtask's to do.
    next_cleaning: Option<Duration>,
    next_tag: u64,
    /// Parts that were closed since the last barrier.
    closed: Vec<Closed>,
    prepared: HashMap<Epoch, Prepared>,
    /// Absent if no partition is marked.
    partition_commit: Option<PartitionCommit>,
    written_bytes: u64,
}

impl FileSink {
    pub fn new(table: &TableDescriptor, context: SinkContext) -> Result<Self, DataflowError> {
        let partitioning = Partitioning::of(table)?;
        let partition_commit = PartitionCommit::of(table, &partitioning)?;
        let splitter = splitter_of(table, partitioning);
        let format = Format::of(table)?;
        let held: Vec<Field> = splitter.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        format.check(&table.name, &held)?;
        format.check_files()?;
        let rolling = Rolling::of(table)?;
        let mut sink = Self {
            table: table.name.clone(),
            format,
            path: path_of(table)?,
            compaction: Compaction::of(table, rolling.bytes)?,
            rolling,
            mailbox: Mailbox::new(context.files, context.waker),
            clock: context.clock,
            splitter,
            parts: HashMap::new(),
            next_part: 0,
            batches: 0,
            next_check: Duration::ZERO,
            under_way: HashMap::new(),
            cleaning: HashSet::new(),
            next_cleaning: None,
            next_tag: 0,
            closed: Vec::new(),
            prepared: HashMap::new(),
            partition_commit,
            written_bytes: 0,
            unique: context.unique,
        };
        if context.subtask == 0 && Owner::of(&sink.unique).is_some() {
            sink.next_cleaning = Some(Duration::ZERO);
            sink.clean_up();
        }
        Ok(sink)
    }

    /// Looks for what earlier starts of the job left.
    fn clean_up(&mut self) {
        if self.next_cleaning.is_some() {
            self.next_cleaning = Some(self.clock.monotonic() + CLEAN_EVERY);
            listings(&self.path).into_iter().for_each(|request| self.clean(request));
        }
    }

    fn ask(&mut self, request: StorageRequest, bytes: usize) {
        self.next_tag += 1;
        self.under_way.insert(self.next_tag, bytes);
        self.mailbox.ask(self.next_tag, request);
    }

    fn clean(&mut self, request: StorageRequest) {
        self.next_tag += 1;
        self.cleaning.insert(self.next_tag);
        self.mailbox.ask(self.next_tag, request);
    }

    fn read_mail(&mut self) -> Result<(), DataflowError> {
        while let Some((tag, result)) = self.mailbox.next() {
            if self.cleaning.remove(&tag) {
                if let Ok(found) = result {
                    self.clean_orphans(found);
                }
                continue;
            }
            self.under_way.remove(&tag);
            let reply = result.map_err(|error| DataflowError::of_storage(format!("table {}", self.table), &error))?;
            if let StorageReply::Prepared(token) = reply {
                let closed =
                    self.prepared.values_mut().flat_map(|prepared| &mut prepared.closed).chain(&mut self.closed);
                if let Some(part) = closed.into_iter().find(|part| part.tag == tag) {
                    part.token = Some(token);
                }
            }
        }
        Ok(())
    }

    /// What was found is thrown away, if an earlier start left it.
    fn clean_orphans(&mut self, found: StorageReply) {
        let removals = Owner::of(&self.unique).map(|owner| owner.removals(found)).unwrap_or_default();
        removals.into_iter().for_each(|request| self.clean(request));
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= MOST_REQUESTS_UNDER_WAY
            || self.under_way.values().sum::<usize>() >= MOST_BYTES_UNDER_WAY
    }

    fn new_part(&mut self, folder: &str, now: Duration) -> Result<Part, DataflowError> {
        if let Some(partition_commit) = &self.partition_commit {
            partition_commit.check(folder)?;
        }
        let number = self.next_part;
        self.next_part += 1;
        let name = format!("part-{}-{number}", self.unique);
        let path = format!("{}/{folder}{name}.{}", self.path, self.format.extension());
        Ok(Part {
            folder: folder.to_owned(),
            encoder: self.format.encoder(&self.table, self.splitter.schema())?,
            place: match self.compaction {
                Some(_) => format!("{}/{}/{name}", self.path, compaction::FOLDER),
                None => path.clone(),
            },
            path,
            bytes: 0,
            opened: now,
            written: now,
            last_batch: 0,
        })
    }

    fn send(&mut self, part: &mut Part, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            let size = bytes.len();
            part.bytes += size as u64;
            self.written_bytes += size as u64;
            self.ask(StorageRequest::Append { path: part.place.clone(), bytes }, size);
        }
    }

    fn write_to(&mut self, folder: String, records: &RecordBatch, now: Duration) -> Result<(), DataflowError> {
        let mut part = match self.parts.remove(&folder) {
            Some(part) => part,
            None => {
                self.make_room()?;
                self.new_part(&folder, now)?
            }
        };
        part.encoder.write(records)?;
        part.last_batch = self.batches;
        part.written = now;
        let piece = part.encoder.take(PIECE_BYTES)?;
        self.send(&mut part, piece);
        if part.bytes >= self.rolling.bytes {
            return self.close(part);
        }
        self.parts.insert(folder, part);
        Ok(())
    }

    /// Closes the part that was written to least recently, if there are too many.
    fn make_room(&mut self) -> Result<(), DataflowError> {
        if self.parts.len() < MOST_OPEN_PARTS {
            return Ok(());
        }
        let oldest = self.parts.iter().min_by_key(|(folder, part)| (part.last_batch, *folder));
        match oldest.map(|(folder, _)| folder.clone()) {
            Some(folder) => self.close_folder(&folder),
            None => Ok(()),
        }
    }

    /// Bounds the memory of all parts together.
    fn hand_over(&mut self) -> Result<(), DataflowError> {
        let held = |parts: &HashMap<String, Part>| parts.values().map(|p| p.encoder.held_bytes()).sum::<usize>();
        let mut left = held(&self.parts);
        while left > MOST_HELD_BYTES {
            let fullest = self.parts.iter().max_by_key(|(folder, p)| (p.encoder.held_bytes(), *folder));
            let Some((folder, mut part)) =
                fullest.map(|(folder, _)| folder.clone()).and_then(|folder| self.parts.remove_entry(&folder))
            else {
                return Ok(());
            };
            let piece = part.encoder.take(0)?;
            self.send(&mut part, piece);
            self.parts.insert(folder, part);
            let before = std::mem::replace(&mut left, held(&self.parts));
            if left >= before {
                // Nothing can be given any more.
                return Ok(());
            }
        }
        Ok(())
    }

    fn close_folder(&mut self, folder: &str) -> Result<(), DataflowError> {
        self.parts.remove(folder).map_or(Ok(()), |part| self.close(part))
    }

    fn close(&mut self, mut part: Part) -> Result<(), DataflowError> {
        let rest = part.encoder.finish()?;
        self.send(&mut part, rest);
        let Part { folder, path, place, bytes, .. } = part;
        let end = match self.compaction {
            Some(_) => StorageRequest::Seal { path: place.clone() },
            None => StorageRequest::Prepare { path: place.clone() },
        };
        self.ask(end, 0);
        self.closed.push(Closed { folder, path, place, bytes, tag: self.next_tag, token: None });
        Ok(())
    }

    /// Closes parts that are old. Without rows none needs to be: what is closed shows no sooner than the next barrier,
    /// which closes every part.
    fn close_old(&mut self, now: Duration) -> Result<(), DataflowError> {
        if now < self.next_check {
            return Ok(());
        }
        self.next_check = now + self.rolling.check;
        let is_old = |part: &Part| {
            now.saturating_sub(part.opened) >= self.rolling.age
                || now.saturating_sub(part.written) >= self.rolling.inactivity
        };
        let mut old: Vec<String> = self.parts.iter().filter(|(_, p)| is_old(p)).map(|(f, _)| f.clone()).collect();
        old.sort();
        old.iter().try_for_each(|folder| self.close_folder(folder))
    }
}

impl Sink for FileSink {
    fn start(&mut self, start: SinkStart) -> Result<(), DataflowError> {
        self.partition_commit.as_mut().map_or(Ok(()), |partition_commit| partition_commit.start(start))
    }

    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        self.read_mail()?;
        if self.is_full() {
            return Ok(Flow::More);
        }
        let now = self.clock.monotonic();
        self.close_old(now)?;
        self.batches += 1;
        for (folder, records) in self.splitter.split(batch.records())? {
            self.write_to(folder, &records, now)?;
        }
        self.hand_over()?;
        Ok(Flow::Done)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<(), DataflowError> {
        let mut folders: Vec<String> = self.parts.keys().cloned().collect();
        folders.sort();
        folders.iter().try_for_each(|folder| self.close_folder(folder))?;
        let closed = std::mem::take(&mut self.closed);
        let marks = match &mut self.partition_commit {
            Some(partition_commit) => {
                let folders = closed.iter().map(|part| part.folder.as_str());
                partition_commit.at_barrier(folders, self.clock.wall_clock_ms())?
            }
            None => Vec::new(),
        };
        self.prepared.insert(epoch, Prepared { closed, marks, last_tag: self.next_tag });
        if self.next_cleaning.is_some_and(|due| self.clock.monotonic() >= due) {
            self.clean_up();
        }
        Ok(())
    }

    fn pending(&self) -> Vec<PendingWork> {
        self.partition_commit.as_ref().map_or_else(Vec::new, PartitionCommit::pending)
    }

    fn all_reached(&mut self, watermark: Millis) {
        self.partition_commit.iter_mut().for_each(|partition_commit| partition_commit.all_reached(watermark));
    }

    fn all_ended(&mut self) {
        self.partition_commit.iter_mut().for_each(PartitionCommit::all_ended);
        self.clean_up();
    }

    fn poll_prepared(&mut self, epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError> {
        self.read_mail()?;
        let last_tag = self.prepared.get(&epoch).map_or(0, |prepared| prepared.last_tag);
        // The first snapshot waits for the cleaning: a job's first may be its last.
        if self.under_way.keys().any(|tag| *tag <= last_tag) || !self.cleaning.is_empty() {
            return Ok(None);
        }
        let Some(Prepared { closed, marks, .. }) = self.prepared.remove(&epoch) else { return Ok(Some(Vec::new())) };
        let marks = marks.iter().map(|mark| json!({"mark": format!("{}/{mark}", self.path)}));
        let handle = |Closed { path, place, bytes, token, .. }: &Closed| match self.compaction {
            Some(compaction) => compaction.handle(place, path, *bytes, epoch),
            None => json!({"path": path, "token": token.as_deref().expect("every request was answered")}),
        };
        Ok(Some(closed.iter().map(handle).chain(marks).collect()))
    }

    fn leave(&mut self) -> bool {
        // Whatever fails: a request that does is over, and what it leaves is the next start's.
        while self.read_mail().is_err() {}
        for (_, part) in std::mem::take(&mut self.parts) {
            self.clean(StorageRequest::Delete { path: part.place });
        }
        if !self.under_way.is_empty() {
            return false;
        }
        let prepared = std::mem::take(&mut self.prepared).into_values().flat_map(|prepared| prepared.closed);
        for part in prepared.chain(std::mem::take(&mut self.closed)).collect::<Vec<_>>() {
            match part.token {
                Some(token) => self.clean(StorageRequest::Discard { path: part.place, token }),
                None => self.clean(StorageRequest::Delete { path: part.place }),
            }
        }
        self.cleaning.is_empty()
    }

    fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

//! Writes files that show only after their checkpoint.
//!
//! Rows go into a hidden part, appended in pieces. A part ends at every barrier, and when it is large; it is sealed, and its
//! handle says which hidden file gets which name when the checkpoint is complete.

use super::mailbox::Mailbox;
use crate::format::{Encoder, Format};
use serde_json::json;
use std::collections::HashMap;
use streamfleet_dataflow::{DataflowError, Flow, Sink, SinkContext};
use streamfleet_env::StorageRequest;
use streamfleet_logical::TableDescriptor;
use streamfleet_types::{Batch, Epoch};

/// Bytes collected before they are sent.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes and requests under way before rows are refused.
const MOST_BYTES_UNDER_WAY: usize = 8 << 20;
const MOST_REQUESTS_UNDER_WAY: usize = 16;

struct Part {
    encoder: Box<dyn Encoder>,
    staged: String,
    name: String,
    bytes: u64,
}

/// See the module.
pub(super) struct FileSink {
    table: TableDescriptor,
    format: Format,
    path: String,
    part_bytes: u64,
    unique: String,
    mailbox: Mailbox,
    part: Option<Part>,
    next_part: u64,
    /// Sizes of the requests under way, by tag.
    under_way: HashMap<u64, usize>,
    next_tag: u64,
    /// Handles of parts that were closed since the last barrier.
    closed: Vec<serde_json::Value>,
    /// Handles of an epoch, and the last request that must be answered before they hold.
    prepared: HashMap<Epoch, (Vec<serde_json::Value>, u64)>,
}

impl FileSink {
    pub fn new(
        table: &TableDescriptor,
        format: Format,
        path: String,
        part_bytes: u64,
        context: SinkContext,
    ) -> Result<Self, DataflowError> {
        if !table.partitioned_by.is_empty() {
            let detail = "PARTITIONED BY".to_owned();
            return Err(DataflowError::Unsupported { operator: format!("sink {}", table.name), detail });
        }
        Ok(Self {
            table: table.clone(),
            format,
            path,
            part_bytes,
            unique: context.unique,
            mailbox: Mailbox::new(context.files, context.waker),
            part: None,
            next_part: 0,
            under_way: HashMap::new(),
            next_tag: 0,
            closed: Vec::new(),
            prepared: HashMap::new(),
        })
    }

    fn ask(&mut self, request: StorageRequest, bytes: usize) {
        self.next_tag += 1;
        self.under_way.insert(self.next_tag, bytes);
        self.mailbox.ask(self.next_tag, request);
    }

    fn read_mail(&mut self) -> Result<(), DataflowError> {
        while let Some((tag, result)) = self.mailbox.next() {
            self.under_way.remove(&tag);
            result.map_err(|error| DataflowError::External {
                place: format!("table {}", self.table.name),
                detail: error.to_string(),
            })?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= MOST_REQUESTS_UNDER_WAY
            || self.under_way.values().sum::<usize>() >= MOST_BYTES_UNDER_WAY
    }

    fn new_part(&mut self) -> Result<Part, DataflowError> {
        let number = self.next_part;
        self.next_part += 1;
        let name = format!("part-{}-{number}", self.unique);
        Ok(Part {
            encoder: self.format.encoder(&self.table)?,
            staged: format!("{}/.{name}.inprogress", self.path),
            name: format!("{}/{name}.{}", self.path, self.format.extension()),
            bytes: 0,
        })
    }

    fn send(&mut self, part: &mut Part, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            let size = bytes.len();
            part.bytes += size as u64;
            self.ask(StorageRequest::Append { path: part.staged.clone(), bytes }, size);
        }
    }

    fn close_part(&mut self) -> Result<(), DataflowError> {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        let rest = part.encoder.finish()?;
        self.send(&mut part, rest);
        self.ask(StorageRequest::Seal { path: part.staged.clone() }, 0);
        self.closed.push(json!({"from": part.staged, "to": part.name}));
        Ok(())
    }
}

impl Sink for FileSink {
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        self.read_mail()?;
        if self.is_full() {
            return Ok(Flow::More);
        }
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.new_part()?,
        };
        part.encoder.write(batch.records())?;
        let piece = part.encoder.take(PIECE_BYTES);
        self.send(&mut part, piece);
        let is_large = part.bytes >= self.part_bytes;
        self.part = Some(part);
        if is_large {
            self.close_part()?;
        }
        Ok(Flow::Done)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<(), DataflowError> {
        self.close_part()?;
        let handles = std::mem::take(&mut self.closed);
        self.prepared.insert(epoch, (handles, self.next_tag));
        Ok(())
    }

    fn poll_prepared(&mut self, epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError> {
        self.read_mail()?;
        let last_tag = self.prepared.get(&epoch).map_or(0, |(_, tag)| *tag);
        if self.under_way.keys().any(|tag| *tag <= last_tag) {
            return Ok(None);
        }
        Ok(Some(self.prepared.remove(&epoch).map(|(handles, _)| handles).unwrap_or_default()))
    }
}

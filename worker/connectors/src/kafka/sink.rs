//! Writes a topic.
//!
//! # Exactly once
//! One producer, with a transactional id of its own, serves exactly one epoch. At the barrier it is flushed; the broker's
//! name of its transaction goes into the snapshot, and when that is complete any process can commit it. The next epoch is
//! written by another producer, initialised ahead, but only when the flush is acknowledged: so a key's rows keep their order.
//! Ids are unique to a term, so that nothing that an overtaken process does can end a transaction of its successor. An id is
//! used again when a record says that its transaction is committed: by a new producer, whose first act is to fence the old.

use super::client::{
    Cluster, KafkaFault, OutgoingBlock, Producer, ProducerCommand, ProducerEvent, ProducerSettings, TransactionHandle,
};
use super::encode::RowEncoder;
use super::options::{Guarantee, WriteOptions};
use crate::format::Link;
use crate::inbox::{Inbox, UnderWay};
use crate::options::bad;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Flow, Sink, SinkContext};
use streamfleet_logical::SinkSpec;
use streamfleet_types::{Batch, Epoch};

/// Encoded bytes on their way to the client before rows are refused.
const MOST_UNDER_WAY: usize = 16 << 20;

/// A producer that may be written to, or soon.
#[derive(Debug)]
struct Writer {
    producer: u64,
    id: u64,
    is_open: bool,
    /// When its first row was written.
    began: Option<Duration>,
}

/// A transaction that waits to be committed.
#[derive(Debug)]
struct Prepared {
    epoch: Epoch,
    producer: u64,
    id: u64,
    began: Duration,
}

/// A flush that is under way.
#[derive(Debug)]
struct Flush {
    epoch: Epoch,
    producer: u64,
    id: u64,
    began: Option<Duration>,
}

/// See the module.
pub(super) struct KafkaSink {
    table: String,
    options: WriteOptions,
    context: SinkContext,
    cluster: Arc<dyn Cluster>,
    encoder: RowEncoder,
    inbox: Inbox<ProducerEvent>,
    under_way: Arc<UnderWay>,
    client: Option<Box<dyn Producer>>,
    next_producer: u64,
    /// Ends of transactional ids that may be used again, and the first that was never used.
    free_ids: BinaryHeap<Reverse<u64>>,
    next_id: u64,
    /// The producer of the epoch at hand.
    current: Option<Writer>,
    /// The one of the next epoch.
    ahead: Option<Writer>,
    /// Flushes under way, oldest first; with transactions one at most.
    flushes: VecDeque<Flush>,
    prepared: Vec<Prepared>,
    /// Handles of epochs that are flushed.
    handles: HashMap<Epoch, Vec<serde_json::Value>>,
    written_bytes: u64,
}

impl KafkaSink {
    pub fn new(
        spec: &SinkSpec,
        cluster: Arc<dyn Cluster>,
        context: SinkContext,
        is_upsert: bool,
    ) -> Result<Self, DataflowError> {
        let table = &spec.table;
        let options = WriteOptions::of(table)?;
        super::check_properties(table, &options.properties)?;
        if options.guarantee == Guarantee::ExactlyOnce {
            let needed = context.checkpoint_interval + context.commit_within;
            if options.transaction_timeout < needed {
                let detail = format!(
                    "a transaction may wait {} s for its checkpoint and a restart: raise it, or lower the checkpoints' interval \
                     or time-out",
                    needed.as_secs()
                );
                return Err(bad(table, "properties.transaction.timeout.ms", detail));
            }
            // Refused here rather than when the first transaction is to be committed.
            super::protocol::check(&options.properties).map_err(|fault| fault.of_table(&table.name))?;
        }
        Ok(Self {
            table: table.name.clone(),
            encoder: RowEncoder::new(table, is_upsert)?,
            options,
            inbox: Inbox::new(Arc::clone(&context.waker)),
            cluster,
            context,
            under_way: Arc::default(),
            client: None,
            next_producer: 0,
            free_ids: BinaryHeap::new(),
            next_id: 0,
            current: None,
            ahead: None,
            flushes: VecDeque::new(),
            prepared: Vec::new(),
            handles: HashMap::new(),
            written_bytes: 0,
        })
    }

    fn fault(&self, fault: &KafkaFault) -> DataflowError {
        fault.of_table(&self.table)
    }

    fn is_transactional(&self) -> bool {
        self.options.guarantee == Guarantee::ExactlyOnce
    }

    /// The first call makes the client: a sink that is only checked reaches nobody.
    fn begin(&mut self) -> Result<(), DataflowError> {
        if self.client.is_some() {
            return Ok(());
        }
        let settings = ProducerSettings {
            properties: self.options.properties.clone(),
            topic: self.options.topic.clone(),
            partitioner: self.options.partitioner,
            subtask: self.context.subtask,
        };
        let client = self.cluster.producer(settings, self.inbox.clone(), Arc::clone(&self.under_way));
        self.client = Some(client.map_err(|fault| self.fault(&fault))?);
        let place = format!("table {}", self.table);
        let cluster = Arc::clone(&self.cluster);
        let open = move |settings| cluster.registry(settings);
        self.encoder.connect(|part| Link {
            place: &place,
            subject: format!("{}-{part}", self.options.topic),
            open: &open,
            waker: Arc::clone(&self.context.waker),
        })?;
        self.current = Some(self.open());
        if self.is_transactional() {
            self.ahead = Some(self.open());
        }
        Ok(())
    }

    fn ask(&self, command: ProducerCommand) {
        self.client.as_ref().expect("begun before anything is asked").ask(command);
    }

    fn open(&mut self) -> Writer {
        let producer = self.next_producer;
        self.next_producer += 1;
        let id = self.free_ids.pop().map_or(self.next_id, |Reverse(id)| id);
        self.next_id = self.next_id.max(id + 1);
        let transactional_id =
            self.is_transactional().then(|| format!("{}-{}-{id}", self.options.id_prefix, self.context.unique));
        self.ask(ProducerCommand::Open { producer, transactional_id });
        Writer { producer, id, is_open: false, began: None }
    }

    fn listen(&mut self) -> Result<(), DataflowError> {
        while let Some(event) = self.inbox.next() {
            match event {
                ProducerEvent::Opened { producer } => {
                    let writers = self.current.iter_mut().chain(&mut self.ahead);
                    writers.filter(|w| w.producer == producer).for_each(|w| w.is_open = true);
                }
                ProducerEvent::Flushed { producer, transaction } => self.on_flushed(producer, transaction),
                ProducerEvent::Failed(fault) => return Err(self.fault(&fault)),
            }
        }
        Ok(())
    }

    fn on_flushed(&mut self, producer: u64, transaction: Option<TransactionHandle>) {
        let Some(flush) = self.flushes.pop_front().filter(|f| f.producer == producer) else { return };
        let handles = transaction.map(|handle| serde_json::to_value(handle).expect("a handle has only string keys"));
        if let (Some(began), true) = (flush.began, handles.is_some()) {
            self.prepared.push(Prepared { epoch: flush.epoch, producer, id: flush.id, began });
        }
        self.handles.entry(flush.epoch).or_default().extend(handles);
    }

    /// A transaction that may time out before its checkpoint is recorded and committed must not be named: the job goes back
    /// to its last checkpoint instead.
    fn check_age(&self) -> Result<(), DataflowError> {
        let now = self.context.clock.monotonic();
        let oldest = self.prepared.iter().map(|p| p.began).chain(self.flushes.iter().filter_map(|f| f.began)).min();
        let age = oldest.map_or(Duration::ZERO, |began| now.saturating_sub(began));
        if age + self.context.commit_within <= self.options.transaction_timeout {
            return Ok(());
        }
        Err(self.fault(&KafkaFault::new(format!(
            "topic {}: a transaction has been open for {} s and may reach its time-out ({} s) before a checkpoint commits it: the \
             rows since the last checkpoint are written again by the next start; find out why checkpoints take so long, or raise \
             'properties.transaction.timeout.ms'",
            self.options.topic,
            age.as_secs(),
            self.options.transaction_timeout.as_secs()
        ))))
    }
}

impl Sink for KafkaSink {
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError> {
        self.begin()?;
        self.listen()?;
        let is_ready = self.encoder.is_ready()? && self.current.as_ref().is_some_and(|w| w.is_open);
        if !is_ready
            || (self.is_transactional() && !self.flushes.is_empty())
            || self.under_way.bytes() >= MOST_UNDER_WAY
        {
            return Ok(Flow::More);
        }
        let block: OutgoingBlock = self.encoder.encode(batch)?;
        if block.is_empty() {
            return Ok(Flow::Done);
        }
        let now = self.context.clock.monotonic();
        let writer = self.current.as_mut().expect("checked above");
        writer.began.get_or_insert(now);
        let producer = writer.producer;
        self.written_bytes += block.bytes() as u64;
        self.under_way.add(block.bytes());
        self.ask(ProducerCommand::Send { producer, block });
        Ok(Flow::Done)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<(), DataflowError> {
        self.begin()?;
        self.listen()?;
        let began = self.current.as_ref().and_then(|w| w.began);
        if began.is_none() {
            return Ok(());
        }
        let writer = self.current.take().expect("it has begun");
        let (producer, id) = (writer.producer, writer.id);
        if self.is_transactional() {
            self.current = self.ahead.take();
            let ahead = self.open();
            self.ahead = Some(ahead);
        } else {
            self.current = Some(Writer { began: None, ..writer });
        }
        self.flushes.push_back(Flush { epoch, producer, id, began });
        self.ask(ProducerCommand::Flush { producer });
        Ok(())
    }

    fn poll_prepared(&mut self, epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError> {
        self.listen()?;
        if self.flushes.iter().any(|f| f.epoch <= epoch) {
            return Ok(None);
        }
        if self.is_transactional() {
            self.check_age()?;
        }
        Ok(Some(self.handles.remove(&epoch).unwrap_or_default()))
    }

    fn committed(&mut self, epoch: Epoch) {
        let (done, left): (Vec<Prepared>, Vec<Prepared>) =
            std::mem::take(&mut self.prepared).into_iter().partition(|p| p.epoch <= epoch);
        self.prepared = left;
        for prepared in done {
            self.ask(ProducerCommand::Close { producer: prepared.producer });
            self.free_ids.push(Reverse(prepared.id));
        }
    }

    fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        let Some(client) = &self.client else { return };
        // Rows since the last barrier are in no checkpoint: readers need not wait for their transaction's time-out.
        if let Some(writer) = self.current.as_ref().filter(|w| w.began.is_some()) {
            client.ask(ProducerCommand::Abandon { producer: writer.producer });
        }
        client.ask(ProducerCommand::End);
    }
}

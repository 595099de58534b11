//! The clients: what a connector asks becomes requests, as the real clients do it.

use super::broker::{ProducerName, Record, Refused, records_of};
use super::network::{Answered, Link, Reply, Request, SimKafka, Waits};
use crate::Random;
use crate::process::SimClock;
use crate::storage::{Delays, Fate};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_connectors::inbox::{Inbox, UnderWay};
use streamfleet_connectors::kafka::client::{
    Answer, Cluster, Consumer, ConsumerCommand, ConsumerEvent, ConsumerSettings, IdState, KafkaFault, OutgoingBlock,
    PartitionLag, Partitioner, Producer, ProducerCommand, ProducerEvent, ProducerSettings, Properties, RecordBlock,
    TopicPartition, TransactionHandle, Transactions,
};
use streamfleet_connectors::registry::{Registry, RegistryFault, RegistrySettings};
use streamfleet_env::Clock;
use streamfleet_types::Outlook;
use streamfleet_types::hash::hash_bytes;

/// The most records that a fetch gives.
const MOST_RECORDS: u64 = 40;

/// One process's way to a modelled cluster.
#[derive(Clone)]
pub(crate) struct SimCluster {
    link: Link,
}

impl SimCluster {
    pub const fn new(link: Link) -> Self {
        Self { link }
    }
}

impl Cluster for SimCluster {
    fn consumer(
        &self,
        settings: ConsumerSettings,
        inbox: Inbox<ConsumerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Consumer>, KafkaFault> {
        let is = |key: &str, value: &str| settings.properties.get(key).is_some_and(|v| v == value);
        let committed = is("isolation.level", "read_committed");
        let group = settings.properties.get("group.id").cloned().unwrap_or_default();
        let (link, control) = (self.link.clone(), self.link.connect());
        let reading = Mutex::default();
        let reader = Reader { link, control, settings, committed, group, inbox, under_way, reading };
        Ok(Box::new(SimConsumer(Arc::new(reader))))
    }

    fn producer(
        &self,
        settings: ProducerSettings,
        inbox: Inbox<ProducerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Producer>, KafkaFault> {
        let timeout = settings.properties.get("transaction.timeout.ms").and_then(|text| text.parse().ok());
        let (link, connection) = (self.link.clone(), self.link.connect());
        let timeout = timeout.map(Duration::from_millis);
        let writing = Mutex::default();
        Ok(Box::new(SimProducer(Arc::new(Writer { link, connection, settings, timeout, inbox, under_way, writing }))))
    }

    fn registry(&self, _: RegistrySettings) -> Result<Box<dyn Registry>, RegistryFault> {
        Err(RegistryFault {
            is_unknown: false,
            detail: "there is no schema registry in a simulation".to_owned(),
            outlook: Outlook::Refused,
        })
    }

    fn transactions(&self, _: Properties) -> Result<Box<dyn Transactions>, KafkaFault> {
        let (link, connection) = (self.link.clone(), self.link.connect());
        Ok(Box::new(SimTransactions(Arc::new(Ender { link, connection }))))
    }
}

fn fault(what: &str, refused: Refused) -> KafkaFault {
    KafkaFault::new(format!("{what}: {refused}"))
}

struct Reader {
    link: Link,
    /// The connection for everything but records.
    control: u64,
    settings: ConsumerSettings,
    committed: bool,
    group: String,
    inbox: Inbox<ConsumerEvent>,
    under_way: Arc<UnderWay>,
    reading: Mutex<HashMap<TopicPartition, Reading>>,
}

/// How a partition is read.
#[derive(Clone)]
struct Reading {
    connection: u64,
    is_paused: Arc<AtomicBool>,
    lag: Arc<PartitionLag>,
}

struct SimConsumer(Arc<Reader>);

impl Consumer for SimConsumer {
    fn ask(&self, command: ConsumerCommand) {
        let reader = &self.0;
        match command {
            ConsumerCommand::List => {
                let request = Request::List(reader.settings.topics.clone());
                reader.control("the topics cannot be listed", request, |reply| match reply {
                    Reply::Partitions(partitions, states) => Some(ConsumerEvent::Partitions(partitions, states)),
                    _ => None,
                });
            }
            ConsumerCommand::Identify(topics) => {
                reader.control("the topics cannot be described", Request::Identify(topics), |reply| match reply {
                    Reply::Identified(states) => Some(ConsumerEvent::Identified(states)),
                    _ => None,
                });
            }
            ConsumerCommand::Offsets { at, partitions } => {
                let (group, committed) = (reader.group.clone(), reader.committed);
                let request = Request::Offsets { at, of: partitions, group, committed };
                reader.control("the offsets cannot be read", request, move |reply| match reply {
                    Reply::Offsets(offsets) => Some(ConsumerEvent::Offsets { at, offsets }),
                    _ => None,
                });
            }
            ConsumerCommand::Read { partition, offset, lag } => {
                let reading = Reading { connection: reader.link.connect(), is_paused: Arc::default(), lag };
                reader.reading.lock().expect("one thread").insert(partition.clone(), reading.clone());
                Arc::clone(reader).fetch(reading, partition, offset, false);
            }
            ConsumerCommand::Pause(partition) => reader.set_paused(&partition, true),
            ConsumerCommand::Resume(partition) => reader.set_paused(&partition, false),
            ConsumerCommand::Leave(partition) => {
                if let Some(reading) = reader.reading.lock().expect("one thread").remove(&partition) {
                    reader.link.close(reading.connection);
                }
            }
            ConsumerCommand::CommitToGroup(offsets) => {
                let request = Request::CommitToGroup { group: reader.group.clone(), offsets };
                reader.control("offsets cannot be committed", request, |_| None);
            }
        }
    }
}

impl Reader {
    fn control(
        &self,
        what: &'static str,
        request: Request,
        event: impl FnOnce(Reply) -> Option<ConsumerEvent> + Send + 'static,
    ) {
        let inbox = self.inbox.clone();
        let done: Answered = Box::new(move |answer| match answer {
            Ok(reply) => event(reply).into_iter().for_each(|event| inbox.put(event)),
            Err(refused) => inbox.put(ConsumerEvent::Failed(fault(what, refused))),
        });
        self.link.send(self.control, request, Waits::No, done);
    }

    fn set_paused(&self, partition: &TopicPartition, is_paused: bool) {
        if let Some(reading) = self.reading.lock().expect("one thread").get(partition) {
            reading.is_paused.store(is_paused, Ordering::Relaxed);
        }
    }

    /// Fetches again and again, until the partition is left. `met_end`: nothing new was there.
    fn fetch(self: Arc<Self>, reading: Reading, of: TopicPartition, offset: i64, met_end: bool) {
        let most_records = 1 + self.link.below(MOST_RECORDS) as usize;
        let request = Request::Fetch { of: of.clone(), offset, committed: self.committed, most_records };
        let most = self.settings.most_under_way;
        let (connection, is_paused) = (reading.connection, Arc::clone(&reading.is_paused));
        let waits = Waits::ForRecords { is_paused, under_way: Arc::clone(&self.under_way), most, met_end };
        let reader = Arc::clone(&self);
        let done: Answered = Box::new(move |answer| match answer {
            Ok(Reply::Fetched(fetched)) => {
                reading.lag.ends_at(fetched.end);
                if !fetched.records.is_empty() {
                    let block = reader.block(&of, &fetched.records);
                    reader.under_way.add(block.bytes());
                    reader.inbox.put(ConsumerEvent::Records(Box::new(block)));
                }
                if fetched.is_at_end {
                    reader.inbox.put(ConsumerEvent::Reached(of.clone(), fetched.next));
                }
                reader.fetch(reading, of, fetched.next, fetched.is_at_end);
            }
            Ok(_) => {}
            Err(refused) => reader.inbox.put(ConsumerEvent::Failed(fault(&format!("{of} cannot be read"), refused))),
        });
        self.link.send(connection, request, waits, done);
    }

    fn block(&self, of: &TopicPartition, records: &[(i64, Record)]) -> RecordBlock {
        let mut block = RecordBlock::new(of.clone());
        for (offset, record) in records {
            block.offsets.push(*offset);
            block.timestamps.push(record.timestamp);
            block.values.push(record.value.as_deref());
            if self.settings.keys {
                block.keys.push(record.key.as_deref());
            }
            if self.settings.headers {
                block.headers.push(record.headers.clone());
            }
        }
        block
    }
}

/// A producer that is open.
#[derive(Clone)]
struct Open {
    name: ProducerName,
    transactional_id: Option<String>,
    partitions: i32,
    next_block: u64,
    in_transaction: bool,
}

#[derive(Default)]
struct Writing {
    open: HashMap<u64, Open>,
    next_partition: i32,
    failed: bool,
}

struct Writer {
    link: Link,
    /// The connection for everything but opening.
    connection: u64,
    settings: ProducerSettings,
    timeout: Option<Duration>,
    inbox: Inbox<ProducerEvent>,
    under_way: Arc<UnderWay>,
    writing: Mutex<Writing>,
}

struct SimProducer(Arc<Writer>);

impl Producer for SimProducer {
    fn ask(&self, command: ProducerCommand) {
        let writer = &self.0;
        match command {
            ProducerCommand::Open { producer, transactional_id } => Arc::clone(writer).open(producer, transactional_id),
            ProducerCommand::Send { producer, block } => Arc::clone(writer).send(producer, &block),
            ProducerCommand::Flush { producer } => Arc::clone(writer).flush(producer),
            ProducerCommand::Close { producer } => {
                writer.writing.lock().expect("one thread").open.remove(&producer);
            }
            ProducerCommand::Abandon { producer } => Arc::clone(writer).abandon(producer),
            ProducerCommand::End => {}
        }
    }
}

impl Writer {
    /// The first fault is told, and nothing after it.
    fn fail(&self, what: &str, refused: Refused) {
        let mut writing = self.writing.lock().expect("one thread");
        if !std::mem::replace(&mut writing.failed, true) {
            let topic = &self.settings.topic;
            self.inbox.put(ProducerEvent::Failed(fault(&format!("topic {topic}: {what}"), refused)));
        }
    }

    fn ask(
        self: Arc<Self>,
        connection: u64,
        what: &'static str,
        request: Request,
        then: impl FnOnce(Arc<Self>, Reply) + Send + 'static,
    ) {
        let writer = Arc::clone(&self);
        let done: Answered = Box::new(move |answer| match answer {
            Ok(reply) => then(writer, reply),
            Err(refused) => writer.fail(what, refused),
        });
        self.link.send(connection, request, Waits::No, done);
    }

    fn open(self: Arc<Self>, producer: u64, transactional_id: Option<String>) {
        let connection = self.link.connect();
        let count = Request::CountPartitions(self.settings.topic.clone());
        let init = match &transactional_id {
            Some(id) => Request::Init { id: id.clone(), timeout: self.timeout },
            None => Request::NewProducer,
        };
        self.ask(connection, "it cannot be written", count, move |writer, reply| {
            let Reply::Count(partitions) = reply else { return };
            writer.ask(connection, "the producer cannot be initialised", init, move |writer, reply| {
                let Reply::Producer(name) = reply else { return };
                let open = Open { name, transactional_id, partitions, next_block: 0, in_transaction: false };
                writer.writing.lock().expect("one thread").open.insert(producer, open);
                writer.link.close(connection);
                writer.inbox.put(ProducerEvent::Opened { producer });
            });
        });
    }

    fn send(self: Arc<Self>, producer: u64, block: &OutgoingBlock) {
        self.under_way.remove(block.bytes());
        let request = {
            let mut writing = self.writing.lock().expect("one thread");
            let mut next_partition = writing.next_partition;
            let open = writing.open.get_mut(&producer).expect("the sink sends through producers that are open");
            open.in_transaction |= open.transactional_id.is_some();
            let count = open.partitions.max(1);
            let place = |record: Record| {
                let partition = match (self.settings.partitioner, &record.key) {
                    (Partitioner::Fixed, _) => (self.settings.subtask % count as u32) as i32,
                    (Partitioner::Default, Some(key)) => (hash_bytes(key) % count as u64) as i32,
                    _ => {
                        next_partition = (next_partition + 1) % count;
                        next_partition
                    }
                };
                (TopicPartition { topic: self.settings.topic.as_str().into(), partition }, record)
            };
            let placed = Arc::new(records_of(block, self.link.wall_clock_ms()).into_iter().map(place).collect());
            let number = open.next_block;
            open.next_block += 1;
            let request = Request::Produce { producer: open.name, id: open.transactional_id.clone(), number, placed };
            writing.next_partition = next_partition;
            request
        };
        let connection = self.connection;
        self.ask(connection, "records cannot be written", request, |_, _| {});
    }

    /// The connection is in order: when this is answered all records are.
    fn flush(self: Arc<Self>, producer: u64) {
        let open = self.writing.lock().expect("one thread").open.get(&producer).cloned();
        let open = open.expect("the sink flushes producers that are open");
        let connection = self.connection;
        let request = match open.transactional_id.filter(|_| open.in_transaction) {
            Some(id) => Request::Describe { id },
            None => Request::CountPartitions(self.settings.topic.clone()),
        };
        self.ask(connection, "the transaction is not open any more", request, move |writer, reply| {
            let transaction = match reply {
                Reply::Transaction(handle) => Some(handle),
                _ => None,
            };
            writer.inbox.put(ProducerEvent::Flushed { producer, transaction });
        });
    }

    fn abandon(self: Arc<Self>, producer: u64) {
        let open = self.writing.lock().expect("one thread").open.remove(&producer);
        if let Some(Open { name, transactional_id: Some(id), in_transaction: true, .. }) = open {
            let handle = TransactionHandle { transactional_id: id, producer_id: name.id, producer_epoch: name.epoch };
            let request = Request::End { handle, commit: false };
            // Nobody hears how it went.
            self.link.send(self.connection, request, Waits::No, Box::new(|_| {}));
        }
    }
}

struct Ender {
    link: Link,
    connection: u64,
}

struct SimTransactions(Arc<Ender>);

impl Transactions for SimTransactions {
    fn commit(&self, handles: Vec<TransactionHandle>, done: Answer<()>) {
        Arc::clone(&self.0).commit(handles.into(), done);
    }

    fn list(&self, prefix: String, done: Answer<Vec<IdState>>) {
        let then: Answered = Box::new(move |answer| match answer {
            Ok(Reply::Transactions(found)) => done(Ok(found)),
            Ok(_) => {}
            Err(refused) => done(Err(fault("the transactions cannot be listed", refused))),
        });
        self.0.link.send(self.0.connection, Request::ListTransactions { prefix }, Waits::No, then);
    }

    fn fence(&self, ids: Vec<String>, done: Answer<()>) {
        Arc::clone(&self.0).init(ids.into(), done);
    }
}

impl Ender {
    fn commit(self: Arc<Self>, mut handles: VecDeque<TransactionHandle>, done: Answer<()>) {
        let Some(handle) = handles.pop_front() else { return done(Ok(())) };
        let what = format!("the transaction of {} cannot be committed", handle.transactional_id);
        let ender = Arc::clone(&self);
        let then: Answered = Box::new(move |answer| match answer {
            Ok(_) => ender.commit(handles, done),
            Err(refused) => done(Err(fault(&what, refused))),
        });
        self.link.send(self.connection, Request::End { handle, commit: true }, Waits::No, then);
    }

    fn init(self: Arc<Self>, mut ids: VecDeque<String>, done: Answer<()>) {
        let Some(id) = ids.pop_front() else { return done(Ok(())) };
        let ender = Arc::clone(&self);
        let then: Answered = Box::new(move |answer| match answer {
            Ok(_) => ender.init(ids, done),
            Err(refused) => done(Err(fault("a transactional id cannot be fenced", refused))),
        });
        self.link.send(self.connection, Request::Init { id, timeout: None }, Waits::No, then);
    }
}

/// The model without faults, with time as its user passes it: each cluster is a process of its own.
#[derive(Default)]
pub struct KafkaAtOnce {
    kafka: SimKafka,
    clock: Arc<SimClock>,
    processes: Mutex<Vec<u64>>,
}

impl KafkaAtOnce {
    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.kafka.with_broker(|broker| broker.create_topic(name, partitions));
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) {
        self.kafka.with_broker(|broker| broker.delete_topic(name));
    }

    /// The view of a new process.
    pub fn cluster(&self) -> Arc<dyn Cluster> {
        let mut processes = self.processes.lock().expect("no holder of this lock panics");
        let number = processes.len() as u64 + 1;
        processes.push(number);
        let delays = Delays::new(Arc::new(AtomicU64::new(1)), number);
        Arc::new(SimCluster::new(Link::new(self.kafka.clone(), number, Arc::clone(&self.clock), delays)))
    }

    /// Lets time pass, and everything be served that is under way.
    pub fn pass(&self, time: Duration) {
        let until = self.clock.monotonic() + time;
        let processes = self.processes.lock().expect("no holder of this lock panics").clone();
        let mut random = Random::new(0);
        loop {
            let now = self.clock.monotonic();
            while self.kafka.serve(now, &processes, &mut random, |_| Fate::Served).is_some() {}
            if now >= until {
                return;
            }
            self.clock.advance_to(self.kafka.next_due(&processes).map_or(until, |at| at.clamp(now, until)));
        }
    }
}

/// What readers of committed records see of a topic: for every key its values in order, as one line.
pub(crate) fn shown_by_key(kafka: &SimKafka, topic: &str, is_compacted: bool) -> Vec<String> {
    const NONE: &str = "-";
    let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or(NONE.into(), String::from_utf8_lossy).into_owned();
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    kafka.with_broker(|broker| {
        for partition in 0..broker.partition_count(topic) {
            let of = TopicPartition { topic: topic.into(), partition };
            let fetched = broker.fetch(&of, 0, usize::MAX, true);
            for (_, record) in fetched.map(|f| f.records).unwrap_or_default() {
                let key = format!("{topic}-{partition} {}", text(&record.key));
                by_key.entry(key).or_default().push(text(&record.value));
            }
        }
    });
    if is_compacted {
        by_key.values_mut().for_each(|values| *values = values.split_off(values.len() - 1));
        by_key.retain(|_, values| values[0] != NONE);
    }
    by_key.into_iter().map(|(key, values)| format!("{key}: {}", values.join(" "))).collect()
}

//! A cluster in memory, for tests: answers at once, and keeps what it was asked.

use super::client::{
    Answer, Cluster, Consumer, ConsumerCommand, ConsumerEvent, ConsumerSettings, IdState, KafkaFault, OffsetsAt,
    OutgoingBlock, Producer, ProducerCommand, ProducerEvent, ProducerSettings, Properties, RecordBlock, TopicPartition,
    TopicState, TopicStates, TransactionHandle, Transactions,
};
use crate::inbox::{Inbox, UnderWay};
use crate::registry::{self, RegisteredSchema, Registry, RegistryFault, RegistrySettings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use streamfleet_types::Outlook;

/// A record: key, value, timestamp.
type Record = (Option<Vec<u8>>, Option<Vec<u8>>, i64);

#[derive(Default)]
pub(super) struct State {
    pub partitions: BTreeMap<TopicPartition, Vec<Record>>,
    /// By topic.
    pub topic_ids: BTreeMap<Arc<str>, Arc<str>>,
    /// Why nothing can be listed.
    pub listing_fault: Option<KafkaFault>,
    /// Topics are not identified until this is false.
    pub holds_ids: bool,
    /// Offsets that the consumer group committed.
    pub group: BTreeMap<TopicPartition, i64>,
    /// What sinks and dead letters asked, as text.
    pub asked: Vec<String>,
    /// Blocks that were sent, with their producer.
    pub sent: Vec<(u64, OutgoingBlock)>,
    /// Flushes are not answered until this is false.
    pub holds_flushes: bool,
    /// Schemas of the registry: the first has number 1.
    pub schemas: Vec<String>,
    /// What every question to the registry meets.
    pub registry_fault: Option<RegistryFault>,
    /// Questions to the registry are not answered until this is false.
    pub holds_schemas: bool,
    /// Transactional ids that the brokers know.
    pub ids: Vec<IdState>,
    held: Vec<Box<dyn FnOnce() + Send>>,
}

impl State {
    fn topics(&self) -> TopicStates {
        let mut states = TopicStates::new();
        for TopicPartition { topic, .. } in self.partitions.keys() {
            let id = self.topic_ids.get(topic).cloned();
            states.entry(Arc::clone(topic)).or_insert(TopicState { id, partitions: 0 }).partitions += 1;
        }
        states
    }
}

#[derive(Clone, Default)]
pub(super) struct FakeCluster(pub Arc<Mutex<State>>);

impl FakeCluster {
    pub fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    pub fn put(&self, topic: &str, partition: i32, values: &[&str]) {
        let mut state = self.0.lock().unwrap();
        let records = state.partitions.entry(Self::partition(topic, partition)).or_default();
        for value in values {
            let time = 1_000 * records.len() as i64;
            records.push((None, Some(value.as_bytes().to_vec()), time));
        }
    }

    pub fn put_keyed(&self, topic: &str, partition: i32, key: &str, value: Option<&str>) {
        let mut state = self.0.lock().unwrap();
        let records = state.partitions.entry(Self::partition(topic, partition)).or_default();
        records.push((Some(key.as_bytes().to_vec()), value.map(|v| v.as_bytes().to_vec()), 5));
    }

    /// Gives the answers that were held back.
    pub fn release(&self) {
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        self.0.lock().unwrap().holds_flushes = false;
        self.0.lock().unwrap().holds_ids = false;
        self.0.lock().unwrap().holds_schemas = false;
        held.into_iter().for_each(|answer| answer());
    }
}

struct FakeConsumer {
    state: Arc<Mutex<State>>,
    settings: ConsumerSettings,
    inbox: Inbox<ConsumerEvent>,
    under_way: Arc<UnderWay>,
}

impl Consumer for FakeConsumer {
    fn ask(&self, command: ConsumerCommand) {
        let mut state = self.state.lock().unwrap();
        match command {
            ConsumerCommand::List => {
                let partitions = state.partitions.keys().cloned().collect();
                self.inbox.put(match state.listing_fault.clone() {
                    Some(fault) => ConsumerEvent::NotListed(fault),
                    None => ConsumerEvent::Partitions(partitions, state.topics()),
                });
            }
            ConsumerCommand::Identify(topics) => {
                let states = state.topics().into_iter().filter(|(topic, _)| topics.contains(topic)).collect();
                let inbox = self.inbox.clone();
                let answer: Box<dyn FnOnce() + Send> = Box::new(move || inbox.put(ConsumerEvent::Identified(states)));
                if state.holds_ids { state.held.push(answer) } else { answer() }
            }
            ConsumerCommand::Offsets { at, partitions } => {
                let offset = |p: &TopicPartition| {
                    let records = &state.partitions[p];
                    match at {
                        OffsetsAt::Earliest => Some(0),
                        OffsetsAt::Latest => Some(records.len() as i64),
                        OffsetsAt::Group => state.group.get(p).copied(),
                        OffsetsAt::Timestamp(time) => {
                            records.iter().position(|r| r.2 >= time).map(|offset| offset as i64)
                        }
                    }
                };
                let offsets = partitions.into_iter().map(|p| (p.clone(), offset(&p))).collect();
                self.inbox.put(ConsumerEvent::Offsets { at, offsets });
            }
            ConsumerCommand::Read { partition, offset, lag } => {
                lag.ends_at(state.partitions[&partition].len() as i64);
                let records = &state.partitions[&partition];
                // Three records a block.
                for (number, pair) in
                    records.iter().enumerate().skip(offset as usize).collect::<Vec<_>>().chunks(3).enumerate()
                {
                    let mut block = RecordBlock::new(partition.clone());
                    assert!(number < 1_000);
                    for (offset, (key, value, time)) in pair {
                        block.offsets.push(*offset as i64);
                        block.timestamps.push(*time);
                        // That of the first record is not known.
                        block.leader_epochs.push(*offset as i32 - 1);
                        block.values.push(value.as_deref());
                        if self.settings.keys {
                            block.keys.push(key.as_deref());
                        }
                        if self.settings.headers {
                            block.headers.push(vec![("h".to_owned(), Some(vec![1]))]);
                        }
                    }
                    self.under_way.add(block.bytes());
                    self.inbox.put(ConsumerEvent::Records(Box::new(block)));
                }
                let end = records.len() as i64;
                self.inbox.put(ConsumerEvent::Reached(partition, end));
            }
            ConsumerCommand::CommitToGroup(offsets) => {
                drop(state);
                self.state.lock().unwrap().group.extend(offsets);
            }
            // What it had to give was given at once.
            ConsumerCommand::Pause(partition) => {
                drop(state);
                self.state.lock().unwrap().asked.push(format!("pause {partition}"));
            }
            ConsumerCommand::Resume(partition) => {
                drop(state);
                self.state.lock().unwrap().asked.push(format!("resume {partition}"));
            }
            ConsumerCommand::Leave(_) => {}
        }
    }
}

struct FakeProducer {
    state: Arc<Mutex<State>>,
    settings: ProducerSettings,
    inbox: Inbox<ProducerEvent>,
    under_way: Arc<UnderWay>,
}

impl Producer for FakeProducer {
    fn ask(&self, command: ProducerCommand) {
        let mut state = self.state.lock().unwrap();
        let topic = self.settings.topic.clone();
        match command {
            ProducerCommand::Open { producer, transactional_id } => {
                state.asked.push(format!("open {producer} {}", transactional_id.as_deref().unwrap_or("-")));
                self.inbox.put(ProducerEvent::Opened { producer });
            }
            ProducerCommand::Send { producer, block } => {
                state.asked.push(format!("send {producer} {topic} {}", block.len()));
                self.under_way.remove(block.bytes());
                state.sent.push((producer, block));
            }
            ProducerCommand::Flush { producer } => {
                state.asked.push(format!("flush {producer}"));
                let is_transactional = !state.asked.contains(&format!("open {producer} -"));
                let transaction = is_transactional.then(|| TransactionHandle {
                    transactional_id: format!("id-{producer}"),
                    producer_id: 7,
                    producer_epoch: producer as i16,
                });
                let inbox = self.inbox.clone();
                let answer: Box<dyn FnOnce() + Send> =
                    Box::new(move || inbox.put(ProducerEvent::Flushed { producer, transaction }));
                if state.holds_flushes { state.held.push(answer) } else { answer() }
            }
            ProducerCommand::Close { producer } => state.asked.push(format!("close {producer}")),
            ProducerCommand::Abandon { producer } => state.asked.push(format!("abandon {producer}")),
            ProducerCommand::End => state.asked.push("end".to_owned()),
        }
    }
}

struct FakeTransactions(Arc<Mutex<State>>);

impl Transactions for FakeTransactions {
    fn commit(&self, handles: Vec<TransactionHandle>, done: Answer<()>) {
        let mut state = self.0.lock().unwrap();
        state.asked.extend(
            handles.iter().map(|h| format!("commit {} {} {}", h.transactional_id, h.producer_id, h.producer_epoch)),
        );
        drop(state);
        done(Ok(()));
    }

    fn list(&self, prefix: String, done: Answer<Vec<IdState>>) {
        let mut state = self.0.lock().unwrap();
        state.asked.push(format!("list {prefix}"));
        let ids = state.ids.iter().filter(|(id, _)| id.starts_with(&prefix)).cloned().collect();
        drop(state);
        done(Ok(ids));
    }

    fn fence(&self, ids: Vec<String>, done: Answer<()>) {
        self.0.lock().unwrap().asked.extend(ids.iter().map(|id| format!("fence {id}")));
        done(Ok(()));
    }
}

struct FakeRegistry(Arc<Mutex<State>>);

impl FakeRegistry {
    /// Answers, now or when it is released.
    fn answer(&self, answer: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.lock().unwrap();
        if state.holds_schemas {
            state.held.push(answer);
        } else {
            drop(state);
            answer();
        }
    }
}

impl Registry for FakeRegistry {
    fn schema(&self, id: u32, done: registry::Answer<RegisteredSchema>) {
        let mut state = self.0.lock().unwrap();
        state.asked.push(format!("schema {id}"));
        let text = state.schemas.get((id as usize).wrapping_sub(1)).cloned();
        let schema = text.map(|text| RegisteredSchema { text, language: "AVRO".to_owned(), references: Vec::new() });
        let unknown = RegistryFault {
            is_unknown: true,
            detail: format!("schema {id}: it is not there"),
            outlook: Outlook::Refused,
        };
        let answer = state.registry_fault.clone().map_or_else(|| schema.ok_or(unknown), Err);
        drop(state);
        self.answer(Box::new(move || done(answer)));
    }

    fn id(&self, subject: String, schema: String, register: bool, done: registry::Answer<u32>) {
        let mut state = self.0.lock().unwrap();
        state.asked.push(format!("{} {subject}", if register { "register" } else { "look up" }));
        let answer = state.registry_fault.clone().map_or_else(
            || {
                let known = state.schemas.iter().position(|s| *s == schema);
                Ok(known.unwrap_or_else(|| {
                    state.schemas.push(schema);
                    state.schemas.len() - 1
                }) as u32
                    + 1)
            },
            Err,
        );
        drop(state);
        self.answer(Box::new(move || done(answer)));
    }
}

impl Cluster for FakeCluster {
    fn registry(&self, _: RegistrySettings) -> Result<Box<dyn Registry>, RegistryFault> {
        Ok(Box::new(FakeRegistry(Arc::clone(&self.0))))
    }

    fn consumer(
        &self,
        settings: ConsumerSettings,
        inbox: Inbox<ConsumerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Consumer>, KafkaFault> {
        Ok(Box::new(FakeConsumer { state: Arc::clone(&self.0), settings, inbox, under_way }))
    }

    fn producer(
        &self,
        settings: ProducerSettings,
        inbox: Inbox<ProducerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Producer>, KafkaFault> {
        Ok(Box::new(FakeProducer { state: Arc::clone(&self.0), settings, inbox, under_way }))
    }

    fn transactions(&self, _: Properties) -> Result<Box<dyn Transactions>, KafkaFault> {
        Ok(Box::new(FakeTransactions(Arc::clone(&self.0))))
    }
}

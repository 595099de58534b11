//! A subtask's reader: one librdkafka consumer on one thread, with a queue per partition.

use super::context::{Context, text_of};
use super::describe::describe;
use super::reach::Reach;
use super::tokens::tokens_of;
use super::{config, refused};
use crate::inbox::{Inbox, UnderWay};
use crate::kafka::client::{
    Consumer, ConsumerCommand, ConsumerEvent, ConsumerSettings, GONE_ADVICE, Headers, KafkaFault, NO_TIME, OffsetsAt,
    PartitionLag, RecordBlock, TopicPartition, TopicStates, Topics, reach_advice, reach_within,
};
use rdkafka::bindings::rd_kafka_message_leader_epoch;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::Thread;
use std::time::{Duration, Instant};
use streamfleet_types::Outlook;
use tracing::warn;

/// The most records and about the most bytes of a block.
const BLOCK_RECORDS: usize = 8192;
const BLOCK_BYTES: usize = 1 << 20;

/// The longest that the thread sleeps without looking around.
const NAP: Duration = Duration::from_millis(50);

/// How often the client says where partitions end.
const STATISTICS: &str = "statistics.interval.ms";
const STATISTICS_MS: &str = "5000";

/// How long one request may take; requests are repeated for [`reach_within`]. The first tries are shorter, since what the client
/// meets meanwhile is heard between two of them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long brokers may list a partition as little as the client does, before it is gone.
const MISSED_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before the next try.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct NativeConsumer {
    commands: Sender<ConsumerCommand>,
    is_over: Arc<AtomicBool>,
    thread: Thread,
}

impl NativeConsumer {
    pub fn start(
        settings: ConsumerSettings,
        inbox: Inbox<ConsumerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Self, KafkaFault> {
        let context = Context::new(tokens_of(&settings.properties)?);
        let mut config = config(&settings.properties);
        config.set("enable.partition.eof", "true");
        if !settings.properties.contains_key(STATISTICS) {
            config.set(STATISTICS, STATISTICS_MS);
        }
        // As librdkafka reads it; its default is that of committed records.
        let reads_committed = settings.properties.get("isolation.level").is_none_or(|level| level == "read_committed");
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context.clone()).map_err(|error| refused(&error, &settings.properties))?;
        let (commands, receiver) = channel();
        let is_over = Arc::<AtomicBool>::default();
        let reader = Reader {
            consumer: Arc::new(consumer),
            context,
            reach: Reach::new(&settings.properties),
            settings,
            inbox,
            under_way,
            commands: receiver,
            is_over: Arc::clone(&is_over),
            queues: Vec::new(),
            reads_committed,
        };
        let thread = std::thread::Builder::new()
            .name("kafka-reader".into())
            .spawn(move || reader.run())
            .expect("the system can start a thread");
        Ok(Self { commands, is_over, thread: thread.thread().clone() })
    }
}

impl Consumer for NativeConsumer {
    fn ask(&self, command: ConsumerCommand) {
        // A reader that is gone has said why.
        let _ = self.commands.send(command);
        self.thread.unpark();
    }
}

impl Drop for NativeConsumer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.commands = channel().0;
        self.thread.unpark();
    }
}

struct Queue {
    partition: TopicPartition,
    queue: PartitionQueue<Context>,
    /// Nothing is given of it: the client fetches as much as it may of one partition, and no more.
    is_paused: bool,
    /// Behind the last record that was given.
    next: i64,
    /// The partition's end before it was begun: who meets an end later has met all below. Behind the last record there may
    /// be markers of transactions, which are no records.
    end: i64,
    /// Hears where the partition ends.
    lag: Arc<PartitionLag>,
}

struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    context: Context,
    reach: Reach,
    settings: ConsumerSettings,
    inbox: Inbox<ConsumerEvent>,
    under_way: Arc<UnderWay>,
    commands: Receiver<ConsumerCommand>,
    /// The source is gone: nobody waits for answers.
    is_over: Arc<AtomicBool>,
    queues: Vec<Queue>,
    /// Records of open transactions are not given.
    reads_committed: bool,
}

impl Reader {
    fn run(mut self) {
        if let Err(fault) = self.serve() {
            self.inbox.put(ConsumerEvent::Failed(fault));
        }
    }

    fn serve(&mut self) -> Result<(), KafkaFault> {
        self.context.tokens.begin(self.consumer.client())?;
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.perform(command)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.poll_events(Duration::ZERO)?;
            self.note_ends();
            if !self.under_way.wait_below(self.settings.most_under_way, NAP) {
                continue;
            }
            let mut moved = false;
            for index in 0..self.queues.len() {
                if !self.queues[index].is_paused {
                    moved |= self.drain(index)?;
                }
            }
            if moved {
                self.reach.heard();
            } else {
                if let Some(first) = self.queues.first() {
                    self.reach.check(self.consumer.client(), Some(&first.partition.topic));
                }
                std::thread::park_timeout(NAP);
            }
        }
    }

    /// Serves what is not of a partition, for so long. With no time at all it may be a single event: one that the crate deals with
    /// itself, as what librdkafka logs, looks as if there were none.
    fn poll_events(&self, time: Duration) -> Result<(), KafkaFault> {
        self.context.tokens.renew(self.consumer.client())?;
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.consumer.poll(left);
            let is_over = event.is_none() && left.is_zero();
            if let Some(Err(error)) = event
                && let Some(fault) = self.lasting(&error, None)
            {
                return Err(fault);
            }
            if let Some(fault) = self.context.said.fatal() {
                return Err(KafkaFault::refused(fault.detail));
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// Passes on where partitions end, if the client has said it anew: it hears it with the records, without asking for it.
    fn note_ends(&self) {
        let Some(statistics) = self.context.statistics() else { return };
        for Queue { partition, next, lag, .. } in &self.queues {
            let of_topic = statistics.topics.get(&*partition.topic);
            let Some(found) = of_topic.and_then(|topic| topic.partitions.get(&partition.partition)) else {
                continue;
            };
            let end = if self.reads_committed { found.ls_offset } else { found.hi_offset };
            if end >= 0 {
                lag.ends_at(end);
            }
            // All that there was before the end has been taken.
            if found.fetchq_cnt == 0 && found.eof_offset > *next {
                lag.has_none_between(*next, found.eof_offset);
            }
        }
    }

    /// Gives what a partition has; true if there was something.
    fn drain(&mut self, index: usize) -> Result<bool, KafkaFault> {
        let Queue { partition, queue, next, end, .. } = &mut self.queues[index];
        let mut block = RecordBlock::new(partition.clone());
        let (mut reached, mut failed) = (false, None);
        while block.offsets.len() < BLOCK_RECORDS && block.values.messages.bytes.len() < BLOCK_BYTES {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => add(&mut block, &message, &self.settings),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    reached = true;
                    break;
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let moved = !block.offsets.is_empty() || reached;
        if let Some(last) = block.offsets.last() {
            *next = last + 1;
            self.under_way.add(block.bytes());
            self.inbox.put(ConsumerEvent::Records(Box::new(block)));
        }
        let (partition, next, end) = (partition.clone(), *next, *end);
        if reached {
            self.inbox.put(ConsumerEvent::Reached(partition.clone(), next.max(end)));
        }
        match failed.and_then(|error| self.lasting(&error, Some((&partition, next)))) {
            Some(fault) => Err(fault),
            None => Ok(moved),
        }
    }

    /// An error that trying again does not mend.
    fn lasting(&self, error: &KafkaError, place: Option<(&TopicPartition, i64)>) -> Option<KafkaFault> {
        let at = place.map_or_else(String::new, |(partition, offset)| {
            format!("topic {}, partition {}, offset {offset}: ", partition.topic, partition.partition)
        });
        let code = error.rdkafka_error_code()?;
        let not_there = format!("it is not at {}", self.settings.properties["bootstrap.servers"]);
        let (what, advice) = match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => (
                "there is no such offset any more, or not yet",
                "an option names an offset that the partition does not have, the topic was made anew, or its oldest records \
                 were deleted before they were read: name another, or start the job with --from-nothing, or with an older \
                 or newer checkpoint",
            ),
            RDKafkaErrorCode::UnknownPartition if self.has_its_partitions() => return None,
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopic => match place {
                Some(_) => ("it is gone", GONE_ADVICE),
                None => (not_there.as_str(), "make it, or check 'topic' and 'properties.bootstrap.servers'"),
            },
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                ("reading is not allowed", "give the user the right to read it")
            }
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                // The context was told what the brokers say.
                let said = self.context.said.fatal().map(|fault| fault.detail);
                let said = said.or_else(|| self.context.tokens.refused(&text_of(error)))?;
                return Some(KafkaFault::refused(format!(
                    "{at}the brokers refuse the credentials ({said}): check 'properties.sasl.*'"
                )));
            }
            RDKafkaErrorCode::Fatal => {
                let text = text_of(error);
                return Some(KafkaFault::new(format!("{at}the client gave up ({text}): start the job again")));
            }
            _ => return None,
        };
        let is_offset = matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange);
        let range = place.filter(|_| is_offset).map_or_else(String::new, |(partition, _)| self.range_of(partition));
        let fault = KafkaFault::refused(format!("{at}{what}{range} ({}): {advice}", text_of(error)));
        // Records that are gone do not come back.
        Some(if is_offset { KafkaFault { outlook: Outlook::Lasts, ..fault } } else { fault })
    }

    /// True if the brokers know all partitions that are read, though the client has said that they do not: brokers that have just
    /// begun, or that have lost each other for a moment, list none. They are asked for [`MISSED_WITHIN`].
    fn has_its_partitions(&self) -> bool {
        let is_there = |TopicPartition { topic, partition }: &TopicPartition| {
            let metadata = self.consumer.fetch_metadata(Some(topic), FIRST_TIMEOUT);
            metadata.is_ok_and(|metadata| {
                let partitions = metadata.topics().iter().flat_map(|of| of.partitions());
                partitions.into_iter().any(|of| of.id() == *partition)
            })
        };
        let begin = Instant::now();
        while !self.queues.is_empty() {
            if self.queues.iter().all(|queue| is_there(&queue.partition)) {
                return true;
            }
            if begin.elapsed() >= MISSED_WITHIN {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// Which offsets a partition has, for an error: if the brokers do not say it, the error goes without.
    fn range_of(&self, TopicPartition { topic, partition }: &TopicPartition) -> String {
        match self.consumer.fetch_watermarks(topic, *partition, REQUEST_TIMEOUT) {
            Ok((begin, end)) => format!(", the partition begins at offset {begin} and ends before {end}"),
            Err(_) => String::new(),
        }
    }

    fn perform(&mut self, command: ConsumerCommand) -> Result<(), KafkaFault> {
        match command {
            ConsumerCommand::List => {
                self.inbox.put(match self.list_with_states() {
                    Ok((partitions, states)) => ConsumerEvent::Partitions(partitions, states),
                    Err(fault) if fault.outlook == Outlook::MayPass => ConsumerEvent::NotListed(fault),
                    Err(fault) => return Err(fault),
                });
            }
            ConsumerCommand::Identify(topics) => {
                self.inbox.put(match self.identify(&topics) {
                    Ok(states) => ConsumerEvent::Identified(states),
                    Err(fault) if fault.outlook == Outlook::MayPass => ConsumerEvent::NotIdentified(fault),
                    Err(fault) => return Err(fault),
                });
            }
            ConsumerCommand::Offsets { at, partitions } => {
                let offsets = self.offsets(at, partitions)?;
                self.inbox.put(ConsumerEvent::Offsets { at, offsets });
            }
            ConsumerCommand::Read { partition, offset, lag } => self.read(partition, offset, lag)?,
            ConsumerCommand::Pause(partition) => self.set_paused(&partition, true),
            ConsumerCommand::Resume(partition) => self.set_paused(&partition, false),
            ConsumerCommand::Leave(partition) => {
                let mut list = TopicPartitionList::new();
                list.add_partition(&partition.topic, partition.partition);
                self.queues.retain(|q| q.partition != partition);
                // The records that still come have no queue any more.
                let _ = self.consumer.incremental_unassign(&list);
            }
            ConsumerCommand::CommitToGroup(offsets) => {
                let mut list = TopicPartitionList::new();
                for (partition, offset) in &offsets {
                    let added =
                        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset));
                    added.expect("an offset of a record is valid");
                }
                if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
                    warn!(
                        error = text_of(&error),
                        "offsets were not committed to the consumer group; nothing depends on it"
                    );
                }
            }
        }
        Ok(())
    }

    fn set_paused(&mut self, partition: &TopicPartition, is_paused: bool) {
        self.queues.iter_mut().filter(|q| q.partition == *partition).for_each(|q| q.is_paused = is_paused);
    }

    fn read(&mut self, partition: TopicPartition, offset: i64, lag: Arc<PartitionLag>) -> Result<(), KafkaFault> {
        let queue = self.consumer.split_partition_queue(&partition.topic, partition.partition);
        let Some(mut queue) = queue else {
            return Err(KafkaFault::new(format!("{partition} is no partition")));
        };
        let end = if self.settings.bounded { self.end_of(&partition)? } else { offset };
        let thread = std::thread::current();
        queue.set_nonempty_callback(move || thread.unpark());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.incremental_assign(&list))
            .map_err(|error| KafkaFault::new(format!("{partition} cannot be read: {}", text_of(&error))))?;
        self.queues.push(Queue { partition, queue, is_paused: false, next: offset, end, lag });
        Ok(())
    }

    fn end_of(&self, partition: &TopicPartition) -> Result<i64, KafkaFault> {
        let ends = self.retried("the offsets cannot be read", |within| {
            self.consumer.fetch_watermarks(&partition.topic, partition.partition, within)
        })?;
        Ok(ends.1)
    }

    /// Repeats a request until it is answered, the answer is a lasting error, or it took too long.
    fn retried<T>(
        &self,
        what: &str,
        mut request: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaFault> {
        let (begin, longest) = (Instant::now(), reach_within(&self.settings.properties));
        let (mut reach, mut within) = (Reach::new(&self.settings.properties), FIRST_TIMEOUT);
        let topic = match &self.settings.topics {
            Topics::Names(names) => names.first().map(String::as_str),
            Topics::Pattern(_) => None,
        };
        loop {
            match request(within) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    if let Some(fault) = self.lasting(&error, None) {
                        return Err(fault);
                    }
                    // Failures of log-in come as events.
                    self.poll_events(PAUSE)?;
                    if begin.elapsed() >= longest || self.is_over.load(Ordering::Acquire) {
                        let brokers = &self.settings.properties["bootstrap.servers"];
                        let cause = format!("{}{}", text_of(&error), self.context.said.last());
                        return Err(KafkaFault::new(format!(
                            "{what}: no answer from {brokers} within {} s: {cause}; {}",
                            longest.as_secs(),
                            reach_advice(&cause)
                        )));
                    }
                    reach.check(self.consumer.client(), topic);
                    within = (within * 2).min(REQUEST_TIMEOUT);
                }
            }
        }
    }

    fn list_with_states(&self) -> Result<(Vec<TopicPartition>, TopicStates), KafkaFault> {
        let partitions = self.list()?;
        let states = self.identify(&partitions.iter().map(|of| Arc::clone(&of.topic)).collect())?;
        Ok((partitions, states))
    }

    /// Which topics these are. Brokers that have just begun may not know one yet; one that is gone is left out.
    fn identify(&self, topics: &BTreeSet<Arc<str>>) -> Result<TopicStates, KafkaFault> {
        let Some(first) = topics.first() else { return Ok(TopicStates::new()) };
        let (begin, mut tries) = (Instant::now(), 0);
        loop {
            let found = self.retried("the topics cannot be described", |within| {
                let metadata = self.consumer.fetch_metadata(Some(first), within)?;
                let brokers = metadata.brokers();
                let broker = brokers.get(tries % brokers.len().max(1));
                let broker = broker.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable))?;
                tries += 1;
                describe(self.consumer.client(), broker.id(), topics, within)
            })?;
            let is_late = begin.elapsed() >= MISSED_WITHIN || self.is_over.load(Ordering::Acquire);
            if found.len() == topics.len() || is_late {
                return Ok(found);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn list(&self) -> Result<Vec<TopicPartition>, KafkaFault> {
        let mut found = Vec::new();
        match &self.settings.topics {
            Topics::Names(names) => {
                for name in names {
                    let partitions = self.retried("the partitions cannot be listed", |within| {
                        let metadata = self.consumer.fetch_metadata(Some(name), within)?;
                        let topic = metadata.topics().iter().find(|t| t.name() == name);
                        let topic =
                            topic.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))?;
                        match topic.error() {
                            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                            None => Ok(topic
                                .partitions()
                                .iter()
                                .map(rdkafka::metadata::MetadataPartition::id)
                                .collect::<Vec<_>>()),
                        }
                    });
                    let partitions = partitions.map_err(|fault| fault.at(&format!("topic {name}")))?;
                    let topic: Arc<str> = name.as_str().into();
                    found.extend(
                        partitions.into_iter().map(|partition| TopicPartition { topic: Arc::clone(&topic), partition }),
                    );
                }
            }
            pattern @ Topics::Pattern(_) => {
                let metadata =
                    self.retried("the topics cannot be listed", |within| self.consumer.fetch_metadata(None, within))?;
                for topic in metadata.topics() {
                    if pattern.has(topic.name()) && topic.error().is_none() {
                        let name: Arc<str> = topic.name().into();
                        let of = |p: &rdkafka::metadata::MetadataPartition| TopicPartition {
                            topic: Arc::clone(&name),
                            partition: p.id(),
                        };
                        found.extend(topic.partitions().iter().map(of));
                    }
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn offsets(
        &self,
        at: OffsetsAt,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>, KafkaFault> {
        if matches!(at, OffsetsAt::Earliest | OffsetsAt::Latest) {
            let one = |partition: TopicPartition| {
                let (low, high) = self.retried("the offsets cannot be read", |within| {
                    self.consumer.fetch_watermarks(&partition.topic, partition.partition, within)
                })?;
                Ok((partition, Some(if at == OffsetsAt::Earliest { low } else { high })))
            };
            return partitions.into_iter().map(one).collect();
        }
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            match at {
                OffsetsAt::Timestamp(time) => {
                    let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(time));
                    added.map_err(|_| KafkaFault::new(format!("{time} ms is no usable time")))?;
                }
                _ => {
                    list.add_partition(&partition.topic, partition.partition);
                }
            }
        }
        let found = self.retried("the offsets cannot be read", |within| match at {
            OffsetsAt::Timestamp(_) => self.consumer.offsets_for_times(list.clone(), within),
            _ => self.consumer.committed_offsets(list.clone(), within),
        })?;
        let offset_of = |partition: TopicPartition| {
            let element = found.find_partition(&partition.topic, partition.partition);
            let offset = match element.map(|e| e.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            };
            (partition, offset)
        };
        Ok(partitions.into_iter().map(offset_of).collect())
    }
}

#[expect(unsafe_code, reason = "the function has no safe wrapper")]
fn leader_epoch(message: &BorrowedMessage<'_>) -> i32 {
    // SAFETY: the message lives as long as it is borrowed; the function only reads it.
    unsafe { rd_kafka_message_leader_epoch(message.ptr()) }
}

fn add(block: &mut RecordBlock, message: &BorrowedMessage<'_>, settings: &ConsumerSettings) {
    block.offsets.push(message.offset());
    let (time, by_broker) = match message.timestamp() {
        Timestamp::CreateTime(time) => (time, false),
        Timestamp::LogAppendTime(time) => (time, true),
        Timestamp::NotAvailable => (NO_TIME, false),
    };
    block.timestamps.push(time);
    block.broker_times.push(by_broker);
    block.leader_epochs.push(leader_epoch(message));
    block.values.push(message.payload());
    if settings.keys {
        block.keys.push(message.key());
    }
    if settings.headers {
        let of = |headers: &rdkafka::message::BorrowedHeaders| -> Headers {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
        };
        block.headers.push(message.headers().map(of).unwrap_or_default());
    }
}

//! A subtask's writer: librdkafka producers on one thread; each is made and initialised on a thread of its own, since that
//! may take long.

use super::context::{Context, not_written, text_of};
use super::reach::Reach;
use super::tokens::{SHOWN_EVERY, tokens_of};
use super::transactions::{RawClient, identity};
use super::{config, refused};
use crate::inbox::{Inbox, UnderWay};
use crate::kafka::client::{
    Headers, KafkaFault, OutgoingBlock, Partitioner, Producer, ProducerCommand, ProducerEvent, ProducerSettings,
    reach_advice, reach_within,
};
use crate::kafka::oauth::Tokens;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long one wait for acknowledgements takes, until the thread looks whether something failed.
const FLUSH_STEP: Duration = Duration::from_millis(500);

/// How long to wait for room in the client's queue at a time.
const ROOM_STEP: Duration = Duration::from_millis(20);

/// How long one request for the topic may take, the first and later ones.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before the next one, and to hear what the client has met.
const PAUSE: Duration = Duration::from_millis(200);

/// How long one try to initialise a producer takes, until the thread looks whether there is anybody to do it.
const INIT_STEP: Duration = Duration::from_secs(2);

/// How long an abort may take when a sink ends.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// How long a sink that ends waits until nothing more is written for it.
const SILENT_WITHIN: Duration = Duration::from_secs(5);

type Client = BaseProducer<Context>;

enum Message {
    Command(ProducerCommand),
    /// A client is ready, or could not be made.
    Made(u64, Result<Made, KafkaFault>),
}

struct Made {
    client: Client,
    context: Context,
    transactional_id: Option<String>,
    /// Number of the topic's partitions.
    partitions: i32,
}

/// See the module.
pub(super) struct NativeProducer {
    messages: Sender<Message>,
    is_over: Arc<AtomicBool>,
    /// Hears that the writer writes nothing any more.
    silent: Receiver<()>,
}

impl NativeProducer {
    pub fn start(
        settings: ProducerSettings,
        inbox: Inbox<ProducerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Self, KafkaFault> {
        super::check(&settings.properties)?;
        let (messages, receiver) = channel();
        let (silence, silent) = channel();
        let is_over = Arc::<AtomicBool>::default();
        let writer = Writer {
            is_over: Arc::clone(&is_over),
            silence: Some(silence),
            tokens: tokens_of(&settings.properties)?,
            shown: Instant::now(),
            settings: Arc::new(settings),
            inbox,
            under_way,
            own: messages.clone(),
            clients: HashMap::new(),
            raw: None,
            next_partition: 0,
        };
        std::thread::Builder::new()
            .name("kafka-writer".into())
            .spawn(move || writer.run(&receiver))
            .expect("the system can start a thread");
        Ok(Self { messages, is_over, silent })
    }
}

impl Producer for NativeProducer {
    fn ask(&self, command: ProducerCommand) {
        if matches!(command, ProducerCommand::Abandon { .. } | ProducerCommand::End) {
            self.is_over.store(true, Ordering::Release);
        }
        // A writer that is gone has said why.
        let _ = self.messages.send(Message::Command(command));
    }
}

impl Drop for NativeProducer {
    /// What is left of a sink must not be written beside, or behind, what the job's next attempt writes.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // A client that does not hear of it in time is destroyed all the same.
        let _ = self.silent.recv_timeout(SILENT_WITHIN);
    }
}

struct Writer {
    settings: Arc<ProducerSettings>,
    /// The sink is gone: what it asked to be sent is not sent any more.
    is_over: Arc<AtomicBool>,
    /// Dropped when nothing more is written.
    silence: Option<Sender<()>>,
    inbox: Inbox<ProducerEvent>,
    under_way: Arc<UnderWay>,
    own: Sender<Message>,
    clients: HashMap<u64, Open>,
    /// What all clients log in with, if it is tokens.
    tokens: Option<Arc<Tokens>>,
    /// When they were last shown to all.
    shown: Instant,
    /// Asks for the broker's name of a transaction.
    raw: Option<RawClient>,
    next_partition: i32,
}

struct Open {
    made: Made,
    in_transaction: bool,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match self.next(messages) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => self.inbox.put(ProducerEvent::Failed(fault)),
            }
            self.fall_silent();
            return;
        }
    }

    /// False when the sink is gone. The thread keeps a sender of its own for clients that are being made: the sink says when it
    /// is over.
    fn next(&mut self, messages: &Receiver<Message>) -> Result<bool, KafkaFault> {
        if self.tokens.is_none() {
            return messages.recv().map_or(Ok(false), |message| self.take(message));
        }
        let message = messages.recv_timeout(SHOWN_EVERY);
        if self.shown.elapsed() >= SHOWN_EVERY {
            // A client that waits for rows must be able to log in again all the same.
            self.show_tokens()?;
            self.shown = Instant::now();
        }
        match message {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => Ok(true),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
        }
    }

    fn show_tokens(&self) -> Result<(), KafkaFault> {
        self.clients.values().try_for_each(|Open { made, .. }| made.context.tokens.renew(made.client.client()))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Takes out of the clients what they have not sent. Transactions are aborted, whatever is in them.
    fn fall_silent(&mut self) {
        if self.silence.take().is_some() {
            for Open { made, .. } in self.clients.values().filter(|open| open.made.transactional_id.is_none()) {
                made.client.purge(PurgeConfig::default().queue().inflight());
            }
        }
    }

    /// False when the sink is gone.
    fn take(&mut self, message: Message) -> Result<bool, KafkaFault> {
        if self.is_over() {
            self.fall_silent();
        }
        match message {
            Message::Made(producer, made) => {
                let made = made?;
                self.clients.insert(producer, Open { made, in_transaction: false });
                self.inbox.put(ProducerEvent::Opened { producer });
            }
            Message::Command(ProducerCommand::Open { producer, transactional_id }) => {
                let (settings, own, tokens) = (Arc::clone(&self.settings), self.own.clone(), self.tokens.clone());
                let is_over = Arc::clone(&self.is_over);
                std::thread::Builder::new()
                    .name("kafka-open".into())
                    .spawn(move || {
                        // If the writer is gone nobody needs the client.
                        let _ = own.send(Message::Made(producer, make(&settings, tokens, transactional_id, &is_over)));
                    })
                    .expect("the system can start a thread");
            }
            Message::Command(ProducerCommand::Send { .. } | ProducerCommand::Flush { .. }) if self.is_over() => {}
            Message::Command(ProducerCommand::Send { producer, block }) => {
                self.send(producer, &block)?;
                self.under_way.remove(block.bytes());
            }
            Message::Command(ProducerCommand::Flush { producer }) => {
                let transaction = self.flush(producer)?;
                self.inbox.put(ProducerEvent::Flushed { producer, transaction });
            }
            Message::Command(ProducerCommand::Close { producer }) => self.close(producer),
            Message::Command(ProducerCommand::Abandon { producer }) => {
                if let Some(open) = self.clients.remove(&producer)
                    && open.in_transaction
                {
                    // It would be aborted by its time-out, or by the job's next start, as well.
                    let _ = open.made.client.abort_transaction(ABORT_WITHIN);
                }
            }
            Message::Command(ProducerCommand::End) => return Ok(false),
        }
        Ok(true)
    }

    /// Destroying a client waits for its threads: not here.
    fn close(&mut self, producer: u64) {
        if let Some(open) = self.clients.remove(&producer) {
            std::thread::spawn(move || drop(open));
        }
    }

    fn failed(&self, what: &str, detail: &str) -> KafkaFault {
        KafkaFault::new(format!("topic {}: {what}: {detail}", self.settings.topic))
    }

    fn writing_failed(&self, fault: &KafkaFault) -> KafkaFault {
        fault.clone().at(&format!("topic {}: writing failed", self.settings.topic))
    }

    fn send(&mut self, producer: u64, block: &OutgoingBlock) -> Result<(), KafkaFault> {
        let mut open = self.clients.remove(&producer).expect("the sink sends through producers that are open");
        if open.made.transactional_id.is_some() && !open.in_transaction {
            open.made.client.begin_transaction().map_err(|error| {
                KafkaFault::new(format!(
                    "topic {}: a transaction cannot be begun: {}",
                    self.settings.topic,
                    text_of(&error)
                ))
            })?;
            open.in_transaction = true;
        }
        let settings = Arc::clone(&self.settings);
        for index in 0..block.len() {
            self.send_record(&settings, &open.made, block, index)?;
        }
        open.made.client.poll(Duration::ZERO);
        if let Some(fault) = open.made.context.said.fatal() {
            return Err(self.writing_failed(&fault));
        }
        self.clients.insert(producer, open);
        Ok(())
    }

    fn send_record(
        &mut self,
        settings: &ProducerSettings,
        made: &Made,
        block: &OutgoingBlock,
        index: usize,
    ) -> Result<(), KafkaFault> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&settings.topic);
        record.payload = block.values.get(index);
        if !block.keys.messages.ends.is_empty() {
            record.key = block.keys.get(index);
        }
        record.timestamp = block.timestamps.get(index).copied();
        record.headers = block.headers.get(index).filter(|h| !h.is_empty()).map(owned);
        record.partition = match settings.partitioner {
            Partitioner::Default => None,
            Partitioner::Fixed => Some((settings.subtask % made.partitions.max(1) as u32) as i32),
            Partitioner::RoundRobin => {
                self.next_partition = (self.next_partition + 1) % made.partitions.max(1);
                Some(self.next_partition)
            }
        };
        // Made when the first record has to wait.
        let mut reach = None;
        loop {
            match made.client.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    if self.is_over() {
                        return Ok(());
                    }
                    made.client.poll(ROOM_STEP);
                    made.context.tokens.renew(made.client.client())?;
                    self.show_tokens()?;
                    let reach = reach.get_or_insert_with(|| Reach::new(&settings.properties));
                    reach.check(made.client.client(), Some(&settings.topic));
                    if let Some(fault) = made.context.said.fatal() {
                        return Err(self.writing_failed(&fault));
                    }
                    record = back;
                }
                Err((error, back)) => {
                    let size = back.payload.map_or(0, <[u8]>::len) + back.key.map_or(0, <[u8]>::len);
                    let place = format!("topic {}: a record of {size} bytes cannot be written", settings.topic);
                    return Err(not_written(&error).at(&place));
                }
            }
        }
    }

    /// Waits until all records are acknowledged; gives the transaction that they are in.
    fn flush(&mut self, producer: u64) -> Result<Option<crate::kafka::client::TransactionHandle>, KafkaFault> {
        let open = self.clients.get(&producer).expect("the sink flushes producers that are open");
        let Made { client, context, transactional_id, .. } = &open.made;
        let mut reach = Reach::new(&self.settings.properties);
        loop {
            if self.is_over() {
                return Ok(None);
            }
            self.show_tokens()?;
            let flushed = client.flush(FLUSH_STEP);
            if let Some(fault) = context.said.fatal() {
                return Err(self.writing_failed(&fault));
            }
            match flushed {
                Ok(()) => break,
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                    if let Some((_, text)) = client.client().fatal_error() {
                        return Err(self.failed("writing failed", &text));
                    }
                    reach.check(client.client(), Some(&self.settings.topic));
                }
                Err(error) => return Err(self.failed("records cannot be written", &text_of(&error))),
            }
        }
        if let Some((_, text)) = client.client().fatal_error() {
            return Err(self.failed("writing failed", &text));
        }
        let Some(id) = transactional_id.clone().filter(|_| open.in_transaction) else { return Ok(None) };
        identity(&mut self.raw, &self.settings.properties, &id).map(Some)
    }
}

fn make(
    settings: &ProducerSettings,
    tokens: Option<Arc<Tokens>>,
    transactional_id: Option<String>,
    is_over: &AtomicBool,
) -> Result<Made, KafkaFault> {
    let nobody = || KafkaFault::new(format!("topic {}: nobody writes it any more", settings.topic));
    let context = Context::new(tokens);
    let mut config = config(&settings.properties);
    config.set("delivery.report.only.error", "true");
    if let Some(id) = &transactional_id {
        config.set("transactional.id", id);
    }
    let client: Client =
        config.create_with_context(context.clone()).map_err(|error| refused(&error, &settings.properties))?;
    let tokens = &context.tokens;
    tokens.begin(client.client()).map_err(|fault| fault.at(&format!("topic {}", settings.topic)))?;
    let (begin, longest) = (Instant::now(), reach_within(&settings.properties));
    let (topic, brokers) = (&settings.topic, &settings.properties["bootstrap.servers"]);
    let (mut reach, mut within) = (Reach::new(&settings.properties), FIRST_TIMEOUT);
    let partitions = loop {
        if is_over.load(Ordering::Acquire) {
            return Err(nobody());
        }
        tokens.renew(client.client())?;
        let metadata = client.client().fetch_metadata(Some(topic), within);
        let (code, text) = match metadata {
            Ok(metadata) => match metadata.topics().iter().find(|t| t.name() == topic) {
                Some(found) if found.error().is_none() => break found.partitions().len() as i32,
                Some(found) => {
                    let code: RDKafkaErrorCode =
                        found.error().map_or(RDKafkaErrorCode::NoError, std::convert::Into::into);
                    (code, code.to_string())
                }
                None => (RDKafkaErrorCode::UnknownTopicOrPartition, "no such topic".to_owned()),
            },
            Err(error) => (error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), text_of(&error)),
        };
        // With no time at all it would be a single event, and most are none of an error.
        client.poll(PAUSE);
        if let Some(fault) = context.said.fatal() {
            return Err(KafkaFault::refused(format!(
                "topic {topic}: {fault}: check 'properties.sasl.*' and 'properties.ssl.*'"
            )));
        }
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                return Err(KafkaFault::refused(format!(
                    "topic {topic} is not at {brokers}: make it, or check 'topic' and 'properties.bootstrap.servers'"
                )));
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                return Err(KafkaFault::refused(format!("topic {topic}: {text}: give the user the right to write it")));
            }
            _ if begin.elapsed() >= longest => {
                let cause = format!("{text}{}", context.said.last());
                return Err(KafkaFault::new(format!(
                    "topic {topic}: no answer from {brokers} within {} s: {cause}; {}",
                    longest.as_secs(),
                    reach_advice(&cause)
                )));
            }
            _ => {
                reach.check(client.client(), Some(topic));
                within = (within * 2).min(REQUEST_TIMEOUT);
            }
        }
    };
    if let Some(id) = &transactional_id {
        loop {
            if is_over.load(Ordering::Acquire) {
                return Err(nobody());
            }
            tokens.renew(client.client())?;
            match client.init_transactions(INIT_STEP.min(longest)) {
                Ok(()) => break,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && begin.elapsed() < 2 * longest => {
                    reach.check(client.client(), Some(topic));
                }
                Err(error) => return Err(not_initialised(&error, id, settings)),
            }
        }
    }
    Ok(Made { client, context, transactional_id, partitions })
}

fn not_initialised(error: &KafkaError, id: &str, settings: &ProducerSettings) -> KafkaFault {
    let code = match error {
        KafkaError::Transaction(inner) => inner.code(),
        other => other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
    };
    let topic = &settings.topic;
    match code {
        RDKafkaErrorCode::InvalidTransactionTimeout => KafkaFault::refused(format!(
            "topic {topic}: the brokers allow no transaction of {} ms: lower 'properties.transaction.timeout.ms', or raise the \
             brokers' transaction.max.timeout.ms",
            settings.properties.get("transaction.timeout.ms").map_or("?", String::as_str)
        )),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => KafkaFault::refused(format!(
            "topic {topic}: transactional id {id} is not allowed: give the user the rights Write and Describe on \
             transactional ids with the prefix of 'sink.transactional-id-prefix'"
        )),
        _ => KafkaFault::new(format!("topic {topic}: transactional id {id} cannot be initialised: {}", text_of(error))),
    }
}

fn owned(headers: &Headers) -> OwnedHeaders {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (key, value) in headers {
        owned = owned.insert(Header { key, value: value.as_deref() });
    }
    owned
}

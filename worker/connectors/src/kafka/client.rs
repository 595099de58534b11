//! What the connector asks of a Kafka cluster. The connector's own part decides; everything here may wait, elsewhere.
//!
//! [`Cluster`] is implemented by the real clients and by the simulation's model.

use crate::format::MessageBuffer;
use crate::inbox::{Inbox, UnderWay};
use crate::registry::{Registry, RegistryFault, RegistrySettings};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::DataflowError;
pub use streamfleet_dataflow::PartitionLag;
use streamfleet_types::{Outlook, Term};

/// Client properties by librdkafka's names.
pub type Properties = BTreeMap<String, String>;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What brokers say of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// What tells it from one of the same name that was there before, as Kafka writes it. Brokers before 2.8 know none.
    pub id: Option<Arc<str>>,
    /// The number of its partitions.
    pub partitions: i32,
}

/// Topics that are there.
pub type TopicStates = BTreeMap<Arc<str>, TopicState>;

/// Which topics are read.
#[derive(Debug, Clone)]
pub enum Topics {
    /// These.
    Names(Vec<String>),
    /// All whose whole name matches.
    Pattern(regex::Regex),
}

impl Topics {
    /// True if this topic is one of them.
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| name == topic),
            Self::Pattern(pattern) => pattern.find(topic).is_some_and(|found| found.len() == topic.len()),
        }
    }
}

/// What an offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetsAt {
    /// The first record that there is.
    Earliest,
    /// Behind the last record that may be read.
    Latest,
    /// What the consumer group committed.
    Group,
    /// The first record at or after this time (milliseconds since the Unix epoch).
    Timestamp(i64),
}

/// What a source asks.
#[derive(Debug)]
pub enum ConsumerCommand {
    /// List the partitions; answered by [`ConsumerEvent::Partitions`].
    List,
    /// Say which topics these are; answered by [`ConsumerEvent::Identified`].
    Identify(BTreeSet<Arc<str>>),
    /// Find offsets; answered by [`ConsumerEvent::Offsets`].
    Offsets {
        /// Which.
        at: OffsetsAt,
        /// Whose.
        partitions: Vec<TopicPartition>,
    },
    /// Read a partition from this offset on.
    Read {
        /// The partition.
        partition: TopicPartition,
        /// The offset of the first record.
        offset: i64,
        /// To be told where the partition ends, as often as that is heard.
        lag: Arc<PartitionLag>,
    },
    /// Give no more of a partition that is read; what was fetched of it waits, and takes no place from others.
    Pause(TopicPartition),
    /// Go on with a partition that was paused.
    Resume(TopicPartition),
    /// Read the partition no more.
    Leave(TopicPartition),
    /// Tell the consumer group how far the job has come: for people, nothing depends on it.
    CommitToGroup(Vec<(TopicPartition, i64)>),
}

/// What a source hears.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// All partitions of all topics, and which topics they are.
    Partitions(Vec<TopicPartition>, TopicStates),
    /// They could not be listed now; it can be asked again.
    NotListed(KafkaFault),
    /// Which topics those that were asked for are; those that are not there are left out.
    Identified(TopicStates),
    /// Which topics they are cannot be told now; it can be asked again.
    NotIdentified(KafkaFault),
    /// Offsets; `None`: there is none, as with a group that committed nothing.
    Offsets {
        /// As asked.
        at: OffsetsAt,
        /// By partition.
        offsets: Vec<(TopicPartition, Option<i64>)>,
    },
    /// Records.
    Records(Box<RecordBlock>),
    /// Everything below this offset was given: for the moment the partition ends there.
    Reached(TopicPartition, i64),
    /// It cannot go on.
    Failed(KafkaFault),
}

/// Texts of bytes, some of which are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaybeMessages {
    /// The bytes; an absent one is empty.
    pub messages: MessageBuffer,
    /// Which are absent; empty if none is.
    pub absent: Vec<bool>,
}

impl MaybeMessages {
    /// Adds one.
    pub fn push(&mut self, bytes: Option<&[u8]>) {
        if bytes.is_none() && self.absent.is_empty() {
            self.absent.resize(self.messages.ends.len(), false);
        }
        if bytes.is_none() || !self.absent.is_empty() {
            self.absent.push(bytes.is_none());
        }
        self.messages.bytes.extend_from_slice(bytes.unwrap_or_default());
        self.messages.end();
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let is_absent = self.absent.get(index).copied().unwrap_or(false);
        (!is_absent).then(|| self.messages.get(index))
    }
}

/// A record's headers: names and values.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// The timestamp of a record without one, as in Kafka's protocol.
pub const NO_TIME: i64 = -1;

/// Records of one partition, in order.
#[derive(Debug, Clone)]
pub struct RecordBlock {
    /// Where they lie.
    pub partition: TopicPartition,
    /// Offset of each; there may be gaps.
    pub offsets: Vec<i64>,
    /// Timestamp of each, milliseconds since the Unix epoch; [`NO_TIME`] if it has none.
    pub timestamps: Vec<i64>,
    /// Of each, true if the broker set the timestamp when it took the record, false if the writer did; empty if it set none.
    pub broker_times: Vec<bool>,
    /// Epoch of the leader that each was read from, below zero if it is not known; empty if none is.
    pub leader_epochs: Vec<i32>,
    /// Values.
    pub values: MaybeMessages,
    /// Keys, if they are wanted.
    pub keys: MaybeMessages,
    /// Headers, if they are wanted.
    pub headers: Vec<Headers>,
}

impl RecordBlock {
    /// An empty block.
    pub fn new(partition: TopicPartition) -> Self {
        Self {
            partition,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            broker_times: Vec::new(),
            leader_epochs: Vec::new(),
            values: MaybeMessages::default(),
            keys: MaybeMessages::default(),
            headers: Vec::new(),
        }
    }

    /// What it takes of memory, about.
    pub fn bytes(&self) -> usize {
        self.values.messages.bytes.len() + self.keys.messages.bytes.len() + self.offsets.len() * 32
    }
}

/// How a consumer is set up.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The client's properties.
    pub properties: Properties,
    /// What is read.
    pub topics: Topics,
    /// Keys are wanted.
    pub keys: bool,
    /// Headers are wanted.
    pub headers: bool,
    /// Partitions are read up to an offset only: [`ConsumerEvent::Reached`] must tell how far a partition went before.
    pub bounded: bool,
    /// Bytes under way before nothing more is fetched.
    pub most_under_way: usize,
}

/// One subtask's reader.
pub trait Consumer: Send {
    /// Asks; never waits.
    fn ask(&self, command: ConsumerCommand);
}

/// Records to be written.
#[derive(Debug, Clone, Default)]
pub struct OutgoingBlock {
    /// Values; absent ones delete their key.
    pub values: MaybeMessages,
    /// Keys; empty if records have none.
    pub keys: MaybeMessages,
    /// Timestamps, milliseconds since the Unix epoch; empty if the client sets them.
    pub timestamps: Vec<i64>,
    /// Headers; empty if there are none.
    pub headers: Vec<Headers>,
}

impl OutgoingBlock {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.values.messages.ends.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes of memory, about.
    pub fn bytes(&self) -> usize {
        self.values.messages.bytes.len() + self.keys.messages.bytes.len() + self.len() * 24
    }
}

/// Which partition a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// As Kafka's own: by the key's hash, and records without a key to any.
    Default,
    /// All records of a subtask to one.
    Fixed,
    /// One after the other.
    RoundRobin,
}

/// How a producer is set up.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// The client's properties.
    pub properties: Properties,
    /// The topic.
    pub topic: String,
    /// Which partition.
    pub partitioner: Partitioner,
    /// The subtask, for [`Partitioner::Fixed`].
    pub subtask: u32,
}

/// What a sink asks. A producer is one instance of the client, known by a number that is never used twice.
#[derive(Debug)]
pub enum ProducerCommand {
    /// Make a producer; with a transactional id it is initialised: whoever used the id before is fenced, and what was open
    /// under it is aborted. Answered by [`ProducerEvent::Opened`].
    Open {
        /// Its number.
        producer: u64,
        /// The id; absent for a producer without transactions.
        transactional_id: Option<String>,
    },
    /// Write records; a transaction begins with the first.
    Send {
        /// Through which producer.
        producer: u64,
        /// What.
        block: OutgoingBlock,
    },
    /// Tell when all records are acknowledged, by [`ProducerEvent::Flushed`].
    Flush {
        /// Of which producer.
        producer: u64,
    },
    /// The producer is not needed any more. What it has open stays open.
    Close {
        /// Which.
        producer: u64,
    },
    /// Abort what the producer has open; nobody will ask of it again.
    Abandon {
        /// Which.
        producer: u64,
    },
    /// The sink is gone.
    End,
}

/// What a sink hears.
#[derive(Debug)]
pub enum ProducerEvent {
    /// The producer may be used.
    Opened {
        /// Which.
        producer: u64,
    },
    /// All that was sent before is acknowledged.
    Flushed {
        /// By which producer.
        producer: u64,
        /// Its transaction, if it has one open.
        transaction: Option<TransactionHandle>,
    },
    /// It cannot go on.
    Failed(KafkaFault),
}

/// One subtask's writer.
pub trait Producer: Send {
    /// Asks; never waits.
    fn ask(&self, command: ProducerCommand);
}

/// A transaction that any process can end: what a checkpoint names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionHandle {
    /// Under which id.
    pub transactional_id: String,
    /// The producer's id, given by the broker.
    pub producer_id: i64,
    /// The producer's epoch, given by the broker.
    pub producer_epoch: i16,
}

/// Why Kafka cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaFault {
    /// What happened, where, and what to do.
    pub detail: String,
    /// What another run may expect.
    pub outlook: Outlook,
}

impl fmt::Display for KafkaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for KafkaFault {}

impl KafkaFault {
    /// With this text; it may pass.
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), outlook: Outlook::MayPass }
    }

    /// With this text; the cluster refuses what it was asked.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), outlook: Outlook::Refused }
    }

    /// Says where it happened.
    pub fn at(self, place: &str) -> Self {
        Self { detail: format!("{place}: {}", self.detail), ..self }
    }

    /// As a table's.
    pub fn of_table(&self, table: &str) -> DataflowError {
        DataflowError::outside(format!("table {table}"), self.detail.clone(), self.outlook)
    }
}

/// Takes an answer; called once, on any thread.
pub type Answer<T> = Box<dyn FnOnce(Result<T, KafkaFault>) + Send>;

/// A transactional id and the state of its transaction, in the brokers' words.
pub type IdState = (String, String);

/// Ends transactions of producers that are gone.
pub trait Transactions: Send + Sync {
    /// Commits transactions, in order. One that was committed before is fine; one that is gone otherwise is an error.
    fn commit(&self, handles: Vec<TransactionHandle>, done: Answer<()>);

    /// The transactional ids that begin with this prefix, and the state of each.
    fn list(&self, prefix: String, done: Answer<Vec<IdState>>);

    /// Fences these transactional ids, in order, which aborts what is open under them.
    fn fence(&self, ids: Vec<String>, done: Answer<()>);
}

/// A way to Kafka clusters and what belongs to them.
pub trait Cluster: Send + Sync {
    /// A reader for a subtask; `under_way` counts the bytes that are in `inbox`.
    fn consumer(
        &self,
        settings: ConsumerSettings,
        inbox: Inbox<ConsumerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Consumer>, KafkaFault>;

    /// A writer for a subtask; `under_way` counts the bytes that it was sent and has not handed to the client.
    fn producer(
        &self,
        settings: ProducerSettings,
        inbox: Inbox<ProducerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Producer>, KafkaFault>;

    /// A way to a schema registry.
    ///
    /// # Errors
    /// It cannot be made; nobody was asked yet.
    fn registry(&self, settings: RegistrySettings) -> Result<Box<dyn Registry>, RegistryFault>;

    /// Transactions of the cluster that these properties lead to.
    fn transactions(&self, properties: Properties) -> Result<Box<dyn Transactions>, KafkaFault>;
}

/// What to do about a topic or partition that a checkpoint tells of and that is gone.
pub const GONE_ADVICE: &str = "start the job with a 'topic' or 'topic-pattern' that does not name the topic, which leaves what is gone \
                               out, or with --from-nothing";

/// The property that says how long a client tries to reach a cluster before it gives up; the Java client's, which
/// librdkafka does not know.
pub const REACH_WITHIN: &str = "default.api.timeout.ms";

/// How long a client tries to reach a cluster before it gives up: a minute, if the properties do not say.
pub fn reach_within(properties: &Properties) -> Duration {
    let said = properties.get(REACH_WITHIN).and_then(|text| text.parse().ok());
    said.map_or(Duration::from_secs(60), Duration::from_millis)
}

/// True if what a client says of brokers is that they, or it, cannot be trusted.
pub fn is_about_certificates(cause: &str) -> bool {
    cause.to_ascii_lowercase().contains("certificate")
}

/// What to do about brokers that do not answer, or not as one could trust; `cause` is what a client says of it.
pub fn reach_advice(cause: &str) -> &'static str {
    if is_about_certificates(cause) {
        return "check 'properties.ssl.truststore.location', which names who signed the brokers' certificates, their names in \
                'properties.bootstrap.servers', and, if they ask clients for a certificate, 'properties.ssl.keystore.location'";
    }
    "check that the brokers run, 'properties.bootstrap.servers' and 'properties.security.protocol'"
}

/// Of ids and their states: those of terms before this one that have something open, or that are of the newest such term, whose
/// process may still live. Brokers keep ids for days: those of earlier terms, with nothing open, are left alone.
pub fn worth_fencing(prefix: &str, before: Term, ids: Vec<IdState>) -> Vec<String> {
    let earlier = |id: &str| earlier_term(prefix, before, id);
    let newest = ids.iter().filter_map(|(id, _)| earlier(id)).max();
    let is_worth = |id: &str, state: &str| earlier(id).is_some_and(|term| is_open(state) || Some(term) == newest);
    ids.into_iter().filter(|(id, state)| is_worth(id, state)).map(|(id, _)| id).collect()
}

/// Of ids and their states, those that have something open: of terms before this one, and of others.
pub fn left_open(prefix: &str, before: Term, ids: Vec<IdState>) -> (Vec<String>, Vec<String>) {
    let open = ids.into_iter().filter(|(_, state)| is_open(state)).map(|(id, _)| id);
    open.partition(|id| earlier_term(prefix, before, id).is_some())
}

/// The term in an id that begins with this prefix, if it is before this one.
fn earlier_term(prefix: &str, before: Term, id: &str) -> Option<u64> {
    let term = id[prefix.len()..].split('-').next().and_then(|term| term.parse().ok());
    term.filter(|term| *term < before.0)
}

fn is_open(state: &str) -> bool {
    !matches!(state, "Empty" | "CompleteCommit" | "CompleteAbort" | "Dead")
}

#[cfg(test)]
mod tests {
    use super::{Term, left_open, worth_fencing};

    #[test]
    fn open_ids_and_those_of_the_newest_term_are_fenced() {
        let ids = [
            ("p-u-1-a-0", "Empty"),
            ("p-u-1-a-1", "Ongoing"),
            ("p-u-2-a-0", "CompleteAbort"),
            ("p-u-10-a-0", "Empty"),
            ("p-u-10-a-1", "CompleteCommit"),
            ("p-u-12-a-0", "Ongoing"),
            ("p-u-of-somebody-else", "Ongoing"),
        ];
        let ids = ids.map(|(id, state)| (id.to_owned(), state.to_owned())).to_vec();
        // Who was overtaken without knowing it touches nothing of its successors.
        assert_eq!(worth_fencing("p-u-", Term(12), ids.clone()), ["p-u-1-a-1", "p-u-10-a-0", "p-u-10-a-1"]);
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let expected = (texts(&["p-u-1-a-1"]), texts(&["p-u-12-a-0", "p-u-of-somebody-else"]));
        assert_eq!(left_open("p-u-", Term(12), ids.clone()), expected);
        assert_eq!(left_open("p-u-", Term(13), ids).0, ["p-u-1-a-1", "p-u-12-a-0"]);
        assert!(worth_fencing("p-u-", Term(12), Vec::new()).is_empty());
    }
}

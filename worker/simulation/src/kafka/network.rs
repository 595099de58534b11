//! Requests on their way to the brokers: in order on each connection, slow, lost, repeated, or come too late.

use super::broker::{Broker, Fetched, ProducerName, Record, Refused};
use crate::process::SimClock;
use crate::storage::{Delays, Fate};
use crate::{CrashPoint, Random, SimTopic};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamfleet_connectors::inbox::UnderWay;
use streamfleet_connectors::kafka::client::{OffsetsAt, TopicPartition, TopicStates, Topics, TransactionHandle};
use streamfleet_env::Clock;

/// The longest that a request is on its way whose sender has given up waiting, microseconds.
const LATE_US: u64 = 2_000_000;

/// What brokers are asked.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    List(Topics),
    CountPartitions(String),
    Identify(BTreeSet<Arc<str>>),
    Offsets { at: OffsetsAt, of: Vec<TopicPartition>, group: String, committed: bool },
    CommitToGroup { group: String, offsets: Vec<(TopicPartition, i64)> },
    Fetch { of: TopicPartition, offset: i64, committed: bool, most_records: usize },
    NewProducer,
    Init { id: String, timeout: Option<Duration> },
    Produce { producer: ProducerName, id: Option<String>, number: u64, placed: Arc<Vec<(TopicPartition, Record)>> },
    Describe { id: String },
    End { handle: TransactionHandle, commit: bool },
    ListTransactions { prefix: String },
}

/// What they answer.
pub(crate) enum Reply {
    Done,
    Partitions(Vec<TopicPartition>, TopicStates),
    Identified(TopicStates),
    Count(i32),
    Offsets(Vec<(TopicPartition, Option<i64>)>),
    Fetched(Fetched),
    Producer(ProducerName),
    Transaction(TransactionHandle),
    Transactions(Vec<(String, String)>),
}

impl Request {
    /// As crash points name it.
    fn name(&self) -> &'static str {
        match self {
            Self::List(_) | Self::CountPartitions(_) | Self::Identify(_) => "list partitions",
            Self::Offsets { .. } => "look up offsets",
            Self::CommitToGroup { .. } => "commit to group",
            Self::Fetch { .. } => "fetch",
            Self::NewProducer | Self::Init { .. } => "initialise producer",
            Self::Produce { .. } => "produce",
            Self::Describe { .. } => "describe transaction",
            Self::End { commit: true, .. } => "commit transaction",
            Self::End { commit: false, .. } => "abort transaction",
            Self::ListTransactions { .. } => "list transactions",
        }
    }

    /// True if a sender that gave up waiting sends it again over a new connection while the old one is still on its way.
    /// Records cannot: brokers refuse blocks out of order. An `Init` that comes so late would abort what its own sender has
    /// written since; nothing that a client does helps against that, and the job says so when it commits.
    fn may_come_late(&self) -> bool {
        matches!(self, Self::End { .. })
    }

    fn apply(&self, broker: &mut Broker, now: Duration) -> Result<Reply, Refused> {
        Ok(match self {
            Self::List(topics) => {
                let partitions = broker.list(topics)?;
                let states = broker.states(partitions.iter().map(|partition| &partition.topic));
                Reply::Partitions(partitions, states)
            }
            Self::Identify(topics) => Reply::Identified(broker.states(topics)),
            Self::CountPartitions(topic) => match broker.partition_count(topic) {
                0 => return Err(Refused::UnknownTopic),
                count => Reply::Count(count),
            },
            Self::Offsets { at, of, group, committed } => {
                let offset = |p: &TopicPartition| Ok((p.clone(), broker.offset(*at, p, group, *committed)?));
                Reply::Offsets(of.iter().map(offset).collect::<Result<_, Refused>>()?)
            }
            Self::CommitToGroup { group, offsets } => {
                broker.commit_to_group(group, offsets);
                Reply::Done
            }
            Self::Fetch { of, offset, committed, most_records } => {
                Reply::Fetched(broker.fetch(of, *offset, *most_records, *committed)?)
            }
            Self::NewProducer => Reply::Producer(broker.new_producer()),
            Self::Init { id, timeout } => Reply::Producer(broker.init(id, *timeout)),
            Self::Produce { producer, id, number, placed } => {
                broker.produce(now, *producer, id.as_deref(), *number, placed)?;
                Reply::Done
            }
            Self::Describe { id } => Reply::Transaction(broker.describe(id)?),
            Self::End { handle, commit } => {
                broker.end(handle, *commit)?;
                Reply::Done
            }
            Self::ListTransactions { prefix } => Reply::Transactions(broker.transactions(prefix)),
        })
    }
}

pub(crate) type Answered = Box<dyn FnOnce(Result<Reply, Refused>) + Send>;

/// When a fetch is worth a try.
pub(crate) enum Waits {
    No,
    /// Until there is something new behind the offset, and room for it, and the partition is not paused.
    ForRecords {
        is_paused: Arc<AtomicBool>,
        under_way: Arc<UnderWay>,
        most: usize,
        met_end: bool,
    },
}

struct Sent {
    request: Request,
    done: Answered,
    waits: Waits,
    due: Duration,
}

impl Sent {
    fn is_ready(&self, broker: &Broker) -> bool {
        match (&self.request, &self.waits) {
            (
                Request::Fetch { of, offset, committed, .. },
                Waits::ForRecords { is_paused, under_way, most, met_end },
            ) => {
                !is_paused.load(Ordering::Relaxed)
                    && under_way.bytes() < *most
                    && (!met_end || broker.has_more(of, *offset, *committed))
            }
            _ => true,
        }
    }
}

struct Connection {
    process: u64,
    sent: VecDeque<Sent>,
}

/// Requests that nobody waits for any more.
struct Late {
    requests: VecDeque<Request>,
    due: Duration,
}

#[derive(Default)]
struct State {
    broker: Broker,
    connections: BTreeMap<u64, Connection>,
    late: Vec<Late>,
    next_connection: u64,
}

/// Brokers that outlive processes.
#[derive(Clone, Default)]
pub(crate) struct SimKafka {
    state: Arc<Mutex<State>>,
}

impl SimKafka {
    /// Looks at the brokers, or changes them before a run.
    pub(crate) fn with_broker<T>(&self, look: impl FnOnce(&mut Broker) -> T) -> T {
        look(&mut self.state.lock().expect("one thread").broker)
    }

    /// Puts a topic there before a run.
    pub(crate) fn place(&self, topic: &SimTopic) {
        self.with_broker(|broker| {
            broker.create_topic(&topic.name, topic.partitions);
            // Records of one transaction each, ended in turn.
            for (number, written) in topic.records.iter().enumerate() {
                let id = format!("loader-{}", topic.name);
                let producer = broker.init(&id, None);
                let at = TopicPartition { topic: topic.name.as_str().into(), partition: written.partition };
                let value = Some(written.value.clone().into_bytes());
                let record = Record { key: None, value, timestamp: number as i64, headers: Vec::new() };
                let handle = TransactionHandle {
                    transactional_id: id.clone(),
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                };
                let placed = broker
                    .produce(Duration::ZERO, producer, Some(&id), 0, &[(at, record)])
                    .and_then(|()| broker.end(&handle, !written.is_aborted));
                placed.expect("the partition is one of the topic");
            }
        });
    }

    /// After all time-outs: what is open then was left behind by processes that are gone.
    pub(crate) fn expire_all(&self) {
        self.with_broker(|broker| broker.expire(Duration::MAX));
    }

    fn connect(&self, process: u64) -> u64 {
        let mut state = self.state.lock().expect("one thread");
        state.next_connection += 1;
        let number = state.next_connection;
        state.connections.insert(number, Connection { process, sent: VecDeque::new() });
        number
    }

    /// When the next request of `processes`, or one that comes late, can be served.
    pub(crate) fn next_due(&self, processes: &[u64]) -> Option<Duration> {
        let state = self.state.lock().expect("one thread");
        let fronts = state.connections.values().filter(|c| processes.contains(&c.process));
        let ready = fronts.filter_map(|c| c.sent.front()).filter(|sent| sent.is_ready(&state.broker));
        ready.map(|sent| sent.due).chain(state.late.iter().map(|late| late.due)).min()
    }

    /// Serves one due request, if there is one; `fate` decides how. Gives the process (0 for a late request) and, if it is to
    /// die, where.
    pub(crate) fn serve(
        &self,
        now: Duration,
        processes: &[u64],
        random: &mut Random,
        fate: impl FnOnce(&mut Random) -> Fate,
    ) -> Option<(u64, Fate, Option<CrashPoint>)> {
        let mut state = self.state.lock().expect("one thread");
        let State { broker, connections, late, .. } = &mut *state;
        broker.expire(now);
        let is_due = |c: &Connection| c.sent.front().is_some_and(|sent| sent.due <= now && sent.is_ready(broker));
        let due: Vec<u64> =
            connections.iter().filter(|(_, c)| processes.contains(&c.process) && is_due(c)).map(|(n, _)| *n).collect();
        let late_due: Vec<usize> = (0..late.len()).filter(|i| late[*i].due <= now).collect();
        if due.is_empty() && late_due.is_empty() {
            return None;
        }
        let choice = random.below((due.len() + late_due.len()) as u64) as usize;
        let Some(number) = due.get(choice) else {
            serve_late(broker, late, late_due[choice - due.len()], now, random);
            return Some((0, Fate::Served, None));
        };
        let connection = connections.get_mut(number)?;
        let process = connection.process;
        let mut sent = connection.sent.pop_front()?;
        let fate = fate(random);
        let crash_point = |after| Some(CrashPoint { step: format!("kafka {}", sent.request.name()), after });
        match fate {
            // The client tries again.
            Fate::FailedBefore | Fate::Full => {
                if sent.request.may_come_late() && random.chance(50) {
                    let due = now + Duration::from_micros(random.below(LATE_US));
                    late.push(Late { requests: [sent.request.clone()].into(), due });
                }
                sent.due = now + Duration::from_micros(random.below(LATE_US));
                connection.sent.push_front(sent);
                Some((process, fate, None))
            }
            Fate::FailedAfter => {
                // Nobody hears how it went: the same request comes again.
                let _ = sent.request.apply(broker, now);
                sent.due = now + Duration::from_micros(random.below(LATE_US));
                connection.sent.push_front(sent);
                Some((process, fate, None))
            }
            Fate::DiesBefore => Some((process, fate, crash_point(false))),
            Fate::DiesAfter => {
                let _ = sent.request.apply(broker, now);
                Some((process, fate, crash_point(true)))
            }
            Fate::Served => {
                let answer = sent.request.apply(broker, now);
                drop(state);
                (sent.done)(answer);
                Some((process, fate, None))
            }
        }
    }

    /// A process is gone: of what it had under way on each connection the first requests may still come, later.
    pub(crate) fn on_death(&self, process: u64, now: Duration, random: &mut Random) {
        let mut state = self.state.lock().expect("one thread");
        let State { connections, late, .. } = &mut *state;
        for connection in connections.values_mut().filter(|c| c.process == process) {
            let kept = random.below(connection.sent.len() as u64 + 1) as usize;
            let requests: VecDeque<Request> = connection.sent.drain(..).take(kept).map(|sent| sent.request).collect();
            if !requests.is_empty() {
                late.push(Late { requests, due: now + Duration::from_micros(random.below(LATE_US)) });
            }
        }
        connections.retain(|_, c| c.process != process);
    }
}

fn serve_late(broker: &mut Broker, late: &mut Vec<Late>, index: usize, now: Duration, random: &mut Random) {
    if let Some(request) = late[index].requests.pop_front() {
        // Nobody hears how it went.
        let _ = request.apply(broker, now);
    }
    if late[index].requests.is_empty() {
        late.swap_remove(index);
    } else {
        late[index].due = now + Duration::from_micros(random.below(LATE_US));
    }
}

/// One process's way to the brokers.
#[derive(Clone)]
pub(crate) struct Link {
    kafka: SimKafka,
    process: u64,
    clock: Arc<SimClock>,
    delays: Delays,
}

impl Link {
    pub fn new(kafka: SimKafka, process: u64, clock: Arc<SimClock>, delays: Delays) -> Self {
        Self { kafka, process, clock, delays }
    }

    pub fn connect(&self) -> u64 {
        self.kafka.connect(self.process)
    }

    pub fn close(&self, connection: u64) {
        self.kafka.state.lock().expect("one thread").connections.remove(&connection);
    }

    pub fn wall_clock_ms(&self) -> i64 {
        self.clock.wall_clock_ms()
    }

    /// A number below `bound` that the seed decides.
    pub fn below(&self, bound: u64) -> u64 {
        self.delays.below(bound)
    }

    /// Sends a request; those of one connection are served in order. Nothing comes of it if the connection is closed.
    pub fn send(&self, connection: u64, request: Request, waits: Waits, done: Answered) {
        let due = self.clock.monotonic() + self.delays.next();
        let mut state = self.kafka.state.lock().expect("one thread");
        if let Some(connection) = state.connections.get_mut(&connection) {
            connection.sent.push_back(Sent { request, done, waits, due });
        }
    }
}

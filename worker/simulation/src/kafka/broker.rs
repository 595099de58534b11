//! What brokers keep and decide: logs with markers, transactions, producers' ids and epochs, groups' offsets.
//!
//! The rules are those of transactions before their second version: a producer keeps its epoch when its transaction ends, a
//! transaction that has ended may be ended the same way again, and only `init` makes an id's earlier users powerless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_connectors::kafka::client::{
    Headers, OffsetsAt, OutgoingBlock, TopicPartition, TopicState, TopicStates, Topics, TransactionHandle,
};

/// How long a client gets for its transactions, if it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer as brokers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProducerName {
    pub id: i64,
    pub epoch: i16,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("unknown topic or partition")]
    UnknownTopic,
    #[error("the producer is fenced: its id has a newer epoch")]
    Fenced,
    #[error("the transactional id is not known with this producer id")]
    UnknownId,
    #[error("the transaction is in a state in which this cannot be done")]
    InvalidState,
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    pub headers: Headers,
}

#[derive(Debug)]
enum Entry {
    Record {
        record: Record,
        /// Its producer, if it is in a transaction; readers of committed records wait for the transaction's end.
        in_transaction_of: Option<i64>,
        is_aborted: bool,
    },
    /// The end of a transaction; takes an offset, but is nothing to read.
    Marker,
}

#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    /// Where the open transaction of a producer begins.
    open: BTreeMap<i64, usize>,
    /// By producer, the number of the next block in order.
    next_block: BTreeMap<ProducerName, u64>,
}

impl Partition {
    /// Behind the last record that a reader gets.
    fn end(&self, committed: bool) -> usize {
        let whole = self.entries.len();
        if committed { self.open.values().copied().min().unwrap_or(whole) } else { whole }
    }

    fn end_transaction(&mut self, producer: i64, commit: bool) {
        let Some(first) = self.open.remove(&producer) else { return };
        if !commit {
            for entry in &mut self.entries[first..] {
                if let Entry::Record { in_transaction_of: Some(of), is_aborted, .. } = entry
                    && *of == producer
                {
                    *is_aborted = true;
                }
            }
        }
        self.entries.push(Entry::Marker);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing { since: Duration },
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Transactional {
    producer: ProducerName,
    state: State,
    timeout: Duration,
    partitions: BTreeSet<TopicPartition>,
}

/// Records of a fetch: offsets and records, and where the partition ends.
pub(crate) struct Fetched {
    pub records: Vec<(i64, Record)>,
    /// The offset to go on from.
    pub next: i64,
    /// Nothing more can be read for now.
    pub is_at_end: bool,
    /// Behind the last record that may be read.
    pub end: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    partitions: BTreeMap<TopicPartition, Partition>,
    topic_ids: BTreeMap<Arc<str>, Arc<str>>,
    transactional: BTreeMap<String, Transactional>,
    groups: BTreeMap<(String, TopicPartition), i64>,
    next_producer_id: i64,
    next_topic_id: u64,
}

impl Broker {
    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        self.next_topic_id += 1;
        self.topic_ids.insert(name.into(), format!("topic {}", self.next_topic_id).into());
        for partition in 0..partitions {
            self.partitions.entry(TopicPartition { topic: name.into(), partition }).or_default();
        }
    }

    pub fn delete_topic(&mut self, name: &str) {
        self.partitions.retain(|partition, _| &*partition.topic != name);
        self.topic_ids.remove(name);
    }

    /// Those of the topics that there are.
    pub fn states<'a>(&self, topics: impl IntoIterator<Item = &'a Arc<str>>) -> TopicStates {
        let state = |topic: &Arc<str>| {
            let id = Some(Arc::clone(self.topic_ids.get(topic)?));
            Some((Arc::clone(topic), TopicState { id, partitions: self.partition_count(topic) }))
        };
        topics.into_iter().filter_map(state).collect()
    }

    pub fn list(&self, topics: &Topics) -> Result<Vec<TopicPartition>, Refused> {
        let is_wanted = |topic: &str| match topics {
            Topics::Names(names) => names.iter().any(|n| n == topic),
            Topics::Pattern(pattern) => pattern.find(topic).is_some_and(|m| m.len() == topic.len()),
        };
        let found: Vec<_> = self.partitions.keys().filter(|p| is_wanted(&p.topic)).cloned().collect();
        match topics {
            Topics::Names(names) if names.iter().any(|n| self.partition_count(n) == 0) => Err(Refused::UnknownTopic),
            _ => Ok(found),
        }
    }

    pub fn partition_count(&self, topic: &str) -> i32 {
        self.partitions.keys().filter(|p| &*p.topic == topic).count() as i32
    }

    pub fn offset(
        &self,
        at: OffsetsAt,
        of: &TopicPartition,
        group: &str,
        committed: bool,
    ) -> Result<Option<i64>, Refused> {
        let partition = self.partitions.get(of).ok_or(Refused::UnknownTopic)?;
        Ok(match at {
            OffsetsAt::Earliest => Some(0),
            OffsetsAt::Latest => Some(partition.end(committed) as i64),
            OffsetsAt::Group => self.groups.get(&(group.to_owned(), of.clone())).copied(),
            OffsetsAt::Timestamp(time) => {
                let is_young = |e: &Entry| matches!(e, Entry::Record { record, .. } if record.timestamp >= time);
                partition.entries.iter().position(is_young).map(|offset| offset as i64)
            }
        })
    }

    pub fn commit_to_group(&mut self, group: &str, offsets: &[(TopicPartition, i64)]) {
        for (partition, offset) in offsets {
            self.groups.insert((group.to_owned(), partition.clone()), *offset);
        }
    }

    /// True if a fetch from this offset would give something: records, or an end that was not met before.
    pub fn has_more(&self, of: &TopicPartition, offset: i64, committed: bool) -> bool {
        self.partitions.get(of).is_none_or(|p| (offset as usize) < p.end(committed))
    }

    /// At most `most` records.
    pub fn fetch(&self, of: &TopicPartition, offset: i64, most: usize, committed: bool) -> Result<Fetched, Refused> {
        let partition = self.partitions.get(of).ok_or(Refused::UnknownTopic)?;
        let end = partition.end(committed);
        let mut fetched = Fetched { records: Vec::new(), next: offset, is_at_end: false, end: end as i64 };
        while (fetched.next as usize) < end && fetched.records.len() < most {
            if let Entry::Record { record, is_aborted, .. } = &partition.entries[fetched.next as usize]
                && !(committed && *is_aborted)
            {
                fetched.records.push((fetched.next, record.clone()));
            }
            fetched.next += 1;
        }
        fetched.is_at_end = fetched.next as usize >= end;
        Ok(fetched)
    }

    /// A producer without transactions.
    pub fn new_producer(&mut self) -> ProducerName {
        self.next_producer_id += 1;
        ProducerName { id: self.next_producer_id, epoch: 0 }
    }

    /// A newer epoch for the id: what is open under it is aborted, and whoever used it is fenced.
    pub fn init(&mut self, id: &str, timeout: Option<Duration>) -> ProducerName {
        self.end_of(id, false);
        let entry = self.transactional.entry(id.to_owned()).or_insert_with(|| {
            self.next_producer_id += 1;
            Transactional {
                producer: ProducerName { id: self.next_producer_id, epoch: -1 },
                state: State::Empty,
                timeout: DEFAULT_TIMEOUT,
                partitions: BTreeSet::new(),
            }
        });
        entry.producer.epoch += 1;
        entry.state = State::Empty;
        entry.timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        entry.producer
    }

    /// Writes records, `number` being the block's among those of the producer; a transaction begins with the first. A block
    /// that was written before is taken again without effect.
    pub fn produce(
        &mut self,
        now: Duration,
        producer: ProducerName,
        id: Option<&str>,
        number: u64,
        placed: &[(TopicPartition, Record)],
    ) -> Result<(), Refused> {
        if let Some((partition, _)) = placed.iter().find(|(partition, _)| !self.partitions.contains_key(partition)) {
            debug_assert!(self.partition_count(&partition.topic) == 0, "a partition that is none");
            return Err(Refused::UnknownTopic);
        }
        if let Some(id) = id {
            let entry = self.transactional.get_mut(id).ok_or(Refused::UnknownId)?;
            if entry.producer != producer {
                return Err(Refused::Fenced);
            }
            if !matches!(entry.state, State::Ongoing { .. }) {
                entry.state = State::Ongoing { since: now };
            }
            entry.partitions.extend(placed.iter().map(|(partition, _)| partition.clone()));
        }
        for (at, record) in placed {
            let partition = self.partitions.get_mut(at).ok_or(Refused::UnknownTopic)?;
            if partition.next_block.get(&producer).is_some_and(|next| number < *next) {
                continue;
            }
            if id.is_some() {
                partition.open.entry(producer.id).or_insert(partition.entries.len());
            }
            let in_transaction_of = id.map(|_| producer.id);
            partition.entries.push(Entry::Record { record: record.clone(), in_transaction_of, is_aborted: false });
        }
        for (at, _) in placed {
            if let Some(partition) = self.partitions.get_mut(at) {
                partition.next_block.insert(producer, number + 1);
            }
        }
        Ok(())
    }

    /// The transaction that is open under an id.
    pub fn describe(&self, id: &str) -> Result<TransactionHandle, Refused> {
        let entry = self.transactional.get(id).ok_or(Refused::UnknownId)?;
        match entry.state {
            State::Ongoing { .. } => Ok(TransactionHandle {
                transactional_id: id.to_owned(),
                producer_id: entry.producer.id,
                producer_epoch: entry.producer.epoch,
            }),
            _ => Err(Refused::InvalidState),
        }
    }

    /// Ends a transaction, whoever asks.
    pub fn end(&mut self, handle: &TransactionHandle, commit: bool) -> Result<(), Refused> {
        let entry = self.transactional.get(&handle.transactional_id).ok_or(Refused::UnknownId)?;
        if entry.producer.id != handle.producer_id {
            return Err(Refused::UnknownId);
        }
        if entry.producer.epoch != handle.producer_epoch {
            return Err(Refused::Fenced);
        }
        match (entry.state, commit) {
            (State::Ongoing { .. }, _) => {
                self.end_of(&handle.transactional_id, commit);
                Ok(())
            }
            (State::Committed, true) | (State::Aborted, false) => Ok(()),
            _ => Err(Refused::InvalidState),
        }
    }

    fn end_of(&mut self, id: &str, commit: bool) {
        let Some(entry) = self.transactional.get_mut(id) else { return };
        if !matches!(entry.state, State::Ongoing { .. }) {
            return;
        }
        entry.state = if commit { State::Committed } else { State::Aborted };
        for at in std::mem::take(&mut entry.partitions) {
            if let Some(partition) = self.partitions.get_mut(&at) {
                partition.end_transaction(entry.producer.id, commit);
            }
        }
    }

    /// Aborts transactions that have been open for too long; their producers are fenced.
    pub fn expire(&mut self, now: Duration) {
        let is_late =
            |t: &Transactional| matches!(t.state, State::Ongoing { since } if now >= since.saturating_add(t.timeout));
        let late: Vec<String> =
            self.transactional.iter().filter(|(_, t)| is_late(t)).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.end_of(&id, false);
            if let Some(entry) = self.transactional.get_mut(&id) {
                entry.producer.epoch += 1;
            }
        }
    }

    /// The ids that begin with this, and the names of their states.
    pub fn transactions(&self, prefix: &str) -> Vec<(String, String)> {
        let name = |state| match state {
            State::Empty => "Empty",
            State::Ongoing { .. } => "Ongoing",
            State::Committed => "CompleteCommit",
            State::Aborted => "CompleteAbort",
        };
        let found = self.transactional.iter().filter(|(id, _)| id.starts_with(prefix));
        found.map(|(id, t)| (id.clone(), name(t.state).to_owned())).collect()
    }
}

/// The records of a block as they are to be written.
pub(crate) fn records_of(block: &OutgoingBlock, now_ms: i64) -> Vec<Record> {
    let has_keys = !block.keys.messages.ends.is_empty();
    let record = |index| Record {
        key: if has_keys { block.keys.get(index).map(<[u8]>::to_vec) } else { None },
        value: block.values.get(index).map(<[u8]>::to_vec),
        timestamp: block.timestamps.get(index).copied().unwrap_or(now_ms),
        headers: block.headers.get(index).cloned().unwrap_or_default(),
    };
    (0..block.len()).map(record).collect()
}

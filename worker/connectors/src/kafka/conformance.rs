//! What every cluster must do, as checks that panic: run on a real broker and on the simulation's model.

use super::client::{
    Cluster, Consumer, ConsumerCommand, ConsumerEvent, ConsumerSettings, MaybeMessages, OffsetsAt, OutgoingBlock,
    PartitionLag, Partitioner, Producer, ProducerCommand, ProducerEvent, ProducerSettings, Properties, TopicPartition,
    Topics, TransactionHandle, worth_fencing,
};
use crate::inbox::Inbox;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use streamfleet_types::Term;

/// The longest that one answer may take, in steps of [`STEP`].
const MOST_STEPS: u64 = 6_000;
const STEP: Duration = Duration::from_millis(10);

/// A time-out after which a transaction is aborted, and the longest until a broker notices.
const TRANSACTION_TIMEOUT: &str = "1000";
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// A cluster, as processes have it.
pub struct Place<'a> {
    /// The way of a process of its own to it, at every call.
    pub cluster: &'a dyn Fn() -> Arc<dyn Cluster>,
    /// What leads there.
    pub properties: Properties,
    /// Makes a topic with so many partitions.
    pub create_topic: &'a dyn Fn(&str, i32),
    /// Deletes a topic.
    pub delete_topic: &'a dyn Fn(&str),
    /// Lets time pass.
    pub pass: &'a dyn Fn(Duration),
    /// Begins the names of topics, groups and transactional ids; nothing has such a name yet.
    pub prefix: String,
}

/// Runs all checks.
///
/// # Panics
/// The cluster does not do what it must.
pub fn check(place: &Place) {
    written_is_read_in_order(place);
    offsets_are_found(place);
    a_partition_that_was_left_is_read_again(place);
    a_paused_partition_waits_and_keeps_no_other_from_coming(place);
    a_reader_hears_where_a_partition_ends(place);
    unknown_topics_are_told(place);
    a_topic_made_anew_is_another(place);
    a_transaction_shows_when_it_is_committed_by_whomever(place);
    readers_of_committed_records_wait_for_open_transactions(place);
    an_abandoned_transaction_never_shows(place);
    opening_an_id_again_ends_its_earlier_transaction(place);
    a_late_commit_does_not_end_the_next_transaction(place);
    earlier_terms_are_fenced_and_no_others(place);
    a_transaction_that_is_open_for_too_long_is_aborted(place);
}

type Record = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Place<'_> {
    fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = format!("{}-{name}", self.prefix);
        (self.create_topic)(&topic, partitions);
        topic
    }

    fn with(&self, more: &[(&str, &str)]) -> Properties {
        let mut properties = self.properties.clone();
        properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        properties
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..MOST_STEPS {
            if let Some(found) = look() {
                return found;
            }
            (self.pass)(STEP);
        }
        panic!("{what}: nothing comes");
    }

    fn reader(&self, topic: &str, isolation: &str) -> Reader<'_> {
        let inbox = Inbox::new(Arc::new(|| {}));
        let group = format!("{}-group", self.prefix);
        let more = [
            ("isolation.level", isolation),
            ("group.id", group.as_str()),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("default.api.timeout.ms", "3000"),
            ("statistics.interval.ms", "200"),
        ];
        let settings = ConsumerSettings {
            properties: self.with(&more),
            topics: Topics::Names(vec![topic.to_owned()]),
            keys: true,
            headers: false,
            bounded: true,
            most_under_way: usize::MAX,
        };
        let consumer = (self.cluster)().consumer(settings, inbox.clone(), Arc::default()).expect("sound settings");
        Reader { place: self, consumer, inbox, topic: topic.into() }
    }

    fn writer(&self, topic: &str, more: &[(&str, &str)]) -> Writer<'_> {
        let inbox = Inbox::new(Arc::new(|| {}));
        let mut properties = self.with(&[("default.api.timeout.ms", "3000")]);
        properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let topic = topic.to_owned();
        let settings = ProducerSettings { properties, topic, partitioner: Partitioner::Default, subtask: 0 };
        let producer = (self.cluster)().producer(settings, inbox.clone(), Arc::default()).expect("sound settings");
        Writer { place: self, producer, inbox }
    }

    fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Commits from a process that wrote nothing.
    fn commit(&self, handle: &TransactionHandle) -> Result<(), String> {
        let transactions = (self.cluster)().transactions(self.with(&[])).expect("sound settings");
        let (sender, answer) = channel();
        transactions.commit(vec![handle.clone()], Box::new(move |result| sender.send(result).unwrap_or_default()));
        self.wait("a commit", || answer.try_recv().ok()).map_err(|fault| fault.detail)
    }

    fn fence(&self, prefix: &str, before: Term) -> usize {
        let transactions = (self.cluster)().transactions(self.with(&[])).expect("sound settings");
        let (sender, answer) = channel();
        transactions.list(self.id(prefix), Box::new(move |result| sender.send(result).unwrap_or_default()));
        let found = self.wait("a list", || answer.try_recv().ok()).expect("ids may be listed");
        let ids = worth_fencing(&self.id(prefix), before, found);
        let count = ids.len();
        let (sender, answer) = channel();
        transactions.fence(ids, Box::new(move |result| sender.send(result).unwrap_or_default()));
        self.wait("fencing", || answer.try_recv().ok()).expect("ids may be fenced");
        count
    }

    /// The values that a reader of committed records sees in a topic's first partition.
    fn shown(&self, topic: &str) -> Vec<String> {
        let reader = self.reader(topic, "read_committed");
        let text = |record: &Record| String::from_utf8_lossy(record.1.as_deref().unwrap_or_default()).into_owned();
        reader.read_all(1)[&0].iter().map(text).collect()
    }
}

struct Reader<'a> {
    place: &'a Place<'a>,
    consumer: Box<dyn Consumer>,
    inbox: Inbox<ConsumerEvent>,
    topic: Arc<str>,
}

impl Reader<'_> {
    fn partition(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.topic), partition }
    }

    fn lag(&self, partition: i32) -> Arc<PartitionLag> {
        Arc::new(PartitionLag::new(Arc::clone(&self.topic), partition, 0, None))
    }

    fn next(&self) -> ConsumerEvent {
        self.place.wait("a reader's answer", || self.inbox.next())
    }

    fn offset(&self, at: OffsetsAt) -> Option<i64> {
        self.consumer.ask(ConsumerCommand::Offsets { at, partitions: vec![self.partition(0)] });
        loop {
            match self.next() {
                ConsumerEvent::Offsets { offsets, .. } => return offsets[0].1,
                ConsumerEvent::Failed(fault) => panic!("{fault}"),
                _ => {}
            }
        }
    }

    /// The topic's id, if there is such a topic.
    fn id(&self) -> Option<Arc<str>> {
        self.consumer.ask(ConsumerCommand::Identify([Arc::clone(&self.topic)].into()));
        match self.next() {
            ConsumerEvent::Identified(states) => states.get(&self.topic).and_then(|state| state.id.clone()),
            event => panic!("ids are expected: {event:?}"),
        }
    }

    /// Everything that may be read, by partition; ends where the partitions do.
    fn read_all(&self, partitions: i32) -> BTreeMap<i32, Vec<Record>> {
        let mut found: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for number in 0..partitions {
            found.insert(number, Vec::new());
            self.consumer.ask(ConsumerCommand::Read {
                partition: self.partition(number),
                offset: 0,
                lag: self.lag(number),
            });
            loop {
                match self.next() {
                    ConsumerEvent::Records(block) => {
                        let records = found.entry(block.partition.partition).or_default();
                        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                        let all = 0..block.offsets.len();
                        records.extend(all.map(|i| (own(block.keys.get(i)), own(block.values.get(i)))));
                    }
                    ConsumerEvent::Reached(partition, _) if partition.partition == number => break,
                    ConsumerEvent::Failed(fault) => panic!("{fault}"),
                    _ => {}
                }
            }
            self.consumer.ask(ConsumerCommand::Leave(self.partition(number)));
        }
        found
    }
}

struct Writer<'a> {
    place: &'a Place<'a>,
    producer: Box<dyn Producer>,
    inbox: Inbox<ProducerEvent>,
}

impl Writer<'_> {
    fn next(&self) -> ProducerEvent {
        self.place.wait("a writer's answer", || self.inbox.next())
    }

    fn open(&self, producer: u64, id: Option<&str>) -> Result<(), String> {
        let transactional_id = id.map(|id| self.place.id(id));
        self.producer.ask(ProducerCommand::Open { producer, transactional_id });
        match self.next() {
            ProducerEvent::Opened { .. } => Ok(()),
            ProducerEvent::Failed(fault) => Err(fault.detail),
            ProducerEvent::Flushed { .. } => panic!("nothing was to be flushed"),
        }
    }

    fn send(&self, producer: u64, records: &[(Option<&str>, &str)]) {
        let (mut keys, mut values, mut timestamps) = (MaybeMessages::default(), MaybeMessages::default(), Vec::new());
        for (number, (key, value)) in records.iter().enumerate() {
            keys.push(key.map(str::as_bytes));
            values.push(Some(value.as_bytes()));
            timestamps.push(1_700_000_000_000 + number as i64);
        }
        let block = OutgoingBlock { values, keys, timestamps, headers: Vec::new() };
        self.producer.ask(ProducerCommand::Send { producer, block });
    }

    fn flush(&self, producer: u64) -> Result<Option<TransactionHandle>, String> {
        self.producer.ask(ProducerCommand::Flush { producer });
        match self.next() {
            ProducerEvent::Flushed { transaction, .. } => Ok(transaction),
            ProducerEvent::Failed(fault) => Err(fault.detail),
            ProducerEvent::Opened { .. } => panic!("nothing was to be opened"),
        }
    }

    /// A transaction with one record, flushed.
    fn prepare(&self, producer: u64, id: &str, value: &str) -> TransactionHandle {
        self.open(producer, Some(id)).expect("it can be opened");
        self.send(producer, &[(None, value)]);
        self.flush(producer).expect("it can be flushed").expect("a transaction is open")
    }
}

fn written_is_read_in_order(place: &Place) {
    let topic = place.topic("plain", 3);
    let writer = place.writer(&topic, &[("enable.idempotence", "true")]);
    writer.open(0, None).expect("it can be opened");
    let texts: Vec<(String, String)> = (0..300).map(|n| (format!("k{}", n % 7), format!("{n:03}"))).collect();
    for part in texts.chunks(40) {
        let records: Vec<(Option<&str>, &str)> = part.iter().map(|(k, v)| (Some(k.as_str()), v.as_str())).collect();
        writer.send(0, &records);
    }
    assert_eq!(writer.flush(0), Ok(None), "without transactions there is none");
    let found = place.reader(&topic, "read_committed").read_all(3);
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), texts.len());
    let mut by_key: BTreeMap<Vec<u8>, Vec<(i32, Vec<u8>)>> = BTreeMap::new();
    for (partition, records) in found {
        for (key, value) in records {
            by_key.entry(key.expect("a key")).or_default().push((partition, value.expect("a value")));
        }
    }
    assert_eq!(by_key.len(), 7);
    for values in by_key.values() {
        assert!(values.windows(2).all(|w| w[0] < w[1]), "a key's records lie in one partition, in order");
    }
}

fn offsets_are_found(place: &Place) {
    let topic = place.topic("offsets", 1);
    let writer = place.writer(&topic, &[]);
    writer.open(0, None).expect("it can be opened");
    writer.send(0, &[(None, "a"), (None, "b"), (None, "c")]);
    writer.flush(0).expect("it can be flushed");
    let reader = place.reader(&topic, "read_committed");
    reader.consumer.ask(ConsumerCommand::List);
    let ConsumerEvent::Partitions(partitions, states) = reader.next() else { panic!("partitions are expected") };
    assert_eq!(partitions, [reader.partition(0)]);
    assert_eq!(states[&reader.topic].partitions, 1);
    assert_eq!(states[&reader.topic].id, reader.id());
    assert_eq!(reader.offset(OffsetsAt::Earliest), Some(0));
    assert_eq!(reader.offset(OffsetsAt::Latest), Some(3));
    assert_eq!(reader.offset(OffsetsAt::Timestamp(1_700_000_000_001)), Some(1));
    assert_eq!(reader.offset(OffsetsAt::Timestamp(1_800_000_000_000)), None);
    assert_eq!(reader.offset(OffsetsAt::Group), None);
    reader.consumer.ask(ConsumerCommand::CommitToGroup(vec![(reader.partition(0), 2)]));
    let other = place.reader(&topic, "read_committed");
    place.wait("a group's offset", || other.offset(OffsetsAt::Group).filter(|offset| *offset == 2));
}

/// Behind the last record there may be an end of a transaction: nothing is left to be read then.
fn a_reader_hears_where_a_partition_ends(place: &Place) {
    let topic = place.topic("ends", 1);
    let writer = place.writer(&topic, &[]);
    writer.open(0, None).expect("it can be opened");
    writer.send(0, &[(None, "a"), (None, "b")]);
    writer.flush(0).expect("it can be flushed");
    let reader = place.reader(&topic, "read_committed");
    let lag = reader.lag(0);
    let (partition, offset) = (reader.partition(0), 0);
    reader.consumer.ask(ConsumerCommand::Read { partition, offset, lag: Arc::clone(&lag) });
    place.wait("an end", || lag.records().filter(|records| *records == 2));
    let handle = place.writer(&topic, &[("transaction.timeout.ms", "30000")]).prepare(0, "ends", "c");
    place.commit(&handle).expect("it is committed");
    place.wait("a later end", || lag.records().filter(|records| *records > 2));
    let mut next = 0;
    place.wait("nothing left", || {
        while let Some(event) = reader.inbox.next() {
            match event {
                ConsumerEvent::Records(block) => next = next.max(block.offsets[block.offsets.len() - 1] + 1),
                ConsumerEvent::Reached(_, end) => next = next.max(end),
                ConsumerEvent::Failed(fault) => panic!("{fault}"),
                _ => {}
            }
            lag.read_to(next);
        }
        lag.records().filter(|records| *records == 0)
    });
}

fn a_paused_partition_waits_and_keeps_no_other_from_coming(place: &Place) {
    // Each key gets as many of either half.
    const BEHIND: i64 = 480;
    let topic = place.topic("paused", 2);
    let writer = place.writer(&topic, &[]);
    writer.open(0, None).expect("it can be opened");
    // Of each key everything goes to one partition: both get some.
    let write = |from: i64, to: i64| {
        let texts: Vec<(String, String)> = (from..to).map(|n| (format!("k{}", n % 16), n.to_string())).collect();
        let records: Vec<(Option<&str>, &str)> = texts.iter().map(|(k, v)| (Some(k.as_str()), v.as_str())).collect();
        writer.send(0, &records);
        writer.flush(0).expect("it can be flushed");
    };
    write(0, BEHIND);
    let reader = place.reader(&topic, "read_committed");
    let mut read = [Vec::new(), Vec::new()];
    let take = |event, read: &mut [Vec<i64>; 2]| match event {
        ConsumerEvent::Records(block) => read[block.partition.partition as usize].extend(&block.offsets),
        ConsumerEvent::Failed(fault) => panic!("{fault}"),
        _ => {}
    };
    for number in 0..2 {
        reader.consumer.ask(ConsumerCommand::Read {
            partition: reader.partition(number),
            offset: 0,
            lag: reader.lag(number),
        });
    }
    place.wait("the records", || {
        while let Some(event) = reader.inbox.next() {
            take(event, &mut read);
        }
        (read[0].len() + read[1].len() == BEHIND as usize).then_some(())
    });
    assert!(!read[0].is_empty() && !read[1].is_empty(), "both partitions have records");
    reader.consumer.ask(ConsumerCommand::Pause(reader.partition(0)));
    // Commands are taken one after the other: what is asked behind it is answered when it holds.
    reader.consumer.ask(ConsumerCommand::List);
    place.wait("a listing", || {
        let event = reader.inbox.next()?;
        matches!(event, ConsumerEvent::Partitions(..)).then_some(())
    });
    let before = [read[0].len(), read[1].len()];
    write(BEHIND, 2 * BEHIND);
    place.wait("what comes of the other", || {
        while let Some(event) = reader.inbox.next() {
            take(event, &mut read);
        }
        (read[1].len() == 2 * before[1]).then_some(())
    });
    (place.pass)(Duration::from_millis(500));
    while let Some(event) = reader.inbox.next() {
        take(event, &mut read);
    }
    assert_eq!(read[0].len(), before[0], "nothing comes of the paused one");
    reader.consumer.ask(ConsumerCommand::Resume(reader.partition(0)));
    place.wait("the rest", || {
        while let Some(event) = reader.inbox.next() {
            take(event, &mut read);
        }
        (read[0].len() == 2 * before[0]).then_some(())
    });
    for offsets in read {
        assert!(offsets.windows(2).all(|w| w[0] + 1 == w[1]), "in order, without a gap");
    }
}

fn a_partition_that_was_left_is_read_again(place: &Place) {
    let topic = place.topic("left", 1);
    let writer = place.writer(&topic, &[]);
    writer.open(0, None).expect("it can be opened");
    writer.send(0, &[(None, "a"), (None, "b")]);
    writer.flush(0).expect("it can be flushed");
    let reader = place.reader(&topic, "read_committed");
    assert_eq!(reader.read_all(1)[&0].len(), 2);
    writer.send(0, &[(None, "c")]);
    writer.flush(0).expect("it can be flushed");
    assert_eq!(reader.read_all(1)[&0].len(), 3, "from its beginning");
}

/// Its offsets are those of other records.
fn a_topic_made_anew_is_another(place: &Place) {
    let topic = place.topic("made-anew", 1);
    let id = || place.reader(&topic, "read_committed").id();
    let first = id().expect("an id");
    assert_eq!(id().as_ref(), Some(&first), "it keeps its id");
    (place.delete_topic)(&topic);
    assert_eq!(id(), None);
    (place.create_topic)(&topic, 1);
    place.wait("another id", || id().filter(|id| *id != first));
}

fn unknown_topics_are_told(place: &Place) {
    let topic = format!("{}-missing", place.prefix);
    let reader = place.reader(&topic, "read_committed");
    reader.consumer.ask(ConsumerCommand::List);
    assert!(matches!(reader.next(), ConsumerEvent::Failed(_)), "there is no such topic");
    let error = place.writer(&topic, &[]).open(0, None).expect_err("there is no such topic");
    assert!(error.contains(&topic), "{error}");
}

fn a_transaction_shows_when_it_is_committed_by_whomever(place: &Place) {
    let topic = place.topic("committed", 1);
    let handle = {
        let writer = place.writer(&topic, &[]);
        writer.prepare(0, "committed", "a")
        // The process is gone.
    };
    assert!(place.shown(&topic).is_empty());
    assert_eq!(place.commit(&handle), Ok(()));
    assert_eq!(place.commit(&handle), Ok(()), "again is harmless");
    assert_eq!(place.shown(&topic), ["a"]);
}

fn readers_of_committed_records_wait_for_open_transactions(place: &Place) {
    let topic = place.topic("waiting", 1);
    let writer = place.writer(&topic, &[]);
    let handle = writer.prepare(0, "waiting", "a");
    let plain = place.writer(&topic, &[]);
    plain.open(0, None).expect("it can be opened");
    plain.send(0, &[(None, "b")]);
    plain.flush(0).expect("it can be flushed");
    let reader = place.reader(&topic, "read_committed");
    assert_eq!(reader.offset(OffsetsAt::Latest), Some(0));
    assert_eq!(place.reader(&topic, "read_uncommitted").offset(OffsetsAt::Latest), Some(2));
    assert!(place.shown(&topic).is_empty());
    place.commit(&handle).expect("it is open");
    assert_eq!(place.shown(&topic), ["a", "b"]);
}

fn an_abandoned_transaction_never_shows(place: &Place) {
    let topic = place.topic("abandoned", 1);
    let writer = place.writer(&topic, &[]);
    let handle = writer.prepare(0, "abandoned", "a");
    writer.producer.ask(ProducerCommand::Abandon { producer: 0 });
    let reader = place.reader(&topic, "read_committed");
    place.wait("an abort", || reader.offset(OffsetsAt::Latest).filter(|offset| *offset > 0));
    assert!(place.commit(&handle).is_err(), "it is aborted");
    assert!(place.shown(&topic).is_empty());
}

fn opening_an_id_again_ends_its_earlier_transaction(place: &Place) {
    let topic = place.topic("again", 1);
    let first = place.writer(&topic, &[]);
    let handle = first.prepare(0, "again", "a");
    let second = place.writer(&topic, &[]);
    let next = second.prepare(0, "again", "b");
    assert!(place.commit(&handle).is_err(), "it is aborted");
    first.send(0, &[(None, "c")]);
    assert!(first.flush(0).is_err(), "the first producer is fenced");
    place.commit(&next).expect("it is open");
    assert_eq!(place.shown(&topic), ["b"]);
}

fn a_late_commit_does_not_end_the_next_transaction(place: &Place) {
    let topic = place.topic("late", 1);
    let writer = place.writer(&topic, &[]);
    let first = writer.prepare(0, "late", "a");
    place.commit(&first).expect("it is open");
    writer.producer.ask(ProducerCommand::Close { producer: 0 });
    let second = writer.prepare(1, "late", "b");
    assert!(place.commit(&first).is_err(), "it is over, and its id is in use again");
    assert_eq!(place.shown(&topic), ["a"]);
    place.commit(&second).expect("it is open");
    assert_eq!(place.shown(&topic), ["a", "b"]);
}

fn earlier_terms_are_fenced_and_no_others(place: &Place) {
    let topic = place.topic("fenced", 1);
    let writer = place.writer(&topic, &[]);
    let old = writer.prepare(0, "fence-1-x-0", "a");
    writer.open(1, Some("fence-2-x-0")).expect("it can be opened");
    let own = writer.prepare(2, "fence-3-x-0", "b");
    let other = writer.prepare(3, "other-1-x-0", "c");
    // Nothing is open under the second, but its process may still live.
    place.wait("a list of all ids", || (place.fence("fence-", Term(3)) >= 1).then_some(()));
    assert!(place.commit(&old).is_err(), "it is aborted");
    writer.send(1, &[(None, "d")]);
    place.commit(&own).expect("it is of the term itself");
    place.commit(&other).expect("it is another job's");
    assert!(writer.flush(1).is_err(), "the producer of the newest earlier term is fenced");
    assert_eq!(place.shown(&topic), ["b", "c"]);
}

fn a_transaction_that_is_open_for_too_long_is_aborted(place: &Place) {
    let topic = place.topic("timed-out", 1);
    let writer = place.writer(&topic, &[("transaction.timeout.ms", TRANSACTION_TIMEOUT)]);
    let handle = writer.prepare(0, "timed-out", "a");
    let reader = place.reader(&topic, "read_committed");
    let steps = NOTICED_WITHIN.as_millis() / 500;
    let is_over = (0..steps).any(|_| {
        (place.pass)(Duration::from_millis(500));
        reader.offset(OffsetsAt::Latest).is_some_and(|offset| offset > 0)
    });
    assert!(is_over, "it is open still");
    assert!(place.commit(&handle).is_err(), "it is aborted");
    assert!(place.shown(&topic).is_empty());
}

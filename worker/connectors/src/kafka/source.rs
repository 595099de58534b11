//! Reads topics. A split is a partition; its position is the offset of the next record.
//!
//! # Flow
//! The partitions are listed; those that fall to this subtask by their names are new, or known from a snapshot. Of new ones
//! the first offset is looked up, and with a bound the last: both are kept in the position, so that a restart changes
//! neither. Then they are read. Every offset is an absolute one before the first snapshot. A position also holds its topic's
//! id: those of a snapshot are read when their topics are known to be the same still.

use super::client::{
    Cluster, Consumer, ConsumerCommand, ConsumerEvent, ConsumerSettings, GONE_ADVICE, KafkaFault, RecordBlock,
    TopicPartition, TopicStates,
};
use super::columns::Columns;
use super::dead_letters::DeadLetters;
use super::decode::{BlockDecoder, Rows};
use super::first_offsets::{FirstOffsets, Found};
use super::options::{Bound, ReadOptions};
use super::pauses::Pauses;
use super::split::{Split, changed, owner, parse_split};
use super::topic_ids::{Asked, KnownTopics};
use crate::format::{BadMessage, Link};
use crate::inbox::{Inbox, UnderWay};
use crate::options::bad;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{
    DataflowError, PartitionLag, PartitionLags, Source, SourceBatch, SourceContext, SourceErrors, SourceStatus,
    SplitState,
};
use streamfleet_logical::{ScanSpec, TableDescriptor};
use tracing::warn;

/// Bytes of fetched records that wait for the slot.
const MOST_UNDER_WAY: usize = 16 << 20;

/// How soon a partition that ended before its bound is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

enum OnBad {
    Fail,
    Skip,
    Keep(Box<DeadLetters>),
}

/// See the module.
pub(super) struct KafkaSource {
    table: String,
    options: ReadOptions,
    cluster: Arc<dyn Cluster>,
    context: SourceContext,
    decoder: BlockDecoder,
    on_bad: OnBad,
    inbox: Inbox<ConsumerEvent>,
    under_way: Arc<UnderWay>,
    consumer: Option<Box<dyn Consumer>>,
    splits: Vec<Split>,
    by_partition: HashMap<TopicPartition, usize>,
    /// Of partitions that are not read yet.
    first_offsets: FirstOffsets,
    topics: KnownTopics,
    /// The first listing of a job that began from nothing: later, new partitions are read from their beginning.
    is_first: bool,
    /// All partitions of the first listing have their offsets.
    known: bool,
    is_listing: bool,
    next_listing: Option<Duration>,
    /// Splits that have ended and are to be told of.
    ended: VecDeque<usize>,
    errors: SourceErrors,
    /// Records that came, and whose format waits for what it needs.
    held: Option<Box<RecordBlock>>,
    pauses: Pauses,
    lags: Arc<PartitionLags>,
}

fn on_bad(
    table: &TableDescriptor,
    ignores_errors: bool,
    options: &ReadOptions,
    context: &SourceContext,
) -> Result<OnBad, DataflowError> {
    const TOPIC: &str = "scan.errors.dead-letter.topic";
    match (table.option("scan.errors"), table.option(TOPIC)) {
        (Some("dead-letter"), None | Some("")) => {
            Err(bad(table, TOPIC, "'scan.errors' = 'dead-letter' needs a topic to keep the records in"))
        }
        (Some("dead-letter"), Some(topic)) => {
            let mut properties = super::properties::of(table)?;
            super::properties::for_letters(&mut properties);
            super::options::check_topic(table, TOPIC, topic)?;
            if options.topics.has(topic) {
                return Err(bad(table, TOPIC, "the table reads this topic itself"));
            }
            let letters = DeadLetters::new(&table.name, topic, properties, Arc::clone(&context.waker));
            Ok(OnBad::Keep(Box::new(letters)))
        }
        (_, Some(_)) => Err(bad(table, TOPIC, "it needs 'scan.errors' = 'dead-letter'")),
        (Some("skip"), None) => Ok(OnBad::Skip),
        (None | Some("fail"), None) if ignores_errors => Ok(OnBad::Skip),
        (None | Some("fail"), None) => Ok(OnBad::Fail),
        (Some(_), None) => Err(bad(table, "scan.errors", "it is fail, skip or dead-letter")),
    }
}

impl KafkaSource {
    pub fn new(
        spec: &ScanSpec,
        cluster: Arc<dyn Cluster>,
        context: SourceContext,
        is_upsert: bool,
    ) -> Result<Self, DataflowError> {
        let table = &spec.table;
        let columns = Columns::of(table, is_upsert)?;
        let options = ReadOptions::of(table)?;
        super::check_properties(table, &options.properties)?;
        if context.batch_mode && options.bounded.is_none() {
            return Err(bad(table, "scan.bounded.mode", "batch mode needs a source with an end, as 'latest-offset'"));
        }
        let waker = Arc::clone(&context.waker);
        Ok(Self {
            table: table.name.clone(),
            decoder: BlockDecoder::new(table, &columns, &spec.read, is_upsert)?,
            on_bad: on_bad(table, columns.value.format.ignores_errors(), &options, &context)?,
            topics: KnownTopics::new(options.continues_recreated),
            options,
            cluster,
            context,
            inbox: Inbox::new(waker),
            under_way: Arc::default(),
            consumer: None,
            splits: Vec::new(),
            by_partition: HashMap::new(),
            first_offsets: FirstOffsets::default(),
            is_first: false,
            known: false,
            is_listing: false,
            next_listing: None,
            ended: VecDeque::new(),
            errors: SourceErrors::default(),
            held: None,
            pauses: Pauses::default(),
            lags: Arc::default(),
        })
    }

    fn fault(&self, fault: &KafkaFault) -> DataflowError {
        fault.of_table(&self.table)
    }

    fn begin(&mut self) -> Result<(), DataflowError> {
        // What is kept is kept as it was.
        let is_kept = matches!(self.on_bad, OnBad::Keep(_));
        let settings = ConsumerSettings {
            properties: self.options.properties.clone(),
            topics: self.options.topics.clone(),
            keys: self.decoder.needs_keys() || is_kept,
            headers: self.decoder.needs_headers() || is_kept,
            bounded: self.options.bounded.is_some(),
            most_under_way: MOST_UNDER_WAY,
        };
        let consumer = self.cluster.consumer(settings, self.inbox.clone(), Arc::clone(&self.under_way));
        self.consumer = Some(consumer.map_err(|fault| self.fault(&fault))?);
        self.decoder.connect(&Link {
            place: &format!("table {}", self.table),
            subject: String::new(),
            open: &|settings| self.cluster.registry(settings),
            waker: Arc::clone(&self.context.waker),
        })?;
        if let OnBad::Keep(letters) = &mut self.on_bad {
            let begun = letters.begin(self.cluster.as_ref());
            begun.map_err(|fault| self.fault(&fault))?;
        }
        Ok(())
    }

    fn ask(&self, command: ConsumerCommand) {
        self.consumer.as_ref().expect("begun before anything is asked").ask(command);
    }

    fn list(&mut self) {
        self.is_listing = true;
        self.ask(ConsumerCommand::List);
    }

    /// Asks whether the topics are the same still.
    fn identify(&mut self, why: Asked) {
        self.topics.ask(why);
        let is_asked = |split: &&Split| if why == Asked::ToEnd { split.is_read } else { !split.finished };
        let topics = self.splits.iter().filter(is_asked).map(|split| Arc::clone(&split.partition.topic)).collect();
        self.ask(ConsumerCommand::Identify(topics));
    }

    fn on_identified(&mut self, states: &TopicStates) -> Result<(), DataflowError> {
        let is_told = |topic: &Arc<str>| states.get(topic).is_some_and(|state| state.id.is_some());
        let is_new =
            |split: &Split| is_told(&split.partition.topic) && self.topics.get(&split.partition.topic).is_none();
        // Only what is heard now tells it: afterwards the ids are known.
        let lacks_ids =
            self.topics.asked() == Asked::ToBegin && self.splits.iter().any(|split| !split.finished && is_new(split));
        let asked = self.topics.answered(self.context.clock.monotonic(), states);
        if asked.map_err(|fault| self.fault(&fault))? != Asked::ToBegin {
            return Ok(());
        }
        if lacks_ids {
            let table = &self.table;
            warn!(
                "table {table}: the checkpoint does not tell topics' ids: whether one was made anew since then cannot be told"
            );
        }
        self.begin_known(states)
    }

    /// Reads the snapshot's partitions, now that their topics are known to be the same.
    fn begin_known(&mut self, states: &TopicStates) -> Result<(), DataflowError> {
        for index in 0..self.splits.len() {
            let Split { partition, next, finished: false, lag, .. } = &self.splits[index] else { continue };
            let TopicPartition { topic, partition: number } = partition;
            if states.get(topic).is_none_or(|state| *number >= state.partitions) {
                let what = format!("topic {topic}, partition {number}: it is gone");
                if self.options.topics.has(topic) {
                    return Err(self.fault(&KafkaFault::refused(format!("{what}: {GONE_ADVICE}"))));
                }
                warn!(
                    "table {}: {what}, and 'topic' or 'topic-pattern' does not name it any more: it is left out",
                    self.table
                );
                self.end_split(index);
                continue;
            }
            let (partition, offset, lag) = (partition.clone(), *next, Arc::clone(lag));
            self.ask(ConsumerCommand::Read { partition: partition.clone(), offset, lag });
            if self.pauses.holds(index) {
                self.ask(ConsumerCommand::Pause(partition));
            }
        }
        Ok(())
    }

    fn listing_is_over(&mut self) {
        let now = self.context.clock.monotonic();
        self.is_listing = false;
        self.next_listing = self.options.discovery.map(|interval| now + interval);
    }

    /// Asks what is due; also while there is much to read.
    fn ask_what_is_due(&mut self) {
        let now = self.context.clock.monotonic();
        if self.next_listing.is_some_and(|at| at <= now) && !self.is_listing {
            self.list();
        }
        if self.next_look_at_topics().is_some_and(|at| at <= now) {
            self.identify(Asked::ToGoOn);
        }
    }

    /// When it is to be asked whether the topics are the same still.
    fn next_look_at_topics(&self) -> Option<Duration> {
        let is_reading = self.known && self.splits.iter().any(|split| !split.finished);
        self.topics.next().filter(|_| is_reading)
    }

    fn on_listed(&mut self, partitions: Vec<TopicPartition>) -> Result<(), DataflowError> {
        self.listing_is_over();
        let (subtask, parallelism) = (self.context.subtask, self.context.parallelism);
        let is_known = |p: &TopicPartition| self.by_partition.contains_key(p) || self.first_offsets.has(p);
        let mine: Vec<TopicPartition> =
            partitions.into_iter().filter(|p| owner(&p.to_string(), parallelism) == subtask && !is_known(p)).collect();
        let start = if self.is_first { self.options.startup.clone() } else { Bound::Earliest };
        self.is_first = false;
        self.first_offsets.add(mine, &start, self.options.bounded.as_ref());
        self.look_up_next()
    }

    fn on_offsets(&mut self, offsets: Vec<(TopicPartition, Option<i64>)>) -> Result<(), DataflowError> {
        let taken = self.first_offsets.answer(offsets, &self.options);
        taken.map_err(|fault| self.fault(&fault))?;
        self.look_up_next()
    }

    /// Asks for the next offsets; when all are there, reading begins.
    fn look_up_next(&mut self) -> Result<(), DataflowError> {
        if let Some(question) = self.first_offsets.question() {
            self.ask(question);
        }
        if !self.first_offsets.are_known() {
            return Ok(());
        }
        let found = self.first_offsets.take(&self.options);
        for Found { partition, start, stop } in found.map_err(|fault| self.fault(&fault))? {
            self.add_split(partition, start, stop, false);
        }
        self.known = true;
        Ok(())
    }

    fn add_split(&mut self, partition: TopicPartition, next: i64, stop: Option<i64>, finished: bool) {
        let index = self.splits.len();
        self.by_partition.insert(partition.clone(), index);
        let is_over = finished || stop.is_some_and(|stop| next >= stop);
        let TopicPartition { topic, partition: number } = &partition;
        let lag = self.lags.add(PartitionLag::new(Arc::clone(topic), *number, next, stop));
        if is_over {
            if !finished {
                self.ended.push_back(index);
            }
        } else if self.topics.asked() != Asked::ToBegin {
            self.ask(ConsumerCommand::Read { partition: partition.clone(), offset: next, lag: Arc::clone(&lag) });
        }
        let is_read = !finished;
        self.splits.push(Split {
            partition,
            next,
            stop,
            finished: is_over,
            is_read,
            met_end: false,
            again_at: None,
            lag,
        });
    }

    fn end_split(&mut self, index: usize) {
        let split = &mut self.splits[index];
        if !split.finished {
            split.finished = true;
            split.lag.read_to(split.stop.unwrap_or(split.next));
            let partition = split.partition.clone();
            self.ended.push_back(index);
            self.pauses.forget(index);
            self.ask(ConsumerCommand::Leave(partition));
        }
    }

    /// What came next, of a split that is not paused.
    fn next_event(&mut self) -> Option<ConsumerEvent> {
        if let Some(held) = self.held.take() {
            return Some(ConsumerEvent::Records(held));
        }
        if let Some((index, event, is_last)) = self.pauses.next() {
            if is_last {
                self.ask(ConsumerCommand::Resume(self.splits[index].partition.clone()));
            }
            return Some(event);
        }
        loop {
            let event = self.inbox.next()?;
            let partition = match &event {
                ConsumerEvent::Records(block) => {
                    self.under_way.remove(block.bytes());
                    &block.partition
                }
                ConsumerEvent::Reached(partition, _) => partition,
                _ => return Some(event),
            };
            match self.by_partition.get(partition).copied().filter(|split| self.pauses.holds(*split)) {
                Some(split) => self.pauses.put(split, event),
                None => return Some(event),
            }
        }
    }

    /// The rows of fetched records.
    fn on_records(&mut self, mut block: RecordBlock) -> Result<Option<SourceBatch>, DataflowError> {
        let Some(index) = self.by_partition.get(&block.partition).copied() else { return Ok(None) };
        let split = &self.splits[index];
        let stop = split.stop.unwrap_or(i64::MAX);
        // A record that was read before comes again if the partition was left and read anew.
        let from = block.offsets.partition_point(|offset| *offset < split.next);
        let to = block.offsets.partition_point(|offset| *offset < stop);
        if split.finished || from >= to {
            if to < block.offsets.len() {
                self.end_split(index);
            }
            return Ok(None);
        }
        let is_over = to < block.offsets.len() || block.offsets[to - 1] + 1 >= stop;
        if from > 0 || to < block.offsets.len() {
            block = part_of(&block, from, to);
        }
        let next = block.offsets[block.offsets.len() - 1] + 1;
        let Rows { batch, bad, nulled } = self.decoder.decode(&block)?;
        self.errors.nulled_fields += nulled;
        self.deal_with(&block, &bad)?;
        self.splits[index].next = next;
        self.splits[index].lag.read_to(next);
        if is_over {
            self.end_split(index);
        }
        Ok(batch.map(|batch| SourceBatch { split: index, batch }))
    }

    fn deal_with(&mut self, block: &RecordBlock, bad: &[BadMessage]) -> Result<(), DataflowError> {
        let Some(first) = bad.first() else { return Ok(()) };
        match &mut self.on_bad {
            OnBad::Fail => {
                let TopicPartition { topic, partition } = &block.partition;
                let offset = block.offsets[first.number as usize];
                return Err(DataflowError::Record {
                    place: format!("table {}, topic {topic}, partition {partition}, offset {offset}", self.table),
                    detail: format!(
                        "{} ('scan.errors' = 'skip' counts such records and leaves them out, 'dead-letter' keeps them aside)",
                        first.reason
                    ),
                });
            }
            OnBad::Skip => {}
            OnBad::Keep(letters) => {
                letters.keep(block, bad);
                self.errors.dead_letters += bad.len() as u64;
            }
        }
        self.errors.skipped_records += bad.len() as u64;
        Ok(())
    }

    fn on_reached(&mut self, partition: &TopicPartition, end: i64) {
        let Some(index) = self.by_partition.get(partition).copied() else { return };
        let now = self.context.clock.monotonic();
        let split = &mut self.splits[index];
        split.next = split.next.max(end);
        split.lag.read_to(split.next);
        split.met_end = true;
        match split.stop {
            Some(stop) if split.next >= stop => self.end_split(index),
            Some(_) if !split.finished => split.again_at = Some(now + LOOK_AGAIN),
            _ => {}
        }
    }

    /// Partitions that ended before their bound are read again: the bound may lie in the future.
    fn look_again(&mut self, now: Duration) -> Option<Duration> {
        for index in 0..self.splits.len() {
            let split = &mut self.splits[index];
            // One that waits for others is at no end: there is more of it.
            if !split.finished && !self.pauses.holds(index) && split.again_at.is_some_and(|at| at <= now) {
                split.again_at = None;
                let (partition, offset, lag) = (split.partition.clone(), split.next, Arc::clone(&split.lag));
                self.ask(ConsumerCommand::Leave(partition.clone()));
                self.ask(ConsumerCommand::Read { partition, offset, lag });
            }
        }
        let splits = self.splits.iter().enumerate().filter(|(index, _)| !self.pauses.holds(*index));
        splits.filter_map(|(_, split)| split.again_at).min()
    }

    /// Takes what came, up to something that is to be told.
    fn take_events(&mut self) -> Result<Option<SourceStatus>, DataflowError> {
        loop {
            if let Some(index) = self.ended.pop_front() {
                return Ok(Some(SourceStatus::SplitEnded(index)));
            }
            let Some(event) = self.next_event() else { return Ok(None) };
            match event {
                ConsumerEvent::Partitions(partitions, states) => {
                    let heard = self.topics.hear(self.context.clock.monotonic(), &states);
                    heard.map_err(|fault| self.fault(&fault))?;
                    self.on_listed(partitions)?;
                }
                // What is read is read on: brokers may be away for longer than a listing waits.
                ConsumerEvent::NotListed(fault) if self.known => {
                    warn!("table {}: {fault}; new partitions are looked for again later", self.table);
                    self.listing_is_over();
                }
                ConsumerEvent::NotListed(fault) => return Err(self.fault(&fault)),
                ConsumerEvent::Identified(states) => self.on_identified(&states)?,
                ConsumerEvent::NotIdentified(fault) => {
                    if !self.topics.unanswered(self.context.clock.monotonic()) {
                        return Err(self.fault(&fault));
                    }
                }
                ConsumerEvent::Offsets { offsets, .. } => self.on_offsets(offsets)?,
                // What came behind it waits too.
                ConsumerEvent::Records(block) if !self.decoder.is_ready(&block)? => {
                    self.held = Some(block);
                    return Ok(Some(SourceStatus::Waiting(None)));
                }
                ConsumerEvent::Records(block) => {
                    if let Some(rows) = self.on_records(*block)? {
                        return Ok(Some(SourceStatus::Rows(rows)));
                    }
                }
                ConsumerEvent::Reached(partition, end) => self.on_reached(&partition, end),
                ConsumerEvent::Failed(fault) => return Err(self.fault(&fault)),
            }
        }
    }

    fn position(&self, split: &Split) -> serde_json::Value {
        let mut position = json!({"offset": split.next});
        if let Some(stop) = split.stop {
            position["stop"] = stop.into();
        }
        if let Some(id) = self.topics.get(&split.partition.topic) {
            position["topicId"] = id.into();
        }
        position
    }

    fn is_durable(&self) -> bool {
        !matches!(&self.on_bad, OnBad::Keep(letters) if !letters.is_durable())
    }
}

fn part_of(block: &RecordBlock, from: usize, to: usize) -> RecordBlock {
    let mut part = RecordBlock::new(block.partition.clone());
    part.offsets.extend_from_slice(&block.offsets[from..to]);
    part.timestamps.extend_from_slice(&block.timestamps[from..to]);
    part.broker_times = block.broker_times.get(from..to).map(<[_]>::to_vec).unwrap_or_default();
    part.leader_epochs = block.leader_epochs.get(from..to).map(<[_]>::to_vec).unwrap_or_default();
    for index in from..to {
        part.values.push(block.values.get(index));
        if !block.keys.messages.ends.is_empty() {
            part.keys.push(block.keys.get(index));
        }
    }
    part.headers = block.headers.get(from..to).map(<[_]>::to_vec).unwrap_or_default();
    part
}

impl Source for KafkaSource {
    fn start(&mut self) -> Result<(), DataflowError> {
        self.begin()?;
        self.is_first = true;
        self.list();
        Ok(())
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.begin()?;
        self.topics.ask(Asked::ToBegin);
        for split in splits {
            let found = parse_split(&split.name).zip(split.position["offset"].as_i64());
            let (partition, next) = found.ok_or_else(|| DataflowError::Record {
                place: format!("table {}", self.table),
                detail: format!(
                    "the checkpoint holds a position that is none of Kafka's: {} {}",
                    split.name, split.position
                ),
            })?;
            if let Some(id) = split.position["topicId"].as_str() {
                self.topics.expect(&partition.topic, id);
            }
            self.add_split(partition, next, split.position["stop"].as_i64(), split.finished);
        }
        self.identify(Asked::ToBegin);
        for text in changed(&self.options, &self.splits) {
            warn!("table {}: {text}; to begin anew start the job with --from-nothing", self.table);
        }
        // What is bounded was listed when it began.
        self.known = self.options.bounded.is_some();
        if self.options.discovery.is_some() {
            self.list();
        } else {
            self.known = true;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        if let OnBad::Keep(letters) = &mut self.on_bad {
            let heard = letters.listen();
            let is_full = letters.is_full();
            heard.map_err(|fault| self.fault(&fault))?;
            if is_full {
                return Ok(SourceStatus::Waiting(None));
            }
        }
        self.ask_what_is_due();
        loop {
            if let Some(status) = self.take_events()? {
                return Ok(status);
            }
            let is_over = self.options.bounded.is_some() && self.known && self.splits.iter().all(|s| s.finished);
            // A source that has ended is not asked again, and could not tell what failed.
            if !is_over || !self.is_durable() {
                break;
            }
            match self.topics.asked() {
                _ if self.topics.are_confirmed() => return Ok(SourceStatus::Ended),
                // The answer may be there at once.
                Asked::No => self.identify(Asked::ToEnd),
                _ => return Ok(SourceStatus::Waiting(None)),
            }
        }
        let now = self.context.clock.monotonic();
        let listing = self.next_listing.filter(|_| !self.is_listing);
        let next = [self.look_again(now), listing, self.next_look_at_topics()].into_iter().flatten().min();
        Ok(SourceStatus::Waiting(next.map(|at| at.saturating_sub(now))))
    }

    fn splits(&self) -> Vec<SplitState> {
        let state =
            |s: &Split| SplitState { name: s.partition.to_string(), position: self.position(s), finished: s.finished };
        self.splits.iter().map(state).collect()
    }

    /// No position may be kept that has passed a dead letter which is not acknowledged.
    fn splits_known(&self) -> bool {
        self.known && self.is_durable()
    }

    fn lags(&self) -> Option<Arc<PartitionLags>> {
        Some(Arc::clone(&self.lags))
    }

    fn has_met_end(&self, split: usize) -> bool {
        self.splits.get(split).is_some_and(|split| split.met_end)
    }

    fn pauses_splits(&self) -> bool {
        true
    }

    fn pause(&mut self, index: usize, paused: bool) {
        let Some(split) = self.splits.get(index).filter(|split| !split.finished) else { return };
        let partition = split.partition.clone();
        if !paused {
            if self.pauses.resume(index) {
                self.ask(ConsumerCommand::Resume(partition));
            }
            return;
        }
        let held = self.held.take_if(|block| block.partition == partition).map(ConsumerEvent::Records);
        if self.pauses.pause(index, held) {
            self.ask(ConsumerCommand::Pause(partition));
        }
    }

    fn owner(&self, split: &str) -> Option<u32> {
        Some(owner(split, self.context.parallelism))
    }

    fn completed(&mut self, splits: &[SplitState]) {
        if self.options.tells_group {
            let offset = |s: &SplitState| Some((parse_split(&s.name)?, s.position["offset"].as_i64()?));
            self.ask(ConsumerCommand::CommitToGroup(splits.iter().filter_map(offset).collect()));
        }
    }

    fn errors(&self) -> SourceErrors {
        self.errors
    }
}

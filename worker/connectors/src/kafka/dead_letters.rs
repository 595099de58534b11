//! Records that could not be read, written to a topic as they are: at least once, and before the checkpoint that passes
//! them. Headers behind their own tell where they lay and why they are there.

use super::client::{
    Cluster, Headers, KafkaFault, OutgoingBlock, Partitioner, Producer, ProducerCommand, ProducerEvent,
    ProducerSettings, Properties, RecordBlock,
};
use crate::format::BadMessage;
use crate::inbox::{Inbox, UnderWay};
use std::sync::Arc;

const PRODUCER: u64 = 0;

/// Bytes on their way before nothing more is read.
const MOST_UNDER_WAY: usize = 8 << 20;

/// Where they go; begun with the source.
pub(super) struct DeadLetters {
    table: String,
    settings: ProducerSettings,
    inbox: Inbox<ProducerEvent>,
    under_way: Arc<UnderWay>,
    producer: Option<Box<dyn Producer>>,
    is_open: bool,
    /// Blocks that wait for the producer to be open.
    waiting: Vec<OutgoingBlock>,
    /// Flushes that are not answered.
    flushes: u64,
}

impl DeadLetters {
    pub fn new(table: &str, topic: &str, properties: Properties, waker: Arc<dyn Fn() + Send + Sync>) -> Self {
        let settings =
            ProducerSettings { properties, topic: topic.to_owned(), partitioner: Partitioner::Default, subtask: 0 };
        Self {
            table: table.to_owned(),
            settings,
            inbox: Inbox::new(waker),
            under_way: Arc::default(),
            producer: None,
            is_open: false,
            waiting: Vec::new(),
            flushes: 0,
        }
    }

    /// Opens the way, so that a missing topic is known before it is needed.
    pub fn begin(&mut self, cluster: &dyn Cluster) -> Result<(), KafkaFault> {
        let producer = cluster.producer(self.settings.clone(), self.inbox.clone(), Arc::clone(&self.under_way))?;
        producer.ask(ProducerCommand::Open { producer: PRODUCER, transactional_id: None });
        self.producer = Some(producer);
        Ok(())
    }

    /// Keeps the bad records of a block.
    pub fn keep(&mut self, block: &RecordBlock, bad: &[BadMessage]) {
        let mut letters = OutgoingBlock::default();
        for message in bad {
            let index = message.number as usize;
            let header = |key: &str, value: String| (format!("streamfleet.{key}"), Some(value.into_bytes()));
            let mut headers: Headers = block.headers.get(index).cloned().unwrap_or_default();
            headers.extend([
                header("table", self.table.clone()),
                header("topic", block.partition.topic.to_string()),
                header("partition", block.partition.partition.to_string()),
                header("offset", block.offsets[index].to_string()),
                header("timestamp", block.timestamps[index].to_string()),
                header("reason", message.reason.clone()),
            ]);
            letters.values.push(block.values.get(index));
            letters.keys.push(block.keys.get(index));
            letters.headers.push(headers);
        }
        self.flushes += 1;
        self.waiting.push(letters);
        self.send();
    }

    fn send(&mut self) {
        let Some(producer) = self.producer.as_ref().filter(|_| self.is_open) else { return };
        for block in self.waiting.drain(..) {
            self.under_way.add(block.bytes());
            producer.ask(ProducerCommand::Send { producer: PRODUCER, block });
            producer.ask(ProducerCommand::Flush { producer: PRODUCER });
        }
    }

    /// Hears what became of them.
    pub fn listen(&mut self) -> Result<(), KafkaFault> {
        while let Some(event) = self.inbox.next() {
            match event {
                ProducerEvent::Opened { .. } => self.is_open = true,
                ProducerEvent::Flushed { .. } => self.flushes -= 1,
                ProducerEvent::Failed(fault) => {
                    return Err(fault.at("'scan.errors.dead-letter.topic'"));
                }
            }
        }
        self.send();
        Ok(())
    }

    /// True while so much is under way that reading should wait.
    pub fn is_full(&self) -> bool {
        self.under_way.bytes() + self.waiting.iter().map(OutgoingBlock::bytes).sum::<usize>() >= MOST_UNDER_WAY
    }

    /// True if everything that was kept is acknowledged.
    pub const fn is_durable(&self) -> bool {
        self.flushes == 0
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        if let Some(producer) = &self.producer {
            producer.ask(ProducerCommand::End);
        }
    }
}

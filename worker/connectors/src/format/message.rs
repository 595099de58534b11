//! Records that come one in a message, as from a log or a queue, whose ends are known.

use super::Decoded;
use crate::registry::{Registry, RegistryFault, RegistrySettings};
use arrow::array::{Int8Array, RecordBatch};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// A message that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadMessage {
    /// Its number, as it was taken under.
    pub number: u32,
    pub reason: String,
}

/// Rows of some messages.
pub(crate) struct DecodedMessages {
    /// Rows, if any.
    pub records: Option<RecordBatch>,
    /// A row kind for every row; `None`: all are `+I`.
    pub kinds: Option<Int8Array>,
    /// For every row the number of its message, ascending. `None`: every message is one row.
    pub origins: Option<Vec<u32>>,
    /// Messages without a row that should have one.
    pub bad: Vec<BadMessage>,
    /// Fields that could not be read and are NULL.
    pub nulled: u64,
}

impl DecodedMessages {
    /// Of `taken` messages that are one row each, if they are good.
    pub fn of_rows(decoded: Decoded, taken: usize) -> Self {
        let Decoded { records, bad, nulled, .. } = decoded;
        let bad: Vec<BadMessage> =
            bad.into_iter().map(|b| BadMessage { number: b.start as u32, reason: b.reason }).collect();
        let origins = (!bad.is_empty()).then(|| {
            let mut bad = bad.iter().map(|b| b.number).peekable();
            (0..taken as u32).filter(|number| bad.next_if_eq(number).is_none()).collect()
        });
        Self { records, kinds: None, origins, bad, nulled }
    }
}

/// Opens a way to a registry.
pub(crate) type OpenRegistry<'a> = &'a dyn Fn(RegistrySettings) -> Result<Box<dyn Registry>, RegistryFault>;

/// What a format is given before its first message.
pub(crate) struct Link<'a> {
    /// Whose messages they are, for errors.
    pub place: &'a str,
    /// The subject of their schemas, if the table does not name one.
    pub subject: String,
    pub open: OpenRegistry<'a>,
    /// To be called when something that was asked for is there.
    pub waker: Arc<dyn Fn() + Send + Sync>,
}

/// Decodes messages.
pub(crate) trait MessageDecoder: Send {
    /// Opens ways to where more is known of messages. Called once, before anything is decoded.
    fn connect(&mut self, _link: &Link<'_>) -> Result<(), DataflowError> {
        Ok(())
    }

    /// True if everything is at hand that these messages need; else it was asked for, and the slot is woken when it comes.
    fn is_ready(&mut self, _messages: &MessageBuffer) -> Result<bool, DataflowError> {
        Ok(true)
    }

    /// Takes the next message; its number is that of the messages taken since the last `finish`.
    fn take(&mut self, message: &[u8]);

    /// What was taken since the last call.
    fn finish(&mut self) -> Result<DecodedMessages, DataflowError>;
}

/// Messages end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageBuffer {
    /// The bytes of all.
    pub bytes: Vec<u8>,
    /// Where each message ends.
    pub ends: Vec<usize>,
}

impl MessageBuffer {
    /// One message.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Ends the message at hand: what was pushed to `bytes` since the last one's end.
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

impl AsMut<Vec<u8>> for MessageBuffer {
    fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// Encodes rows, each as one message.
pub(crate) trait MessageEncoder: Send {
    /// Opens ways to where messages are told of. Called once, before anything is encoded.
    fn connect(&mut self, _link: &Link<'_>) -> Result<(), DataflowError> {
        Ok(())
    }

    /// True if rows can be encoded; else the slot is woken when they can.
    fn is_ready(&mut self) -> Result<bool, DataflowError> {
        Ok(true)
    }

    /// Appends a message for every row.
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError>;
}

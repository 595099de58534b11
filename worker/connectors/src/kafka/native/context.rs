//! What librdkafka's clients say beside their answers.

use super::tokens::ShownTokens;
use crate::kafka::client::KafkaFault;
use crate::kafka::oauth::Tokens;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;
use std::sync::{Arc, Mutex};
use streamfleet_types::Outlook;
use tracing::{debug, warn};

/// librdkafka's name for the message that says why a transaction can only be aborted.
const TRANSACTION_FAILED: &str = "TXNERR";

/// Why a producer is fenced, which nobody says.
const FENCED: &str = ": it reached its time-out, or another run of this job, or one begun from a copy of its checkpoint place, writes \
                      under the same transactional ids; its rows come again with the next start";

/// Keeps the first thing that went wrong for good, and the last that may pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    fatal: Arc<Mutex<Option<KafkaFault>>>,
    last: Arc<Mutex<Option<String>>>,
}

impl Said {
    /// Something that trying again does not mend.
    pub fn fatal(&self) -> Option<KafkaFault> {
        self.fatal.lock().expect("no holder of this lock panics").clone()
    }

    /// What the client complained of last, in parentheses, for errors that only say that it took too long.
    pub fn last(&self) -> String {
        let last = self.last.lock().expect("no holder of this lock panics");
        last.as_ref().map_or(String::new(), |text| format!(" ({text})"))
    }

    fn note_last(&self, text: String) {
        *self.last.lock().expect("no holder of this lock panics") = Some(text);
    }

    fn note_if_nothing_else(&self, text: &str) {
        self.last.lock().expect("no holder of this lock panics").get_or_insert_with(|| text.to_owned());
    }

    fn note_fatal(&self, fault: KafkaFault) {
        self.fatal.lock().expect("no holder of this lock panics").get_or_insert(fault);
    }
}

/// The context of all clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    pub said: Said,
    /// What the client logs in with, if it is tokens.
    pub tokens: Arc<ShownTokens>,
    statistics: Arc<Mutex<Option<Statistics>>>,
}

impl Context {
    pub fn new(tokens: Option<Arc<Tokens>>) -> Self {
        Self { said: Said::default(), tokens: ShownTokens::new(tokens), statistics: Arc::default() }
    }

    /// The newest statistics, once.
    pub fn statistics(&self) -> Option<Statistics> {
        self.statistics.lock().expect("no holder of this lock panics").take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == TRANSACTION_FAILED {
            self.said.note_last(message.to_owned());
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                warn!(facility, message, "kafka client");
            }
            _ => debug!(facility, message, "kafka client"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        *self.statistics.lock().expect("no holder of this lock panics") = Some(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka client");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.said.note_fatal(KafkaFault::new(reason)),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                match self.tokens.refused(reason) {
                    Some(text) => self.said.note_fatal(KafkaFault::refused(text)),
                    None => self.said.note_last(reason.to_owned()),
                }
            }
            // It comes behind what was wrong with the last of them.
            Some(RDKafkaErrorCode::AllBrokersDown) => self.said.note_if_nothing_else(reason),
            _ => self.said.note_last(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        let Err((error, record)) = result else { return };
        let size = record.payload().map_or(0, <[u8]>::len);
        // Records are taken out of the queue when their transaction has failed, which is told only here and in the log. Nobody
        // asks a producer that was closed or abandoned.
        let is_purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        let cause = if is_purged {
            let last = self.said.last();
            let advice = if last.contains("fenced") { FENCED } else { "" };
            KafkaFault::new(format!("its transaction failed{last}{advice}"))
        } else {
            not_written(error)
        };
        self.said.note_fatal(cause.at(&format!("a record of {size} bytes was not written")));
    }
}

/// Why a client or a broker does not take a record, and what to do if trying again does not mend it.
pub(super) fn not_written(error: &KafkaError) -> KafkaFault {
    match error.rdkafka_error_code() {
        // The same record comes again.
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge) => KafkaFault {
            detail: "it, or the batch that it was sent in, is larger than may be sent: raise 'properties.max.request.size' and \
                     the topic's max.message.bytes, lower 'properties.batch.size', or make the rows smaller"
                .to_owned(),
            outlook: Outlook::Lasts,
        },
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition,
        ) => {
            KafkaFault::refused("the topic is gone: make it again and start the job again")
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            KafkaFault::refused("writing is not allowed: give the user the right to write the topic")
        }
        _ => KafkaFault::new(text_of(error)),
    }
}

/// What an error says, without librdkafka's wrapping.
pub(super) fn text_of(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(inner) => inner.string(),
        other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string()),
    }
}

//! A small client of Kafka's protocol, for the few requests that librdkafka has no call for. Blocking: it lives on threads
//! that may wait.

mod connection;
mod sasl;
mod tls;

pub(super) use connection::{Client, ProtocolError};

use super::client::{KafkaFault, Properties};

/// Refuses settings that this client does not follow.
pub(super) fn check(properties: &Properties) -> Result<(), KafkaFault> {
    Client::new(properties).map(|_| ())
}

//! Real clusters: librdkafka reads and writes, each client on a thread of its own; a small client of our own ends the
//! transactions of producers that are gone, which librdkafka cannot.

mod consumer;
mod context;
mod describe;
mod producer;
mod reach;
#[cfg(test)]
mod tests;
mod tokens;
mod transactions;

use super::client::{
    Cluster, Consumer, ConsumerEvent, ConsumerSettings, KafkaFault, Producer, ProducerEvent, ProducerSettings,
    Properties, REACH_WITHIN, Transactions,
};
use crate::inbox::{Inbox, UnderWay};
use crate::kafka::oauth;
use crate::registry::{HttpRegistry, Registry, RegistryFault, RegistrySettings};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct NativeCluster;

impl Cluster for NativeCluster {
    fn consumer(
        &self,
        settings: ConsumerSettings,
        inbox: Inbox<ConsumerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Consumer>, KafkaFault> {
        Ok(Box::new(consumer::NativeConsumer::start(settings, inbox, under_way)?))
    }

    fn producer(
        &self,
        settings: ProducerSettings,
        inbox: Inbox<ProducerEvent>,
        under_way: Arc<UnderWay>,
    ) -> Result<Box<dyn Producer>, KafkaFault> {
        Ok(Box::new(producer::NativeProducer::start(settings, inbox, under_way)?))
    }

    fn registry(&self, settings: RegistrySettings) -> Result<Box<dyn Registry>, RegistryFault> {
        Ok(Box::new(HttpRegistry::start(settings)?))
    }

    fn transactions(&self, properties: Properties) -> Result<Box<dyn Transactions>, KafkaFault> {
        Ok(Box::new(transactions::NativeTransactions::start(properties)?))
    }
}

/// A client's configuration out of its properties.
pub(super) fn config(properties: &Properties) -> ClientConfig {
    // Before librdkafka does: its own way leaves OpenSSL to be taken down when the process ends, under clients' threads that still
    // use it.
    openssl_sys::init();
    let mut config = ClientConfig::new();
    let is_ours = |key: &str| key == REACH_WITHIN || oauth::OWN.contains(&key);
    for (key, value) in properties.iter().filter(|(key, _)| !is_ours(key)) {
        config.set(key, value);
    }
    config
}

/// Refuses properties that librdkafka does not know or whose values it does not take.
pub(super) fn check(properties: &Properties) -> Result<(), KafkaFault> {
    match config(properties).create_native_config() {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(&error, properties)),
    }
}

/// A property that librdkafka does not know or whose value it does not take, and what it says.
pub(super) fn bad_property(properties: &Properties) -> Option<(String, String)> {
    match config(properties).create_native_config() {
        Err(KafkaError::ClientConfig(_, what, key, _)) => Some((key, what)),
        // Anything else shows when a client is made.
        _ => None,
    }
}

/// The client's properties that name files, with the options that they come from.
const FILES: [(&str, &str); 3] = [
    ("ssl.ca.location", "ssl.truststore.location"),
    ("ssl.certificate.location", "ssl.keystore.location"),
    ("ssl.key.location", "ssl.keystore.location"),
];

fn refused(error: &KafkaError, properties: &Properties) -> KafkaFault {
    match error {
        // The value may be a secret.
        KafkaError::ClientConfig(_, what, key, _) => {
            KafkaFault::refused(format!("'properties.{key}' cannot be used: {what}"))
        }
        other => {
            let text = other.to_string();
            let file = FILES.iter().find(|(name, _)| text.contains(&format!("{name} failed")));
            let Some((option, path)) = file.and_then(|(name, option)| Some((option, properties.get(*name)?))) else {
                return KafkaFault::refused(format!("the client cannot be made: {text}"));
            };
            let why = match std::fs::read(path) {
                Err(error) => error.to_string(),
                Ok(_) => format!("certificates and keys in PEM are needed ({text})"),
            };
            KafkaFault::refused(format!("'properties.{option}' = '{path}' cannot be used: {why}"))
        }
    }
}

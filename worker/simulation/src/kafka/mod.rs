//! A model of Kafka: brokers whose transactions keep Kafka's rules, behind a network that loses, repeats and delays.

mod broker;
mod cluster;
mod network;

pub use cluster::KafkaAtOnce;
pub(crate) use cluster::{SimCluster, shown_by_key};
pub(crate) use network::{Link, SimKafka};

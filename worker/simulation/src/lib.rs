//! The whole fleet in one process under a seed.
//!
//! Coordinator and slots are the product's own; clock, randomness, threads, storage and Kafka are models. One seed decides who runs
//! next, how long storage and brokers take, what fails, when a process dies or freezes, and with how many slots it comes back. The
//! oracle: what the sinks show at the end equals the output of a run without faults, and after the faults stop it finishes.

mod crash_point;
mod fault;
mod job;
mod kafka;
mod process;
mod random;
mod storage;
mod world;

pub use crash_point::CrashPoint;
pub use fault::{Faults, Sabotage};
pub use job::{SimJob, SimRecord, SimTopic};
pub use kafka::KafkaAtOnce;
pub use random::Random;
pub use storage::{ServedAtOnce, SimStorage};
pub use world::{Failure, Report, simulate};

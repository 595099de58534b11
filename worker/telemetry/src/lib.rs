//! Metrics and tracing set-up, for all.

pub mod logging;
pub mod metrics;
pub mod server;

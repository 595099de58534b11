//! Tracing set-up for all.

pub mod logging;

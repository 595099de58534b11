//! Metrics registry and tracing set-up, for all.

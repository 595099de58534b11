//! What is known of checkpoints.

use streamfleet_telemetry::metrics::Declared;
use streamfleet_types::Epoch;

/// What is known of checkpoints, for metrics and progress.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckpointStats {
    /// Number of the newest complete one.
    pub newest: Option<Epoch>,
    /// Complete ones of this reign.
    pub completed: u64,
    /// Given up or failed ones of this reign.
    pub failed: u64,
    /// Time from trigger to record of the newest, seconds.
    pub last_duration_seconds: f64,
    /// Bytes of state files that the newest added.
    pub last_bytes: u64,
    /// Bytes of state files that the newest refers to.
    pub total_bytes: u64,
}

/// What is known of a job's checkpoints.
pub const CHECKPOINT_METRICS: &[Declared<CheckpointStats>] = &[
    Declared::counter("streamfleet_checkpoints_completed_total", "Checkpoints that became complete.", |c, _| {
        Some(c.completed as f64)
    }),
    Declared::counter("streamfleet_checkpoints_failed_total", "Checkpoints that failed or were given up.", |c, _| {
        Some(c.failed as f64)
    }),
    Declared::gauge("streamfleet_checkpoint_last_epoch", "Number of the newest complete checkpoint.", |c, _| {
        c.newest.map(|e| e.0 as f64)
    }),
    Declared::gauge(
        "streamfleet_checkpoint_last_duration_seconds",
        "Time that the newest complete checkpoint took, from trigger to record.",
        |c, _| c.newest.map(|_| c.last_duration_seconds),
    ),
    Declared::gauge("streamfleet_checkpoint_last_bytes", "Bytes that the newest complete checkpoint wrote.", |c, _| {
        c.newest.map(|_| c.last_bytes as f64)
    }),
    Declared::gauge(
        "streamfleet_checkpoint_total_bytes",
        "Bytes of all files that the newest complete checkpoint consists of.",
        |c, _| c.newest.map(|_| c.total_bytes as f64),
    ),
];

//! `'scan.watermark.alignment.*'`: tables that are read at one pace of event time.

use std::sync::Arc;
use std::time::Duration;
use streamfleet_types::Millis;

/// How a table keeps pace with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkAlignment {
    /// The name that all of them give.
    pub group: Arc<str>,
    /// What is further ahead of the group's slowest part than this is not read on.
    pub max_drift: Millis,
    /// How often each part says how far it has come; more than zero.
    pub update_interval: Duration,
}

impl WatermarkAlignment {
    /// The option that names the group.
    pub const GROUP: &str = "scan.watermark.alignment.group";
    /// The option with the drift.
    pub const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";
    /// The option with the interval.
    pub const UPDATE_INTERVAL: &str = "scan.watermark.alignment.update-interval";
    /// The interval of tables that name none; as [`crate::SCAN_OPTIONS`] say it.
    pub const DEFAULT_UPDATE_INTERVAL: Duration = Duration::from_secs(1);
}

//! `'scan.watermark.alignment.*'`: tables that are read at one pace of event time.

use crate::{OptionKind, OptionSpec};
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
    /// The interval of tables that name none; as [`Self::OPTIONS`] say it.
    pub const DEFAULT_UPDATE_INTERVAL: Duration = Duration::from_secs(1);

    /// What every table that is read takes.
    pub const OPTIONS: &[OptionSpec] = &[
        option(
            Self::GROUP,
            OptionKind::Text,
            "",
            "Tables of the job that name the same group are read at one pace of event time; goes with `max-drift`.",
        ),
        option(
            Self::MAX_DRIFT,
            OptionKind::Duration,
            "",
            "What is so much further than the slowest part of its group is not read on until that comes near.",
        ),
        option(Self::UPDATE_INTERVAL, OptionKind::Duration, "1 s", "How often every part says how far it has come."),
    ];
}

const fn option(name: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind, required: false, default, help, older: "" }
}

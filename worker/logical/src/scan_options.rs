//! `'scan.watermark.*'`: what every table that is read takes, whatever its connector.

use crate::{OptionKind, OptionSpec, WatermarkAlignment};

/// The option with the time after which a table, or a part of it, that gives no row is idle.
pub const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";

/// The option that says when watermarks are given. A watermark follows every batch here, so all its values mean the same.
pub const EMIT_STRATEGY: &str = "scan.watermark.emit.strategy";

/// The options of every table that is read.
pub const SCAN_OPTIONS: &[OptionSpec] = &[
    option(
        WatermarkAlignment::GROUP,
        OptionKind::Text,
        "",
        "Tables of the job that name the same group are read at one pace of event time; goes with `max-drift`.",
    ),
    option(
        WatermarkAlignment::MAX_DRIFT,
        OptionKind::Duration,
        "",
        "What is so much further than the slowest part of its group is not read on until that comes near.",
    ),
    option(
        WatermarkAlignment::UPDATE_INTERVAL,
        OptionKind::Duration,
        "1 s",
        "How often every part says how far it has come.",
    ),
    option(
        EMIT_STRATEGY,
        OptionKind::OneOf(&["on-event", "on-periodic"]),
        "on-periodic",
        "Taken, and without effect: a watermark follows every batch of rows.",
    ),
    option(
        IDLE_TIMEOUT,
        OptionKind::Duration,
        "",
        "The table, or a part of it, that gives no row for so long holds no watermark back any more; `0 s` for never. If absent, as `table.exec.source.idle-timeout` says.",
    ),
];

const fn option(name: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind, required: false, default, help, older: "" }
}

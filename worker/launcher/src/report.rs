//! What a run did and took.

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run did, and those after it that began it again: what they read again counts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Rows that sources read.
    pub rows_in: u64,
    /// Rows that sinks took.
    pub rows_out: u64,
    /// Rows left out because they came too late.
    pub late_rows: u64,
    /// Rows left out of windows because their event time is NULL.
    pub timeless_rows: u64,
    /// Records left out because they could not be decoded.
    pub skipped_records: u64,
    /// Checkpoints that became complete.
    pub checkpoints: u64,
}

impl std::ops::AddAssign for RunCounts {
    fn add_assign(&mut self, other: Self) {
        let Self { rows_in, rows_out, late_rows, timeless_rows, skipped_records, checkpoints } = other;
        self.rows_in += rows_in;
        self.rows_out += rows_out;
        self.late_rows += late_rows;
        self.timeless_rows += timeless_rows;
        self.skipped_records += skipped_records;
        self.checkpoints += checkpoints;
    }
}

impl fmt::Display for RunCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows_in, rows_out, late_rows, timeless_rows, skipped_records, checkpoints } = self;
        write!(f, "{rows_in} rows in, {rows_out} out, {late_rows} late, {skipped_records} skipped, ")?;
        if *timeless_rows > 0 {
            write!(f, "{timeless_rows} without event time, ")?;
        }
        write!(f, "{checkpoints} checkpoint{}", if *checkpoints == 1 { "" } else { "s" })
    }
}

/// What this process has taken of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all threads, seconds.
    pub cpu_seconds: f64,
    /// The most memory that it ever held at once, bytes.
    pub peak_memory_bytes: u64,
}

impl Usage {
    /// So far.
    pub fn of_this_process() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts for every process");
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        Self {
            cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
            // Linux counts in KiB.
            peak_memory_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
        }
    }
}

//! What a running job shows on standard error: one line, rewritten on a terminal.

use crate::report::RunCounts;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamfleet_coordinator::CheckpointStats;
use streamfleet_runtime::{SlotMetrics, TaskMetrics};
use streamfleet_types::{Epoch, MAX_WATERMARK, MIN_WATERMARK, Run};

const EVERY: Duration = Duration::from_millis(500);

/// Shows progress, or nothing.
pub(crate) struct Progress {
    enabled: bool,
    slots: Vec<Arc<SlotMetrics>>,
    shown_at: Duration,
    rows_in: u64,
    rows_out: u64,
    line_shown: bool,
    job: String,
}

impl Progress {
    pub fn new(job: &str, wanted: bool) -> Self {
        Self {
            enabled: wanted && std::io::stderr().is_terminal(),
            slots: Vec::new(),
            shown_at: Duration::ZERO,
            rows_in: 0,
            rows_out: 0,
            line_shown: false,
            job: job.to_owned(),
        }
    }

    /// Says where the run begins; always, terminal or not.
    pub fn started(&self, run: Run, base: Option<Epoch>) {
        match base {
            Some(epoch) => eprintln!("{}: run {run} goes on from checkpoint {epoch}", self.job),
            None => eprintln!("{}: run {run} begins from nothing", self.job),
        }
    }

    pub fn watch(&mut self, slots: Vec<Arc<SlotMetrics>>) {
        self.slots = slots;
    }

    fn sum(&self, which: impl Fn(&TaskMetrics) -> Option<&AtomicU64>) -> u64 {
        let tasks = self.slots.iter().flat_map(|s| &s.tasks);
        tasks.filter_map(|t| which(t)).map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// What state takes of the memory.
    pub fn state_bytes(&self) -> u64 {
        self.sum(|t| Some(&t.state_bytes))
    }

    pub fn show(&mut self, now: Duration, checkpoints: &CheckpointStats) {
        if !self.enabled || now < self.shown_at + EVERY {
            return;
        }
        let seconds = (now - self.shown_at).as_secs_f64();
        self.shown_at = now;
        let rows_in = self.sum(|t| t.is_source.then_some(&t.rows_in));
        let rows_out = self.sum(|t| t.is_sink.then_some(&t.rows_in));
        let state = self.state_bytes();
        let late = self.sum(|t| Some(&t.late_rows));
        let sinks = self.slots.iter().flat_map(|s| &s.tasks).filter(|t| t.is_sink);
        let watermark = sinks.map(|t| t.watermark.load(Ordering::Relaxed)).min().unwrap_or(MIN_WATERMARK);
        let mut line = format!(
            "{}: {} rows in ({}/s), {} out ({}/s), state {}",
            self.job,
            short(rows_in),
            short(((rows_in - self.rows_in) as f64 / seconds) as u64),
            short(rows_out),
            short(((rows_out - self.rows_out) as f64 / seconds) as u64),
            bytes(state),
        );
        if watermark != MIN_WATERMARK && watermark != MAX_WATERMARK {
            line.push_str(&format!(", watermark {}", time(watermark)));
        }
        if late > 0 {
            line.push_str(&format!(", {} late", short(late)));
        }
        if let Some(epoch) = checkpoints.newest {
            let (seconds, size) = (checkpoints.last_duration_seconds, bytes(checkpoints.last_bytes));
            line.push_str(&format!(", checkpoint {epoch} ({seconds:.2} s, {size})"));
        }
        (self.rows_in, self.rows_out) = (rows_in, rows_out);
        self.line_shown = true;
        // A progress line that cannot be shown is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }

    /// What the run has done so far.
    pub fn counts(&self, checkpoints: &CheckpointStats) -> RunCounts {
        RunCounts {
            rows_in: self.sum(|t| t.is_source.then_some(&t.rows_in)),
            rows_out: self.sum(|t| t.is_sink.then_some(&t.rows_in)),
            late_rows: self.sum(|t| Some(&t.late_rows)),
            timeless_rows: self.sum(|t| Some(&t.timeless_rows)),
            skipped_records: self.sum(|t| Some(&t.skipped_records)),
            checkpoints: checkpoints.completed,
        }
    }

    pub fn clear(&mut self) {
        if self.line_shown {
            self.line_shown = false;
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", n as f64 / 1_073_741_824.0),
    }
}

fn time(watermark: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(watermark);
    time.map_or_else(|| watermark.to_string(), |t| t.format("%Y-%m-%d %H:%M:%S").to_string())
}

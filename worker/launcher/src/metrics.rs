//! The metrics of a job in this process, as `/metrics` shows them.

use crate::error::LauncherError;
use crate::restart::{RESTART_METRICS, RestartCounts};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use streamfleet_coordinator::{CHECKPOINT_METRICS, CheckpointStats};
use streamfleet_env::Clock;
use streamfleet_runtime::{PARTITION_METRICS, SLOT_METRICS, SlotMetrics, TASK_METRICS};
use streamfleet_telemetry::metrics::{Exposition, Label, Reading};
use streamfleet_telemetry::server::serve;

/// What is there to read; the slots write their counters without it.
#[derive(Default)]
struct Watched {
    slots: Vec<Arc<SlotMetrics>>,
    checkpoints: CheckpointStats,
    restarts: RestartCounts,
}

/// See the module.
pub(crate) struct JobMetrics {
    job: String,
    clock: Arc<dyn Clock>,
    watched: Mutex<Watched>,
}

impl JobMetrics {
    pub fn new(job: &str, clock: Arc<dyn Clock>) -> Self {
        Self { job: job.to_owned(), clock, watched: Mutex::default() }
    }

    /// Serves `/metrics`; says where.
    pub fn serve(self: &Arc<Self>, address: SocketAddr) -> Result<(), LauncherError> {
        let this = Arc::clone(self);
        let bound = serve(address, Arc::new(move || this.render()))
            .map_err(|source| LauncherError::Metrics { address, source })?;
        eprintln!("{}: metrics at http://{bound}/metrics", self.job);
        Ok(())
    }

    pub fn watch(&self, slots: &[Arc<SlotMetrics>]) {
        self.watched().slots = slots.to_vec();
    }

    pub fn set_checkpoints(&self, checkpoints: &CheckpointStats) {
        let mut watched = self.watched();
        if watched.checkpoints != *checkpoints {
            watched.checkpoints = checkpoints.clone();
        }
    }

    pub fn count_restart(&self) {
        self.watched().restarts.restarts += 1;
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        // Whatever panicked with the lock left whole values behind.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn render(&self) -> String {
        let watched = self.watched();
        let reading = Reading { now_ms: self.clock.wall_clock_ms() };
        let job: Label<'_> = ("job", &self.job);
        let numbers: Vec<String> = watched.slots.iter().map(|s| s.slot.to_string()).collect();
        let slots = || watched.slots.iter().zip(&numbers);
        let of_tasks: Vec<_> = slots()
            .flat_map(|(slot, number)| {
                slot.tasks.iter().map(move |t| {
                    let labels = vec![job, ("operator", &*t.operator), ("name", &*t.name), ("slot", &**number)];
                    (labels, &**t)
                })
            })
            .collect();
        let of_slots: Vec<_> = slots().map(|(slot, number)| (vec![job, ("slot", &**number)], &**slot)).collect();
        let partitions: Vec<_> = of_tasks
            .iter()
            .flat_map(|(labels, task)| {
                task.lags.get().map(|lags| lags.all()).unwrap_or_default().into_iter().map(move |p| (labels, p))
            })
            .map(|(labels, partition)| (labels, partition.partition.to_string(), partition))
            .collect();
        let of_partitions: Vec<_> = partitions
            .iter()
            .map(|(labels, number, partition)| {
                let mut labels: Vec<Label<'_>> = (*labels).clone();
                labels.extend([("topic", &*partition.topic), ("partition", &**number)]);
                (labels, &**partition)
            })
            .collect();
        let mut exposition = Exposition::default();
        exposition.add(TASK_METRICS, &of_tasks, reading);
        exposition.add(PARTITION_METRICS, &of_partitions, reading);
        exposition.add(SLOT_METRICS, &of_slots, reading);
        exposition.add(CHECKPOINT_METRICS, &[(vec![job], &watched.checkpoints)], reading);
        exposition.add(RESTART_METRICS, &[(vec![job], &watched.restarts)], reading);
        exposition.render()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use streamfleet_telemetry::metrics::describe;

    /// `docs/metrics.md`: every metric with its kind, labels and meaning.
    fn metrics_page() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             `streamfleet run JOB --metrics 127.0.0.1:9249` serves these at `/metrics` in Prometheus' text format, and `/healthz`.\n\
             Counters begin at 0 with the process, and all but that of restarts when it begins the job again. This page is generated from the declarations; a test compares the two.\n\n\
             | name | kind | labels | meaning |\n|---|---|---|---|\n",
        );
        page.push_str(&describe(TASK_METRICS, &["job", "operator", "name", "slot"]));
        page.push_str(&describe(PARTITION_METRICS, &["job", "operator", "name", "slot", "topic", "partition"]));
        page.push_str(&describe(SLOT_METRICS, &["job", "slot"]));
        page.push_str(&describe(CHECKPOINT_METRICS, &["job"]));
        page.push_str(&describe(RESTART_METRICS, &["job"]));
        page.push_str(
            "\n`operator` is the operator's stable id, `name` its readable name as `explain` shows it, `slot` the slot's number.\n\
             The rates of a slot's busy, backpressured and idle seconds are fractions: `rate(streamfleet_slot_busy_seconds_total[1m])`.\n",
        );
        page
    }

    /// With `STREAMFLEET_WRITE_DOCS` set, writes the page instead.
    #[test]
    fn the_page_says_what_is_declared() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("STREAMFLEET_WRITE_DOCS").is_some() {
            std::fs::write(path, metrics_page()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page == metrics_page(), "docs/metrics.md is old: run this test with STREAMFLEET_WRITE_DOCS=1");
    }
}

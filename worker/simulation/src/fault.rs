//! What may go wrong in a simulated run.

/// How much goes wrong. After `until_step`, nothing does.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Steps of the scheduler during which faults happen.
    pub until_step: u64,
    /// Storage requests that fail, percent: half of them after their effect.
    pub storage_errors: u64,
    /// Requests to Kafka that get lost, percent: half of them after their effect. They come again, and sometimes twice.
    pub kafka_errors: u64,
    /// The longest that storage and brokers take, milliseconds.
    pub storage_delay_ms: u64,
    /// Chance that a process dies at a request to storage or brokers, per ten thousand: before its effect, or after it unanswered.
    pub death_at_request: u64,
    /// It is so many times as great at what there is little of among all requests, and all depends on: records of snapshots.
    pub deaths_at_snapshots: u64,
    /// Chance that a process dies between two steps, per ten thousand.
    pub death_at_step: u64,
    /// Chance that the user stops the job between two steps, per ten thousand; it is started again.
    pub stop_at_step: u64,
    /// Instead of dying, a process freezes while its successor starts, and thaws later; percent of deaths.
    pub freeze: u64,
    /// It thaws within so many steps.
    pub freeze_steps: u64,
    /// A death takes un-synced writes with it (a power failure), percent of deaths.
    pub power_failure: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        until_step: 0,
        storage_errors: 0,
        kafka_errors: 0,
        storage_delay_ms: 5,
        death_at_request: 0,
        deaths_at_snapshots: 1,
        death_at_step: 0,
        stop_at_step: 0,
        freeze: 0,
        freeze_steps: 4_000,
        power_failure: 0,
    };

    /// As rough, but for a job that takes more steps to get anywhere.
    #[must_use]
    pub const fn for_long_job(self) -> Self {
        Self {
            until_step: self.until_step * 3,
            death_at_request: self.death_at_request / 4,
            deaths_at_snapshots: 4,
            death_at_step: self.death_at_step / 4,
            freeze_steps: self.freeze_steps * 3,
            ..self
        }
    }

    /// What a seed brings: from calm to rough.
    pub const fn of_seed(seed: u64) -> Self {
        let mut random = crate::Random::new(seed ^ 0xFA17);
        Self {
            until_step: 2_000 + random.below(30_000),
            storage_errors: [0, 0, 1, 5][random.below(4) as usize],
            kafka_errors: [0, 2, 10][random.below(3) as usize],
            storage_delay_ms: [5, 50, 500][random.below(3) as usize],
            death_at_request: [0, 20, 60, 200, 800][random.below(5) as usize],
            deaths_at_snapshots: 1,
            death_at_step: [0, 5, 20][random.below(3) as usize],
            stop_at_step: [0, 2, 10][random.below(3) as usize],
            freeze: [0, 30, 60][random.below(3) as usize],
            freeze_steps: Self::NONE.freeze_steps,
            power_failure: 50,
        }
    }
}

/// A bug put in by hand at the boundary between coordinator, slots and storage, to see that the simulation finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// State files of an aborted snapshot are not named by the next one.
    DeltaDroppedWithAbortedEpoch,
    /// Sinks' output is made visible when all slots have acknowledged, before `Complete` stands.
    CommitBeforeComplete,
    /// `Start` and `Claim` are written over whatever stands at the log's tail.
    ClaimDoesNotCompete,
    /// Who starts fences transactions of later terms too: it may have been overtaken meanwhile.
    FencesSuccessors,
}

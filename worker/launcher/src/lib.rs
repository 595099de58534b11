//! The roles of the binary as a library. `run` runs a whole job in one process.

mod adopt;
mod attempt;
mod collect;
mod compile;
mod crash_point;
mod driver;
mod error;
mod explain;
mod metrics;
mod preflight;
mod progress;
mod report;
mod restart;
mod run;
mod savepoint;
mod settings;
mod signals;
mod stop;
mod system;

pub use collect::{CollectFrom, collect};
pub use compile::{CompiledJob, Overrides, compile, compile_text};
pub use crash_point::NAMES as CRASH_POINTS;
pub use driver::{Committers, ConnectorRegistry};
pub use error::LauncherError;
pub use explain::explain;
pub use report::{RunCounts, Usage};
pub use restart::RestartStrategy;
pub use savepoint::inspect;
pub use signals::on_stop_signal;

pub use run::{RunOptions, RunOutcome, RunStart, run};
pub use streamfleet_manifest::JobMode;
pub use streamfleet_plan::ExplainFormat;
pub use streamfleet_telemetry::logging::{LogFormat, init as init_logging};
pub use system::{SystemClock, SystemEntropy, ThreadSpawner};

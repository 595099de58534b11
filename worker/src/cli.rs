//! What the command line takes.

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs stateful stream and batch jobs written in Flink SQL, exactly-once.
#[derive(Debug, Parser)]
#[command(name = "streamfleet", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Form of the log on standard error; its level is set by STREAMFLEET_LOG (error, warn, info, debug).
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormatArg,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormatArg {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job in this process until it ends or is stopped.
    ///
    /// A job that is started again with the same name and checkpoint place goes on from its newest complete checkpoint.
    /// SIGINT and SIGTERM stop it with a last checkpoint.
    #[command(after_help = "\
Examples:
  streamfleet run job.yaml
  streamfleet run job.yaml --parallelism 4 --checkpoints /var/lib/streamfleet
  streamfleet run script.sql --mode batch --set parallelism.default=4

Exit codes: 0 finished or stopped, 1 failed, 2 bad input")]
    Run(RunArgs),

    /// Check a manifest or SQL script without running it.
    #[command(after_help = "Example:\n  streamfleet validate job.yaml")]
    Validate(JobArgs),

    /// Show how a job would run: operators, exchanges, state.
    #[command(after_help = "Example:\n  streamfleet explain job.yaml --format dot | dot -Tsvg > job.svg")]
    Explain {
        #[command(flatten)]
        job: JobArgs,
        /// How to render.
        #[arg(long, value_enum, default_value = "text")]
        format: ExplainFormatArg,
    },

    /// Look at checkpoints and savepoints.
    Savepoint {
        #[command(subcommand)]
        command: SavepointCommand,
    },

    /// Look after a job's checkpoint place.
    Snapshots {
        #[command(subcommand)]
        command: SnapshotsCommand,
    },

    /// Measure the engine.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },

    /// Print a shell's completion script.
    #[command(after_help = "Example:\n  streamfleet completions bash > /etc/bash_completion.d/streamfleet")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SavepointCommand {
    /// Show what a checkpoint consists of: state files, positions, watermarks.
    #[command(after_help = "\
Examples:
  streamfleet savepoint inspect checkpoints/flights
  streamfleet savepoint inspect checkpoints/flights/log/00000000000000000007
  streamfleet savepoint inspect s3://bucket/checkpoints/flights")]
    Inspect {
        /// A job's checkpoint place (its newest checkpoint), or a record of its log; a folder or on S3.
        #[arg(value_name = "PATH")]
        path: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsCommand {
    /// Remove what crashes left of a job: state files, unfinished uploads and start-up probes that nothing refers to, and with
    /// --job also what lies at its sinks: unfinished files, and transactions that hold up readers.
    ///
    /// Only what the job itself wrote before its newest start is removed, and at the sinks of a job that has ended also what that
    /// start wrote: the job may run meanwhile.
    #[command(after_help = "\
Examples:
  streamfleet snapshots gc --dry-run checkpoints/flights
  streamfleet snapshots gc s3://bucket/checkpoints/flights
  streamfleet snapshots gc --dry-run --job flights.yaml")]
    Gc(GcArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Run the Nexmark queries over generated events into a sink that keeps nothing.
    ///
    /// Each query runs in a process of its own. Its seconds include start and end of the process.
    #[command(after_help = "\
Examples:
  streamfleet bench nexmark --parallelism 2 --events 10000000
  streamfleet bench nexmark --queries q4,q20 --format json > nexmark.json")]
    Nexmark(NexmarkArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NexmarkArgs {
    /// Number of slots (threads).
    #[arg(long, short = 'p', value_name = "N", default_value_t = 2)]
    pub parallelism: u32,

    /// Events to generate: of 50, 1 is a person, 3 are auctions, 46 are bids.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    pub events: u64,

    /// The queries, separated by commas; all of them if absent.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub queries: Vec<String>,

    /// Time between checkpoints; 0 for none.
    #[arg(long, value_name = "TIME", default_value = "10 s")]
    pub checkpoint_interval: String,

    /// Streaming or batch.
    #[arg(long, value_enum, default_value = "streaming")]
    pub mode: ModeArg,

    /// Times that each query is run; its fastest run counts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,

    /// How to show the results.
    #[arg(long, value_enum, default_value = "table")]
    pub format: BenchFormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormatArg {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ExplainFormatArg {
    Text,
    Json,
    Dot,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ModeArg {
    Streaming,
    Batch,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// A StreamJob manifest, or a bare .sql script.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Number of slots (threads); over the manifest's.
    #[arg(long, short = 'p', value_name = "N")]
    pub parallelism: Option<u32>,

    /// Streaming emits as rows come; batch emits final results of bounded input.
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,

    /// A configuration option, as in the manifest's spec.job.config; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub config: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["place", "job"])))]
pub(crate) struct GcArgs {
    /// Only tell what would be removed.
    #[arg(long)]
    pub dry_run: bool,

    /// A job's checkpoint place.
    #[arg(value_name = "PLACE/JOB")]
    pub place: Option<String>,

    /// The job's manifest, or its .sql script: its checkpoint place and its sinks.
    #[arg(long, value_name = "FILE")]
    pub job: Option<PathBuf>,

    /// A folder, or s3://bucket/folder, as `run --checkpoints` was given.
    #[arg(long, value_name = "PLACE", conflicts_with = "place")]
    pub checkpoints: Option<String>,

    /// A configuration option, as `run --set` was given; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, conflicts_with = "place")]
    pub config: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub job: JobArgs,

    /// Folder, or s3://bucket/folder, for the job log and checkpoints (a folder per job is made in it); over the manifest's.
    #[arg(long, value_name = "PLACE")]
    pub checkpoints: Option<String>,

    /// Begin from this checkpoint: the path of its record in a job log (see `savepoint inspect`), or a job's checkpoint place
    /// for its newest. Another job's is copied first; that job goes on undisturbed.
    #[arg(long, value_name = "PATH", conflicts_with = "from_nothing")]
    pub from_savepoint: Option<String>,

    /// Begin from nothing, even if there is a checkpoint or the job has finished before.
    #[arg(long)]
    pub from_nothing: bool,

    /// Serve Prometheus metrics at http://ADDR/metrics, for example at 127.0.0.1:9249.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<std::net::SocketAddr>,

    /// Write what the run did and took (rows, seconds, CPU seconds, peak memory) to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Go on from a checkpoint of another plan of the job: state that no operator asks for is dropped.
    #[arg(long)]
    pub allow_non_restored_state: bool,

    /// Show no progress line.
    #[arg(long)]
    pub quiet: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

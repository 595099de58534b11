//! What the subcommands do.

mod bench;
mod report;

use crate::cli::{
    BenchCommand, Cli, Command, ExplainFormatArg, GcArgs, JobArgs, LogFormatArg, ModeArg, RunArgs, SavepointCommand,
    SnapshotsCommand,
};
use clap::CommandFactory;
use report::RunReport;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use streamfleet_launcher::{
    CollectFrom, CompiledJob, ExplainFormat, JobMode, LauncherError, LogFormat, Overrides, RunCounts, RunOptions,
    RunOutcome, RunStart, collect, compile, explain, init_logging, inspect, run as run_job,
};

const FAILED: u8 = 1;
const BAD_INPUT: u8 = 2;

/// Runs the command; the exit code says how it went.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let format = match cli.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    init_logging(format, "warn");
    let result = match cli.command {
        Command::Run(args) => run_command(&args),
        Command::Validate(args) => validate(&args),
        Command::Explain { job, format } => explain_command(&job, format),
        Command::Savepoint { command: SavepointCommand::Inspect { path } } => {
            inspect(&path).map(|text| print!("{text}"))
        }
        Command::Snapshots { command: SnapshotsCommand::Gc(args) } => collect_command(&args),
        Command::Bench { command: BenchCommand::Nexmark(args) } => bench::nexmark(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "streamfleet", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_bad_input() { BAD_INPUT } else { FAILED })
        }
    }
}

fn compile_job(args: &JobArgs, checkpoints: Option<String>) -> Result<CompiledJob, LauncherError> {
    let overrides = Overrides {
        parallelism: args.parallelism,
        mode: args.mode.map(|m| match m {
            ModeArg::Streaming => JobMode::Streaming,
            ModeArg::Batch => JobMode::Batch,
        }),
        config: args.config.iter().cloned().collect(),
        checkpoints,
    };
    let job = compile(&args.file, &overrides)?;
    for warning in &job.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(job)
}

fn validate(args: &JobArgs) -> Result<(), LauncherError> {
    let job = compile_job(args, None)?;
    println!("{} is valid: {} operators, parallelism {}", job.name, job.graph.vertices.len(), job.parallelism);
    Ok(())
}

fn explain_command(args: &JobArgs, format: ExplainFormatArg) -> Result<(), LauncherError> {
    let job = compile_job(args, None)?;
    let format = match format {
        ExplainFormatArg::Text => ExplainFormat::Text,
        ExplainFormatArg::Json => ExplainFormat::Json,
        ExplainFormatArg::Dot => ExplainFormat::Dot,
    };
    print!("{}", explain(&job, format));
    Ok(())
}

fn collect_command(args: &GcArgs) -> Result<(), LauncherError> {
    let text = match (&args.job, &args.place) {
        (Some(file), _) => {
            let overrides = Overrides {
                config: args.config.iter().cloned().collect(),
                checkpoints: args.checkpoints.clone(),
                ..Overrides::default()
            };
            collect(CollectFrom::Job(&compile(file, &overrides)?), args.dry_run)?
        }
        (None, place) => collect(CollectFrom::Place(place.as_deref().unwrap_or_default()), args.dry_run)?,
    };
    print!("{text}");
    Ok(())
}

fn run_command(args: &RunArgs) -> Result<(), LauncherError> {
    let began = Instant::now();
    let job = compile_job(&args.job, args.checkpoints.clone())?;
    if let Some(path) = &args.report {
        // Better now than after hours.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|source| LauncherError::Write { path: path.display().to_string(), source })?;
    }
    let options = RunOptions {
        start: match &args.from_savepoint {
            Some(path) => RunStart::Savepoint(path.clone()),
            None if args.from_nothing => RunStart::Nothing,
            None => RunStart::Newest,
        },
        working_folder: ".".into(),
        allow_changed_plan: args.allow_non_restored_state,
        progress: !args.quiet,
        metrics: args.metrics,
    };
    let counts = match run_job(&job, &options, stop_signals()?)? {
        RunOutcome::Finished(counts) => {
            eprintln!("{}: finished: {counts}", job.name);
            counts
        }
        RunOutcome::Stopped(counts) => {
            eprintln!("{}: stopped with a checkpoint; start it again to go on: {counts}", job.name);
            counts
        }
        RunOutcome::StoppedAtStart(counts) => {
            eprintln!("{}: stopped before it began; start it again to go on: {counts}", job.name);
            counts
        }
        RunOutcome::StoppedInPause(counts) => {
            eprintln!("{}: stopped while it waited to be begun again; start it again to go on: {counts}", job.name);
            counts
        }
        RunOutcome::AlreadyFinished(run) => {
            let advice = "nothing to do. Use --from-nothing to run it anew";
            eprintln!("{}: has finished already (run {run}); {advice}", job.name);
            RunCounts::default()
        }
    };
    match &args.report {
        Some(path) => RunReport::new(&job, began, counts).write(path),
        None => Ok(()),
    }
}

/// The first SIGINT or SIGTERM asks the job to stop; the second ends the process at once.
fn stop_signals() -> Result<Receiver<()>, LauncherError> {
    let (sender, receiver) = channel();
    streamfleet_launcher::on_stop_signal(move |count| {
        if count > 1 {
            std::process::exit(130);
        }
        eprintln!("\nstopping with a last checkpoint (once more to stop at once)");
        // A job that has ended listens no more.
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

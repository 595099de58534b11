//! `bench nexmark`: each query in a process of its own, so that each has its own peak of memory.

use super::report::RunReport;
use crate::cli::{BenchFormatArg, ModeArg, NexmarkArgs};
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use streamfleet_launcher::LauncherError;

/// The benchmark's tables, before every query.
const DDL: &str = include_str!("../../../deploy/examples/nexmark/ddl.sql");

/// One entry per query, by its file.
macro_rules! queries {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../deploy/examples/nexmark/", $name, ".sql")))),*]
    };
}

/// Every query: its name and text.
const QUERIES: [(&str, &str); 14] =
    queries!["q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q14", "q18", "q19", "q20", "q21", "q22"];

/// What one query took.
#[derive(Debug, Serialize)]
struct Measured {
    query: &'static str,
    /// Of the whole process.
    seconds: f64,
    events_per_second: f64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
    rows_out: u64,
    checkpoints: u64,
}

#[derive(Debug, Serialize)]
struct Results<'a> {
    events: u64,
    parallelism: u32,
    mode: &'static str,
    checkpoint_interval: &'a str,
    /// Of `seconds`.
    geometric_mean_seconds: f64,
    queries: Vec<Measured>,
}

/// Runs the queries and prints what they took.
pub(super) fn nexmark(args: &NexmarkArgs) -> Result<(), LauncherError> {
    let wanted = wanted(&args.queries)?;
    let mut queries = Vec::new();
    if args.format == BenchFormatArg::Table {
        println!(
            "{:>5} {:>9} {:>12} {:>9} {:>9} {:>12}",
            "query", "seconds", "k events/s", "CPU s", "peak MB", "rows out"
        );
    }
    for (name, text) in wanted {
        let mut fastest: Option<Measured> = None;
        for _ in 0..args.repeat {
            let measured = measure(name, text, args)?;
            if fastest.as_ref().is_none_or(|f| measured.seconds < f.seconds) {
                fastest = Some(measured);
            }
        }
        let Some(measured) = fastest else { continue };
        if args.format == BenchFormatArg::Table {
            println!(
                "{:>5} {:>9.2} {:>12.0} {:>9.2} {:>9.0} {:>12}",
                measured.query,
                measured.seconds,
                measured.events_per_second / 1e3,
                measured.cpu_seconds,
                measured.peak_memory_bytes as f64 / 1e6,
                measured.rows_out
            );
        }
        queries.push(measured);
    }
    let logarithms: f64 = queries.iter().map(|m| m.seconds.ln()).sum();
    let geometric_mean_seconds = (logarithms / queries.len() as f64).exp();
    match args.format {
        BenchFormatArg::Table => println!("{:>5} {geometric_mean_seconds:>9.2}  geometric mean", "all"),
        BenchFormatArg::Json => {
            let results = Results {
                events: args.events,
                parallelism: args.parallelism,
                mode: mode(args.mode),
                checkpoint_interval: &args.checkpoint_interval,
                geometric_mean_seconds,
                queries,
            };
            println!("{}", serde_json::to_string_pretty(&results).expect("numbers and names are JSON"));
        }
    }
    Ok(())
}

const fn mode(mode: ModeArg) -> &'static str {
    match mode {
        ModeArg::Streaming => "streaming",
        ModeArg::Batch => "batch",
    }
}

fn wanted(names: &[String]) -> Result<Vec<(&'static str, &'static str)>, LauncherError> {
    if names.is_empty() {
        return Ok(QUERIES.to_vec());
    }
    let find = |name: &String| {
        QUERIES.iter().find(|(known, _)| known == name).copied().ok_or_else(|| {
            let known: Vec<&str> = QUERIES.iter().map(|(known, _)| *known).collect();
            LauncherError::Option(format!("no query `{name}`; there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// Runs a query in a folder that is gone afterwards.
fn measure(query: &'static str, text: &str, args: &NexmarkArgs) -> Result<Measured, LauncherError> {
    let failed = |path: &Path, source| LauncherError::Write { path: path.display().to_string(), source };
    let folder = tempfile::tempdir().map_err(|source| failed(&std::env::temp_dir(), source))?;
    let script = folder.path().join(format!("{query}.sql"));
    // A rate that no machine reaches keeps event time as dense as in the published results.
    let text = format!("{DDL}{text}")
        .replace("${RATE}", "10000000")
        .replace("${EVENTS}", &args.events.to_string())
        .replace("${SINK}", "'connector' = 'blackhole'");
    std::fs::write(&script, text).map_err(|source| failed(&script, source))?;
    let report = folder.path().join("report.json");
    let program =
        std::env::current_exe().map_err(|source| LauncherError::Read { path: "/proc/self/exe".to_owned(), source })?;
    let began = Instant::now();
    let output = Command::new(&program)
        .arg("run")
        .arg(&script)
        .args(["--quiet", "--mode", mode(args.mode), "--parallelism", &args.parallelism.to_string()])
        .args(["--set", &format!("execution.checkpointing.interval={}", args.checkpoint_interval)])
        .arg("--checkpoints")
        .arg(folder.path().join("checkpoints"))
        .arg("--report")
        .arg(&report)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LauncherError::Read { path: program.display().to_string(), source })?;
    let seconds = began.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(LauncherError::Option(format!("{query} failed ({}):\n{said}", output.status)));
    }
    let report = RunReport::read(&report)?;
    Ok(Measured {
        query,
        seconds,
        events_per_second: args.events as f64 / seconds,
        cpu_seconds: report.usage.cpu_seconds,
        peak_memory_bytes: report.usage.peak_memory_bytes,
        rows_out: report.counts.rows_out,
        checkpoints: report.counts.checkpoints,
    })
}

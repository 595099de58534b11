//! From what the user wrote to a job graph.

use crate::error::LauncherError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use streamfleet_connectors as connectors;
use streamfleet_logical::OperatorSpec;
use streamfleet_manifest::{JobMode, Manifest};
use streamfleet_plan::JobGraph;
use streamfleet_sql::{Catalog, Warning};
use streamfleet_types::DEFAULT_MAX_PARALLELISM;

/// Where the job comes from.
#[derive(Debug, Clone)]
pub enum JobSource {
    /// A manifest or an SQL script, by its file name.
    File(PathBuf),
}

/// What the command line says over the manifest.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--parallelism`.
    pub parallelism: Option<u32>,
    /// `--mode`.
    pub mode: Option<JobMode>,
    /// `--set`.
    pub config: BTreeMap<String, String>,
    /// `--checkpoints`.
    pub checkpoints: Option<String>,
}

/// A job that can be run.
#[derive(Debug)]
pub struct CompiledJob {
    /// Its name.
    pub name: String,
    /// Its operators.
    pub graph: JobGraph,
    /// Number of slots.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Bounded input, final results only.
    pub batch_mode: bool,
    /// Where log and snapshots lie.
    pub location: String,
    /// Time between checkpoints; `None` for none but the last.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// Checkpoints kept.
    pub retain: usize,
    /// What the planner warns of.
    pub warnings: Vec<Warning>,
}

const DEFAULT_LOCATION: &str = "checkpoints";

fn read(path: &Path) -> Result<String, LauncherError> {
    std::fs::read_to_string(path).map_err(|source| LauncherError::Read { path: path.display().to_string(), source })
}

/// Compiles a manifest, or a bare `.sql` script.
///
/// # Errors
/// Anything that the user can mend: file, manifest, SQL, options.
pub fn compile(source: &JobSource, overrides: &Overrides) -> Result<CompiledJob, LauncherError> {
    let JobSource::File(path) = source;
    let is_sql = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("sql"));
    let (manifest, script, origin) = if is_sql {
        let name = path.file_stem().map(|s| s.to_string_lossy().to_lowercase().replace('_', "-")).unwrap_or_default();
        (Manifest::for_script(&name), read(path)?, path.display().to_string())
    } else {
        let manifest = Manifest::parse(&read(path)?, &path.display().to_string())?;
        let (script, origin) = script_of(&manifest, path)?;
        (manifest, script, origin)
    };
    compile_script(&manifest, &script, &origin, overrides)
}

/// Compiles a script that is at hand; `origin` names it in errors.
///
/// # Errors
/// Anything that the user can mend: SQL, options.
pub fn compile_text(
    name: &str,
    script: &str,
    origin: &Path,
    overrides: &Overrides,
) -> Result<CompiledJob, LauncherError> {
    compile_script(&Manifest::for_script(name), script, &origin.display().to_string(), overrides)
}

fn script_of(manifest: &Manifest, path: &Path) -> Result<(String, String), LauncherError> {
    let job = &manifest.spec.job;
    if let Some(sql) = &job.sql {
        return Ok((sql.clone(), format!("{}: spec.job.sql", path.display())));
    }
    if let Some(file) = job.sql_from.as_ref().and_then(|f| f.file.as_ref()) {
        let beside = path.parent().unwrap_or(Path::new("")).join(file);
        let text = std::fs::read_to_string(&beside).map_err(|source| LauncherError::SqlFile {
            manifest: path.display().to_string(),
            path: beside.display().to_string(),
            source,
        })?;
        return Ok((text, beside.display().to_string()));
    }
    Err(LauncherError::Option(format!(
        "{}: spec.job has neither sql nor sqlFrom.file: `run` can only run SQL jobs",
        path.display()
    )))
}

fn compile_script(
    manifest: &Manifest,
    script: &str,
    origin: &str,
    overrides: &Overrides,
) -> Result<CompiledJob, LauncherError> {
    let (connectors, formats) = connectors::descriptors();
    let mut settings = manifest.spec.job.config_as_text();
    settings.extend(overrides.config.clone());
    let program = streamfleet_sql::compile(script, &Catalog { connectors, formats }, &settings)
        .map_err(|source| LauncherError::Sql { origin: origin.to_owned(), source: Box::new(source) })?;
    settings = program.settings;
    settings.extend(overrides.config.clone());

    let spec = &manifest.spec;
    let setting = |key: &str| settings.get(key).map(String::as_str);
    let runtime_mode = match setting("execution.runtime-mode").map(str::to_lowercase).as_deref() {
        None => None,
        Some("streaming") => Some(JobMode::Streaming),
        Some("batch") => Some(JobMode::Batch),
        Some(other) => {
            let message = format!("execution.runtime-mode is `{other}`: it can be `streaming` or `batch`");
            return Err(LauncherError::Option(message));
        }
    };
    let mode = overrides.mode.or(runtime_mode).or(spec.job.mode).unwrap_or(JobMode::Streaming);
    let from_setting = |key: &str| -> Result<Option<u32>, LauncherError> {
        let parse =
            |v: &str| v.parse().map_err(|_| LauncherError::Option(format!("{key} is `{v}`: it takes a whole number")));
        setting(key).map(parse).transpose()
    };
    let parallelism = match overrides.parallelism.or(spec.job.parallelism) {
        Some(parallelism) => parallelism,
        None => from_setting("parallelism.default")?.unwrap_or(1),
    };
    let max_parallelism = match spec.job.max_parallelism {
        Some(max) => max,
        None => from_setting("pipeline.max-parallelism")?.unwrap_or(DEFAULT_MAX_PARALLELISM.max(parallelism)),
    };
    if parallelism == 0 || parallelism > max_parallelism {
        let message = format!("parallelism is {parallelism}: it must be from 1 to maxParallelism, {max_parallelism}");
        return Err(LauncherError::Option(message));
    }
    let duration_setting = |key: &str| -> Result<Option<Duration>, LauncherError> {
        let parse =
            |v: &str| streamfleet_manifest::parse_duration(v).map_err(|e| LauncherError::Option(format!("{key}: {e}")));
        setting(key).map(parse).transpose()
    };
    let batch_mode = mode == JobMode::Batch;
    check_bounded(&program.sinks, batch_mode)?;
    let graph = JobGraph::new(&program.sinks, &|node| match &node.spec {
        OperatorSpec::Scan(scan) => connectors::max_source_parallelism(scan),
        _ => None,
    })?;
    let location = overrides.checkpoints.clone().or_else(|| spec.snapshots.location.clone());
    let interval = match duration_setting("execution.checkpointing.interval")? {
        Some(interval) => interval,
        None => spec.snapshots.interval(),
    };
    Ok(CompiledJob {
        name: manifest.metadata.name.clone(),
        graph,
        parallelism,
        max_parallelism,
        batch_mode,
        location: location.unwrap_or_else(|| DEFAULT_LOCATION.to_owned()),
        interval: (!interval.is_zero()).then_some(interval),
        timeout: spec.snapshots.timeout(),
        retain: spec.snapshots.retain(),
        warnings: program.warnings,
    })
}

/// Batch mode needs an end of every input.
fn check_bounded(sinks: &[std::sync::Arc<streamfleet_logical::Node>], batch_mode: bool) -> Result<(), LauncherError> {
    if !batch_mode {
        return Ok(());
    }
    let mut nodes: Vec<_> = sinks.to_vec();
    while let Some(node) = nodes.pop() {
        if let OperatorSpec::Scan(scan) = &node.spec
            && !connectors::is_bounded(scan)?
        {
            let message = format!(
                "table {} never ends: batch mode needs bounded input (use --mode streaming, or options that bound it)",
                scan.table.name
            );
            return Err(LauncherError::Option(message));
        }
        nodes.extend(node.inputs.iter().cloned());
    }
    Ok(())
}

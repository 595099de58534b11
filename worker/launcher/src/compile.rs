//! From what the user wrote to a job graph.

use crate::error::LauncherError;
use crate::preflight::check_tables;
use crate::restart::RestartStrategy;
use crate::settings::{Settings, known_settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use streamfleet_connectors as connectors;
use streamfleet_logical::{Node, OperatorSpec, Position};
use streamfleet_manifest::{JobMode, JobState, Manifest, ManifestError, SqlPlace, StateBackend};
use streamfleet_plan::JobGraph;
use streamfleet_runtime::state_tables;
use streamfleet_sql::{Catalog, RUNTIME_MODE, check_setting, under_own_names};
use streamfleet_state::TableSchema;
use streamfleet_storage::{S3Options, S3Place};
use streamfleet_types::DEFAULT_MAX_PARALLELISM;

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
    /// The state tables of each of them.
    pub state_tables: Vec<Vec<TableSchema>>,
    /// Number of slots.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Bounded input, final results only.
    pub batch_mode: bool,
    /// Where log and snapshots lie: a local folder, or a place on S3.
    pub location: String,
    /// How S3 is reached.
    pub s3: S3Options,
    /// Time between checkpoints; `None` for none but the last.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// Checkpoints kept.
    pub retain: usize,
    /// A source that gives no row for so long holds no watermark back; `None` for never.
    pub idle_timeout: Option<Duration>,
    /// State may take so many bytes of memory; `None` for any.
    pub memory_limit: Option<u64>,
    /// When a run that failed is begun again.
    pub restart: RestartStrategy,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl CompiledJob {
    /// Where the log and the snapshots of this job lie.
    pub fn place(&self) -> String {
        if S3Place::is_one(&self.location) {
            return format!("{}/{}", self.location, self.name);
        }
        Path::new(&self.location).join(&self.name).display().to_string()
    }
}

const DEFAULT_LOCATION: &str = "checkpoints";

/// A slot is a thread: more of them in one process than this is a mistake.
const MOST_SLOTS: u32 = 1024;

fn read(path: &Path) -> Result<String, LauncherError> {
    std::fs::read_to_string(path).map_err(|source| LauncherError::Read { path: path.display().to_string(), source })
}

/// An SQL script with what an error in it is told with.
struct Script {
    text: String,
    /// Its file.
    origin: String,
    /// Where in the file it begins.
    place: SqlPlace,
}

impl Script {
    fn of_file(text: String, path: &Path) -> Self {
        Self { text, origin: path.display().to_string(), place: SqlPlace { lines: 0, columns: 0 } }
    }

    fn in_file(&self, position: Position) -> Position {
        Position { line: position.line + self.place.lines, column: position.column + self.place.columns }
    }
}

/// Compiles a manifest, or a bare `.sql` script.
///
/// # Errors
/// Anything that the user can mend: file, manifest, SQL, options.
pub fn compile(path: &Path, overrides: &Overrides) -> Result<CompiledJob, LauncherError> {
    let text = read(path)?;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("sql")) {
        let name = path.file_stem().map(|s| s.to_string_lossy().to_lowercase().replace('_', "-")).unwrap_or_default();
        return compile_script(&Manifest::for_script(&name), &Script::of_file(text, path), overrides, Vec::new());
    }
    let manifest = Manifest::parse(&text, &path.display().to_string())?;
    let wrong = |(field, message): (&str, String)| manifest_error(&text, path, field, message);
    let mut warnings = ignored_by_run(&manifest).map_err(wrong)?;
    for (key, value) in manifest.spec.job.config_as_text() {
        let note = check_setting(&known_settings(), &key, &value).map_err(|kind| wrong((&key, kind.to_string())))?;
        warnings.extend(note);
    }
    let script = script_of(&manifest, &text, path)?;
    compile_script(&manifest, &script, overrides, warnings)
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
    compile_script(&Manifest::for_script(name), &Script::of_file(script.to_owned(), origin), overrides, Vec::new())
}

fn manifest_error(text: &str, path: &Path, field: &str, message: String) -> ManifestError {
    let (line, column) = Manifest::place_of(text, field);
    ManifestError { origin: path.display().to_string(), line, column, message }
}

/// What a manifest asks for that `run` cannot do: refused if results or safety depend on it, else a warning.
fn ignored_by_run(manifest: &Manifest) -> Result<Vec<String>, (&'static str, String)> {
    let spec = &manifest.spec;
    if spec.job.state == Some(JobState::Suspended) {
        let message = "spec.job.state is `suspended`: the job should not run; set it to `running`, or leave it out";
        return Err(("state", message.to_owned()));
    }
    if let Some(savepoint) = &spec.job.from_savepoint {
        let message = format!(
            "spec.job.fromSavepoint is `{savepoint}`: `run` begins from the job's own checkpoints; name one with --from-savepoint"
        );
        return Err(("fromSavepoint", message));
    }
    if let Some(backend) = spec.state.backend.filter(|b| *b != StateBackend::Memory) {
        let message = format!("spec.state.backend is `{backend}`: this build keeps state in memory only; use `memory`");
        return Err(("backend", message));
    }
    let mut warnings = Vec::new();
    let mut ignored = |is_there: bool, field: &str| {
        if is_there {
            warnings.push(format!("{field} has no effect in `run`: it speaks to the controller"));
        }
    };
    ignored(spec.snapshots.savepoints.is_some(), "spec.snapshots.savepoints");
    if spec.snapshots.credentials.is_some() {
        let text = "spec.snapshots.credentials has no effect in `run`: it speaks to the controller; set AWS_ACCESS_KEY_ID \
                    and AWS_SECRET_ACCESS_KEY in the environment";
        warnings.push(text.to_owned());
    }
    Ok(warnings)
}

fn script_of(manifest: &Manifest, text: &str, path: &Path) -> Result<Script, LauncherError> {
    let job = &manifest.spec.job;
    if let Some(sql) = &job.sql {
        let origin = path.display().to_string();
        return Ok(match SqlPlace::find(text, sql) {
            Some(place) => Script { text: sql.clone(), origin, place },
            None => Script {
                text: sql.clone(),
                origin: format!("{origin}: spec.job.sql"),
                place: SqlPlace { lines: 0, columns: 0 },
            },
        });
    }
    if let Some(file) = job.sql_from.as_ref().and_then(|f| f.file.as_ref()) {
        let beside = path.parent().unwrap_or(Path::new("")).join(file);
        let text = std::fs::read_to_string(&beside).map_err(|source| LauncherError::SqlFile {
            manifest: path.display().to_string(),
            path: beside.display().to_string(),
            source,
        })?;
        return Ok(Script::of_file(text, &beside));
    }
    let message = "spec.job has neither sql nor sqlFrom.file: `run` can only run SQL jobs".to_owned();
    Err(manifest_error(text, path, "job", message).into())
}

fn compile_script(
    manifest: &Manifest,
    script: &Script,
    overrides: &Overrides,
    mut warnings: Vec<String>,
) -> Result<CompiledJob, LauncherError> {
    let (connectors, formats) = connectors::descriptors();
    let spec = &manifest.spec;
    let known = known_settings();
    let mut catalog = Catalog {
        connectors,
        formats,
        defaults: under_own_names(&known, spec.job.config_as_text()),
        overrides: under_own_names(&known, overrides.config.clone()),
        settings: known,
    };
    if let Some(mode) = spec.job.mode {
        catalog.defaults.entry(RUNTIME_MODE.to_owned()).or_insert_with(|| mode.name().to_owned());
    }
    if let Some(mode) = overrides.mode {
        catalog.overrides.insert(RUNTIME_MODE.to_owned(), mode.name().to_owned());
    }
    for (key, value) in &overrides.config {
        let note = check_setting(&catalog.settings, key, value);
        warnings.extend(note.map_err(|kind| LauncherError::Option(format!("--set: {kind}")))?);
    }
    let program = streamfleet_sql::compile(&script.text, &catalog).map_err(|mut source| {
        source.position = script.in_file(source.position);
        LauncherError::Sql { origin: script.origin.clone(), source: Box::new(source) }
    })?;
    warnings.extend(
        program.warnings.iter().map(|w| format!("{}: {}: {}", script.origin, script.in_file(w.position), w.text)),
    );
    let Catalog { defaults: mut values, overrides: before_all, .. } = catalog;
    values.extend(program.settings);
    values.extend(before_all);
    let settings = Settings::new(values);

    let mode = settings.mode().unwrap_or(JobMode::Streaming);
    let of_workers = spec.worker.replicas.map(|replicas| replicas.saturating_mul(spec.worker.slots.unwrap_or(1)));
    let parallelism = match overrides.parallelism.or(spec.job.parallelism).or(of_workers) {
        Some(parallelism) => parallelism,
        None => settings
            .number("table.exec.resource.default-parallelism")?
            .or(settings.number("parallelism.default")?)
            .unwrap_or(1),
    };
    let max_parallelism = match spec.job.max_parallelism {
        Some(max) => max,
        None => settings.number("pipeline.max-parallelism")?.unwrap_or(DEFAULT_MAX_PARALLELISM.max(parallelism)),
    };
    if parallelism == 0 || parallelism > max_parallelism.min(MOST_SLOTS) {
        let most = max_parallelism.min(MOST_SLOTS);
        let message = format!("parallelism is {parallelism}: it must be from 1 to {most} in one process");
        return Err(LauncherError::Option(message));
    }
    let batch_mode = mode == JobMode::Batch;
    check_bounded(&program.sinks, batch_mode)?;
    let graph = JobGraph::new(&program.sinks, &|node| match &node.spec {
        OperatorSpec::Scan(scan) => connectors::max_source_parallelism(scan),
        _ => None,
    })?;
    check_tables(&graph, batch_mode)?;
    if !batch_mode {
        warnings.extend(program.sinks.iter().filter_map(|sink| lacks_watermark(sink)));
    }
    // Also finds what would keep an operator from running.
    let state_tables = graph.vertices.iter().map(|v| state_tables(v, batch_mode)).collect::<Result<_, _>>()?;
    let location = overrides.checkpoints.as_deref().or_else(|| settings.text("execution.checkpointing.dir"));
    let location = location.or(spec.snapshots.location.as_deref()).unwrap_or(DEFAULT_LOCATION).to_owned();
    let interval = settings.duration("execution.checkpointing.interval")?.unwrap_or_else(|| spec.snapshots.interval());
    let pause = settings.duration("execution.checkpointing.min-pause")?.unwrap_or_default();
    let retained = settings.number("execution.checkpointing.num-retained")?;
    let restart = RestartStrategy::of(&settings)?;
    warnings.extend(RestartStrategy::ignored(&settings));
    if restart != RestartStrategy::None && interval.is_zero() && !batch_mode {
        warnings.push(
            "a run that failed is begun again from nothing, since execution.checkpointing.interval is 0: what reached sinks \
             that are not exactly-once comes again, and sources that begin at the latest record leave out what came meanwhile"
                .to_owned(),
        );
    }
    let s3 = settings.s3()?;
    if s3.credentials.is_some() {
        warnings.push(
            "s3.secret-key is set: whoever reads the manifest, the script or the command line has it; better set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from a Secret, or use a role"
                .to_owned(),
        );
    }
    Ok(CompiledJob {
        name: manifest.metadata.name.clone(),
        graph,
        state_tables,
        parallelism,
        max_parallelism,
        batch_mode,
        location: place_of(&location)?,
        s3,
        interval: (!interval.is_zero()).then_some(interval.max(pause)),
        timeout: settings.duration("execution.checkpointing.timeout")?.unwrap_or_else(|| spec.snapshots.timeout()),
        retain: retained.map_or_else(|| spec.snapshots.retain(), |n| n as usize),
        idle_timeout: settings.duration("table.exec.source.idle-timeout")?.filter(|t| !t.is_zero()),
        memory_limit: spec.state.memory_limit.as_ref().map(|m| m.value),
        restart,
        warnings,
    })
}

/// A path from a path or a `file:` URI, or a place on S3.
fn place_of(location: &str) -> Result<String, LauncherError> {
    match location.split_once("://") {
        Some(("file", path)) => Ok(path.to_owned()),
        Some(_) if S3Place::parse(location).is_some() => Ok(location.trim_end_matches('/').to_owned()),
        Some(("s3" | "s3a", _)) => {
            let message = format!("{location}: a bucket is needed: s3://bucket/folder");
            Err(LauncherError::Option(message))
        }
        Some((scheme, _)) => {
            let message = format!(
                "{location}: this build stores snapshots in local folders and at s3://bucket/folder, not at `{scheme}://`"
            );
            Err(LauncherError::Option(message))
        }
        None => Ok(location.strip_prefix("file:").unwrap_or(location).to_owned()),
    }
}

/// What is to be said of a sink that waits for a watermark which no source gives.
fn lacks_watermark(sink: &Node) -> Option<String> {
    fn has_watermark(node: &Node) -> bool {
        let gives = matches!(&node.spec, OperatorSpec::Scan(scan) if scan.table.watermark.is_some());
        gives || node.inputs.iter().any(|input| has_watermark(input))
    }
    match &sink.spec {
        OperatorSpec::Sink(spec) if connectors::waits_for_watermark(spec) && !has_watermark(sink) => Some(format!(
            "table {}: its partitions are said to be complete by a watermark, but no table that is read has one: they \
             are so only at the end of the input; declare WATERMARK FOR a time column, or use \
             'sink.partition-commit.trigger' = 'process-time'",
            spec.table.name
        )),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn output_that_waits_for_a_watermark_which_none_gives_is_warned_of() {
        let warnings = |watermark: &str, trigger: &str, mode: JobMode| {
            let script = format!(
                "CREATE TABLE s (a BIGINT, ts TIMESTAMP(3){watermark}) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
                 CREATE TABLE o (a BIGINT, dt STRING) PARTITIONED BY (dt) WITH ('connector' = 'filesystem', 'path' = '/tmp/o',
                   'format' = 'json', 'sink.partition-commit.policy.kind' = 'success-file',
                   'sink.partition-commit.trigger' = '{trigger}');
                 INSERT INTO o SELECT a, DATE_FORMAT(ts, 'yyyy-MM-dd') FROM s;"
            );
            let overrides = Overrides { mode: Some(mode), ..Overrides::default() };
            compile_text("job", &script, Path::new("job.sql"), &overrides).unwrap().warnings
        };
        let told = warnings("", "partition-time", JobMode::Streaming);
        assert!(told.len() == 1 && told[0].starts_with("table o: ") && told[0].contains("WATERMARK FOR"), "{told:?}");
        assert_eq!(warnings(", WATERMARK FOR ts AS ts", "partition-time", JobMode::Streaming), [""; 0]);
        assert_eq!(warnings("", "process-time", JobMode::Streaming), [""; 0]);
        assert_eq!(warnings("", "partition-time", JobMode::Batch), [""; 0], "all are complete at the end");
    }

    #[test]
    fn the_checkpoint_place_is_that_which_goes_before_the_others() {
        let place = |in_manifest: &str, set: &str, overrides: &Overrides| {
            let sql = "CREATE TABLE s (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
                       CREATE TABLE o (a INT) WITH ('connector' = 'print'); INSERT INTO o SELECT a FROM s;";
            let mut manifest = Manifest::for_script("job");
            manifest.spec.snapshots.location = (!in_manifest.is_empty()).then(|| in_manifest.to_owned());
            let script = Script::of_file(format!("{set}{sql}"), Path::new("job.sql"));
            compile_script(&manifest, &script, overrides, Vec::new()).unwrap().location
        };
        let none = Overrides::default();
        let on_command_line = |key: &str| {
            let config = [(key.to_owned(), "line".to_owned())].into();
            Overrides { config, ..Overrides::default() }
        };
        let set = "SET 'execution.checkpointing.dir' = 'script';";
        assert_eq!(place("", "", &none), DEFAULT_LOCATION);
        assert_eq!(place("manifest", "", &none), "manifest");
        assert_eq!(place("manifest", set, &none), "script");
        for key in ["execution.checkpointing.dir", "state.checkpoints.dir"] {
            assert_eq!(place("manifest", set, &on_command_line(key)), "line");
            let both = Overrides { checkpoints: Some("option".to_owned()), ..on_command_line(key) };
            assert_eq!(place("manifest", set, &both), "option");
        }
    }
}

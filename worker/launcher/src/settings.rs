//! The options of a job, under Flink's names: keys of `SET`, of the manifest's `spec.job.config` and of `--set`.

use crate::error::LauncherError;
use crate::restart;
use std::collections::BTreeMap;
use std::time::Duration;
use streamfleet_logical::{OptionKind, OptionSpec, SettingSpec};
use streamfleet_manifest::{JobMode, parse_duration};
use streamfleet_sql::RUNTIME_MODE;
use streamfleet_storage::{Checksum, Encryption, S3Options};

/// A job goes on when S3 is away for no longer than this.
const S3_PATIENCE: Duration = Duration::from_secs(10 * 60);

const fn setting(name: &'static str, kind: OptionKind, default: &'static str, help: &'static str) -> SettingSpec {
    SettingSpec {
        option: OptionSpec { name, kind, required: false, older: "", default, help },
        check: None,
        no_effect: None,
    }
}

const fn no_effect(name: &'static str, kind: OptionKind, why: &'static str) -> SettingSpec {
    SettingSpec { no_effect: Some(why), ..setting(name, kind, "", "") }
}

/// One that had another name in earlier versions of Flink, under which scripts may still set it.
const fn renamed(older: &'static str, spec: SettingSpec) -> SettingSpec {
    SettingSpec { option: OptionSpec { older, ..spec.option }, ..spec }
}

/// Every option that a job takes.
pub fn known_settings() -> Vec<SettingSpec> {
    use OptionKind::{Boolean, Duration, Integer, MemorySize, Number, OneOf, Text};
    const PLANNER: &str = "the planner decides by itself; results are the same";
    vec![
        setting(
            RUNTIME_MODE,
            OneOf(&["streaming", "batch"]),
            "streaming",
            "Results as rows come, or final results of bounded input. `--mode` goes before it.",
        ),
        SettingSpec {
            check: Some(above_zero),
            ..setting("parallelism.default", Integer, "1", "Number of slots, if the manifest names none.")
        },
        SettingSpec {
            check: Some(above_zero),
            ..setting(
                "table.exec.resource.default-parallelism",
                Integer,
                "",
                "Goes before `parallelism.default`, as in Flink.",
            )
        },
        SettingSpec {
            check: Some(key_groups),
            ..setting(
                "pipeline.max-parallelism",
                Integer,
                "720",
                "Number of key groups, the most that the parallelism can grow to. A restart may change it.",
            )
        },
        setting(
            "execution.checkpointing.interval",
            Duration,
            "10 s",
            "Time between checkpoints; 0 for none but the last.",
        ),
        setting(
            "execution.checkpointing.min-pause",
            Duration,
            "0 ms",
            "The least time between checkpoints: what counts if it is longer than the interval, which begins when the checkpoint before is complete.",
        ),
        SettingSpec {
            check: Some(some_time),
            ..setting(
                "execution.checkpointing.timeout",
                Duration,
                "10 min",
                "A checkpoint that takes longer is given up.",
            )
        },
        renamed(
            "state.checkpoints.num-retained",
            SettingSpec {
                check: Some(above_zero),
                ..setting("execution.checkpointing.num-retained", Integer, "3", "Checkpoints that are kept.")
            },
        ),
        renamed(
            "state.checkpoints.dir",
            setting(
                "execution.checkpointing.dir",
                Text,
                "checkpoints",
                "Folder for the job log and checkpoints; a folder per job is made in it. `--checkpoints` goes before it, and it before the manifest's `spec.snapshots.location`.",
            ),
        ),
        renamed(
            "restart-strategy",
            setting(
                restart::TYPE,
                OneOf(restart::STRATEGIES),
                "none",
                "When a run that failed is begun again, in the same process, from its newest checkpoint: never; a number of \
                 times; unless failures come too fast; after pauses that grow.",
            ),
        ),
        SettingSpec {
            check: Some(above_zero),
            ..setting(
                "restart-strategy.fixed-delay.attempts",
                Integer,
                "1",
                "Times that the job is begun again, in all.",
            )
        },
        setting("restart-strategy.fixed-delay.delay", Duration, "1 s", "The pause before."),
        SettingSpec {
            check: Some(above_zero),
            ..setting(
                "restart-strategy.failure-rate.max-failures-per-interval",
                Integer,
                "1",
                "One failure more within the interval ends the job.",
            )
        },
        SettingSpec {
            check: Some(some_time),
            ..setting(
                "restart-strategy.failure-rate.failure-rate-interval",
                Duration,
                "1 min",
                "The time in which failures are counted.",
            )
        },
        setting("restart-strategy.failure-rate.delay", Duration, "1 s", "The pause before the job is begun again."),
        SettingSpec {
            check: Some(some_time),
            ..setting("restart-strategy.exponential-delay.initial-backoff", Duration, "1 s", "The first pause.")
        },
        SettingSpec {
            check: Some(some_time),
            ..setting("restart-strategy.exponential-delay.max-backoff", Duration, "1 min", "The longest pause.")
        },
        SettingSpec {
            check: Some(above_one),
            ..setting(
                "restart-strategy.exponential-delay.backoff-multiplier",
                Number,
                "1.5",
                "Each pause is longer than the one before by this factor.",
            )
        },
        SettingSpec {
            check: Some(a_part),
            ..setting(
                "restart-strategy.exponential-delay.jitter-factor",
                Number,
                "0.1",
                "The part of a pause that chance adds or takes away, so that many jobs do not come back at one moment.",
            )
        },
        SettingSpec {
            check: Some(some_time),
            ..setting(
                "restart-strategy.exponential-delay.reset-backoff-threshold",
                Duration,
                "1 h",
                "After a job has run for so long pauses begin with the first again.",
            )
        },
        SettingSpec {
            check: Some(above_zero),
            ..setting(
                "restart-strategy.exponential-delay.attempts-before-reset-backoff",
                Integer,
                "",
                "Times that the job is begun again before it has run for that long; absent: any number.",
            )
        },
        SettingSpec {
            check: Some(memory_only),
            ..renamed(
                "state.backend",
                setting(
                    "state.backend.type",
                    Text,
                    "hashmap",
                    "Where state lives while the job runs: `hashmap`, in memory.",
                ),
            )
        },
        SettingSpec {
            check: Some(http_url),
            ..setting(
                "s3.endpoint",
                Text,
                "",
                "URL of a server that speaks S3; absent: AWS_ENDPOINT_URL, else Amazon's.",
            )
        },
        setting(
            "s3.region",
            Text,
            "",
            "The buckets' region; absent: AWS_REGION, else the profile's, else `us-east-1`.",
        ),
        renamed(
            "s3.path-style-access",
            setting(
                "s3.path.style.access",
                Boolean,
                "",
                "The bucket's name is in the URL's path, not in its host; absent: if there is an endpoint of one's own. An address as endpoint, not a name, always has it in the path.",
            ),
        ),
        renamed(
            "s3.access.key",
            setting(
                "s3.access-key",
                Text,
                "",
                "Access key; better AWS_ACCESS_KEY_ID, or a role: what a manifest holds is read by many.",
            ),
        ),
        renamed(
            "s3.secret.key",
            setting("s3.secret-key", Text, "", "The access key's secret; better AWS_SECRET_ACCESS_KEY, or a role."),
        ),
        setting(
            "s3.sse.type",
            OneOf(&["none", "sse-s3", "sse-kms"]),
            "none",
            "Encryption by the server: with its own keys, or with one of the key management service.",
        ),
        setting("s3.sse.kms.key-id", Text, "", "The key of `sse-kms`; absent: the account's default key."),
        setting(
            "s3.create.checksum.algorithm",
            OneOf(&["none", "crc32", "crc32c", "sha256"]),
            "none",
            "Checksum that the server checks and keeps of what is uploaded. Not every server that speaks S3 knows them.",
        ),
        setting(
            "table.exec.source.idle-timeout",
            Duration,
            "0 ms",
            "A source, or a part of one, that gives no row for so long holds no watermark back any more; 0 for never.",
        ),
        setting(
            "table.exec.sink.not-null-enforcer",
            OneOf(&["error", "drop"]),
            "error",
            "A row with NULL for a column that the table it goes into declares NOT NULL: the job fails, or the row is left out.",
        ),
        setting(
            "table.exec.sink.upsert-materialize",
            OneOf(&["auto", "none", "force"]),
            "auto",
            "Rows on their way into a table that replaces rows by its primary key are brought together by it, and the one that came last counts: where the query tells its rows apart by other columns, or never, or always.",
        ),
        SettingSpec {
            check: Some(no_expiry),
            ..setting("table.exec.state.ttl", Duration, "0 ms", "Only 0: state that has no bound of its own is kept.")
        },
        SettingSpec {
            check: Some(utc_only),
            ..setting("table.local-time-zone", Text, "UTC", "The zone of TIMESTAMP_LTZ as text: only `UTC`.")
        },
        no_effect(
            "execution.checkpointing.mode",
            OneOf(&["exactly_once", "at_least_once"]),
            "checkpoints are always exactly-once",
        ),
        renamed(
            "execution.checkpointing.unaligned",
            no_effect("execution.checkpointing.unaligned.enabled", Boolean, "barriers are always aligned"),
        ),
        renamed(
            "state.backend.incremental",
            no_effect("execution.checkpointing.incremental", Boolean, "checkpoints are always incremental"),
        ),
        no_effect(
            "execution.checkpointing.externalized-checkpoint-retention",
            Text,
            "the newest checkpoints are always kept, whatever a job's end",
        ),
        no_effect(
            "execution.checkpointing.tolerable-failed-checkpoints",
            Integer,
            "a checkpoint that fails never fails the job",
        ),
        no_effect("execution.checkpointing.max-concurrent-checkpoints", Integer, "there is one at a time"),
        no_effect("pipeline.name", Text, "a job is named by its manifest, or by the name of its script"),
        no_effect("pipeline.object-reuse", Boolean, "rows are columns here, there are no objects to use again"),
        no_effect("table.dml-sync", Boolean, "`run` always waits for the job's end"),
        no_effect("table.exec.mini-batch.enabled", Boolean, "rows are always handled in batches"),
        no_effect("table.exec.mini-batch.allow-latency", Duration, "rows are always handled in batches"),
        no_effect("table.exec.mini-batch.size", Integer, "rows are always handled in batches"),
        no_effect("table.optimizer.agg-phase-strategy", Text, PLANNER),
        no_effect("table.optimizer.distinct-agg.split.enabled", Boolean, PLANNER),
        no_effect("table.optimizer.join-reorder-enabled", Boolean, PLANNER),
        no_effect("table.optimizer.reuse-source-enabled", Boolean, PLANNER),
        no_effect("table.optimizer.reuse-sub-plan-enabled", Boolean, PLANNER),
        no_effect("taskmanager.memory.managed.size", MemorySize, "spec.state.memoryLimit bounds the state's memory"),
        no_effect("taskmanager.numberOfTaskSlots", Integer, "a process has as many slots as the job's parallelism"),
        no_effect("sql-client.execution.result-mode", Text, "a script's queries write into tables"),
        no_effect("sql-client.verbose", Boolean, "errors are always told in full"),
    ]
}

fn above_zero(value: &str) -> Result<(), &'static str> {
    match value.parse() {
        Ok(1..=i64::MAX) => Ok(()),
        _ => Err("it must be 1 or more"),
    }
}

fn above_one(value: &str) -> Result<(), &'static str> {
    match value.parse::<f64>() {
        Ok(factor) if factor > 1.0 && factor.is_finite() => Ok(()),
        _ => Err("it must be above 1"),
    }
}

fn a_part(value: &str) -> Result<(), &'static str> {
    match value.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(()),
        _ => Err("it must be from 0 to 1"),
    }
}

fn some_time(value: &str) -> Result<(), &'static str> {
    match parse_duration(value) {
        Ok(time) if !time.is_zero() => Ok(()),
        _ => Err("it must be above zero"),
    }
}

fn key_groups(value: &str) -> Result<(), &'static str> {
    match value.parse() {
        Ok(1..=32_768) => Ok(()),
        _ => Err("it must be from 1 to 32768"),
    }
}

fn http_url(value: &str) -> Result<(), &'static str> {
    let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://")).unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let is_one = !host.is_empty() && !host.starts_with(':') && !host.contains(char::is_whitespace);
    if is_one { Ok(()) } else { Err("it is a URL: http://HOST:PORT or https://HOST:PORT") }
}

fn memory_only(value: &str) -> Result<(), &'static str> {
    match value.to_lowercase().as_str() {
        "hashmap" => Ok(()),
        _ => Err("this build keeps state in memory only: `hashmap`"),
    }
}

fn no_expiry(value: &str) -> Result<(), &'static str> {
    match parse_duration(value) {
        Ok(time) if time.is_zero() => Ok(()),
        _ => Err("state does not expire in this build; leave the option out, or bound the state by a window"),
    }
}

fn utc_only(value: &str) -> Result<(), &'static str> {
    match value.to_uppercase().as_str() {
        "UTC" | "Z" | "GMT" | "ETC/UTC" | "+00:00" | "UTC+0" | "GMT+0" => Ok(()),
        _ => Err("times are shown in UTC in this build; convert in the query"),
    }
}

/// What was set, by key; every value was checked against [`known_settings`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    pub const fn new(values: BTreeMap<String, String>) -> Self {
        Self { values }
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// What was set.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A whole number that fits.
    ///
    /// # Errors
    /// It is too great.
    pub fn number(&self, key: &str) -> Result<Option<u32>, LauncherError> {
        let parse = |v: &str| v.parse().map_err(|_| LauncherError::Option(format!("{key} is `{v}`: it is too great")));
        self.text(key).map(parse).transpose()
    }

    /// A span of time.
    ///
    /// # Errors
    /// It is none.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, LauncherError> {
        let parse = |v: &str| parse_duration(v).map_err(|e| LauncherError::Option(format!("{key}: {e}")));
        self.text(key).map(parse).transpose()
    }

    /// How to reach S3.
    ///
    /// # Errors
    /// Options that go together are not all there.
    pub fn s3(&self) -> Result<S3Options, LauncherError> {
        let text = |key| self.text(key).map(str::to_owned);
        let credentials = match (text("s3.access-key"), text("s3.secret-key")) {
            (Some(key), Some(secret)) => Some((key, secret)),
            (None, None) => None,
            _ => {
                let message = "s3.access-key and s3.secret-key go together: give both, or better neither, and set \
                               AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                return Err(LauncherError::Option(message.to_owned()));
            }
        };
        let key = text("s3.sse.kms.key-id");
        let kind = self.text("s3.sse.type").unwrap_or("none").to_lowercase();
        if key.is_some() && kind != "sse-kms" {
            let message = "s3.sse.kms.key-id is the key of 's3.sse.type' = 'sse-kms': set that too";
            return Err(LauncherError::Option(message.to_owned()));
        }
        Ok(S3Options {
            endpoint: text("s3.endpoint"),
            region: text("s3.region"),
            path_style: self.text("s3.path.style.access").map(|v| v.eq_ignore_ascii_case("true")),
            credentials,
            encryption: match kind.as_str() {
                "sse-s3" => Some(Encryption::Aes256),
                "sse-kms" => Some(Encryption::Kms { key }),
                _ => None,
            },
            checksum: match self.text("s3.create.checksum.algorithm").unwrap_or("none").to_lowercase().as_str() {
                "crc32" => Some(Checksum::Crc32),
                "crc32c" => Some(Checksum::Crc32c),
                "sha256" => Some(Checksum::Sha256),
                _ => None,
            },
            patience: S3_PATIENCE,
        })
    }

    /// `execution.runtime-mode`.
    pub fn mode(&self) -> Option<JobMode> {
        let text = self.text(RUNTIME_MODE)?;
        Some(if text.eq_ignore_ascii_case("batch") { JobMode::Batch } else { JobMode::Streaming })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use std::collections::BTreeSet;
    use streamfleet_sql::{check_setting, under_own_names};

    /// `docs/configuration.md`: every option with its kind, default and meaning.
    fn configuration_page() -> String {
        let mut page = String::from(
            "# Configuration\n\n\
             Options of a job, under Flink's names. They are given by `SET 'key' = 'value';` in the script, in the manifest's\n\
             `spec.job.config`, or on the command line as `--set key=value`; the command line goes before the script, the script\n\
             before the manifest's `config`. An unknown option is refused with the nearest known name. This page is generated from\n\
             the declarations; a test compares the two.\n\n\
             | option | value | default | meaning |\n|---|---|---|---|\n",
        );
        let known = known_settings();
        for spec in known.iter().filter(|s| s.no_effect.is_none()) {
            let OptionSpec { name, kind, default, help, older, .. } = &spec.option;
            let older = if older.is_empty() { String::new() } else { format!(" Once `{older}`, which is taken too.") };
            page.push_str(&format!("| `{name}` | {kind} | `{default}` | {help}{older} |\n").replace("| `` |", "| |"));
        }
        page.push_str(
            "\nTaken so that scripts written for Flink run, and without effect; `run` and `validate` say so in a warning:\n\n\
             | option | why it has no effect |\n|---|---|\n",
        );
        for spec in &known {
            if let Some(why) = spec.no_effect {
                page.push_str(&format!("| `{}` | {why} |\n", spec.option.name));
            }
        }
        page
    }

    /// With `STREAMFLEET_WRITE_DOCS` set, writes the page instead.
    #[test]
    fn the_page_says_what_is_declared() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("STREAMFLEET_WRITE_DOCS").is_some() {
            std::fs::write(path, configuration_page()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page == configuration_page(),
            "docs/configuration.md is old: run this test with STREAMFLEET_WRITE_DOCS=1"
        );
    }

    #[test]
    fn no_option_is_declared_twice_and_defaults_are_usable() {
        let known = known_settings();
        let older = known.iter().map(|s| s.option.older).filter(|older| !older.is_empty());
        let names: Vec<&str> = known.iter().map(|s| s.option.name).chain(older).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for spec in known.iter().filter(|s| !s.option.default.is_empty()) {
            check_setting(&known, spec.option.name, spec.option.default).unwrap();
        }
    }

    #[test]
    fn options_are_taken_under_the_names_that_they_had() {
        let known = known_settings();
        let own = |values: &[(&str, &str)]| {
            values.iter().for_each(|(key, value)| assert!(check_setting(&known, key, value).is_ok(), "{key}"));
            let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            under_own_names(&known, values.collect())
        };
        let found = own(&[("state.checkpoints.dir", "a"), ("restart-strategy", "none"), ("s3.region", "r")]);
        let expected = [("execution.checkpointing.dir", "a"), ("restart-strategy.type", "none"), ("s3.region", "r")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let found = own(&[("execution.checkpointing.dir", "b"), ("state.checkpoints.dir", "a")]);
        assert_eq!(found, [("execution.checkpointing.dir".to_owned(), "b".to_owned())].into());
        let error = check_setting(&known, "state.backend", "rocksdb").unwrap_err().to_string();
        assert!(error.starts_with("option 'state.backend' = 'rocksdb': this build keeps state in memory"), "{error}");
    }

    #[test]
    fn options_of_s3_go_together() {
        let s3 = |values: &[(&str, &str)]| {
            Settings::new(values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).s3()
        };
        let refused = |values: &[(&str, &str)]| s3(values).unwrap_err().to_string();
        assert!(refused(&[("s3.access-key", "a")]).contains("s3.access-key and s3.secret-key go together"));
        let error = refused(&[("s3.secret-key", "hidden")]);
        assert!(error.contains("go together") && !error.contains("hidden"), "{error}");
        assert!(refused(&[("s3.sse.kms.key-id", "k")]).contains("'s3.sse.type' = 'sse-kms': set that too"));
        let options = s3(&[
            ("s3.endpoint", "http://host"),
            ("s3.path.style.access", "TRUE"),
            ("s3.sse.type", "SSE-KMS"),
            ("s3.sse.kms.key-id", "k"),
            ("s3.create.checksum.algorithm", "CRC32C"),
        ]);
        let expected = S3Options {
            endpoint: Some("http://host".to_owned()),
            path_style: Some(true),
            encryption: Some(Encryption::Kms { key: Some("k".to_owned()) }),
            checksum: Some(Checksum::Crc32c),
            patience: S3_PATIENCE,
            ..S3Options::default()
        };
        assert_eq!(options.unwrap(), expected);
    }

    #[test]
    fn what_a_job_cannot_do_is_refused() {
        let cases = [
            ("paralelism.default", "2", "no option `paralelism.default` of a job; did you mean `parallelism.default`?"),
            ("parallelism.default", "two", "option 'parallelism.default' = 'two': it takes a whole number"),
            ("parallelism.default", "0", "option 'parallelism.default' = '0': it must be 1 or more"),
            ("pipeline.max-parallelism", "40000", "it must be from 1 to 32768"),
            ("execution.runtime-mode", "bath", "it is one of streaming, batch"),
            ("s3.endpoint", "127.0.0.1:9000", "it is a URL: http://HOST:PORT or https://HOST:PORT"),
            ("s3.endpoint", "https://:9000", "it is a URL"),
            ("state.backend.type", "rocksdb", "this build keeps state in memory only"),
            ("table.exec.state.ttl", "1 d", "state does not expire in this build"),
            ("table.local-time-zone", "Europe/Berlin", "times are shown in UTC in this build"),
            ("execution.checkpointing.interval", "soon", "`soon` is no duration"),
        ];
        for (key, value, message) in cases {
            let error = check_setting(&known_settings(), key, value).unwrap_err().to_string();
            assert!(error.contains(message), "{key}={value}: {error}");
        }
        let note = check_setting(&known_settings(), "table.exec.mini-batch.enabled", "true").unwrap().unwrap();
        assert_eq!(
            note,
            "option 'table.exec.mini-batch.enabled' has no effect here: rows are always handled in batches"
        );
        assert_eq!(check_setting(&known_settings(), "execution.runtime-mode", "BATCH").unwrap(), None);
    }
}

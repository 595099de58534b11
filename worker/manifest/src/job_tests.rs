use super::*;

const GOOD: &str = "\
apiVersion: streamfleet.io/v1alpha1
kind: StreamJob
metadata: {name: flight-delays}
spec:
  job:
    sql: SELECT 1
    mode: batch
    parallelism: 4
    config: {table.exec.state.ttl: 1 d, parallelism.default: 3}
  snapshots:
    interval: 5s
    retain: 2
  state: {backend: memory, memoryLimit: 1Gi}
";

#[test]
fn reads_a_manifest() {
    let manifest = Manifest::parse(GOOD, "job.yaml").expect("good");
    assert_eq!(manifest.spec.job.mode, Some(JobMode::Batch));
    assert_eq!(manifest.spec.snapshots.interval(), Duration::from_secs(5));
    assert_eq!(manifest.spec.snapshots.timeout(), Duration::from_secs(600));
    assert_eq!(manifest.spec.state.memory_limit.map(|m| m.value), Some(1 << 30));
    assert_eq!(manifest.spec.job.config_as_text()["parallelism.default"], "3");
}

#[test]
fn says_what_is_wrong_and_where() {
    let cases = [
        (
            "parallelism: 4",
            "paralelism: 4",
            "job.yaml: line 8, column 5: spec.job: unknown field `paralelism`, did you mean `parallelism`?",
        ),
        (
            "parallelism: 4",
            "parallelism: 0",
            "job.yaml: line 8, column 5: parallelism is 0: it must be from 1 to maxParallelism, 32768",
        ),
        (
            "mode: batch",
            "mode: bath",
            "job.yaml: line 7, column 11: spec.job.mode: unknown variant `bath`, did you mean `batch`?",
        ),
        (
            "interval: 5s",
            "interval: soon",
            "job.yaml: line 11, column 5: spec.snapshots: `soon` is no duration: write a number and a unit, such as `10 s` or `1 min`",
        ),
        (
            "name: flight-delays",
            "name: Flight",
            "job.yaml: line 3, column 12: metadata.name is `Flight`: use lower-case letters, digits and `-`, at most 63",
        ),
        (
            "sql: SELECT 1",
            "sqlFrom: {file: a.sql}\n    sql: x",
            "job.yaml: line 5, column 3: spec.job needs exactly one of sql, sqlFrom and program",
        ),
        ("kind: StreamJob", "kind: Job", "job.yaml: line 2, column 1: kind is `Job`: expected `StreamJob`"),
        (
            "v1alpha1",
            "v9",
            "job.yaml: line 1, column 1: apiVersion is `streamfleet.io/v9`: this build knows `streamfleet.io/v1alpha1`",
        ),
    ];
    for (good, bad, expected) in cases {
        let text = GOOD.replacen(good, bad, 1);
        let error = Manifest::parse(&text, "job.yaml").expect_err(bad);
        assert_eq!(error.to_string(), expected);
    }
    let error = Manifest::parse("kind: [", "job.yaml").expect_err("no YAML");
    assert!(error.line > 0, "{error}");
}

use super::*;
use streamfleet_types::log::{LogRecord, OperatorWatermark, Outcome, Snapshot, SplitPosition, StateFile, Transaction};
use streamfleet_types::{Epoch, HashRange, OperatorId, Run, Term};

/// One record of every kind, as version 1 writes them. Never changed: a released version is read for ever.
const GOLDEN: &str = include_str!("../golden/log-v1.jsonl");

fn snapshot() -> Box<Snapshot> {
    let operator = |name: &str| OperatorId(name.to_owned());
    Box::new(Snapshot {
        epoch: Epoch(3),
        parallelism: 2,
        max_parallelism: 720,
        fingerprint: "f00d".to_owned(),
        files: vec![StateFile {
            path: "data/u-1-00000001-0-000000-0.state".to_owned(),
            epoch: Epoch(3),
            range: HashRange { first: 0, last: u64::MAX / 2 },
            bytes: 120,
            rows: 4,
        }],
        positions: vec![SplitPosition {
            operator: operator("scan-1"),
            split: "in/a.json".to_owned(),
            position: serde_json::json!({"offset": 17}),
            watermark: -5,
            finished: false,
        }],
        transactions: vec![Transaction {
            operator: operator("sink-1"),
            handle: serde_json::json!({"from": "out/.p.inprogress", "to": "out/p.json"}),
            // As earlier releases wrote it.
            epoch: None,
        }],
        watermarks: vec![OperatorWatermark { operator: operator("join-1"), watermark: 1_700_000_000_000 }],
    })
}

#[test]
fn records_of_every_version_are_read() {
    let start = |base, base_committed| LogRecord::Start { fingerprint: "f00d".to_owned(), base, base_committed };
    let end = |outcome, reason: &str| LogRecord::End { outcome, reason: reason.to_owned() };
    let expected = [
        start(None, true),
        start(Some(snapshot()), false),
        LogRecord::Claim { address: "host process 1".to_owned() },
        LogRecord::Complete { snapshot: snapshot() },
        LogRecord::Abort { epoch: Epoch(4), reason: "not complete after 10s".to_owned() },
        LogRecord::Committed { epoch: Epoch(3) },
        LogRecord::Retire { epoch: Epoch(2) },
        end(Outcome::Finished, ""),
        end(Outcome::Stopped, ""),
        end(Outcome::Cancelled, ""),
        end(Outcome::Failed, "disk full"),
    ];
    assert_eq!(GOLDEN.lines().count(), expected.len());
    for ((number, line), record) in (0..).zip(GOLDEN.lines()).zip(expected) {
        let entry = LogEntry {
            version: 1,
            job: "j".to_owned(),
            uid: "u".to_owned(),
            nonce: u64::MAX - number,
            run: Run(2),
            term: Term(3),
            written_at_ms: 1_700_000_000_000,
            record,
        };
        assert_eq!(parse_entry("log/1", line.as_bytes()).expect("a known record"), entry);
        let golden: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(serde_json::to_value(&entry).expect("string keys"), golden, "what is written has not changed");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let newer = GOLDEN.lines().next().expect("a record").replace("\"version\": 1", "\"version\": 2");
    let error = parse_entry("log/7", newer.as_bytes()).expect_err("a newer version").to_string();
    assert!(error.contains("log/7 has version 2"), "{error}");
    let error = parse_entry("log/8", b"{\"version\": 1").expect_err("cut").to_string();
    assert!(error.contains("log/8 is damaged"), "{error}");
}

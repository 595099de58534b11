//! Which files are found, and when.

use super::*;

#[test]
fn only_files_that_match_are_read() {
    let storage = Arc::new(Memory::default());
    for (path, id) in
        [("in/a.json", 1), ("in/b.json", 2), ("in/sub/b.json", 3), ("in/b.json.bak", 4), ("in/.b.json", 5)]
    {
        put(&storage, path, format!("{{\"id\":{id}}}\n"));
    }
    for (pattern, expected) in [("in/.*b\\.json", &[2, 3][..]), ("b\\.json", &[]), ("in/a.*|in/b.json.bak", &[1, 4])] {
        let table = table(&[("path", "in"), ("format", "json"), ("source.path.regex-pattern", pattern)]);
        let found = read(&mut started(source_of(&storage, &table, 100)));
        match found {
            Ok(batches) => assert_eq!(ids(&batches), expected, "{pattern}"),
            Err(error) => {
                assert!(expected.is_empty() && error.to_string().contains("there is no file at in"), "{error}")
            }
        }
    }
}

/// A subtask of a monitoring source.
fn monitoring(storage: &Arc<Memory>, clock: &Arc<StepClock>, (subtask, parallelism): (u32, u32)) -> FileSource {
    let table = table(&[("path", "in"), ("format", "json"), ("source.monitor-interval", "10 s")]);
    let spec = ScanSpec::whole(table).expect("names differ");
    let context = SourceContext {
        files: Arc::clone(storage) as Arc<dyn Storage>,
        ..crate::testing::context(subtask, parallelism, clock)
    };
    assert!(!is_bounded(&spec).expect("sound"));
    FileSource::new(&spec, context).expect("a sound table")
}

/// What a source gives until it waits for time to pass; and how long it wants to wait.
fn until_wait(source: &mut FileSource) -> (Vec<i64>, Duration) {
    use streamfleet_dataflow::Source;
    let mut found = Vec::new();
    loop {
        match source.poll().expect("readable") {
            SourceStatus::Rows(rows) => {
                found.extend(rows.batch.records().column(0).as_primitive::<Int64Type>().values());
            }
            SourceStatus::Waiting(Some(time)) => return (found, time),
            SourceStatus::Ended => panic!("a monitored folder has no end"),
            SourceStatus::Waiting(None) | SourceStatus::SplitEnded(_) => {}
        }
    }
}

#[test]
fn a_monitored_folder_gives_its_new_files_once() {
    let storage = Arc::new(Memory::default());
    let clock: Arc<StepClock> = Arc::default();
    let file = |id: i64| put(&storage, &format!("in/{id:03}"), format!("{{\"id\":{id}}}\n"));
    let mut source = started(monitoring(&storage, &clock, (0, 1)));
    assert_eq!(until_wait(&mut source), (vec![], Duration::from_secs(10)), "an empty folder may fill");
    file(2);
    clock.now.store(9_999, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source), (vec![], Duration::from_millis(1)));
    clock.now.store(10_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source).0, [2]);
    file(1);
    file(3);
    put(&storage, "in/002", "{\"id\":2}\n{\"id\":22}\n");
    clock.now.store(30_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(until_wait(&mut source).0, [1, 3], "what was read is not read again, though it grew");
}

#[test]
fn a_monitored_folder_is_restored_at_any_parallelism() {
    use streamfleet_dataflow::Source;
    let storage = Arc::new(Memory::default());
    let clock: Arc<StepClock> = Arc::default();
    let file = |id: i64| put(&storage, &format!("in/{id:03}"), format!("{{\"id\":{id}}}\n").repeat(2));
    (0..40).for_each(file);
    let mut state = Vec::new();
    let mut all = Vec::new();
    // Each of two subtasks reads some files; the first stops in the middle.
    for subtask in 0..2 {
        let mut source = started(monitoring(&storage, &clock, (subtask, 2)));
        for _ in 0..if subtask == 0 { 20 } else { 1000 } {
            if let SourceStatus::Rows(rows) = source.poll().expect("readable") {
                all.extend_from_slice(rows.batch.records().column(0).as_primitive::<Int64Type>().values());
            }
        }
        state.extend(source.splits());
    }
    assert!(all.len() < 80 && state.len() == 40);
    (40..60).for_each(file);
    // Three go on: splits are dealt as the source says, and every new file has one reader.
    for subtask in 0..3 {
        let mut source = monitoring(&storage, &clock, (subtask, 3));
        let mine = state.iter().filter(|s| source.owner(&s.name) == Some(subtask)).cloned().collect();
        source.restore(mine).expect("its own positions");
        all.extend(until_wait(&mut source).0);
    }
    all.sort_unstable();
    assert_eq!(all, (0..60).flat_map(|id| [id, id]).collect::<Vec<_>>());
}

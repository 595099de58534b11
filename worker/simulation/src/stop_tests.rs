//! A stop while brokers do not answer.

use super::*;
use crate::storage::Fate;
use crate::{SimRecord, SimTopic};
use streamfleet_launcher::JobMode;

const SCRIPT: &str = "
    CREATE TABLE a (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 'in', 'format' = 'json',
        'properties.bootstrap.servers' = 'b:1', 'scan.startup.mode' = 'earliest-offset');
    CREATE TABLE b (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 'out', 'format' = 'json',
        'properties.bootstrap.servers' = 'b:1');
    INSERT INTO b SELECT id FROM a;";

fn job() -> SimJob {
    let record = |n: i32| SimRecord { partition: n % 2, value: format!("{{\"id\": {n}}}"), is_aborted: false };
    let topic = |name: &str, records| SimTopic { name: name.to_owned(), partitions: 2, records, is_compacted: false };
    let job = SimJob::new(SCRIPT, JobMode::Streaming, Vec::new(), "out/").expect("the script compiles");
    let topics = vec![topic("in", (0..20).map(record).collect()), topic("out", Vec::new())];
    // The only checkpoint is the last one.
    SimJob { interval: Duration::from_secs(3600), ..job.with_topics(topics) }
}

/// A process whose storage answers, and whose brokers answer so many times.
struct Trial<'a> {
    process: Process<'a>,
    clock: Arc<SimClock>,
    storage: SimStorage,
    kafka: SimKafka,
    random: Random,
    answers: u64,
}

impl Trial<'_> {
    /// Runs for so long, or to the end.
    fn run(&mut self, time: Duration) {
        let until = self.clock.monotonic() + time;
        let mut quiet = 0;
        while self.process.ending.is_none() && self.clock.monotonic() < until {
            let now = self.clock.monotonic();
            let mut moved = self.storage.serve(now, &[1], &mut self.random, |_, _| Fate::Served).is_some();
            if self.answers > 0 && self.kafka.serve(now, &[1], &mut self.random, |_| Fate::Served).is_some() {
                self.answers -= 1;
                moved = true;
            }
            if moved {
                self.process.stir();
            }
            moved |= self.process.step(&mut self.random) == Moved::Yes;
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet > 20 && self.process.is_idle() {
                self.clock.advance_to(now + Duration::from_millis(1));
                self.process.stir();
                quiet = 0;
            }
        }
    }

    fn rows(&self, of_sinks: bool) -> u64 {
        let metrics: Vec<_> = self.process.slots.iter().map(Slot::metrics).collect();
        let tasks = metrics.iter().flat_map(|slot| &slot.tasks);
        let which = tasks.filter(|task| if of_sinks { task.is_sink } else { task.is_source });
        which.map(|task| task.rows_in.load(Ordering::Relaxed)).sum()
    }

    fn recorded(&self) -> LogRecord {
        let log = self.storage.objects("job/log/");
        let (_, bytes) = log.last().expect("there is a record");
        serde_json::from_slice::<LogEntry>(bytes).expect("it can be read").record
    }
}

#[test]
fn a_stop_waits_for_no_broker_until_rows_were_taken() {
    let job = job();
    let (mut without_source, mut without_sink, mut taken) = (0, 0, 0);
    for answers in 0..24 {
        let (clock, storage, kafka) = (Arc::<SimClock>::default(), job.storage(), job.kafka());
        let delay = Arc::new(AtomicU64::new(1_000));
        let process = Process::start(1, &job, 2, Arc::clone(&clock), &storage, &kafka, delay, answers, None);
        let mut trial = Trial { process, clock, storage, kafka, random: Random::new(answers), answers };
        trial.run(Duration::from_millis(200));
        assert!(trial.process.ending.is_none(), "it runs");
        let (read, written) = (trial.rows(false), trial.rows(true));
        trial.process.stop();
        // Longer than it waits for whoever is to take its first rows.
        trial.run(Duration::from_secs(6));
        if written > 0 {
            taken += 1;
            continue;
        }
        *(if read == 0 { &mut without_source } else { &mut without_sink }) += 1;
        let at = format!("after {answers} answers, {read} rows read: {}", trial.process.describe());
        assert_eq!(trial.process.ending, Some(Ending::Ended(Outcome::Stopped)), "{at}");
        assert!(matches!(trial.recorded(), LogRecord::End { outcome: Outcome::Stopped, .. }), "{at}");
    }
    assert!(without_source > 2 && without_sink > 1 && taken > 0, "{without_source} {without_sink} {taken}");
}

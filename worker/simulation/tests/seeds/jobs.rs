//! The jobs that are simulated.

use streamfleet_launcher::JobMode;
use streamfleet_simulation::{SimJob, SimRecord, SimTopic};

/// Files of orders, one after the other in event time.
const FILES: u64 = 15;

fn customer_of(order: u64) -> u64 {
    order * 7 % 13
}

/// The orders of one file.
fn orders(file: u64) -> Vec<u8> {
    let mut text = String::new();
    for n in file * 900 / FILES..(file + 1) * 900 / FILES {
        let time = format!("2024-01-01 00:{:02}:{:02}", n / 60, n % 60);
        let line =
            format!("{{\"id\":{n},\"customer\":{},\"amount\":{},\"ts\":\"{time}\"}}\n", customer_of(n), n * n % 101);
        text.push_str(&line);
    }
    text.into_bytes()
}

fn customers() -> Vec<u8> {
    (0..12).map(|n| format!("{{\"id\":{n},\"name\":\"customer {n}\"}}\n")).collect::<String>().into_bytes()
}

/// What both jobs do with their tables.
const QUERIES: &str = "
        CREATE VIEW sums AS
            SELECT window_start, window_end, customer, COUNT(*) AS orders, SUM(amount) AS amount
            FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
            GROUP BY window_start, window_end, customer;
        INSERT INTO totals SELECT s.window_end, c.name, s.orders, s.amount FROM sums AS s JOIN customers AS c ON s.customer = c.id;
        INSERT INTO best SELECT window_end, place, customer, amount FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY amount DESC, customer) AS place FROM sums)
            WHERE place <= 3;
        INSERT INTO copy SELECT id, customer FROM orders WHERE amount > 10;
";

/// A window aggregate joined with a table, a top-N per window, and a plain copy: three sinks, keyed state of three kinds.
pub fn between_files(mode: JobMode) -> SimJob {
    const TABLES: &str = "
        CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3),
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
            WITH ('connector' = 'filesystem', 'path' = 'in/orders', 'format' = 'json');
        CREATE TABLE customers (id BIGINT, name STRING)
            WITH ('connector' = 'filesystem', 'path' = 'in/customers.json', 'format' = 'json');
        CREATE TABLE totals (ends TIMESTAMP(3), name STRING, orders BIGINT, amount BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/totals', 'format' = 'json');
        CREATE TABLE best (ends TIMESTAMP(3), place BIGINT, customer BIGINT, amount BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/best', 'format' = 'json');
        CREATE TABLE copy (id BIGINT, customer BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/copy', 'format' = 'json');";
    let script = format!("{TABLES}{QUERIES}");
    let mut input = vec![("in/customers.json".to_owned(), customers())];
    input.extend((0..FILES).map(|file| (format!("in/orders/{file:02}.json"), orders(file))));
    SimJob::new(&script, mode, input, "out/").expect("the script compiles")
}

/// Orders in a folder for every five minutes, which several subtasks write; the watermark says when it is complete.
pub fn into_partitions() -> SimJob {
    into_partitions_with("")
}

/// The same; the small files of all subtasks are merged before they show.
pub fn into_merged_partitions() -> SimJob {
    into_partitions_with("'auto-compaction' = 'true', 'compaction.file-size' = '1 kb', ")
}

fn into_partitions_with(options: &str) -> SimJob {
    let script = format!(
        "
        CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3),
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
            WITH ('connector' = 'filesystem', 'path' = 'in/orders', 'format' = 'json');
        CREATE TABLE filed (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3), from_minute BIGINT)
            PARTITIONED BY (from_minute)
            WITH ('connector' = 'filesystem', 'path' = 'out/filed', 'format' = 'json', {options}
                'sink.partition-commit.policy.kind' = 'success-file',
                'sink.partition-commit.trigger' = 'partition-time',
                'sink.partition-commit.delay' = '5 min',
                'partition.time-extractor.timestamp-pattern' = '2024-01-01 00:$from_minute:00');
        INSERT INTO filed SELECT id, customer, amount, ts, EXTRACT(MINUTE FROM ts) / 5 * 5 FROM orders;"
    );
    let input = (0..FILES).map(|file| (format!("in/orders/{file:02}.json"), orders(file)));
    SimJob::new(&script, JobMode::Streaming, input.collect(), "out/").expect("the script compiles")
}

/// Partitions of the topics that are read.
const PARTITIONS: i32 = 3;

/// `partition_of` takes a record's number.
pub fn topic(name: &str, values: impl Iterator<Item = String>, partition_of: impl Fn(u64) -> u64) -> SimTopic {
    let mut records = Vec::new();
    for (number, value) in values.enumerate() {
        let partition = (partition_of(number as u64) % PARTITIONS as u64) as i32;
        // Between them lie records of transactions that were aborted.
        if number % 7 == 3 {
            records.push(SimRecord { partition, value: "aborted".to_owned(), is_aborted: true });
        }
        records.push(SimRecord { partition, value, is_aborted: false });
    }
    SimTopic { name: name.to_owned(), partitions: PARTITIONS, records, is_compacted: false }
}

pub fn written_topic(name: &str, is_compacted: bool) -> SimTopic {
    SimTopic { name: name.to_owned(), partitions: 2, records: Vec::new(), is_compacted }
}

fn lines(bytes: Vec<u8>) -> Vec<String> {
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// All that is committed.
pub const READ: &str = "'connector' = 'kafka', 'properties.bootstrap.servers' = 'broker:9092', \
    'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', \
    'properties.isolation.level' = 'read_committed'";

/// The same between topics: committed records are read, three sinks write in transactions and one writes files, with
/// one checkpoint for both.
pub fn between_topics() -> SimJob {
    const WRITE: &str = "'connector' = 'kafka', 'properties.bootstrap.servers' = 'broker:9092', \
        'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once'";
    let script = format!(
        "CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3),
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ({READ}, 'format' = 'json', 'topic' = 'orders');
        CREATE TABLE customers (id BIGINT, name STRING) WITH ({READ}, 'format' = 'json', 'topic' = 'customers');
        CREATE TABLE totals (ends TIMESTAMP(3), name STRING, orders BIGINT, amount BIGINT)
            WITH ({WRITE}, 'topic' = 'totals', 'key.fields' = 'name;ends');
        CREATE TABLE best (ends TIMESTAMP(3), place BIGINT, customer BIGINT, amount BIGINT)
            WITH ({WRITE}, 'topic' = 'best', 'key.fields' = 'ends');
        CREATE TABLE copy (id BIGINT, customer BIGINT)
            WITH ({WRITE}, 'topic' = 'copy', 'key.fields' = 'customer');
        CREATE TABLE filed (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/filed', 'format' = 'json');
        {QUERIES}
        INSERT INTO filed SELECT id FROM orders WHERE amount <= 10;"
    );
    let written = ["totals", "best", "copy"];
    let empty = written.map(|name| written_topic(name, false));
    let mut topics = vec![
        // A customer's orders lie in one partition, in order.
        topic("orders", (0..FILES).flat_map(|file| lines(orders(file))), customer_of),
        topic("customers", lines(customers()).into_iter(), |number| number),
    ];
    topics.extend(empty);
    let job = SimJob::new(&script, JobMode::Streaming, Vec::new(), "out/").expect("the script compiles");
    job.with_topics(topics)
}

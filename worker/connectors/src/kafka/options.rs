//! The options of a table over Kafka.

use super::client::{Partitioner, Properties, Topics};
use super::columns::{list, millis};
use super::properties;
use crate::options::{self, bad};
use regex::Regex;
use std::collections::BTreeMap;
use std::time::Duration;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

/// Flink looks for new partitions so often.
const DISCOVERY: Duration = Duration::from_secs(300);

/// librdkafka takes no smaller `fetch.max.bytes` than its `message.max.bytes`, which is this.
const LEAST_FETCH: u64 = 1_000_000;

/// The most that brokers take for a topic's name.
const MOST_TOPIC_CHARS: usize = 249;

/// The brokers' own limit, unless they were told another.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(900);

/// Where reading begins, or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Earliest,
    Latest,
    Group,
    Timestamp(i64),
    /// Offsets by partition; other partitions count as without one.
    Specific(BTreeMap<i32, i64>),
}

/// What is read when the group has committed no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    Fail,
}

/// How a table is read.
#[derive(Debug, Clone)]
pub(super) struct ReadOptions {
    pub topics: Topics,
    pub properties: Properties,
    pub startup: Bound,
    pub reset: Reset,
    /// `None`: it never ends.
    pub bounded: Option<Bound>,
    /// `None`: new partitions are not looked for.
    pub discovery: Option<Duration>,
    /// The user named a group, and it is told how far every complete checkpoint has come.
    pub tells_group: bool,
    /// A topic that was deleted and made anew is read on from the same offsets.
    pub continues_recreated: bool,
}

impl ReadOptions {
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let mut properties = properties::of(table)?;
        properties.entry("isolation.level".to_owned()).or_insert_with(|| "read_uncommitted".to_owned());
        properties.entry("group.id".to_owned()).or_insert_with(|| "streamfleet".to_owned());
        // A subtask holds what it fetched ahead; the defaults are for a client that has the machine for itself.
        properties.entry("queued.max.messages.kbytes".to_owned()).or_insert_with(|| "16384".to_owned());
        properties.entry("fetch.queue.backoff.ms".to_owned()).or_insert_with(|| "5".to_owned());
        for (key, value) in
            [("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("auto.offset.reset", "error")]
        {
            properties.insert(key.to_owned(), value.to_owned());
        }
        // The most that a writer of the table sends would else raise what one fetch holds, and refuse a smaller one.
        properties.remove("message.max.bytes");
        let fetched = properties.get("fetch.max.bytes").and_then(|text| text.parse::<u64>().ok());
        if let Some(bytes) = fetched.filter(|bytes| *bytes < LEAST_FETCH) {
            properties.insert("message.max.bytes".to_owned(), bytes.to_string());
        }
        // The whole topic makes the table.
        let default = if table.connector() == "upsert-kafka" { "earliest-offset" } else { "group-offsets" };
        let topics = topics(table)?;
        let startup = match table.option("scan.startup.mode").unwrap_or(default) {
            "earliest-offset" => Bound::Earliest,
            "latest-offset" => Bound::Latest,
            "group-offsets" => Bound::Group,
            "timestamp" => Bound::Timestamp(millis(table, "scan.startup.timestamp-millis")?),
            "specific-offsets" => Bound::Specific(specific(table, &topics, "scan.startup.specific-offsets")?),
            _ => {
                let detail = "it is earliest-offset, latest-offset, group-offsets, timestamp or specific-offsets";
                return Err(bad(table, "scan.startup.mode", detail));
            }
        };
        let bounded = match table.option("scan.bounded.mode").unwrap_or("unbounded") {
            "unbounded" => None,
            "latest-offset" => Some(Bound::Latest),
            "group-offsets" => Some(Bound::Group),
            "timestamp" => Some(Bound::Timestamp(millis(table, "scan.bounded.timestamp-millis")?)),
            "specific-offsets" => Some(Bound::Specific(specific(table, &topics, "scan.bounded.specific-offsets")?)),
            _ => {
                let detail = "it is unbounded, latest-offset, group-offsets, timestamp or specific-offsets";
                return Err(bad(table, "scan.bounded.mode", detail));
            }
        };
        if table.option("properties.group.id").is_some_and(|group| group.trim().is_empty()) {
            return Err(bad(table, "properties.group.id", "a group's name is not empty: give it one, or leave it out"));
        }
        if matches!(startup, Bound::Group) && table.option("properties.group.id").is_none() {
            let detail = "'scan.startup.mode' = 'group-offsets' (the default) needs the group; or choose another mode";
            return Err(bad(table, "properties.group.id", detail));
        }
        let reset = match table.option("properties.auto.offset.reset").unwrap_or("none") {
            "earliest" => Reset::Earliest,
            "latest" => Reset::Latest,
            "none" => Reset::Fail,
            _ => return Err(bad(table, "properties.auto.offset.reset", "it is earliest, latest or none")),
        };
        let discovery = match options::duration(table, "scan.topic-partition-discovery.interval")? {
            Some(interval) => interval,
            None => options::optional_number::<i64>(table, &format!("properties.{}", properties::DISCOVERY))?
                .map_or(DISCOVERY, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        };
        Ok(Self {
            topics,
            tells_group: table.option("properties.group.id").is_some()
                && options::boolean(table, "properties.commit.offsets.on.checkpoint", true)?,
            continues_recreated: match table.option("scan.topic.recreated") {
                None | Some("fail") => false,
                Some("continue") => true,
                Some(_) => return Err(bad(table, "scan.topic.recreated", "it is fail or continue")),
            },
            properties,
            startup,
            reset,
            discovery: Some(discovery).filter(|d| !d.is_zero() && bounded.is_none()),
            bounded,
        })
    }
}

fn topics(table: &TableDescriptor) -> Result<Topics, DataflowError> {
    match (topic_names(table)?, table.option("topic-pattern")) {
        (names, None) if !names.is_empty() => Ok(Topics::Names(names)),
        // The whole name must match, though a part of it may match sooner: `a|ab`.
        (names, Some(pattern)) if names.is_empty() => match whole(pattern) {
            Ok(regex) => Ok(Topics::Pattern(regex)),
            Err(error) => Err(bad(table, "topic-pattern", format!("it is no regular expression: {error}"))),
        },
        (_, Some(_)) => {
            Err(bad(table, "topic-pattern", "there is 'topic' too: either 'topic' or 'topic-pattern', not both"))
        }
        _ => Err(bad(table, "topic", "either 'topic' or 'topic-pattern' is needed")),
    }
}

fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // By itself first, for the error to show it as it was written.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

/// The topics that are named; one that is named twice counts once.
fn topic_names(table: &TableDescriptor) -> Result<Vec<String>, DataflowError> {
    let mut names: Vec<String> = Vec::new();
    for name in list(table, "topic")? {
        check_topic(table, "topic", &name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Refuses a name that no topic can have: brokers answer as if it did not exist yet.
pub(super) fn check_topic(table: &TableDescriptor, option: &str, name: &str) -> Result<(), DataflowError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.chars().all(is_fine) && (1..=MOST_TOPIC_CHARS).contains(&name.len()) && !matches!(name, "." | "..") {
        return Ok(());
    }
    let detail = format!(
        "no topic can be called `{name}`: names have letters, digits, `.`, `_` and `-`, {MOST_TOPIC_CHARS} at most"
    );
    Err(bad(table, option, detail))
}

/// `partition:0,offset:42;partition:1,offset:300`.
fn specific(table: &TableDescriptor, topics: &Topics, option: &str) -> Result<BTreeMap<i32, i64>, DataflowError> {
    // An offset belongs to a partition of one topic, and the option names none.
    if !matches!(topics, Topics::Names(names) if names.len() == 1) {
        let detail = "offsets can be named for a single topic only: make a table of each topic, or choose another mode";
        return Err(bad(table, option, detail));
    }
    let one = |text: &str| {
        let (partition, offset) = text.split_once(',')?;
        let partition = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        Some((partition, offset)).filter(|(partition, offset)| *partition >= 0 && *offset >= 0)
    };
    let found: Option<BTreeMap<i32, i64>> = list(table, option)?.iter().map(|text| one(text)).collect();
    found.filter(|offsets| !offsets.is_empty()).ok_or_else(|| {
        bad(table, option, "offsets from 0 on are needed, as partition:0,offset:42;partition:1,offset:300")
    })
}

/// When written rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarantee {
    None,
    AtLeastOnce,
    ExactlyOnce,
}

/// How a table is written.
#[derive(Debug, Clone)]
pub(super) struct WriteOptions {
    pub topic: String,
    pub properties: Properties,
    pub guarantee: Guarantee,
    pub partitioner: Partitioner,
    /// Begins every transactional id.
    pub id_prefix: String,
    pub transaction_timeout: Duration,
}

impl WriteOptions {
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let mut properties = properties::of(table)?;
        let names = topic_names(table)?;
        let [topic] = names.as_slice() else {
            return Err(bad(table, "topic", "exactly one topic is needed to write"));
        };
        options::boolean(table, "properties.enable.idempotence", false)?;
        let guarantee = match table.option("sink.delivery-guarantee").unwrap_or("at-least-once") {
            "none" => Guarantee::None,
            "at-least-once" => Guarantee::AtLeastOnce,
            "exactly-once" => Guarantee::ExactlyOnce,
            _ => {
                return Err(bad(table, "sink.delivery-guarantee", "it is none, at-least-once or exactly-once"));
            }
        };
        let partitioner = match table.option("sink.partitioner").unwrap_or("default") {
            "default" => Partitioner::Default,
            "fixed" => Partitioner::Fixed,
            "round-robin" => Partitioner::RoundRobin,
            _ => return Err(bad(table, "sink.partitioner", "it is default, fixed or round-robin")),
        };
        let timeout: u64 =
            options::number(table, "properties.transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis() as u64)?;
        // As the Java client distributes keys.
        properties.entry("partitioner".to_owned()).or_insert_with(|| "murmur2_random".to_owned());
        let weakness = properties::weakness(table);
        match (guarantee, weakness) {
            (Guarantee::ExactlyOnce, Some((option, why))) => {
                let detail = format!("{why}: leave it out, or use another 'sink.delivery-guarantee' than exactly-once");
                return Err(bad(table, option, detail));
            }
            (_, Some((option, why))) if options::boolean(table, "properties.enable.idempotence", false)? => {
                let detail = format!("{why}: leave it out, or 'properties.enable.idempotence' = 'true'");
                return Err(bad(table, option, detail));
            }
            (Guarantee::ExactlyOnce, None) => {
                properties.insert("transaction.timeout.ms".to_owned(), timeout.to_string());
                // A record waits as long as its transaction may.
                properties.insert("message.timeout.ms".to_owned(), timeout.to_string());
            }
            // Without it a retry may change the order, or write twice.
            (Guarantee::AtLeastOnce, None) => {
                properties.insert("enable.idempotence".to_owned(), "true".to_owned());
            }
            // As with the Java client, who wants it so has it so.
            (Guarantee::AtLeastOnce, Some((option, why))) => {
                options::warn_once(table, &format!("'{option}' weakens 'sink.delivery-guarantee': {why}"));
            }
            (Guarantee::None, _) => {}
        }
        Ok(Self {
            topic: topic.clone(),
            properties,
            guarantee,
            partitioner,
            id_prefix: table.option("sink.transactional-id-prefix").unwrap_or("streamfleet").to_owned(),
            transaction_timeout: Duration::from_millis(timeout),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    fn read(options: &[(&str, &str)]) -> Result<ReadOptions, String> {
        let mut all = vec![("connector", "kafka"), ("properties.bootstrap.servers", "b:9092"), ("topic", "t")];
        all.extend(options);
        ReadOptions::of(&table(&[], &all)).map_err(|e| e.to_string())
    }

    #[test]
    fn bounds_are_flinks() {
        let specific = read(&[
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "partition:0,offset:42; partition:1,offset:300"),
            ("scan.bounded.mode", "timestamp"),
            ("scan.bounded.timestamp-millis", "1700000000000"),
        ])
        .expect("usable");
        assert_eq!(specific.startup, Bound::Specific([(0, 42), (1, 300)].into()));
        assert_eq!(specific.bounded, Some(Bound::Timestamp(1_700_000_000_000)));
        assert_eq!(specific.discovery, None, "what ends looks for nothing new");
        let error = read(&[]).expect_err("no group");
        assert!(error.contains("'properties.group.id'"), "{error}");
        let error = read(&[("scan.startup.mode", "timestamp")]).expect_err("no time");
        assert!(error.contains("'scan.startup.timestamp-millis'"), "{error}");
        let error = read(&[("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "0:1")]);
        assert!(error.expect_err("another form").contains("partition:0,offset:42"));
        for wrong in ["partition:0,offset:-1", "partition:-1,offset:0", "partition:0,offset:1;partition:1,offset:-2"] {
            let error = read(&[("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", wrong)]);
            assert!(error.expect_err("below zero").contains("offsets from 0 on are needed"), "{wrong}");
        }
        for options in [
            &[("properties.group.id", "")][..],
            &[("properties.group.id", " "), ("scan.startup.mode", "earliest-offset")],
        ] {
            let error = read(options).expect_err("no name");
            assert!(error.contains("option 'properties.group.id' = '") && error.contains("is not empty"), "{error}");
        }
        let error = read(&[("scan.startup.mode", "latest-offset"), ("topic-pattern", "a.*")]).expect_err("both");
        assert!(error.contains("either 'topic' or 'topic-pattern'"), "{error}");
    }

    #[test]
    fn a_transaction_lasts_as_long_as_its_records_wait() {
        let options = [
            ("connector", "kafka"),
            ("properties.bootstrap.servers", "b:9092"),
            ("topic", "t"),
            ("sink.delivery-guarantee", "exactly-once"),
            ("properties.transaction.timeout.ms", "60000"),
        ];
        let found = WriteOptions::of(&table(&[], &options)).expect("usable");
        assert_eq!(found.properties["message.timeout.ms"], "60000");
        assert_eq!(found.transaction_timeout, Duration::from_secs(60));
        assert_eq!(found.properties["partitioner"], "murmur2_random");
    }

    #[test]
    fn a_topic_that_is_named_twice_counts_once() {
        let found = read(&[("scan.startup.mode", "earliest-offset"), ("topic", "a; b;a")]).expect("usable");
        assert!(matches!(&found.topics, Topics::Names(names) if *names == ["a", "b"]), "{:?}", found.topics);
    }

    #[test]
    fn a_list_of_topics_has_no_empty_name() {
        let of = |topics| read(&[("scan.startup.mode", "earliest-offset"), ("topic", topics)]);
        for (topics, entry) in [("a;;b", 2), ("a;b; ;c", 3), (";;a", 1), ("a;;", 2), (";a;;b", 2)] {
            let expected = format!("table t: option 'topic' = '{topics}': entry {entry} of the list is empty: ");
            assert!(of(topics).expect_err(topics).starts_with(&expected), "{topics}");
        }
        for topics in ["a;b", ";a;b", "a; b ;", " ; a;b; "] {
            let found = of(topics).expect(topics).topics;
            assert!(matches!(&found, Topics::Names(names) if *names == ["a", "b"]), "{topics}: {found:?}");
        }
        assert!(write(&[("topic", "a;;a")]).expect_err("written").contains("entry 2 of the list is empty"));
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let long = "x".repeat(250);
        for name in ["a b", "größe", "a/b", ".", "..", "a,b", &long] {
            let expected = format!("table t: option 'topic' = '{name}': no topic can be called `{name}`: ");
            let topic = [("scan.startup.mode", "earliest-offset"), ("topic", name)];
            assert!(read(&topic).expect_err("read").starts_with(&expected), "{name}");
            assert!(write(&topic).expect_err("written").starts_with(&expected), "{name}");
        }
        for name in ["a.b_C-9", "...", &long[1..]] {
            assert!(write(&[("topic", name)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        let of = |pattern| {
            let found = read(&[("scan.startup.mode", "earliest-offset"), ("topic", ""), ("topic-pattern", pattern)]);
            found.map(|options| ["a", "ab", "xab"].map(|topic| options.topics.has(topic)))
        };
        assert_eq!(of("a|ab"), Ok([true, true, false]));
        assert_eq!(of("b"), Ok([false; 3]));
        let error = of("(").expect_err("no expression");
        assert!(error.contains("option 'topic-pattern' = '('"), "{error}");
        let named = Topics::Names(vec!["ab".to_owned()]);
        assert!(named.has("ab") && !named.has("a"));
    }

    #[test]
    fn offsets_are_named_for_one_topic_only() {
        let startup =
            [("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "partition:0,offset:1")];
        let bounded = [
            ("scan.startup.mode", "earliest-offset"),
            ("scan.bounded.mode", "specific-offsets"),
            ("scan.bounded.specific-offsets", "partition:0,offset:1"),
        ];
        for options in [&startup[..], &bounded] {
            let option = options[options.len() - 1].0;
            for topics in [&[("topic", "a;b")][..], &[("topic", ""), ("topic-pattern", "a")]] {
                let error = read(&[options, topics].concat()).expect_err("several topics");
                let expected =
                    format!("option '{option}' = 'partition:0,offset:1': offsets can be named for a single topic");
                assert!(error.contains(&expected), "{error}");
            }
            read(&[options, &[("topic", "a;a")]].concat()).expect("one topic");
        }
    }

    fn write(options: &[(&str, &str)]) -> Result<WriteOptions, String> {
        let mut all = vec![("connector", "kafka"), ("properties.bootstrap.servers", "b:9092"), ("topic", "t")];
        all.extend(options);
        WriteOptions::of(&table(&[], &all)).map_err(|e| e.to_string())
    }

    #[test]
    fn settings_that_weaken_a_writer_are_followed_unless_they_contradict() {
        let idempotence = |options: &[(&str, &str)]| {
            write(options).map(|found| found.properties.get("enable.idempotence").cloned().unwrap_or_default())
        };
        assert_eq!(idempotence(&[]).as_deref(), Ok("true"));
        assert_eq!(idempotence(&[("properties.acks", "all"), ("properties.retries", "3")]).as_deref(), Ok("true"));
        assert_eq!(idempotence(&[("properties.enable.idempotence", "false")]).as_deref(), Ok("false"));
        let weak = [
            ("properties.acks", "0"),
            ("properties.acks", "1"),
            ("properties.retries", "0"),
            ("properties.max.in.flight.requests.per.connection", "20"),
            ("properties.enable.idempotence", "false"),
        ];
        for (option, value) in weak {
            let exactly_once = write(&[(option, value), ("sink.delivery-guarantee", "exactly-once")]);
            let error = exactly_once.expect_err("a contradiction");
            assert!(error.starts_with(&format!("table t: option '{option}' = '{value}': ")), "{error}");
            assert!(error.contains("than exactly-once"), "{error}");
            if option != "properties.enable.idempotence" {
                assert_eq!(idempotence(&[(option, value)]).as_deref(), Ok(""), "{option}");
                let error = write(&[(option, value), ("properties.enable.idempotence", "true")]);
                assert!(error.expect_err("a contradiction").contains("'properties.enable.idempotence' = 'true'"));
            }
        }
        let error = write(&[("properties.enable.idempotence", "maybe")]).expect_err("neither");
        assert!(error.contains("true or false is needed"), "{error}");
    }

    #[test]
    fn new_partitions_are_looked_for_as_either_option_says() {
        let discovery = |options: &[(&str, &str)]| {
            read(&[&[("scan.startup.mode", "earliest-offset")], options].concat()).expect("usable").discovery
        };
        let property = "properties.partition.discovery.interval.ms";
        assert_eq!(discovery(&[]), Some(DISCOVERY));
        assert_eq!(discovery(&[(property, "2000")]), Some(Duration::from_secs(2)));
        assert_eq!(discovery(&[(property, "-1")]), None);
        let both = [(property, "2000"), ("scan.topic-partition-discovery.interval", "7 s")];
        assert_eq!(discovery(&both), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_fetch_may_be_smaller_than_what_is_written() {
        let options = [
            ("scan.startup.mode", "earliest-offset"),
            ("properties.max.request.size", "20000000"),
            ("properties.fetch.max.bytes", "65536"),
        ];
        let found = read(&options).expect("usable").properties;
        assert_eq!((&*found["fetch.max.bytes"], &*found["message.max.bytes"]), ("65536", "65536"));
        assert_eq!(read(&options[..2]).expect("usable").properties.get("message.max.bytes"), None);
    }
}

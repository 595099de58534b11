//! Partitions that a subtask reads: whose they are, and what a checkpoint says of them.

use super::client::TopicPartition;
use super::options::ReadOptions;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::PartitionLag;
use streamfleet_types::hash::hash_bytes;

/// A partition.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub partition: TopicPartition,
    /// The offset of the next record.
    pub next: i64,
    /// Reading ends before this offset.
    pub stop: Option<i64>,
    pub finished: bool,
    /// It had not ended when this source began.
    pub is_read: bool,
    /// It met an end, at least once.
    pub met_end: bool,
    /// It met an end before its bound: read on then.
    pub again_at: Option<Duration>,
    pub lag: Arc<PartitionLag>,
}

/// What a checkpoint holds otherwise than the table's options say by now. As in Flink the checkpoint holds.
pub(super) fn changed(options: &ReadOptions, splits: &[Split]) -> Vec<String> {
    let say = |text: &str, is: &dyn Fn(&Split) -> bool| {
        let names: Vec<String> =
            splits.iter().filter(|s| !s.finished && is(s)).map(|s| s.partition.to_string()).collect();
        (!names.is_empty()).then(|| text.replace("{}", &names.join(", ")))
    };
    let of_other_topics = say(
        "partitions {} of the checkpoint are of topics that 'topic' or 'topic-pattern' does not name any more: they are read on",
        &|s| !options.topics.has(&s.partition.topic),
    );
    let without_end = say(
        "'scan.bounded.mode' was unbounded when the checkpoint was made: partitions {} are read without an end",
        &|s| options.bounded.is_some() && s.stop.is_none(),
    );
    let with_end = say(
        "'scan.bounded.mode' was not unbounded when the checkpoint was made: partitions {} are read to their bound of then",
        &|s| options.bounded.is_none() && s.stop.is_some(),
    );
    [of_other_topics, without_end, with_end].into_iter().flatten().collect()
}

/// The subtask that reads a partition: its name alone decides, so that every subtask agrees.
pub(super) fn owner(partition: &str, parallelism: u32) -> u32 {
    let parallelism = parallelism.max(1);
    // Partitions of one topic go round, as evenly as they can.
    match partition.rsplit_once('-').and_then(|(topic, number)| Some((topic, number.parse::<u32>().ok()?))) {
        Some((topic, number)) => {
            let first = (hash_bytes(topic.as_bytes()) % u64::from(parallelism)) as u32;
            (first + number % parallelism) % parallelism
        }
        None => (hash_bytes(partition.as_bytes()) % u64::from(parallelism)) as u32,
    }
}

/// The partition that a split of this name is, if it is one.
pub(super) fn parse_split(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    Some(TopicPartition { topic: topic.into(), partition: partition.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_go_round() {
        for parallelism in 1..6 {
            let mut counts = vec![0; parallelism as usize];
            for partition in 0..12 {
                counts[owner(&format!("my-topic-{partition}"), parallelism) as usize] += 1;
            }
            let (least, most) = (counts.iter().min().expect("one"), counts.iter().max().expect("one"));
            assert!(most - least <= 1, "{counts:?}");
        }
        let parsed = parse_split("my-topic-3").expect("a partition");
        assert_eq!((&*parsed.topic, parsed.partition), ("my-topic", 3));
        assert_eq!(parse_split("x"), None);
    }

    #[test]
    fn what_changed_over_a_checkpoint_is_told() {
        let options = |more: &[(&str, &str)]| {
            let all = [&[("connector", "kafka"), ("properties.bootstrap.servers", "b:1")], more].concat();
            ReadOptions::of(&crate::testing::table(&[], &all)).expect("usable")
        };
        let split = |name: &str, stop, finished| {
            let partition = parse_split(name).expect("a partition");
            let lag = Arc::new(PartitionLag::new(Arc::clone(&partition.topic), partition.partition, 5, stop));
            Split { partition, next: 5, stop, finished, is_read: !finished, met_end: false, again_at: None, lag }
        };
        let earliest = ("scan.startup.mode", "earliest-offset");
        let old = [split("old-0", None, false), split("new-1", None, false), split("gone-0", None, true)];
        let said = changed(&options(&[earliest, ("topic", "new;other")]), &old);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("partitions old-0 of the checkpoint are of topics"), "{said:?}");
        assert!(changed(&options(&[earliest, ("topic-pattern", "old|new")]), &old).is_empty());
        let said = changed(&options(&[earliest, ("topic", "new;old"), ("scan.bounded.mode", "latest-offset")]), &old);
        assert!(said[0].ends_with("partitions old-0, new-1 are read without an end"), "{said:?}");
        let bounded = [split("new-0", Some(9), false), split("new-1", Some(3), true)];
        let said = changed(&options(&[earliest, ("topic", "new")]), &bounded);
        assert!(said[0].ends_with("partitions new-0 are read to their bound of then"), "{said:?}");
    }
}

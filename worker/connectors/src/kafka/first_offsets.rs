//! The offsets that new partitions are read from, and to. They are looked up once, before anything is read of a partition, and kept
//! in its position.

use super::client::{ConsumerCommand, KafkaFault, OffsetsAt, TopicPartition};
use super::options::{Bound, ReadOptions, Reset};
use std::collections::VecDeque;

/// A partition whose offsets are being looked up.
#[derive(Debug)]
struct New {
    partition: TopicPartition,
    start: Option<i64>,
    stop: Option<i64>,
}

/// Offsets to be looked up.
#[derive(Debug)]
struct Lookup {
    at: OffsetsAt,
    partitions: Vec<TopicPartition>,
    is_start: bool,
    is_asked: bool,
}

/// A partition that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub partition: TopicPartition,
    /// The offset of the first record.
    pub start: i64,
    /// Reading ends before this offset.
    pub stop: Option<i64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FirstOffsets {
    new: Vec<New>,
    lookups: VecDeque<Lookup>,
}

impl FirstOffsets {
    /// True if offsets of this partition are being looked up.
    pub fn has(&self, partition: &TopicPartition) -> bool {
        self.new.iter().any(|new| new.partition == *partition)
    }

    /// True if nothing is left to be looked up.
    pub fn are_known(&self) -> bool {
        self.lookups.is_empty()
    }

    /// Partitions that are to be read from one bound, and to the other.
    pub fn add(&mut self, partitions: Vec<TopicPartition>, start: &Bound, stop: Option<&Bound>) {
        self.look_up(start, &partitions, true);
        if let Some(stop) = stop {
            self.look_up(stop, &partitions, false);
        }
        for partition in partitions {
            let (start, stop) = (specific(start, &partition), stop.and_then(|stop| specific(stop, &partition)));
            self.new.push(New { partition, start, stop });
        }
    }

    /// Queues what must be asked for a bound of these partitions.
    fn look_up(&mut self, bound: &Bound, partitions: &[TopicPartition], is_start: bool) {
        let partitions: Vec<TopicPartition> =
            partitions.iter().filter(|p| specific(bound, p).is_none()).cloned().collect();
        let at = match bound {
            Bound::Earliest => OffsetsAt::Earliest,
            Bound::Latest => OffsetsAt::Latest,
            Bound::Group => OffsetsAt::Group,
            Bound::Timestamp(time) => OffsetsAt::Timestamp(*time),
            // Partitions that the user did not name.
            Bound::Specific(_) if is_start => OffsetsAt::Earliest,
            Bound::Specific(_) => OffsetsAt::Latest,
        };
        if !partitions.is_empty() {
            self.lookups.push_back(Lookup { at, partitions, is_start, is_asked: false });
        }
    }

    /// The next question, if none is under way.
    pub fn question(&mut self) -> Option<ConsumerCommand> {
        let lookup = self.lookups.front_mut().filter(|lookup| !lookup.is_asked)?;
        lookup.is_asked = true;
        Some(ConsumerCommand::Offsets { at: lookup.at, partitions: lookup.partitions.clone() })
    }

    /// The answer to the question under way.
    ///
    /// # Errors
    /// There is no such offset, and nothing says what counts instead.
    pub fn answer(
        &mut self,
        offsets: Vec<(TopicPartition, Option<i64>)>,
        options: &ReadOptions,
    ) -> Result<(), KafkaFault> {
        let Some(Lookup { at, is_start, .. }) = self.lookups.pop_front() else { return Ok(()) };
        let mut without = Vec::new();
        for (partition, offset) in offsets {
            let Some(new) = self.new.iter_mut().find(|n| n.partition == partition) else { continue };
            match offset {
                Some(offset) if is_start => new.start = Some(offset),
                Some(offset) => new.stop = Some(offset),
                None => without.push(partition),
            }
        }
        if without.is_empty() {
            return Ok(());
        }
        let at = match (at, is_start, options.reset) {
            // No record is as young.
            (OffsetsAt::Timestamp(_), ..) | (OffsetsAt::Group, true, Reset::Latest) => OffsetsAt::Latest,
            (OffsetsAt::Group, true, Reset::Earliest) => OffsetsAt::Earliest,
            _ => {
                let group = options.properties.get("group.id").map_or("", String::as_str);
                let names: Vec<String> = without.iter().map(ToString::to_string).collect();
                return Err(KafkaFault::refused(format!(
                    "the consumer group {group} has committed no offset of {}: set 'properties.auto.offset.reset' to earliest \
                     or latest, or choose another 'scan.startup.mode' or 'scan.bounded.mode'",
                    names.join(", ")
                )));
            }
        };
        self.lookups.push_front(Lookup { at, partitions: without, is_start, is_asked: false });
        Ok(())
    }

    /// The partitions, when all their offsets are known.
    ///
    /// # Errors
    /// One begins behind its end.
    pub fn take(&mut self, options: &ReadOptions) -> Result<Vec<Found>, KafkaFault> {
        let found = |New { partition, start, stop }| {
            let start = start.expect("it is named, or was looked up");
            check_begin(&partition, start, stop, options)?;
            Ok(Found { partition, start, stop })
        };
        std::mem::take(&mut self.new).into_iter().map(found).collect()
    }
}

/// Reading from behind a partition's end would end at once, as if there were nothing; without a bound the brokers say it.
fn check_begin(
    partition: &TopicPartition,
    start: i64,
    stop: Option<i64>,
    options: &ReadOptions,
) -> Result<(), KafkaFault> {
    if !matches!((&options.startup, &options.bounded), (Bound::Specific(_), Some(Bound::Latest))) {
        return Ok(());
    }
    let Some(end) = stop.filter(|end| start > *end) else { return Ok(()) };
    let TopicPartition { topic, partition } = partition;
    Err(KafkaFault::refused(format!(
        "topic {topic}, partition {partition}: it ends before offset {end}, and 'scan.startup.specific-offsets' begins at \
         offset {start}: name an offset that it has"
    )))
}

/// The offset that a bound names for a partition itself.
fn specific(bound: &Bound, partition: &TopicPartition) -> Option<i64> {
    match bound {
        Bound::Specific(offsets) => offsets.get(&partition.partition).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: number }
    }

    /// The next question, as text.
    fn asked(offsets: &mut FirstOffsets) -> Option<String> {
        offsets.question().map(|question| match question {
            ConsumerCommand::Offsets { at, partitions } => {
                let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                format!("{at:?} of {}", names.join(", "))
            }
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn every_offset_is_asked_for_once_whatever_comes_meanwhile() {
        let timed = [
            ("connector", "kafka"),
            ("topic", "t"),
            ("properties.bootstrap.servers", "b:1"),
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", "7"),
        ];
        let options = ReadOptions::of(&crate::testing::table(&[], &timed)).expect("usable");
        let mut offsets = FirstOffsets::default();
        offsets.add(vec![partition(0), partition(1)], &options.startup, Some(&Bound::Specific([(0, 9)].into())));
        assert_eq!(asked(&mut offsets).as_deref(), Some("Timestamp(7) of t-0, t-1"));
        // Another listing finds more before the answer is there.
        offsets.add(vec![partition(2)], &Bound::Earliest, None);
        assert!(offsets.has(&partition(2)) && !offsets.are_known());
        assert_eq!(asked(&mut offsets), None, "it is under way");
        // No record of one is as young.
        offsets.answer(vec![(partition(0), Some(3)), (partition(1), None)], &options).expect("an answer");
        assert_eq!(asked(&mut offsets).as_deref(), Some("Latest of t-1"));
        offsets.answer(vec![(partition(1), Some(20))], &options).expect("an answer");
        assert_eq!(asked(&mut offsets).as_deref(), Some("Latest of t-1"), "the end of the one that is not named");
        offsets.answer(vec![(partition(1), Some(21))], &options).expect("an answer");
        assert_eq!(asked(&mut offsets).as_deref(), Some("Earliest of t-2"));
        offsets.answer(vec![(partition(2), Some(0))], &options).expect("an answer");
        assert!(offsets.are_known() && asked(&mut offsets).is_none());
        let found = offsets.take(&options).expect("all have an offset");
        let of = |number, start, stop| Found { partition: partition(number), start, stop };
        assert_eq!(found, [of(0, 3, Some(9)), of(1, 20, Some(21)), of(2, 0, None)]);
        assert!(!offsets.has(&partition(0)));
    }
}

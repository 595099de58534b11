//! Which topics are read: one that was deleted and made anew has another id, and its offsets are those of other records.

use super::client::{KafkaFault, TopicStates};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_types::Outlook;
use tracing::warn;

/// How often it is asked whether the topics are the same still. A job that reads another one for longer than this says so.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Why it is asked whether the topics are the same still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    /// Partitions of a snapshot are to be read: nothing of them is read before.
    ToBegin,
    /// They are being read.
    ToGoOn,
    /// All of them were read: the source ends when the answer is there.
    ToEnd,
}

/// See the module.
#[derive(Debug)]
pub(super) struct KnownTopics {
    ids: BTreeMap<Arc<str>, Arc<str>>,
    /// Offsets count on in a topic that was made anew.
    continues: bool,
    asked: Asked,
    next: Duration,
    is_confirmed: bool,
}

impl KnownTopics {
    pub fn new(continues: bool) -> Self {
        Self { ids: BTreeMap::new(), continues, asked: Asked::No, next: Duration::ZERO, is_confirmed: false }
    }

    /// It is being asked.
    pub fn ask(&mut self, why: Asked) {
        self.asked = why;
    }

    /// Why it is being asked.
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    /// When to ask again while they are read, if it is not being asked.
    pub fn next(&self) -> Option<Duration> {
        (self.asked == Asked::No).then_some(self.next)
    }

    /// True if what was read to its end is of the topics that it was begun with.
    pub const fn are_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// The answer to what was asked; gives why it was.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn answered(&mut self, now: Duration, states: &TopicStates) -> Result<Asked, KafkaFault> {
        self.hear(now, states)?;
        let asked = mem::replace(&mut self.asked, Asked::No);
        self.is_confirmed |= asked == Asked::ToEnd;
        Ok(asked)
    }

    /// Nobody can answer now; true if it can be asked later.
    pub fn unanswered(&mut self, now: Duration) -> bool {
        let is_harmless = self.asked == Asked::ToGoOn;
        if is_harmless {
            (self.asked, self.next) = (Asked::No, now + ASK_AGAIN);
        }
        is_harmless
    }

    /// A position was made with this topic.
    pub fn expect(&mut self, topic: &Arc<str>, id: &str) {
        self.ids.insert(Arc::clone(topic), id.into());
    }

    /// What the brokers say.
    ///
    /// # Errors
    /// A topic is not the one that was read before.
    pub fn hear(&mut self, now: Duration, states: &TopicStates) -> Result<(), KafkaFault> {
        self.next = now + ASK_AGAIN;
        for (topic, id) in states.iter().filter_map(|(topic, state)| Some((topic, state.id.as_ref()?))) {
            if let Some(before) = self.ids.get(topic).filter(|before| *before != id) {
                let what = format!("topic {topic}: it was deleted and made anew (its id was {before}, and is {id})");
                if !self.continues {
                    let advice = "its offsets are those of other records: start the job with --from-nothing. If it has the same \
                                  records at the same offsets, as the copy of a cluster has, set 'scan.topic.recreated' = \
                                  'continue'";
                    // No other run finds the old one.
                    return Err(KafkaFault { detail: format!("{what}: {advice}"), outlook: Outlook::Lasts });
                }
                warn!("{what}; it is read on from the same offsets, as 'scan.topic.recreated' says");
            }
            self.ids.insert(Arc::clone(topic), Arc::clone(id));
        }
        Ok(())
    }

    /// The id of a topic, if it is known.
    pub fn get(&self, topic: &str) -> Option<&str> {
        self.ids.get(topic).map(|id| &**id)
    }
}

//! Ids of the topics that are read: one that was deleted and made anew has another, and its offsets are those of other records.

use super::client::{KafkaFault, TopicIds};
use std::sync::Arc;
use streamfleet_types::Outlook;
use tracing::warn;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    ids: TopicIds,
    /// Offsets count on in a topic that was made anew.
    continues: bool,
}

impl KnownTopics {
    pub fn new(continues: bool) -> Self {
        Self { ids: TopicIds::new(), continues }
    }

    /// A position was made with this topic.
    pub fn expect(&mut self, topic: &Arc<str>, id: &str) {
        self.ids.insert(Arc::clone(topic), id.into());
    }

    /// What the brokers say.
    ///
    /// # Errors
    /// A topic is not the one that was read before.
    pub fn hear(&mut self, ids: TopicIds) -> Result<(), KafkaFault> {
        for (topic, id) in ids {
            if let Some(before) = self.ids.get(&topic).filter(|before| **before != id) {
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
            self.ids.insert(topic, id);
        }
        Ok(())
    }

    /// The id of a topic, if it is known.
    pub fn get(&self, topic: &str) -> Option<&str> {
        self.ids.get(topic).map(|id| &**id)
    }
}

//! Which topics are read: one that was deleted and made anew has another id, and its offsets are those of other records.

use super::client::{KafkaFault, TopicStates};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_types::Outlook;
use tracing::warn;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    ids: BTreeMap<Arc<str>, Arc<str>>,
    /// Offsets count on in a topic that was made anew.
    continues: bool,
}

impl KnownTopics {
    pub fn new(continues: bool) -> Self {
        Self { ids: BTreeMap::new(), continues }
    }

    /// A position was made with this topic.
    pub fn expect(&mut self, topic: &Arc<str>, id: &str) {
        self.ids.insert(Arc::clone(topic), id.into());
    }

    /// What the brokers say.
    ///
    /// # Errors
    /// A topic is not the one that was read before.
    pub fn hear(&mut self, states: &TopicStates) -> Result<(), KafkaFault> {
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

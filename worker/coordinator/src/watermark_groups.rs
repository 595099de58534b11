//! Groups of sources that are read at one pace of event time: how far each part has come, and what all are told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_snapshot::SlotCommand;
use streamfleet_types::{Millis, OperatorId};

/// A source's part in a slot.
type Part = (u32, OperatorId);

#[derive(Debug, Default)]
struct Group {
    /// `None`: it holds nobody back.
    parts: BTreeMap<Part, Option<Millis>>,
    told: Option<Option<Millis>>,
}

impl Group {
    /// The slowest part that holds others back.
    fn watermark(&self) -> Option<Millis> {
        self.parts.values().copied().flatten().min()
    }
}

/// See the module. All parts are known once every slot runs: before that nothing may be told.
#[derive(Debug, Default)]
pub(crate) struct WatermarkGroups {
    groups: BTreeMap<Arc<str>, Group>,
}

impl WatermarkGroups {
    /// A part says how far it has come.
    pub fn on_reached(&mut self, slot: u32, source: OperatorId, group: Arc<str>, watermark: Option<Millis>) {
        self.groups.entry(group).or_default().parts.insert((slot, source), watermark);
    }

    /// What every slot must be told since it was last told.
    pub fn news(&mut self) -> impl Iterator<Item = SlotCommand> {
        self.groups.iter_mut().filter_map(|(name, group)| {
            let watermark = group.watermark();
            let is_new = group.told.replace(watermark) != Some(watermark);
            is_new.then(|| SlotCommand::GroupReached { group: Arc::clone(name), watermark })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(groups: &mut WatermarkGroups, slot: u32, source: &str, group: &str, watermark: Option<Millis>) {
        groups.on_reached(slot, OperatorId(source.to_owned()), group.into(), watermark);
    }

    fn news(groups: &mut WatermarkGroups) -> Vec<(String, Option<Millis>)> {
        let of = |command| match command {
            SlotCommand::GroupReached { group, watermark } => (group.to_string(), watermark),
            other => panic!("{other:?}"),
        };
        groups.news().map(of).collect()
    }

    #[test]
    fn the_slowest_part_of_each_group_is_told_when_it_changes() {
        let mut groups = WatermarkGroups::default();
        assert!(news(&mut groups).is_empty());
        for slot in 0..2 {
            reached(&mut groups, slot, "a", "g", Some(10));
            reached(&mut groups, slot, "b", "g", Some(5));
        }
        reached(&mut groups, 0, "c", "other", Some(1));
        assert_eq!(news(&mut groups), [("g".to_owned(), Some(5)), ("other".to_owned(), Some(1))]);
        reached(&mut groups, 0, "b", "g", Some(20));
        assert!(news(&mut groups).is_empty(), "the other slot's part is as slow as before");
        reached(&mut groups, 1, "b", "g", Some(7));
        assert_eq!(news(&mut groups), [("g".to_owned(), Some(7))]);
    }

    #[test]
    fn parts_that_are_idle_or_have_ended_hold_nobody_back() {
        let mut groups = WatermarkGroups::default();
        reached(&mut groups, 0, "a", "g", Some(10));
        reached(&mut groups, 0, "b", "g", Some(5));
        assert_eq!(news(&mut groups), [("g".to_owned(), Some(5))]);
        reached(&mut groups, 0, "b", "g", None);
        assert_eq!(news(&mut groups), [("g".to_owned(), Some(10))]);
        reached(&mut groups, 0, "a", "g", None);
        assert_eq!(news(&mut groups), [("g".to_owned(), None)]);
        // Who comes back holds them back from where it is.
        reached(&mut groups, 0, "b", "g", Some(6));
        assert_eq!(news(&mut groups), [("g".to_owned(), Some(6))]);
    }
}

//! A source's place in a group that is read at one pace of event time.

use std::sync::Arc;
use std::time::Duration;
use streamfleet_logical::WatermarkAlignment;
use streamfleet_types::{MIN_WATERMARK, Millis};

/// When the group is to hear how far the source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    Now,
    At(Duration),
    /// It knows.
    Not,
}

/// How far the source may read, and when it says how far it has come.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    alignment: WatermarkAlignment,
    /// What is beyond it is paused. At first only what has no watermark yet may be read: nobody knows how far others are.
    bound: Millis,
    /// What the group knows.
    told: Option<Option<Millis>>,
    tell_at: Duration,
}

impl Pace {
    pub const fn new(alignment: WatermarkAlignment) -> Self {
        Self { alignment, bound: MIN_WATERMARK, told: None, tell_at: Duration::ZERO }
    }

    pub const fn group(&self) -> &Arc<str> {
        &self.alignment.group
    }

    /// The group's slowest part stands at this watermark; `None`: no part holds the others back.
    pub fn on_group(&mut self, watermark: Option<Millis>) {
        self.bound = watermark.map_or(Millis::MAX, |w| w.saturating_add(self.alignment.max_drift));
    }

    /// True if what has this watermark must wait for the group.
    pub const fn is_ahead(&self, watermark: Millis) -> bool {
        watermark > self.bound
    }

    /// The source has come so far; `None`: it holds nobody back. What changes by itself is told at the interval. The others are
    /// told at once of a first watermark, of an end and of idleness; and of a source that waits for the group itself, for perhaps
    /// all do, and none would go on before the interval is over.
    pub fn tell(&mut self, now: Duration, reached: Option<Millis>) -> Tell {
        let kind = |reached: Option<Millis>| reached.map(|watermark| watermark == MIN_WATERMARK);
        let is_urgent = match self.told {
            Some(told) if told == reached => return Tell::Not,
            Some(told) => kind(told) != kind(reached) || reached.is_some_and(|watermark| self.is_ahead(watermark)),
            None => true,
        };
        if !is_urgent && now < self.tell_at {
            return Tell::At(self.tell_at);
        }
        self.told = Some(reached);
        self.tell_at = now + self.alignment.update_interval;
        Tell::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let alignment =
            WatermarkAlignment { group: "g".into(), max_drift: 10, update_interval: Duration::from_millis(1000) };
        Pace::new(alignment)
    }

    #[test]
    fn nothing_with_a_watermark_goes_on_before_the_group_is_known() {
        let mut pace = pace();
        assert!(!pace.is_ahead(MIN_WATERMARK));
        assert!(pace.is_ahead(-5));
        pace.on_group(Some(MIN_WATERMARK));
        assert!(pace.is_ahead(-5) && !pace.is_ahead(MIN_WATERMARK));
        pace.on_group(Some(100));
        assert!(!pace.is_ahead(110) && pace.is_ahead(111));
        pace.on_group(None);
        assert!(!pace.is_ahead(Millis::MAX));
    }

    #[test]
    fn the_group_hears_of_it_at_the_interval_or_when_it_matters() {
        let mut pace = pace();
        let ms = Duration::from_millis;
        pace.on_group(Some(0));
        assert_eq!(pace.tell(ms(0), Some(MIN_WATERMARK)), Tell::Now);
        assert_eq!(pace.tell(ms(1), Some(MIN_WATERMARK)), Tell::Not);
        assert_eq!(pace.tell(ms(2), Some(3)), Tell::Now, "a first watermark");
        assert_eq!(pace.tell(ms(3), Some(4)), Tell::At(ms(1002)));
        assert_eq!(pace.tell(ms(4), Some(11)), Tell::Now, "it waits for the group");
        assert_eq!(pace.tell(ms(5), Some(11)), Tell::Not);
        pace.on_group(Some(11));
        assert_eq!(pace.tell(ms(6), Some(12)), Tell::At(ms(1004)));
        assert_eq!(pace.tell(ms(1004), Some(12)), Tell::Now);
        assert_eq!(pace.tell(ms(1005), None), Tell::Now, "it holds nobody back any more");
        assert_eq!(pace.tell(ms(1006), Some(12)), Tell::Now, "it does again");
    }
}

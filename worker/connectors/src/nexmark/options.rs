//! The options of a table, and what follows from them alone: when an event takes place, and which ids exist by then.

use crate::options::{bad, boolean, duration, memory_size, number, optional_number};
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Output};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Millis;

/// The options of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub seed: u64,
    /// Event time of event 0.
    pub base_time: Millis,
    /// Event time from one event to the next, in microseconds.
    pub delay_us: f64,
    /// How many of [`Options::total`] events are people; they come first.
    pub people: u64,
    /// How many are auctions; they come next.
    pub auctions: u64,
    /// How many are bids.
    pub bids: u64,
    pub person_bytes: u64,
    pub auction_bytes: u64,
    pub bid_bytes: u64,
    /// One in so many is *not* hot.
    pub hot_auctions: u64,
    pub hot_bidders: u64,
    pub hot_sellers: u64,
    /// How many events there are; `None`: without end.
    pub events: Option<u64>,
    /// Stay after the last event.
    pub keep_alive: bool,
    /// Give events when they are due.
    pub paced: bool,
    /// The number of splits, if declared.
    pub splits: Option<u32>,
}

/// The greatest mean size of an event in bytes.
const MAX_EVENT_BYTES: u64 = 64 * 1024;
/// The greatest of the three proportions.
const MAX_PROPORTION: u64 = 1_000_000;

impl Options {
    /// Reads the options of a table.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let rate = positive(table, "first-event.rate", 10_000)?;
        positive(table, "next-event.rate", 10_000)?;
        duration(table, "rate.period")?;
        let events = match (number::<u64>(table, "events.num", 0)?, number::<i64>(table, "stop-at", -1)?) {
            (0, stop) => u64::try_from(stop).ok(),
            (events, stop) => Some(u64::try_from(stop).map_or(events, |stop| events.min(stop))),
        };
        let options = Self {
            seed: number(table, "seed", 0)?,
            base_time: number(table, "base-time", 1_436_918_400_000)?,
            delay_us: 1e6 / rate as f64,
            people: proportion(table, "person.proportion", 1)?,
            auctions: proportion(table, "auction.proportion", 3)?,
            bids: proportion(table, "bid.proportion", 46)?,
            person_bytes: size(table, "person.avg-size", 200)?,
            auction_bytes: size(table, "auction.avg-size", 500)?,
            bid_bytes: size(table, "bid.avg-size", 100)?,
            hot_auctions: positive(table, "bid.hot-ratio.auctions", 2)?,
            hot_bidders: positive(table, "bid.hot-ratio.bidders", 4)?,
            hot_sellers: positive(table, "auction.hot-ratio.sellers", 4)?,
            events,
            keep_alive: boolean(table, "keep-alive", false)?,
            paced: boolean(table, "rate.limited", false)? || !boolean(table, "max-emit-speed", true)?,
            splits: optional_number(table, "splits")?,
        };
        if options.splits == Some(0) {
            return Err(bad(table, "splits", "at least 1 is needed"));
        }
        if options.total() == 0 {
            return Err(bad(table, "bid.proportion", "one of person, auction and bid proportion must be above 0"));
        }
        Ok(options)
    }

    /// The length of the pattern of people, auctions and bids.
    pub const fn total(&self) -> u64 {
        self.people + self.auctions + self.bids
    }

    /// True if the events end.
    pub const fn is_bounded(&self) -> bool {
        self.events.is_some() && !self.keep_alive
    }

    /// When an event takes place.
    pub fn time(&self, event: u64) -> Millis {
        self.base_time + (event as f64 * self.delay_us) as i64 / 1_000
    }

    /// How long after the first event an event takes place.
    pub fn since_start(&self, event: u64) -> Duration {
        Duration::from_micros((event as f64 * self.delay_us) as u64)
    }

    /// Events in a block: a whole number of patterns if it may be, and when paced about a twentieth of a second's.
    pub fn block_events(&self) -> u64 {
        let most = Output::BATCH_ROWS as u64;
        let wished = if self.paced { ((50_000.0 / self.delay_us) as u64).clamp(1, most) } else { most };
        let total = self.total();
        if total > most { wished } else { (wished / total).max(1) * total }
    }

    /// The number of blocks; `None`: without end.
    pub fn blocks(&self) -> Option<u64> {
        self.events.map(|events| events.div_ceil(self.block_events()))
    }
}

fn positive(table: &TableDescriptor, option: &str, default: u64) -> Result<u64, DataflowError> {
    match number(table, option, default)? {
        0 => Err(bad(table, option, "at least 1 is needed")),
        value => Ok(value),
    }
}

fn proportion(table: &TableDescriptor, option: &str, default: u64) -> Result<u64, DataflowError> {
    match number(table, option, default)? {
        value if value > MAX_PROPORTION => Err(bad(table, option, format!("at most {MAX_PROPORTION} is possible"))),
        value => Ok(value),
    }
}

fn size(table: &TableDescriptor, option: &str, default: u64) -> Result<u64, DataflowError> {
    match memory_size(table, option)? {
        Some(value) if value > MAX_EVENT_BYTES => {
            Err(bad(table, option, format!("at most {MAX_EVENT_BYTES} bytes are possible")))
        }
        value => Ok(value.unwrap_or(default)),
    }
}

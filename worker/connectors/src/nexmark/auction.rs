//! Auctions: a seller offers an item for a time.

use super::events::{Event, Events};
use super::options::Options;
use super::person;
use super::price::Prices;
use super::text::Text;
use crate::generator::{Random, scale};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The id of the first auction.
const FIRST_ID: i64 = 1_000;
/// So many of the newest auctions are open, on average.
const IN_FLIGHT: i64 = 100;
/// Bids may be for auctions so many ids ahead of the newest.
const LEAD: i64 = 10;
const FIRST_CATEGORY: i64 = 10;
const CATEGORIES: u64 = 5;

/// The fields of an auction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuctionField {
    Id,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    DateTime,
    Expires,
    Seller,
    Category,
    Extra,
}

impl AuctionField {
    /// All fields with their declared names and types.
    pub const ALL: [(&'static str, Self, DataType); 10] = [
        ("id", Self::Id, DataType::Int64),
        ("itemName", Self::ItemName, DataType::Utf8),
        ("description", Self::Description, DataType::Utf8),
        ("initialBid", Self::InitialBid, DataType::Int64),
        ("reserve", Self::Reserve, DataType::Int64),
        ("dateTime", Self::DateTime, DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("expires", Self::Expires, DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("seller", Self::Seller, DataType::Int64),
        ("category", Self::Category, DataType::Int64),
        ("extra", Self::Extra, DataType::Utf8),
    ];
}

/// The newest auction's number (from 0) when a bid takes place.
const fn newest(options: &Options, event: Event) -> i64 {
    (event.epoch + 1) * options.auctions as i64 - 1
}

/// The id of the hot auction: the first of the newest hundred.
pub const fn hot_id(options: &Options, event: Event) -> i64 {
    newest(options, event) / 100 * 100 + FIRST_ID
}

/// The id of any auction likely to be open, or of one that comes soon.
pub fn some_id(options: &Options, event: Event, bits: u64) -> i64 {
    let newest = newest(options, event);
    let oldest = (newest - IN_FLIGHT).max(0);
    oldest + scale(bits, (newest - oldest + 1 + LEAD) as u64) as i64 + FIRST_ID
}

/// Makes auctions.
#[derive(Debug)]
pub struct Auctions {
    options: Arc<Options>,
    text: Arc<Text>,
    prices: Arc<Prices>,
    /// Events until as many auctions as are open have begun.
    horizon_events: u64,
    name: Random,
    description: Random,
    initial: Random,
    reserve: Random,
    length: Random,
    hot: Random,
    seller: Random,
    category: Random,
    extra: Random,
}

impl Auctions {
    pub fn new(options: &Arc<Options>, text: &Arc<Text>, prices: &Arc<Prices>) -> Self {
        let random = |field: u64| Random::new(options.seed, 200 + field);
        Self {
            options: Arc::clone(options),
            text: Arc::clone(text),
            prices: Arc::clone(prices),
            horizon_events: IN_FLIGHT as u64 * options.total() / options.auctions.max(1),
            name: random(0),
            description: random(1),
            initial: random(2),
            reserve: random(3),
            length: random(4),
            hot: random(5),
            seller: random(6),
            category: random(7),
            extra: random(8),
        }
    }

    /// One column.
    pub fn column(&self, field: AuctionField, events: &Events<'_>) -> Result<ArrayRef, ArrowError> {
        Ok(match field {
            AuctionField::Id => {
                let auctions = self.options.auctions as i64;
                events.integers(|event| event.epoch * auctions + event.place + FIRST_ID)
            }
            AuctionField::ItemName => {
                return events.strings(20, |event, out| out.extend_from_slice(self.item(event)));
            }
            AuctionField::Description => {
                return events.strings(60, |event, out| out.extend_from_slice(self.description(event)));
            }
            AuctionField::InitialBid => events.integers(|event| self.prices.at(self.initial, event.number)),
            AuctionField::Reserve => events.integers(|event| {
                self.prices.at(self.initial, event.number) + self.prices.at(self.reserve, event.number)
            }),
            AuctionField::DateTime => events.timestamps(|event| self.options.time(event.number)),
            AuctionField::Expires => events.timestamps(|event| {
                let begin = self.options.time(event.number);
                let horizon = self.options.time(event.number + self.horizon_events) - begin;
                begin + 1 + self.length.below(event.number, (horizon * 2).max(1) as u64) as i64
            }),
            AuctionField::Seller => events.integers(|event| {
                if self.hot.below(event.number, self.options.hot_sellers) > 0 {
                    person::hot_id(&self.options, event, 0)
                } else {
                    person::some_id(&self.options, event, self.seller.at(event.number))
                }
            }),
            AuctionField::Category => {
                events.integers(|event| FIRST_CATEGORY + self.category.below(event.number, CATEGORIES) as i64)
            }
            AuctionField::Extra => {
                return events.strings(self.options.auction_bytes as usize, |event, out| {
                    let used = 8 + self.item(event).len() + self.description(event).len() + 5 * 8;
                    let bits = self.extra.at(event.number);
                    self.text.write_filler(out, bits, used as u64, self.options.auction_bytes);
                });
            }
        })
    }

    fn item(&self, event: Event) -> &[u8] {
        self.text.words(self.name.at(event.number), 20)
    }

    fn description(&self, event: Event) -> &[u8] {
        self.text.words(self.description.at(event.number), 100)
    }
}

//! Bids: a bidder offers a price for an auction, through a channel.

use super::events::Events;
use super::options::Options;
use super::price::Prices;
use super::text::{Text, character};
use super::{auction, person};
use crate::generator::{Random, scale};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use std::io::Write as _;
use std::sync::Arc;

/// The bytes of a bid that count besides its filler: four numbers.
const USED_BYTES: u64 = 32;

/// The fields of a bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BidField {
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    DateTime,
    Extra,
}

impl BidField {
    /// All fields with their declared names and types.
    pub const ALL: [(&'static str, Self, DataType); 7] = [
        ("auction", Self::Auction, DataType::Int64),
        ("bidder", Self::Bidder, DataType::Int64),
        ("price", Self::Price, DataType::Int64),
        ("channel", Self::Channel, DataType::Utf8),
        ("url", Self::Url, DataType::Utf8),
        ("dateTime", Self::DateTime, DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("extra", Self::Extra, DataType::Utf8),
    ];
}

/// Makes bids.
#[derive(Debug)]
pub struct Bids {
    options: Arc<Options>,
    text: Arc<Text>,
    prices: Arc<Prices>,
    channels: Channels,
    hot_auction: Random,
    auction: Random,
    hot_bidder: Random,
    bidder: Random,
    price: Random,
    channel: Random,
    extra: Random,
}

impl Bids {
    pub fn new(options: &Arc<Options>, text: &Arc<Text>, prices: &Arc<Prices>) -> Self {
        let random = |field: u64| Random::new(options.seed, 300 + field);
        Self {
            options: Arc::clone(options),
            text: Arc::clone(text),
            prices: Arc::clone(prices),
            channels: Channels::new(options.seed),
            hot_auction: random(0),
            auction: random(1),
            hot_bidder: random(2),
            bidder: random(3),
            price: random(4),
            channel: random(5),
            extra: random(6),
        }
    }

    /// One column.
    pub fn column(&self, field: BidField, events: &Events<'_>) -> Result<ArrayRef, ArrowError> {
        match field {
            BidField::Auction => Ok(events.integers(|event| {
                if self.hot_auction.below(event.number, self.options.hot_auctions) > 0 {
                    auction::hot_id(&self.options, event)
                } else {
                    auction::some_id(&self.options, event, self.auction.at(event.number))
                }
            })),
            BidField::Bidder => Ok(events.integers(|event| {
                if self.hot_bidder.below(event.number, self.options.hot_bidders) > 0 {
                    // The second of the hundred: hot bidders are not hot sellers.
                    person::hot_id(&self.options, event, 1)
                } else {
                    person::some_id(&self.options, event, self.bidder.at(event.number))
                }
            })),
            BidField::Price => Ok(events.integers(|event| self.prices.at(self.price, event.number))),
            BidField::DateTime => Ok(events.timestamps(|event| self.options.time(event.number))),
            BidField::Channel => events.strings(12, |event, out| {
                out.extend_from_slice(self.channels.names.get(Channels::pick(self.channel.at(event.number))));
            }),
            BidField::Url => events.strings(76, |event, out| {
                out.extend_from_slice(self.channels.urls.get(Channels::pick(self.channel.at(event.number))));
            }),
            BidField::Extra => {
                let mean = self.options.bid_bytes.saturating_sub(USED_BYTES);
                events.strings(mean as usize, |event, out| {
                    let bits = self.extra.at(event.number);
                    out.extend_from_slice(self.text.filler(bits, USED_BYTES, self.options.bid_bytes));
                })
            }
        }
    }
}

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const COLD_CHANNELS: u64 = 10_000;

/// The channels with their addresses: the hot ones, then the others.
#[derive(Debug)]
struct Channels {
    names: Texts,
    urls: Texts,
}

impl Channels {
    fn new(seed: u64) -> Self {
        let (path, has_id) = (Random::new(seed, 3), Random::new(seed, 4));
        let (mut names, mut urls) = (Texts::default(), Texts::default());
        for channel in 0..HOT_CHANNELS.len() as u64 + COLD_CHANNELS {
            let cold = channel.checked_sub(HOT_CHANNELS.len() as u64);
            match cold {
                None => names.push(|out| out.extend_from_slice(HOT_CHANNELS[channel as usize].as_bytes())),
                Some(number) => names.push(|out| write_number(out, b"channel-", number as i64)),
            }
            urls.push(|out| {
                write_url(out, path, channel);
                if let Some(number) = cold.filter(|&n| has_id.below(n, 10) > 0) {
                    let id = (number as i32).reverse_bits().wrapping_abs();
                    write_number(out, b"&channel_id=", id.into());
                }
            });
        }
        Self { names, urls }
    }

    /// One of the hot channels in half of all cases.
    const fn pick(bits: u64) -> usize {
        let (cold, rest) = (bits >> 63 == 0, bits << 1);
        if cold {
            HOT_CHANNELS.len() + scale(rest, COLD_CHANNELS) as usize
        } else {
            scale(rest, HOT_CHANNELS.len() as u64) as usize
        }
    }
}

fn write_number(out: &mut Vec<u8>, before: &[u8], number: i64) {
    out.extend_from_slice(before);
    write!(out, "{number}").expect("writing to memory does not fail");
}

fn write_url(out: &mut Vec<u8>, path: Random, channel: u64) {
    out.extend_from_slice(b"https://www.nexmark.com/");
    for folder in 0..3 {
        let first = (channel * 3 + folder) * 8;
        let length = 3 + path.below(first, 2);
        out.extend((1..=length).map(|n| character(path.at(first + n), b'_')));
        out.push(b'/');
    }
    out.extend_from_slice(b"item.htm?query=1");
}

/// Many short texts in one buffer.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    bounds: Vec<u32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: vec![], bounds: vec![0] }
    }
}

impl Texts {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.bounds.push(self.bytes.len() as u32);
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.bounds[index] as usize..self.bounds[index + 1] as usize]
    }
}

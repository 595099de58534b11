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
                // Both are worked out: a branch that nobody can foresee would cost more.
                let hot = auction::hot_id(&self.options, event);
                let some = auction::some_id(&self.options, event, self.auction.at(event.number));
                if self.hot_auction.below(event.number, self.options.hot_auctions) > 0 { hot } else { some }
            })),
            BidField::Bidder => Ok(events.integers(|event| {
                // The second of the hundred: hot bidders are not hot sellers.
                let hot = person::hot_id(&self.options, event, 1);
                let some = person::some_id(&self.options, event, self.bidder.at(event.number));
                if self.hot_bidder.below(event.number, self.options.hot_bidders) > 0 { hot } else { some }
            })),
            BidField::Price => Ok(events.integers(|event| self.prices.at(self.price, event.number))),
            BidField::DateTime => Ok(events.timestamps(|event| self.options.time(event.number))),
            BidField::Channel => events.strings(12, |event, out| {
                self.channels.names.write(Channels::pick(self.channel.at(event.number)), out);
            }),
            BidField::Url => events.strings(76, |event, out| {
                self.channels.urls.write(Channels::pick(self.channel.at(event.number)), out);
            }),
            BidField::Extra => {
                let mean = self.options.bid_bytes.saturating_sub(USED_BYTES);
                events.strings(mean as usize, |event, out| {
                    let bits = self.extra.at(event.number);
                    self.text.write_filler(out, bits, USED_BYTES, self.options.bid_bytes);
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
    names: Texts<12>,
    urls: Texts<80>,
}

impl Channels {
    fn new(seed: u64) -> Self {
        let (path, has_id) = (Random::new(seed, 3), Random::new(seed, 4));
        let (mut names, mut urls) = (Texts::new(), Texts::new());
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

    /// One of the hot channels in half of all cases. Without a branch, which nobody could foresee.
    const fn pick(bits: u64) -> usize {
        const HOT: u64 = HOT_CHANNELS.len() as u64;
        let cold = 1 - (bits >> 63);
        let among = HOT + cold * (COLD_CHANNELS - HOT);
        (cold * HOT + scale(bits << 1, among)) as usize
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

/// Many short texts of up to `N` bytes, each in a place of that size.
#[derive(Debug)]
struct Texts<const N: usize> {
    texts: Vec<([u8; N], u8)>,
}

impl<const N: usize> Texts<N> {
    const fn new() -> Self {
        Self { texts: Vec::new() }
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::with_capacity(N);
        write(&mut text);
        let length = text.len() as u8;
        text.resize(N, b' ');
        self.texts.push((text.try_into().expect("no text is longer than its place"), length));
    }

    /// Appends a text. A copy of the same length every time is faster than one of the right length.
    fn write(&self, index: usize, out: &mut Vec<u8>) {
        let (text, length) = &self.texts[index];
        let end = out.len() + usize::from(*length);
        out.extend_from_slice(text);
        out.truncate(end);
    }
}

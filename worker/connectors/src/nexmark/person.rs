//! People: they sell and bid.

use super::events::{Event, Events};
use super::options::Options;
use super::text::Text;
use crate::generator::{Random, scale};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The id of the first person.
const FIRST_ID: i64 = 1_000;
/// So many of the newest people are active.
const ACTIVE: i64 = 1_000;
/// Sellers and bidders may be so many ids ahead of the newest person.
const LEAD: i64 = 10;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CARD_BYTES: u64 = 19;

/// The fields of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonField {
    Id,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    DateTime,
    Extra,
}

impl PersonField {
    /// All fields with their declared names and types.
    pub const ALL: [(&'static str, Self, DataType); 8] = [
        ("id", Self::Id, DataType::Int64),
        ("name", Self::Name, DataType::Utf8),
        ("emailAddress", Self::EmailAddress, DataType::Utf8),
        ("creditCard", Self::CreditCard, DataType::Utf8),
        ("city", Self::City, DataType::Utf8),
        ("state", Self::State, DataType::Utf8),
        ("dateTime", Self::DateTime, DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("extra", Self::Extra, DataType::Utf8),
    ];
}

/// The newest person's number (from 0) when an event that is not a person takes place.
const fn newest(options: &Options, event: Event) -> i64 {
    (event.epoch + 1) * options.people as i64 - 1
}

/// The id of a hot person, the `place`-th (0 or 1) of the newest hundred.
pub const fn hot_id(options: &Options, event: Event, place: i64) -> i64 {
    newest(options, event) / 100 * 100 + place + FIRST_ID
}

/// The id of any active person, or of one that comes soon.
pub fn some_id(options: &Options, event: Event, bits: u64) -> i64 {
    let people = newest(options, event) + 1;
    let active = people.min(ACTIVE);
    people - active + scale(bits, (active + LEAD) as u64) as i64 + FIRST_ID
}

/// Makes people.
#[derive(Debug)]
pub struct People {
    options: Arc<Options>,
    text: Arc<Text>,
    name: Random,
    mailbox: Random,
    host: Random,
    card: Random,
    city: Random,
    state: Random,
    extra: Random,
}

impl People {
    pub fn new(options: &Arc<Options>, text: &Arc<Text>) -> Self {
        let random = |field: u64| Random::new(options.seed, 100 + field);
        Self {
            options: Arc::clone(options),
            text: Arc::clone(text),
            name: random(0),
            mailbox: random(1),
            host: random(2),
            card: random(3),
            city: random(4),
            state: random(5),
            extra: random(6),
        }
    }

    /// One column.
    pub fn column(&self, field: PersonField, events: &Events<'_>) -> Result<ArrayRef, ArrowError> {
        match field {
            PersonField::Id => {
                let people = self.options.people as i64;
                Ok(events.integers(|event| event.epoch * people + event.place + FIRST_ID))
            }
            PersonField::DateTime => Ok(events.timestamps(|event| self.options.time(event.number))),
            PersonField::Name => events.strings(12, |event, out| {
                let (first, last) = self.names(event);
                out.extend_from_slice(first.as_bytes());
                out.push(b' ');
                out.extend_from_slice(last.as_bytes());
            }),
            PersonField::EmailAddress => events.strings(14, |event, out| {
                let (mailbox, host) = self.address(event);
                out.extend_from_slice(mailbox);
                out.push(b'@');
                out.extend_from_slice(host);
                out.extend_from_slice(b".com");
            }),
            PersonField::CreditCard => events.strings(CARD_BYTES as usize, |event, out| self.write_card(event, out)),
            PersonField::City => events.strings(10, |event, out| out.extend_from_slice(self.city(event).as_bytes())),
            PersonField::State => events.strings(2, |event, out| {
                out.extend_from_slice(STATES[self.state.below(event.number, STATES.len() as u64) as usize].as_bytes());
            }),
            PersonField::Extra => events.strings(self.options.person_bytes as usize, |event, out| {
                let (first, last) = self.names(event);
                let (mailbox, host) = self.address(event);
                let name = first.len() + 1 + last.len();
                let used = 8 + name + mailbox.len() + host.len() + 5 + self.city(event).len() + 2;
                let bits = self.extra.at(event.number);
                self.text.write_filler(out, bits, used as u64 + CARD_BYTES, self.options.person_bytes);
            }),
        }
    }

    fn names(&self, event: Event) -> (&'static str, &'static str) {
        let bits = self.name.at(event.number);
        let first = scale(bits, FIRST_NAMES.len() as u64) as usize;
        let last = scale(bits.rotate_left(32), LAST_NAMES.len() as u64) as usize;
        (FIRST_NAMES[first], LAST_NAMES[last])
    }

    fn address(&self, event: Event) -> (&[u8], &[u8]) {
        (self.text.words(self.mailbox.at(event.number), 7), self.text.words(self.host.at(event.number), 5))
    }

    fn city(&self, event: Event) -> &'static str {
        CITIES[self.city.below(event.number, CITIES.len() as u64) as usize]
    }

    /// Four groups of four digits.
    fn write_card(&self, event: Event, out: &mut Vec<u8>) {
        let bits = self.card.at(event.number);
        for group in 0..4 {
            if group > 0 {
                out.push(b' ');
            }
            let number = scale(bits.rotate_left(16 * group), 10_000);
            let digit = |unit: u64| b'0' + (number / unit % 10) as u8;
            out.extend_from_slice(&[digit(1_000), digit(100), digit(10), digit(1)]);
        }
    }
}

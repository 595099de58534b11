//! Which events of a block are of which kind, and columns made of them.

use super::options::Options;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;
use std::sync::Arc;

/// What an event is about. The values are those of the column `event_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Its number, from 0.
    pub number: u64,
    /// How many patterns of people, auctions and bids came before it.
    pub epoch: i64,
    /// Its place within its pattern, among its own kind.
    pub place: i64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    row: u32,
    event: u32,
    epoch: u32,
    place: u32,
}

/// Where the events of one kind stand in a block.
#[derive(Debug, Clone)]
pub struct KindLayout {
    rows: Vec<Row>,
    /// Rows of the block.
    total: usize,
    /// Valid where the row is of this kind; absent if all are.
    nulls: Option<NullBuffer>,
}

/// Where events stand in a block; the same for all blocks that begin at the same phase of the pattern.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Place in the pattern of the block's first event.
    pub phase: u64,
    /// Events of the block, wanted or not.
    pub events: u64,
    /// Rows: the wanted ones.
    pub rows: usize,
    /// The kind of each row.
    pub kinds: Vec<i32>,
    /// By kind.
    pub of: [KindLayout; 3],
}

impl Layout {
    /// Lays out a block; only the wanted kinds get rows.
    pub fn new(options: &Options, phase: u64, events: u64, wanted: [bool; 3]) -> Self {
        let total = options.total();
        let mut rows: [Vec<Row>; 3] = Default::default();
        let mut kinds = Vec::new();
        for event in 0..events {
            let (epoch, offset) = ((phase + event) / total, (phase + event) % total);
            let (kind, place) = match offset {
                _ if offset < options.people => (Kind::Person, offset),
                _ if offset < options.people + options.auctions => (Kind::Auction, offset - options.people),
                _ => (Kind::Bid, offset - options.people - options.auctions),
            };
            if wanted[kind as usize] {
                let (row, event, epoch, place) = (kinds.len() as u32, event as u32, epoch as u32, place as u32);
                rows[kind as usize].push(Row { row, event, epoch, place });
                kinds.push(kind as i32);
            }
        }
        let total = kinds.len();
        let of = Kind::ALL.map(|kind| {
            let rows = std::mem::take(&mut rows[kind as usize]);
            let nulls = (rows.len() < total)
                .then(|| NullBuffer::new(BooleanBuffer::collect_bool(total, |row| kinds[row] == kind as i32)));
            KindLayout { rows, total, nulls }
        });
        Self { phase, events, rows: total, kinds, of }
    }
}

/// The events of one kind in one block.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    layout: &'a KindLayout,
    /// Number of the block's first event.
    first: u64,
    /// Patterns before the one in which the block begins.
    epoch: i64,
}

impl<'a> Events<'a> {
    /// The events of a kind in the block that begins at event `first`.
    pub fn new(layout: &'a Layout, kind: Kind, first: u64, options: &Options) -> Self {
        Self { layout: &layout.of[kind as usize], first, epoch: (first / options.total()) as i64 }
    }

    /// Valid where the row is of this kind.
    pub fn nulls(&self) -> Option<NullBuffer> {
        self.layout.nulls.clone()
    }

    fn event(&self, row: &Row) -> Event {
        Event {
            number: self.first + u64::from(row.event),
            epoch: self.epoch + i64::from(row.epoch),
            place: row.place.into(),
        }
    }

    fn values(&self, value: impl Fn(Event) -> i64) -> ScalarBuffer<i64> {
        if self.layout.nulls.is_none() {
            return self.layout.rows.iter().map(|row| value(self.event(row))).collect::<Vec<_>>().into();
        }
        let mut values = vec![0; self.layout.total];
        for row in &self.layout.rows {
            values[row.row as usize] = value(self.event(row));
        }
        values.into()
    }

    /// A `BIGINT` column.
    pub fn integers(&self, value: impl Fn(Event) -> i64) -> ArrayRef {
        Arc::new(Int64Array::new(self.values(value), self.nulls()))
    }

    /// A `TIMESTAMP(3)` column.
    pub fn timestamps(&self, value: impl Fn(Event) -> i64) -> ArrayRef {
        Arc::new(TimestampMillisecondArray::new(self.values(value), self.nulls()))
    }

    /// A `STRING` column: `write` appends an event's text; `mean_bytes` is a guess of its length.
    pub fn strings(&self, mean_bytes: usize, write: impl Fn(Event, &mut Vec<u8>)) -> Result<ArrayRef, ArrowError> {
        let mut text = Vec::with_capacity(self.layout.rows.len() * mean_bytes);
        let mut offsets: Vec<i32> = Vec::with_capacity(self.layout.total + 1);
        if self.layout.nulls.is_none() {
            for row in &self.layout.rows {
                offsets.push(text.len() as i32);
                write(self.event(row), &mut text);
            }
        } else {
            for row in &self.layout.rows {
                // This row's beginning, which is also that of the null rows before it.
                offsets.resize(row.row as usize + 1, text.len() as i32);
                write(self.event(row), &mut text);
            }
        }
        offsets.resize(self.layout.total + 1, text.len() as i32);
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(text), self.nulls())?))
    }
}

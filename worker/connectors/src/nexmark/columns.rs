//! The columns that a table declares and a query uses, matched by name with what can be generated.

use super::auction::{AuctionField, Auctions};
use super::bid::{BidField, Bids};
use super::events::{Events, Kind, Layout};
use super::options::Options;
use super::person::{People, PersonField};
use super::price::Prices;
use super::text::{Text, longest_filler};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::error::ArrowError;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{ScanSpec, type_name};

/// Makes the batches of a table.
#[derive(Debug)]
pub struct Columns {
    options: Arc<Options>,
    schema: SchemaRef,
    columns: Vec<Column>,
    wanted: [bool; 3],
    people: People,
    auctions: Auctions,
    bids: Bids,
    /// Of the last block; most blocks share it.
    cache: Option<Cache>,
}

#[derive(Debug)]
enum Column {
    EventType,
    Record {
        kind: Kind,
        fields: Fields,
        /// What fills each field; `None`: unused, hence null.
        leaves: Vec<Option<Leaf>>,
        used: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Leaf {
    Person(PersonField),
    Auction(AuctionField),
    Bid(BidField),
}

/// What blocks of one layout share.
#[derive(Debug)]
struct Cache {
    layout: Layout,
    /// Arrays that do not change; by column, then by field.
    constants: Vec<Vec<Option<ArrayRef>>>,
}

impl Columns {
    /// The columns of a scan.
    pub fn new(spec: &ScanSpec, options: &Arc<Options>) -> Result<Self, DataflowError> {
        let schema = Arc::clone(spec.read_schema.inner());
        let columns = schema.fields().iter().map(|field| column(spec, field)).collect::<Result<_, _>>()?;
        let wanted = match spec.wanted_integers("event_type") {
            Some(kinds) => Kind::ALL.map(|kind| kinds.contains(&(kind as i64))),
            None => [true; 3],
        };
        let largest = options.person_bytes.max(options.auction_bytes).max(options.bid_bytes);
        let text = Arc::new(Text::new(options.seed, longest_filler(largest).max(128)));
        let prices = Arc::new(Prices::new());
        Ok(Self {
            options: Arc::clone(options),
            schema,
            columns,
            wanted,
            people: People::new(options, &text),
            auctions: Auctions::new(options, &text, &prices),
            bids: Bids::new(options, &text, &prices),
            cache: None,
        })
    }

    /// The wanted rows among `events` events from event `first`.
    pub fn batch(&mut self, first: u64, events: u64) -> Result<RecordBatch, ArrowError> {
        let phase = first % self.options.total();
        let cache = match self.cache.take().filter(|c| c.layout.phase == phase && c.layout.events == events) {
            Some(cache) => cache,
            None => self.lay_out(phase, events),
        };
        let arrays = self.columns.iter().zip(&cache.constants);
        let arrays = arrays.map(|(column, constants)| self.array(column, constants, &cache.layout, first));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(cache.layout.rows));
        self.cache = Some(cache);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &rows)
    }

    fn lay_out(&self, phase: u64, events: u64) -> Cache {
        let layout = Layout::new(&self.options, phase, events, self.wanted);
        let constants = self.columns.iter().map(|column| match column {
            Column::EventType => vec![Some(Arc::new(Int32Array::from(layout.kinds.clone())) as ArrayRef)],
            Column::Record { kind, fields, used, .. } if !used || !self.wanted[*kind as usize] => {
                vec![Some(new_null_array(&DataType::Struct(fields.clone()), layout.rows))]
            }
            Column::Record { fields, leaves, .. } => {
                let unused = leaves
                    .iter()
                    .zip(fields)
                    .map(|(leaf, field)| leaf.is_none().then(|| new_null_array(field.data_type(), layout.rows)));
                unused.collect()
            }
        });
        let constants = constants.collect();
        Cache { layout, constants }
    }

    fn array(
        &self,
        column: &Column,
        constants: &[Option<ArrayRef>],
        layout: &Layout,
        first: u64,
    ) -> Result<ArrayRef, ArrowError> {
        let (kind, fields, leaves) = match (column, constants) {
            (Column::Record { kind, fields, leaves, used: true }, _) if self.wanted[*kind as usize] => {
                (*kind, fields, leaves)
            }
            (_, [Some(constant)]) => return Ok(Arc::clone(constant)),
            _ => unreachable!("a column that is not generated is one constant"),
        };
        let events = Events::new(layout, kind, first, &self.options);
        let children = leaves.iter().zip(constants).map(|(leaf, constant)| match (leaf, constant) {
            (Some(Leaf::Person(field)), _) => self.people.column(*field, &events),
            (Some(Leaf::Auction(field)), _) => self.auctions.column(*field, &events),
            (Some(Leaf::Bid(field)), _) => self.bids.column(*field, &events),
            (None, Some(constant)) => Ok(Arc::clone(constant)),
            (None, None) => unreachable!("an unused leaf is a constant"),
        });
        let children = children.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), children, events.nulls())?))
    }
}

fn column(spec: &ScanSpec, field: &Field) -> Result<Column, DataflowError> {
    let wrong = |detail: String| DataflowError::Unsupported {
        operator: format!("table {}", spec.table.name),
        detail: format!("connector 'nexmark' cannot fill column `{}`: {detail}", field.name()),
    };
    let kind = match (field.name().as_str(), field.data_type()) {
        ("event_type", DataType::Int32) => return Ok(Column::EventType),
        ("event_type", _) => return Err(wrong("its type must be INT".into())),
        ("person", _) => Kind::Person,
        ("auction", _) => Kind::Auction,
        ("bid", _) => Kind::Bid,
        _ => return Err(wrong("the columns are event_type, person, auction and bid".into())),
    };
    let DataType::Struct(fields) = field.data_type() else {
        return Err(wrong("its type must be ROW<...>".into()));
    };
    if !field.is_nullable() {
        return Err(wrong("it is NULL in the events of other kinds, so it cannot be NOT NULL".into()));
    }
    let leaves = fields.iter().map(|leaf| {
        let found = leaf_of(kind, leaf.name());
        let (found, data_type) = found.map_err(|names| {
            wrong(format!("field `{}` is unknown; the fields are {}", leaf.name(), names.join(", ")))
        })?;
        if *leaf.data_type() != data_type {
            return Err(wrong(format!(
                "field `{}` is declared {}, but is {}",
                leaf.name(),
                type_name(leaf.data_type()),
                type_name(&data_type)
            )));
        }
        let used = !leaf.is_nullable() || spec.uses(&[field.name(), leaf.name()]);
        Ok(used.then_some(found))
    });
    let leaves = leaves.collect::<Result<Vec<_>, _>>()?;
    Ok(Column::Record { kind, fields: fields.clone(), leaves, used: spec.uses(&[field.name()]) })
}

/// A leaf by its name, with its type; or the names that there are.
fn leaf_of(kind: Kind, name: &str) -> Result<(Leaf, DataType), Vec<&'static str>> {
    fn find<T: Copy>(
        all: &[(&'static str, T, DataType)],
        name: &str,
        leaf: impl Fn(T) -> Leaf,
    ) -> Result<(Leaf, DataType), Vec<&'static str>> {
        let found = all.iter().find(|(known, ..)| *known == name);
        found
            .map(|(_, field, t)| (leaf(*field), t.clone()))
            .ok_or_else(|| all.iter().map(|(known, ..)| *known).collect())
    }
    match kind {
        Kind::Person => find(&PersonField::ALL, name, Leaf::Person),
        Kind::Auction => find(&AuctionField::ALL, name, Leaf::Auction),
        Kind::Bid => find(&BidField::ALL, name, Leaf::Bid),
    }
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;

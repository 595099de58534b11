//! One side of a join: its rows in state, found by join key and by time.

use crate::DataflowError;
use crate::operators::chains::{Chains, END};
use crate::operators::key_index::{KeyRow, KeyShape, bitmap_bytes};
use crate::operators::stored_rows::{Added, Identity, StoredRows, unknown_retraction};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimestampMillisecondType};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_state::{RowId, RowLayout, RowTable, Rows};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, MAX_WATERMARK, Millis};

/// The join keys of a batch.
pub(super) struct Keys {
    hashes: Vec<u64>,
    /// Rows without NULL in the key; `None` if that is all.
    valid: Option<NullBuffer>,
    /// Absent where hashes tell all.
    encoded: Option<(Arc<RowLayout>, Rows)>,
}

impl Keys {
    /// True if the row's key has no NULL: a NULL equals nothing.
    #[inline]
    pub fn can_match(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|v| v.is_valid(row))
    }
}

/// When rows of a side can go.
pub(super) struct Expiry {
    /// Input column with the row's time.
    column: usize,
    /// A row can go when its time plus this is not above the watermark.
    reach: Millis,
    /// Rows by time. A row that was taken back leaves its id behind: what is found here is looked at again.
    rows: BTreeMap<Millis, Vec<RowId>>,
}

impl Expiry {
    pub const fn new(column: usize, reach: Millis) -> Self {
        Self { column, reach, rows: BTreeMap::new() }
    }

    const fn last_time(&self, watermark: Millis) -> Millis {
        if watermark == MAX_WATERMARK { MAX_WATERMARK } else { watermark.saturating_sub(self.reach) }
    }
}

/// What a side is made of.
pub(super) struct SideSpec<'a> {
    pub name: &'a str,
    pub input: &'a SchemaRef,
    pub keys: &'a [usize],
    pub is_changelog: bool,
    /// How many partners a row has is kept with it.
    pub counts_matches: bool,
    pub expiry: Option<Expiry>,
}

/// See the module.
pub(super) struct Side {
    pub rows: StoredRows,
    shape: KeyShape,
    /// Layout of the key columns alone.
    key_layout: Arc<RowLayout>,
    /// Where slots begin in rows of `key_layout`.
    key_slots: usize,
    chains: Chains,
    counts_matches: bool,
    expiry: Option<Expiry>,
}

impl Side {
    pub fn new(spec: SideSpec<'_>) -> Result<Self, DataflowError> {
        let identity = if spec.is_changelog { Identity::Counted } else { Identity::Numbered };
        let matches: FieldRef = Arc::new(Field::new("__matches", DataType::Int64, false));
        let rows = StoredRows::new(spec.name, spec.input, spec.keys, identity, spec.counts_matches.then_some(matches))?;
        let schema = rows.table.schema();
        Ok(Self {
            shape: KeyShape::new(&schema.key)?,
            key_layout: Arc::new(RowLayout::new(spec.name, &schema.key)?),
            key_slots: bitmap_bytes(schema.key.len()),
            chains: Chains::new(spec.is_changelog || spec.expiry.is_some()),
            counts_matches: spec.counts_matches,
            expiry: spec.expiry,
            rows,
        })
    }

    /// The keys of a batch of this side.
    pub fn keys(&self, batch: &Batch) -> Result<Keys, DataflowError> {
        let columns = self.rows.key_columns(batch);
        let hashes = hash_columns(&columns, batch.rows())?;
        let valid = columns
            .iter()
            .fold(None, |valid, column| NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref()));
        let mut encoded = None;
        if !self.shape.hash_is_exact() {
            let mut rows = Rows::new();
            self.key_layout.encode(&columns, batch.rows(), &mut rows)?;
            encoded = Some((Arc::clone(&self.key_layout), rows));
        }
        Ok(Keys { hashes, valid: valid.filter(|v| v.null_count() > 0), encoded })
    }

    /// The first stored row with the key of a row of `keys` (of either side), or `END`.
    #[inline]
    pub fn first(&self, keys: &Keys, row: usize) -> RowId {
        if !keys.can_match(row) {
            return END;
        }
        self.chains.first(keys.hashes[row], |stored| self.has_key(stored, keys, row))
    }

    #[inline]
    fn has_key(&self, stored: RowId, keys: &Keys, row: usize) -> bool {
        let Some((layout, encoded)) = &keys.encoded else { return true };
        let key = KeyRow { layout, slots: self.key_slots, bytes: encoded.get(row) };
        self.shape.same(key, self.rows.key_row(stored))
    }

    /// The stored row behind this one with the same key, or `END`.
    #[inline]
    pub fn next(&self, row: RowId) -> RowId {
        self.chains.next(row)
    }

    /// Adds the rows of a batch, and takes back those that it takes back. `matches`: the partners of each row, if kept.
    pub fn store(
        &mut self,
        operator: &str,
        batch: &Batch,
        keys: &Keys,
        matches: Vec<i64>,
    ) -> Result<(), DataflowError> {
        let matches: Option<ArrayRef> = self.counts_matches.then(|| Arc::new(Int64Array::from(matches)) as ArrayRef);
        self.rows.encode(batch, matches)?;
        let mut time = TimeOfRow::new(self.expiry.as_mut(), batch);
        for row in (0..batch.rows()).filter(|row| keys.can_match(*row)) {
            let hash = keys.hashes[row];
            if batch.kind(row).is_addition() {
                let Added::New(id) = self.rows.add(hash, row) else { continue };
                let (chains, rows, shape) = (&mut self.chains, &self.rows, &self.shape);
                chains.link(id, hash, |stored| match &keys.encoded {
                    None => true,
                    Some((layout, encoded)) => shape
                        .same(KeyRow { layout, slots: self.key_slots, bytes: encoded.get(row) }, rows.key_row(stored)),
                });
                time.put(row, id);
                continue;
            }
            match self.rows.take_back(hash, row) {
                Some((id, 0)) => {
                    self.chains.unlink(id, hash);
                    self.rows.table.remove(id);
                }
                Some(_) => {}
                // With a bound on time the row may have gone already.
                None if time.expiry.is_some() => {}
                None => return Err(unknown_retraction(operator, batch, row)),
            }
        }
        Ok(())
    }

    /// Takes rows that can find no partner any more out of all indexes, oldest first. They stay in the table until
    /// [`Self::remove`].
    pub fn take_expired(&mut self, watermark: Millis) -> Vec<RowId> {
        let Some(expiry) = &mut self.expiry else { return Vec::new() };
        let last = expiry.last_time(watermark);
        let later = if last == MAX_WATERMARK { BTreeMap::new() } else { expiry.rows.split_off(&(last + 1)) };
        let found = std::mem::replace(&mut expiry.rows, later);
        let mut expired: Vec<RowId> = found.into_values().flatten().collect();
        expired.retain(|row| {
            let is_expired = self.is_expired(*row, watermark);
            if is_expired {
                self.chains.unlink(*row, self.rows.table.hash(*row));
            }
            is_expired
        });
        expired
    }

    /// All rows without a partner, in the order of the table.
    pub fn unmatched(&self) -> Vec<RowId> {
        self.rows.table.iter().filter(|row| self.rows.extra(*row) == 0).collect()
    }

    /// True if a row found by its time is still there and still too old.
    fn is_expired(&self, row: RowId, watermark: Millis) -> bool {
        let Some(expiry) = &self.expiry else { return false };
        self.chains.contains(row)
            && self.rows.get_i64(row, expiry.column).unwrap_or(Millis::MIN) <= expiry.last_time(watermark)
    }

    /// Removes a row that is in no index.
    pub fn remove(&mut self, row: RowId) {
        self.rows.table.remove(row);
    }

    /// Rebuilds the indexes.
    pub fn restored(&mut self) {
        self.chains.clear();
        if let Some(expiry) = &mut self.expiry {
            expiry.rows.clear();
        }
        for id in self.rows.restored() {
            let (chains, rows, shape) = (&mut self.chains, &self.rows, &self.shape);
            let exact = shape.hash_is_exact();
            chains.link(id, rows.table.hash(id), |stored| exact || shape.same(rows.key_row(id), rows.key_row(stored)));
            if let Some(expiry) = &mut self.expiry {
                let time = self.rows.get_i64(id, expiry.column).unwrap_or(Millis::MIN);
                expiry.rows.entry(time).or_default().push(id);
            }
        }
    }

    pub const fn table(&mut self) -> &mut RowTable {
        &mut self.rows.table
    }
}

/// Puts rows of a batch into the time index; runs of one time cost one look-up.
struct TimeOfRow<'a> {
    expiry: Option<(&'a arrow::array::TimestampMillisecondArray, &'a mut BTreeMap<Millis, Vec<RowId>>)>,
    run: Vec<RowId>,
    run_time: Millis,
}

impl<'a> TimeOfRow<'a> {
    fn new(expiry: Option<&'a mut Expiry>, batch: &'a Batch) -> Self {
        let expiry = expiry.map(|e| (batch.column(e.column).as_primitive::<TimestampMillisecondType>(), &mut e.rows));
        Self { expiry, run: Vec::new(), run_time: Millis::MIN }
    }

    fn put(&mut self, row: usize, id: RowId) {
        let Some((times, _)) = &self.expiry else { return };
        // A row without a time matches nothing that has one.
        let time = if times.is_null(row) { Millis::MIN } else { times.value(row) };
        if time != self.run_time {
            self.flush();
            self.run_time = time;
        }
        self.run.push(id);
    }

    fn flush(&mut self) {
        if let Some((_, rows)) = &mut self.expiry
            && !self.run.is_empty()
        {
            rows.entry(self.run_time).or_default().append(&mut self.run);
        }
    }
}

impl Drop for TimeOfRow<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

//! `MIN` and `MAX` of changelogs: every value of a group with its count, and which is first.

use super::Signs;
use super::heaps::Heaps;
use super::number::{Number, Numbers};
use super::values::{GroupFields, ValueCounts};
use crate::DataflowError;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use std::cmp::Ordering;
use streamfleet_state::{RowId, RowTable};

/// The values of one call.
pub(super) struct Extremes {
    pub values: ValueCounts,
    heaps: Heaps,
    order: ValueOrder,
    /// Groups of the batch whose first value changed.
    changed: Vec<RowId>,
    scratch: Vec<u8>,
}

/// What comes first.
#[derive(Debug, Clone, Copy)]
struct ValueOrder {
    /// The value's column in the key of the table.
    column: usize,
    /// `None`: text.
    number: Option<Number>,
    /// The greatest value comes first, else the least.
    greatest: bool,
}

impl ValueOrder {
    #[inline]
    fn is_before(self, table: &RowTable, a: RowId, b: RowId) -> bool {
        let (layout, column) = (table.key_layout(), self.column);
        let (a, b) = (table.key(a), table.key(b));
        let order = match self.number {
            Some(Number::Integer) => layout.get_i64(a, column).cmp(&layout.get_i64(b, column)),
            Some(Number::Decimal) => layout.get_i128(a, column).cmp(&layout.get_i128(b, column)),
            Some(Number::Float) => layout.get_f64(a, column).total_cmp(&layout.get_f64(b, column)),
            None => layout.get_bytes(a, column).cmp(layout.get_bytes(b, column)),
        };
        order == if self.greatest { Ordering::Greater } else { Ordering::Less }
    }
}

impl Extremes {
    /// `call` numbers the call in its operator; `kept` is the type that values are kept as.
    pub fn new(
        call: usize,
        groups: GroupFields<'_>,
        number: Option<Number>,
        kept: DataType,
        greatest: bool,
    ) -> Result<Self, DataflowError> {
        let values = ValueCounts::new(format!("values{call}"), groups, kept)?;
        let order = ValueOrder { column: values.value_column(), number, greatest };
        Ok(Self { values, heaps: Heaps::default(), order, changed: Vec::new(), scratch: Vec::new() })
    }

    /// Takes the entries of a batch, then writes the first value of every group where it changed to column `first` of the
    /// group's row.
    #[expect(clippy::too_many_arguments, reason = "one batch, as its parts")]
    pub fn update(
        &mut self,
        table: &mut RowTable,
        first: usize,
        groups: &[RowId],
        identity: &[ArrayRef],
        hashes: &[u64],
        argument: &ArrayRef,
        signs: &Signs,
    ) -> Result<(), DataflowError> {
        let values = match self.order.number {
            Some(number) => Numbers::of(argument, number)?.into_array(),
            None => argument.clone(),
        };
        self.values.encode(identity, &values)?;
        self.changed.clear();
        for (entry, sign) in signs.iter().enumerate() {
            if *sign == 0 || values.is_null(entry) {
                continue;
            }
            let group = groups[entry];
            let (id, before, after) = self.values.change(hashes[entry], entry, *sign);
            let (order, counts) = (self.order, &self.values.table);
            let is_before = |a, b| order.is_before(counts, a, b);
            let changes_first = match (before > 0, after > 0) {
                (false, true) => self.heaps.add(group, id, is_before),
                (true, false) => self.heaps.remove(group, id, is_before),
                _ => false,
            };
            if after == 0 {
                self.values.table.remove(id);
            }
            if changes_first {
                self.changed.push(group);
            }
        }
        self.changed.sort_unstable();
        self.changed.dedup();
        for index in 0..self.changed.len() {
            self.write_first(table, first, self.changed[index]);
        }
        Ok(())
    }

    fn write_first(&mut self, table: &mut RowTable, column: usize, group: RowId) {
        let Some(value) = self.heaps.first(group) else {
            if self.order.number.is_some() {
                table.update(group, |layout, row| layout.set_null(row, column, true));
            } else {
                table.value_layout().with_bytes(table.value(group), column, None, &mut self.scratch);
                table.replace(group, &self.scratch);
            }
            return;
        };
        let (layout, key, from) = (self.values.table.key_layout(), self.values.table.key(value), self.order.column);
        match self.order.number {
            Some(Number::Integer) => {
                table.update(group, |to, row| to.set_i64(row, column, layout.get_i64(key, from)));
            }
            Some(Number::Decimal) => {
                table.update(group, |to, row| to.set_i128(row, column, layout.get_i128(key, from)));
            }
            Some(Number::Float) => {
                table.update(group, |to, row| to.set_f64(row, column, layout.get_f64(key, from)));
            }
            None => {
                let text = layout.get_bytes(key, from);
                table.value_layout().with_bytes(table.value(group), column, Some(text), &mut self.scratch);
                table.replace(group, &self.scratch);
            }
        }
    }

    /// Lets the values of a group go.
    pub fn drop_group(&mut self, group: RowId) {
        self.heaps.drop_group(group);
    }

    /// Removes one value that was let go; false if there is none.
    pub fn drop_one(&mut self) -> bool {
        let dropped = self.heaps.next_dropped();
        dropped.into_iter().for_each(|row| self.values.table.remove(row));
        dropped.is_some()
    }

    /// Rebuilds what is derived from the table.
    pub fn restored(&mut self, groups: &RowTable) -> Result<(), DataflowError> {
        self.heaps.clear();
        let (order, table) = (self.order, &self.values.table);
        for (row, group) in self.values.owners(groups)? {
            if self.values.count(row) > 0 {
                self.heaps.add(group, row, |a, b| order.is_before(table, a, b));
            }
        }
        Ok(())
    }
}

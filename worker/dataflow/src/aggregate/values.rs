//! How often each value of a group is there: the table behind `DISTINCT`, and behind `MIN` and `MAX` of changelogs.

use crate::{DataflowError, Output};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use std::sync::Arc;
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};

/// The columns that tell groups apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupFields<'a> {
    /// Columns of the key.
    pub key: &'a [FieldRef],
    /// The window's columns, if groups are of windows.
    pub window: &'a [FieldRef],
}

/// See the module.
pub(super) struct ValueCounts {
    pub table: RowTable,
    zero: Vec<u8>,
    rows: Rows,
}

impl ValueCounts {
    pub fn new(name: String, groups: GroupFields<'_>, value: DataType) -> Result<Self, DataflowError> {
        let value: FieldRef = Arc::new(Field::new("value", value, true));
        let table = RowTable::new(TableSchema {
            name,
            key: groups.key.to_vec(),
            sub_key: groups.window.iter().cloned().chain([value]).collect(),
            value: vec![Arc::new(Field::new("count", DataType::Int64, false))],
        })?;
        let mut zero = table.value_layout().null_row();
        table.value_layout().set_i64(&mut zero, 0, 0);
        Ok(Self { table, zero, rows: Rows::new() })
    }

    /// The column of the value in rows of the key layout: the last.
    pub fn value_column(&self) -> usize {
        self.table.schema().key.len() + self.table.schema().sub_key.len() - 1
    }

    /// Encodes the entries of a batch, to be counted one by one. `identity` are the columns of the group.
    pub fn encode(&mut self, identity: &[ArrayRef], values: &ArrayRef) -> Result<(), DataflowError> {
        let columns: Vec<ArrayRef> = identity.iter().chain([values]).cloned().collect();
        self.rows.clear();
        self.table.key_layout().encode(&columns, values.len(), &mut self.rows)?;
        Ok(())
    }

    /// Changes the count of an encoded entry's value: its row, and the count before and after. At zero the caller removes
    /// the row.
    #[inline]
    pub fn change(&mut self, hash: u64, entry: usize, by: i8) -> (RowId, i64, i64) {
        let (id, _) = self.table.find_or_insert(hash, self.rows.get(entry), &self.zero);
        self.table.update(id, |layout, value| {
            let before = layout.get_i64(value, 0);
            let after = before + i64::from(by);
            layout.set_i64(value, 0, after);
            (id, before, after)
        })
    }

    /// After a restore: every value with the row of its group.
    pub fn owners(&self, groups: &RowTable) -> Result<Vec<(RowId, RowId)>, DataflowError> {
        let ids: Vec<RowId> = self.table.iter().collect();
        let mut owners = Vec::with_capacity(ids.len());
        let mut encoded = Rows::new();
        for ids in ids.chunks(Output::BATCH_ROWS) {
            let keys: Vec<&[u8]> = ids.iter().map(|id| self.table.key(*id)).collect();
            let identity = (0..self.value_column()).map(|c| self.table.key_layout().decode_column(c, &keys));
            let identity = identity.collect::<Result<Vec<_>, _>>()?;
            encoded.clear();
            groups.key_layout().encode(&identity, ids.len(), &mut encoded)?;
            let owner =
                |(index, id): (usize, &RowId)| Some((*id, groups.find(self.table.hash(*id), encoded.get(index))?));
            owners.extend(ids.iter().enumerate().filter_map(owner));
        }
        Ok(owners)
    }

    /// The number of times that a value is there.
    pub fn count(&self, id: RowId) -> i64 {
        self.table.value_layout().get_i64(self.table.value(id), 0)
    }
}

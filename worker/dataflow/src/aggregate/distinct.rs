//! `DISTINCT`: how often each value of a group was given, so that only the first counts.

use super::Signs;
use crate::DataflowError;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use std::sync::Arc;
use streamfleet_state::{RowTable, Rows, TableSchema};

/// The values of one DISTINCT call.
pub(crate) struct Distinct {
    pub table: RowTable,
    rows: Rows,
}

impl Distinct {
    /// `call` numbers the call in its operator.
    pub fn new(call: usize, keys: &[FieldRef], argument: &DataType) -> Result<Self, DataflowError> {
        let schema = TableSchema {
            name: format!("distinct{call}"),
            key: keys.to_vec(),
            sub_key: vec![Arc::new(Field::new("value", argument.clone(), true))],
            value: vec![Arc::new(Field::new("count", DataType::Int64, false))],
        };
        Ok(Self { table: RowTable::new(schema)?, rows: Rows::new() })
    }

    /// Keeps the sign of rows that make a value appear or vanish; clears the others'.
    pub fn restrict(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        argument: &ArrayRef,
        signs: &mut Signs,
    ) -> Result<(), DataflowError> {
        let columns: Vec<ArrayRef> = keys.iter().chain([argument]).cloned().collect();
        self.rows.clear();
        self.table.key_layout().encode(&columns, argument.len(), &mut self.rows)?;
        let zero = {
            let mut row = self.table.value_layout().null_row();
            self.table.value_layout().set_i64(&mut row, 0, 0);
            row
        };
        for (row, sign) in signs.iter_mut().enumerate() {
            if *sign == 0 || argument.is_null(row) {
                *sign = 0;
                continue;
            }
            let (id, _) = self.table.find_or_insert(hashes[row], self.rows.get(row), &zero);
            let before = self.table.value_layout().get_i64(self.table.value(id), 0);
            let after = before + i64::from(*sign);
            if after == 0 {
                self.table.remove(id);
            } else {
                self.table.update(id, |layout, value| layout.set_i64(value, 0, after));
            }
            if (before == 0) == (after == 0) {
                *sign = 0;
            }
        }
        Ok(())
    }
}

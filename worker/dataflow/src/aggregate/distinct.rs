//! `DISTINCT`: how often each value of a group was given, so that only the first counts.

use super::Signs;
use super::heaps::Heaps;
use super::values::{GroupFields, ValueCounts};
use crate::DataflowError;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use streamfleet_state::{RowId, RowTable};

/// The values of one DISTINCT call.
pub(crate) struct Distinct {
    pub values: ValueCounts,
    /// The values of each group, where groups are dropped as a whole: windows.
    members: Option<Heaps>,
}

/// Members of a group have no order.
const fn unordered(_: RowId, _: RowId) -> bool {
    false
}

impl Distinct {
    /// `call` numbers the call in its operator.
    pub fn new(call: usize, groups: GroupFields<'_>, argument: &DataType) -> Result<Self, DataflowError> {
        let members = (!groups.window.is_empty()).then(Heaps::default);
        Ok(Self { values: ValueCounts::new(format!("distinct{call}"), groups, argument.clone())?, members })
    }

    /// Keeps the sign of entries that make a value appear or vanish; clears the others'.
    pub fn restrict(
        &mut self,
        groups: &[RowId],
        identity: &[ArrayRef],
        hashes: &[u64],
        argument: &ArrayRef,
        signs: &mut Signs,
    ) -> Result<(), DataflowError> {
        self.values.encode(identity, argument)?;
        let nulls = argument.logical_nulls();
        for (entry, sign) in signs.iter_mut().enumerate() {
            if *sign == 0 || nulls.as_ref().is_some_and(|n| n.is_null(entry)) {
                *sign = 0;
                continue;
            }
            let (id, before, after) = self.values.change(hashes[entry], entry, *sign);
            if before == 0
                && let Some(members) = &mut self.members
            {
                members.add(groups[entry], id, unordered);
            }
            if after == 0 {
                if let Some(members) = &mut self.members {
                    members.remove(groups[entry], id, unordered);
                }
                self.values.table.remove(id);
            }
            if (before == 0) == (after == 0) {
                *sign = 0;
            }
        }
        Ok(())
    }

    /// Lets the values of a group go.
    pub fn drop_group(&mut self, group: RowId) {
        self.members.iter_mut().for_each(|members| members.drop_group(group));
    }

    /// Removes one value that was let go; false if there is none.
    pub fn drop_one(&mut self) -> bool {
        let dropped = self.members.as_mut().and_then(Heaps::next_dropped);
        dropped.into_iter().for_each(|row| self.values.table.remove(row));
        dropped.is_some()
    }

    /// Rebuilds what is derived from the table.
    pub fn restored(&mut self, groups: &RowTable) -> Result<(), DataflowError> {
        let Some(members) = &mut self.members else { return Ok(()) };
        members.clear();
        for (row, group) in self.values.owners(groups)? {
            members.add(group, row, unordered);
        }
        Ok(())
    }
}

//! The condition of a join beyond its keys, over only those columns that it uses.

use crate::expression::failed;
use crate::{DataflowError, Predicate};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_expr::Expr;
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
pub(super) struct JoinFilter {
    predicate: Predicate,
    /// What it uses: indices of left and right columns together, ascending.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl JoinFilter {
    pub fn new(operator: &str, filter: &Expr, joined: &DFSchemaRef) -> Result<Self, DataflowError> {
        let mut columns = Vec::new();
        for column in filter.column_refs() {
            columns.push(joined.index_of_column(column).map_err(|e| failed(operator, e))?);
        }
        columns.sort_unstable();
        columns.dedup();
        let fields = columns.iter().map(|c| {
            let (qualifier, field) = joined.qualified_field(*c);
            (qualifier.cloned(), Arc::clone(field))
        });
        let used = DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(|e| failed(operator, e))?;
        let schema = Arc::clone(used.inner());
        Ok(Self { predicate: Predicate::new(operator, filter, &Arc::new(used))?, columns, schema })
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// True for the rows that pass. `columns` are those of [`Self::columns`].
    pub fn evaluate(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<BooleanArray, DataflowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.predicate.evaluate(&RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

//! A declared table as DataFusion's planner sees it.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::TableSource;
use std::sync::Arc;
use streamfleet_logical::TableDescriptor;

/// What the rows of a table say when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A row is new.
    Inserts,
    /// What became of a row.
    Changes,
    /// What the row of a key is now.
    Upserts,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DeclaredTable {
    pub table: Arc<TableDescriptor>,
    pub gives: Gives,
    schema: SchemaRef,
}

impl DeclaredTable {
    pub fn new(table: Arc<TableDescriptor>, gives: Gives) -> Self {
        let fields = table.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { table, gives, schema }
    }
}

impl TableSource for DeclaredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

//! A declared table as DataFusion's planner sees it.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::TableSource;
use std::sync::Arc;
use streamfleet_logical::TableDescriptor;

/// See the module.
#[derive(Debug)]
pub(crate) struct DeclaredTable {
    pub table: Arc<TableDescriptor>,
    schema: SchemaRef,
}

impl DeclaredTable {
    pub fn new(table: Arc<TableDescriptor>) -> Self {
        let fields = table.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { table, schema }
    }
}

impl TableSource for DeclaredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

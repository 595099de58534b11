//! What `CREATE TABLE` says.

use crate::WatermarkAlignment;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_expr::Expr;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place in the user's text: one-based line and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A declared table: a source, a sink or both.
#[derive(Debug, Clone)]
pub struct TableDescriptor {
    /// Its name as declared.
    pub name: String,
    /// All columns in declared order.
    pub columns: Vec<Column>,
    /// `WATERMARK FOR`, if declared.
    pub watermark: Option<WatermarkStrategy>,
    /// Names of the primary key's columns; empty if none.
    pub primary_key: Vec<String>,
    /// Names of the columns in `PARTITIONED BY`; empty if none.
    pub partitioned_by: Vec<String>,
    /// The `WITH` options.
    pub options: BTreeMap<String, String>,
    /// Where the table is declared.
    pub position: Position,
}

impl TableDescriptor {
    /// The `connector` option; the SQL front refuses tables without one.
    pub fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }

    /// One option, if set.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The columns that a record of the external system holds, in order: neither computed nor metadata.
    pub fn physical_fields(&self) -> Vec<FieldRef> {
        let physical = self.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Physical));
        physical.map(|c| Arc::new(Field::new(&c.name, c.data_type.clone(), c.nullable))).collect()
    }
}

/// A declared column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name, case kept.
    pub name: String,
    /// Its type. `TIMESTAMP(3)` is `Timestamp(ms, None)`, `TIMESTAMP_LTZ(3)` is `Timestamp(ms, "UTC")`.
    pub data_type: DataType,
    /// False for `NOT NULL`.
    pub nullable: bool,
    /// Where its values come from.
    pub kind: ColumnKind,
}

/// Where a column's values come from.
#[derive(Debug, Clone)]
pub enum ColumnKind {
    /// The record.
    Physical,
    /// The connector, under this key.
    Metadata {
        /// The connector's name of it.
        key: String,
        /// Not written by a sink.
        is_virtual: bool,
    },
    /// An expression over the physical and metadata columns (computed columns inlined).
    Computed(Expr),
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone)]
pub struct WatermarkStrategy {
    /// Index of the time column among all columns.
    pub column: usize,
    /// The watermark of a row, over the physical and metadata columns (computed columns inlined).
    pub expression: Expr,
    /// The table is read at one pace with others.
    pub alignment: Option<WatermarkAlignment>,
    /// What gives no row for so long holds no watermark back, zero for never; absent, as the job says.
    pub idle_timeout: Option<Duration>,
}

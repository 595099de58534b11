//! The options of a table.

use super::field::Field;
use crate::options::{bad, number, optional_number};
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Output};
use streamfleet_logical::{ColumnKind, TableDescriptor};
use streamfleet_types::Millis;

/// The options of a table.
#[derive(Debug)]
pub struct Options {
    /// Above 0.
    pub rows_per_second: u64,
    /// How many rows there are; `None`: without end.
    pub rows: Option<u64>,
    /// When row 0 takes place; `None`: now.
    pub base_time: Option<Millis>,
    /// The number of splits, if declared.
    pub splits: Option<u32>,
    /// Of each column; `None` for computed ones.
    pub fields: Vec<Option<Field>>,
}

impl Options {
    /// Reads the options of a table.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        for option in table.options.keys().filter(|o| o.starts_with("fields.")) {
            let (field, _) = option["fields.".len()..].rsplit_once('.').unwrap_or_default();
            if !table.columns.iter().any(|c| c.name == field) {
                return Err(bad(table, option, format!("the table has no column '{field}'")));
            }
        }
        let seed = number(table, "seed", 0)?;
        let fields = table.columns.iter().enumerate().map(|(index, column)| match column.kind {
            ColumnKind::Computed(_) => Ok(None),
            _ => Field::of(table, index, seed).map(Some),
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let sequences = fields.iter().flatten().filter_map(Field::rows);
        let options = Self {
            rows_per_second: number(table, "rows-per-second", 10_000)?,
            rows: sequences.chain(optional_number(table, "number-of-rows")?).min(),
            base_time: optional_number(table, "base-time")?,
            splits: optional_number(table, "splits")?,
            fields,
        };
        match options {
            Self { rows_per_second: 0, .. } => Err(bad(table, "rows-per-second", "at least 1 is needed")),
            Self { splits: Some(0), .. } => Err(bad(table, "splits", "at least 1 is needed")),
            options => Ok(options),
        }
    }

    /// Rows in a block: about a twentieth of a second's.
    pub fn block_rows(&self) -> u64 {
        (self.rows_per_second / 20).clamp(1, Output::BATCH_ROWS as u64)
    }

    /// The number of blocks; `None`: without end.
    pub fn blocks(&self) -> Option<u64> {
        self.rows.map(|rows| rows.div_ceil(self.block_rows()))
    }

    /// How long after the first row a row comes.
    pub fn since_start(&self, row: u64) -> Duration {
        let rest = row % self.rows_per_second;
        let nanos = u128::from(rest) * 1_000_000_000 / u128::from(self.rows_per_second);
        Duration::new(row / self.rows_per_second, nanos as u32)
    }
}

//! Columns of texts to typed columns, and the records that do not fit.

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows that do not fit, and why; the first reason of each.
#[derive(Debug, Default)]
pub(crate) struct Misfits(BTreeMap<usize, String>);

impl Misfits {
    /// A row does not fit.
    pub fn note(&mut self, row: usize, what: String) {
        self.0.entry(row).or_insert(what);
    }

    /// The first row that does not fit.
    pub fn first(&self) -> Option<(usize, &str)> {
        self.0.first_key_value().map(|(row, what)| (*row, what.as_str()))
    }

    /// How many rows do not fit.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for every row that fits.
    pub fn mask(&self, rows: usize) -> BooleanArray {
        (0..rows).map(|row| Some(!self.0.contains_key(&row))).collect()
    }
}

impl IntoIterator for Misfits {
    type Item = (usize, String);
    type IntoIter = std::collections::btree_map::IntoIter<usize, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A column of texts as its declared type; `misfit` is told every row that does not fit, which is NULL then.
pub(crate) fn typed(
    texts: &Arc<StringArray>,
    data_type: &DataType,
    mut misfit: impl FnMut(usize),
) -> Result<ArrayRef, ArrowError> {
    let texts_array: ArrayRef = Arc::clone(texts) as ArrayRef;
    if *data_type == DataType::Utf8 {
        return Ok(texts_array);
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let column = cast_with_options(&texts_array, data_type, &options)?;
    if column.null_count() > texts.null_count() {
        (0..texts.len()).filter(|row| column.is_null(*row) && texts.is_valid(*row)).for_each(&mut misfit);
    }
    Ok(column)
}

//! Columns of texts to typed columns.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// A column of texts as its declared type; `Err` gives the first row that does not fit.
pub(crate) fn typed(texts: &Arc<StringArray>, data_type: &DataType) -> Result<ArrayRef, usize> {
    if *data_type == DataType::Utf8 {
        return Ok(Arc::clone(texts) as ArrayRef);
    }
    let texts_array: ArrayRef = Arc::clone(texts) as ArrayRef;
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let Ok(column) = cast_with_options(&texts_array, data_type, &options) else {
        return Err((0..texts.len()).find(|row| texts.is_valid(*row)).unwrap_or(0));
    };
    match (0..texts.len()).find(|row| column.is_null(*row) && texts.is_valid(*row)) {
        Some(row) if column.null_count() > texts.null_count() => Err(row),
        _ => Ok(column),
    }
}

//! Rows as bytes.
//!
//! STUB
use crate::{Rows, StateError};
use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;

/// How the columns of a row lie in its bytes.
#[derive(Debug)]
pub struct RowLayout {}

impl RowLayout {
    /// The layout of these columns. `table` is for errors.
    pub fn new(_table: &str, _fields: &[FieldRef]) -> Result<Self, StateError> {
        todo!()
    }
    /// Appends every row of the columns to `rows`.
    pub fn encode(&self, _columns: &[ArrayRef], _count: usize, _rows: &mut Rows) -> Result<(), StateError> {
        todo!()
    }
    /// Columns of the given rows, in order.
    pub fn decode(&self, _rows: &[&[u8]]) -> Result<Vec<ArrayRef>, StateError> {
        todo!()
    }
    /// A row of all NULL (fixed part zeroed, no variable part).
    pub fn null_row(&self) -> Vec<u8> {
        todo!()
    }
    /// True if the column is NULL.
    pub fn is_null(&self, _row: &[u8], _column: usize) -> bool {
        todo!()
    }
    /// Marks a column as NULL (and zeroes its slot) or not.
    pub fn set_null(&self, _row: &mut [u8], _column: usize, _null: bool) {
        todo!()
    }
    /// A fixed-width column as i64 (integers, booleans, dates, times, timestamps).
    pub fn get_i64(&self, _row: &[u8], _column: usize) -> i64 {
        todo!()
    }
    /// Writes a fixed-width column and marks it not NULL.
    pub fn set_i64(&self, _row: &mut [u8], _column: usize, _value: i64) {
        todo!()
    }
    /// A decimal column.
    pub fn get_i128(&self, _row: &[u8], _column: usize) -> i128 {
        todo!()
    }
    /// Writes a decimal column and marks it not NULL.
    pub fn set_i128(&self, _row: &mut [u8], _column: usize, _value: i128) {
        todo!()
    }
    /// A float column as f64.
    pub fn get_f64(&self, _row: &[u8], _column: usize) -> f64 {
        todo!()
    }
    /// Writes a float column and marks it not NULL.
    pub fn set_f64(&self, _row: &mut [u8], _column: usize, _value: f64) {
        todo!()
    }
    /// The bytes of a variable-length column (string, binary).
    pub fn get_bytes<'a>(&self, _row: &'a [u8], _column: usize) -> &'a [u8] {
        todo!()
    }
}

//! Encoded rows, end to end in one buffer: the scratch that batches are encoded into.

/// Rows of bytes in one buffer. Cleared and reused from batch to batch, so that encoding allocates nothing per row.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    pub(crate) bytes: Vec<u8>,
    /// End offset of each row.
    pub(crate) ends: Vec<usize>,
}

impl Rows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all rows.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One row.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// One row, to change in place.
    pub fn get_mut(&mut self, row: usize) -> &mut [u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &mut self.bytes[start..self.ends[row]]
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }
}

//! Finds things by a key that lies in encoded rows: the key index that joins and rankings keep beside their tables.

use arrow::datatypes::{DataType, FieldRef};
use hashbrown::HashTable;
use streamfleet_state::{RowLayout, StateError};

/// Where the leading columns of encoded rows lie, to compare them between rows of different layouts.
#[derive(Debug)]
pub(super) struct KeyShape {
    columns: Vec<KeyColumn>,
    hash_is_exact: bool,
}

#[derive(Debug)]
enum KeyColumn {
    /// Plain bytes; the offset is counted from the first slot.
    Fixed { offset: usize, width: usize },
    /// Bytes in the variable part.
    Variable,
}

/// An encoded row whose leading columns are the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRow<'a> {
    pub layout: &'a RowLayout,
    /// Where the row's first slot lies: behind its NULL bitmap.
    pub slots: usize,
    pub bytes: &'a [u8],
}

/// Length of the NULL bitmap of a row with so many columns: its slots begin behind it.
pub(super) const fn bitmap_bytes(columns: usize) -> usize {
    columns.div_ceil(8)
}

impl KeyShape {
    /// The shape of these key columns.
    pub fn new(fields: &[FieldRef]) -> Result<Self, StateError> {
        let mut columns = Vec::with_capacity(fields.len());
        let mut offset = 0;
        for field in fields {
            let alone = RowLayout::new("key", std::slice::from_ref(field))?;
            let width = alone.null_row().len() - bitmap_bytes(1);
            columns.push(match field.data_type() {
                t if is_variable(t) => KeyColumn::Variable,
                _ => KeyColumn::Fixed { offset, width },
            });
            offset += width;
        }
        let hash_is_exact = matches!(fields, [field] if is_integer(field.data_type()));
        Ok(Self { columns, hash_is_exact })
    }

    /// True if keys without NULL are equal exactly when their hashes are: the canonical hash of one integer is a bijection.
    pub const fn hash_is_exact(&self) -> bool {
        self.hash_is_exact
    }

    /// True if the keys of two rows are the same, NULL being the same as NULL.
    pub fn same(&self, a: KeyRow<'_>, b: KeyRow<'_>) -> bool {
        self.columns.iter().enumerate().all(|(index, column)| {
            let null = a.layout.is_null(a.bytes, index);
            if null || b.layout.is_null(b.bytes, index) {
                return null && b.layout.is_null(b.bytes, index);
            }
            match *column {
                KeyColumn::Fixed { offset, width } => {
                    a.bytes[a.slots + offset..][..width] == b.bytes[b.slots + offset..][..width]
                }
                KeyColumn::Variable => a.layout.get_bytes(a.bytes, index) == b.layout.get_bytes(b.bytes, index),
            }
        })
    }
}

const fn is_variable(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::Null | T::Struct(_) | T::List(_) | T::Map(..)
    )
}

fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The key's canonical hash, in halves so that an entry takes twelve bytes.
    hash: [u32; 2],
    value: u32,
}

impl Entry {
    const fn new(hash: u64, value: u32) -> Self {
        Self { hash: [hash as u32, (hash >> 32) as u32], value }
    }

    const fn hash(&self) -> u64 {
        self.hash[0] as u64 | (self.hash[1] as u64) << 32
    }
}

/// A number for each key. Whether two keys of one hash are the same is for the caller to say.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    entries: HashTable<Entry>,
}

impl KeyIndex {
    /// The number of the key with this hash that `same` recognises.
    #[inline]
    pub fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        self.entries.find(hash, |e| e.hash() == hash && same(e.value)).map(|e| e.value)
    }

    /// Adds a key, or puts another number in the place of its own, which is given back.
    #[inline]
    pub fn put(&mut self, hash: u64, value: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        if let Some(entry) = self.entries.find_mut(hash, |e| e.hash() == hash && same(e.value)) {
            return Some(std::mem::replace(&mut entry.value, value));
        }
        self.entries.insert_unique(hash, Entry::new(hash, value), Entry::hash);
        None
    }

    /// Forgets a key by its number.
    pub fn remove(&mut self, hash: u64, value: u32) {
        if let Ok(entry) = self.entries.find_entry(hash, |e| e.hash() == hash && e.value == value) {
            entry.remove();
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::Field;
    use std::sync::Arc;
    use streamfleet_state::Rows;

    #[test]
    fn keys_of_one_hash_are_told_apart_by_the_caller() {
        let mut index = KeyIndex::default();
        assert_eq!(index.put(5, 10, |_| false), None);
        assert_eq!(index.put(5, 20, |other| other != 10), None);
        assert_eq!(index.find(5, |other| other == 20), Some(20));
        assert_eq!(index.put(5, 11, |other| other == 10), Some(10));
        assert_eq!(index.find(5, |other| other == 10), None);
        index.remove(5, 20);
        assert_eq!((index.find(5, |_| true), index.find(6, |_| true)), (Some(11), None));
    }

    #[test]
    fn keys_compare_between_rows_of_different_layouts() {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        let key = [field("i", DataType::Int64), field("s", DataType::Utf8)];
        // Nine columns: the NULL bitmap takes two bytes.
        let wide: Vec<FieldRef> = key.iter().cloned().chain((0..7).map(|_| field("x", DataType::Int64))).collect();
        let shape = KeyShape::new(&key).unwrap();
        assert!(!shape.hash_is_exact() && KeyShape::new(&key[..1]).unwrap().hash_is_exact());
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(0), Some(1)]));
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("a"), Some("a"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![9; 5]));
        let (narrow_layout, wide_layout) = (RowLayout::new("t", &key).unwrap(), RowLayout::new("t", &wide).unwrap());
        let (mut narrow_rows, mut wide_rows) = (Rows::new(), Rows::new());
        narrow_layout.encode(&[integers.clone(), strings.clone()], 5, &mut narrow_rows).unwrap();
        let columns: Vec<ArrayRef> = [integers, strings].into_iter().chain((0..7).map(|_| numbers.clone())).collect();
        wide_layout.encode(&columns, 5, &mut wide_rows).unwrap();
        for a in 0..5 {
            for b in 0..5 {
                let narrow = KeyRow { layout: &narrow_layout, slots: bitmap_bytes(2), bytes: narrow_rows.get(a) };
                let wide = KeyRow { layout: &wide_layout, slots: bitmap_bytes(9), bytes: wide_rows.get(b) };
                assert_eq!(shape.same(narrow, wide), a == b, "{a} {b}");
            }
        }
    }
}

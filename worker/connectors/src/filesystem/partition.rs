//! Partitions as Hive names them: a folder `column=value` for every column of `PARTITIONED BY`.

use crate::format::Column;
use crate::format::text::{self, TextRules, TimeStyle};
use crate::options;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{ColumnKind, TableDescriptor, type_name};

const RULES: TextRules = TextRules { times: TimeStyle::Sql, plain_decimals: true };

/// How a table is partitioned.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    table: String,
    /// The columns in the order of their folders.
    columns: Vec<Field>,
    /// Stands for NULL and for the empty text.
    default_name: String,
}

impl Partitioning {
    /// What the table declares.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let unsupported =
            |detail: String| Err(DataflowError::Unsupported { operator: format!("table {}", table.name), detail });
        let mut columns: Vec<Field> = Vec::new();
        for name in &table.partitioned_by {
            let column = table.columns.iter().find(|c| c.name == *name);
            let Some(column) = column.filter(|c| matches!(c.kind, ColumnKind::Physical)) else {
                return unsupported(format!("PARTITIONED BY {name}, which is no physical column"));
            };
            if !text::is_writable(&column.data_type) || column.data_type == DataType::Binary {
                return unsupported(format!("PARTITIONED BY {name} of type {}", column.data_type));
            }
            if columns.iter().any(|c| c.name() == name) {
                return unsupported(format!("PARTITIONED BY with {name} twice"));
            }
            columns.push(Field::new(name, column.data_type.clone(), true));
        }
        let physical = table.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Physical)).count();
        if !columns.is_empty() && columns.len() == physical {
            return unsupported("PARTITIONED BY with every column: none is left for the files".to_owned());
        }
        let default_name = table.option("partition.default-name").unwrap_or("__DEFAULT_PARTITION__").to_owned();
        if default_name.is_empty() {
            return Err(options::bad(table, "partition.default-name", "a name is needed"));
        }
        Ok(Self { table: table.name.clone(), columns, default_name })
    }

    /// The place of a column among those that partition the table.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name() == name)
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// True if the table has partitions.
    pub const fn is_partitioned(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The columns' names, in the order of their folders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name().as_str())
    }

    /// The values' texts in the folder of a partition, in the order of the columns.
    pub fn texts(&self, folder: &str) -> Vec<String> {
        folder.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| unescape(value)).collect()
    }

    /// True for the name of a folder that stands for a value.
    pub fn is_folder(&self, name: &str) -> bool {
        name.split_once('=').is_some_and(|(column, _)| self.position(&unescape(column)).is_some())
    }

    /// The values that the folders of a file stand for, as columns of one row. `below`: the file's path below the table's.
    pub fn values(&self, path: &str, below: &str) -> Result<Vec<ArrayRef>, DataflowError> {
        let failed = |detail: String| DataflowError::Record { place: path.to_owned(), detail };
        let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
        let mut values = Vec::with_capacity(self.columns.len());
        for field in &self.columns {
            let found = folders.split('/').filter_map(|folder| folder.split_once('='));
            let value = found.into_iter().find(|(name, _)| unescape(name) == *field.name()).map(|(_, value)| value);
            let Some(value) = value else {
                let name = field.name();
                return Err(failed(format!(
                    "the file lies in no folder `{name}=..`, but table {} is PARTITIONED BY {name}",
                    self.table
                )));
            };
            let mut column = Column::new(field.name(), field.data_type(), true)?;
            let value = unescape(value);
            if value == self.default_name {
                column.take_null();
            } else if !column.take_text(&value, RULES) {
                return Err(failed(format!(
                    "folder {}: `{value}` is no {}",
                    field.name(),
                    type_name(field.data_type())
                )));
            }
            values.push(column.finish()?);
        }
        Ok(values)
    }
}

/// Takes rows apart by their partitions.
pub(super) struct Splitter {
    partitioning: Partitioning,
    /// The columns that partition the table, among those of a batch.
    keys: Vec<usize>,
    /// The others, which the files hold.
    rest: Vec<usize>,
    schema: SchemaRef,
    value: Vec<u8>,
    folder: String,
}

impl Splitter {
    /// `fields`: the columns of every batch.
    pub fn new(partitioning: Partitioning, fields: &[Field]) -> Self {
        let find = |key: &Field| fields.iter().position(|f| f.name() == key.name());
        let keys: Vec<usize> = partitioning.columns.iter().filter_map(find).collect();
        let rest: Vec<usize> = (0..fields.len()).filter(|index| !keys.contains(index)).collect();
        let schema =
            Arc::new(arrow::datatypes::Schema::new(rest.iter().map(|f| fields[*f].clone()).collect::<Vec<_>>()));
        Self { partitioning, keys, rest, schema, value: Vec::new(), folder: String::new() }
    }

    /// The columns that the files hold.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of each partition with its folder, empty or ending in a slash; in the order of their first rows.
    pub fn split(&mut self, records: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, DataflowError> {
        let rows = u32::try_from(records.num_rows()).unwrap_or(u32::MAX);
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        if self.keys.is_empty() {
            return Ok(vec![(String::new(), self.rest_of(records)?)]);
        }
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut last = usize::MAX;
        for row in 0..rows {
            self.name_folder(records, row as usize);
            // Rows of one partition often come together.
            if groups.get(last).is_none_or(|(folder, _)| *folder != self.folder) {
                last = match places.get(&self.folder) {
                    Some(place) => *place,
                    None => {
                        places.insert(self.folder.clone(), groups.len());
                        groups.push((self.folder.clone(), Vec::new()));
                        groups.len() - 1
                    }
                };
            }
            groups[last].1.push(row);
        }
        let rest = self.rest_of(records)?;
        if groups.len() == 1 {
            return Ok(groups.into_iter().map(|(folder, _)| (folder, rest.clone())).collect());
        }
        let taken = |(folder, rows)| Ok((folder, take_record_batch(&rest, &UInt32Array::from(rows))?));
        groups.into_iter().map(taken).collect()
    }

    fn rest_of(&self, records: &RecordBatch) -> Result<RecordBatch, DataflowError> {
        let columns = self.rest.iter().map(|index| Arc::clone(records.column(*index))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    fn name_folder(&mut self, records: &RecordBatch, row: usize) {
        self.folder.clear();
        for (key, field) in self.keys.iter().zip(&self.partitioning.columns) {
            let column: &dyn Array = records.column(*key);
            self.value.clear();
            if !column.is_null(row) {
                text::scalar(&mut self.value, column, row, RULES);
            }
            escape(&mut self.folder, field.name());
            self.folder.push('=');
            let value = std::str::from_utf8(&self.value).expect("values have texts");
            escape(&mut self.folder, if value.is_empty() { &self.partitioning.default_name } else { value });
            self.folder.push('/');
        }
    }
}

/// Adds a name as Hive writes it: what means something in a path or to Hive becomes `%` and two hexadecimal digits.
fn escape(out: &mut String, name: &str) {
    for c in name.chars() {
        let has_meaning = c < ' ' || "\"#%'*/:=?\\\u{7f}{[]^".contains(c);
        if has_meaning {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
}

/// What such a name stands for; a `%` without two digits stands for itself.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_hive_does() {
        let escaped = |name: &str| {
            let mut out = String::new();
            escape(&mut out, name);
            out
        };
        assert_eq!(escaped("a b-c_d.é"), "a b-c_d.é");
        assert_eq!(escaped("2020-01-01 10:00"), "2020-01-01 10%3A00");
        assert_eq!(escaped("a/b=c%{[^\u{1}\u{7f}"), "a%2Fb%3Dc%25%7B%5B%5E%01%7F");
        for name in ["a/b=c%41", "%", "100%", "é:\"*?\\'#"] {
            assert_eq!(unescape(&escaped(name)), name);
        }
        assert_eq!(unescape("a%2fb%zz%4"), "a/b%zz%4");
    }
}

//! Formats of records: bytes to columns and back.

mod csv;
mod json;
mod json_text;
mod parquet;
mod text;

pub(crate) use parquet::ParquetFile;

use crate::options;
use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, SchemaRef};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, OptionSpec, TableDescriptor};

/// The most rows that a decoder gives at once.
const BATCH_ROWS: usize = 8192;

/// Where the wanted columns lie in a record.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// How many fields a record has: the table's physical columns, read or not.
    pub width: usize,
    /// The field of every wanted column.
    pub places: Vec<usize>,
}

/// What came of decoding.
pub(crate) struct Decoded {
    /// Rows, if any.
    pub records: Option<RecordBatch>,
    /// Bytes used up.
    pub consumed: usize,
    /// Records left out because they could not be read.
    pub skipped: u64,
}

/// The error of a record that cannot be read.
fn bad_record(path: &str, offset: u64, detail: &str) -> DataflowError {
    let advice = "('scan.errors' = 'skip' counts such records and leaves them out)";
    DataflowError::Record { place: format!("{path}, byte {offset}"), detail: format!("{detail} {advice}") }
}

/// Decodes records that lie end to end in a file.
pub(crate) trait RecordDecoder: Send {
    /// Decodes complete records at the start of `bytes`, which lie at `offset` of the file; `at_end`: nothing follows.
    fn decode(&mut self, bytes: &[u8], offset: u64, at_end: bool) -> Result<Decoded, DataflowError>;
}

/// Encodes rows.
pub(crate) trait Encoder: Send {
    /// Takes rows.
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError>;

    /// What was encoded, if it is at least so many bytes; else nothing yet.
    fn take(&mut self, at_least: usize) -> Vec<u8>;

    /// What is left, and the end of the file.
    fn finish(&mut self) -> Result<Vec<u8>, DataflowError>;
}

/// What the planner knows of the formats.
pub fn descriptors() -> Vec<FormatDescriptor> {
    let option = |name, kind, default, help| OptionSpec { name, kind, required: false, default, help };
    let skip = "A record that cannot be read is counted and left out.";
    vec![
        FormatDescriptor {
            name: "json",
            options: vec![
                option("json.ignore-parse-errors", OptionKind::Boolean, "false", skip),
                option(
                    "json.encode.ignore-null-fields",
                    OptionKind::Boolean,
                    "false",
                    "Fields that are NULL are not written.",
                ),
            ],
        },
        FormatDescriptor {
            name: "csv",
            options: vec![
                option("csv.ignore-parse-errors", OptionKind::Boolean, "false", skip),
                option("csv.field-delimiter", OptionKind::Text, ",", "The character between two fields."),
                option("csv.null-literal", OptionKind::Text, "", "The text that stands for NULL."),
                option("csv.header", OptionKind::Boolean, "false", "The first line of every file names the columns."),
            ],
        },
        FormatDescriptor { name: "parquet", options: vec![] },
    ]
}

/// A table's format with its options.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Json { skip: bool, omit_nulls: bool },
    Csv { skip: bool, delimiter: u8, null: String, header: bool },
    Parquet,
}

impl Format {
    /// The format that a table declares.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let skips = |option: &str| -> Result<bool, DataflowError> {
            Ok(options::boolean(table, option, false)? || table.option("scan.errors") == Some("skip"))
        };
        match table.option("format") {
            Some("json") => Ok(Self::Json {
                skip: skips("json.ignore-parse-errors")?,
                omit_nulls: options::boolean(table, "json.encode.ignore-null-fields", false)?,
            }),
            Some("csv") => {
                let delimiter = match table.option("csv.field-delimiter").unwrap_or(",") {
                    "\\t" => b'\t',
                    text if text.len() == 1 => text.as_bytes()[0],
                    _ => return Err(options::bad(table, "csv.field-delimiter", "one character is needed")),
                };
                Ok(Self::Csv {
                    skip: skips("csv.ignore-parse-errors")?,
                    delimiter,
                    null: table.option("csv.null-literal").unwrap_or_default().to_owned(),
                    header: options::boolean(table, "csv.header", false)?,
                })
            }
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(options::bad(table, "format", "it is one of json, csv, parquet")),
        }
    }

    /// Refuses columns that the format cannot give, before anything is read.
    pub fn check_readable(&self, table: &str, fields: &[Field]) -> Result<(), DataflowError> {
        let is_readable = |data_type: &DataType| match self {
            Self::Json { .. } => json::is_readable(data_type),
            Self::Csv { .. } => can_cast_types(&DataType::Utf8, data_type) && !data_type.is_nested(),
            Self::Parquet => true,
        };
        match fields.iter().find(|f| !is_readable(f.data_type())) {
            None => Ok(()),
            Some(field) => Err(DataflowError::Unsupported {
                operator: format!("table {table}"),
                detail: format!(
                    "column {} of type {} in format '{}'",
                    field.name(),
                    field.data_type(),
                    self.extension()
                ),
            }),
        }
    }

    /// The ending of a file's name.
    pub const fn extension(&self) -> &'static str {
        match self {
            Self::Json { .. } => "json",
            Self::Csv { .. } => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// A decoder for a file of records; `from_start`: it begins with the file's first byte.
    pub fn decoder(&self, path: &str, schema: SchemaRef, layout: &Layout, from_start: bool) -> Box<dyn RecordDecoder> {
        match self {
            Self::Csv { skip, delimiter, null, header } => Box::new(
                csv::CsvDecoder::new(path, schema, layout.clone(), *delimiter, null.clone())
                    .skip_header(*header && from_start)
                    .skip_bad(*skip),
            ),
            Self::Json { skip, .. } => Box::new(json::JsonDecoder::new(path, schema, *skip)),
            Self::Parquet => Box::new(json::JsonDecoder::new(path, schema, false)),
        }
    }

    /// An encoder for a new file of the table.
    pub fn encoder(&self, table: &TableDescriptor) -> Result<Box<dyn Encoder>, DataflowError> {
        Ok(match self {
            Self::Json { omit_nulls, .. } => Box::new(json_text::JsonEncoder::new(*omit_nulls)),
            Self::Csv { delimiter, null, header, .. } => {
                Box::new(csv::CsvEncoder::new(*delimiter, null.clone(), *header))
            }
            Self::Parquet => Box::new(parquet::ParquetEncoder::new(table)?),
        })
    }
}

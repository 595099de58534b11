//! Parquet: the footer first, then the needed columns of one row group after the other.

use super::{BATCH_ROWS, Encoder};
use crate::options::{self, option};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, TableDescriptor, type_name};

/// Bytes of the file's end that are read first: most footers fit.
const FOOTER_BYTES: u64 = 64 << 10;

/// The parts of a file that are in memory.
#[derive(Debug, Clone)]
struct Parts {
    size: u64,
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    fn find(&self, start: u64) -> Option<Bytes> {
        let (at, bytes) = self.parts.iter().find(|(at, b)| *at <= start && start < at + b.len() as u64)?;
        Some(bytes.slice((start - at) as usize..))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Parts {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.find(start).map(Buf::reader).ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let found = self.find(start).filter(|b| b.len() >= length);
        found.map(|b| b.slice(..length)).ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))
    }
}

/// A parquet file being read.
pub(crate) struct ParquetFile {
    path: String,
    schema: SchemaRef,
    parts: Parts,
    /// How many bytes of the end were asked for.
    footer_bytes: u64,
    metadata: Option<Arc<ParquetMetaData>>,
    /// The leaves of the schema's columns in the file.
    leaves: Vec<usize>,
    group: usize,
    /// Rows of the group that were given.
    row: usize,
    /// Columns of the group that are still to be read.
    wanted: Vec<(u64, u64)>,
    asked: Option<u64>,
    reader: Option<ParquetRecordBatchReader>,
}

impl ParquetFile {
    /// `position`: row group and row to go on at.
    pub fn new(path: String, size: u64, schema: SchemaRef, position: (Option<u64>, Option<u64>)) -> Self {
        Self {
            path,
            schema,
            parts: Parts { size, parts: Vec::new() },
            footer_bytes: 0,
            metadata: None,
            leaves: Vec::new(),
            group: position.0.unwrap_or(0) as usize,
            row: position.1.unwrap_or(0) as usize,
            wanted: Vec::new(),
            asked: None,
            reader: None,
        }
    }

    /// Row group and row to go on at.
    pub const fn position(&self) -> (usize, usize) {
        (self.group, self.row)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> DataflowError {
        DataflowError::Record { place: self.path.clone(), detail: format!("no readable parquet file: {error}") }
    }

    /// The bytes to read next: first and length; `None` at the end of the file.
    pub fn wanted(&mut self) -> Result<Option<(u64, u64)>, DataflowError> {
        let Some(metadata) = self.metadata.clone() else {
            let length = if self.footer_bytes == 0 { FOOTER_BYTES } else { self.footer_bytes };
            let length = length.min(self.parts.size);
            self.footer_bytes = length;
            self.asked = Some(self.parts.size - length);
            return Ok(Some((self.parts.size - length, length)));
        };
        if self.group >= metadata.num_row_groups() {
            return Ok(None);
        }
        if self.wanted.is_empty() {
            let group = metadata.row_group(self.group);
            self.parts.parts.clear();
            let range = |leaf: usize| {
                let found = byte_range(group.column(leaf), self.parts.size);
                found.ok_or_else(|| self.failed(&format!("column {leaf} would lie outside of the file")))
            };
            let mut wanted = self.leaves.iter().map(|leaf| range(*leaf)).collect::<Result<Vec<_>, _>>()?;
            // Without columns there is only the number of rows: any column tells it.
            if wanted.is_empty() && group.num_columns() > 0 {
                wanted.push(range(0)?);
            }
            self.wanted = wanted;
        }
        let (start, length) = self.wanted[self.wanted.len() - 1];
        self.asked = Some(start);
        Ok(Some((start, length)))
    }

    /// Takes the bytes that were asked for.
    pub fn on_bytes(&mut self, bytes: Vec<u8>) -> Result<(), DataflowError> {
        let start = self.asked.take().unwrap_or(0);
        self.parts.parts.push((start, Bytes::from(bytes)));
        if self.metadata.is_none() {
            return self.read_footer();
        }
        self.wanted.pop();
        if self.wanted.is_empty() { self.begin_group() } else { Ok(()) }
    }

    fn read_footer(&mut self) -> Result<(), DataflowError> {
        let (start, tail) = self.parts.parts[0].clone();
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, self.parts.size) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(needed)) if start > 0 => {
                self.parts.parts.clear();
                self.footer_bytes = needed as u64;
                return Ok(());
            }
            Err(error) => return Err(self.failed(&error)),
        }
        let metadata = Arc::new(reader.finish().map_err(|e| self.failed(&e))?);
        let columns = metadata.file_metadata().schema_descr();
        for field in self.schema.fields() {
            let before = self.leaves.len();
            // A nested column has several leaves.
            let root = |leaf: &usize| columns.column(*leaf).path().parts()[0] == *field.name();
            self.leaves.extend((0..columns.num_columns()).filter(root));
            if self.leaves.len() == before {
                let mut names: Vec<&str> = columns.root_schema().get_fields().iter().map(|f| f.name()).collect();
                names.dedup();
                return Err(DataflowError::Record {
                    place: self.path.clone(),
                    detail: format!("no column `{}`; the file has {}", field.name(), names.join(", ")),
                });
            }
        }
        self.metadata = Some(metadata);
        Ok(())
    }

    fn begin_group(&mut self) -> Result<(), DataflowError> {
        let metadata = Arc::clone(self.metadata.as_ref().expect("the footer was read"));
        let mask = ProjectionMask::leaves(metadata.file_metadata().schema_descr(), self.leaves.iter().copied());
        let metadata =
            ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new()).map_err(|e| self.failed(&e))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.parts.clone(), metadata)
            .with_projection(mask)
            .with_row_groups(vec![self.group])
            .with_batch_size(BATCH_ROWS)
            .with_offset(self.row)
            .build()
            .map_err(|e| self.failed(&e))?;
        self.reader = Some(reader);
        Ok(())
    }

    /// The next rows of the group at hand; `None` if bytes must be read first.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, DataflowError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        // The decoders trust what a page says of itself, and break down where it is damaged.
        let next = catch_unwind(AssertUnwindSafe(|| reader.next()));
        let Ok(next) = next else {
            self.reader = None;
            return Err(self.failed(&format!("row group {} is damaged", self.group)));
        };
        match next {
            Some(Ok(batch)) => {
                self.row += batch.num_rows();
                let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.leaves.len());
                for field in self.schema.fields() {
                    let column = batch.column_by_name(field.name());
                    let column = column.ok_or_else(|| self.failed(&format!("column {} was not read", field.name())))?;
                    if !keeps_values(column.data_type(), field.data_type()) {
                        return Err(DataflowError::Record {
                            place: self.path.clone(),
                            detail: format!(
                                "column {} is {} in the file, which cannot be read as {}: declare it as what it is",
                                field.name(),
                                type_name(column.data_type()),
                                type_name(field.data_type())
                            ),
                        });
                    }
                    let options = CastOptions { safe: false, ..CastOptions::default() };
                    let column = cast_with_options(column, field.data_type(), &options);
                    columns.push(column.map_err(|error| DataflowError::Record {
                        place: self.path.clone(),
                        detail: format!("column {}: {error}", field.name()),
                    })?);
                }
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
            }
            Some(Err(error)) => Err(self.failed(&error)),
            None => {
                self.reader = None;
                self.group += 1;
                self.row = 0;
                Ok(None)
            }
        }
    }
}

/// Where a column's bytes lie; `None` if a damaged footer places them outside of the file.
fn byte_range(column: &ColumnChunkMetaData, file_size: u64) -> Option<(u64, u64)> {
    let offsets = [Some(column.data_page_offset()), column.dictionary_page_offset(), Some(column.compressed_size())];
    if offsets.iter().flatten().any(|number| *number < 0) {
        return None;
    }
    let (start, length) = column.byte_range();
    start.checked_add(length).filter(|end| *end <= file_size).map(|_| (start, length))
}

/// True if every value of a file's column either has the same meaning as the table's type, or is refused by the cast.
fn keeps_values(file: &DataType, table: &DataType) -> bool {
    use DataType as T;
    match (file, table) {
        (file, table) if file == table => true,
        (T::Struct(a), T::Struct(b)) => b.iter().all(|field| {
            let found = a.iter().find(|f| f.name() == field.name());
            found.is_some_and(|f| keeps_values(f.data_type(), field.data_type()))
        }),
        (T::List(a) | T::LargeList(a), T::List(b)) => keeps_values(a.data_type(), b.data_type()),
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            // The entries' fields are told apart by position: writers name them in several ways.
            (T::Struct(a), T::Struct(b)) => a.iter().zip(b).all(|(a, b)| keeps_values(a.data_type(), b.data_type())),
            _ => false,
        },
        (T::Dictionary(_, values), table) => keeps_values(values, table),
        (a, b) if a.is_integer() => b.is_integer() || matches!(b, T::Decimal128(..) | T::Float64),
        (T::Float16 | T::Float32, T::Float32 | T::Float64) => true,
        (a, T::Decimal128(_, scale)) if a.is_decimal() => {
            let (T::Decimal32(_, s) | T::Decimal64(_, s) | T::Decimal128(_, s) | T::Decimal256(_, s)) = a else {
                return false;
            };
            s <= scale
        }
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (T::Date32 | T::Date64, T::Date32) => true,
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_)) => true,
        (T::Timestamp(..), T::Timestamp(..)) => true,
        _ => false,
    }
}

/// Encoded bytes of a row group; with as many it is handed over, so that no part is held whole.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// The format's options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParquetOptions {
    compression: Compression,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    FormatDescriptor {
        name: "parquet",
        changes: false,
        options: vec![option(
            "parquet.compression",
            OptionKind::OneOf(&["UNCOMPRESSED", "SNAPPY", "ZSTD"]),
            "SNAPPY",
            "How pages are compressed when they are written; files are read with any of these.",
        )],
    }
}

impl ParquetOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let compression = match table.option("parquet.compression") {
            None | Some("SNAPPY") => Compression::SNAPPY,
            Some("UNCOMPRESSED") => Compression::UNCOMPRESSED,
            Some("ZSTD") => Compression::ZSTD(ZstdLevel::default()),
            Some(_) => return Err(options::bad(table, "parquet.compression", "it is UNCOMPRESSED, SNAPPY or ZSTD")),
        };
        Ok(Self { compression })
    }
}

/// Encodes rows.
pub(super) struct ParquetEncoder {
    schema: SchemaRef,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl ParquetEncoder {
    /// `schema`: the columns that a file holds.
    pub fn new(schema: SchemaRef, options: ParquetOptions) -> Result<Self, DataflowError> {
        let properties = WriterProperties::builder().set_compression(options.compression).build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties));
        Ok(Self { schema, writer: Some(writer.map_err(|e| not_written(&e))?) })
    }
}

fn not_written(error: &ParquetError) -> DataflowError {
    DataflowError::Record { place: "parquet".to_owned(), detail: error.to_string() }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let records = RecordBatch::try_new(Arc::clone(&self.schema), records.columns().to_vec())?;
        let writer = self.writer.as_mut().expect("a finished file takes no rows");
        writer.write(&records).map_err(|e| not_written(&e))?;
        if writer.in_progress_size() >= ROW_GROUP_BYTES {
            writer.flush().map_err(|e| not_written(&e))?;
        }
        Ok(())
    }

    fn take(&mut self, at_least: usize) -> Result<Vec<u8>, DataflowError> {
        let writer = self.writer.as_mut().expect("a finished file is not asked");
        if at_least == 0 {
            writer.flush().map_err(|e| not_written(&e))?;
        }
        // What the writer has put into its buffer counts as written: offsets in the footer stay right.
        writer.sync().map_err(|e| not_written(&e.into()))?;
        Ok(super::take_bytes(writer.inner_mut(), at_least))
    }

    fn held_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.memory_size() + writer.inner().len())
    }

    fn finish(&mut self) -> Result<Vec<u8>, DataflowError> {
        let writer = self.writer.take().expect("a file is finished once");
        writer.into_inner().map_err(|e| not_written(&e))
    }
}

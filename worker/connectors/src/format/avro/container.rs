//! Avro's files: a head with the schema, then blocks of records, each compressed and followed by the file's mark.
//!
//! A file is read by the schema in its head, whose fields go to the columns of the same names. A block is read as a whole: a
//! position lies between two blocks.

use super::codec::Codec;
use super::decode::{Cursor, Wrong, rows_of};
use super::encode::{AvroEncoder, long, variable};
use super::schema;
use super::shape::Shapes;
use crate::format::rows::Rows;
use crate::format::{Decoded, Encoder, RecordDecoder, take_bytes};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sha2::{Digest, Sha256};
use streamfleet_dataflow::DataflowError;

const MAGIC: &[u8; 4] = b"Obj\x01";

/// Bytes of the mark that ends the head and every block.
const MARK: usize = 16;

/// Bytes of records before a block is ended, as Avro's own writers do; fewer where tests want several blocks.
const BLOCK_BYTES: usize = if cfg!(test) { 2_000 } else { 64_000 };

/// What a file's head says.
struct Head {
    codec: Codec,
    shapes: Shapes,
    mark: [u8; MARK],
}

enum State {
    /// The head was not read yet.
    Begin,
    Blocks(Head),
    /// Where the next block begins is not known: nothing more can be read.
    Lost,
}

/// Decodes a file.
pub(in crate::format) struct ContainerDecoder {
    schema: SchemaRef,
    rows: Rows,
    state: State,
}

impl ContainerDecoder {
    /// For columns of this schema.
    pub fn new(schema: SchemaRef) -> Result<Self, DataflowError> {
        Ok(Self { rows: rows_of(SchemaRef::clone(&schema))?, schema, state: State::Begin })
    }

    /// Reads the head at the start of `bytes`; gives its length.
    fn head(&self, bytes: &[u8]) -> Result<(Head, usize), Trouble> {
        let mut cursor = Cursor::new(bytes, &[]);
        let magic = cursor.take_bytes(MAGIC.len().min(bytes.len()))?;
        if !MAGIC.starts_with(magic) {
            return Err(Trouble::Broken("it is no Avro file: it does not begin with `Obj` and a one".to_owned()));
        }
        if magic.len() < MAGIC.len() {
            return Err(Trouble::Cut(cursor.wrong("the file ends within its head")));
        }
        let (mut text, mut codec) = (String::new(), "null".to_owned());
        loop {
            let count = cursor.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let (key, value) = (cursor.text()?, cursor.variable()?);
                match key {
                    "avro.schema" => text = String::from_utf8_lossy(value).into_owned(),
                    "avro.codec" => codec = String::from_utf8_lossy(value).into_owned(),
                    _ => {}
                }
            }
        }
        let mark = cursor.fixed()?;
        let codec = Codec::of(&codec).ok_or_else(|| {
            Trouble::Broken(format!("its codec is `{codec}`, and {} are known", Codec::NAMES.join(", ")))
        })?;
        let schema = schema::parse(&text).map_err(|detail| Trouble::Broken(format!("its schema: {detail}")))?;
        let shapes = Shapes::of(&schema, &[], self.schema.fields())
            .map_err(|detail| Trouble::Broken(format!("its schema: {detail}")))?;
        Ok((Head { codec, shapes, mark }, cursor.at))
    }

    /// Nothing from here on can be read.
    fn lose(&mut self, bytes: &[u8], reason: String) -> Result<Decoded, DataflowError> {
        self.state = State::Lost;
        self.rows.bad(0, bytes.len(), format!("{reason}; the rest of the file is left out"));
        self.rows.finish(bytes.len())
    }
}

/// Why a piece of a file cannot be read.
enum Trouble {
    /// More bytes may help.
    Cut(Wrong),
    Broken(String),
}

impl From<Wrong> for Trouble {
    fn from(wrong: Wrong) -> Self {
        Self::Cut(wrong)
    }
}

/// The block at the start of `bytes`: its number of records, what lies in it, and its length.
fn block<'a>(bytes: &'a [u8], mark: &[u8; MARK]) -> Result<(u64, &'a [u8], usize), Trouble> {
    let mut cursor = Cursor::new(bytes, &[]);
    let (count, size) = (cursor.long()?, cursor.long()?);
    let (Ok(count), Ok(size)) = (u64::try_from(count), usize::try_from(size)) else {
        return Err(Trouble::Broken("a block of fewer than no records or bytes".to_owned()));
    };
    let packed = cursor.take_bytes(size)?;
    if cursor.fixed::<MARK>()? != *mark {
        return Err(Trouble::Broken("a block that does not end with the file's mark".to_owned()));
    }
    Ok((count, packed, cursor.at))
}

impl RecordDecoder for ContainerDecoder {
    fn needs_head(&self) -> bool {
        true
    }

    fn decode(&mut self, bytes: &[u8], at_end: bool) -> Result<Decoded, DataflowError> {
        if bytes.is_empty() {
            return self.rows.finish(0);
        }
        let State::Blocks(head) = &self.state else {
            if matches!(self.state, State::Lost) {
                return self.rows.finish(bytes.len());
            }
            return match self.head(bytes) {
                Ok((head, length)) => {
                    self.state = State::Blocks(head);
                    self.rows.finish(length)
                }
                Err(Trouble::Cut(_)) if !at_end => self.rows.finish(0),
                Err(Trouble::Cut(wrong)) => {
                    self.lose(bytes, format!("the file ends within its head, or the head is broken: {wrong}"))
                }
                Err(Trouble::Broken(reason)) => self.lose(bytes, reason),
            };
        };
        let (count, packed, length) = match block(bytes, &head.mark) {
            Ok(found) => found,
            Err(Trouble::Cut(_)) if !at_end => return self.rows.finish(0),
            Err(Trouble::Cut(_)) => return self.lose(bytes, "the file ends within a block".to_owned()),
            Err(Trouble::Broken(reason)) => return self.lose(bytes, reason),
        };
        let unpacked = match head.codec.unpack(packed) {
            Ok(unpacked) => unpacked,
            Err(error) => {
                self.rows.bad(0, length, format!("a block of {count} records cannot be unpacked: {error}"));
                return self.rows.finish(length);
            }
        };
        let mut cursor = Cursor::new(&unpacked, &head.shapes.passed);
        for number in 1..=count {
            // Where the next one begins is not known.
            if let Err(wrong) = cursor.take_checked(&head.shapes, &mut self.rows) {
                let left = count - number + 1;
                self.rows.bad(0, length, format!("record {number} of a block, of which {left} are left out: {wrong}"));
                break;
            }
            self.rows.end_row(0, length);
        }
        self.rows.finish(length)
    }
}

/// Encodes a file.
pub(in crate::format) struct ContainerEncoder {
    encoder: AvroEncoder,
    codec: Codec,
    mark: [u8; MARK],
    /// The records of the block at hand, and their number.
    block: Vec<u8>,
    rows: i64,
    /// What is complete.
    bytes: Vec<u8>,
}

impl ContainerEncoder {
    /// Under this schema, which the encoder follows.
    pub fn new(encoder: AvroEncoder, schema: &str, codec: Codec) -> Self {
        // Any bytes do that records are not likely to hold.
        let digest = Sha256::digest(schema.as_bytes());
        let mut mark = [0; MARK];
        mark.copy_from_slice(&digest[..MARK]);
        let mut bytes = MAGIC.to_vec();
        long(&mut bytes, 2);
        for (key, value) in [("avro.schema", schema), ("avro.codec", codec.name())] {
            variable(&mut bytes, key.as_bytes());
            variable(&mut bytes, value.as_bytes());
        }
        long(&mut bytes, 0);
        bytes.extend(mark);
        Self { encoder, codec, mark, block: Vec::new(), rows: 0, bytes }
    }

    fn end_block(&mut self) -> Result<(), DataflowError> {
        if self.rows > 0 {
            let packed = self.codec.pack(&self.block).map_err(|detail| DataflowError::Record {
                place: self.encoder.place(),
                detail: format!("a block cannot be compressed: {detail}"),
            })?;
            long(&mut self.bytes, std::mem::take(&mut self.rows));
            variable(&mut self.bytes, &packed);
            self.bytes.extend(self.mark);
            self.block.clear();
        }
        Ok(())
    }
}

impl Encoder for ContainerEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        for row in 0..records.num_rows() {
            self.encoder.put(&mut self.block, records.columns(), row)?;
            self.rows += 1;
            if self.block.len() >= BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at_least: usize) -> Result<Vec<u8>, DataflowError> {
        Ok(take_bytes(&mut self.bytes, at_least))
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len() + self.block.len()
    }

    fn finish(&mut self) -> Result<Vec<u8>, DataflowError> {
        self.end_block()?;
        Ok(std::mem::take(&mut self.bytes))
    }
}

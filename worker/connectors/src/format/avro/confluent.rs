//! Avro records whose schema a registry keeps: a zero byte, the schema's number in four bytes, the record.
//!
//! A record is read by the schema that it was written under, whose fields go to the columns of the same names. Schemas are asked
//! for when a message first names them, and kept.

use super::confluent_options::ConfluentOptions;
use super::decode::{rows_of, take_record};
use super::encode::AvroEncoder;
use super::schema;
use super::shape::Shapes;
use crate::format::message::{DecodedMessages, Link, MessageBuffer, MessageDecoder, MessageEncoder};
use crate::format::rows::Rows;
use crate::inbox::Inbox;
use crate::registry::{RegisteredSchema, Registry, RegistryFault, RegistrySettings};
use apache_avro::Schema;
use arrow::datatypes::SchemaRef;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// What begins every message.
const MAGIC: u8 = 0;

/// Bytes before the record.
const HEAD: usize = 5;

/// Schemas that are kept before all are forgotten: numbers in broken messages are any.
const MOST_KNOWN: usize = 10_000;

/// A way to a registry, and what comes back.
struct Desk<T> {
    place: String,
    registry: Box<dyn Registry>,
    inbox: Inbox<T>,
}

impl<T> Desk<T> {
    fn open(settings: &RegistrySettings, link: &Link<'_>) -> Result<Self, DataflowError> {
        let registry = (link.open)(settings.clone()).map_err(|fault| failed(link.place, &fault))?;
        Ok(Self { place: link.place.to_owned(), registry, inbox: Inbox::new(Arc::clone(&link.waker)) })
    }
}

fn failed(place: &str, fault: &RegistryFault) -> DataflowError {
    DataflowError::outside(place.to_owned(), fault.detail.clone(), fault.outlook)
}

/// Decodes messages of any schemas.
pub(in crate::format) struct ConfluentDecoder {
    schema: SchemaRef,
    settings: RegistrySettings,
    desk: Option<Desk<(u32, Result<RegisteredSchema, RegistryFault>)>>,
    rows: Rows,
    /// Schemas by their numbers; of such that do not do, why.
    known: HashMap<u32, Result<Arc<Shapes>, String>>,
    /// The schema of the last message: most have the one of the message before.
    current: Option<(u32, Arc<Shapes>)>,
    asked: HashSet<u32>,
}

impl ConfluentDecoder {
    /// For columns of this schema.
    pub fn new(schema: SchemaRef, options: &ConfluentOptions) -> Result<Self, DataflowError> {
        Ok(Self {
            rows: rows_of(SchemaRef::clone(&schema))?,
            schema,
            settings: options.settings.clone(),
            desk: None,
            known: HashMap::new(),
            current: None,
            asked: HashSet::new(),
        })
    }

    fn compile(&self, id: u32, schema: &RegisteredSchema) -> Result<Shapes, String> {
        let of = |detail: String| format!("schema {id} in the registry: {detail}");
        if schema.language != "AVRO" {
            return Err(of(format!("it is written in {}, not in AVRO", schema.language)));
        }
        let (schema, references) = schema::parse_with(&schema.text, &schema.references).map_err(of)?;
        Shapes::of(&schema, &references, self.schema.fields()).map_err(of)
    }

    fn listen(&mut self) -> Result<(), DataflowError> {
        let Some(desk) = &self.desk else { return Ok(()) };
        while let Some((id, answer)) = desk.inbox.next() {
            let known = match answer {
                Ok(schema) => self.compile(id, &schema).map(Arc::new),
                Err(fault) if fault.is_unknown => Err(fault.detail),
                Err(fault) => return Err(failed(&desk.place, &fault)),
            };
            self.asked.remove(&id);
            self.known.insert(id, known);
        }
        Ok(())
    }
}

/// The number of a message's schema.
fn id_of(message: &[u8]) -> Option<u32> {
    match message {
        [MAGIC, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

impl MessageDecoder for ConfluentDecoder {
    fn connect(&mut self, link: &Link<'_>) -> Result<(), DataflowError> {
        self.desk = Some(Desk::open(&self.settings, link)?);
        Ok(())
    }

    fn is_ready(&mut self, messages: &MessageBuffer) -> Result<bool, DataflowError> {
        self.listen()?;
        let mut is_ready = true;
        let mut last = None;
        for index in 0..messages.ends.len() {
            let Some(id) = id_of(messages.get(index)).filter(|id| last != Some(*id)) else { continue };
            last = Some(id);
            if self.known.contains_key(&id) {
                continue;
            }
            is_ready = false;
            if let Some(desk) = self.desk.as_ref().filter(|_| self.asked.insert(id)) {
                let inbox = desk.inbox.clone();
                desk.registry.schema(id, Box::new(move |answer| inbox.put((id, answer))));
            }
        }
        Ok(is_ready)
    }

    fn take(&mut self, message: &[u8]) {
        let id = id_of(message);
        if let Some((_, shapes)) = self.current.as_ref().filter(|(current, _)| Some(*current) == id) {
            return take_record(&mut self.rows, shapes, message, HEAD);
        }
        let number = self.rows.seen();
        let reason = match id.map(|id| (id, self.known.get(&id))) {
            Some((id, Some(Ok(shapes)))) => {
                take_record(&mut self.rows, shapes, message, HEAD);
                self.current = Some((id, Arc::clone(shapes)));
                return;
            }
            Some((_, Some(Err(reason)))) => reason.clone(),
            Some((_, None)) => "its schema is not known".to_owned(),
            None => "it does not begin with a zero byte and a schema's number: was it written without a registry?"
                .to_owned(),
        };
        self.rows.bad(number, number, reason);
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

/// Encodes rows under one schema, which is registered first.
pub(in crate::format) struct ConfluentEncoder {
    inner: AvroEncoder,
    settings: RegistrySettings,
    subject: Option<String>,
    text: String,
    registers: bool,
    desk: Option<Desk<Result<u32, RegistryFault>>>,
    head: Option<[u8; HEAD]>,
}

impl ConfluentEncoder {
    /// For rows of these columns.
    pub fn of_rows(table: &str, columns: &SchemaRef, options: &ConfluentOptions) -> Result<Self, DataflowError> {
        Self::new(table, columns, options, |local_times| schema::of_columns(columns.fields(), local_times))
    }

    /// For records of these columns. `derive`: the schema that they have without one of the user's, for times of no known
    /// place or of UTC only.
    pub(super) fn new(
        table: &str,
        columns: &SchemaRef,
        options: &ConfluentOptions,
        derive: impl FnOnce(bool) -> Result<(String, Schema), String>,
    ) -> Result<Self, DataflowError> {
        let unsupported = |detail: String| DataflowError::Unsupported {
            operator: format!("table {table}"),
            detail: format!("format '{}': {detail}", options.format),
        };
        let (text, schema) = match &options.schema {
            Some(text) => (text.clone(), schema::parse(text).map_err(unsupported)?),
            None => derive(options.avro.has_all_times())
                .map_err(|detail| unsupported(format!("the columns as an Avro schema: {detail}")))?,
        };
        let shapes = Shapes::to_write(&schema, columns.fields())
            .map_err(|why| unsupported(format!("rows cannot be written under '{}.schema': {why}", options.format)))?;
        Ok(Self {
            inner: AvroEncoder::new(table, columns, shapes),
            settings: options.settings.clone(),
            subject: options.subject.clone(),
            text,
            registers: options.registers,
            desk: None,
            head: None,
        })
    }
}

impl MessageEncoder for ConfluentEncoder {
    fn connect(&mut self, link: &Link<'_>) -> Result<(), DataflowError> {
        let desk = Desk::open(&self.settings, link)?;
        let inbox = desk.inbox.clone();
        let subject = self.subject.clone().unwrap_or_else(|| link.subject.clone());
        desk.registry.id(subject, self.text.clone(), self.registers, Box::new(move |answer| inbox.put(answer)));
        self.desk = Some(desk);
        Ok(())
    }

    fn is_ready(&mut self) -> Result<bool, DataflowError> {
        if let Some(desk) = &self.desk
            && let Some(answer) = desk.inbox.next()
        {
            let [a, b, c, d] = answer.map_err(|fault| failed(&desk.place, &fault))?.to_be_bytes();
            self.head = Some([MAGIC, a, b, c, d]);
        }
        Ok(self.head.is_some())
    }

    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        let head = self.head.expect("rows come when the schema has its number");
        self.inner.encode_behind(&head, rows, out)
    }
}

//! How values lie in a message and which column takes each: a schema, compiled once for the columns of a table.

use crate::format::column::entry_fields;
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, UuidSchema};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use std::collections::HashMap;
use streamfleet_logical::type_name;

/// What a whole number counts, as far as its schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Unknown,
    Days,
    Millis,
    Micros,
    Nanos,
}

/// How a value lies in a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Null,
    Boolean,
    Int(Unit),
    Long(Unit),
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    /// A number without its decimal point, in so many bytes, or with its length before it.
    Decimal {
        size: Option<usize>,
        scale: i8,
    },
    /// One of some names, by its place.
    Symbol(Vec<String>),
    Record(RecordShape),
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    /// A record that no column takes, by its place among [`Shapes::passed`]: it may contain itself.
    Passed(usize),
    /// A branch of a union that the column does not take, and why.
    Unfit(String),
}

/// Fields of a record, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecordShape {
    /// Each with the column that takes it, if one does.
    pub fields: Vec<(Option<usize>, Shape)>,
    /// Columns that no field gives a value.
    pub absent: Vec<usize>,
}

/// A compiled schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shapes {
    /// The number that stands before every record, if the schema is a union of the record and `null`.
    pub branch: Option<usize>,
    pub record: RecordShape,
    /// Records that no column takes.
    pub passed: Vec<RecordShape>,
}

impl Shapes {
    /// For the columns that a message's fields of the same names give values. `references`: schemas that this one refers to.
    ///
    /// # Errors
    /// The schema is no record, or values of a field cannot become values of its column.
    pub fn of<'a>(
        schema: &Schema,
        references: &[Schema],
        columns: impl IntoIterator<Item = &'a FieldRef>,
    ) -> Result<Self, String> {
        Self::compile(schema, references, columns, false)
    }

    /// For rows of these columns, which are written under the schema.
    ///
    /// # Errors
    /// The schema is no record, or values of a column cannot become values of its field.
    pub fn to_write<'a>(schema: &Schema, columns: impl IntoIterator<Item = &'a FieldRef>) -> Result<Self, String> {
        let columns: Vec<&FieldRef> = columns.into_iter().collect();
        let shapes = Self::compile(schema, &[], columns.iter().copied(), true)?;
        why_not_written(&shapes.record, columns).map_or(Ok(shapes), Err)
    }

    fn compile<'a>(
        schema: &Schema,
        references: &[Schema],
        columns: impl IntoIterator<Item = &'a FieldRef>,
        is_written: bool,
    ) -> Result<Self, String> {
        let mut compiler = Compiler { names: HashMap::new(), known: HashMap::new(), passed: Vec::new(), is_written };
        references.iter().chain([schema]).for_each(|schema| compiler.name(schema));
        let columns: Vec<&FieldRef> = columns.into_iter().collect();
        let (schema, branch) = match schema {
            Schema::Union(of) if of.is_nullable() && of.variants().len() == 2 => {
                let branch = usize::from(matches!(of.variants()[0], Schema::Null));
                (&of.variants()[branch], Some(branch))
            }
            schema => (schema, None),
        };
        let Schema::Record(_) = schema else {
            return Err(format!("it is no record but {}", text_of(schema)));
        };
        let record = compiler.record(schema, &columns, "")?;
        Ok(Self { branch, record, passed: compiler.passed })
    }
}

/// See [`Shapes::of`].
struct Compiler<'s> {
    /// Types by their full names.
    names: HashMap<String, &'s Schema>,
    /// Places of records that no column takes.
    known: HashMap<String, usize>,
    passed: Vec<RecordShape>,
    /// Values go from columns to fields: which ones can is said by [`why_not_written`].
    is_written: bool,
}

impl<'s> Compiler<'s> {
    /// Notes the named types of a schema.
    fn name(&mut self, schema: &'s Schema) {
        match schema {
            Schema::Record(record) => {
                self.names.insert(record.name.fullname(None), schema);
                record.fields.iter().for_each(|field| self.name(&field.schema));
            }
            Schema::Enum(of) => drop(self.names.insert(of.name.fullname(None), schema)),
            Schema::Fixed(of) | Schema::Duration(of) | Schema::Uuid(UuidSchema::Fixed(of)) => {
                self.names.insert(of.name.fullname(None), schema);
            }
            Schema::Decimal(of) => {
                if let InnerDecimalSchema::Fixed(of) = &of.inner {
                    self.names.insert(of.name.fullname(None), schema);
                }
            }
            Schema::Array(of) => self.name(&of.items),
            Schema::Map(of) => self.name(&of.types),
            Schema::Union(of) => of.variants().iter().for_each(|variant| self.name(variant)),
            _ => {}
        }
    }

    /// The type behind a name.
    fn resolve(&self, schema: &'s Schema) -> Result<&'s Schema, String> {
        match schema {
            Schema::Ref { name } => {
                let name = name.fullname(None);
                self.names.get(&name).copied().ok_or_else(|| format!("the schema does not say what {name} is"))
            }
            other => Ok(other),
        }
    }

    fn record(&mut self, schema: &'s Schema, columns: &[&FieldRef], path: &str) -> Result<RecordShape, String> {
        let Schema::Record(record) = schema else { return Err(format!("{} is no record", text_of(schema))) };
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let column = columns.iter().position(|column| *column.name() == field.name);
            let shape = match column {
                None => self.passing(&field.schema)?,
                Some(column) => self.taking(&field.schema, columns[column].data_type(), &join(path, &field.name))?,
            };
            fields.push((column, shape));
        }
        let is_absent = |column: &usize| !fields.iter().any(|(taken, _)| *taken == Some(*column));
        let absent = (0..columns.len()).filter(is_absent).collect();
        Ok(RecordShape { fields, absent })
    }

    /// A value that no column takes.
    fn passing(&mut self, schema: &'s Schema) -> Result<Shape, String> {
        let schema = self.resolve(schema)?;
        Ok(match schema {
            Schema::Record(record) => {
                let name = record.name.fullname(None);
                if let Some(place) = self.known.get(&name) {
                    return Ok(Shape::Passed(*place));
                }
                let place = self.passed.len();
                self.known.insert(name, place);
                self.passed.push(RecordShape { fields: Vec::new(), absent: Vec::new() });
                let fields = record.fields.iter().map(|field| Ok((None, self.passing(&field.schema)?)));
                self.passed[place].fields = fields.collect::<Result<_, String>>()?;
                Shape::Passed(place)
            }
            Schema::Array(of) => Shape::Array(Box::new(self.passing(&of.items)?)),
            Schema::Map(of) => Shape::Map(Box::new(self.passing(&of.types)?)),
            Schema::Union(of) => {
                Shape::Union(of.variants().iter().map(|v| self.passing(v)).collect::<Result<_, String>>()?)
            }
            scalar => scalar_shape(scalar),
        })
    }

    /// A value that a column of the type takes; `path`: the field, for errors.
    fn taking(&mut self, schema: &'s Schema, data_type: &DataType, path: &str) -> Result<Shape, String> {
        let schema = self.resolve(schema)?;
        match (schema, data_type) {
            (Schema::Union(of), _) => {
                let shapes: Vec<Shape> = of
                    .variants()
                    .iter()
                    .map(|variant| match variant {
                        Schema::Null => Shape::Null,
                        variant => self.taking(variant, data_type, path).unwrap_or_else(Shape::Unfit),
                    })
                    .collect();
                let is_of_use = shapes.iter().any(|shape| !matches!(shape, Shape::Unfit(_)));
                match shapes.iter().find(|shape| matches!(shape, Shape::Unfit(_))) {
                    Some(Shape::Unfit(reason)) if !is_of_use || of.is_nullable() && shapes.len() == 2 => {
                        Err(reason.clone())
                    }
                    _ => Ok(Shape::Union(shapes)),
                }
            }
            (Schema::Record(_), DataType::Struct(fields)) => {
                Ok(Shape::Record(self.record(schema, &fields.iter().collect::<Vec<_>>(), path)?))
            }
            (Schema::Array(of), DataType::List(element)) => {
                Ok(Shape::Array(Box::new(self.taking(&of.items, element.data_type(), path)?)))
            }
            (Schema::Map(of), DataType::Map(entries, _)) => {
                let fields = entry_fields(entries).map_err(|error| error.to_string())?;
                Ok(Shape::Map(Box::new(self.taking(&of.types, fields[1].data_type(), path)?)))
            }
            (Schema::Record(_) | Schema::Array(_) | Schema::Map(_), _) => Err(unfit(schema, data_type, path)),
            (scalar, _) => {
                // Bytes that nothing more is said of hold a number as its column has it.
                let shape = match (scalar_shape(scalar), data_type) {
                    (Shape::Bytes, DataType::Decimal128(_, scale)) => Shape::Decimal { size: None, scale: *scale },
                    (Shape::Fixed(size), DataType::Decimal128(_, scale)) => {
                        Shape::Decimal { size: Some(size), scale: *scale }
                    }
                    (shape, _) => shape,
                };
                if self.is_written || takes(data_type, &shape) {
                    Ok(shape)
                } else {
                    Err(unfit(scalar, data_type, path))
                }
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn unfit(schema: &Schema, data_type: &DataType, path: &str) -> String {
    format!("field {path} of type {} is no {}", text_of(schema), type_name(data_type))
}

/// A schema, for people.
fn text_of(schema: &Schema) -> String {
    match schema {
        Schema::Record(of) => of.name.fullname(None),
        other => serde_json::to_string(other).unwrap_or_default().replace('"', ""),
    }
}

fn scalar_shape(schema: &Schema) -> Shape {
    match schema {
        Schema::Null => Shape::Null,
        Schema::Boolean => Shape::Boolean,
        Schema::Int => Shape::Int(Unit::Unknown),
        Schema::Date => Shape::Int(Unit::Days),
        Schema::TimeMillis => Shape::Int(Unit::Millis),
        Schema::Long => Shape::Long(Unit::Unknown),
        Schema::TimestampMillis | Schema::LocalTimestampMillis => Shape::Long(Unit::Millis),
        Schema::TimeMicros | Schema::TimestampMicros | Schema::LocalTimestampMicros => Shape::Long(Unit::Micros),
        Schema::TimestampNanos | Schema::LocalTimestampNanos => Shape::Long(Unit::Nanos),
        Schema::Float => Shape::Float,
        Schema::Double => Shape::Double,
        Schema::String | Schema::Uuid(UuidSchema::String) => Shape::Text,
        Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Shape::Bytes,
        Schema::Fixed(of) | Schema::Duration(of) | Schema::Uuid(UuidSchema::Fixed(of)) => Shape::Fixed(of.size),
        Schema::Enum(of) => Shape::Symbol(of.symbols.clone()),
        Schema::Decimal(of) => {
            let size = match &of.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(of) => Some(of.size),
            };
            match i8::try_from(of.scale) {
                Ok(scale) => Shape::Decimal { size, scale },
                Err(_) => size.map_or(Shape::Bytes, Shape::Fixed),
            }
        }
        Schema::Array(_) | Schema::Map(_) | Schema::Union(_) | Schema::Record(_) | Schema::Ref { .. } => {
            Shape::Unfit("a type of parts in the place of a plain one".to_owned())
        }
    }
}

/// True if values of the shape can become values of the type; whether each one does is seen when it comes.
fn takes(data_type: &DataType, shape: &Shape) -> bool {
    match data_type {
        DataType::Boolean => matches!(shape, Shape::Boolean),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            matches!(shape, Shape::Int(_) | Shape::Long(_))
        }
        DataType::Float32 => matches!(shape, Shape::Float | Shape::Int(_) | Shape::Long(_)),
        DataType::Float64 => matches!(shape, Shape::Float | Shape::Double | Shape::Int(_) | Shape::Long(_)),
        DataType::Utf8 => matches!(shape, Shape::Text | Shape::Symbol(_) | Shape::Bytes),
        DataType::Binary => matches!(shape, Shape::Bytes | Shape::Text | Shape::Fixed(_) | Shape::Decimal { .. }),
        DataType::Decimal128(..) => matches!(shape, Shape::Decimal { .. }),
        DataType::Date32 => matches!(shape, Shape::Int(Unit::Unknown | Unit::Days)),
        DataType::Time32(TimeUnit::Millisecond) => {
            matches!(shape, Shape::Int(Unit::Unknown | Unit::Millis) | Shape::Long(Unit::Micros))
        }
        DataType::Timestamp(..) => matches!(shape, Shape::Long(_)),
        _ => false,
    }
}

/// Why rows of such columns cannot be written under a schema: every column must have its field, of its own type or one that
/// numbers widen to, and every field its column. `None`: they can.
fn why_not_written<'a>(record: &RecordShape, columns: impl IntoIterator<Item = &'a FieldRef>) -> Option<String> {
    let columns: Vec<&FieldRef> = columns.into_iter().collect();
    if let Some(absent) = record.absent.first() {
        return Some(format!("column {} has no field in it", columns[*absent].name()));
    }
    record.fields.iter().enumerate().find_map(|(place, (column, shape))| match column {
        None => Some(format!("its field number {} has no column", place + 1)),
        Some(column) => why_no_value(shape, columns[*column]),
    })
}

fn why_no_value(shape: &Shape, field: &FieldRef) -> Option<String> {
    let name = field.name();
    let shape = match shape {
        Shape::Union(shapes) => {
            let values: Vec<&Shape> = shapes.iter().filter(|shape| **shape != Shape::Null).collect();
            match values.as_slice() {
                [_] if field.is_nullable() && values.len() == shapes.len() => {
                    return Some(format!("field {name} takes no null, but its column does"));
                }
                [value] => *value,
                _ => return Some(format!("field {name} may be of several types")),
            }
        }
        _ if field.is_nullable() => {
            return Some(format!("field {name} takes no null, but its column does"));
        }
        shape => shape,
    };
    match (shape, field.data_type()) {
        (Shape::Boolean, DataType::Boolean)
        | (Shape::Int(_), DataType::Int8 | DataType::Int16 | DataType::Int32)
        | (Shape::Long(Unit::Unknown), DataType::Int8 | DataType::Int16 | DataType::Int32)
        | (Shape::Long(_), DataType::Int64)
        | (
            Shape::Float | Shape::Double,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32,
        )
        | (Shape::Double, DataType::Float64)
        | (Shape::Text | Shape::Symbol(_), DataType::Utf8)
        | (Shape::Bytes | Shape::Fixed(_), DataType::Binary)
        | (Shape::Int(Unit::Unknown | Unit::Days), DataType::Date32)
        | (Shape::Int(Unit::Unknown | Unit::Millis), DataType::Time32(TimeUnit::Millisecond))
        | (Shape::Long(Unit::Unknown | Unit::Millis), DataType::Timestamp(TimeUnit::Millisecond, _))
        | (Shape::Long(Unit::Unknown | Unit::Micros), DataType::Timestamp(TimeUnit::Microsecond, _)) => None,
        (Shape::Decimal { scale, .. }, DataType::Decimal128(_, of)) if scale == of => None,
        (Shape::Record(record), DataType::Struct(fields)) => why_not_written(record, fields),
        (Shape::Array(items), DataType::List(element)) => why_no_value(items, element),
        (Shape::Map(values), DataType::Map(entries, _)) => match entry_fields(entries) {
            Ok(fields) => why_no_value(values, &fields[1]),
            Err(error) => Some(error.to_string()),
        },
        (shape, of) => Some(format!("column {name} of type {} cannot become {}", type_name(of), name_of(shape))),
    }
}

/// What a value is in its schema, for people.
fn name_of(shape: &Shape) -> String {
    let name = match shape {
        Shape::Decimal { scale, .. } => return format!("a decimal of scale {scale}"),
        Shape::Null => "null",
        Shape::Boolean => "a boolean",
        Shape::Int(_) => "an int",
        Shape::Long(_) => "a long",
        Shape::Float => "a float",
        Shape::Double => "a double",
        Shape::Text => "a string",
        Shape::Bytes => "bytes",
        Shape::Fixed(_) => "a fixed",
        Shape::Symbol(_) => "a symbol of an enum",
        Shape::Record(_) | Shape::Passed(_) => "a record",
        Shape::Array(_) => "an array",
        Shape::Map(_) => "a map",
        Shape::Union(_) | Shape::Unfit(_) => "one of several types",
    };
    name.to_owned()
}

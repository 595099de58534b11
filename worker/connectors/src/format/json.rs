//! JSON lines to columns.

use super::text::{Misfits, typed};
use super::{BATCH_ROWS, Decoded, RecordDecoder, bad_record};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{can_cast_types, cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use serde_json::Value;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;

/// Decodes one object a line.
pub(super) struct JsonDecoder {
    path: String,
    schema: SchemaRef,
    skip_bad: bool,
}

/// True if values of the type can be read.
pub(super) fn is_readable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|f| is_readable(f.data_type())),
        DataType::List(element) => is_readable(element.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                can_cast_types(&DataType::Utf8, fields[0].data_type()) && is_readable(fields[1].data_type())
            }
            _ => false,
        },
        other => !other.is_nested() && can_cast_types(&DataType::Utf8, other),
    }
}

impl JsonDecoder {
    pub fn new(path: &str, schema: SchemaRef, skip_bad: bool) -> Self {
        Self { path: path.to_owned(), schema, skip_bad }
    }

    fn bad(&self, offset: u64, detail: String) -> DataflowError {
        bad_record(&self.path, offset, &detail)
    }

    fn columns(&self, lines: &[(u64, Value)], misfits: &mut Misfits) -> Result<RecordBatch, ArrowError> {
        let objects: Vec<Option<&Value>> = lines.iter().map(|(_, value)| Some(value)).collect();
        let columns = fields_of(&objects, self.schema.fields(), misfits)?;
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    /// The rows that fit. Arrow tells of no row when it refuses a column (a NULL in a field that takes none, say): the
    /// record is then found by halves.
    fn rows(&self, lines: &[(u64, Value)], skipped: &mut u64) -> Result<RecordBatch, DataflowError> {
        let mut misfits = Misfits::default();
        let batch = match self.columns(lines, &mut misfits) {
            Ok(batch) => batch,
            Err(error) if lines.len() == 1 => {
                if !self.skip_bad {
                    return Err(self.bad(lines[0].0, error.to_string()));
                }
                *skipped += 1;
                return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
            }
            Err(_) => {
                let (left, right) = lines.split_at(lines.len() / 2);
                let halves = [self.rows(left, skipped)?, self.rows(right, skipped)?];
                return Ok(concat_batches(&self.schema, &halves)?);
            }
        };
        match misfits.first() {
            None => Ok(batch),
            Some((row, detail)) if !self.skip_bad => Err(self.bad(lines[row].0, detail.to_owned())),
            Some(_) => {
                *skipped += misfits.len() as u64;
                Ok(filter_record_batch(&batch, &misfits.mask(lines.len()))?)
            }
        }
    }
}

impl RecordDecoder for JsonDecoder {
    fn decode(&mut self, bytes: &[u8], offset: u64, at_end: bool) -> Result<Decoded, DataflowError> {
        let (mut lines, mut consumed, mut skipped) = (Vec::new(), 0, 0);
        while lines.len() < BATCH_ROWS && consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let length = match rest.iter().position(|b| *b == b'\n') {
                Some(end) => end + 1,
                None if at_end => rest.len(),
                None => break,
            };
            let (line, at) = (rest[..length].trim_ascii(), offset + consumed as u64);
            consumed += length;
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Value>(line) {
                Ok(value @ Value::Object(_)) => lines.push((at, value)),
                _ if self.skip_bad => skipped += 1,
                Ok(_) => return Err(self.bad(at, "the line is no JSON object".to_owned())),
                Err(error) => return Err(self.bad(at, format!("the line is no JSON: {error}"))),
            }
        }
        if lines.is_empty() {
            return Ok(Decoded { records: None, consumed, skipped });
        }
        let batch = self.rows(&lines, &mut skipped)?;
        Ok(Decoded { records: Some(batch).filter(|b| b.num_rows() > 0), consumed, skipped })
    }
}

/// The columns of objects; a field that is missing is NULL. `misfits` gets every object with a value that does not fit.
fn fields_of(objects: &[Option<&Value>], fields: &Fields, misfits: &mut Misfits) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut column = |field: &FieldRef| {
        let values: Vec<Option<&Value>> =
            objects.iter().map(|o| o.and_then(|o| o.get(field.name())).filter(|v| !v.is_null())).collect();
        let mut inner = Misfits::default();
        let column = column_of(&values, field.data_type(), &mut inner)?;
        inner.into_iter().for_each(|(row, what)| misfits.note(row, format!("field {}: {what}", field.name())));
        Ok(column)
    };
    fields.iter().map(&mut column).collect()
}

/// The values of elements that lie in `rows`; a misfit counts for its row.
fn elements_of(
    elements: &[Option<&Value>],
    rows: &[usize],
    data_type: &DataType,
    misfits: &mut Misfits,
) -> Result<ArrayRef, ArrowError> {
    let mut inner = Misfits::default();
    let column = column_of(elements, data_type, &mut inner)?;
    inner.into_iter().for_each(|(element, what)| misfits.note(rows[element], what));
    Ok(column)
}

/// Each value by `get`; one that it does not take is a misfit, and NULL.
fn each<'v, T>(
    values: &[Option<&'v Value>],
    data_type: &DataType,
    misfits: &mut Misfits,
    get: impl Fn(&'v Value) -> Option<T>,
) -> Vec<Option<T>> {
    let mut one = |(row, value): (usize, &Option<&'v Value>)| {
        let value = (*value)?;
        let got = get(value);
        if got.is_none() {
            misfits.note(row, format!("`{value}` is no {data_type}"));
        }
        got
    };
    values.iter().enumerate().map(&mut one).collect()
}

fn column_of(values: &[Option<&Value>], data_type: &DataType, misfits: &mut Misfits) -> Result<ArrayRef, ArrowError> {
    let unfit = |value: Option<&Value>| format!("`{}` is no {data_type}", value.unwrap_or(&Value::Null));
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(each(values, data_type, misfits, Value::as_bool))),
        DataType::Float64 => Arc::new(Float64Array::from(each(values, data_type, misfits, Value::as_f64))),
        DataType::Float32 => {
            Arc::new(Float32Array::from(each(values, data_type, misfits, |v| v.as_f64().map(|f| f as f32))))
        }
        DataType::Int64 => Arc::new(Int64Array::from(each(values, data_type, misfits, Value::as_i64))),
        t if t.is_integer() => {
            let wide: ArrayRef = Arc::new(Int64Array::from(each(values, data_type, misfits, Value::as_i64)));
            let narrow = cast(&wide, t)?;
            for row in (0..wide.len()).filter(|row| narrow.is_null(*row) && wide.is_valid(*row)) {
                misfits.note(row, unfit(values[row]));
            }
            narrow
        }
        DataType::Struct(fields) => {
            let objects = each(values, data_type, misfits, |v| v.is_object().then_some(v));
            let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
            let columns = fields_of(&objects, fields, misfits)?;
            Arc::new(StructArray::try_new(fields.clone(), columns, Some(nulls))?)
        }
        DataType::List(element) => {
            let lists = each(values, data_type, misfits, Value::as_array);
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.map_or(0, Vec::len)));
            let rows: Vec<usize> =
                lists.iter().enumerate().flat_map(|(row, l)| vec![row; l.map_or(0, Vec::len)]).collect();
            let elements: Vec<Option<&Value>> =
                lists.iter().flatten().flat_map(|l| l.iter()).map(|v| Some(v).filter(|v| !v.is_null())).collect();
            let elements = elements_of(&elements, &rows, element.data_type(), misfits)?;
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, elements, Some(nulls))?)
        }
        DataType::Map(entries, ordered) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("a map without entries".to_owned()));
            };
            let maps = each(values, data_type, misfits, Value::as_object);
            let offsets = OffsetBuffer::from_lengths(maps.iter().map(|m| m.map_or(0, serde_json::Map::len)));
            let keys: StringArray = maps.iter().flatten().flat_map(|m| m.keys()).map(|k| Some(k.as_str())).collect();
            let rows: Vec<usize> =
                maps.iter().enumerate().flat_map(|(row, m)| vec![row; m.map_or(0, serde_json::Map::len)]).collect();
            let keys = typed(&Arc::new(keys), fields[0].data_type(), |entry| {
                misfits.note(rows[entry], "a key does not fit".to_owned());
            })?;
            let given: Vec<Option<&Value>> =
                maps.iter().flatten().flat_map(|m| m.values()).map(|v| Some(v).filter(|v| !v.is_null())).collect();
            let given = elements_of(&given, &rows, fields[1].data_type(), misfits)?;
            let nulls: NullBuffer = maps.iter().map(Option::is_some).collect();
            let entries_array = StructArray::try_new(fields.clone(), vec![keys, given], None)?;
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, entries_array, Some(nulls), *ordered)?)
        }
        _ => {
            let text = |v: &Value| match v {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(b) => Some(b.to_string()),
                nested if *data_type == DataType::Utf8 => Some(nested.to_string()),
                _ => None,
            };
            let texts: StringArray = each(values, data_type, misfits, text).into_iter().collect();
            typed(&Arc::new(texts), data_type, |row| misfits.note(row, unfit(values[row])))?
        }
    })
}

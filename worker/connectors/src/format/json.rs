//! JSON lines to columns.

use super::text::typed;
use super::{BATCH_ROWS, Decoded, RecordDecoder};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use serde_json::Value;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;

/// Decodes one object a line.
pub(super) struct JsonDecoder {
    path: String,
    schema: SchemaRef,
    skip_bad: bool,
}

/// Why a value does not fit: the row, and what is wrong.
type Misfit = (usize, String);

impl JsonDecoder {
    pub fn new(path: &str, schema: SchemaRef, skip_bad: bool) -> Self {
        Self { path: path.to_owned(), schema, skip_bad }
    }

    fn bad(&self, offset: u64, detail: String) -> DataflowError {
        DataflowError::Record { place: format!("{}, byte {offset}", self.path), detail }
    }

    fn columns(&self, lines: &[(u64, Value)]) -> Result<RecordBatch, Misfit> {
        let objects: Vec<Option<&Value>> = lines.iter().map(|(_, value)| Some(value)).collect();
        let columns = fields_of(&objects, self.schema.fields())?;
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(|e| (0, e.to_string()))
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
        while !lines.is_empty() {
            match self.columns(&lines) {
                Ok(batch) => return Ok(Decoded { records: Some(batch), consumed, skipped }),
                Err((row, _)) if self.skip_bad => {
                    lines.remove(row);
                    skipped += 1;
                }
                Err((row, detail)) => return Err(self.bad(lines[row].0, detail)),
            }
        }
        Ok(Decoded { records: None, consumed, skipped })
    }
}

/// The columns of objects; a field that is missing is NULL.
fn fields_of(objects: &[Option<&Value>], fields: &Fields) -> Result<Vec<ArrayRef>, Misfit> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let values: Vec<Option<&Value>> =
            objects.iter().map(|o| o.and_then(|o| o.get(field.name())).filter(|v| !v.is_null())).collect();
        column_of(&values, field.data_type()).map_err(|(row, what)| (row, format!("field {}: {what}", field.name())))
    };
    fields.iter().map(column).collect()
}

fn column_of(values: &[Option<&Value>], data_type: &DataType) -> Result<ArrayRef, Misfit> {
    let misfit = |row: usize, value: &Value| (row, format!("`{value}` is no {data_type}"));
    // Each value by `get`; the first that it does not take is the misfit.
    fn each<'v, T>(
        values: &[Option<&'v Value>],
        misfit: &dyn Fn(usize, &Value) -> Misfit,
        get: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<Vec<Option<T>>, Misfit> {
        let one =
            |(row, value): (usize, &Option<&'v Value>)| value.map(|v| get(v).ok_or_else(|| misfit(row, v))).transpose();
        values.iter().enumerate().map(one).collect()
    }
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(each(values, &misfit, Value::as_bool)?)),
        DataType::Float64 => Arc::new(Float64Array::from(each(values, &misfit, Value::as_f64)?)),
        DataType::Float32 => Arc::new(Float32Array::from(each(values, &misfit, |v| v.as_f64().map(|f| f as f32))?)),
        DataType::Int64 => Arc::new(Int64Array::from(each(values, &misfit, Value::as_i64)?)),
        t if t.is_integer() => {
            let wide: ArrayRef = Arc::new(Int64Array::from(each(values, &misfit, Value::as_i64)?));
            let narrow = cast(&wide, t).map_err(|e| (0, e.to_string()))?;
            match (0..wide.len()).find(|row| narrow.is_null(*row) && wide.is_valid(*row)) {
                Some(row) => return Err(misfit(row, values[row].unwrap_or(&Value::Null))),
                None => narrow,
            }
        }
        DataType::Struct(fields) => {
            each(values, &misfit, Value::as_object)?;
            let nulls: NullBuffer = values.iter().map(Option::is_some).collect();
            let columns = fields_of(values, fields)?;
            let array = StructArray::try_new(fields.clone(), columns, Some(nulls));
            Arc::new(array.map_err(|e| (0, e.to_string()))?)
        }
        DataType::List(element) => {
            let lists = each(values, &misfit, Value::as_array)?;
            let lengths = lists.iter().map(|l| l.map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let rows: Vec<usize> =
                lists.iter().enumerate().flat_map(|(row, l)| vec![row; l.map_or(0, Vec::len)]).collect();
            let elements: Vec<Option<&Value>> =
                lists.iter().flatten().flat_map(|l| l.iter()).map(|v| Some(v).filter(|v| !v.is_null())).collect();
            let elements = column_of(&elements, element.data_type()).map_err(|(e, what)| (rows[e], what))?;
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            let array = ListArray::try_new(Arc::clone(element), offsets, elements, Some(nulls));
            Arc::new(array.map_err(|e| (0, e.to_string()))?)
        }
        DataType::Map(entries, ordered) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err((0, "a map without entries".to_owned()));
            };
            let maps = each(values, &misfit, Value::as_object)?;
            let offsets = OffsetBuffer::from_lengths(maps.iter().map(|m| m.map_or(0, serde_json::Map::len)));
            let keys: StringArray = maps.iter().flatten().flat_map(|m| m.keys()).map(|k| Some(k.as_str())).collect();
            let rows: Vec<usize> =
                maps.iter().enumerate().flat_map(|(row, m)| vec![row; m.map_or(0, serde_json::Map::len)]).collect();
            let keys = typed(&Arc::new(keys), fields[0].data_type())
                .map_err(|e| (rows[e], "a key does not fit".to_owned()))?;
            let given: Vec<Option<&Value>> =
                maps.iter().flatten().flat_map(|m| m.values()).map(|v| Some(v).filter(|v| !v.is_null())).collect();
            let given = column_of(&given, fields[1].data_type()).map_err(|(e, what)| (rows[e], what))?;
            let nulls: NullBuffer = maps.iter().map(Option::is_some).collect();
            let entries_array =
                StructArray::try_new(fields.clone(), vec![keys, given], None).map_err(|e| (0, e.to_string()))?;
            let array = MapArray::try_new(Arc::clone(entries), offsets, entries_array, Some(nulls), *ordered);
            Arc::new(array.map_err(|e| (0, e.to_string()))?)
        }
        _ => {
            let text = |v: &Value| match v {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(b) => Some(b.to_string()),
                nested if *data_type == DataType::Utf8 => Some(nested.to_string()),
                _ => None,
            };
            let texts: StringArray = each(values, &misfit, text)?.into_iter().collect();
            typed(&Arc::new(texts), data_type).map_err(|row| misfit(row, values[row].unwrap_or(&Value::Null)))?
        }
    })
}

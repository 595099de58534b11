//! `JSON_VALUE` of simple paths.

use super::cast::double_text;
use super::scalar::{Texts, take, written};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(JsonValue { signature: Signature::user_defined(Volatility::Immutable) })]
}

/// `JSON_VALUE(text, path)`: a string, number or truth value as text; NULL for everything else.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonValue {
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl ScalarUDFImpl for JsonValue {
    fn name(&self) -> &str {
        "json_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        take(self.name(), arguments, "tt")
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.scalar_arguments.get(1).copied().flatten() {
            Some(ScalarValue::Utf8(Some(path))) => {
                steps(path)?;
            }
            _ => return plan_err!("JSON_VALUE with a path that is not a constant is not supported"),
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (texts, path) = (Texts::of(&call.args[0])?, Texts::of(&call.args[1])?);
        let steps = steps(path.get(0).unwrap_or_default())?;
        Ok(ColumnarValue::Array(written(call.number_rows, |row, out| {
            let value: Value = serde_json::from_str(texts.get(row)?).ok()?;
            let found = steps.iter().try_fold(&value, |at, step| match step {
                Step::Name(name) => at.get(name),
                Step::Index(index) => at.get(index),
            })?;
            match found {
                Value::String(text) => out.push_str(text),
                Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
                Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                    Some(double) => double_text(out, double),
                    None => write!(out, "{number}").ok()?,
                },
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            }
            Some(())
        })))
    }
}

/// The steps of `[lax|strict] $.name[0]['name']`.
fn steps(path: &str) -> Result<Vec<Step>> {
    let wrong = || plan_err!("JSON_VALUE's path '{path}' is not supported: write $, .name, [0] and ['name']");
    let body = path.trim();
    let body = body.strip_prefix("lax ").or_else(|| body.strip_prefix("strict ")).unwrap_or(body).trim();
    let Some(mut rest) = body.strip_prefix('$') else { return wrong() };
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let (name, behind) = named.split_at(end);
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
                return wrong();
            }
            found.push(Step::Name(name.to_owned()));
            rest = behind;
            continue;
        }
        let Some((inside, behind)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else { return wrong() };
        let quoted = |q: char| inside.strip_prefix(q).and_then(|i| i.strip_suffix(q));
        match (quoted('"').or_else(|| quoted('\'')), inside.parse()) {
            (Some(name), _) => found.push(Step::Name(name.to_owned())),
            (None, Ok(index)) => found.push(Step::Index(index)),
            (None, Err(_)) => return wrong(),
        }
        rest = behind;
    }
    Ok(found)
}

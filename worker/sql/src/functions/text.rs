//! Functions of strings.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regex::Regex;
use std::sync::Arc;

pub(super) fn all() -> Vec<ScalarUDF> {
    use Function::{Concat, CountChar, Position, RegexpExtract, RegexpReplace, SplitIndex};
    [SplitIndex, RegexpExtract, RegexpReplace, CountChar, Position, Concat]
        .into_iter()
        .map(|function| {
            let signature = Signature::user_defined(Volatility::Immutable);
            ScalarUDF::new_from_impl(Text { function, signature })
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    /// `SPLIT_INDEX(text, delimiter, index)`: the part at an index from 0, else NULL.
    SplitIndex,
    /// `REGEXP_EXTRACT(text, pattern[, group])`: a group of the first match, else NULL.
    RegexpExtract,
    /// `REGEXP_REPLACE(text, pattern, replacement)`: every match replaced.
    RegexpReplace,
    /// The benchmark's `count_char(text, character)`.
    CountChar,
    /// `LOCATE(part, text)`, also `POSITION(part IN text)`: from 1, or 0.
    Position,
    /// `CONCAT(..)`: NULL if any argument is.
    Concat,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    function: Function,
    signature: Signature,
}

/// An argument by row: a column, or one value for all rows.
enum Argument {
    Column(ArrayRef),
    Value(Option<String>),
}

impl Argument {
    fn of(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self::Column(array.clone()),
            ColumnarValue::Scalar(scalar) => {
                let one = scalar.to_array()?;
                let texts = one.as_string::<i32>();
                Self::Value((!texts.is_null(0)).then(|| texts.value(0).to_owned()))
            }
        })
    }

    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Value(value) => value.as_deref(),
            Self::Column(array) => {
                let texts = array.as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row))
            }
        }
    }
}

/// Compiled patterns: one for a constant, else the last one used.
#[derive(Default)]
struct Patterns {
    last: Option<(String, Regex)>,
}

impl Patterns {
    fn get(&mut self, pattern: &str) -> Result<&Regex> {
        if self.last.as_ref().is_none_or(|(text, _)| text != pattern) {
            match Regex::new(pattern) {
                Ok(regex) => self.last = Some((pattern.to_owned(), regex)),
                Err(error) => return exec_err!("`{pattern}` is no regular expression: {error}"),
            }
        }
        Ok(&self.last.as_ref().expect("set above").1)
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        match self.function {
            Function::SplitIndex => "split_index",
            Function::RegexpExtract => "regexp_extract",
            Function::RegexpReplace => "regexp_replace",
            Function::CountChar => "count_char",
            Function::Position => "locate",
            Function::Concat => "concat",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (texts, numbers) = match (self.function, arguments.len()) {
            (Function::SplitIndex, 3) => (2, 1),
            (Function::RegexpExtract, 2) => (2, 0),
            (Function::RegexpExtract, 3) => (2, 1),
            (Function::RegexpReplace, 3) => (3, 0),
            (Function::CountChar | Function::Position, 2) => (2, 0),
            (Function::Concat, n) if n > 0 => (n, 0),
            (_, n) => return plan_err!("{} does not take {n} arguments", self.name().to_uppercase()),
        };
        if let Some(other) = arguments[texts..].iter().find(|t| !t.is_integer() && !t.is_null()) {
            return plan_err!("{} takes a whole number there, not {other}", self.name().to_uppercase());
        }
        Ok([vec![DataType::Utf8; texts], vec![DataType::Int32; numbers]].concat())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::CountChar => DataType::Int64,
            Function::Position => DataType::Int32,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = call.number_rows;
        let text = Argument::of(&call.args[0])?;
        let array: ArrayRef = match self.function {
            Function::SplitIndex => {
                let (delimiter, index) = (Argument::of(&call.args[1])?, integers(&call.args[2], rows)?);
                build(rows, |row| {
                    let (text, delimiter) = (text.get(row)?, delimiter.get(row)?);
                    let index = usize::try_from(index.is_valid(row).then(|| index.value(row))?).ok()?;
                    text.split(delimiter).nth(index)
                })
            }
            Function::RegexpExtract => {
                let pattern = Argument::of(&call.args[1])?;
                let group = call.args.get(2).map(|g| integers(g, rows)).transpose()?;
                let mut patterns = Patterns::default();
                let mut builder = StringBuilder::with_capacity(rows, rows * 8);
                for row in 0..rows {
                    let group = group.as_ref().map_or(Some(0), |g| usize::try_from(g.value(row)).ok());
                    let found = match (text.get(row), pattern.get(row), group) {
                        (Some(text), Some(pattern), Some(group)) => extract(patterns.get(pattern)?, text, group),
                        _ => None,
                    };
                    builder.append_option(found);
                }
                Arc::new(builder.finish())
            }
            Function::RegexpReplace => {
                let (pattern, replacement) = (Argument::of(&call.args[1])?, Argument::of(&call.args[2])?);
                let mut patterns = Patterns::default();
                let mut builder = StringBuilder::with_capacity(rows, rows * 16);
                for row in 0..rows {
                    match (text.get(row), pattern.get(row), replacement.get(row)) {
                        (Some(text), Some(pattern), Some(new)) => {
                            builder.append_value(patterns.get(pattern)?.replace_all(text, new));
                        }
                        _ => builder.append_null(),
                    }
                }
                Arc::new(builder.finish())
            }
            Function::CountChar => {
                let character = Argument::of(&call.args[1])?;
                let count = |row| {
                    let (text, character) = (text.get(row)?, character.get(row)?);
                    Some(match character.as_bytes() {
                        [byte] => text.bytes().filter(|b| b == byte).count() as i64,
                        _ => text.chars().filter(|c| character.starts_with(*c)).count() as i64,
                    })
                };
                Arc::new((0..rows).map(count).collect::<Int64Array>())
            }
            Function::Position => {
                let whole = Argument::of(&call.args[1])?;
                let locate = |row| {
                    let (part, whole): (&str, &str) = (text.get(row)?, whole.get(row)?);
                    Some(whole.find(part).map_or(0, |at| whole[..at].chars().count() as i32 + 1))
                };
                Arc::new((0..rows).map(locate).collect::<Int32Array>())
            }
            Function::Concat => {
                let parts = call.args.iter().map(Argument::of).collect::<Result<Vec<_>>>()?;
                let mut builder = StringBuilder::with_capacity(rows, rows * 16);
                let mut whole = String::new();
                for row in 0..rows {
                    whole.clear();
                    let all_there = parts.iter().all(|p| p.get(row).map(|text| whole.push_str(text)).is_some());
                    builder.append_option(all_there.then_some(&whole));
                }
                Arc::new(builder.finish())
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn integers(value: &ColumnarValue, rows: usize) -> Result<Int32Array> {
    Ok(value.to_array(rows)?.as_primitive().clone())
}

fn build<'a>(rows: usize, value: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows, rows * 8);
    (0..rows).for_each(|row| builder.append_option(value(row)));
    let array: StringArray = builder.finish();
    Arc::new(array)
}

fn extract<'t>(pattern: &Regex, text: &'t str, group: usize) -> Option<&'t str> {
    if group == 0 {
        return pattern.find(text).map(|m| m.as_str());
    }
    pattern.captures(text)?.get(group).map(|m| m.as_str())
}

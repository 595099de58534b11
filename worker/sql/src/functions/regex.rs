//! Functions of regular expressions. Patterns are Java's: a constant one is checked and translated in planning, and what the
//! engine here would read otherwise is refused.

use super::scalar::{Integers, Texts, borrowed, counted, take, written};
use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use regex::{NoExpand, Regex};
use std::sync::Arc;

pub(super) fn all() -> Vec<ScalarUDF> {
    [Function::Extract, Function::Replace, Function::Matches, Function::Count]
        .into_iter()
        .map(|function| {
            let signature = Signature::user_defined(Volatility::Immutable);
            ScalarUDF::new_from_impl(Pattern { function, signature })
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    /// `REGEXP_EXTRACT(text, pattern[, group])`: a group of the first match, else NULL.
    Extract,
    /// `REGEXP_REPLACE(text, pattern, replacement)`: every match replaced; the replacement is taken as it stands.
    Replace,
    /// `REGEXP(text, pattern)`: whether there is a match; an empty pattern has none.
    Matches,
    /// `REGEXP_COUNT(text, pattern)`.
    Count,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Pattern {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Pattern {
    fn name(&self) -> &str {
        match self.function {
            Function::Extract => "regexp_extract",
            Function::Replace => "regexp_replace",
            Function::Matches => "regexp",
            Function::Count => "regexp_count",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let shape = match self.function {
            Function::Extract => "tt?i",
            Function::Replace => "ttt",
            Function::Matches | Function::Count => "tt",
        };
        take(self.name(), arguments, shape)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::Extract | Function::Replace => DataType::Utf8,
            Function::Matches => DataType::Boolean,
            Function::Count => DataType::Int32,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = self.name().to_uppercase();
        match args.scalar_arguments.get(1).copied().flatten() {
            Some(ScalarValue::Utf8(Some(pattern))) => {
                compile(pattern).map_err(|e| e.context(name))?;
            }
            Some(value) if value.is_null() => {}
            Some(_) | None => return plan_err!("{name} with a pattern that is not a constant is not supported"),
        }
        let data_type = self.return_type(&[])?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = call.number_rows;
        let text = Texts::of(&call.args[0])?;
        let source = match &call.args[1] {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) => pattern.clone(),
            ColumnarValue::Scalar(_) => {
                let null = ScalarValue::try_from(&self.return_type(&[])?)?;
                return Ok(ColumnarValue::Scalar(null));
            }
            ColumnarValue::Array(_) => return exec_err!("the pattern is not a constant"),
        };
        let pattern = compile(&source)?;
        let array: ArrayRef = match self.function {
            Function::Extract => {
                let group = match call.args.get(2) {
                    Some(group) => Integers::of(group)?,
                    None => Integers::Value(Some(0)),
                };
                borrowed(rows, |row| extract(&pattern, text.get(row)?, usize::try_from(group.get(row)?).ok()?))
            }
            Function::Replace => {
                let new = Texts::of(&call.args[2])?;
                written(rows, |row, out| {
                    out.push_str(&pattern.replace_all(text.get(row)?, NoExpand(new.get(row)?)));
                    Some(())
                })
            }
            Function::Matches => {
                let is_match = |row| text.get(row).map(|text| !source.is_empty() && pattern.is_match(text));
                Arc::new((0..rows).map(is_match).collect::<BooleanArray>())
            }
            Function::Count => counted(rows, |row| Some(pattern.find_iter(text.get(row)?).count() as i32)),
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn extract<'t>(pattern: &Regex, text: &'t str, group: usize) -> Option<&'t str> {
    if group == 0 {
        return pattern.find(text).map(|m| m.as_str());
    }
    pattern.captures(text)?.get(group).map(|m| m.as_str())
}

fn compile(pattern: &str) -> Result<Regex> {
    let compiled = translated(pattern).and_then(|p| {
        Regex::new(&p)
            .map_err(|e| e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    });
    compiled.or_else(|why| plan_err!("the pattern '{pattern}' is not supported: {why}"))
}

/// A Java pattern as one of the same meaning: `\d`, `\w`, `\s` and `\b` are ASCII's, and `.` is no line's end.
fn translated(pattern: &str) -> std::result::Result<String, String> {
    if pattern.contains("(?") && !pattern.is_ascii() && pattern.contains('i') {
        return Err("`(?i)` with letters beyond ASCII".to_owned());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let mut classes = 0;
    let mut after_repetition = false;
    while let Some(c) = rest.next() {
        let was_after_repetition = std::mem::replace(&mut after_repetition, false);
        match c {
            '\\' => {
                let Some(next) = rest.next() else { return Err("it ends with a backslash".to_owned()) };
                let class = match next {
                    'd' | 'D' => "0-9",
                    'w' | 'W' => "a-zA-Z0-9_",
                    's' | 'S' => r" \t\n\x0B\f\r",
                    'b' => {
                        out.push_str(if classes == 0 { r"(?-u:\b)" } else { r"\b" });
                        continue;
                    }
                    'p' | 'P' | 'B' | 'G' | 'Z' => return Err(format!("`\\{next}`")),
                    other => {
                        out.push('\\');
                        out.push(other);
                        continue;
                    }
                };
                match (next.is_ascii_uppercase(), classes) {
                    (false, 1..) => out.push_str(class),
                    (is_negated, _) => {
                        out.push_str(if is_negated { "[^" } else { "[" });
                        out.push_str(class);
                        out.push(']');
                    }
                }
            }
            '.' if classes == 0 => out.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            '+' if classes == 0 && was_after_repetition => return Err("possessive repetition".to_owned()),
            '*' | '+' | '?' | '}' if classes == 0 => {
                // Behind it a `?` makes it reluctant, in both.
                after_repetition = true;
                out.push(c);
                if rest.peek() == Some(&'?') {
                    rest.next();
                    out.push('?');
                    after_repetition = false;
                }
            }
            '[' => {
                classes += 1;
                out.push(c);
                if rest.peek() == Some(&'^') {
                    rest.next();
                    out.push('^');
                }
                if rest.peek() == Some(&']') {
                    return Err("`[]`".to_owned());
                }
            }
            ']' if classes > 0 => {
                classes -= 1;
                out.push(c);
            }
            '~' | '-' if classes > 0 && rest.peek() == Some(&c) => return Err(format!("`{c}{c}` in a class")),
            other => out.push(other),
        }
    }
    Ok(out)
}

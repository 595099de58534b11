//! Functions of strings. Characters are Unicode's, counted from 1.

use super::scalar::{Integers, Texts, borrowed, counted, scalar, take, written};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF};
use std::iter::repeat_n;
use std::sync::Arc;

type Call = ScalarFunctionArgs;

pub(super) fn all() -> Vec<ScalarUDF> {
    let text: fn(&[DataType]) -> DataType = |_| DataType::Utf8;
    let int: fn(&[DataType]) -> DataType = |_| DataType::Int32;
    let truth: fn(&[DataType]) -> DataType = |_| DataType::Boolean;
    macro_rules! takes {
        ($shape:literal) => {
            |name, types| take(name, types, $shape)
        };
    }
    vec![
        scalar("lower", takes!("t"), text, |c| whole(c, |t, out| out.push_str(&t.to_lowercase()))),
        scalar("upper", takes!("t"), text, |c| whole(c, |t, out| out.push_str(&t.to_uppercase()))),
        scalar("initcap", takes!("t"), text, |c| whole(c, initcap)),
        scalar("reverse", takes!("t"), text, |c| whole(c, |t, out| out.extend(t.chars().rev()))),
        scalar("char_length", takes!("t"), int, length),
        scalar("character_length", takes!("t"), int, length),
        scalar("ascii", takes!("t"), int, |c| {
            let texts = Texts::of(&c.args[0])?;
            // The first byte, signed, as in Java.
            let first = |t: &str| t.bytes().next().map_or(0, |b| i32::from(b as i8));
            Ok(counted(c.number_rows, |row| texts.get(row).map(first)))
        }),
        scalar("chr", takes!("b"), text, chr),
        scalar("trim", takes!("t?t"), text, |c| trim(c, true, true)),
        scalar("btrim", takes!("t?t"), text, |c| trim(c, true, true)),
        scalar("ltrim", takes!("t?t"), text, |c| trim(c, true, false)),
        scalar("rtrim", takes!("t?t"), text, |c| trim(c, false, true)),
        scalar("trim leading", takes!("t?t"), text, |c| trim(c, true, false)),
        scalar("trim trailing", takes!("t?t"), text, |c| trim(c, false, true)),
        scalar("substr", takes!("ti?i"), text, substring),
        scalar("substring", takes!("ti?i"), text, substring),
        scalar("left", takes!("ti"), text, |c| {
            let (texts, counts) = (Texts::of(&c.args[0])?, Integers::of(&c.args[1])?);
            Ok(borrowed(c.number_rows, |row| Some(between(texts.get(row)?, 0, counts.get(row)?.max(0) as usize))))
        }),
        scalar("right", takes!("ti"), text, |c| {
            let (texts, counts) = (Texts::of(&c.args[0])?, Integers::of(&c.args[1])?);
            Ok(borrowed(c.number_rows, |row| {
                let (text, count) = (texts.get(row)?, counts.get(row)?.max(0) as usize);
                Some(between(text, text.chars().count().saturating_sub(count), count))
            }))
        }),
        scalar("lpad", takes!("tit"), text, |c| pad(c, true)),
        scalar("rpad", takes!("tit"), text, |c| pad(c, false)),
        scalar("repeat", takes!("ti"), text, |c| {
            let (texts, counts) = (Texts::of(&c.args[0])?, Integers::of(&c.args[1])?);
            for row in 0..c.number_rows {
                if let (Some(text), Some(count)) = (texts.get(row), counts.get(row)) {
                    bounded("REPEAT", text.len().saturating_mul(count.max(0) as usize))?;
                }
            }
            Ok(written(c.number_rows, |row, out| {
                out.extend(repeat_n(texts.get(row)?, counts.get(row)?.max(0) as usize));
                Some(())
            }))
        }),
        scalar("replace", takes!("ttt"), text, |c| {
            let (texts, olds, news) = (Texts::of(&c.args[0])?, Texts::of(&c.args[1])?, Texts::of(&c.args[2])?);
            Ok(written(c.number_rows, |row, out| {
                out.push_str(&texts.get(row)?.replace(olds.get(row)?, news.get(row)?));
                Some(())
            }))
        }),
        scalar("overlay", takes!("tti?i"), text, overlay),
        scalar("position", takes!("tt"), int, |c| locate(&c.args[0], &c.args[1], None, c.number_rows)),
        scalar("locate", takes!("tt?i"), int, |c| locate(&c.args[0], &c.args[1], c.args.get(2), c.number_rows)),
        scalar("instr", takes!("tt?i"), int, |c| locate(&c.args[1], &c.args[0], c.args.get(2), c.number_rows)),
        scalar("startswith", takes!("tt"), truth, |c| test(c, |a, b| a.starts_with(b))),
        scalar("endswith", takes!("tt"), truth, |c| test(c, |a, b| a.ends_with(b))),
        scalar("split_index", takes!("tti"), text, |c| {
            let (texts, delimiters) = (Texts::of(&c.args[0])?, Texts::of(&c.args[1])?);
            let indices = Integers::of(&c.args[2])?;
            Ok(borrowed(c.number_rows, |row| {
                let (text, delimiter) = (texts.get(row)?, delimiters.get(row)?);
                split(text, delimiter, usize::try_from(indices.get(row)?).ok()?)
            }))
        }),
        scalar("count_char", takes!("tt"), |_| DataType::Int64, count_char),
        scalar("concat", several_texts, text, concatenated),
        scalar("concat_ws", several_texts, text, |c| {
            let parts = c.args.iter().map(Texts::of).collect::<Result<Vec<_>>>()?;
            Ok(written(c.number_rows, |row, out| {
                let separator = parts[0].get(row)?;
                for (number, part) in parts[1..].iter().filter_map(|p| p.get(row)).enumerate() {
                    out.push_str(if number > 0 { separator } else { "" });
                    out.push_str(part);
                }
                Some(())
            }))
        }),
    ]
}

/// `||`: NULL if a part is.
pub(crate) fn concat(parts: Vec<Expr>) -> Expr {
    let text: fn(&[DataType]) -> DataType = |_| DataType::Utf8;
    scalar("concat", several_texts, text, concatenated).call(parts)
}

fn several_texts(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    if types.is_empty() {
        return plan_err!("{} does not take 0 arguments", name.to_uppercase());
    }
    if types.iter().any(DataType::is_null) {
        return plan_err!("{} of NULL without a type: write CAST(NULL AS STRING)", name.to_uppercase());
    }
    take(name, types, &"t".repeat(types.len()))
}

fn concatenated(call: &Call) -> Result<ArrayRef> {
    let parts = call.args.iter().map(Texts::of).collect::<Result<Vec<_>>>()?;
    Ok(written(call.number_rows, |row, out| {
        for part in &parts {
            out.push_str(part.get(row)?);
        }
        Some(())
    }))
}

fn whole(call: &Call, convert: impl Fn(&str, &mut String)) -> Result<ArrayRef> {
    let texts = Texts::of(&call.args[0])?;
    Ok(written(call.number_rows, |row, out| {
        convert(texts.get(row)?, out);
        Some(())
    }))
}

fn test(call: &Call, is: impl Fn(&str, &str) -> bool) -> Result<ArrayRef> {
    let (a, b) = (Texts::of(&call.args[0])?, Texts::of(&call.args[1])?);
    let rows = (0..call.number_rows).map(|row| Some(is(a.get(row)?, b.get(row)?)));
    Ok(Arc::new(rows.collect::<BooleanArray>()))
}

fn length(call: &Call) -> Result<ArrayRef> {
    let texts = Texts::of(&call.args[0])?;
    Ok(counted(call.number_rows, |row| Some(texts.get(row)?.chars().count() as i32)))
}

/// The first letter of every word large, the others small; a word is letters and digits of ASCII.
fn initcap(text: &str, out: &mut String) {
    let mut in_word = false;
    for c in text.chars() {
        out.push(if in_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        in_word = c.is_ascii_alphanumeric();
    }
}

/// The character of the lowest byte; NULL of a negative number is the empty text.
fn chr(call: &Call) -> Result<ArrayRef> {
    let numbers = cast(&call.args[0].to_array(call.number_rows)?, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>().clone();
    Ok(written(call.number_rows, |row, out| {
        let number = numbers.is_valid(row).then(|| numbers.value(row))?;
        if number >= 0 {
            out.push(char::from((number & 0xFF) as u8));
        }
        Some(())
    }))
}

fn trim(call: &Call, at_start: bool, at_end: bool) -> Result<ArrayRef> {
    let texts = Texts::of(&call.args[0])?;
    let characters = match call.args.get(1) {
        Some(characters) => Texts::of(characters)?,
        None => Texts::Value(Some(" ".to_owned())),
    };
    Ok(borrowed(call.number_rows, |row| {
        let (text, characters) = (texts.get(row)?, characters.get(row)?);
        let text = if at_start { text.trim_start_matches(|c| characters.contains(c)) } else { text };
        Some(if at_end { text.trim_end_matches(|c| characters.contains(c)) } else { text })
    }))
}

/// So many characters behind so many.
fn between(text: &str, skip: usize, count: usize) -> &str {
    if text.is_ascii() {
        let from = skip.min(text.len());
        return &text[from..from.saturating_add(count).min(text.len())];
    }
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let from = ends.clone().nth(skip).unwrap_or(text.len());
    let to = ends.nth(skip.saturating_add(count)).unwrap_or(text.len());
    &text[from..to]
}

/// From a place that counts from 1, or from the end if negative; 0 means 1.
fn substring(call: &Call) -> Result<ArrayRef> {
    let (texts, starts) = (Texts::of(&call.args[0])?, Integers::of(&call.args[1])?);
    let counts = call.args.get(2).map(Integers::of).transpose()?;
    Ok(borrowed(call.number_rows, |row| {
        let (text, start) = (texts.get(row)?, i64::from(starts.get(row)?));
        let count = match &counts {
            Some(counts) => i64::from(counts.get(row)?),
            None => i64::from(i32::MAX),
        };
        if count <= 0 {
            return (count == 0).then_some("");
        }
        let from = match start {
            1.. => start - 1,
            0 => 0,
            _ => text.chars().count() as i64 + start,
        };
        // Before the start there is nothing, not even what would reach into the text.
        Some(if from < 0 { "" } else { between(text, from as usize, count as usize) })
    }))
}

/// The longest text that a function makes, bytes: a batch of them must fit into the memory.
const LONGEST_TEXT: usize = 16 << 20;

fn bounded(function: &str, bytes: usize) -> Result<()> {
    if bytes > LONGEST_TEXT {
        return exec_err!("{function} would make a text of {bytes} bytes: at most {LONGEST_TEXT} are possible");
    }
    Ok(())
}

fn pad(call: &Call, at_start: bool) -> Result<ArrayRef> {
    let (texts, lengths, pads) = (Texts::of(&call.args[0])?, Integers::of(&call.args[1])?, Texts::of(&call.args[2])?);
    for length in (0..call.number_rows).filter_map(|row| lengths.get(row)) {
        bounded(if at_start { "LPAD" } else { "RPAD" }, usize::try_from(length).unwrap_or(0))?;
    }
    Ok(written(call.number_rows, |row, out| {
        let (text, length, pad) = (texts.get(row)?, lengths.get(row)?, pads.get(row)?);
        let length = usize::try_from(length).ok()?;
        // Counted as Java counts: what is beyond 16 bits is two.
        let missing = length.saturating_sub(text.encode_utf16().count());
        let kept = match text.is_ascii() {
            true => between(text, 0, length),
            false => {
                let mut units = 0;
                let fits = text.char_indices().find(|(_, c)| {
                    units += c.len_utf16();
                    units > length
                });
                &text[..fits.map_or(text.len(), |(at, _)| at)]
            }
        };
        if missing > 0 && pad.is_empty() {
            return None;
        }
        let filling = pad.chars().cycle().take(missing);
        if at_start {
            out.extend(filling);
            out.push_str(kept);
        } else {
            out.push_str(kept);
            out.extend(filling);
        }
        Some(())
    }))
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let (texts, news, starts) = (Texts::of(&call.args[0])?, Texts::of(&call.args[1])?, Integers::of(&call.args[2])?);
    let counts = call.args.get(3).map(Integers::of).transpose()?;
    Ok(written(call.number_rows, |row, out| {
        let (text, new, start) = (texts.get(row)?, news.get(row)?, i64::from(starts.get(row)?));
        let count = match &counts {
            Some(counts) => i64::from(counts.get(row)?),
            None => new.chars().count() as i64,
        };
        let length = text.chars().count() as i64;
        if start <= 0 || start > length {
            out.push_str(text);
            return Some(());
        }
        out.push_str(between(text, 0, (start - 1) as usize));
        out.push_str(new);
        let behind = if count < 0 { length } else { start - 1 + count };
        out.push_str(between(text, behind as usize, usize::MAX));
        Some(())
    }))
}

/// The place of a part from 1, or 0.
fn locate(part: &ColumnarValue, text: &ColumnarValue, from: Option<&ColumnarValue>, rows: usize) -> Result<ArrayRef> {
    let (parts, texts) = (Texts::of(part)?, Texts::of(text)?);
    let starts = from.map(Integers::of).transpose()?;
    Ok(counted(rows, |row| {
        let (part, text) = (parts.get(row)?, texts.get(row)?);
        let skip = match &starts {
            Some(starts) => (starts.get(row)?.max(1) - 1) as usize,
            None => 0,
        };
        let rest = between(text, skip, usize::MAX);
        Some(rest.find(part).map_or(0, |at| (skip + rest[..at].chars().count()) as i32 + 1))
    }))
}

fn split<'t>(text: &'t str, delimiter: &str, index: usize) -> Option<&'t str> {
    if text.is_empty() {
        return None;
    }
    if delimiter.is_empty() {
        return (index == 0).then_some(text);
    }
    text.split(delimiter).nth(index)
}

/// The benchmark's `count_char(text, character)`.
fn count_char(call: &Call) -> Result<ArrayRef> {
    let (texts, characters) = (Texts::of(&call.args[0])?, Texts::of(&call.args[1])?);
    let count = |row| {
        let (text, character) = (texts.get(row)?, characters.get(row)?);
        Some(match character.as_bytes() {
            [byte] => text.bytes().filter(|b| b == byte).count() as i64,
            _ => text.chars().filter(|c| character.starts_with(*c)).count() as i64,
        })
    };
    Ok(Arc::new((0..call.number_rows).map(count).collect::<Int64Array>()))
}

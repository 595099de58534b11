//! Delimited text.

mod decode;
mod encode;
mod fields;

pub(super) use decode::CsvDecoder;
pub(super) use encode::CsvEncoder;

use super::column::is_scalar;
use super::text::{TextRules, TimeStyle};
use crate::options::{self, option};
use arrow::datatypes::DataType;
use fields::Syntax;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, TableDescriptor};

/// How texts are read and written.
const RULES: TextRules = TextRules { times: TimeStyle::Csv, plain_decimals: false };

/// The format's options.
#[derive(Debug, Clone)]
pub(crate) struct CsvOptions {
    pub ignore_parse_errors: bool,
    syntax: Syntax,
    /// Between the elements of an array or the fields of a row.
    element_delimiter: String,
    null_literal: Option<String>,
    header: bool,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    let boolean = |name, help| option(name, OptionKind::Boolean, "false", help);
    let text = |name, default, help| option(name, OptionKind::Text, default, help);
    FormatDescriptor {
        name: "csv",
        changes: false,
        options: vec![
            boolean(
                "csv.ignore-parse-errors",
                "A field that cannot be read or is missing is NULL; a record that is no text, or has too many fields, is counted and left out.",
            ),
            text(
                "csv.field-delimiter",
                ",",
                "The character between two fields; Java's escapes are known, such as `\\t` or `\\u0001`.",
            ),
            text("csv.quote-character", "\"", "The character around a field that holds characters with a meaning."),
            boolean("csv.disable-quote-character", "No character is a quote; not together with `csv.quote-character`."),
            text("csv.escape-character", "", "The character that takes the meaning of the next one; none if absent."),
            boolean("csv.allow-comments", "Lines that begin with `#` are left out."),
            text(
                "csv.array-element-delimiter",
                ";",
                "The text between the elements of an ARRAY or the fields of a ROW.",
            ),
            text(
                "csv.null-literal",
                "",
                "The text that stands for NULL. If absent, NULL is written as an empty field, and an empty field is NULL but for STRING.",
            ),
            boolean(
                "csv.header",
                "The first line of every file names the columns; when read, they must be the table's, in its order.",
            ),
        ],
    }
}

impl CsvOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let boolean = |option| options::boolean(table, option, false);
        let delimiter = character(table, "csv.field-delimiter")?.unwrap_or(b',');
        let quote = match (character(table, "csv.quote-character")?, boolean("csv.disable-quote-character")?) {
            (Some(_), true) => {
                let detail = "it contradicts 'csv.quote-character': set only one of the two";
                return Err(options::bad(table, "csv.disable-quote-character", detail));
            }
            (None, true) => None,
            (quote, false) => Some(quote.unwrap_or(b'"')),
        };
        let escape = character(table, "csv.escape-character")?;
        if Some(delimiter) == quote || Some(delimiter) == escape {
            return Err(options::bad(
                table,
                "csv.field-delimiter",
                "the character is the quote or escape character too",
            ));
        }
        if escape.is_some() && escape == quote {
            return Err(options::bad(table, "csv.escape-character", "the character is the quote character too"));
        }
        let element_delimiter = table.option("csv.array-element-delimiter").unwrap_or(";").to_owned();
        if element_delimiter.is_empty() {
            return Err(options::bad(table, "csv.array-element-delimiter", "a text is needed"));
        }
        Ok(Self {
            ignore_parse_errors: boolean("csv.ignore-parse-errors")?,
            syntax: Syntax { delimiter, quote, escape, comments: boolean("csv.allow-comments")? },
            element_delimiter,
            null_literal: table.option("csv.null-literal").map(str::to_owned),
            header: boolean("csv.header")?,
        })
    }

    /// True if a text is NULL in a column that holds texts, or does not.
    fn is_null(&self, text: &str, is_text: bool) -> bool {
        self.null_literal.as_deref().map_or(text.is_empty() && !is_text, |null| text == null)
    }
}

/// An option that is one character, in Java's notation.
fn character(table: &TableDescriptor, option: &str) -> Result<Option<u8>, DataflowError> {
    let Some(text) = table.option(option) else { return Ok(None) };
    let byte = match text.as_bytes() {
        [byte] => Some(*byte),
        [b'\\', escape] => match escape {
            b't' => Some(b'\t'),
            b'f' => Some(0xc),
            b'b' => Some(0x8),
            b'\\' | b'"' | b'\'' => Some(*escape),
            _ => None,
        },
        [b'\\', b'u', digits @ ..] if digits.len() == 4 => {
            std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok())
        }
        _ => None,
    };
    match byte.filter(|b| b.is_ascii() && !matches!(b, b'\n' | b'\r')) {
        Some(byte) => Ok(Some(byte)),
        None => Err(options::bad(
            table,
            option,
            "one ASCII character is needed that ends no line, or an escape such as \\t",
        )),
    }
}

/// True if values of the type can be read and written.
pub(super) fn has_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) => is_scalar(element.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| is_scalar(f.data_type())),
        other => is_scalar(other),
    }
}

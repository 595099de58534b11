//! Takes delimited text apart, one record at a time, into a buffer that is used again.

/// The characters with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    /// Lines that begin with `#` are left out.
    pub comments: bool,
}

/// The fields of one record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: Vec<u8>,
    /// Where in the text each field ends.
    ends: Vec<usize>,
}

impl Fields {
    /// How many fields there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// One field.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn end_field(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// What was found at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A record of this length with its line end.
    Record(usize),
    /// A record of so many bytes in which text stands behind the closing quote of a field.
    Malformed(usize),
    /// A line of this length that is empty or a comment.
    Nothing(usize),
    /// The record goes on behind the bytes.
    Incomplete,
    /// A quoted field of the record has no end; so many bytes belong to it.
    Unclosed(usize),
}

impl Syntax {
    /// Takes the first record of `bytes` apart; `at_end`: nothing follows them.
    pub fn split(self, bytes: &[u8], at_end: bool, fields: &mut Fields) -> Found {
        let is_comment = self.comments && bytes.first() == Some(&b'#');
        if is_comment || matches!(bytes.first(), Some(b'\n' | b'\r')) {
            return match memchr::memchr(b'\n', bytes) {
                Some(end) => Found::Nothing(end + 1),
                None if at_end => Found::Nothing(bytes.len()),
                None => Found::Incomplete,
            };
        }
        fields.clear();
        let (mut at, mut is_malformed) = (0, false);
        loop {
            let mut quoted_end = None;
            // At the start of a field.
            if self.quote.is_some() && bytes.get(at).copied() == self.quote {
                at += 1;
                match self.quoted(bytes, at, fields) {
                    Some(end) => {
                        at = end;
                        quoted_end = Some(fields.text.len());
                    }
                    None if at_end => return Found::Unclosed(bytes.len()),
                    None => return Found::Incomplete,
                }
            }
            at = self.plain(bytes, at, fields);
            if let Some(end) = quoted_end {
                is_malformed |= fields.text[end..].iter().any(|b| *b > b' ');
                fields.text.truncate(end);
            }
            match bytes.get(at) {
                Some(b) if *b == self.delimiter => {
                    fields.end_field();
                    at += 1;
                }
                None if !at_end => return Found::Incomplete,
                end => {
                    fields.end_field();
                    at += usize::from(end.is_some());
                    return if is_malformed { Found::Malformed(at) } else { Found::Record(at) };
                }
            }
        }
    }

    /// Behind an opening quote: the place behind the closing one.
    fn quoted(self, bytes: &[u8], mut at: usize, fields: &mut Fields) -> Option<usize> {
        let quote = self.quote?;
        loop {
            let length = memchr::memchr2(quote, self.escape.unwrap_or(quote), &bytes[at..])?;
            fields.text.extend_from_slice(&bytes[at..at + length]);
            at += length;
            if Some(bytes[at]) == self.escape {
                fields.text.push(unescaped(*bytes.get(at + 1)?));
            } else if bytes.get(at + 1) == Some(&quote) {
                fields.text.push(quote);
            } else {
                return Some(at + 1);
            }
            at += 2;
        }
    }

    /// The place of the delimiter or line feed behind unquoted text, or the end of the bytes.
    fn plain(self, bytes: &[u8], start: usize, fields: &mut Fields) -> usize {
        let mut at = start;
        loop {
            let rest = &bytes[at..];
            let length =
                memchr::memchr3(self.delimiter, b'\n', self.escape.unwrap_or(b'\n'), rest).unwrap_or(rest.len());
            fields.text.extend_from_slice(&rest[..length]);
            at += length;
            match (rest.get(length), rest.get(length + 1)) {
                (Some(byte), Some(next)) if Some(*byte) == self.escape => {
                    fields.text.push(unescaped(*next));
                    at += 2;
                }
                (Some(byte), None) if Some(*byte) == self.escape => return bytes.len(),
                (Some(b'\n') | None, _) => {
                    // The carriage return belongs to the line's end.
                    if rest[..length].ends_with(b"\r") {
                        fields.text.pop();
                    }
                    return at;
                }
                _ => return at,
            }
        }
    }
}

/// What an escaped character stands for, as in Jackson.
const fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Syntax = Syntax { delimiter: b',', quote: Some(b'"'), escape: None, comments: false };

    fn split(syntax: Syntax, text: &str) -> (Found, Vec<String>) {
        let mut fields = Fields::default();
        let found = syntax.split(text.as_bytes(), true, &mut fields);
        let texts = (0..fields.len()).filter_map(|f| fields.get(f)).map(|f| String::from_utf8_lossy(f).into_owned());
        (found, texts.collect())
    }

    #[test]
    fn fields_are_found() {
        for (text, length, expected) in [
            ("a,b\nc", 4, &["a", "b"][..]),
            ("a,,\r\nc", 5, &["a", "", ""]),
            ("\"a,\"\"b\"\"\nc\",d", 13, &["a,\"b\"\nc", "d"]),
            ("\"\"\n", 3, &[""]),
            ("a\"b\",c", 6, &["a\"b\"", "c"]),
            (" a , b", 6, &[" a ", " b"]),
            ("ä,ö\n", 6, &["ä", "ö"]),
        ] {
            let (found, fields) = split(PLAIN, text);
            assert_eq!(
                (found, &fields[..]),
                (Found::Record(length), &expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..])
            );
        }
        assert_eq!(split(PLAIN, "\r\n").0, Found::Nothing(2));
        assert_eq!(split(PLAIN, "\"a\"b,c\nd").0, Found::Malformed(7));
        assert_eq!(split(PLAIN, "\"a\" ,c\r\n"), (Found::Record(8), vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(split(PLAIN, "\"a\n").0, Found::Unclosed(3));
    }

    #[test]
    fn other_characters_can_have_the_meanings() {
        let escaping = Syntax { escape: Some(b'\\'), ..PLAIN };
        assert_eq!(split(escaping, "\"a\\\"b\",c\\,d\\\\\n").1, ["a\"b", "c,d\\"]);
        assert_eq!(split(escaping, "a\\nb\n").1, ["a\nb"]);
        assert_eq!(split(escaping, "a\\\r\r\n").1, ["a\r"]);
        let single = Syntax { quote: Some(b'\''), delimiter: b'\t', ..PLAIN };
        assert_eq!(split(single, "'a\t''b'\t\"c\"\n").1, ["a\t'b", "\"c\""]);
        let bare = Syntax { quote: None, ..PLAIN };
        assert_eq!(split(bare, "\"a,b\"\n").1, ["\"a", "b\""]);
        let comments = Syntax { comments: true, ..PLAIN };
        assert_eq!(split(comments, "#a,b\nc\n").0, Found::Nothing(5));
        assert_eq!(split(PLAIN, "#a,b\nc\n").1, ["#a", "b"]);
    }

    #[test]
    fn a_record_is_found_only_when_it_is_complete() {
        let text = "\"a\"\"b\",c\\,d\n";
        let syntax = Syntax { escape: Some(b'\\'), ..PLAIN };
        let mut fields = Fields::default();
        for length in 0..text.len() {
            assert_eq!(syntax.split(&text.as_bytes()[..length], false, &mut fields), Found::Incomplete, "{length}");
        }
        assert_eq!(syntax.split(text.as_bytes(), false, &mut fields), Found::Record(text.len()));
    }
}

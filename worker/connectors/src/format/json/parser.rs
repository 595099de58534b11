//! JSON text, read in place: no tree is built, and a number keeps its digits.

use std::fmt;

/// Values in values that are followed.
const MOST_DEPTH: u32 = 1000;

/// What is wrong with a text, and where in the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    what: &'static str,
    column: usize,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {}", self.what, self.column)
    }
}

/// The beginning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Null,
    Boolean(bool),
    /// The number's text.
    Number(&'a str),
    /// What stands between the quotes.
    Text(Text<'a>),
    /// Behind the `{`.
    Object,
    /// Behind the `[`.
    Array,
}

/// A string's inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'a> {
    raw: &'a str,
    has_escapes: bool,
}

impl<'a> Text<'a> {
    /// The text, if there are no escapes in it.
    pub const fn plain(&self) -> Option<&'a str> {
        if self.has_escapes { None } else { Some(self.raw) }
    }

    /// The text; `scratch` is used if there are escapes. `None`: half a surrogate pair.
    pub fn unescaped<'s>(&self, scratch: &'s mut String) -> Option<&'s str>
    where
        'a: 's,
    {
        if !self.has_escapes {
            return Some(self.raw);
        }
        scratch.clear();
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            scratch.push_str(&rest[..at]);
            let escape = rest.as_bytes()[at + 1];
            rest = &rest[at + 2..];
            scratch.push(match escape {
                b'n' => '\n',
                b't' => '\t',
                b'r' => '\r',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'u' => {
                    let first = u32::from_str_radix(rest.get(..4)?, 16).ok()?;
                    rest = &rest[4..];
                    if (0xd800..0xdc00).contains(&first) {
                        let second = u32::from_str_radix(rest.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
                        rest = &rest[6..];
                        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                        char::from_u32(0x10000 + ((first - 0xd800) << 10) + low)?
                    } else {
                        char::from_u32(first)?
                    }
                }
                other => char::from(other),
            });
        }
        scratch.push_str(rest);
        Some(scratch)
    }
}

/// A place in a line.
#[derive(Debug, Clone)]
pub(super) struct Parser<'a> {
    text: &'a str,
    pub at: usize,
}

impl<'a> Parser<'a> {
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    const fn wrong(&self, what: &'static str) -> Wrong {
        Wrong { what, column: self.at + 1 }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text from a place to here.
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub fn skip_space(&mut self) {
        while matches!(self.next(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes a character that stands for the structure.
    pub fn follows(&mut self, expected: u8) -> bool {
        self.skip_space();
        let is = self.next() == Some(expected);
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, Wrong> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(token)
        } else {
            Err(self.wrong("no JSON value"))
        }
    }

    /// The next value, or its beginning.
    pub fn token(&mut self) -> Result<Token<'a>, Wrong> {
        self.skip_space();
        match self.next() {
            Some(b'"') => self.string().map(Token::Text),
            Some(b'{') => {
                self.at += 1;
                Ok(Token::Object)
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Token::Array)
            }
            Some(b'n') => self.word("null", Token::Null),
            Some(b't') => self.word("true", Token::Boolean(true)),
            Some(b'f') => self.word("false", Token::Boolean(false)),
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(_) => Err(self.wrong("no JSON value")),
            None => Err(self.wrong("the line ends where a value is expected")),
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Wrong> {
        self.at += 1;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            // Flink takes control characters as they are: only two characters mean something.
            let Some(length) = memchr::memchr2(b'"', b'\\', &self.text.as_bytes()[self.at..]) else {
                self.at = self.text.len();
                return Err(self.wrong("a string without its closing quote"));
            };
            self.at += length;
            if self.next() == Some(b'"') {
                break;
            }
            has_escapes = true;
            self.at += 1;
            match self.next() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') => {
                    let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).unwrap_or_default();
                    if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(self.wrong("an escape without four hexadecimal digits"));
                    }
                    self.at += 5;
                }
                _ => return Err(self.wrong("no JSON escape")),
            }
        }
        let raw = self.since(start);
        self.at += 1;
        Ok(Text { raw, has_escapes })
    }

    fn digits(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        while self.next().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong("a number without a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, Wrong> {
        let start = self.at;
        self.at += usize::from(self.next() == Some(b'-'));
        let first = self.at;
        self.digits()?;
        if self.text.as_bytes()[first] == b'0' && self.at > first + 1 {
            self.at = first;
            return Err(self.wrong("a number with a leading zero"));
        }
        if self.next() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.next(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.next(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.since(start))
    }

    /// Passes a value, which is checked; gives its beginning.
    pub fn skip_value(&mut self) -> Result<Token<'a>, Wrong> {
        self.skip(0)
    }

    fn skip(&mut self, depth: u32) -> Result<Token<'a>, Wrong> {
        let token = self.token()?;
        if depth >= MOST_DEPTH {
            return Err(self.wrong("values are nested too deeply"));
        }
        match token {
            Token::Object => {
                let mut members = self.object()?;
                while members {
                    self.key()?;
                    self.skip(depth + 1)?;
                    members = self.goes_on(b'}')?;
                }
            }
            Token::Array => {
                let mut elements = !self.follows(b']');
                while elements {
                    self.skip(depth + 1)?;
                    elements = self.goes_on(b']')?;
                }
            }
            Token::Null | Token::Boolean(_) | Token::Number(_) | Token::Text(_) => {}
        }
        Ok(token)
    }

    /// Behind a `{`: true if a member follows.
    pub fn object(&mut self) -> Result<bool, Wrong> {
        Ok(!self.follows(b'}'))
    }

    /// A member's name, and the colon.
    pub fn key(&mut self) -> Result<Text<'a>, Wrong> {
        self.skip_space();
        if self.next() != Some(b'"') {
            return Err(self.wrong("a name in quotes is expected"));
        }
        let key = self.string()?;
        if self.follows(b':') { Ok(key) } else { Err(self.wrong("a colon is expected")) }
    }

    /// Behind a member or element: true if another follows.
    pub fn goes_on(&mut self, end: u8) -> Result<bool, Wrong> {
        if self.follows(b',') {
            Ok(true)
        } else if self.follows(end) {
            Ok(false)
        } else {
            Err(self.wrong("a comma or the end is expected"))
        }
    }

    /// Nothing but space follows.
    pub fn end(&mut self) -> Result<(), Wrong> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("text behind the value")) }
    }
}

/// A value's text without space between its parts.
pub(super) fn compact(text: &str, out: &mut String) {
    out.clear();
    let (mut in_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let mut parser = Parser::new(text);
        parser.skip_value().and_then(|_| parser.end()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn what_is_json_and_what_is_not() {
        for good in
            ["{}", "[]", " [1, -0.5e+3 ,\"a\\u00e4\\n\"] ", "{\"a\":{\"b\":[null,true,false]}}", "\"tab\there\"", "0"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (wrong, why) in [
            ("", "the line ends where a value is expected at column 1"),
            ("{", "a name in quotes is expected at column 2"),
            ("{a:1}", "a name in quotes is expected at column 2"),
            ("{\"a\" 1}", "a colon is expected at column 6"),
            ("[1 2]", "a comma or the end is expected at column 4"),
            ("[1,]", "no JSON value at column 4"),
            ("01", "a number with a leading zero at column 1"),
            ("1.", "a number without a digit at column 3"),
            ("-", "a number without a digit at column 2"),
            ("\"a", "a string without its closing quote at column 3"),
            ("\"\\x\"", "no JSON escape at column 3"),
            ("\"\\u12\"", "an escape without four hexadecimal digits at column 3"),
            ("nul", "no JSON value at column 1"),
            ("1 1", "text behind the value at column 3"),
        ] {
            assert_eq!(check(wrong), Err(why.to_owned()), "{wrong}");
        }
        let deep = format!("{}{}", "[".repeat(1001), "]".repeat(1001));
        assert_eq!(check(&deep), Err("values are nested too deeply at column 1002".to_owned()));
        assert_eq!(check(&deep[1..2001]), Ok(()));
    }

    #[test]
    fn escapes_are_read() {
        let unescaped = |text: &str| match Parser::new(text).token() {
            Ok(Token::Text(text)) => text.unescaped(&mut String::new()).map(str::to_owned),
            other => panic!("{other:?}"),
        };
        assert_eq!(unescaped(r#""a\"\\\/\n\tz""#).as_deref(), Some("a\"\\/\n\tz"));
        assert_eq!(unescaped(r#""\u00e4\ud83d\ude00!""#).as_deref(), Some("ä😀!"));
        assert_eq!(unescaped(r#""\ud83d""#), None);
        assert_eq!(unescaped(r#""\ud83d\u0041""#), None);
        assert_eq!(unescaped(r#""\ude00""#), None);
    }

    #[test]
    fn space_between_parts_goes_and_space_in_strings_stays() {
        let mut out = String::new();
        compact(" { \"a b\" : [ 1 , \"\\\" , \" ] } ", &mut out);
        assert_eq!(out, "{\"a b\":[1,\"\\\" , \"]}");
    }
}

//! Texts to values. `None`: the text names no value of the type. No number passes through a float but floats.

use super::TimeStyle;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::str::FromStr;

/// Days from 0000-03-01, where the eras of the calendar begin, to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

const MICROS_OF_SECOND: i64 = 1_000_000;
const MICROS_OF_DAY: i64 = 86_400 * MICROS_OF_SECOND;

/// `true` or `false` in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") { Some(true) } else { text.eq_ignore_ascii_case("false").then_some(false) }
}

/// Digits with a sign, in the type's range.
pub(crate) fn integer<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A number in any notation that is whole: `5`, `5.0`, `5e0`.
pub(crate) fn integral(text: &str) -> Option<i64> {
    let (value, is_exact) = scaled(text, 0)?;
    if is_exact { value.try_into().ok() } else { None }
}

/// True for what Java reads as a float and Rust does as well: not for the names that only Rust knows.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, "NaN" | "Infinity") || unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// A number, `NaN` or `Infinity`.
pub(crate) fn float64(text: &str) -> Option<f64> {
    is_float(text).then(|| text.parse().ok()).flatten()
}

/// A number, `NaN` or `Infinity`; rounded once, from the digits.
pub(crate) fn float32(text: &str) -> Option<f32> {
    is_float(text).then(|| text.parse().ok()).flatten()
}

/// The unscaled value of a decimal, rounded half up to the scale; `None` also if it does not fit the precision.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (value, _) = scaled(text, scale)?;
    (value.unsigned_abs() < 10u128.pow(u32::from(precision))).then_some(value)
}

/// A number times ten to the scale, rounded half up, and whether that is exact.
fn scaled(text: &str, scale: i8) -> Option<(i128, bool)> {
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() && fraction.is_empty() || !digits.clone().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // So many digits stand before the place to round at.
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let (mut value, mut is_exact) = (0i128, true);
    let mut taken = 0;
    while taken < kept {
        let Some(digit) = digits.next() else { break };
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        taken += 1;
    }
    if value != 0 {
        for _ in taken..kept {
            value = value.checked_mul(10)?;
        }
    }
    let mut rest = digits;
    // A place to round at in front of the first digit has zeros behind it.
    let next = if kept < 0 { None } else { rest.next() };
    if next.is_some_and(|digit| digit >= b'5') {
        value = value.checked_add(1)?;
    }
    if next.is_some_and(|digit| digit != b'0') || rest.any(|digit| digit != b'0') {
        is_exact = false;
    }
    Some((if is_negative { -value } else { value }, is_exact))
}

/// Reads one number after the other out of a text of fixed form.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    /// Digits: between `least` and `most` of them.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let length = self.rest.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    fn follows(&mut self, expected: u8) -> bool {
        let is = self.rest.first() == Some(&expected);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    fn expect(&mut self, expected: u8) -> Option<()> {
        self.follows(expected).then_some(())
    }

    /// Days since 1970-01-01 of `yyyy-MM-dd`.
    fn date(&mut self, style: TimeStyle) -> Option<i64> {
        let year = match self.rest.first()? {
            b'-' => {
                self.rest = &self.rest[1..];
                -self.number(4, 6)?
            }
            // Years of more than four digits have a sign.
            b'+' => {
                self.rest = &self.rest[1..];
                self.number(5, 6)?
            }
            _ => self.number(4, 4)?,
        };
        let least = if style == TimeStyle::Csv { 1 } else { 2 };
        self.expect(b'-')?;
        let month = self.number(least, 2)?;
        self.expect(b'-')?;
        let day = self.number(least, 2)?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_of_month = match month {
            2 => 28 + i64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if day < 1 || day > days_of_month {
            return None;
        }
        // The year begins in March, so that the leap day is its last.
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(era * 146_097 + day_of_era - DAYS_TO_EPOCH)
    }

    /// Microseconds since midnight of `HH:mm:ss[.fraction]`; digits beyond microseconds are cut off.
    fn time(&mut self, needs_seconds: bool) -> Option<i64> {
        let hours = self.number(2, 2)?;
        self.expect(b':')?;
        let minutes = self.number(2, 2)?;
        let (mut seconds, mut micros) = (0, 0);
        if self.follows(b':') {
            seconds = self.number(2, 2)?;
            if self.follows(b'.') {
                let before = self.rest.len();
                micros = self.number(1, 6)?;
                for _ in before - self.rest.len()..6 {
                    micros *= 10;
                }
                self.number(0, 3)?;
            }
        } else if needs_seconds {
            return None;
        }
        if hours > 23 || minutes > 59 || seconds > 59 {
            return None;
        }
        Some(((hours * 60 + minutes) * 60 + seconds) * MICROS_OF_SECOND + micros)
    }
}

fn whole<T>(text: &str, read: impl FnOnce(&mut Cursor<'_>) -> Option<T>) -> Option<T> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let value = read(&mut cursor)?;
    cursor.rest.is_empty().then_some(value)
}

/// Days since 1970-01-01.
pub(crate) fn date(text: &str, style: TimeStyle) -> Option<i32> {
    whole(text, |cursor| cursor.date(style)).and_then(|days| days.try_into().ok())
}

/// Milliseconds since midnight.
pub(crate) fn time(text: &str, style: TimeStyle) -> Option<i32> {
    whole(text, |cursor| cursor.time(style != TimeStyle::Csv)).map(|micros| (micros / 1000) as i32)
}

/// Microseconds since 1970. An instant has a `Z` behind it, a local time has none.
pub(crate) fn timestamp_micros(text: &str, style: TimeStyle, is_instant: bool) -> Option<i64> {
    whole(text, |cursor| {
        let days = cursor.date(style)?;
        cursor.expect(if style == TimeStyle::Iso { b'T' } else { b' ' })?;
        let time = cursor.time(style != TimeStyle::Iso)?;
        if is_instant {
            cursor.expect(b'Z')?;
        }
        days.checked_mul(MICROS_OF_DAY)?.checked_add(time)
    })
}

/// Bytes from base64.
pub(crate) fn bytes(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    STANDARD.decode_vec(text, out).ok()
}

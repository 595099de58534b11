//! Numbers, dates and times as Java's classes print them.

use std::fmt::LowerExp;
use std::io::Write;
use std::str::FromStr;

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to memory does not fail");
}

/// `Long.toString` and the like.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    put(out, format_args!("{value}"));
}

/// `Double.toString`: the fewest digits that name the value; with an exponent below 0.001 and from 10,000,000 on.
pub fn double(out: &mut Vec<u8>, value: f64) {
    if is_number(out, value) {
        write_scientific(out, &shortest(value.abs()));
    }
}

/// `Float.toString`.
pub fn float(out: &mut Vec<u8>, value: f32) {
    if is_number(out, value.into()) {
        write_scientific(out, &shortest(value.abs()));
    }
}

/// The shortest text that names the value; two digits where Java takes them because they come nearer than one.
fn shortest<T: LowerExp + FromStr + PartialEq>(magnitude: T) -> Scientific {
    let shortest = Scientific::of(format_args!("{magnitude:e}"));
    if shortest.digits().len() == 1 {
        let two = Scientific::of(format_args!("{magnitude:.1e}"));
        if two.text().parse().is_ok_and(|parsed: T| parsed == magnitude) {
            return two;
        }
    }
    shortest
}

/// Writes the sign, and what is no number.
fn is_number(out: &mut Vec<u8>, value: f64) -> bool {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return false;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        out.extend_from_slice(b"Infinity");
        return false;
    }
    true
}

/// The text `d.ddde-n` of a number: at most 17 digits, a point, `e`, a sign and three digits.
struct Scientific {
    bytes: [u8; 32],
    length: usize,
}

impl Scientific {
    fn of(text: std::fmt::Arguments<'_>) -> Self {
        let mut bytes = [0u8; 32];
        let mut rest = &mut bytes[..];
        rest.write_fmt(text).expect("a number has fewer than 32 characters");
        let length = 32 - rest.len();
        Self { bytes, length }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("a number is ASCII")
    }

    /// The digits with their point.
    fn digits(&self) -> &[u8] {
        let mark = self.text().find('e').expect("the format has an exponent");
        &self.bytes[..mark]
    }

    fn exponent(&self) -> i32 {
        let exponent = &self.text()[self.digits().len() + 1..];
        exponent.parse().expect("the format's exponent is a number")
    }
}

fn write_scientific(out: &mut Vec<u8>, text: &Scientific) {
    let (digits, exponent) = (text.digits(), text.exponent());
    let (first, after) = (digits[0], digits.get(2..).unwrap_or_default());
    let after = if after == b"0" { &after[1..] } else { after };
    match exponent {
        0..=6 => {
            let whole = exponent as usize;
            out.push(first);
            out.extend((0..whole).map(|n| after.get(n).copied().unwrap_or(b'0')));
            out.push(b'.');
            out.extend_from_slice(after.get(whole..).filter(|rest| !rest.is_empty()).unwrap_or(b"0"));
        }
        -3..=-1 => {
            out.extend_from_slice(b"0.");
            out.extend((exponent..-1).map(|_| b'0'));
            out.push(first);
            out.extend_from_slice(after);
        }
        _ => {
            out.extend_from_slice(&[first, b'.']);
            out.extend_from_slice(if after.is_empty() { b"0" } else { after });
            put(out, format_args!("E{exponent}"));
        }
    }
}

/// `BigDecimal.toString`: plain, but with an exponent below 0.000001.
pub fn decimal(out: &mut Vec<u8>, unscaled: i128, scale: i8) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let digits = unscaled.unsigned_abs().to_string();
    let (bytes, scale) = (digits.as_bytes(), i32::from(scale));
    let adjusted = bytes.len() as i32 - 1 - scale;
    if scale == 0 {
        out.extend_from_slice(bytes);
    } else if scale > 0 && adjusted >= -6 {
        match bytes.len() as i32 - scale {
            whole @ 1.. => {
                out.extend_from_slice(&bytes[..whole as usize]);
                out.push(b'.');
                out.extend_from_slice(&bytes[whole as usize..]);
            }
            missing => {
                out.extend_from_slice(b"0.");
                out.extend((missing..0).map(|_| b'0'));
                out.extend_from_slice(bytes);
            }
        }
    } else {
        out.push(bytes[0]);
        if bytes.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&bytes[1..]);
        }
        if adjusted != 0 {
            put(out, format_args!("E{adjusted:+}"));
        }
    }
}

const NANOS_OF_SECOND: i64 = 1_000_000_000;
const SECONDS_OF_DAY: i64 = 86_400;

/// `LocalDate.toString` of days since 1970-01-01.
pub fn date(out: &mut Vec<u8>, days: i64) {
    // Civil calendar by eras of 400 years that begin on March 1st.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        10_000.. => put(out, format_args!("+{year}")),
        0.. => put(out, format_args!("{year:04}")),
        _ => put(out, format_args!("-{:04}", -year)),
    }
    put(out, format_args!("-{month:02}-{day:02}"));
}

/// `LocalTime.toString` of a time of day: zero seconds are left out.
pub fn time(out: &mut Vec<u8>, seconds: i64, nanos: i64) {
    put(out, format_args!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60));
    if seconds % 60 != 0 || nanos != 0 {
        put(out, format_args!(":{:02}", seconds % 60));
        fraction(out, nanos);
    }
}

fn fraction(out: &mut Vec<u8>, nanos: i64) {
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => put(out, format_args!(".{:03}", n / 1_000_000)),
        n if n % 1_000 == 0 => put(out, format_args!(".{:06}", n / 1_000)),
        n => put(out, format_args!(".{n:09}")),
    }
}

/// A timestamp counted in `per_second` units since 1970: as `LocalDateTime`, or as `Instant` if `zoned`.
pub fn timestamp(out: &mut Vec<u8>, value: i64, per_second: i64, zoned: bool) {
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (NANOS_OF_SECOND / per_second);
    let of_day = seconds.rem_euclid(SECONDS_OF_DAY);
    date(out, seconds.div_euclid(SECONDS_OF_DAY));
    out.push(b'T');
    if zoned {
        put(out, format_args!("{:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60));
        fraction(out, nanos);
        out.push(b'Z');
    } else {
        time(out, of_day, nanos);
    }
}

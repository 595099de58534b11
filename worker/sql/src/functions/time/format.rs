//! Java's patterns of dates and times, for writing and for reading.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion_common::{Result, plan_err};
use std::fmt::Write;

/// A pattern, taken apart.
#[derive(Debug)]
pub(super) struct Format {
    items: Vec<Item>,
    /// Flink reads this one by its own rules: parts of one digit, and a fraction.
    is_plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Literal(char),
    Year,
    Year2,
    Quarter,
    Month(usize),
    MonthName(bool),
    Day(usize),
    DayOfYear,
    Hour(usize),
    Hour12(usize),
    Minute(usize),
    Second(usize),
    Fraction(usize),
    HalfDay,
    Weekday(bool),
}

impl Format {
    pub fn parse(pattern: &str) -> Result<Self> {
        let mut items = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if first == '\'' {
                let Some(end) = rest[1..].find('\'') else {
                    return plan_err!("date pattern '{pattern}': a quote does not end");
                };
                match end {
                    0 => items.push(Item::Literal('\'')),
                    _ => items.extend(rest[1..=end].chars().map(Item::Literal)),
                }
                rest = &rest[end + 2..];
                continue;
            }
            let run = rest.chars().take_while(|c| *c == first).count();
            let item = match (first, run) {
                ('y' | 'u', 1 | 4) => Item::Year,
                ('y' | 'u', 2) => Item::Year2,
                ('Q', 1) => Item::Quarter,
                ('M', 1 | 2) => Item::Month(run),
                ('M', 3 | 4) => Item::MonthName(run == 4),
                ('d', 1 | 2) => Item::Day(run),
                ('D', 1) => Item::DayOfYear,
                ('H', 1 | 2) => Item::Hour(run),
                ('h', 1 | 2) => Item::Hour12(run),
                ('m', 1 | 2) => Item::Minute(run),
                ('s', 1 | 2) => Item::Second(run),
                ('S', 1..=9) => Item::Fraction(run),
                ('a', 1) => Item::HalfDay,
                ('E', 1..=4) => Item::Weekday(run == 4),
                (c, _) if c.is_ascii_alphabetic() || "[]{}#".contains(c) => {
                    return plan_err!("date pattern '{pattern}': `{}` is not supported", c.to_string().repeat(run));
                }
                (c, _) => {
                    items.extend(std::iter::repeat_n(Item::Literal(c), run - 1));
                    Item::Literal(c)
                }
            };
            items.push(item);
            rest = &rest[run * first.len_utf8()..];
        }
        Ok(Self { items, is_plain: pattern == "yyyy-MM-dd HH:mm:ss" })
    }

    pub fn write(&self, time: NaiveDateTime, out: &mut String) {
        for item in &self.items {
            let hour12 = time.hour12().1;
            let (number, width) = match *item {
                Item::Literal(c) => {
                    out.push(c);
                    continue;
                }
                Item::MonthName(is_long) => {
                    out.push_str(name(&MONTHS, time.month0() as usize, is_long));
                    continue;
                }
                Item::Weekday(is_long) => {
                    out.push_str(name(&DAYS, time.weekday().num_days_from_monday() as usize, is_long));
                    continue;
                }
                Item::HalfDay => {
                    out.push_str(if time.hour() < 12 { "AM" } else { "PM" });
                    continue;
                }
                Item::Fraction(digits) => (time.nanosecond() / 10_u32.pow(9 - digits as u32), digits),
                Item::Year => (time.year().unsigned_abs(), 4),
                Item::Year2 => (time.year().rem_euclid(100) as u32, 2),
                Item::Quarter => (time.month0() / 3 + 1, 1),
                Item::Month(width) => (time.month(), width),
                Item::Day(width) => (time.day(), width),
                Item::DayOfYear => (time.ordinal(), 1),
                Item::Hour(width) => (time.hour(), width),
                Item::Hour12(width) => (hour12, width),
                Item::Minute(width) => (time.minute(), width),
                Item::Second(width) => (time.second(), width),
            };
            write!(out, "{number:0width$}").expect("a String takes everything");
        }
    }

    /// Refuses a pattern that can be written but not read.
    pub fn check_readable(&self, pattern: &str) -> Result<()> {
        let unread =
            |item: &&Item| matches!(item, Item::Quarter | Item::DayOfYear | Item::MonthName(_) | Item::Weekday(_));
        match self.items.iter().find(unread) {
            Some(_) => plan_err!(
                "date pattern '{pattern}': names of months and days, `Q` and `D` are not supported in reading"
            ),
            None => Ok(()),
        }
    }

    /// The time that a text says; parts that the pattern does not have are those of midnight, 1 January 1970.
    pub fn read(&self, text: &str) -> Option<NaiveDateTime> {
        if self.is_plain {
            return crate::functions::cast::timestamp(text);
        }
        let mut rest = text;
        let (mut year, mut month, mut day, mut nanos) = (1970, 1, 1, 0);
        let (mut hour, mut half, mut minute, mut second) = (0, None, 0, 0);
        for (at, item) in self.items.iter().enumerate() {
            let is_packed = self.items.get(at + 1).is_some_and(|next| !matches!(next, Item::Literal(_)));
            let mut number = |least: usize, most: usize| -> Option<u32> {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(most);
                if digits < least {
                    return None;
                }
                let (number, behind) = rest.split_at(digits);
                rest = behind;
                number.parse().ok()
            };
            match *item {
                Item::Literal(c) => rest = rest.strip_prefix(c)?,
                Item::Year => year = number(4, if is_packed { 4 } else { 9 })? as i32,
                Item::Year2 => year = 2000 + number(2, 2)? as i32,
                Item::Month(width) => month = number(width, 2)?,
                Item::Day(width) => day = number(width, 2)?,
                Item::Hour(width) => hour = number(width, 2)?,
                Item::Hour12(width) => hour = number(width, 2).filter(|h| (1..=12).contains(h))? % 12,
                Item::Minute(width) => minute = number(width, 2)?,
                Item::Second(width) => second = number(width, 2)?,
                Item::Fraction(digits) => nanos = number(digits, digits)? * 10_u32.pow(9 - digits as u32),
                Item::HalfDay => {
                    let (is_pm, behind) = match (rest.strip_prefix("AM"), rest.strip_prefix("PM")) {
                        (Some(behind), _) => (false, behind),
                        (_, Some(behind)) => (true, behind),
                        _ => return None,
                    };
                    half = Some(is_pm);
                    rest = behind;
                }
                // What says the same twice, or in words, is not read.
                Item::Quarter | Item::DayOfYear | Item::MonthName(_) | Item::Weekday(_) => return None,
            }
        }
        if !rest.is_empty() || day > 31 {
            return None;
        }
        if half == Some(true) {
            hour += 12;
        }
        let date = (day.saturating_sub(3)..=day).rev().find_map(|day| NaiveDate::from_ymd_opt(year, month, day))?;
        Some(date.and_time(NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?))
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn name(names: &[&'static str], index: usize, is_long: bool) -> &'static str {
    if is_long { names[index] } else { &names[index][..3] }
}

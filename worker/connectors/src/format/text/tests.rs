//! Texts and values at the edges of their types.

use super::*;

#[test]
fn decimals_are_exact_and_rounded_half_up() {
    let of = |text: &str| decimal(text, 5, 2);
    assert_eq!(of("1.5"), Some(150));
    assert_eq!(of("-1.005"), Some(-101));
    assert_eq!(of("1.0049999999999999999999"), Some(100));
    assert_eq!(of("0.005"), Some(1));
    assert_eq!(of("0.0049"), Some(0));
    assert_eq!(of("999.99"), Some(99_999));
    assert_eq!(of("1e2"), Some(10_000));
    assert_eq!(of("12345e-4"), Some(123));
    assert_eq!(of("5e-400"), Some(0));
    assert_eq!(of("0e999999999"), Some(0));
    assert_eq!(of("+.5"), Some(50));
    assert_eq!(of("007."), Some(700));
    for wrong in ["999.995", "1000", "1e400", "", "-", ".", "1,5", "0x1", "1e", "NaN", "1 2", "--1"] {
        assert_eq!(of(wrong), None, "{wrong}");
    }
    // A double knows neither of these.
    assert_eq!(
        decimal("12345678901234567890.123456789012345678", 38, 18),
        Some(12345678901234567890123456789012345678)
    );
    assert_eq!(decimal("99999999999999999999999999999999999999", 38, 0), Some(10i128.pow(38) - 1));
    assert_eq!(decimal("100000000000000000000000000000000000000", 38, 0), None);
}

#[test]
fn whole_numbers_may_be_written_as_fractions_if_nothing_is_lost() {
    assert_eq!(integral("5.0"), Some(5));
    assert_eq!(integral("-25e1"), Some(-250));
    assert_eq!(integral("9223372036854775807.0"), Some(i64::MAX));
    for wrong in ["5.5", "5e-1", "1e19", "0.0001"] {
        assert_eq!(integral(wrong), None, "{wrong}");
    }
    assert_eq!(integer::<i8>("127"), Some(127));
    assert_eq!(integer::<i8>("128"), None);
}

#[test]
fn floats_and_booleans_are_javas() {
    assert_eq!(float64("-Infinity"), Some(f64::NEG_INFINITY));
    assert!(float64("NaN").is_some_and(f64::is_nan));
    assert_eq!(float64(".5e1"), Some(5.0));
    // Through a double this would be rounded twice, to another float.
    assert_eq!(float32("1.000000178813934326171875001"), Some(1.000_000_2));
    for wrong in ["inf", "nan", "infinity", "", "1.5x"] {
        assert_eq!(float64(wrong), None, "{wrong}");
    }
    assert_eq!((boolean("TRUE"), boolean("False"), boolean("yes")), (Some(true), Some(false), None));
}

#[test]
fn dates_and_times_are_checked_by_the_calendar() {
    let sql = |text: &str| date(text, TimeStyle::Sql);
    assert_eq!(sql("1970-01-01"), Some(0));
    assert_eq!(sql("2000-02-29"), Some(11_016));
    assert_eq!(sql("1969-12-31"), Some(-1));
    assert_eq!(sql("0000-03-01"), Some(-719_468));
    for wrong in
        ["1900-02-29", "2001-02-29", "2001-13-01", "2001-00-01", "2001-01-32", "2001-1-1", "10000-01-01", "2001-01-01 "]
    {
        assert_eq!(sql(wrong), None, "{wrong}");
    }
    assert_eq!(date("2001-1-2", TimeStyle::Csv), sql("2001-01-02"));
    assert_eq!(time("23:59:59.9999", TimeStyle::Sql), Some(86_399_999));
    assert_eq!(time("23:59", TimeStyle::Sql), None);
    assert_eq!(time("00:01", TimeStyle::Csv), Some(60_000));
    assert_eq!(time("24:00:00", TimeStyle::Csv), None);
}

#[test]
fn a_timestamp_has_the_form_that_is_asked_for() {
    let at = |text, style, is_instant| timestamp_micros(text, style, is_instant);
    assert_eq!(at("1970-01-02 00:00:00.5", TimeStyle::Sql, false), Some(86_400_500_000));
    assert_eq!(at("1970-01-01 00:00:00.123456789", TimeStyle::Sql, false), Some(123_456));
    assert_eq!(at("1969-12-31 23:59:59.999999Z", TimeStyle::Sql, true), Some(-1));
    assert_eq!(at("1970-01-01T00:01", TimeStyle::Iso, false), Some(60_000_000));
    assert_eq!(at("1970-01-01T00:00:00.001Z", TimeStyle::Iso, true), Some(1000));
    for (wrong, style, is_instant) in [
        ("1970-01-01T00:00:00", TimeStyle::Sql, false),
        ("1970-01-01 00:00:00", TimeStyle::Iso, false),
        ("1970-01-01 00:00:00Z", TimeStyle::Sql, false),
        ("1970-01-01 00:00:00", TimeStyle::Sql, true),
        ("1970-01-01 00:00", TimeStyle::Sql, false),
        ("1970-01-01 00:00:00.", TimeStyle::Sql, false),
        ("1970-01-01", TimeStyle::Sql, false),
    ] {
        assert_eq!(at(wrong, style, is_instant), None, "{wrong}");
    }
}

//! Values in Postgres's own text.

use super::column::{BadValue, Held};
use pipeline::time::Timestamp;
use std::str::FromStr;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

pub fn parsed<T: FromStr>(value: &str) -> Result<T, BadValue> {
    value.parse().map_err(|_| BadValue::Malformed)
}

pub fn boolean(value: &str) -> Result<bool, BadValue> {
    match value {
        "t" | "true" => Ok(true),
        "f" | "false" => Ok(false),
        _ => Err(BadValue::Malformed),
    }
}

/// `\x` and pairs of hexadecimal digits.
pub fn bytea(value: &str, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let digits = value
        .strip_prefix("\\x")
        .ok_or(BadValue::Malformed)?
        .as_bytes();
    if digits.len() % 2 != 0 {
        return Err(BadValue::Malformed);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadValue::Malformed);
    for pair in digits.chunks_exact(2) {
        out.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    }
    Ok(())
}

/// In units of 10^-scale; NaN and infinities are not held.
pub fn decimal(value: &str, precision: u8, scale: i8) -> Held<i128> {
    if matches!(value, "NaN" | "Infinity" | "-Infinity") {
        return Ok(None);
    }
    let (negative, unsigned) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let scale = usize::from(scale.unsigned_abs());
    let (fraction, rest) = fraction.split_at_checked(scale).unwrap_or((fraction, ""));
    if whole.is_empty() {
        return Err(BadValue::Malformed);
    }
    if rest.bytes().any(|digit| digit != b'0') {
        return Err(BadValue::OutOfRange);
    }
    let mut sum: i128 = 0;
    let missing = scale - fraction.len();
    for byte in whole
        .bytes()
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', missing))
    {
        let digit = char::from(byte).to_digit(10).ok_or(BadValue::Malformed)?;
        sum = sum
            .checked_mul(10)
            .and_then(|sum| sum.checked_add(i128::from(digit)))
            .ok_or(BadValue::OutOfRange)?;
    }
    if sum >= 10i128.pow(u32::from(precision)) {
        return Err(BadValue::OutOfRange);
    }
    Ok(Some(if negative { -sum } else { sum }))
}

/// Days since 1970-01-01 of `YYYY-MM-DD` or `YYYY-MM-DD BC`; infinities are not held.
pub fn date(value: &str) -> Held<i32> {
    if is_infinite(value) {
        return Ok(None);
    }
    let (value, before_christ) = era(value);
    let days = days(value, before_christ)?;
    i32::try_from(days)
        .map(Some)
        .map_err(|_| BadValue::OutOfRange)
}

/// Microseconds since 1970-01-01 of `YYYY-MM-DD HH:MM:SS.ffffff`, perhaps with ` BC`; infinities are not held.
pub fn timestamp(value: &str) -> Held<i64> {
    if is_infinite(value) {
        return Ok(None);
    }
    let (value, before_christ) = era(value);
    moment(value, before_christ, 0).map(Some)
}

/// As `timestamp`, with an offset from UTC behind the seconds: `+00`, `-03:30`.
pub fn timestamp_with_zone(value: &str) -> Held<i64> {
    if is_infinite(value) {
        return Ok(None);
    }
    let (value, before_christ) = era(value);
    // The date has dashes too: the sign of the offset is the last sign behind the blank.
    let blank = value.find(' ').ok_or(BadValue::Malformed)?;
    let sign = value
        .rfind(['+', '-'])
        .filter(|&at| at > blank)
        .ok_or(BadValue::Malformed)?;
    let (local, offset) = value.split_at(sign);
    let (negative, offset) = (offset.starts_with('-'), &offset[1..]);
    let seconds = clock(offset)? / 1_000_000;
    moment(
        local,
        before_christ,
        if negative { -seconds } else { seconds },
    )
    .map(Some)
}

fn is_infinite(value: &str) -> bool {
    matches!(value, "infinity" | "-infinity")
}

fn era(value: &str) -> (&str, bool) {
    match value.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (value, false),
    }
}

fn days(value: &str, before_christ: bool) -> Result<i64, BadValue> {
    let mut parts = value.split('-');
    let mut part = || parts.next().ok_or(BadValue::Malformed);
    let (year, month, day): (i64, u32, u32) =
        (parsed(part()?)?, parsed(part()?)?, parsed(part()?)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(BadValue::Malformed);
    }
    if !(0..=10_000_000).contains(&year) {
        return Err(BadValue::OutOfRange);
    }
    // The year before 1 is 1 BC.
    let year = if before_christ { 1 - year } else { year };
    Ok(Timestamp::from_civil(year, month, day, 0).0 / 86_400_000)
}

fn moment(value: &str, before_christ: bool, offset_seconds: i64) -> Result<i64, BadValue> {
    let (date, time) = value.split_once(' ').ok_or(BadValue::Malformed)?;
    let days = days(date, before_christ)?;
    let micros = clock(time)? - offset_seconds * 1_000_000;
    // Wider than the result: a day at the edge may be outside while the moment in it is not.
    let sum = i128::from(days) * i128::from(DAY_MICROSECONDS) + i128::from(micros);
    i64::try_from(sum).map_err(|_| BadValue::OutOfRange)
}

/// Microseconds of `HH`, `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`.
fn clock(value: &str) -> Result<i64, BadValue> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let mut seconds = 0;
    let mut unit = 3600;
    for part in whole.split(':') {
        if unit == 0 {
            return Err(BadValue::Malformed);
        }
        seconds += i64::from(parsed::<u32>(part)?) * unit;
        unit /= 60;
    }
    if fraction.len() > 6 {
        return Err(BadValue::Malformed);
    }
    let micros = match fraction {
        "" => 0,
        digits => i64::from(parsed::<u32>(digits)?) * 10i64.pow(6 - digits.len() as u32),
    };
    Ok(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_1970() {
        for (text, expected) in [
            ("1970-01-01 00:00:00", Ok(Some(0))),
            ("1969-12-31 23:59:59.5", Ok(Some(-500_000))),
            ("2000-01-01 12:00:00.000001", Ok(Some(946_728_000_000_001))),
            ("infinity", Ok(None)),
            ("294276-12-31 23:59:59.999999", Err(BadValue::OutOfRange)),
            ("2000-13-01 00:00:00", Err(BadValue::Malformed)),
            ("2000-01-01", Err(BadValue::Malformed)),
            ("2000-01-01 00:00:00:00", Err(BadValue::Malformed)),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1970-01-01 00:00:00+00", 0),
            ("1970-01-01 02:00:00+02", 0),
            ("1969-12-31 20:30:00-03:30", 0),
            ("1970-01-01 00:00:00.25+00", 250_000),
        ] {
            assert_eq!(timestamp_with_zone(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(date("0001-01-01 BC"), Ok(Some(-719_528)));
        assert_eq!(date("-infinity"), Ok(None));
        assert_eq!(date("5874897-12-31"), Ok(Some(2_145_042_905)));
    }

    #[test]
    fn decimals_keep_every_digit_or_fail() {
        for (text, expected) in [
            ("12.34", Ok(Some(1234))),
            ("-0.5", Ok(Some(-50))),
            ("7", Ok(Some(700))),
            ("1.230", Ok(Some(123))),
            ("1.234", Err(BadValue::OutOfRange)),
            ("1000", Err(BadValue::OutOfRange)),
            ("NaN", Ok(None)),
            ("-Infinity", Ok(None)),
            ("1e5", Err(BadValue::Malformed)),
            ("", Err(BadValue::Malformed)),
        ] {
            assert_eq!(decimal(text, 5, 2), expected, "{text}");
        }
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        let mut out = Vec::new();
        assert_eq!(bytea("\\x00ffAb", &mut out), Ok(()));
        assert_eq!(out, [0, 255, 171]);
        for bad in ["00", "\\x0", "\\xzz"] {
            assert_eq!(
                bytea(bad, &mut Vec::new()),
                Err(BadValue::Malformed),
                "{bad}"
            );
        }
    }
}

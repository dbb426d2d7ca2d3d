//! Arrow values as Postgres prints them: the lake's side of a comparison.

use super::rule::{Rule, SourceType};
use crate::failure::Failure;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, GenericBinaryArray, PrimitiveArray,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use std::io::Write;

/// One column of a batch.
pub enum Column {
    /// The lake does not have it.
    Absent,
    Boolean(BooleanArray),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>, i8),
    Date(PrimitiveArray<Date32Type>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>, Zone),
    Text(StringArray),
    /// Text of a boolean: `true` and `false`, as DMS writes them, beside `t` and `f`.
    BooleanText(StringArray),
    Binary(BinaryArray),
}

/// What stands behind a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    None,
    Utc,
}

impl Column {
    /// Types that other engines write in the place of ours are brought to ours first; the wider type holds every value.
    pub fn new(
        name: &str,
        array: &ArrayRef,
        source: &SourceType,
        rule: Rule,
    ) -> Result<Self, Failure> {
        let as_type = |wanted: &DataType| {
            cast(array, wanted).map_err(|error| {
                Failure::new(
                    "SilverUnreadable",
                    format!("column `{name}` cannot be read"),
                )
                .caused_by(&error)
            })
        };
        Ok(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 => {
                Self::Int32(as_type(&DataType::Int32)?.as_primitive().clone())
            }
            DataType::Int64 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
                Self::Int64(as_type(&DataType::Int64)?.as_primitive().clone())
            }
            DataType::Float32 => Self::Float32(array.as_primitive().clone()),
            DataType::Float64 => Self::Float64(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive().clone(), *scale),
            DataType::Date32 => Self::Date(array.as_primitive().clone()),
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                let shown = match source.name.as_str() {
                    "timestamptz" => Zone::Utc,
                    _ => Zone::None,
                };
                Self::Timestamp(as_type(&micros)?.as_primitive().clone(), shown)
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                Self::Binary(as_type(&DataType::Binary)?.as_binary().clone())
            }
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Dictionary(..) => {
                let text = as_type(&DataType::Utf8)?.as_string().clone();
                match rule {
                    Rule::Boolean => Self::BooleanText(text),
                    _ => Self::Text(text),
                }
            }
            other => {
                return Err(Failure::new(
                    "TypeUnknown",
                    format!("column `{name}` of silver has a type that is not compared: {other}"),
                ));
            }
        })
    }

    /// Writes the text of a value; `false`: NULL.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        if self.is_null(row) {
            return false;
        }
        match self {
            Self::Absent => {}
            Self::Boolean(values) => out.push(if values.value(row) { b't' } else { b'f' }),
            Self::Int32(values) => integer(i128::from(values.value(row)), out),
            Self::Int64(values) => integer(i128::from(values.value(row)), out),
            Self::Float32(values) => float32(values.value(row), out),
            Self::Float64(values) => float64(values.value(row), out),
            Self::Decimal(values, scale) => decimal(values.value(row), *scale, out),
            Self::Date(values) => date(i64::from(values.value(row)), out),
            Self::Timestamp(values, zone) => timestamp(values.value(row), *zone, out),
            Self::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Self::BooleanText(values) => out.extend_from_slice(match values.value(row) {
                "true" => b"t",
                "false" => b"f",
                other => other.as_bytes(),
            }),
            Self::Binary(values) => bytea(values, row, out),
        }
        true
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Absent => true,
            Self::Boolean(values) => values.is_null(row),
            Self::Int32(values) => values.is_null(row),
            Self::Int64(values) => values.is_null(row),
            Self::Float32(values) => values.is_null(row),
            Self::Float64(values) => values.is_null(row),
            Self::Decimal(values, _) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Timestamp(values, _) => values.is_null(row),
            Self::Text(values) | Self::BooleanText(values) => values.is_null(row),
            Self::Binary(values) => values.is_null(row),
        }
    }
}

const DIGITS_MAX: usize = 39;

/// Digits, at least `least` of them.
fn digits(value: u128, least: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut high = value;
    // Division is dear in 128 bits and rarely needed.
    while high > u128::from(u64::MAX) {
        at -= 1;
        text[at] += (high % 10) as u8;
        high /= 10;
    }
    let mut low = high as u64;
    while low > 0 {
        at -= 1;
        text[at] += (low % 10) as u8;
        low /= 10;
    }
    out.extend_from_slice(&text[at.min(DIGITS_MAX - least)..]);
}

fn integer(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    digits(value.unsigned_abs(), 1, out);
}

fn decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    let scale = usize::try_from(scale).unwrap_or(0);
    if value < 0 {
        out.push(b'-');
    }
    digits(value.unsigned_abs(), scale + 1, out);
    if scale > 0 {
        let point = out.len() - scale;
        out.insert(point, b'.');
    }
}

/// The shortest text that gives the same bits. Postgres writes exponents in another way: its text is read and written again by this.
pub fn float32(value: f32, out: &mut Vec<u8>) {
    match special(f64::from(value)) {
        Some(text) => out.extend_from_slice(text),
        // Writing to memory cannot fail.
        None => drop(write!(out, "{value:?}")),
    }
}

/// As `float32`.
pub fn float64(value: f64, out: &mut Vec<u8>) {
    match special(value) {
        Some(text) => out.extend_from_slice(text),
        None => drop(write!(out, "{value:?}")),
    }
}

fn special(value: f64) -> Option<&'static [u8]> {
    match value {
        _ if value.is_nan() => Some(b"NaN"),
        f64::INFINITY => Some(b"Infinity"),
        f64::NEG_INFINITY => Some(b"-Infinity"),
        _ => None,
    }
}

const BEFORE_CHRIST: &[u8] = b" BC";

fn date(days: i64, out: &mut Vec<u8>) {
    if before_christ(day(days, out)) {
        out.extend_from_slice(BEFORE_CHRIST);
    }
}

fn timestamp(micros: i64, zone: Zone, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000_000;
    let year = day(micros.div_euclid(DAY), out);
    let of_day = micros.rem_euclid(DAY).unsigned_abs();
    let seconds = of_day / 1_000_000;
    for (sign, part) in [
        (b' ', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        out.push(sign);
        two_digits(part, out);
    }
    let fraction = of_day % 1_000_000;
    if fraction > 0 {
        out.push(b'.');
        digits(u128::from(fraction), 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if zone == Zone::Utc {
        out.extend_from_slice(b"+00");
    }
    if before_christ(year) {
        out.extend_from_slice(BEFORE_CHRIST);
    }
}

fn before_christ(year: i64) -> bool {
    year <= 0
}

/// Writes year, month and day; gives the year, in which 0 is the one before 1.
fn day(days: i64, out: &mut Vec<u8>) -> i64 {
    let (year, month, day) = civil(days);
    let shown = if before_christ(year) { 1 - year } else { year };
    digits(u128::from(shown.unsigned_abs()), 4, out);
    out.push(b'-');
    two_digits(month, out);
    out.push(b'-');
    two_digits(day, out);
    year
}

/// Year, month and day of a day since 1970-01-01, by the algorithm of Fliegel and Van Flandern in whole cycles of 400 years.
fn civil(days: i64) -> (i64, u64, u64) {
    const CYCLE_DAYS: i64 = 146_097;
    /// From 1600-01-01, where a cycle begins.
    const EPOCH: i64 = 135_140;
    let cycles = (days + EPOCH).div_euclid(CYCLE_DAYS);
    // As a Julian day number inside one cycle, where it is positive.
    let julian = (days + EPOCH).rem_euclid(CYCLE_DAYS) + 2_440_588 - EPOCH;
    let mut l = julian + 68_569;
    let n = 4 * l / CYCLE_DAYS;
    l -= (CYCLE_DAYS * n + 3) / 4;
    let i = 4000 * (l + 1) / 1_461_001;
    l = l - 1461 * i / 4 + 31;
    let j = 80 * l / 2447;
    let day = l - 2447 * j / 80;
    let l = j / 11;
    let month = j + 2 - 12 * l;
    let year = 100 * (n - 49) + i + l;
    (
        year + 400 * cycles,
        month.unsigned_abs(),
        day.unsigned_abs(),
    )
}

fn two_digits(value: u64, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

fn bytea(values: &GenericBinaryArray<i32>, row: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    for byte in values.value(row) {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_printed_as_postgres_does() {
        for (value, scale, expected) in [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (1234, 0, "1234"),
            (
                -99_999_999_999_999_999_999_999_999_999_999_999_999,
                38,
                "-0.99999999999999999999999999999999999999",
            ),
        ] {
            assert_eq!(text(|out| decimal(value, scale, out)), expected);
        }
        for (days, expected) in [
            (0, "1970-01-01"),
            (-719_528, "0001-01-01 BC"),
            (-719_162, "0001-01-01"),
            (-2_440_588, "4714-11-24 BC"),
            (2_145_042_905, "5874897-12-31"),
            (11_016, "2000-02-29"),
        ] {
            assert_eq!(text(|out| date(days, out)), expected);
        }
        for (micros, zone, expected) in [
            (-500_000, Zone::None, "1969-12-31 23:59:59.5"),
            (1, Zone::Utc, "1970-01-01 00:00:00.000001+00"),
            (
                -719_528 * 86_400_000_000,
                Zone::Utc,
                "0001-01-01 00:00:00+00 BC",
            ),
        ] {
            assert_eq!(text(|out| timestamp(micros, zone, out)), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(-2_440_588);
        for days in -2_440_587..200_000 {
            let (year, month, day) = civil(days);
            let follows = (year, month, day) == (before.0, before.1, before.2 + 1)
                || day == 1 && (year, month) == (before.0, before.1 + 1) && before.2 >= 28
                || (month, day) == (1, 1) && (year, 12, 31) == (before.0 + 1, before.1, before.2);
            assert!(follows, "{before:?} then {year}-{month}-{day}");
            before = (year, month, day);
        }
    }
}

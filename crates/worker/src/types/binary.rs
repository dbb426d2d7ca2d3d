//! Values in the binary form of COPY.

use super::column::{BadValue, Held};

/// Days from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], BadValue> {
    value.try_into().map_err(|_| BadValue::Malformed)
}

#[inline]
pub fn boolean(value: &[u8]) -> Result<bool, BadValue> {
    Ok(array::<1>(value)?[0] != 0)
}

/// Of two or four bytes.
#[inline]
pub fn int32(value: &[u8]) -> Held<i32> {
    match *value {
        [a, b, c, d] => Ok(Some(i32::from_be_bytes([a, b, c, d]))),
        [a, b] => Ok(Some(i32::from(i16::from_be_bytes([a, b])))),
        _ => Err(BadValue::Malformed),
    }
}

/// Of eight bytes, or of four without a sign.
#[inline]
pub fn int64(value: &[u8]) -> Held<i64> {
    match *value {
        [a, b, c, d] => Ok(Some(i64::from(u32::from_be_bytes([a, b, c, d])))),
        _ => Ok(Some(i64::from_be_bytes(array(value)?))),
    }
}

#[inline]
pub fn float32(value: &[u8]) -> Held<f32> {
    Ok(Some(f32::from_be_bytes(array(value)?)))
}

#[inline]
pub fn float64(value: &[u8]) -> Held<f64> {
    Ok(Some(f64::from_be_bytes(array(value)?)))
}

/// Days since 1970-01-01; infinities are not held.
#[inline]
pub fn date(value: &[u8]) -> Held<i32> {
    match i32::from_be_bytes(array(value)?) {
        i32::MIN | i32::MAX => Ok(None),
        days => days
            .checked_add(EPOCH_DAYS)
            .map(Some)
            .ok_or(BadValue::OutOfRange),
    }
}

/// Microseconds since 1970-01-01; infinities are not held.
#[inline]
pub fn timestamp(value: &[u8]) -> Held<i64> {
    match i64::from_be_bytes(array(value)?) {
        i64::MIN | i64::MAX => Ok(None),
        micros => micros
            .checked_add(EPOCH_MICROSECONDS)
            .map(Some)
            .ok_or(BadValue::OutOfRange),
    }
}

/// Text behind a version byte, of which there is one.
#[inline]
pub fn versioned(value: &[u8]) -> Result<&[u8], BadValue> {
    match value {
        [1, text @ ..] => Ok(text),
        _ => Err(BadValue::Malformed),
    }
}

pub fn uuid(value: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes: [u8; 16] = array(value)?;
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    Ok(())
}

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// Digits to the base 10,000, the first one weighing 10,000^weight, as an integer in units of 10^-scale.
#[inline]
pub fn decimal(value: &[u8], precision: u8, scale: i8) -> Held<i128> {
    let (head, digits) = value.split_at_checked(8).ok_or(BadValue::Malformed)?;
    let head = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let negative = match head(4) {
        POSITIVE => false,
        NEGATIVE => true,
        NOT_A_NUMBER | INFINITY | MINUS_INFINITY => return Ok(None),
        _ => return Err(BadValue::Malformed),
    };
    if digits.len() != usize::from(head(0)) * 2 {
        return Err(BadValue::Malformed);
    }
    let weight = i32::from(head(2) as i16);
    let unsigned = scaled(digits, weight * 4 + i32::from(scale))?;
    if unsigned >= 10i128.pow(u32::from(precision)) {
        return Err(BadValue::OutOfRange);
    }
    Ok(Some(if negative { -unsigned } else { unsigned }))
}

/// The sum of the digits, of which the first stands for units of 10^`power`.
#[inline]
fn scaled(digits: &[u8], mut power: i32) -> Result<i128, BadValue> {
    let mut sum: i128 = 0;
    let mut last_power = 0;
    for pair in digits.chunks_exact(2) {
        let digit = u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        // A digit below the unit counts only with what is above it.
        let (factor, digit) = match power {
            0.. => (10_000, digit),
            -3..=-1 => below_unit(digit, power)?,
            _ if digit == 0 => (1, 0),
            _ => return Err(BadValue::OutOfRange),
        };
        sum = sum
            .checked_mul(i128::from(factor))
            .and_then(|sum| sum.checked_add(i128::from(digit)))
            .ok_or(BadValue::OutOfRange)?;
        last_power = power.max(0);
        power -= 4;
    }
    if last_power == 0 || sum == 0 {
        return Ok(sum);
    }
    10i128
        .checked_pow(last_power as u32)
        .and_then(|factor| sum.checked_mul(factor))
        .ok_or(BadValue::OutOfRange)
}

/// The part of a digit that is at or above the unit, and by how much what came before grows.
fn below_unit(digit: u32, power: i32) -> Result<(u32, u32), BadValue> {
    let cut = 10u32.pow(power.unsigned_abs());
    if !digit.is_multiple_of(cut) {
        return Err(BadValue::OutOfRange);
    }
    Ok((10_000 / cut, digit / cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(sign: u16, weight: i16, digits: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend((digits.len() as u16).to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(0u16.to_be_bytes());
        for digit in digits {
            out.extend(digit.to_be_bytes());
        }
        out
    }

    #[test]
    fn numerics_become_units_of_their_scale() {
        for (value, precision, scale, expected) in [
            (numeric(POSITIVE, 0, &[]), 5, 2, Ok(Some(0))),
            (numeric(POSITIVE, 0, &[12, 3400]), 5, 2, Ok(Some(1234))),
            (numeric(NEGATIVE, 0, &[12, 3400]), 5, 2, Ok(Some(-1234))),
            (numeric(POSITIVE, 1, &[1]), 5, 0, Ok(Some(10_000))),
            (numeric(POSITIVE, -1, &[1]), 4, 4, Ok(Some(1))),
            (numeric(POSITIVE, -2, &[5000]), 5, 5, Ok(Some(5))),
            (
                numeric(POSITIVE, 9, &[99; 10]),
                38,
                0,
                Ok(Some(99_0099_0099_0099_0099_0099_0099_0099_0099_0099)),
            ),
            (
                numeric(POSITIVE, 0, &[12, 3456]),
                5,
                2,
                Err(BadValue::OutOfRange),
            ),
            (numeric(POSITIVE, 1, &[1]), 4, 0, Err(BadValue::OutOfRange)),
            (numeric(NOT_A_NUMBER, 0, &[]), 5, 2, Ok(None)),
            (numeric(INFINITY, 0, &[]), 5, 2, Ok(None)),
            (
                numeric(POSITIVE, 0, &[12])[..9].to_vec(),
                5,
                2,
                Err(BadValue::Malformed),
            ),
            (numeric(0x1234, 0, &[]), 5, 2, Err(BadValue::Malformed)),
            (Vec::new(), 5, 2, Err(BadValue::Malformed)),
        ] {
            assert_eq!(decimal(&value, precision, scale), expected, "{value:?}");
        }
    }
}

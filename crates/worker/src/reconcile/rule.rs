//! What a value of the source becomes before it is compared: the one table of what the lake holds in another way than Postgres prints it.
//!
//! | source | in the lake | the text of the source becomes |
//! |---|---|---|
//! | numeric | DECIMAL | the digits at the lake's scale; NaN and infinities: NULL |
//! | date, timestamp, timestamptz | DATE, TIMESTAMP | infinities: NULL |
//! | real, double precision | FLOAT, DOUBLE | the shortest text of the same bits |
//! | boolean | BOOLEAN, or text `true` and `false` | `t` and `f` on both sides |
//! | any array | text | JSON |
//! | all else | anything | what Postgres prints |

use super::{array, printed};
use arrow::datatypes::DataType;
use std::str;

/// The type of a column of the source, below all domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceType {
    /// `typname` of a type of `pg_catalog`, of an array's element; empty for all others.
    pub name: String,
    /// Of an array: the character between its elements.
    pub delimiter: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Verbatim,
    Boolean,
    Float32,
    Float64,
    Decimal { scale: i8 },
    Finite,
    Array { element: Element, delimiter: u8 },
}

/// How an element of an array is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Number,
    Boolean,
    Json,
    Text,
}

/// A value that is not of the form that its type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Rule {
    /// `lake` is `None` when the lake does not have the column.
    pub fn of(source: &SourceType, lake: Option<&DataType>) -> Self {
        if let Some(delimiter) = source.delimiter {
            let element = Element::of(&source.name);
            return Self::Array { element, delimiter };
        }
        match (source.name.as_str(), lake) {
            ("numeric", Some(DataType::Decimal128(_, scale))) => Self::Decimal { scale: *scale },
            ("date" | "timestamp" | "timestamptz", Some(lake)) if lake.is_temporal() => {
                Self::Finite
            }
            ("float4", Some(DataType::Float32)) => Self::Float32,
            ("float8", Some(DataType::Float64)) => Self::Float64,
            ("bool", _) => Self::Boolean,
            _ => Self::Verbatim,
        }
    }

    /// Writes what the source's text becomes; `false`: NULL.
    pub fn write(self, text: &[u8], out: &mut Vec<u8>) -> Result<bool, Malformed> {
        match self {
            Self::Verbatim | Self::Boolean => out.extend_from_slice(text),
            Self::Finite if matches!(text, b"infinity" | b"-infinity") => return Ok(false),
            Self::Finite => out.extend_from_slice(text),
            Self::Decimal { .. } if matches!(text, b"NaN" | b"Infinity" | b"-Infinity") => {
                return Ok(false);
            }
            Self::Decimal { scale } => rescaled(text, scale, out),
            Self::Float32 => printed::float32(number(text)?, out),
            Self::Float64 => printed::float64(number(text)?, out),
            Self::Array { element, delimiter } => array::to_json(text, element, delimiter, out)?,
        }
        Ok(true)
    }
}

impl Element {
    fn of(name: &str) -> Self {
        match name {
            "int2" | "int4" | "int8" | "oid" | "float4" | "float8" | "numeric" => Self::Number,
            "bool" => Self::Boolean,
            "json" | "jsonb" => Self::Json,
            _ => Self::Text,
        }
    }
}

fn number<T: str::FromStr>(text: &[u8]) -> Result<T, Malformed> {
    str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed)
}

/// The same digits with `scale` of them behind the point, as long as only zeros come or go.
fn rescaled(text: &[u8], scale: i8, out: &mut Vec<u8>) {
    let scale = usize::try_from(scale).unwrap_or(0);
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let surplus = fraction.get(scale..).unwrap_or_default();
    if surplus.iter().any(|&digit| digit != b'0') {
        out.extend_from_slice(text);
        return;
    }
    out.extend_from_slice(whole);
    if scale > 0 {
        let kept = &fraction[..fraction.len().min(scale)];
        out.push(b'.');
        out.extend_from_slice(kept);
        out.resize(out.len() + scale - kept.len(), b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_value_becomes_what_the_lake_can_hold() {
        let money = Rule::Decimal { scale: 2 };
        for (rule, text, expected) in [
            (Rule::Verbatim, "NaN", Ok(Some("NaN"))),
            (money, "NaN", Ok(None)),
            (money, "-Infinity", Ok(None)),
            (money, "1", Ok(Some("1.00"))),
            (money, "-0.50", Ok(Some("-0.50"))),
            (money, "1.5000", Ok(Some("1.50"))),
            (money, "1.234", Ok(Some("1.234"))),
            (Rule::Decimal { scale: 0 }, "7", Ok(Some("7"))),
            (Rule::Finite, "-infinity", Ok(None)),
            (Rule::Finite, "0001-01-01 BC", Ok(Some("0001-01-01 BC"))),
            (Rule::Float64, "1e+23", Ok(Some("1e23"))),
            (Rule::Float64, "-Infinity", Ok(Some("-Infinity"))),
            (Rule::Float32, "-0", Ok(Some("-0.0"))),
            (Rule::Float64, "one", Err(Malformed)),
        ] {
            let mut out = Vec::new();
            let written = rule.write(text.as_bytes(), &mut out);
            let out = String::from_utf8(out).unwrap();
            let found = written.map(|held| held.then_some(out.as_str()));
            assert_eq!(found, expected, "{rule:?} {text}");
        }
    }
}

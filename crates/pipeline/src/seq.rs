//! The order of changes: 35 digits, as AWS DMS writes them in `AR_H_CHANGE_SEQ`.
//! 16 digits of a UTC timestamp (`YYYYMMDDhhmmss` and hundredths), then a counter of 19 digits.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `trx_seq` of one change or of a load. Text order is change order, within one capture epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChangeSeq(String);

/// Digits of a `ChangeSeq`.
pub const CHANGE_SEQ_DIGITS: usize = 35;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`trx_seq` is not {CHANGE_SEQ_DIGITS} digits: {0}")]
pub struct BadChangeSeq(String);

impl ChangeSeq {
    /// The number of a change: the hundredth of a second of `at`, then `counter`.
    pub fn new(at: Timestamp, counter: u64) -> Self {
        let (year, month, day, hour, minute, second, ms) = at.civil();
        Self(format!(
            "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{:02}{counter:019}",
            ms / 10
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The moment in the first 16 digits, exact to the hundredth of a second.
    pub fn timestamp(&self) -> Timestamp {
        let number = |from: usize, to: usize| self.0[from..to].parse::<i64>().unwrap_or(0);
        let ms = ((number(8, 10) * 60 + number(10, 12)) * 60 + number(12, 14)) * 1000
            + number(14, 16) * 10;
        Timestamp::from_civil(number(0, 4), number(4, 6) as u32, number(6, 8) as u32, ms)
    }
}

impl FromStr for ChangeSeq {
    type Err = BadChangeSeq;

    fn from_str(text: &str) -> Result<Self, BadChangeSeq> {
        if text.len() == CHANGE_SEQ_DIGITS && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadChangeSeq(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ChangeSeq {
    type Error = BadChangeSeq;

    fn try_from(text: String) -> Result<Self, BadChangeSeq> {
        text.parse()
    }
}

impl From<ChangeSeq> for String {
    fn from(seq: ChangeSeq) -> Self {
        seq.0
    }
}

impl fmt::Display for ChangeSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_order_is_change_order_and_the_moment_survives() {
        let at = Timestamp(1_767_225_599_990);
        let seq = ChangeSeq::new(at, 7);
        assert_eq!(seq.as_str(), "20251231235959990000000000000000007");
        assert_eq!(seq.timestamp(), at);
        assert!(seq < ChangeSeq::new(at, 10));
        assert!(ChangeSeq::new(at, u64::MAX >> 1) < ChangeSeq::new(Timestamp(at.0 + 10), 0));
        assert!("2025".parse::<ChangeSeq>().is_err());
    }
}

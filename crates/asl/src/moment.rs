//! A moment, as a value: milliseconds since 1970-01-01T00:00:00Z. Whoever uses this crate passes moments in.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    pub fn plus_milliseconds(self, milliseconds: u64) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(milliseconds).unwrap_or(i64::MAX)),
        )
    }

    pub fn plus_seconds(self, seconds: u64) -> Self {
        self.plus_milliseconds(seconds.saturating_mul(1000))
    }

    /// A timestamp as the language wants it: RFC 3339 with a capital `T`, and a capital `Z` or an offset.
    pub fn parse(text: &str) -> Option<Self> {
        if text.as_bytes().get(10) != Some(&b'T') || text.ends_with('z') {
            return None;
        }
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|moment| Self(moment.timestamp_millis()))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rfc_3339_with_capitals_is_a_timestamp() {
        assert_eq!(Moment::parse("1970-01-01T00:00:01Z"), Some(Moment(1000)));
        assert_eq!(
            Moment::parse("1970-01-01T01:00:00.250+01:00"),
            Some(Moment(250))
        );
        for text in [
            "1970-01-01t00:00:01Z",
            "1970-01-01T00:00:01z",
            "1970-01-01 00:00:01Z",
            "1970-01-01",
            "",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
        assert_eq!(
            Moment(951_782_400_007).to_string(),
            "2000-02-29T00:00:00.007Z"
        );
    }
}

//! A moment, as a value. Clocks are elsewhere.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` later.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Whole seconds from `earlier` to here, negative when `earlier` is later.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(1000)
    }

    /// Year, month, day, hour, minute, second, millisecond in UTC.
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let days = self.0.div_euclid(86_400_000);
        let ms = self.0.rem_euclid(86_400_000) as u32;
        let (year, month, day) = civil_from_days(days);
        (
            year,
            month,
            day,
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000,
        )
    }

    /// The moment of a text like `2026-01-31T06:00:00Z`, with or without a fraction of a second; always UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let numbers = |text: &str, between: char| -> Option<[u32; 3]> {
            let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
            let parts: Option<Vec<u32>> = text
                .split(between)
                .map(|part| digits(part).then(|| part.parse().ok()).flatten())
                .collect();
            parts?.try_into().ok()
        };
        let ([year, month, day], [hour, minute, second]) =
            (numbers(date, '-')?, numbers(time, ':')?);
        let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && !fraction.is_empty();
        let ms: u32 = digits.then(|| format!("{fraction:0<3}")[..3].parse().ok())??;
        let seconds = (hour * 60 + minute) * 60 + second;
        let real = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        real.then(|| {
            Self::from_civil(
                i64::from(year),
                month,
                day,
                i64::from(seconds) * 1000 + i64::from(ms),
            )
        })
    }

    /// The moment of a UTC calendar date and time of day.
    pub fn from_civil(year: i64, month: u32, day: u32, ms_of_day: i64) -> Self {
        Self(days_from_civil(year, month, day) * 86_400_000 + ms_of_day)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second, ms) = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// Days since 1970-01-01 to a proleptic Gregorian date (eras of 400 years that begin in March).
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of `civil_from_days`.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_round_trip_and_print() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp(951_782_400_000).to_string(),
            "2000-02-29T00:00:00.000Z"
        );
        for days in (-800_000..800_000).step_by(97) {
            let moment = Timestamp(days * 86_400_000 + 1);
            let (year, month, day, ..) = moment.civil();
            assert_eq!(Timestamp::from_civil(year, month, day, 1), moment);
            if year >= 0 {
                assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
            }
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read_as_one() {
        let moment = Timestamp::parse("2026-03-22T18:59:43Z").expect("a moment");
        assert_eq!(moment.to_string(), "2026-03-22T18:59:43.000Z");
        assert_eq!(
            Timestamp::parse("2026-03-22T18:59:43.1Z"),
            Some(Timestamp(moment.0 + 100))
        );
        for text in [
            "",
            "2026-03-22",
            "2026-03-22T18:59:43",
            "2026-03-22T18:59:43+01:00",
            "2026-13-22T18:59:43Z",
            "2026-03-22T24:00:00Z",
            "2026-03-22T18:59Z",
            "2026-03-22T18:59:43.Z",
            "2026-+3-22T18:59:43Z",
            "TZ",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}

//! Retriers: which errors are tried again, how often and after how long.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq)]
pub struct Retrier {
    pub errors: Vec<String>,
    pub interval_seconds: u64,
    pub max_attempts: u32,
    pub backoff_rate: f64,
    pub max_delay_seconds: Option<u64>,
    pub jitter: Jitter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    None,
    /// Any delay between nothing and the computed one.
    Full,
}

impl Retrier {
    pub const INTERVAL_SECONDS_DEFAULT: u64 = 1;
    pub const MAX_ATTEMPTS_DEFAULT: u32 = 3;
    pub const BACKOFF_RATE_DEFAULT: f64 = 2.0;

    pub fn covers(&self, fault: &Fault) -> bool {
        self.errors.iter().any(|name| fault.is_matched_by(name))
    }

    /// The delay before the retry number `retry` (the first is 0), jitter aside.
    pub fn delay_milliseconds(&self, retry: u32) -> u64 {
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        let seconds = self.interval_seconds as f64 * self.backoff_rate.powi(exponent);
        let longest = self
            .max_delay_seconds
            .unwrap_or(crate::limits::RETRY_DELAY_SECONDS_MAX);
        // A float beyond the range of the integer becomes its largest value.
        (seconds.min(longest as f64) * 1000.0).round() as u64
    }
}

/// The random numbers of one execution: SplitMix64, so that the same seed gives the same history everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// The delay with the retrier's jitter.
    pub fn jittered(&mut self, delay_milliseconds: u64, jitter: Jitter) -> u64 {
        match jitter {
            Jitter::None => delay_milliseconds,
            Jitter::Full => self.next() % delay_milliseconds.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retrier(
        interval_seconds: u64,
        backoff_rate: f64,
        max_delay_seconds: Option<u64>,
    ) -> Retrier {
        Retrier {
            errors: vec![],
            interval_seconds,
            max_attempts: 9,
            backoff_rate,
            max_delay_seconds,
            jitter: Jitter::Full,
        }
    }

    #[test]
    fn delays_grow_by_the_rate_up_to_the_bound() {
        let delays = |retrier: Retrier| {
            (0..4)
                .map(|n| retrier.delay_milliseconds(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(delays(retrier(3, 1.5, None)), [3000, 4500, 6750, 10_125]);
        assert_eq!(delays(retrier(1, 2.0, Some(3))), [1000, 2000, 3000, 3000]);
        assert_eq!(
            retrier(1, 2.0, Some(60)).delay_milliseconds(u32::MAX),
            60_000
        );
    }

    #[test]
    fn full_jitter_stays_between_nothing_and_the_delay() {
        let mut random = Random::new(7);
        let delays: Vec<_> = (0..1000)
            .map(|_| random.jittered(100, Jitter::Full))
            .collect();
        assert!(delays.iter().all(|delay| *delay <= 100));
        assert!(delays.iter().any(|delay| *delay < 10));
        assert!(delays.iter().any(|delay| *delay > 90));
    }
}

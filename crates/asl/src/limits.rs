//! What Step Functions bounds, and how big a payload is.

use serde_json::Value;
use std::io;

/// Bytes of one state's input, output or result, as compact JSON.
pub const PAYLOAD_BYTES_MAX: usize = 262_144;
/// History events of one execution, the terminal one included.
pub const HISTORY_EVENTS_MAX: u64 = 25_000;
/// The longest that an execution may run: one year.
pub const EXECUTION_SECONDS_MAX: u64 = 31_536_000;
/// The largest number of seconds, and of attempts, that a definition may name.
pub const SECONDS_MAX: u64 = 99_999_999;
/// `MaxDelaySeconds` is below this.
pub const RETRY_DELAY_SECONDS_MAX: u64 = 31_622_400;
/// Characters of a state's name, and of an execution's.
pub const NAME_CHARACTERS_MAX: usize = 80;

/// Whether the value is too big to be passed between states.
pub fn exceeds_payload(value: &Value) -> bool {
    // Counting exactly means formatting every number and escape: nearly always the bound settles it.
    size_at_most(value) > PAYLOAD_BYTES_MAX && exact_size(value) > PAYLOAD_BYTES_MAX
}

/// An upper bound of the compact JSON's size: a byte may be escaped as six.
fn size_at_most(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 40,
        Value::String(text) => 2 + 6 * text.len(),
        Value::Array(items) => 2 + items.iter().map(|v| 1 + size_at_most(v)).sum::<usize>(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, v)| 4 + 6 * key.len() + size_at_most(v))
            .sum::<usize>()
            .saturating_add(2),
    }
}

fn exact_size(value: &Value) -> usize {
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_may_be_exactly_as_big_as_the_limit() {
        let fits = Value::String("a".repeat(PAYLOAD_BYTES_MAX - 2));
        let too_big = Value::String("a".repeat(PAYLOAD_BYTES_MAX - 1));
        assert!(!exceeds_payload(&fits));
        assert!(exceeds_payload(&too_big));
    }
}

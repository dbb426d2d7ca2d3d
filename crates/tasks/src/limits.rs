//! What DynamoDB allows of a transaction, and SNS of a mail. Every ledger and mailer refuses the rest, so that what works
//! elsewhere works on AWS.

use crate::port::{Change, LEDGER_WRITES_MAX, LedgerKey, LedgerWrite, Mail, PortError};
use pipeline::notice::SUBJECT_CHARACTERS_MAX;
use serde_json::Value;
use std::collections::BTreeSet;

/// Bytes of one record, its names and key included.
pub const RECORD_BYTES_MAX: usize = 400 * 1024;
/// Bytes of one transaction.
pub const TRANSACTION_BYTES_MAX: usize = 4 * 1024 * 1024;
const PARTITION_BYTES_MAX: usize = 2048;
const SORT_BYTES_MAX: usize = 1024;
/// SNS takes messages of 256 KB; what a mailer adds to the body fits beside this.
const BODY_BYTES_MAX: usize = 255 * 1024;
/// The names `partition`, `sort`, `version` and `body`, and the version.
const FRAME_BYTES: usize = 9 + 4 + 7 + 4 + 21;

/// Refuses a transaction that no ledger takes; the message names the record.
pub fn check_writes(service: &'static str, writes: &[LedgerWrite]) -> Result<(), PortError> {
    let refused = |message| Err(PortError::Refused { service, message });
    if writes.is_empty() || writes.len() > LEDGER_WRITES_MAX {
        return refused(format!(
            "a transaction has 1 to {LEDGER_WRITES_MAX} writes: {}",
            writes.len()
        ));
    }
    let mut keys = BTreeSet::new();
    let mut total = 0;
    for write in writes {
        let key = &write.key;
        if !keys.insert(key) {
            return refused(format!("a transaction names `{key}` twice"));
        }
        if !fits(key) {
            return refused(format!(
                "the key of `{key}` is empty, or longer than {PARTITION_BYTES_MAX} and {SORT_BYTES_MAX} bytes"
            ));
        }
        let bytes = record_bytes(write);
        if bytes > RECORD_BYTES_MAX {
            return refused(format!(
                "record `{key}` is larger than {RECORD_BYTES_MAX} bytes: {bytes}"
            ));
        }
        total += bytes;
    }
    if total > TRANSACTION_BYTES_MAX {
        return refused(format!(
            "a transaction is larger than {TRANSACTION_BYTES_MAX} bytes: {total}"
        ));
    }
    Ok(())
}

fn fits(key: &LedgerKey) -> bool {
    (1..=PARTITION_BYTES_MAX).contains(&key.partition.len())
        && (1..=SORT_BYTES_MAX).contains(&key.sort.len())
}

fn record_bytes(write: &LedgerWrite) -> usize {
    let key = write.key.partition.len() + write.key.sort.len();
    match &write.change {
        Change::Put(body) => FRAME_BYTES + key + value_bytes(body),
        Change::Delete | Change::Check => key,
    }
}

/// Bytes of a value as DynamoDB counts them, at most.
pub fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len().div_ceil(2) + 2,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            3 + values
                .iter()
                .map(|value| 1 + value_bytes(value))
                .sum::<usize>()
        }
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| 1 + name.len() + value_bytes(value);
            3 + map.iter().map(entry).sum::<usize>()
        }
    }
}

/// Refuses a mail that SNS would refuse.
pub fn check_mail(service: &'static str, mail: &Mail) -> Result<(), PortError> {
    let refused = |message| Err(PortError::Refused { service, message });
    let subject = &mail.subject;
    let plain = subject.chars().all(|c| c.is_ascii() && !c.is_control());
    if subject.is_empty() || subject.len() > SUBJECT_CHARACTERS_MAX || !plain {
        return refused(format!(
            "the subject of mail `{}` is not 1 to {SUBJECT_CHARACTERS_MAX} ASCII characters in one line",
            mail.id
        ));
    }
    if mail.body.len() > BODY_BYTES_MAX {
        return refused(format!(
            "the body of mail `{}` is larger than {BODY_BYTES_MAX} bytes: {}",
            mail.id,
            mail.body.len()
        ));
    }
    Ok(())
}

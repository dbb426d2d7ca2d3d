//! What AWS allows: DynamoDB of a transaction, SNS of a mail, EMR of steps, Step Functions of a start. Every implementation of
//! the ports refuses the rest, so that what works elsewhere works on AWS.

use crate::port::{
    Change, LEDGER_WRITES_MAX, LedgerKey, LedgerWrite, Mail, PortError, StepRequest,
};
use pipeline::notice::SUBJECT_CHARACTERS_MAX;
use pipeline::progress::STEPS_ACTIVE_MAX;
use serde_json::Value;
use std::collections::BTreeSet;

/// Bytes of one record, its names and key included: 400 KB, which is read as the smaller of what it may mean.
pub const RECORD_BYTES_MAX: usize = 400_000;
/// Bytes of one transaction: 4 MB.
pub const TRANSACTION_BYTES_MAX: usize = 4_000_000;
const PARTITION_BYTES_MAX: usize = 2048;
const SORT_BYTES_MAX: usize = 1024;
/// SNS takes messages of 256 KB; what a mailer adds to the body fits beside this.
const BODY_BYTES_MAX: usize = 255 * 1024;
/// Characters of a step's arguments: EMR takes 10,240 of a step with all that it names, and the runner is one of these.
pub const ARGUMENT_CHARACTERS_MAX: usize = 10_240 - "command-runner.jar".len();
const STEP_NAME_CHARACTERS_MAX: usize = 256;
const EXECUTION_NAME_CHARACTERS_MAX: usize = 80;
const EXECUTION_INPUT_BYTES_MAX: usize = 262_144;
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

/// Refuses steps that EMR would refuse, whatever the cluster.
pub fn check_steps(service: &'static str, steps: &[StepRequest]) -> Result<(), PortError> {
    let refused = |message| Err(PortError::Refused { service, message });
    if steps.is_empty() || steps.len() > STEPS_ACTIVE_MAX {
        return refused(format!(
            "1 to {STEPS_ACTIVE_MAX} steps are added at once: {}",
            steps.len()
        ));
    }
    for step in steps {
        let length = |text: &String| text.chars().count();
        if step.name.is_empty() || length(&step.name) > STEP_NAME_CHARACTERS_MAX {
            return refused(format!(
                "the name of step `{}` is not of 1 to {STEP_NAME_CHARACTERS_MAX} characters",
                step.name
            ));
        }
        let characters: usize = step.arguments.iter().map(length).sum();
        if characters > ARGUMENT_CHARACTERS_MAX {
            return refused(format!(
                "the arguments of step `{}` have more than {ARGUMENT_CHARACTERS_MAX} characters: {characters}",
                step.name
            ));
        }
    }
    Ok(())
}

/// Refuses a start that Step Functions would refuse.
pub fn check_start(service: &'static str, name: &str, input: &Value) -> Result<(), PortError> {
    let refused = |message| Err(PortError::Refused { service, message });
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > EXECUTION_NAME_CHARACTERS_MAX || !name.chars().all(plain) {
        return refused(format!(
            "the name of execution `{name}` is not of 1 to {EXECUTION_NAME_CHARACTERS_MAX} letters, digits, `-`, `_`, `.`"
        ));
    }
    let bytes = input.to_string().len();
    if bytes > EXECUTION_INPUT_BYTES_MAX {
        return refused(format!(
            "the input of execution `{name}` is larger than {EXECUTION_INPUT_BYTES_MAX} bytes: {bytes}"
        ));
    }
    Ok(())
}

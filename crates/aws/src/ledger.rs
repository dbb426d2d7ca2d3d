//! The ledger in DynamoDB: `partition`, `sort`, `version`, and `body` with native attributes, which the console shows.

use crate::Aws;
use crate::attribute::{Item, decode, encode};
use crate::error::{missing, needed, port_error, refused};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, TransactWriteItem,
};
use std::collections::BTreeSet;
use tasks::limits;
use tasks::port::{
    Change, Expect, Ledger, LedgerEntry, LedgerKey, LedgerWrite, PortError, WriteError,
};

pub(crate) const SERVICE: &str = "DynamoDB";

const PARTITION: &str = "partition";
const SORT: &str = "sort";
const VERSION: &str = "version";
const BODY: &str = "body";

impl Ledger for Aws {
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError> {
        let answer = self
            .dynamodb()
            .get_item()
            .table_name(self.ledger_table()?)
            .set_key(Some(key_item(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        answer.item.as_ref().map(entry).transpose()
    }

    async fn list(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<LedgerEntry>, PortError> {
        let mut query = self
            .dynamodb()
            .query()
            .table_name(self.ledger_table()?)
            .consistent_read(true)
            .key_condition_expression("#partition = :partition")
            .expression_attribute_names("#partition", PARTITION)
            .expression_attribute_values(":partition", text(partition));
        // DynamoDB refuses an empty text here.
        if !sort_prefix.is_empty() {
            query = query
                .key_condition_expression("#partition = :partition AND begins_with(#sort, :prefix)")
                .expression_attribute_names("#sort", SORT)
                .expression_attribute_values(":prefix", text(sort_prefix));
        }
        let items = query.into_paginator().items().send();
        let items: Vec<Item> = items
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        items.iter().map(entry).collect()
    }

    /// Always a transaction, also of one write: its token, which the SDK makes once per call, lets a repeated attempt whose
    /// first answer was lost succeed instead of conflicting with itself.
    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        limits::check_writes(SERVICE, writes)?;
        let table = self.ledger_table()?;
        let items = writes
            .iter()
            .map(|write| transact_item(table, write))
            .collect::<Result<_, _>>()?;
        self.dynamodb()
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
            .map_err(|error| write_error(error, writes))?;
        Ok(())
    }
}

impl Aws {
    fn ledger_table(&self) -> Result<&str, PortError> {
        needed(
            SERVICE,
            "HEADWATER_LEDGER_TABLE",
            &self.resources().ledger_table,
        )
    }

    /// The partitions whose names begin so, in order. Reads the whole table: for people, not for tasks.
    pub async fn partitions(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let mut scan = self
            .dynamodb()
            .scan()
            .table_name(self.ledger_table()?)
            .consistent_read(true)
            .projection_expression("#partition")
            .expression_attribute_names("#partition", PARTITION);
        if !prefix.is_empty() {
            scan = scan
                .filter_expression("begins_with(#partition, :prefix)")
                .expression_attribute_values(":prefix", text(prefix));
        }
        let items: Vec<Item> = scan
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        let names: BTreeSet<String> = items
            .iter()
            .map(|item| text_of(item, PARTITION))
            .collect::<Result<_, _>>()?;
        Ok(names.into_iter().collect())
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key_item(key: &LedgerKey) -> Item {
    Item::from([
        (PARTITION.to_owned(), text(&key.partition)),
        (SORT.to_owned(), text(&key.sort)),
    ])
}

fn text_of(item: &Item, name: &str) -> Result<String, PortError> {
    let text = item.get(name).and_then(|value| value.as_s().ok());
    text.cloned().ok_or_else(|| missing(SERVICE, name))
}

/// Nobody but this module writes the table: anything else in it is a fault that no repetition mends.
fn entry(item: &Item) -> Result<LedgerEntry, PortError> {
    let key = LedgerKey {
        partition: text_of(item, PARTITION)?,
        sort: text_of(item, SORT)?,
    };
    let version = item
        .get(VERSION)
        .and_then(|value| value.as_n().ok())
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| refused(SERVICE, format!("ledger record `{key}` has no version")))?;
    let body = item
        .get(BODY)
        .ok_or_else(|| refused(SERVICE, format!("ledger record `{key}` has no body")))?;
    let body = decode(body, BODY)
        .map_err(|error| refused(SERVICE, format!("ledger record `{key}`: {error}")))?;
    Ok(LedgerEntry { key, version, body })
}

/// A condition, and the version that it names.
fn condition(expect: Expect) -> (&'static str, Option<Item>) {
    match expect {
        Expect::Absent => ("attribute_not_exists(#version)", None),
        Expect::Version(version) => {
            let expected = AttributeValue::N(version.to_string());
            let values = Item::from([(":version".to_owned(), expected)]);
            ("#version = :version", Some(values))
        }
    }
}

fn transact_item(table: &str, write: &LedgerWrite) -> Result<TransactWriteItem, PortError> {
    let (expression, values) = condition(write.expect);
    let built = match &write.change {
        Change::Put(body) => Put::builder()
            .table_name(table)
            .set_item(Some(record(write, encode(body))))
            .condition_expression(expression)
            .expression_attribute_names("#version", VERSION)
            .set_expression_attribute_values(values)
            .build()
            .map(|put| TransactWriteItem::builder().put(put)),
        Change::Delete => Delete::builder()
            .table_name(table)
            .set_key(Some(key_item(&write.key)))
            .condition_expression(expression)
            .expression_attribute_names("#version", VERSION)
            .set_expression_attribute_values(values)
            .build()
            .map(|delete| TransactWriteItem::builder().delete(delete)),
        Change::Check => ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key_item(&write.key)))
            .condition_expression(expression)
            .expression_attribute_names("#version", VERSION)
            .set_expression_attribute_values(values)
            .build()
            .map(|check| TransactWriteItem::builder().condition_check(check)),
    };
    match built {
        Ok(item) => Ok(item.build()),
        Err(error) => Err(refused(SERVICE, error.to_string())),
    }
}

fn record(write: &LedgerWrite, body: AttributeValue) -> Item {
    let version = match write.expect {
        Expect::Absent => 1,
        // The condition on the largest version never holds.
        Expect::Version(version) => version.saturating_add(1),
    };
    let mut item = key_item(&write.key);
    item.insert(VERSION.to_owned(), AttributeValue::N(version.to_string()));
    item.insert(BODY.to_owned(), body);
    item
}

fn write_error(error: SdkError<TransactWriteItemsError>, writes: &[LedgerWrite]) -> WriteError {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(answer)) => {
            cancelled(answer.cancellation_reasons(), writes)
        }
        _ => port_error(SERVICE, error).into(),
    }
}

/// Reasons are in the order of the writes; `None` is the code of a write that was not the reason.
fn cancelled(reasons: &[CancellationReason], writes: &[LedgerWrite]) -> WriteError {
    let told = || {
        let coded =
            |(reason, write): (_, _)| Some((CancellationReason::code(reason)?, reason, write));
        reasons
            .iter()
            .zip(writes)
            .filter_map(coded)
            .filter(|(code, ..)| *code != "None")
    };
    if let Some((_, _, write)) = told().find(|(code, ..)| *code == "ConditionalCheckFailed") {
        return WriteError::Conflict(write.key.clone());
    }
    let of = |(code, reason, write): (&str, &CancellationReason, &LedgerWrite)| {
        let said = reason.message().unwrap_or("no reason given");
        format!(
            "TransactionCanceledException: `{}`: {code}: {said}",
            write.key
        )
    };
    let for_now = |code: &str| {
        [
            "TransactionConflict",
            "ThrottlingError",
            "ProvisionedThroughputExceeded",
        ]
        .contains(&code)
    };
    let service = SERVICE;
    let error = match told().next() {
        Some(first) if told().all(|(code, ..)| for_now(code)) => PortError::Throttled {
            service,
            message: of(first),
        },
        Some(first) => refused(
            service,
            of(told().find(|(code, ..)| !for_now(code)).unwrap_or(first)),
        ),
        None => PortError::Unknown {
            service,
            message: "TransactionCanceledException without a reason".to_owned(),
        },
    };
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(sort: &str) -> LedgerWrite {
        LedgerWrite {
            key: LedgerKey {
                partition: "run#a".to_owned(),
                sort: sort.to_owned(),
            },
            expect: Expect::Absent,
            change: Change::Put(json!(1)),
        }
    }

    #[test]
    fn a_cancelled_transaction_says_who_was_first_or_whether_to_wait() {
        let writes = [write("a"), write("b"), write("c")];
        for (codes, expected) in [
            (
                ["None", "ConditionalCheckFailed", "ConditionalCheckFailed"],
                "`run#a b` was changed by another writer",
            ),
            (
                ["TransactionConflict", "None", "ConditionalCheckFailed"],
                "`run#a c` was changed by another writer",
            ),
            (
                ["None", "TransactionConflict", "None"],
                "DynamoDB is throttled: TransactionCanceledException: `run#a b`: TransactionConflict: said",
            ),
            (
                ["ThrottlingError", "ProvisionedThroughputExceeded", "None"],
                "DynamoDB is throttled: TransactionCanceledException: `run#a a`: ThrottlingError: said",
            ),
            (
                ["TransactionConflict", "ValidationError", "None"],
                "DynamoDB refused: TransactionCanceledException: `run#a b`: ValidationError: said",
            ),
            (
                ["None", "None", "None"],
                "DynamoDB gave no answer: TransactionCanceledException without a reason",
            ),
        ] {
            let reasons = codes.map(|code| {
                CancellationReason::builder()
                    .code(code)
                    .message("said")
                    .build()
            });
            assert_eq!(cancelled(&reasons, &writes).to_string(), expected);
        }
    }
}

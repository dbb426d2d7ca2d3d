//! The configuration table in DynamoDB: plain attributes, as people write them by hand.

use crate::Aws;
use crate::attribute::{Item, decode_map, encode_map};
use crate::error::{needed, port_error, refused};
use crate::ledger::SERVICE;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use pipeline::normal::GENERATION_KEY;
use serde_json::Value;
use std::collections::BTreeSet;
use tasks::limits::{TRANSACTION_BYTES_MAX, value_bytes};
use tasks::port::{ConfigTable, LEDGER_WRITES_MAX, PortError};

const IDENTIFIER: &str = "identifier";
const CONFIG: &str = "config";

impl ConfigTable for Aws {
    async fn items(&self, identifier: &str) -> Result<Vec<Value>, PortError> {
        let items: Vec<Item> = self
            .dynamodb()
            .query()
            .table_name(self.config_table()?)
            .consistent_read(true)
            .key_condition_expression("#identifier = :identifier")
            .expression_attribute_names("#identifier", IDENTIFIER)
            .expression_attribute_values(":identifier", AttributeValue::S(identifier.to_owned()))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        items.iter().map(plain).collect()
    }
}

impl Aws {
    /// All items of all identifiers, in order of identifier and `config`.
    pub async fn config_items(&self) -> Result<Vec<Value>, PortError> {
        let items: Vec<Item> = self
            .dynamodb()
            .scan()
            .table_name(self.config_table()?)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        let mut items = items.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
        items.sort_by(|a, b| key(a).cmp(&key(b)));
        Ok(items)
    }

    /// The identifiers that have items, in order.
    pub async fn config_identifiers(&self) -> Result<Vec<String>, PortError> {
        let items = self.config_items().await?;
        let names: BTreeSet<&str> = items.iter().map(|item| key(item).0).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// Puts these items in the place of all items of an identifier. Each is an object with the texts `identifier` and `config`.
    /// At once, when a transaction holds them all; else piece by piece, the generation item last, so that a reader of half of
    /// it sees that it is half.
    pub async fn replace_config(&self, identifier: &str, items: &[Value]) -> Result<(), PortError> {
        let before = self.items(identifier).await?;
        for piece in pieces(changes(identifier, &before, items)?) {
            let writes = piece
                .into_iter()
                .map(|change| self.config_write(change))
                .collect::<Result<_, _>>()?;
            self.dynamodb()
                .transact_write_items()
                .set_transact_items(Some(writes))
                .send()
                .await
                .map_err(|error| port_error(SERVICE, error))?;
        }
        Ok(())
    }

    fn config_table(&self) -> Result<&str, PortError> {
        needed(
            SERVICE,
            "HEADWATER_CONFIG_TABLE",
            &self.resources().config_table,
        )
    }

    fn config_write(&self, change: ItemChange) -> Result<TransactWriteItem, PortError> {
        let table = self.config_table()?;
        let built = match change {
            ItemChange::Put { item, .. } => Put::builder()
                .table_name(table)
                .set_item(Some(item))
                .build()
                .map(|put| TransactWriteItem::builder().put(put)),
            ItemChange::Delete { key } => Delete::builder()
                .table_name(table)
                .set_key(Some(key))
                .build()
                .map(|delete| TransactWriteItem::builder().delete(delete)),
        };
        match built {
            Ok(write) => Ok(write.build()),
            Err(error) => Err(refused(SERVICE, error.to_string())),
        }
    }
}

/// One write of the configuration table.
#[derive(Debug, Clone, PartialEq)]
enum ItemChange {
    Put { item: Item, bytes: usize },
    Delete { key: Item },
}

/// Identifier and `config` of an item; empty where it has none.
fn key(item: &Value) -> (&str, &str) {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    (text(IDENTIFIER), text(CONFIG))
}

/// An item as plain JSON. What has no JSON form is refused with the item's key.
fn plain(item: &Item) -> Result<Value, PortError> {
    let text = |name: &str| match item.get(name).map(AttributeValue::as_s) {
        Some(Ok(text)) => text.as_str(),
        Some(Err(_)) | None => "",
    };
    decode_map(item, "").map(Value::Object).map_err(|error| {
        let message = format!("item `{}` of `{}`: {error}", text(CONFIG), text(IDENTIFIER));
        refused(SERVICE, message)
    })
}

/// What makes the items of an identifier these: what is gone, what is new or differs, and the generation item last.
fn changes(
    identifier: &str,
    before: &[Value],
    after: &[Value],
) -> Result<Vec<ItemChange>, PortError> {
    let mut kept = BTreeSet::new();
    for item in after {
        let (own, config) = key(item);
        if own != identifier || config.is_empty() || !kept.insert(config) {
            return Err(refused(
                SERVICE,
                format!(
                    "an item of `{identifier}` has no `config`, the same one twice, or another `identifier`: `{config}`"
                ),
            ));
        }
    }
    let gone = before.iter().filter(|item| !kept.contains(key(item).1));
    let differs = after.iter().filter(|item| !before.contains(item));
    let (last, first): (Vec<&Value>, Vec<&Value>) =
        differs.partition(|item| key(item).1 == GENERATION_KEY);
    let puts = first.into_iter().chain(last).map(put);
    Ok(gone.map(delete).chain(puts).collect())
}

fn put(item: &Value) -> ItemChange {
    ItemChange::Put {
        item: item.as_object().map(encode_map).unwrap_or_default(),
        bytes: value_bytes(item),
    }
}

fn delete(item: &Value) -> ItemChange {
    let (identifier, config) = key(item);
    ItemChange::Delete {
        key: Item::from([
            (
                IDENTIFIER.to_owned(),
                AttributeValue::S(identifier.to_owned()),
            ),
            (CONFIG.to_owned(), AttributeValue::S(config.to_owned())),
        ]),
    }
}

/// Changes in order, as many in a piece as a transaction holds.
fn pieces(changes: Vec<ItemChange>) -> Vec<Vec<ItemChange>> {
    let mut pieces: Vec<Vec<ItemChange>> = Vec::new();
    let mut total = TRANSACTION_BYTES_MAX;
    for change in changes {
        let bytes = match &change {
            ItemChange::Put { bytes, .. } => *bytes,
            ItemChange::Delete { .. } => 0,
        };
        total += bytes;
        match pieces.last_mut() {
            Some(piece) if piece.len() < LEDGER_WRITES_MAX && total <= TRANSACTION_BYTES_MAX => {
                piece.push(change);
            }
            Some(_) | None => {
                pieces.push(vec![change]);
                total = bytes;
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(config: &str, value: Value) -> Value {
        json!({"identifier": "shop", "config": config, "value": value})
    }

    fn names(changes: &[ItemChange]) -> Vec<String> {
        let name = |item: &Item| item[CONFIG].as_s().expect("a text").clone();
        let told = |change: &ItemChange| match change {
            ItemChange::Put { item, .. } => format!("put {}", name(item)),
            ItemChange::Delete { key } => format!("delete {}", name(key)),
        };
        changes.iter().map(told).collect()
    }

    #[test]
    fn an_import_writes_what_differs_and_its_generation_last() {
        let before = [
            item("a", json!(1)),
            item("b", json!(1)),
            item("c", json!(1)),
        ];
        let after = [
            item(GENERATION_KEY, json!("x")),
            item("b", json!(1)),
            item("c", json!(2)),
            item("d", json!(1)),
        ];
        let changes = changes("shop", &before, &after).expect("well formed");
        assert_eq!(
            names(&changes),
            ["delete a", "put c", "put d", "put generation::config"]
        );
    }

    #[test]
    fn items_of_another_identifier_or_one_key_twice_are_refused() {
        let other = json!({"identifier": "bank", "config": "a"});
        let nameless = json!({"identifier": "shop"});
        for odd in [other, nameless, item("b", json!(2))] {
            changes("shop", &[], &[item("b", json!(1)), odd]).expect_err("refused");
        }
    }

    #[test]
    fn a_piece_fits_a_transaction() {
        let many: Vec<Value> = (0..250)
            .map(|n| item(&format!("{n:03}"), json!(n)))
            .collect();
        let counts = |items: &[Value]| -> Vec<usize> {
            let changes = changes("shop", &[], items).expect("well formed");
            pieces(changes).iter().map(Vec::len).collect()
        };
        assert_eq!(counts(&many), [100, 100, 50]);
        let large = json!("x".repeat(390_000));
        let large: Vec<Value> = (0..25)
            .map(|n| item(&format!("{n:03}"), large.clone()))
            .collect();
        assert_eq!(counts(&large), [10, 10, 5]);
        assert_eq!(counts(&[]), Vec::<usize>::new());
    }
}

//! What a configuration table must do.

use super::InFolder;
use crate::moto;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use std::ops::Deref;
use tasks::port::{ConfigTable, PortError};

fn item(identifier: &str, config: &str, value: Value) -> Value {
    json!({"identifier": identifier, "config": config, "value": value})
}

/// An empty table, and how the items of an identifier are replaced in it.
async fn keeps_the_contract<H: Deref<Target: ConfigTable + Sized>>(
    table: H,
    replace: impl AsyncFn(&H::Target, &str, &[Value]),
) {
    assert_eq!(table.items("shop").await, Ok(Vec::new()));
    let shop = [
        item(
            "shop",
            "database::config",
            json!({"secret": "shop", "nothing": null}),
        ),
        item(
            "shop",
            "pipeline::system::jdbc_load",
            json!(["6", 6, 0.5, true, ""]),
        ),
        item("shop", "step::system::Orders", json!({})),
        item("shop", "step::system::order line", json!("x")),
        item("shop", "step::system::öre", json!([])),
    ];
    let bank = [item("shop2", "database::config", json!("other"))];
    replace(&*table, "shop2", &bank).await;
    let turned: Vec<Value> = shop.iter().rev().cloned().collect();
    replace(&*table, "shop", &turned).await;
    assert_eq!(table.items("shop").await.as_deref(), Ok(&shop[..]));
    replace(&*table, "shop", &shop[1..2]).await;
    assert_eq!(table.items("shop").await.as_deref(), Ok(&shop[1..2]));
    assert_eq!(table.items("shop2").await.as_deref(), Ok(&bank[..]));
}

#[tokio::test]
async fn memory_keeps_the_configuration_contract() {
    let world = Box::new(sim::world::World::default());
    keeps_the_contract(world, async |world, identifier, items| {
        let mut all = world.items.borrow_mut();
        all.retain(|item| item["identifier"] != identifier);
        all.extend_from_slice(items);
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_the_configuration_contract() {
    keeps_the_contract(InFolder::new(), async |local, identifier, items| {
        local.replace_config(identifier, items).expect("replaced");
    })
    .await;
}

#[tokio::test]
async fn dynamodb_keeps_the_configuration_contract() {
    let aws = Box::new(moto::stack("config").await);
    keeps_the_contract(aws, async |aws, identifier, items| {
        aws.replace_config(identifier, items)
            .await
            .expect("replaced");
    })
    .await;
}

#[tokio::test]
async fn a_table_of_many_pages_is_read_and_replaced_whole() {
    let aws = moto::stack("config").await;
    let large = json!("x".repeat(60 * 1024));
    let mut shop: Vec<Value> = (0..120)
        .map(|number| {
            item(
                "shop",
                &format!("step::system::public.t{number:03}"),
                large.clone(),
            )
        })
        .collect();
    let generation = pipeline::normal::generation_item("shop", &shop);
    shop.insert(0, generation);
    aws.replace_config("shop", &shop).await.expect("replaced");
    aws.replace_config("bank", &[item("bank", "database::config", json!(1))])
        .await
        .expect("replaced");
    assert_eq!(aws.items("shop").await.as_deref(), Ok(&shop[..]));
    assert_eq!(aws.config_items().await.expect("read").len(), 122);
    assert_eq!(
        aws.config_identifiers().await,
        Ok(vec!["bank".to_owned(), "shop".to_owned()])
    );

    let writes: Vec<Vec<String>> = written(&aws);
    assert!(writes.len() > 2, "{}", writes.len());
    let last = writes.len() - 2;
    for (number, keys) in writes.iter().enumerate() {
        let stated = keys
            .iter()
            .any(|key| key == pipeline::normal::GENERATION_KEY);
        assert_eq!(stated, number == last, "the generation is written last");
    }
    aws.replace_config("shop", &[]).await.expect("emptied");
    assert_eq!(aws.config_identifiers().await, Ok(vec!["bank".to_owned()]));
}

/// The `config` of the items of each transaction that a stack's own caller wrote.
fn written(aws: &aws::Aws) -> Vec<Vec<String>> {
    let caller = aws.resources().stack.to_uppercase();
    let keys = |request: &Value| -> Vec<String> {
        let body: Value = serde_json::from_str(request["body"].as_str().expect("a text"))
            .expect("DynamoDB speaks JSON");
        let items = body["TransactItems"].as_array().expect("writes");
        let key = |item: &Value| {
            item["Put"]["Item"]["config"]["S"]
                .as_str()
                .map(str::to_owned)
        };
        items.iter().filter_map(key).collect()
    };
    moto::server()
        .requests_of(&caller)
        .iter()
        .filter(|request| request["operation"] == "TransactWriteItems")
        .map(keys)
        .collect()
}

#[tokio::test]
async fn an_attribute_without_a_json_form_is_refused_with_its_item() {
    let aws = moto::stack("config").await;
    let config = moto::server().config("FOUNDATION").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    for (identifier, value, kind) in [
        ("a", AttributeValue::B(Blob::new("secret")), "binary"),
        (
            "b",
            AttributeValue::Ss(vec!["secret".to_owned()]),
            "a set of texts",
        ),
    ] {
        dynamodb
            .put_item()
            .table_name(&aws.resources().config_table)
            .item("identifier", text(identifier))
            .item("config", text("step::system::public.orders"))
            .item(
                "hudi_config",
                AttributeValue::M([("op".to_owned(), value)].into()),
            )
            .send()
            .await
            .expect("put");
        let message = format!(
            "item `step::system::public.orders` of `{identifier}`: `hudi_config.op` is {kind}, which has no JSON form"
        );
        let refused = PortError::Refused {
            service: "DynamoDB",
            message,
        };
        assert_eq!(aws.items(identifier).await, Err(refused));
    }
}

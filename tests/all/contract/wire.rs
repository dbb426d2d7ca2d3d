//! What the adapters make of faults on the wire: moto's launcher throttles, denies, fails and loses answers as it is told.

use crate::moto::{self, Request};
use aws::Aws;
use aws::resources::Resources;
use serde_json::{Value, json};
use tasks::port::{
    Change, ConfigTable, Expect, Ledger, LedgerKey, LedgerWrite, Mail, Mailer, Objects, PortError,
    WriteError,
};

/// Attempts of a call, as the tests configure the SDK.
const ATTEMPTS: u32 = 3;

fn key() -> LedgerKey {
    LedgerKey {
        partition: "run#a".to_owned(),
        sort: "run".to_owned(),
    }
}

fn create() -> LedgerWrite {
    LedgerWrite {
        key: key(),
        expect: Expect::Absent,
        change: Change::Put(json!({"text": "a secret of the request"})),
    }
}

fn mail() -> Mail {
    Mail {
        id: "a-end".to_owned(),
        subject: "FAILED".to_owned(),
        body: "a secret of the request".to_owned(),
    }
}

fn caller(aws: &Aws) -> String {
    aws.resources().stack.to_uppercase()
}

fn requests(aws: &Aws, operation: &str) -> Vec<Request> {
    let mut requests = moto::server().requests_of(&caller(aws));
    requests.retain(|request| request["operation"] == operation);
    requests
}

/// One call of each operation of the adapters.
async fn call(aws: &Aws, operation: &str) -> Result<(), PortError> {
    let uri = format!("s3://{}-runtime/a", aws.resources().stack);
    match operation {
        "GetItem" => aws.get(&key()).await.map(drop),
        "Query" => aws.items("shop").await.map(drop),
        "Scan" => aws.config_items().await.map(drop),
        "TransactWriteItems" => match aws.write(&[create()]).await {
            Err(WriteError::Conflict(key)) => panic!("`{key}` is new"),
            Err(WriteError::Port(error)) => Err(error),
            Ok(()) => Ok(()),
        },
        "GetObject" => aws.read(&uri).await.map(drop),
        "PutObject" => aws.put(&uri, b"a secret of the request").await,
        "ListObjectsV2" => aws.list_objects(&uri).await.map(drop),
        "Publish" => aws.send(&mail()).await,
        "GetTopicAttributes" => aws.confirmed().await.map(drop),
        unknown => panic!("{unknown}"),
    }
}

const OPERATIONS: [&str; 9] = [
    "GetItem",
    "Query",
    "Scan",
    "TransactWriteItems",
    "GetObject",
    "PutObject",
    "ListObjectsV2",
    "Publish",
    "GetTopicAttributes",
];

/// The error, when every attempt of one call meets this.
async fn met(aws: &Aws, operation: &str, effect: &str) -> PortError {
    let before = requests(aws, operation).len();
    let times = if effect == "denied" { 1 } else { ATTEMPTS };
    moto::server()
        .fail(&caller(aws), operation, effect, times)
        .await;
    let error = call(aws, operation).await.expect_err(effect);
    let attempts = requests(aws, operation).len() - before;
    assert_eq!(attempts, times as usize, "{operation} {effect}");
    let told = error.to_string();
    assert!(!told.contains("secret of the request"), "{told}");
    error
}

#[tokio::test]
async fn each_fault_of_each_call_is_told_apart() {
    let aws = moto::stack("wire").await;
    for operation in OPERATIONS {
        let throttled = met(&aws, operation, "throttled").await;
        assert!(
            matches!(throttled, PortError::Throttled { .. }),
            "{operation}: {throttled:?}"
        );
        let denied = met(&aws, operation, "denied").await;
        assert!(
            matches!(&denied, PortError::Refused { message, .. } if message.starts_with("AccessDenied")),
            "{operation}: {denied:?}"
        );
        for effect in ["failed", "request-lost"] {
            let unknown = met(&aws, operation, effect).await;
            assert!(
                matches!(unknown, PortError::Unknown { .. }),
                "{operation}: {unknown:?}"
            );
        }
        call(&aws, operation).await.expect("no fault is left");
    }
}

#[tokio::test]
async fn a_call_that_is_throttled_once_is_made_again() {
    let aws = moto::stack("wire").await;
    for operation in OPERATIONS {
        moto::server()
            .fail(&caller(&aws), operation, "throttled", 1)
            .await;
        call(&aws, operation).await.expect(operation);
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_repeated_under_its_token_and_done_once() {
    let aws = moto::stack("wire").await;
    moto::server()
        .fail(&caller(&aws), "TransactWriteItems", "answer-lost", 1)
        .await;
    aws.write(&[create()])
        .await
        .expect("it does not conflict with itself");
    let mut again = create();
    again.expect = Expect::Version(1);
    aws.write(&[again]).await.expect("written once");
    let tokens: Vec<String> = requests(&aws, "TransactWriteItems")
        .iter()
        .map(token)
        .collect();
    assert_eq!(tokens.len(), 3);
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], tokens[2]);
}

fn token(request: &Request) -> String {
    let body: Value =
        serde_json::from_str(request["body"].as_str().expect("a text")).expect("JSON");
    body["ClientRequestToken"]
        .as_str()
        .expect("a token")
        .to_owned()
}

#[tokio::test]
async fn what_is_done_without_an_answer_is_not_known() {
    let aws = moto::stack("wire").await;
    moto::server()
        .fail(&caller(&aws), "TransactWriteItems", "answer-lost", ATTEMPTS)
        .await;
    let lost = aws.write(&[create()]).await;
    assert!(
        matches!(lost, Err(WriteError::Port(PortError::Unknown { .. }))),
        "{lost:?}"
    );
    assert!(aws.get(&key()).await.expect("read").is_some());
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let name = moto::unique("absent");
    let config = moto::server().config(&name.to_uppercase()).await;
    let aws = Aws::new(
        config,
        Resources {
            stack: name.clone(),
            config_table: format!("{name}-config"),
            ledger_table: format!("{name}-ledger"),
            topic: format!("arn:aws:sns:eu-west-1:123456789012:{name}"),
            ..moto::stack("wire").await.resources().clone()
        },
    );
    for (operation, code) in [
        ("GetItem", "ResourceNotFoundException"),
        ("Query", "ResourceNotFoundException"),
        ("TransactWriteItems", "ResourceNotFoundException"),
        ("GetObject", "NoSuchBucket"),
        ("PutObject", "NoSuchBucket"),
        ("ListObjectsV2", "NoSuchBucket"),
        ("Publish", "NotFound"),
        ("GetTopicAttributes", "NotFound"),
    ] {
        let error = call(&aws, operation).await.expect_err("nothing is there");
        assert!(
            matches!(&error, PortError::Refused { message, .. } if message.starts_with(code)),
            "{operation}: {error:?}"
        );
    }
}

//! What the adapters make of faults on the wire: moto's launcher throttles, denies, fails and loses answers as it is told.

use crate::judge;
use crate::moto::{self, Request};
use crate::wire::{Answer, Wire, ok};
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
async fn a_write_whose_answer_is_lost_is_repeated_under_its_token() {
    let wire = Wire::start([Answer::Lost, ok(json!({})), ok(json!({}))]);
    let aws = wire.aws().await;
    for _ in 0..2 {
        assert_eq!(aws.write(&[create()]).await, Ok(()));
    }
    judge::fit(&wire.requests());
    let token =
        |(_, body): &(String, Value)| body["ClientRequestToken"].as_str().map(str::to_owned);
    let tokens: Vec<Option<String>> = wire.bodies().iter().map(token).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens[0].is_some());
    assert_eq!(tokens[0], tokens[1], "one call");
    assert_ne!(tokens[0], tokens[2], "another call");
}

#[tokio::test]
async fn a_cancelled_transaction_tells_who_was_first_or_to_come_later() {
    let mut second = create();
    second.key.sort = "claim".to_owned();
    let writes = [create(), second];
    let cancelled = |codes: [&str; 2]| {
        let reasons = codes.map(|code| json!({"Code": code, "Message": "said"}));
        let name = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let body = json!({"__type": name, "Message": "cancelled", "CancellationReasons": reasons});
        Answer::Json(400, body)
    };
    let wire = Wire::start([
        cancelled(["None", "ConditionalCheckFailed"]),
        cancelled(["TransactionConflict", "None"]),
        cancelled(["None", "ValidationError"]),
    ]);
    let aws = wire.aws().await;
    assert_eq!(
        aws.write(&writes).await,
        Err(WriteError::Conflict(writes[1].key.clone()))
    );
    let later = aws.write(&writes).await;
    assert!(
        matches!(later, Err(WriteError::Port(PortError::Throttled { .. }))),
        "{later:?}"
    );
    let never = aws.write(&writes).await;
    assert!(
        matches!(never, Err(WriteError::Port(PortError::Refused { .. }))),
        "{never:?}"
    );
    assert_eq!(wire.requests().len(), 3, "none is repeated by itself");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_none() {
    let wire = Wire::start([
        ok(json!({"Item": {"partition": {"N": {}}}})),
        ok(json!({"Item": {"sort": {"S": "run"}}})),
    ]);
    let aws = wire.aws().await;
    for _ in 0..2 {
        let answer = aws.get(&key()).await;
        assert!(
            matches!(answer, Err(PortError::Unknown { .. })),
            "{answer:?}"
        );
    }
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

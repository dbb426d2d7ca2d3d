//! moto's server as AWS: one for all tests of this binary, with stacks that share nothing but it.
//!
//! Where moto is not as AWS is, and what covers it instead:
//!
//! | what moto does | what covers it |
//! |---|---|
//! | takes an empty text in `begins_with` | nothing: the adapter never sends one |
//! | takes a second transaction of one token for another one | `faults`: prepared answers; that the tokens are equal |
//! | never cancels a transaction for a conflict with another, never throttles | `faults`: prepared answers, faults of the launcher |
//! | loses the name of a map's attribute that is empty, or a type's | nothing: no record has such names |
//! | takes a subject of several lines | `tasks::limits` |
//! | counts no subscription as confirmed | `mail`: a prepared answer |

use crate::programs::root;
use aws::Aws;
use aws::resources::Resources;
use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REGION: &str = "eu-west-1";

/// A server of 127.0.0.1. It ends when its stdin closes, that is with this process.
pub struct Server {
    port: u16,
    record: PathBuf,
    _process: Child,
}

/// A call that was made to the server, as it was recorded.
pub type Request = Value;

/// The server of this test binary; started by the first test that needs it.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Server {
    let python = root().join(".tools/moto/bin/python3");
    assert!(
        python.exists(),
        "moto is not installed: {}\nhint: scripts/setup",
        python.display()
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(folder).expect("a folder for what is recorded");
    let record = folder.join(format!("moto-{}.jsonl", std::process::id()));
    let mut process = Command::new(python)
        .arg(root().join("tests/judges/moto.py"))
        .arg(&record)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("moto starts");
    let stdout = process.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("moto tells its port");
    let port = line.trim().parse().expect("a port");
    Server {
        port,
        record,
        _process: process,
    }
}

impl Server {
    /// For `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far, by any test: one JSON object each, as `tests/judges/moto.py` says.
    pub fn requests(&self) -> Vec<Request> {
        let text = std::fs::read_to_string(&self.record).expect("what was recorded");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole]
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    }

    pub fn requests_of(&self, caller: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request["caller"] == caller);
        requests
    }

    /// The next calls of a caller's operation fail: `effect` and the rest as `tests/judges/moto.py` says.
    pub async fn fail(&self, caller: &str, operation: &str, effect: &str, times: u32) {
        let fault =
            json!({"caller": caller, "operation": operation, "effect": effect, "times": times});
        self.post("/headwater/faults", &fault).await;
    }

    /// Posts JSON to one of the paths that are the server's own.
    pub async fn post(&self, path: &str, body: &Value) {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("the server listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    }

    /// How a caller of this name reaches the server. Attempts are those of the adapters, without their waiting.
    pub async fn config(&self, caller: &str) -> SdkConfig {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(1));
        aws::loader()
            .retry_config(retries)
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(Credentials::new(caller, "secret", None, None, "tests"))
            .load()
            .await
    }
}

/// A name that no other test of this process has: `ledger-3`.
pub fn unique(word: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{word}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// An empty stack of its own on the server: tables, buckets, a topic with one subscription. Calls are made by a caller of the
/// stack's name, in capitals.
pub async fn stack(word: &str) -> Aws {
    let name = unique(word);
    let caller = name.to_uppercase();
    stack_for(&name, &caller).await
}

/// Like `stack`, for a name that the caller made unique, and a caller of any name.
pub async fn stack_for(name: &str, caller: &str) -> Aws {
    let server = server();
    let resources = make(&server.config("FOUNDATION").await, name).await;
    Aws::new(server.config(caller).await, resources)
}

/// Makes what the template makes, as far as moto has it.
async fn make(config: &SdkConfig, name: &str) -> Resources {
    let resources = Resources {
        stack: name.to_owned(),
        config_table: format!("{name}-config"),
        ledger_table: format!("{name}-ledger"),
        state_machine: format!("arn:aws:states:{REGION}:123456789012:stateMachine:{name}-pipeline"),
        topic: topic(config, name).await,
        artifacts: format!("s3://{name}-artifacts"),
        zones: zones(name),
        cluster: cluster(name),
        subnets: vec!["subnet-0a".to_owned(), "subnet-0b".to_owned()],
    };
    table(config, &resources.config_table, ["identifier", "config"]).await;
    table(config, &resources.ledger_table, ["partition", "sort"]).await;
    for bucket in ["artifacts", "bronze", "silver", "gold", "runtime", "logs"] {
        bucket_of(config, &format!("{name}-{bucket}")).await;
    }
    resources
}

/// The template's `Zones`.
fn zones(name: &str) -> Value {
    json!({
        "bronze": format!("s3://{name}-bronze"),
        "silver": format!("s3://{name}-silver"),
        "gold": format!("s3://{name}-gold"),
        "runtime": format!("s3://{name}-runtime"),
    })
}

/// The template's `Cluster`.
fn cluster(name: &str) -> Value {
    json!({
        "service_role": format!("{name}-emr"),
        "instance_profiles": {
            "bronze": format!("{name}-bronze"),
            "silver": format!("{name}-silver"),
            "gold": format!("{name}-gold"),
        },
        "log_uri": format!("s3://{name}-logs/emr"),
        "native_instance_type": "m7g.xlarge",
        "native_release_label": "emr-7.13.0",
    })
}

/// A table with two texts as its key.
async fn table(config: &SdkConfig, name: &str, key: [&str; 2]) {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("an attribute")
    };
    let element = |name: &str, kind: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .expect("a key")
    };
    aws_sdk_dynamodb::Client::new(config)
        .create_table()
        .table_name(name)
        .set_attribute_definitions(Some(key.map(attribute).to_vec()))
        .key_schema(element(key[0], KeyType::Hash))
        .key_schema(element(key[1], KeyType::Range))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("a table");
}

async fn bucket_of(config: &SdkConfig, name: &str) {
    use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(REGION))
        .build();
    aws_sdk_s3::Client::new(config)
        .create_bucket()
        .bucket(name)
        .create_bucket_configuration(place)
        .send()
        .await
        .expect("a bucket");
}

/// A topic, and one address that wants its mail.
async fn topic(config: &SdkConfig, name: &str) -> String {
    let sns = aws_sdk_sns::Client::new(config);
    let topic = sns
        .create_topic()
        .name(format!("{name}-notices"))
        .send()
        .await
        .expect("a topic");
    let arn = topic.topic_arn().expect("its ARN").to_owned();
    sns.subscribe()
        .topic_arn(&arn)
        .protocol("email")
        .endpoint("ops@example.org")
        .send()
        .await
        .expect("a subscription");
    arn
}

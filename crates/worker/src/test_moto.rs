//! For tests: one moto server per test program, as S3, DynamoDB and Secrets Manager; gone when the program ends, however it ends.
//!
//! `moto().bucket()` makes a new empty bucket; use one per test.

use crate::store;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub const REGION: &str = "eu-west-1";
/// The access key id of what is called by the SDK: the server judges its requests by the services' models.
const WORKER: &str = "WORKER";
/// That of requests which do not name their operation, so that nobody can judge them.
const FOUNDATION: &str = "FOUNDATION";

/// A running server.
pub struct Moto {
    pub port: u16,
    /// Buckets and tables so far.
    made: AtomicU32,
    // Its end is what ends the server.
    _input: ChildStdin,
}

/// The server of this test program; the first call starts it, and makes it the S3 of this program.
pub fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| {
        let moto = start().expect("a moto server for tests: run `scripts/setup`");
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        store::set_settings(vec![
            setting("aws_endpoint_url", &moto.url()),
            setting("aws_region", REGION),
            setting("aws_access_key_id", FOUNDATION),
            setting("aws_secret_access_key", "for tests only"),
        ]);
        moto
    })
}

fn start() -> Option<Moto> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let record = std::env::temp_dir().join(format!("headwater-moto-{}", std::process::id()));
    let mut child = Command::new(root.join(".tools/moto/bin/python3"))
        .arg(root.join("tests/judges/moto.py"))
        .arg(record)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let input = child.stdin.take()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take()?)
        .read_line(&mut line)
        .ok()?;
    Some(Moto {
        port: line.trim().parse().ok()?,
        made: AtomicU32::new(0),
        _input: input,
    })
}

impl Moto {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URI of a new bucket.
    pub fn bucket(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("headwater-test-{number}");
        let body = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        self.ask(&format!("PUT /{name}"), "s3", &[], &body);
        format!("s3://{name}")
    }

    /// Calls an operation of a service that speaks JSON: `DynamoDB_20120810.CreateTable`.
    pub fn call(&self, target: &str, input: &Value) -> String {
        let service = match target.split_once('.') {
            Some(("secretsmanager", _)) => "secretsmanager",
            _ => "dynamodb",
        };
        let headers = [
            ("X-Amz-Target", target),
            ("Content-Type", "application/x-amz-json-1.0"),
        ];
        self.ask("POST /", service, &headers, &input.to_string())
    }

    /// How the SDK reaches this server.
    pub async fn config(&self) -> SdkConfig {
        aws::loader()
            .region(Region::new(REGION))
            .endpoint_url(self.url())
            .credentials_provider(Credentials::new(
                WORKER,
                "for tests only",
                None,
                None,
                "tests",
            ))
            .load()
            .await
    }

    /// The name of a new ledger, as the template makes it.
    pub fn ledger(&self) -> String {
        let name = format!(
            "headwater-test-ledger-{}",
            self.made.fetch_add(1, Ordering::Relaxed)
        );
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        self.call(
            "DynamoDB_20120810.CreateTable",
            &json!({
                "TableName": name,
                "KeySchema": [key("partition", "HASH"), key("sort", "RANGE")],
                "AttributeDefinitions": [text("partition"), text("sort")],
                "BillingMode": "PAY_PER_REQUEST",
            }),
        );
        name
    }

    fn ask(&self, line: &str, service: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={FOUNDATION}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=none\r\n",
            body.len()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream
            .write_all(format!("{request}\r\n{body}").as_bytes())
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

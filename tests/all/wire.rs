//! A service on this machine that gives prepared answers, one a request: exchanges that no emulator has.

use aws::Aws;
use aws::resources::Resources;
use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::config::Credentials;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const REGION: &str = "eu-west-1";

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Json(u16, Value),
    /// A good answer of a service that speaks XML.
    Xml(&'static str),
    /// It is read to its end, and the connection closed without a word.
    Lost,
}

/// A good answer.
pub fn ok(body: Value) -> Answer {
    Answer::Json(200, body)
}

/// An error of a JSON service. EMR writes `Message`, Step Functions `message`.
pub fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::Json(
        status,
        json!({"__type": code, "Message": message, "message": message}),
    )
}

/// The service. It ends when it is dropped.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answers: VecDeque<Answer>,
    requests: Vec<Value>,
    over: bool,
}

impl Wire {
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let shared = Arc::new(Mutex::new(Shared {
            answers: answers.into_iter().collect(),
            requests: Vec::new(),
            over: false,
        }));
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.lock().expect("no test has failed in it").over {
                    return;
                }
                // A client that goes away early has its reason.
                let _ = serve(stream, &served);
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// The ports of a stack whose every service this is.
    pub async fn aws(&self) -> Aws {
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(1));
        let config = aws::loader()
            .retry_config(retries)
            .region(Region::new(REGION))
            .endpoint_url(format!("http://{}", self.address))
            .credentials_provider(Credentials::new("REPLAYED", "secret", None, None, "tests"))
            .load()
            .await;
        Aws::new(config, nowhere("headwater"))
    }

    /// The requests so far, as `tests/judges/moto.py` records them.
    pub fn requests(&self) -> Vec<Value> {
        self.shared
            .lock()
            .expect("no test has failed in it")
            .requests
            .clone()
    }

    /// Their bodies, with the operation of each.
    pub fn bodies(&self) -> Vec<(String, Value)> {
        let read = |request: &Value| {
            let target = request["headers"]["x-amz-target"].as_str()?;
            let body = serde_json::from_str(request["body"].as_str()?).ok()?;
            Some((target.rsplit('.').next()?.to_owned(), body))
        };
        let requests = self.requests();
        let read = |request| read(request).expect("a request of a JSON service");
        requests.iter().map(read).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.over = true;
        }
        // It waits for a connection; this is the last one.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Names of a stack of which nothing was made.
pub fn nowhere(name: &str) -> Resources {
    Resources {
        stack: name.to_owned(),
        config_table: format!("{name}-config"),
        ledger_table: format!("{name}-ledger"),
        state_machine: format!("arn:aws:states:{REGION}:123456789012:stateMachine:{name}-pipeline"),
        topic: format!("arn:aws:sns:{REGION}:123456789012:{name}-notices"),
        artifacts: format!("s3://{name}-artifacts"),
        zones: Value::Null,
        cluster: Value::Null,
        subnets: Vec::new(),
    }
}

fn serve(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = read_request(&mut reader)?;
    let answer = {
        let mut shared = shared.lock().expect("no test has failed in it");
        shared.requests.push(request);
        shared.answers.pop_front()
    };
    match answer {
        Some(Answer::Json(status, body)) => {
            let kind = "application/x-amz-json-1.1";
            say(reader.get_mut(), status, kind, &body.to_string())
        }
        Some(Answer::Xml(body)) => say(reader.get_mut(), 200, "text/xml", body),
        Some(Answer::Lost) => Ok(()),
        // More is asked than was prepared: the test sees it in the number of requests.
        None => write!(
            reader.get_mut(),
            "HTTP/1.1 400 Unprepared\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    }
}

fn say(stream: &mut TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Value> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = serde_json::Map::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_lowercase(), value.trim().into());
            }
            None => break,
        }
    }
    let header = |name: &str| headers.get(name).and_then(Value::as_str);
    let length = header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let (caller, service) = signer(header("authorization").unwrap_or_default());
    Ok(json!({
        "caller": caller, "service": service, "method": method, "path": path, "query": query, "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
}

/// Access key id and service of `… Credential=<key>/<date>/<region>/<service>/aws4_request, …`.
fn signer(authorization: &str) -> (&str, &str) {
    let scope = authorization
        .split_once("Credential=")
        .map_or("", |(_, scope)| scope);
    let parts: Vec<&str> = scope.split(',').next().unwrap_or("").split('/').collect();
    match parts[..] {
        [key, _, _, service, _] => (key, service),
        _ => ("", ""),
    }
}

//! The Lambda Runtime API, as Lambda has it for one function: the program asks for the next event, and posts its answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const VERSION: &str = "/2018-06-01/runtime";
/// What every function of the template has at least.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the program said to the API.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It waits for an event.
    Next,
    /// The answer to the event of this request id.
    Response {
        request_id: String,
        body: Vec<u8>,
    },
    Error {
        request_id: String,
        body: Vec<u8>,
    },
    /// It cannot serve at all.
    InitError {
        body: Vec<u8>,
    },
}

struct Event {
    request_id: String,
    body: Vec<u8>,
}

/// The API of one program. It ends when it is dropped.
pub struct RuntimeApi {
    pub address: SocketAddr,
    events: Sender<Event>,
    said: Receiver<Said>,
    number: u32,
    over: Arc<AtomicBool>,
}

impl RuntimeApi {
    pub fn start(function: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (events, event) = channel();
        let (tell, said) = channel();
        let event = Arc::new(Mutex::new(event));
        let function = function.to_owned();
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (event, tell, function) = (Arc::clone(&event), tell.clone(), function.clone());
                std::thread::spawn(move || {
                    // A program that goes away closes its connections.
                    let _ = serve(stream, &function, &event, &tell);
                });
            }
        });
        Self {
            address,
            events,
            said,
            number: 0,
            over,
        }
    }

    /// Gives an event to the program; its request id.
    pub fn send(&mut self, body: &[u8]) -> String {
        self.number += 1;
        let request_id = format!("8476a536-e9f4-11e8-9739-{:012}", self.number);
        let event = Event {
            request_id: request_id.clone(),
            body: body.to_vec(),
        };
        self.events.send(event).expect("the API serves");
        request_id
    }

    /// What the program says next; `None` when it said nothing for that long.
    pub fn listen(&self, patience: Duration) -> Option<Said> {
        match self.said.recv_timeout(patience) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the API has ended"),
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It waits for a connection; this is the last one.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(
    stream: TcpStream,
    function: &str,
    events: &Mutex<Receiver<Event>>,
    tell: &Sender<Said>,
) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let path = request.path.strip_prefix(VERSION).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["invocation", "next"]) => {
                let _ = tell.send(Said::Next);
                let event = events.lock().expect("no panic in it").recv();
                let Ok(event) = event else { return Ok(()) };
                answer_event(reader.get_mut(), function, &event)?;
            }
            ("POST", ["invocation", request_id, "response"]) => {
                let _ = tell.send(Said::Response {
                    request_id: (*request_id).to_owned(),
                    body: request.body,
                });
                accepted(reader.get_mut())?;
            }
            ("POST", ["invocation", request_id, "error"]) => {
                let _ = tell.send(Said::Error {
                    request_id: (*request_id).to_owned(),
                    body: request.body,
                });
                accepted(reader.get_mut())?;
            }
            ("POST", ["init", "error"]) => {
                let _ = tell.send(Said::InitError { body: request.body });
                accepted(reader.get_mut())?;
            }
            _ => respond(reader.get_mut(), "404 Not Found", &[], b"")?,
        }
    }
    Ok(())
}

fn answer_event(stream: &mut TcpStream, function: &str, event: &Event) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let deadline = (now + TIMEOUT).as_millis().to_string();
    let arn = format!("arn:aws:lambda:eu-west-1:123456789012:function:{function}:1");
    let headers = [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", event.request_id.as_str()),
        ("Lambda-Runtime-Deadline-Ms", deadline.as_str()),
        ("Lambda-Runtime-Invoked-Function-Arn", arn.as_str()),
        (
            "Lambda-Runtime-Trace-Id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        ),
    ];
    respond(stream, "200 OK", &headers, &event.body)
}

fn accepted(stream: &mut TcpStream) -> Result<()> {
    let headers = [("Content-Type", "application/json")];
    respond(stream, "202 Accepted", &headers, br#"{"status":"OK"}"#)
}

fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    stream.write_all(&answer)
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

/// The next request of a connection; `None` when it was closed.
fn read_request(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().expect("a number of bytes"));
    assert!(
        !headers.contains_key("transfer-encoding"),
        "answers of a task have a length"
    );
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, body }))
}

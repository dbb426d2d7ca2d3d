//! What is written where: data to stdout, talk to stderr. A reader that went away ends the writing quietly.

use crate::context::Trouble;
use serde_json::Value;
use std::io::{self, Write};

/// Whether anybody still reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

/// Data, as it is.
pub fn data(text: &str) -> Result<Reader, Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Trouble::failed(format!(
            "stdout cannot be written: {error}"
        ))),
    }
}

/// Data as JSON.
pub fn json(value: &Value) -> Result<Reader, Trouble> {
    data(&format!("{value:#}\n"))
}

/// A line for a person. Where nobody reads stderr it is lost.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `1 table`, `2 tables`.
pub fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

//! A tap on a connection: the data of a COPY goes to a sink as it arrives, everything else to the driver. The driver would hand
//! over each row as a message of its own, which costs more than decoding the row.

use crate::failure::Failure;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once from the server.
const INPUT_BYTES: usize = 256 * 1024;
/// A tag and a length, which counts itself.
const HEADER_BYTES: usize = 5;
const COPY_DATA: u8 = b'd';
const COMMAND_COMPLETE: u8 = b'C';

/// Where the data of a COPY goes.
pub trait Sink: Send {
    /// One message of COPY data: the protocol has one row in each.
    fn data(&mut self, payload: &[u8]) -> Result<(), Failure>;
}

/// What tap and caller share.
pub struct Tapped<S> {
    pub sink: S,
    /// Why the sink would take no more; the connection ends by it.
    pub failure: Option<Failure>,
    /// Rows of all COPYs so far, by the server's own count.
    pub rows_sent: u64,
}

impl<S> Tapped<S> {
    pub fn new(sink: S) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            sink,
            failure: None,
            rows_sent: 0,
        }))
    }
}

/// Locks what is shared. A panic in the sink ends the load anyway.
pub fn lock<S>(tapped: &Mutex<Tapped<S>>) -> MutexGuard<'_, Tapped<S>> {
    tapped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of the Postgres protocol without encryption.
pub struct Tap<T, S> {
    stream: T,
    tapped: Arc<Mutex<Tapped<S>>>,
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the present message that are still the driver's.
    passing: usize,
}

impl<T, S: Sink> Tap<T, S> {
    pub fn new(stream: T, tapped: Arc<Mutex<Tapped<S>>>) -> Self {
        Self {
            stream,
            tapped,
            input: vec![0; INPUT_BYTES],
            start: 0,
            end: 0,
            passing: 0,
        }
    }

    /// Gives the driver what is there of a message that is its own.
    fn pass(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let count = self.passing.min(self.end - self.start).min(out.remaining());
        out.put_slice(&self.input[self.start..self.start + count]);
        self.start += count;
        self.passing -= count;
        count > 0
    }

    /// Takes all whole messages of COPY data, up to a message for the driver or to the end of what is there.
    /// Returns the bytes that the next message needs in all, 0 when it is the driver's.
    fn take(&mut self) -> io::Result<usize> {
        let mut tapped = lock(&self.tapped);
        loop {
            let rest = &self.input[self.start..self.end];
            let Some(&[tag, a, b, c, d]) = rest.first_chunk::<HEADER_BYTES>() else {
                return Ok(HEADER_BYTES);
            };
            let bytes = u32::from_be_bytes([a, b, c, d]) as usize + 1;
            if tag != COPY_DATA && tag != COMMAND_COMPLETE {
                self.passing = bytes;
                return Ok(0);
            }
            let Some(message) = rest.get(HEADER_BYTES..bytes) else {
                return Ok(bytes);
            };
            if tag == COMMAND_COMPLETE {
                tapped.rows_sent += rows_copied(message);
                self.passing = bytes;
                return Ok(0);
            }
            if let Err(failure) = tapped.sink.data(message) {
                tapped.failure = Some(failure);
                return Err(io::Error::other("the copied rows were not taken"));
            }
            self.start += bytes;
        }
    }

    /// Makes room for a message of this size behind what is there of it.
    fn make_room(&mut self, bytes: usize) {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = bytes.max(INPUT_BYTES);
        if wanted > self.input.len() {
            self.input.resize(wanted, 0);
        } else if self.input.len() > wanted {
            self.input.truncate(wanted.max(self.end));
            self.input.shrink_to_fit();
        }
    }
}

/// The number in `COPY <rows>`.
fn rows_copied(message: &[u8]) -> u64 {
    let text = std::str::from_utf8(message).unwrap_or_default();
    text.trim_end_matches('\0')
        .strip_prefix("COPY ")
        .and_then(|rows| rows.parse().ok())
        .unwrap_or_default()
}

impl<T: AsyncRead + Unpin, S: Sink> AsyncRead for Tap<T, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.pass(out) {
                return Poll::Ready(Ok(()));
            }
            let needed = match this.passing {
                0 => this.take()?,
                rest => rest.min(INPUT_BYTES),
            };
            if needed == 0 {
                continue;
            }
            if this.start + needed > this.input.len() || this.start == this.end {
                this.make_room(needed);
            }
            let mut read = ReadBuf::new(&mut this.input[this.end..]);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            match read.filled().len() {
                0 => return Poll::Ready(Ok(())),
                count => this.end += count,
            }
        }
    }
}

impl<T: AsyncWrite + Unpin, S: Sink> AsyncWrite for Tap<T, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::AsyncReadExt;

    struct Seen(Vec<Vec<u8>>);

    impl Sink for Seen {
        fn data(&mut self, payload: &[u8]) -> Result<(), Failure> {
            if payload == b"bad" {
                return Err(Failure::new("Bad", "a payload that is refused"));
            }
            self.0.push(payload.to_vec());
            Ok(())
        }
    }

    fn message(tag: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend((payload.len() as u32 + 4).to_be_bytes());
        out.extend(payload);
        out
    }

    /// A stream that gives these pieces, one a read.
    fn pieces(bytes: &[u8], size: usize) -> Pieces {
        Pieces(bytes.chunks(size).map(<[u8]>::to_vec).collect())
    }

    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(out.remaining()));
                out.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn data_goes_to_the_sink_and_the_rest_to_the_driver_however_it_is_cut() {
        let wide = vec![7; INPUT_BYTES + 1000];
        let stream = [
            message(b'H', b"\x01\x00\x00"),
            message(b'd', b"one"),
            message(b'd', b""),
            message(b'd', &wide),
            message(b'd', b"two"),
            message(b'c', b""),
            message(b'C', b"COPY 4\0"),
            message(b'Z', b"T"),
        ]
        .concat();
        let driver = [
            message(b'H', b"\x01\x00\x00"),
            message(b'c', b""),
            message(b'C', b"COPY 4\0"),
            message(b'Z', b"T"),
        ]
        .concat();
        for size in [1, 2, 3, 7, 4096, stream.len()] {
            let tapped = Tapped::new(Seen(Vec::new()));
            let mut tap = Tap::new(pieces(&stream, size), tapped.clone());
            let mut passed = Vec::new();
            tap.read_to_end(&mut passed).await.expect("all of it");
            assert_eq!(passed, driver, "pieces of {size}");
            let tapped = lock(&tapped);
            assert_eq!(tapped.rows_sent, 4);
            let seen: [&[u8]; 4] = [b"one", b"", &wide, b"two"];
            assert_eq!(tapped.sink.0, seen, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_row_that_is_refused_ends_the_connection() {
        let stream = [message(b'd', b"bad"), message(b'd', b"never")].concat();
        let tapped = Tapped::new(Seen(Vec::new()));
        let mut tap = Tap::new(pieces(&stream, 5), tapped.clone());
        assert!(tap.read_to_end(&mut Vec::new()).await.is_err());
        let tapped = lock(&tapped);
        assert_eq!(
            tapped.failure.as_ref().map(|failure| failure.error),
            Some("Bad")
        );
        assert!(tapped.sink.0.is_empty());
    }
}

//! What lies between hyper and the connection's plain text: sees where a head of HTTP/1.1 begins and ends, notes what
//! hyper would not show, and can say a last word where hyper says none.
//!
//! Frames nothing: hyper alone decides where a message ends. This only tells that a head names two lengths (RFC 9112
//! §6.3), and whether one is half there when its time is over (RFC 9110 §15.5.9).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much of a line as is looked at: the two names that matter, and a length's digits.
const MAX_LINE: usize = 64;

/// Follows the heads of a connection.
#[derive(Debug, Default)]
struct HeadScan {
    state: State,
    /// The line under way, as far as it is looked at.
    line: Vec<u8>,
    /// Whether the head's request line was seen.
    begun: bool,
    /// Heads that have ended.
    heads: u64,
    /// A `Content-Length` line was seen; `Err` where its value is none.
    content_length: Option<Result<u64, ()>>,
    transfer_encoding: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// As many bytes of content before the next head.
    Content(u64),
    /// Nothing that follows is looked at: another protocol, or the last request of this connection.
    Over,
}

impl HeadScan {
    /// Takes what was read.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Over => return,
                State::Content(0) => self.state = State::Head,
                State::Content(left) => {
                    let skipped = left.min(bytes.len() as u64);
                    self.state = State::Content(left - skipped);
                    bytes = &bytes[skipped as usize..];
                }
                State::Head => bytes = self.feed_line(bytes),
            }
        }
    }

    fn feed_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let line = &bytes[..end.unwrap_or(bytes.len())];
        let room = MAX_LINE - self.line.len();
        self.line.extend_from_slice(&line[..line.len().min(room)]);
        let Some(end) = end else {
            return &[];
        };
        self.end_line();
        self.line.clear();
        &bytes[end + 1..]
    }

    fn end_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            // Empty lines before a request line are allowed (RFC 9112 §2.2).
            if self.begun {
                self.end_head();
            }
        } else if !self.begun {
            self.begun = true;
            if line.starts_with(b"PRI * HTTP/2") {
                self.state = State::Over;
            }
        } else if let Some((name, value)) = split(line) {
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.transfer_encoding = true;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                let value = std::str::from_utf8(value).ok();
                let length = value.and_then(|value| value.trim().parse().ok());
                self.content_length = Some(length.ok_or(()));
            }
        }
    }

    fn end_head(&mut self) {
        self.begun = false;
        self.heads += 1;
        self.state = match self.content_length {
            // The connection closes after it.
            _ if self.transfer_encoding => State::Over,
            Some(Ok(length)) => State::Content(length),
            // hyper refuses it.
            Some(Err(())) => State::Over,
            None => State::Head,
        };
        if self.state != State::Over {
            self.content_length = None;
        }
    }

    /// A head has two lengths; it is the last that was looked at.
    fn two_lengths(&self) -> bool {
        self.transfer_encoding && self.content_length.is_some()
    }

    /// A head of HTTP/1.1 has begun and not ended.
    fn mid_head(&self) -> bool {
        // Nothing yet may still become HTTP/2's preface (RFC 9113 §3.4), and is no head.
        let preface = !self.begun && b"PRI * HTTP/2".starts_with(&self.line);
        self.state == State::Head && !preface
    }

    /// Nothing of a message of HTTP/1.1 is half there.
    fn at_rest(&self) -> bool {
        let between = matches!(self.state, State::Head | State::Content(0));
        between && !self.begun && self.line.is_empty()
    }
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], &line[colon + 1..]))
}

/// What a [`Screen`] saw, and what it is to say.
#[derive(Debug, Default)]
pub(super) struct Seen {
    two_lengths: AtomicBool,
    mid_head: AtomicBool,
    mid_message: AtomicBool,
    heads: AtomicU64,
    last_word: Mutex<Option<Bytes>>,
    reader: AtomicWaker,
}

impl Seen {
    /// A head names two lengths; no request follows the one that does.
    pub(super) fn two_lengths(&self) -> bool {
        self.two_lengths.load(Relaxed)
    }

    /// A head of HTTP/1.1 is half there.
    pub(super) fn mid_head(&self) -> bool {
        self.mid_head.load(Relaxed)
    }

    /// How many requests of HTTP/1.1 were read, where nothing of another message is, and nothing else is spoken.
    pub(super) fn at_rest(&self) -> Option<u64> {
        let between = !self.mid_message.load(Relaxed);
        between.then(|| self.heads.load(Relaxed))
    }

    /// Has these bytes sent in place of the next read, and after them the end. Only for where no answer is under way.
    pub(super) fn say(&self, last_word: Bytes) {
        *self.lock() = Some(last_word);
        self.reader.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Bytes>> {
        self.last_word
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plain text of a connection, looked at as it is read.
#[derive(Debug)]
pub(super) struct Screen<IO> {
    io: IO,
    scan: HeadScan,
    seen: Arc<Seen>,
}

impl<IO> Screen<IO> {
    pub(super) fn new(io: IO) -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        let screen = Self {
            io,
            scan: HeadScan::default(),
            seen: Arc::clone(&seen),
        };
        (screen, seen)
    }
}

impl<IO: AsyncWrite + Unpin> Screen<IO> {
    /// Sends what is left of the last word; ready when it is gone.
    fn poll_last_word(&mut self, cx: &mut Context<'_>, mut word: Bytes) -> Poll<io::Result<()>> {
        while word.has_remaining() {
            match Pin::new(&mut self.io).poll_write(cx, &word) {
                Poll::Ready(Ok(written)) if written > 0 => word.advance(written),
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    *self.seen.lock() = Some(word);
                    return Poll::Pending;
                }
            }
        }
        *self.seen.lock() = Some(word);
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Screen<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.seen.reader.register(cx.waker());
        let last_word = self.seen.lock().take();
        if let Some(word) = last_word {
            return self.poll_last_word(cx, word);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let this = &mut *self;
        this.scan.feed(&buf.filled()[before..]);
        this.seen
            .two_lengths
            .store(this.scan.two_lengths(), Relaxed);
        this.seen.mid_head.store(this.scan.mid_head(), Relaxed);
        let mid_message = !this.scan.at_rest();
        this.seen.mid_message.store(mid_message, Relaxed);
        this.seen.heads.store(this.scan.heads, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Screen<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed whole, and byte by byte.
    fn scans(text: &str) -> [HeadScan; 2] {
        let mut scans = [HeadScan::default(), HeadScan::default()];
        scans[0].feed(text.as_bytes());
        for byte in text.as_bytes() {
            scans[1].feed(&[*byte]);
        }
        scans
    }

    #[test]
    fn a_head_with_two_lengths_is_seen_wherever_it_stands() {
        let long = " ".repeat(100);
        for (two, text) in [
            (false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            (true, "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
            (true, "POST / HTTP/1.1\nTRANSFER-ENCODING:chunked\ncontent-length:5\n\n".to_owned()),
            (true, "\r\n\r\nGET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: x\r\nTransfer-Encoding: y\r\n\r\n".to_owned()),
            (true, format!("POST / HTTP/1.1\r\nContent-Length:{long}5\r\nTransfer-Encoding: chunked\r\n\r\n")),
            (false, "POST / HTTP/1.1\r\nX: Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 5\r\n".to_owned()),
            // What stands in content is no head, whatever it looks like.
            (false, "POST / HTTP/1.1\r\nContent-Length: 19\r\n\r\n\r\nContent-Length: 5POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
            (false, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nContent-Length: 1\r\nTransfer-Encoding: 1\r\n\r\n".to_owned()),
        ] {
            for scan in scans(&text) {
                assert_eq!(scan.two_lengths(), two, "{text:?}");
            }
        }
    }

    #[test]
    fn a_half_head_is_told_from_silence_and_from_a_preface() {
        for (half, text) in [
            (false, ""),
            (true, "G"),
            (true, "GET / HTTP/1.1\r\nHost: a\r\n"),
            (false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (true, "GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET"),
            (false, "GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\na"),
            (false, "PRI * HT"),
            (false, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ] {
            for scan in scans(text) {
                assert_eq!(scan.mid_head(), half, "{text:?}");
                let whole = text.is_empty() || text.ends_with("a\r\n\r\n");
                assert_eq!(scan.at_rest(), whole, "{text:?}");
                assert_eq!(
                    scan.heads,
                    u64::from(text.contains("\r\n\r\n") && !text.starts_with("PRI")),
                    "{text:?}"
                );
            }
        }
    }
}

//! What a connection speaks: HTTP/1.1 (RFC 9112), or HTTP/2 where it begins with that one's preface (RFC 9113 §3.4).
//!
//! Its first bytes are at hand before hyper is, and hardly ever leave it open. Where they do hyper-util finds out; as it
//! hands hyper the first head in two pieces, for which hyper doubles its buffer, it is not asked otherwise.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{BoxError, Tasks};

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest head: cookies and a token of 8 KiB, a URI of 8 KiB, and room. Also how much of a body waits in hyper
/// before the socket takes it: past it a body is not asked for its next frame.
const MAX_HEAD: usize = 64 << 10;
/// Streams of one HTTP/2 connection: what RFC 9113 §6.5.2 calls a sensible minimum; a gallery asks for fewer at once.
const MAX_STREAMS: u32 = 100;
/// What one HTTP/2 stream may have waiting: a socket buffer's worth, so that a paused reader holds kilobytes.
const MAX_SEND_BUFFER: usize = 128 << 10;
/// How often a silent HTTP/2 client is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection in hyper's hands, until it ends.
pub(super) enum Spoken<IO, S>
where
    S: hyper::service::HttpService<Incoming>,
{
    /// HTTP/1.1.
    Http1(Pin<Box<http1::UpgradeableConnection<TokioIo<IO>, S>>>),
    /// HTTP/2, or what could still become either.
    Either(Pin<Box<auto::UpgradeableConnection<'static, TokioIo<IO>, S, Tasks>>>),
}

impl<IO, S, B> Spoken<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Begins with a connection of which `read` will be read first.
    pub(super) fn begin(io: IO, read: &[u8], service: S, tasks: &Tasks) -> Self {
        let io = TokioIo::new(io);
        let said = read.len().min(PREFACE.len());
        if read[..said] == PREFACE[..said] {
            let builder = either(tasks.clone());
            let connection = builder.serve_connection_with_upgrades(io, service);
            Self::Either(Box::pin(connection.into_owned()))
        } else {
            Self::Http1(Box::pin(
                http1().serve_connection(io, service).with_upgrades(),
            ))
        }
    }

    /// Asks it to end after what it does.
    pub(super) fn graceful_shutdown(&mut self) {
        match self {
            Self::Http1(connection) => connection.as_mut().graceful_shutdown(),
            Self::Either(connection) => connection.as_mut().graceful_shutdown(),
        }
    }
}

impl<IO, S, B> Future for Spoken<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Http1(connection) => connection.as_mut().poll(cx).map_err(Into::into),
            Self::Either(connection) => connection.as_mut().poll(cx),
        }
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // At most 100 fields: hyper's default, which it keeps on the stack; to name a number would cost an allocation.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD);
    builder
}

fn either(tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_SEND_BUFFER);
    builder
}

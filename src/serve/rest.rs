//! A connection at rest, between two requests: what hyper keeps for the next one is given up, until there is a next one.
//!
//! hyper has 8 KiB at hand for a head to come and as much for one that went, beside the fields of both. Ten thousand
//! annotators who look at what they have loaded would keep all of that. Frames nothing: whoever says that a connection
//! is at rest must know that nothing of a message is half read or half written.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read of a head while there is nowhere else to put it: most heads are shorter. It is on the stack.
const FIRST_READ: usize = 2 << 10;

/// Where a socket comes back to when hyper is done with it.
#[derive(Debug)]
pub(super) struct Home<IO>(Arc<Mutex<Option<IO>>>);

impl<IO> Home<IO> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Hands the socket out, with what was read from it already.
    pub(super) fn lend(&self, io: IO, read: Bytes) -> Lent<IO> {
        Lent {
            read,
            io: Some(io),
            home: Arc::clone(&self.0),
        }
    }

    /// The socket, where it came back.
    pub(super) fn take(&self) -> Option<IO> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A socket in hyper's hands.
#[derive(Debug)]
pub(super) struct Lent<IO> {
    read: Bytes,
    io: Option<IO>,
    home: Arc<Mutex<Option<IO>>>,
}

impl<IO> Drop for Lent<IO> {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.io.take();
    }
}

impl<IO: Unpin> Lent<IO> {
    fn io(&mut self) -> io::Result<Pin<&mut IO>> {
        // It is there until this is dropped.
        let io = self.io.as_mut().map(Pin::new);
        io.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Waits for a resting connection's next bytes. `None`: there are none to come.
pub(super) async fn first_bytes<IO: AsyncRead + Unpin>(io: &mut Option<IO>) -> Option<Bytes> {
    std::future::poll_fn(|cx| {
        let Some(io) = io else {
            return Poll::Pending;
        };
        let mut space = [MaybeUninit::uninit(); FIRST_READ];
        let mut read = ReadBuf::uninit(&mut space);
        let ended =
            ready!(Pin::new(io).poll_read(cx, &mut read)).is_err() || read.filled().is_empty();
        Poll::Ready((!ended).then(|| Bytes::copy_from_slice(read.filled())))
    })
    .await
}

impl<IO: AsyncRead + Unpin> AsyncRead for Lent<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return self.io()?.poll_read(cx, buf);
        }
        let length = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..length]);
        self.read.advance(length);
        if self.read.is_empty() {
            // The memory goes with it.
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Lent<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(IO::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use http::Response;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::serve::connection::{Tasks, Terms, serve};
    use crate::serve::watch::{Activity, Timeouts};

    const LATE: Duration = Duration::from_secs(60);

    /// Counts how often the connection has come to rest: it then reads into less than hyper does.
    struct Noting {
        io: DuplexStream,
        resting: bool,
        rests: Arc<AtomicUsize>,
    }

    impl AsyncRead for Noting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let resting = buf.capacity() == FIRST_READ;
            if resting && !self.resting {
                self.rests.fetch_add(1, Relaxed);
            }
            self.resting = resting;
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Noting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.io).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }

    /// A connection whose answers are the paths asked for.
    struct Connection {
        client: DuplexStream,
        rests: Arc<AtomicUsize>,
        tasks: Tasks,
    }

    impl Connection {
        fn open() -> Self {
            let (client, io) = tokio::io::duplex(1 << 16);
            let (rests, tasks) = (Arc::<AtomicUsize>::default(), Tasks::default());
            let noting = Noting {
                io,
                resting: false,
                rests: rests.clone(),
            };
            // It is looked at twice in this time.
            let write = Duration::from_millis(20);
            let timeouts = Timeouts {
                handshake: LATE,
                head: LATE,
                idle: LATE,
                write,
            };
            let terms = Terms {
                timeouts,
                refusal: None,
            };
            let echo = service_fn(|request: http::Request<_>| {
                let body = Full::new(Bytes::from(request.uri().path().to_owned()));
                std::future::ready(Ok::<_, Infallible>(Response::new(body)))
            });
            let served = tasks.clone();
            tasks.tracker.spawn(async move {
                let activity = Arc::<Activity>::default();
                serve(noting, echo, activity, &terms, &served).await;
            });
            Self {
                client,
                rests,
                tasks,
            }
        }

        async fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).await.unwrap();
        }

        async fn answered(&mut self, path: &str) {
            let (mut read, end) = (Vec::new(), format!("\r\n\r\n{path}"));
            while !read.ends_with(end.as_bytes()) {
                assert_ne!(self.client.read_buf(&mut read).await.unwrap(), 0);
            }
        }

        async fn has_rested(&self, times: usize) {
            let rested = async {
                while self.rests.load(Relaxed) < times {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(LATE, rested).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_at_rest_goes_on_with_whatever_comes() {
        let mut connection = Connection::open();
        connection.has_rested(1).await;
        connection
            .send("GET /first HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
        connection.answered("/first").await;
        connection.has_rested(2).await;
        // In pieces, and looked at in between.
        connection.send("GET /sec").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.send("ond HTTP/1.1\r\nhost: a\r\n\r\n").await;
        connection.answered("/second").await;
        connection.has_rested(3).await;
        let long = "x".repeat(3 * FIRST_READ);
        let head = format!("GET /third HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n");
        connection.send(&head).await;
        connection.answered("/third").await;
        connection.has_rested(4).await;
        // hyper pauses after some of them, with the others in its hands.
        let head = |n: usize| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n");
        let many: String = (0..200).map(head).collect();
        connection.send(&many).await;
        connection.answered("/199").await;
    }

    #[tokio::test]
    async fn a_first_letter_that_http2_begins_with_too_settles_nothing() {
        let mut connection = Connection::open();
        connection.has_rested(1).await;
        connection.send("P").await;
        // Seen alone, mostly.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let head = "OST /posted HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        connection.send(head).await;
        connection.answered("/posted").await;
    }

    #[tokio::test]
    async fn a_connection_at_rest_ends_when_all_are_asked_to() {
        let mut connection = Connection::open();
        connection.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        connection.answered("/a").await;
        connection.has_rested(2).await;
        connection.tasks.finish.cancel();
        assert_eq!(connection.client.read(&mut [0; 1]).await.unwrap(), 0);
        connection.tasks.tracker.close();
        connection.tasks.tracker.wait().await;
    }
}

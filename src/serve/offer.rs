//! What an answer's body offers its connection, and for how long nobody takes it.
//!
//! HTTP/1.1 is watched by its socket. Over HTTP/2 a client keeps one stream's window shut (RFC 9113 §5.2) while the
//! connection lives on and answers pings: hyper waits for it without end, a frame in its hands.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::Cut;
use super::connection::BoxError;
use super::watch::InFlight;

/// What an HTTP/2 stream is offered at once: with its frame's head (RFC 9113 §4.1) one record of TLS (RFC 8446 §5.1), which
/// is also the largest DATA frame that every client takes (RFC 9113 §4.2); nine bytes more and each frame is two records.
/// The last piece is a copy, for it may wait for its window long after the body is gone, and would keep the whole segment that
/// it was cut from.
const PIECE: usize = (16 << 10) - 9;

tokio::task_local! {
    /// The offer of the HTTP/2 stream whose task this is.
    static OFFER: Arc<Offer>;
}

/// Since when a stream's piece waits to be taken.
#[derive(Debug, Default)]
struct Offer(Mutex<Option<Instant>>);

impl Offer {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Ready when a piece has waited for so long.
    async fn refused(&self, patience: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = since.unwrap_or_else(Instant::now) + patience;
            if since.is_some() && Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Runs an HTTP/2 stream, and gives it up when its window stays shut for `patience`: dropped, it is reset.
pub(super) async fn until_refused(stream: impl Future<Output = ()>, patience: Duration) {
    let offer = Arc::<Offer>::default();
    tokio::select! {
        () = OFFER.scope(Arc::clone(&offer), stream) => {}
        () = offer.refused(patience) => tracing::debug!("a stream's window stays shut: it is reset"),
    }
}

/// An answer's body, counted as in flight until it is dropped.
pub(super) struct WatchedBody<B> {
    body: B,
    /// HTTP/2: what is left of the frame under way.
    rest: Option<Bytes>,
    http2: bool,
    /// What the body ended with, while the socket has not taken all that came before.
    cut: Option<BoxError>,
    guard: Option<InFlight>,
}

impl<B> WatchedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B, http2: bool, guard: Option<InFlight>) -> Self {
        Self {
            body,
            rest: None,
            http2,
            cut: None,
            guard,
        }
    }

    /// The next frame. An end that is an error makes hyper drop the connection, and what it still holds: it is told once
    /// the socket has that, for those bytes are good, and their reader goes on behind them. hyper writes whenever a body
    /// has nothing for it, and asks the body again when all is written.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.cut.take() {
            if self.guard.as_ref().is_some_and(InFlight::is_write_blocked) {
                self.cut = Some(error);
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(error)));
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => {
                let error = error.into();
                if error.downcast_ref().is_some_and(Cut::is_at_once) {
                    return Poll::Ready(Some(Err(error)));
                }
                self.cut = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Asked for the next: the one before was taken.
        offer(None);
        let mut data = match self.rest.take() {
            Some(rest) => rest,
            None => match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended.map(|ended| ended.map_err(Into::into))),
            },
        };
        let mut piece = data.split_to(data.len().min(PIECE));
        if !data.is_empty() {
            self.rest = Some(data);
        } else if self.body.is_end_stream() {
            piece = Bytes::copy_from_slice(&piece);
        }
        offer(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// A body that is not an HTTP/2 stream's has no offer.
fn offer(since: Option<Instant>) {
    let _ = OFFER.try_with(|offer| offer.set(since));
}

impl<B> Body for WatchedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.http2 {
            self.poll_piece(cx)
        } else {
            self.poll_whole(cx)
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.cut.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, Bytes::len) as u64;
        let hint = self.body.size_hint();
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

//! The answer's body: counts what it hands out, and on its last byte or on being dropped lets the line be written.
//!
//! A body that cannot go on ends with an error, which makes hyper close the connection before `Content-Length` is
//! reached (HTTP/1.1) or reset the stream (HTTP/2): never an end that looks whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use super::caps::Place;
use super::exchange::Exchange;
use crate::telemetry::Abort;

/// Frames that may end early; the error says why.
pub type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Abort>> + Send>>;

/// Why a connection was cut. hyper only needs to see an error; the words are for its debug log.
#[derive(Debug, thiserror::Error)]
#[error("the body was cut: {}", .0.as_str())]
pub struct Cut(pub Abort);

impl Cut {
    /// Whether not even those bytes may follow that are on their way already.
    pub fn is_at_once(&self) -> bool {
        matches!(
            self.0,
            Abort::Revoked | Abort::Expired | Abort::AccessUnavailable
        )
    }
}

/// A body under way.
pub struct Body {
    frames: Option<Frames>,
    first: Option<Bytes>,
    left: Option<u64>,
    /// Whether there is an end to come, though its place is not known.
    ends: bool,
    exchange: Option<Exchange>,
    place: Option<Place>,
}

/// The last frame, which keeps the body's place until it has left.
struct Last {
    frame: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Body {
    /// All of it at once.
    pub fn whole(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self {
            frames: None,
            first: Some(bytes).filter(|bytes| !bytes.is_empty()),
            left,
            ends: true,
            exchange: None,
            place: None,
        }
    }

    /// No byte.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// `first`, then what `frames` bring: exactly `length` bytes in all.
    pub fn media(first: Bytes, frames: Frames, length: u64) -> Self {
        Self {
            frames: Some(frames),
            first: Some(first),
            left: Some(length),
            ends: true,
            exchange: None,
            place: None,
        }
    }

    /// What `frames` bring, to their end: exactly `length` bytes where it is known.
    pub fn relayed(frames: Frames, length: Option<u64>) -> Self {
        Self {
            frames: Some(frames).filter(|_| length != Some(0)),
            first: None,
            left: length,
            ends: true,
            exchange: None,
            place: None,
        }
    }

    /// The same with its frames let through by `guard`.
    pub fn guarded(mut self, guard: impl FnOnce(Frames) -> Frames) -> Self {
        self.frames = self.frames.take().map(guard);
        self
    }

    /// Frames without a known end (server-sent events).
    pub fn endless(frames: Frames) -> Self {
        Self {
            frames: Some(frames),
            first: None,
            left: None,
            ends: false,
            exchange: None,
            place: None,
        }
    }

    /// The exchange whose line is written when this body is done.
    pub fn recorded(mut self, exchange: Exchange) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// The part of what all may hold that this body takes, until its last byte has left.
    pub fn held_by(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// How many bytes may still come.
    pub fn at_most(&self) -> u64 {
        self.left.unwrap_or(u64::MAX)
    }

    fn hand_out(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if let Some(exchange) = &mut self.exchange {
            exchange.sent(bytes.len());
        }
        self.left = self
            .left
            .map(|left| left.saturating_sub(bytes.len() as u64));
        if self.left == Some(0) {
            // Whole: the line is written now, not when hyper gets around to dropping the body.
            self.frames = None;
            self.exchange = None;
            if let Some(place) = self.place.take() {
                let (frame, _place) = (bytes, place);
                bytes = Bytes::from_owner(Last { frame, _place });
            }
        }
        Frame::data(bytes)
    }

    fn cut(&mut self, reason: Abort) -> Cut {
        self.frames = None;
        if let Some(mut exchange) = self.exchange.take() {
            exchange.aborted(reason);
        }
        Cut(reason)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(self.hand_out(first))));
        }
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(None);
        };
        match frames.as_mut().poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(self.hand_out(bytes)))),
            Poll::Ready(Some(Err(reason))) => Poll::Ready(Some(Err(self.cut(reason)))),
            Poll::Ready(None) if self.left.is_none() => {
                self.frames = None;
                self.exchange = None;
                Poll::Ready(None)
            }
            // Frames that end before the length was reached would look whole to nobody, but never rely on that.
            Poll::Ready(None) => Poll::Ready(Some(Err(self.cut(Abort::Storage)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(exchange) = &mut self.exchange
            && self.left.map_or(self.ends, |left| left > 0)
        {
            exchange.dropped();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_cut_ends_with_an_error_and_not_short() {
        let frames = stream::iter([Ok(Bytes::from_static(b"de")), Err(Abort::Revoked)]);
        let body = Body::media(Bytes::from_static(b"abc"), Box::pin(frames), 10);
        assert!(matches!(body.collect().await, Err(Cut(Abort::Revoked))));
    }

    #[tokio::test]
    async fn frames_that_end_early_are_an_error_too() {
        let body = Body::media(Bytes::from_static(b"abc"), Box::pin(stream::empty()), 10);
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn a_whole_body_is_its_bytes() {
        let frames = stream::iter([Ok(Bytes::from_static(b"de"))]);
        let body = Body::media(Bytes::from_static(b"abc"), Box::pin(frames), 5);
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "abcde");
    }
}

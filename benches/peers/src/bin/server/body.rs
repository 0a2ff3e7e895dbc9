//! What an answer carries: nothing, bytes that are there, pieces of an object at a pace, or another server's body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::answer::State;
use peers::Object;

/// In one frame: large enough to be cheap, small enough for a pace.
const FRAME: u64 = 256 << 10;

pub enum Body {
    Empty,
    Whole(Option<Bytes>),
    Pieces(Pieces),
    Passed(Incoming),
}

/// The part of an object from `position` to `end`.
pub struct Pieces {
    state: Arc<State>,
    object: Object,
    position: u64,
    end: u64,
    /// Bytes a second; none: as fast as they are taken.
    rate: Option<f64>,
    wait: Pin<Box<Sleep>>,
}

impl Pieces {
    pub fn new(state: Arc<State>, object: Object, position: u64, end: u64) -> Self {
        let rate = match state.rate.load(Relaxed) {
            0 => None,
            rate => Some(rate as f64),
        };
        let wait = Box::pin(tokio::time::sleep_until(Instant::now()));
        Self {
            state,
            object,
            position,
            end,
            rate,
            wait,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.position == self.end {
            return Poll::Ready(None);
        }
        if self.rate.is_some() {
            ready!(self.wait.as_mut().poll(context));
        }
        let piece = self
            .object
            .piece(self.position, (self.end - self.position).min(FRAME));
        self.position += piece.len() as u64;
        self.state.bytes.fetch_add(piece.len() as u64, Relaxed);
        if let Some(rate) = self.rate {
            // From the last deadline on, not from now: a timer that is late is made up for.
            let next = self.wait.deadline() + Duration::from_secs_f64(piece.len() as f64 / rate);
            self.wait.as_mut().reset(next);
        }
        Poll::Ready(Some(piece))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(whole.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => pieces
                .poll(context)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passed(passed) => Pin::new(passed).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(whole) => SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.end - pieces.position),
            Self::Passed(passed) => passed.size_hint(),
        }
    }
}

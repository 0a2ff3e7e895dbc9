//! The two bodies of a forwarded request, frame by frame: nothing is kept, and each is asked for its next frame when the
//! other side has taken the last, so that a slow reader slows the writer.
//!
//! Both tell when they moved: an exchange is given up when neither does. Trailers are not passed on (RFC 9110 §6.5.1).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::places::Place;
use crate::serve::body::Frames;
use crate::telemetry::Abort;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, as the client sends it.
pub type Upload = UnsyncBoxBody<Bytes, BoxError>;

/// A body to be sent on.
pub fn upload<B>(body: B) -> Upload
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// When one of the two bodies last moved, and who is waited for.
pub(super) struct Progress {
    begun: Instant,
    moved_after: AtomicU64,
    waits_for_client: AtomicBool,
    client_failed: AtomicBool,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            moved_after: AtomicU64::new(0),
            waits_for_client: AtomicBool::new(false),
            client_failed: AtomicBool::new(false),
        }
    }

    /// When something last moved.
    pub(super) fn last(&self) -> Instant {
        self.begun + Duration::from_micros(self.moved_after.load(Relaxed))
    }

    /// For how long nothing has moved.
    pub(super) fn idle(&self) -> Duration {
        self.last().elapsed()
    }

    /// Whether it is the client's turn: the upstream has taken all that came.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Relaxed)
    }

    /// Whether the client's body ended before its end.
    pub(super) fn client_failed(&self) -> bool {
        self.client_failed.load(Relaxed)
    }

    fn moved(&self) {
        let after = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved_after.store(after, Relaxed);
    }
}

/// A request's body on its way to the upstream.
pub(super) struct RequestBody {
    upload: Option<Upload>,
    progress: Arc<Progress>,
}

impl RequestBody {
    pub(super) fn new(upload: Option<Upload>, progress: Arc<Progress>) -> Self {
        Self { upload, progress }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(upload) = &mut this.upload else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(upload).poll_frame(context);
        this.progress
            .waits_for_client
            .store(polled.is_pending(), Relaxed);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.progress.moved();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.progress.client_failed.store(true, Relaxed);
                Poll::Ready(Some(Err(error)))
            }
            // Trailers are the last frame.
            Poll::Ready(Some(Ok(_)) | None) => {
                this.progress.moved();
                this.upload = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.upload.as_ref().map(Body::size_hint);
        hint.unwrap_or(SizeHint::with_exact(0))
    }
}

/// An answer's body on its way to the client. It ends with an error where the upstream stalls for `stall` or breaks
/// off. `place` is given back with its end.
pub(super) fn frames<B>(body: B, progress: Arc<Progress>, stall: Duration, place: Place) -> Frames
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let state = (body, progress, place);
    Box::pin(stream::try_unfold(state, move |mut state| async move {
        let next = next(&mut state.0, &state.1, stall).await?;
        Ok(next.map(|bytes| (bytes, state)))
    }))
}

/// Time runs only while a frame is asked for: a client that reads slowly is no stall of the upstream's.
async fn next<B>(body: &mut B, progress: &Progress, stall: Duration) -> Result<Option<Bytes>, Abort>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut since = Instant::now();
    loop {
        match tokio::time::timeout_at(since + stall, body.frame()).await {
            // It may wait for the rest of the request.
            Err(_) if progress.last() > since => since = progress.last(),
            Err(_) => return Err(Abort::Stalled),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Abort::Upstream),
            Ok(Some(Ok(frame))) => {
                progress.moved();
                match frame.into_data() {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_trailers) => since = Instant::now(),
                }
            }
        }
    }
}

//! A body on its way from storage: exactly as long as its head promised, and never stalled (RFC 9112 §8).

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::innermost;
use crate::backend::{BackendError, ByteStream};

/// As many bytes as must come in the time of a stall: storage that drips (under 6.5 KiB/s at ten seconds) is as good as
/// stalled, and no window takes longer than 128 such times.
const MIN_PROGRESS: u64 = 64 << 10;

/// The bytes of a body, which must be exactly `length`.
pub(super) fn poured(incoming: Incoming, length: u64, stall_timeout: Duration) -> ByteStream {
    let pouring = Pouring {
        frames: incoming.into_data_stream(),
        left: length,
        stall_timeout,
        progress: 0,
        due_at: Instant::now() + stall_timeout,
    };
    Box::pin(stream::try_unfold(pouring, |mut pouring| async move {
        Ok(pouring.next().await?.map(|frame| (frame, pouring)))
    }))
}

struct Pouring {
    frames: BodyDataStream<Incoming>,
    left: u64,
    stall_timeout: Duration,
    /// What came since it was last certain that there is no stall.
    progress: u64,
    /// When there is one.
    due_at: Instant,
}

impl Pouring {
    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        let next = tokio::time::timeout_at(self.due_at, self.frames.next()).await;
        let stalled = |_| BackendError::TimedOut("storage stalled in the middle of a body");
        match next.map_err(stalled)? {
            Some(Ok(frame)) if frame.len() as u64 > self.left => Err(BackendError::Protocol(
                "more bytes than its head promised".into(),
            )),
            Some(Ok(frame)) => {
                self.left -= frame.len() as u64;
                self.progress += frame.len() as u64;
                if self.progress >= MIN_PROGRESS {
                    self.progress = 0;
                    self.due_at = Instant::now() + self.stall_timeout;
                }
                Ok(Some(frame))
            }
            Some(Err(error)) => Err(BackendError::Unavailable(innermost(&error))),
            None if self.left == 0 => Ok(None),
            None => Err(BackendError::Unavailable(format!(
                "the body ended {} bytes early",
                self.left
            ))),
        }
    }
}

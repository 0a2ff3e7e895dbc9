//! A running body asks again: may they still see it? Every 8 MiB, and at the latest every second while bytes flow,
//! against the gate as it is configured then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use super::body::Frames;
use super::error::Failure;
use super::exchange::Recorder;
use super::gate::Gate;
use super::limits::Pace;
use crate::access::Denied;
use crate::auth::Annotator;
use crate::authority::{AuthorityError, Target};
use crate::backend::BackendError;
use crate::content::{ContentError, ContentStream, WINDOW_SIZE};
use crate::media_uri::MediaUri;
use crate::object::ObjectLocation;
use crate::telemetry::Abort;

/// A slow reader is asked about at least this often while it reads: 8 MiB may take it minutes.
pub const ASK_EVERY: Duration = Duration::from_secs(1);

/// Who sees what, to be asked again.
pub struct Recheck {
    /// The gate of the moment.
    pub gate: Arc<ArcSwap<Gate>>,
    /// Where decisions are counted.
    pub recorder: Recorder,
    /// Who.
    pub annotator: Arc<Annotator>,
    /// On which route.
    pub target: Target,
    /// What.
    pub uri: MediaUri,
    /// And where that was when the body began.
    pub location: ObjectLocation,
}

impl Recheck {
    /// Asks the gate of the moment: the same object still, even where its storage was configured anew meanwhile.
    pub async fn ask(&self) -> Result<(), Failure> {
        let gate = self.gate.load_full();
        let admitted = gate
            .admit(&self.annotator, &self.target, &self.uri, &self.recorder)
            .await;
        let (_, object) = admitted?;
        if object.location().storage == self.location.storage {
            Ok(())
        } else {
            Err(Denied::NoStorage.into())
        }
    }
}

/// A running body: what is read, who asks again, how fast.
struct Running {
    source: Source,
    recheck: Recheck,
    pace: Pace,
    unasked: u64,
    asked_at: Instant,
}

/// Where a running body's frames come from.
#[allow(
    clippy::large_enum_variant,
    reason = "one a body, and never moved in a hurry"
)]
pub enum Source {
    /// A storage, through the cache.
    Content(Box<ContentStream>),
    /// The annotation application.
    Application(Frames),
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Abort> {
        match self {
            Self::Content(content) => content.next().await.map_err(|error| abort(&error)),
            Self::Application(frames) => frames.try_next().await,
        }
    }
}

/// How a body stands when its first frame is at hand.
pub struct Begun {
    /// When the gate was asked last.
    pub asked_at: Instant,
    /// The bytes of the first frame: they count towards the next question.
    pub sent: u64,
}

/// The frames after the first.
pub fn rechecked(source: Source, recheck: Recheck, pace: Pace, begun: Begun) -> Frames {
    let running = Running {
        source,
        recheck,
        pace,
        unasked: begun.sent,
        asked_at: begun.asked_at,
    };
    Box::pin(stream::try_unfold(running, |mut running| async move {
        let next = running.next().await?;
        Ok(next.map(|bytes| (bytes, running)))
    }))
}

impl Running {
    async fn next(&mut self) -> Result<Option<Bytes>, Abort> {
        let Some(bytes) = self.source.next().await? else {
            return Ok(None);
        };
        self.pace.throttle(bytes.len() as u64).await;
        // Asked last: what was waited for may have taken long, and these bytes may no longer be theirs.
        self.unasked += bytes.len() as u64;
        if self.unasked > WINDOW_SIZE || self.asked_at.elapsed() >= ASK_EVERY {
            self.recheck.ask().await.map_err(|failure| lost(&failure))?;
            self.unasked = bytes.len() as u64;
            self.asked_at = Instant::now();
        }
        Ok(Some(bytes))
    }
}

/// Why the gate lets no more of a body through.
fn lost(failure: &Failure) -> Abort {
    match failure {
        Failure::Denied(Denied::Expired) => Abort::Expired,
        Failure::Authority(AuthorityError::Unavailable(_)) => Abort::AccessUnavailable,
        _ => Abort::Revoked,
    }
}

/// Why a body that has begun cannot go on.
fn abort(error: &ContentError) -> Abort {
    tracing::warn!(%error, "a body was cut");
    match error {
        ContentError::Backend(BackendError::Changed | BackendError::NotFound) => Abort::Changed,
        ContentError::Backend(BackendError::TimedOut(_)) => Abort::Stalled,
        ContentError::Backend(_) | ContentError::NoStore(_) | ContentError::CannotPresign(_) => {
            Abort::Storage
        }
    }
}

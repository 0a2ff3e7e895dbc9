//! Learns what an object is: by the request that brings its first window where that is possible, else by a HEAD, and
//! by a condition where something is known already (RFC 9111 §4.3).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::fetch::Begun;
use super::object::{Object, Source};
use super::outage::Trial;
use super::plan::Wanted;
use super::single_flight::Interest;
use super::windows::Follower;
use super::{Known, Shelf, Store};
use crate::backend::retry::Tries;
use crate::backend::{BackendError, Call, Condition, Conditional};
use crate::object::{ObjectLocation, ObjectMeta, ObjectVersion};
use crate::telemetry::TraceContext;

/// How long a version's metadata is taken from memory, however often its validator is confirmed meanwhile.
const METADATA_LIFE: Duration = Duration::from_secs(300);

/// What storage said of an object.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) known: Known,
    /// The window that the same answer brings; it is fetched as long as somebody holds this.
    pub(super) begun: Option<Arc<Opening>>,
}

/// The window that an opening has begun.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) window: Range<u64>,
    _follower: Follower,
}

impl From<Known> for Answered {
    fn from(known: Known) -> Self {
        Self { known, begun: None }
    }
}

/// What an object is now, asked of storage.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) store: Arc<Store>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) location: ObjectLocation,
    pub(super) known: Option<Known>,
    pub(super) wanted: Option<Wanted>,
    pub(super) trace: Option<TraceContext>,
}

impl Question {
    /// The answer; `None` where its turn came when nobody waited any more.
    pub(super) async fn answer(self, interest: Interest) -> Option<Result<Answered, BackendError>> {
        let slot = match self.store.slots.take(|| interest.is_alive()).await {
            Ok(slot) => slot?,
            Err(error) => return Some(Err(error)),
        };
        let answer = self.put(slot).await;
        self.store.outage.heard(&answer);
        match &answer {
            Ok(answered) => self.shelf.learn(&self.location, &answered.known),
            Err(error) if !error.is_outage() => self.shelf.forget(&self.location),
            Err(_) => {}
        }
        Some(answer)
    }

    /// Tries a storage that is down, for its metadata alone: nobody waits for it.
    pub(super) async fn try_again(mut self, trial: Trial) {
        self.wanted = None;
        self.answer(Interest::default()).await;
        drop(trial);
    }

    /// A version of the object, to be read.
    pub(super) fn object(&self, known: Known) -> Object {
        Object {
            known,
            store: self.store.clone(),
            shelf: self.shelf.clone(),
            trace: self.trace,
        }
    }

    async fn put(&self, slot: OwnedSemaphorePermit) -> Result<Answered, BackendError> {
        match self.missing() {
            Some(window) => match self.fetch(window, slot).await {
                // The object is empty or ends before that window: its metadata says which.
                Err(BackendError::RangeNotSatisfiable) => Ok(self.head().await?.into()),
                answer => answer,
            },
            None => Ok(self.head().await?.into()),
        }
    }

    /// The window to fetch: nothing, where its beginning is at hand, or known not to exist, in the version that was known.
    fn missing(&self) -> Option<Range<u64>> {
        let wanted = self.wanted.as_ref()?;
        let Some(known) = &self.known else {
            // As long as an object can be, so that the last window is asked for whole; storage cuts it at the end.
            return Some(wanted.window(u64::MAX));
        };
        let position = wanted.left.start;
        let object = self.object(known.clone());
        let is_there = position >= known.meta.complete_length
            || self.shelf.windows.has(&known.version, position)
            || object.cached(position).is_some()
            || object.is_below(position);
        (!is_there).then(|| object.window(wanted))
    }

    async fn head(&self) -> Result<Known, BackendError> {
        // The same validator does not mean the same metadata: an object may be given another type in place. So now and
        // then the question is put without a condition; a HEAD costs the same either way.
        let condition = match &self.known {
            Some(known) if known.learned_at.elapsed() < METADATA_LIFE => {
                Condition::IfNoneMatch(known.meta.etag.clone())
            }
            Some(_) | None => Condition::None,
        };
        let asked_at = Instant::now();
        match (
            self.store.backend.head(self.call().on(condition)).await?,
            &self.known,
        ) {
            (Conditional::Is(meta), _) => Ok(self.vouched(meta, asked_at)),
            (Conditional::NotModified, Some(known)) => Ok(Known {
                vouched_at: asked_at,
                ..known.clone()
            }),
            (Conditional::NotModified, None) => {
                Err(BackendError::Protocol("a 304 to no condition".into()))
            }
        }
    }

    /// What storage has just said. The version keeps its identity where the validator did: its other metadata may
    /// have changed all the same.
    fn vouched(&self, meta: ObjectMeta, asked_at: Instant) -> Known {
        let version = match &self.known {
            Some(known) if known.meta.etag == meta.etag => known.version.clone(),
            Some(_) | None => Arc::new(ObjectVersion {
                location: self.location.clone(),
                etag: meta.etag.clone(),
            }),
        };
        Known {
            meta: Arc::new(meta),
            version,
            learned_at: asked_at,
            vouched_at: asked_at,
        }
    }

    /// The first window, whatever version it is of: its head is the metadata, its body fills the window.
    async fn fetch(
        &self,
        window: Range<u64>,
        slot: OwnedSemaphorePermit,
    ) -> Result<Answered, BackendError> {
        let (asked_at, tries) = (Instant::now(), Tries::default());
        let call = Call {
            tries: tries.clone(),
            ..self.call()
        };
        match self.store.backend.get(call, window).await? {
            Conditional::Is(fetched) => {
                let known = self.vouched(fetched.meta.clone(), asked_at);
                let window = fetched.range.clone();
                let first = Begun {
                    fetched,
                    tries,
                    _slot: slot,
                };
                let (source, _) = self.object(known.clone()).join(window, Some(first), None);
                let begun = match source {
                    Source::Fetched(window, follower) => Some(Arc::new(Opening {
                        window: window.range(),
                        _follower: follower,
                    })),
                    Source::Cached(_) => None,
                };
                Ok(Answered { known, begun })
            }
            Conditional::NotModified => Err(BackendError::Protocol("a 304 to no condition".into())),
        }
    }

    fn call(&self) -> Call<'_> {
        Call {
            trace: self.trace,
            ..Call::about(&self.location)
        }
    }
}

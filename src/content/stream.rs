//! A reader of one range of one version, chunk after chunk, frame after frame.
//!
//! Between two frames it holds no chunk: a reader that pauses keeps one segment alive and no more. What it read from
//! is looked up again by key, joined where it is under way, and fetched where it is gone.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::object::Object;
use super::window::{Failure, Window};
use super::{ContentError, Opened, plan};
use crate::backend::BackendError;
use crate::cache::{CHUNK_SIZE, CacheStatus, Chunk, WeakChunk};
use crate::telemetry::Tier;

/// The bytes of a range, to be asked for one frame at a time.
pub struct ContentStream {
    object: Object,
    begun_at: u64,
    left: Range<u64>,
    held: Option<(u64, Held)>,
    read_ahead: Option<u64>,
    status: CacheStatus,
    /// The chunk whose fetch was last begun for this reader: its failure is this reader's own.
    tried: Option<u64>,
    /// What storage failed with just before: the first chunk is not asked for in vain once more.
    failure: Option<BackendError>,
}

/// Where a chunk's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The cache.
    Cached(Chunk),
    /// A fetch, under way or just done.
    Fetched(Arc<Window>),
}

enum Held {
    Cached(WeakChunk),
    Fetched(Weak<Window>, Failure),
}

impl Source {
    fn hold(&self) -> Held {
        match self {
            Self::Cached(chunk) => Held::Cached(chunk.downgrade()),
            Self::Fetched(window) => Held::Fetched(Arc::downgrade(window), window.failure()),
        }
    }

    async fn at(&self, offset: u64) -> Result<Bytes, BackendError> {
        match self {
            Self::Cached(chunk) => chunk
                .at(offset)
                .ok_or_else(|| BackendError::Protocol("a read past its chunk".into())),
            Self::Fetched(window) => window.at(offset).await,
        }
    }
}

impl Held {
    /// `None`: what was held is gone, and may be had elsewhere. An error: it is gone because it failed.
    fn source(&self) -> Result<Option<Source>, BackendError> {
        match self {
            Self::Cached(chunk) => Ok(chunk.upgrade().map(Source::Cached)),
            Self::Fetched(window, failure) => match (window.upgrade(), failure.get()) {
                (Some(window), _) => Ok(Some(Source::Fetched(window))),
                (None, Some(error)) => Err(error.clone()),
                (None, None) => Ok(None),
            },
        }
    }
}

impl ContentStream {
    pub(super) fn new(opened: Opened, range: Range<u64>) -> Self {
        Self {
            object: opened.object,
            begun_at: range.start,
            left: range,
            held: None,
            read_ahead: None,
            status: opened.status,
            tried: opened.begun,
            failure: opened.failure,
        }
    }

    /// How the bytes so far were had: the worst of their chunks.
    pub fn status(&self) -> CacheStatus {
        self.status
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// The next bytes; `None` after the last. After an error there are no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let position = self.left.start;
        let index = plan::chunk_index(position);
        let mut bytes = match self.read(index, position % CHUNK_SIZE).await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.left.end = position;
                return Err(self.object.explain(error));
            }
        };
        bytes.truncate(usize::try_from(self.left()).unwrap_or(usize::MAX));
        self.left.start += bytes.len() as u64;
        self.read_ahead().await;
        Ok(Some(bytes))
    }

    async fn read(&mut self, index: u64, offset: u64) -> Result<Bytes, BackendError> {
        match self.try_read(index, offset).await {
            // A fetch that others began has failed: that is not this reader's failure until its own try fails.
            Err(error) if error.is_transient() && self.tried != Some(index) => {
                (self.held, self.tried) = (None, Some(index));
                self.try_read(index, offset).await
            }
            read => read,
        }
    }

    async fn try_read(&mut self, index: u64, offset: u64) -> Result<Bytes, BackendError> {
        let held = match &self.held {
            Some((held_index, held)) if *held_index == index => held.source()?,
            Some(_) | None => None,
        };
        match held {
            Some(source) => source.at(offset).await,
            None => self.look_up(index).await?.at(offset).await,
        }
    }

    async fn look_up(&mut self, index: u64) -> Result<Source, BackendError> {
        let failure = self.failure.take();
        if failure.is_some() {
            self.tried = Some(index);
        }
        let (source, status) = self.object.source(index, failure).await?;
        self.status = self.status.max(status);
        self.object
            .shelf
            .metrics
            .cache_request(Tier::Memory, status.into());
        if status == CacheStatus::Miss {
            self.tried = Some(index);
        }
        self.held = Some((index, source.hold()));
        Ok(source)
    }

    /// Starts the fetch of the next chunk, once, when this reader is well on its way to it.
    async fn read_ahead(&mut self) {
        let next = plan::read_ahead(self.begun_at, self.left.start, self.left.end);
        if let Some(next) = next.filter(|next| self.read_ahead != Some(*next)) {
            self.read_ahead = Some(next);
            // What is fetched ahead counts as fetched when it is read; here nobody waits for it.
            let _ = self.object.source(next, None).await;
        }
    }
}

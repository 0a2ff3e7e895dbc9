//! A reader of one range of one version, chunk after chunk, frame after frame.
//!
//! Between two frames it holds no chunk: a reader that pauses keeps one segment alive and no more. What it read from
//! is looked up again by key, joined where it is under way, and fetched where it is gone.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::window::Window;
use super::{ContentError, Object, plan};
use crate::backend::BackendError;
use crate::cache::{CHUNK_SIZE, CacheStatus, Chunk, WeakChunk};
use crate::telemetry::Tier;

/// The bytes of a range, to be asked for one frame at a time.
pub struct ContentStream {
    object: Object,
    begun_at: u64,
    left: Range<u64>,
    held: Option<(u64, Held, bool)>,
    read_ahead: Option<u64>,
    status: CacheStatus,
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
    Fetched(Weak<Window>),
}

impl Source {
    fn hold(&self) -> Held {
        match self {
            Self::Cached(chunk) => Held::Cached(chunk.downgrade()),
            Self::Fetched(window) => Held::Fetched(Arc::downgrade(window)),
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
    fn source(&self) -> Option<Source> {
        match self {
            Self::Cached(chunk) => chunk.upgrade().map(Source::Cached),
            Self::Fetched(window) => window.upgrade().map(Source::Fetched),
        }
    }
}

impl ContentStream {
    pub(super) fn new(object: Object, range: Range<u64>, status: CacheStatus) -> Self {
        Self {
            object,
            begun_at: range.start,
            left: range,
            held: None,
            read_ahead: None,
            status,
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
        let held = match &self.held {
            Some((held_index, held, leads)) if *held_index == index => {
                held.source().map(|source| (source, *leads))
            }
            Some(_) | None => None,
        };
        let (source, leads) = match held {
            Some(held) => held,
            None => self.look_up(index).await,
        };
        match source.at(offset).await {
            // A fetch that others began has failed: that is not this reader's failure until its own try fails.
            Err(error) if !leads && error.is_transient() => {
                let (source, _) = self.look_up(index).await;
                source.at(offset).await
            }
            read => read,
        }
    }

    async fn look_up(&mut self, index: u64) -> (Source, bool) {
        let (source, status) = self.object.source(index).await;
        self.status = self.status.max(status);
        self.object
            .shelf
            .metrics
            .cache_request(Tier::Memory, status.into());
        let leads = status == CacheStatus::Miss;
        self.held = Some((index, source.hold(), leads));
        (source, leads)
    }

    /// Starts the fetch of the next chunk, once, when this reader is well on its way to it.
    async fn read_ahead(&mut self) {
        let next = plan::read_ahead(self.begun_at, self.left.start, self.left.end);
        if let Some(next) = next.filter(|next| self.read_ahead != Some(*next)) {
            self.read_ahead = Some(next);
            // What is fetched ahead counts as fetched when it is read; here nobody waits for it.
            self.object.source(next).await;
        }
    }
}

//! A reader of one range of one version, frame after frame.
//!
//! Between two frames it holds no bytes: a reader that pauses keeps what it was given last and no more. It follows the
//! window that it reads from, and the one that it is about to come to, so that these are fetched as long as it is there.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::object::{Object, Source};
use super::open::Opening;
use super::plan::{self, Extent, Wanted};
use super::window::{Failure, Window};
use super::windows::Follower;
use super::{ContentError, Opened};
use crate::backend::BackendError;
use crate::cache::CacheStatus;
use crate::telemetry::Tier;

/// The bytes of a range, to be asked for one frame at a time.
pub struct ContentStream {
    object: Object,
    wanted: Wanted,
    held: Option<Held>,
    ahead: Option<Ahead>,
    status: CacheStatus,
    /// The window whose fetch was last begun for this reader: its failure is this reader's own.
    tried: Range<u64>,
    /// What storage failed with just before: the first bytes are not asked for in vain once more.
    failure: Option<BackendError>,
    /// What the opening began is fetched until this reader has come to it.
    opening: Option<Arc<Opening>>,
}

/// The window that is read from.
struct Held {
    window: Weak<Window>,
    range: Range<u64>,
    failure: Failure,
    _follower: Follower,
}

/// The window behind it.
struct Ahead {
    start: u64,
    /// Whether its fetch was begun for this reader.
    leads: bool,
    _follower: Option<Follower>,
}

impl ContentStream {
    pub(super) fn new(opened: Opened, range: Range<u64>, extent: Extent) -> Self {
        let opening = opened.begun;
        // Who shares somebody's answer has not tried themselves.
        let own = opening
            .as_ref()
            .filter(|_| opened.status != CacheStatus::Updating);
        let tried = own.map_or(0..0, |begun| begun.window.clone());
        Self {
            object: opened.object,
            wanted: Wanted {
                begun_at: range.start,
                left: range,
                extent,
            },
            held: None,
            ahead: None,
            status: opened.status,
            tried,
            failure: opened.failure,
            opening,
        }
    }

    /// How the bytes so far were had: the worst of their chunks.
    pub fn status(&self) -> CacheStatus {
        self.status
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.wanted.left.end - self.wanted.left.start
    }

    /// The next bytes; `None` after the last. After an error there are no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.wanted.left.is_empty() {
            return Ok(None);
        }
        let mut bytes = match self.read().await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.wanted.left.end = self.wanted.left.start;
                return Err(self.object.explain(error));
            }
        };
        bytes.truncate(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let position = self.wanted.left.start;
        self.wanted.left.start += bytes.len() as u64;
        self.read_ahead(position);
        Ok(Some(bytes))
    }

    async fn read(&mut self) -> Result<Bytes, BackendError> {
        let position = self.wanted.left.start;
        match self.try_read(position).await {
            // A fetch that others began has failed: that is not this reader's failure until its own try fails.
            Err(error) if error.is_transient() && !self.tried.contains(&position) => {
                (self.held, self.tried) = (None, position..position + 1);
                self.try_read(position).await
            }
            read => read,
        }
    }

    async fn try_read(&mut self, position: u64) -> Result<Bytes, BackendError> {
        let window = match &self.held {
            Some(held) if held.range.contains(&position) => held.window(),
            Some(_) | None => Ok(None),
        };
        let source = match window {
            Ok(Some(window)) => return window.at(position).await,
            Ok(None) => self.look_up()?,
            // What was whole before it failed is still to be had.
            Err(error) => Source::Cached(self.object.cached(position).ok_or(error)?),
        };
        match source {
            Source::Cached(chunk) => {
                let within =
                    position - plan::chunk_range(plan::chunk_index(position), u64::MAX).start;
                let past_end = || BackendError::Protocol("a read past its chunk".into());
                chunk.at(within).ok_or_else(past_end)
            }
            Source::Fetched(window, follower) => {
                self.held = Some(Held {
                    window: Arc::downgrade(&window),
                    range: window.range(),
                    failure: window.failure(),
                    _follower: follower,
                });
                window.at(position).await
            }
        }
    }

    fn look_up(&mut self) -> Result<Source, BackendError> {
        self.held = None;
        let position = self.wanted.left.start;
        let failure = self.failure.take();
        if failure.is_some() {
            self.tried = position..position + 1;
        }
        let (source, mut status) = self.object.source(&self.wanted, failure)?;
        if let (Source::Fetched(window, _), CacheStatus::Miss) = (&source, status) {
            self.tried = window.range();
        }
        // What was fetched ahead counts as fetched when it is read.
        if self
            .ahead
            .take_if(|ahead| ahead.start == position && ahead.leads)
            .is_some()
        {
            status = CacheStatus::Miss;
        }
        self.opening = None;
        self.status = self.status.max(status);
        self.object
            .shelf
            .metrics
            .cache_request(Tier::Memory, status.into());
        Ok(source)
    }

    /// Starts the fetch of what comes next, once, when this reader is well on its way to it.
    fn read_ahead(&mut self, read: u64) {
        let present = match &self.held {
            Some(held) if held.range.contains(&read) => held.range.clone(),
            Some(_) | None => plan::chunk_range(plan::chunk_index(read), u64::MAX),
        };
        let Some(start) = self.wanted.ahead(&present) else {
            return;
        };
        if self
            .ahead
            .as_ref()
            .is_some_and(|ahead| ahead.start == start)
        {
            return;
        }
        let wanted = Wanted {
            left: start..self.wanted.left.end,
            ..self.wanted.clone()
        };
        let (follower, leads) = self.object.ahead(&wanted).unzip();
        self.ahead = Some(Ahead {
            start,
            leads: leads.unwrap_or(false),
            _follower: follower,
        });
    }
}

impl Held {
    /// `None`: what was held is gone, and may be had elsewhere. An error: it is gone because it failed.
    fn window(&self) -> Result<Option<Arc<Window>>, BackendError> {
        match (self.window.upgrade(), self.failure.get()) {
            (Some(window), _) => Ok(Some(window)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }
}

//! One version of an object: where its bytes are to be had, and what an error says of it.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::fetch::{Begun, Fetch, Filling};
use super::plan::{self, Wanted};
use super::window::Window;
use super::windows::{Follower, Joined};
use super::{ContentError, Known, Shelf, Store};
use crate::backend::BackendError;
use crate::cache::{CacheStatus, Chunk, ChunkKey};
use crate::telemetry::TraceContext;

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The cache.
    Cached(Chunk),
    /// A fetch, under way or just done.
    Fetched(Arc<Window>, Follower),
}

/// One version of an object, and everything needed to read it.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) known: Known,
    pub(super) store: Arc<Store>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) trace: Option<TraceContext>,
}

impl Object {
    /// Where the next bytes are to be had: cached, under way, or from a fetch that begins now; or the failure, where
    /// storage has failed at this very moment and nothing is to be fetched.
    pub(super) fn source(
        &self,
        wanted: &Wanted,
        failure: Option<BackendError>,
    ) -> Result<(Source, CacheStatus), BackendError> {
        let position = wanted.left.start;
        if let Some(chunk) = self.cached(position) {
            return Ok((Source::Cached(chunk), CacheStatus::Hit));
        }
        match failure {
            Some(error)
                if !self.shelf.windows.has(&self.known.version, position)
                    && !self.is_below(position) =>
            {
                Err(error)
            }
            Some(_) | None => Ok(self.join(self.window(wanted), None, None)),
        }
    }

    /// Follows the window that a reader will come to, and begins it where there is none; `true` where it was begun.
    /// Nothing, where its beginning is cached, or all readers together read ahead enough.
    pub(super) fn ahead(&self, wanted: &Wanted) -> Option<(Follower, bool)> {
        let position = wanted.left.start;
        if self.shelf.chunks.has(&self.key(position)) {
            return None;
        }
        let permit = match self.shelf.windows.has(&self.known.version, position) {
            true => None,
            false => Some(self.shelf.ahead.clone().try_acquire_owned().ok()?),
        };
        match self.join(self.window(wanted), None, permit) {
            (Source::Fetched(_, follower), status) => Some((follower, status == CacheStatus::Miss)),
            (Source::Cached(_), _) => None,
        }
    }

    /// The chunk that holds a position, if it is cached.
    pub(super) fn cached(&self, position: u64) -> Option<Chunk> {
        self.shelf.chunks.get(&self.key(position))
    }

    /// Whether the chunk that holds a position is in the tier below memory.
    pub(super) fn is_below(&self, position: u64) -> bool {
        self.shelf.lower.has(&self.key(position))
    }

    /// The window to ask storage for, or to read from the tier below: it ends before what is cached already, and where
    /// the other of the two begins.
    pub(super) fn window(&self, wanted: &Wanted) -> Range<u64> {
        let window = wanted.window(self.known.meta.complete_length);
        let later = plan::chunk_index(window.start) + 1..plan::chunk_index(window.end - 1) + 1;
        let below = self.is_below(window.start);
        let end = later
            .map(|index| plan::chunk_range(index, window.end).start)
            .find(|start| {
                self.shelf.chunks.has(&self.key(*start)) || self.is_below(*start) != below
            });
        window.start..end.unwrap_or(window.end)
    }

    /// Joins the window that begins with, or holds, the beginning of `wanted`, or begins it, with `first` where storage
    /// has answered already.
    pub(super) fn join(
        &self,
        wanted: Range<u64>,
        first: Option<Begun>,
        ahead: Option<OwnedSemaphorePermit>,
    ) -> (Source, CacheStatus) {
        let version = &self.known.version;
        let (window, follower) = match self.shelf.windows.join(version, wanted) {
            Joined::Follows(window, follower) => {
                let status = match window.is_whole() {
                    true => CacheStatus::Hit,
                    false => CacheStatus::Updating,
                };
                return (Source::Fetched(window, follower), status);
            }
            Joined::Leads(window, follower) => (window, follower),
        };
        let fetch = Fetch {
            backend: self.store.backend.clone(),
            slots: self.store.slots.clone(),
            outage: self.store.outage.clone(),
            version: version.clone(),
            meta: self.known.meta.clone(),
            trace: self.trace,
            chunks: self.shelf.chunks.clone(),
            lower: self.shelf.lower.clone(),
            _ahead: ahead,
        };
        let status = match first.is_none() && self.is_below(window.range().start) {
            true => CacheStatus::Hit,
            false => CacheStatus::Miss,
        };
        let filling = Filling::new(version.clone(), window.clone(), self.shelf.windows.clone());
        self.shelf.tasks.spawn(fetch.run(filling, first));
        (Source::Fetched(window, follower), status)
    }

    fn key(&self, position: u64) -> ChunkKey {
        ChunkKey {
            version: self.known.version.clone(),
            index: plan::chunk_index(position),
        }
    }

    /// An error as the reader's: a version that is gone is no longer believed in.
    pub(super) fn explain(&self, error: BackendError) -> ContentError {
        if !error.is_outage() {
            let location = &self.known.version.location;
            let believed = self.shelf.known.get(location);
            if believed.is_some_and(|known| known.version == self.known.version) {
                self.shelf.forget(location);
            }
        }
        ContentError::Backend(error)
    }
}

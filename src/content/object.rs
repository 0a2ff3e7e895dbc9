//! One version of an object: where each of its chunks is to be had, and what an error says of it.

use std::sync::Arc;

use super::fetch::{Begun, Fetch, Filling};
use super::stream::Source;
use super::windows::Joined;
use super::{ContentError, Known, Shelf, Store, plan};
use crate::backend::BackendError;
use crate::cache::{CacheStatus, ChunkKey};
use crate::telemetry::TraceContext;

/// One version of an object, and everything needed to read it.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) known: Known,
    pub(super) store: Store,
    pub(super) shelf: Arc<Shelf>,
    pub(super) trace: Option<TraceContext>,
}

impl Object {
    /// Where a chunk's bytes are to be had: cached, under way, or from a fetch that begins now; or the failure, where
    /// storage has failed at this very moment and nothing is to be fetched.
    pub(super) async fn source(
        &self,
        index: u64,
        failure: Option<BackendError>,
    ) -> Result<(Source, CacheStatus), BackendError> {
        let key = self.key(index);
        if let Some(chunk) = self.shelf.chunks.get(&key).await {
            return Ok((Source::Cached(chunk), CacheStatus::Hit));
        }
        match failure {
            Some(error) if !self.shelf.windows.has(&key) => Err(error),
            Some(_) | None => Ok(self.join(index, None)),
        }
    }

    /// Joins the window of a chunk, or begins it, with `first` where storage has answered already.
    pub(super) fn join(&self, index: u64, first: Option<Begun>) -> (Source, CacheStatus) {
        let key = self.key(index);
        let window = match self.shelf.windows.join(&key) {
            Joined::Follows(window) => {
                let status = if window.whole().is_some() {
                    CacheStatus::Hit
                } else {
                    CacheStatus::Updating
                };
                return (Source::Fetched(window), status);
            }
            Joined::Leads(window) => window,
        };
        let fetch = Fetch {
            backend: self.store.backend.clone(),
            slots: self.store.slots.clone(),
            outage: self.store.outage.clone(),
            key: key.clone(),
            range: plan::chunk_range(index, self.known.meta.complete_length),
            meta: self.known.meta.clone(),
            trace: self.trace,
        };
        let filling = Filling::new(key, window.clone(), self.shelf.windows.clone());
        self.shelf
            .tasks
            .spawn(fetch.run(filling, first, self.shelf.chunks.clone()));
        (Source::Fetched(window), CacheStatus::Miss)
    }

    fn key(&self, index: u64) -> ChunkKey {
        ChunkKey {
            version: self.known.version.clone(),
            index,
        }
    }

    /// An error as the reader's: a version that is gone is no longer believed in.
    pub(super) fn explain(&self, error: BackendError) -> ContentError {
        if !error.is_outage() {
            let location = &self.known.version.location;
            let believed = self.shelf.known.get(location);
            if believed.is_some_and(|known| known.version == self.known.version) {
                self.shelf.known.invalidate(location);
            }
        }
        ContentError::Backend(error)
    }
}

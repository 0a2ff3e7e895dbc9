//! Which bytes: opens an object, plans chunks, and streams them through the cache with one fetch per window.
//!
//! Knows no person: what it is handed is a `ResolvedObject`, which only a `Permit` makes. Metadata is believed for
//! `cache.metadata_max_age` and revalidated with `If-None-Match` (RFC 9111 §4.3); every read is pinned to its version.

mod fetch;
mod open;
pub mod plan;
mod single_flight;
mod slots;
mod stream;
mod sync;
mod tasks;
#[cfg(test)]
mod tests;
mod window;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendError, Presign, PresignOptions, PresignedUrl};
use crate::cache::{CHUNK_SIZE, CacheStatus, ChunkKey, ChunkStore};
use crate::ids::StorageId;
use crate::object::{ObjectLocation, ObjectMeta, ObjectVersion};
use crate::range::ByteRange;
use crate::resolve::ResolvedObject;
use crate::telemetry::{Metrics, Tier};
use fetch::{Begun, Fetch, Filling};
use open::Question;
use single_flight::SingleFlight;
use slots::Slots;
pub use stream::ContentStream;
use stream::Source;
use tasks::Tasks;
use windows::{Joined, Windows};

/// A position past this is in no object; no store has one of 2^63 bytes, and some ignore a range that begins there.
const MAX_POSITION: u64 = i64::MAX as u64 - CHUNK_SIZE;
/// How often somebody asks again whose question was given up as they came.
const MAX_ASKS: usize = 3;
/// How many objects' metadata are remembered (about 500 bytes each).
const MAX_METADATA: u64 = 200_000;

/// The `[cache]` section's part that this room wants; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentConfig {
    /// How long metadata is believed without asking storage: a changed object is noticed after at most this long.
    pub metadata_max_age: Duration,
}

/// Why there are no bytes. `serve::error` chooses the status.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContentError {
    /// Storage said no, or nothing.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no such storage here.
    #[error("there is no storage {0}")]
    NoStore(StorageId),
    /// The storage cannot make URLs, and its delivery is `redirect`.
    #[error("storage {0} cannot presign")]
    CannotPresign(StorageId),
}

/// What the client will read first: it decides which request to storage answers two questions at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRead {
    /// No byte (HEAD), or bytes counted from an end that is not known yet.
    Unknown,
    /// From this position on.
    At(u64),
}

/// One storage to read from.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    presign: Option<Arc<dyn Presign>>,
    slots: Slots,
}

impl Store {
    /// A storage; `presign` where it can make URLs.
    pub fn new(backend: Arc<dyn Backend>, presign: Option<Arc<dyn Presign>>) -> Self {
        Self {
            backend,
            presign,
            slots: Slots::default(),
        }
    }
}

/// What survives a reload of the configuration: the cache, what is known of objects, the fetches under way.
pub struct Shelf {
    chunks: Arc<dyn ChunkStore>,
    known: moka::sync::Cache<ObjectLocation, Known>,
    opens: SingleFlight<(ObjectLocation, Option<u64>), Result<Known, BackendError>>,
    windows: Arc<Windows>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Shelf {
    /// An empty one over a chunk store.
    pub fn new(chunks: Arc<dyn ChunkStore>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            chunks,
            known: moka::sync::Cache::new(MAX_METADATA),
            opens: SingleFlight::default(),
            windows: Arc::default(),
            tasks: Tasks::default(),
            metrics,
        })
    }

    /// Remembers what storage said, unless somebody has asked later and knows already.
    fn learn(&self, location: &ObjectLocation, known: &Known) {
        let later = self
            .known
            .get(location)
            .is_some_and(|held| held.vouched_at > known.vouched_at);
        if !later {
            self.known.insert(location.clone(), known.clone());
        }
    }

    /// How many bytes of chunks are kept.
    pub fn cached_bytes(&self) -> u64 {
        self.chunks.bytes()
    }
}

/// An object's metadata, when storage gave it, and when storage last vouched for its version.
#[derive(Clone, Debug)]
struct Known {
    meta: Arc<ObjectMeta>,
    version: Arc<ObjectVersion>,
    learned_at: Instant,
    vouched_at: Instant,
}

/// An object that was opened: its metadata, and the way to its bytes.
#[derive(Clone)]
pub struct Opened {
    object: Object,
    status: CacheStatus,
}

impl Opened {
    /// The metadata of the version that will be read.
    pub fn meta(&self) -> &ObjectMeta {
        &self.object.known.meta
    }

    /// How the metadata was had.
    pub fn status(&self) -> CacheStatus {
        self.status
    }

    /// The bytes of a range of this version.
    pub fn stream(&self, range: &ByteRange) -> ContentStream {
        ContentStream::new(self.object.clone(), range.range(), self.status)
    }
}

/// The reader of all storages.
pub struct Reader {
    stores: HashMap<StorageId, Store>,
    shelf: Arc<Shelf>,
    config: ContentConfig,
}

impl Reader {
    /// A reader over these storages; what is in no storage of these is not there.
    pub fn new(
        stores: HashMap<StorageId, Store>,
        shelf: Arc<Shelf>,
        config: ContentConfig,
    ) -> Self {
        Self {
            stores,
            shelf,
            config,
        }
    }

    /// Learns what the object is, from memory where that is fresh, else from storage: by the very request that
    /// brings the first bytes where that is possible.
    pub async fn open(
        &self,
        resolved: &ResolvedObject,
        first: FirstRead,
        traceparent: Option<&str>,
    ) -> Result<Opened, ContentError> {
        let store = self.store(resolved)?;
        let location = resolved.location();
        let opened = |known, status: CacheStatus| {
            self.shelf
                .metrics
                .cache_request(Tier::Metadata, status.into());
            let (store, shelf) = (store.clone(), self.shelf.clone());
            Opened {
                object: Object {
                    known,
                    store,
                    shelf,
                    traceparent: traceparent.map(str::to_owned),
                },
                status,
            }
        };
        let known = self.shelf.known.get(location);
        if let Some(known) = &known
            && known.vouched_at.elapsed() < self.config.metadata_max_age
        {
            return Ok(opened(known.clone(), CacheStatus::Hit));
        }
        let index = match first {
            FirstRead::At(position) if position <= MAX_POSITION => {
                Some(plan::chunk_index(position))
            }
            FirstRead::At(_) | FirstRead::Unknown => None,
        };
        let question = Question {
            store: store.clone(),
            shelf: self.shelf.clone(),
            location: location.clone(),
            known: known.clone(),
            index,
            traceparent: traceparent.map(str::to_owned),
        };
        let (fresh, leads) = self.ask(&question).await?;
        let status = match &known {
            _ if !leads => CacheStatus::Updating,
            Some(known) if known.version == fresh.version => CacheStatus::Revalidated,
            Some(_) | None => CacheStatus::Miss,
        };
        Ok(opened(fresh, status))
    }

    /// Asks, or shares the answer of who asks already.
    async fn ask(&self, question: &Question) -> Result<(Known, bool), BackendError> {
        let key = (question.location.clone(), question.index);
        for _ in 0..MAX_ASKS {
            let asked = |interest| question.clone().answer(interest);
            let (answer, leads) = self
                .shelf
                .opens
                .run(&self.shelf.tasks, key.clone(), asked)
                .await;
            // Given up: those who asked first had left just before this one came.
            if let Some(answer) = answer {
                return Ok((answer?, leads));
            }
        }
        Err(BackendError::Unavailable("the request was given up".into()))
    }

    /// A presigned URL of the object.
    pub async fn presign(
        &self,
        resolved: &ResolvedObject,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, ContentError> {
        let presign = self.store(resolved)?.presign.as_ref();
        let presign = presign
            .ok_or_else(|| ContentError::CannotPresign(resolved.location().storage.clone()))?;
        Ok(presign.presign(resolved.location(), options).await?)
    }

    fn store(&self, resolved: &ResolvedObject) -> Result<&Store, ContentError> {
        let storage = &resolved.location().storage;
        self.stores
            .get(storage)
            .ok_or_else(|| ContentError::NoStore(storage.clone()))
    }
}

/// One version of an object, and everything needed to read it.
#[derive(Clone)]
pub(crate) struct Object {
    known: Known,
    store: Store,
    shelf: Arc<Shelf>,
    traceparent: Option<String>,
}

impl Object {
    /// Where a chunk's bytes are to be had: cached, under way, or from a fetch that begins now.
    async fn source(&self, index: u64) -> (Source, CacheStatus) {
        match self.shelf.chunks.get(&self.key(index)).await {
            Some(chunk) => (Source::Cached(chunk), CacheStatus::Hit),
            None => self.join(index, None),
        }
    }

    /// Joins the window of a chunk, or begins it, with `first` where storage has answered already.
    fn join(&self, index: u64, first: Option<Begun>) -> (Source, CacheStatus) {
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
            key: key.clone(),
            range: plan::chunk_range(index, self.known.meta.complete_length),
            complete_length: self.known.meta.complete_length,
            traceparent: self.traceparent.clone(),
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
    fn explain(&self, error: BackendError) -> ContentError {
        if matches!(error, BackendError::Changed | BackendError::NotFound) {
            let location = &self.known.version.location;
            let believed = self.shelf.known.get(location);
            if believed.is_some_and(|known| known.version == self.known.version) {
                self.shelf.known.invalidate(location);
            }
        }
        ContentError::Backend(error)
    }
}

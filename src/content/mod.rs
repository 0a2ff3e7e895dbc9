//! Which bytes: opens an object, plans chunks, and streams them through the cache with one fetch per window.
//!
//! Knows no person: what it is handed is a `ResolvedObject`, which only a `Permit` makes. Metadata is believed for
//! `cache.metadata_max_age` and revalidated with `If-None-Match` (RFC 9111 §4.3); every read is pinned to its version.
//! While storage is down what is known of a version is believed for `cache.stale_if_error` more (RFC 5861 §4).

mod fetch;
mod lower;
mod object;
mod open;
mod outage;
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

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::backend::{Backend, BackendError, Presign, PresignOptions, PresignedUrl};
use crate::cache::disk::DiskCache;
use crate::cache::{CacheStatus, ChunkStore, Held};
use crate::ids::StorageId;
use crate::object::{ObjectLocation, ObjectMeta, ObjectVersion};
use crate::range::ByteRange;
use crate::resolve::ResolvedObject;
use crate::telemetry::{Metrics, Tier, TraceContext};
use lower::Lower;
use object::Object;
use open::{Answered, Opening, Question};
use outage::Outage;
use plan::Wanted;
pub use plan::{Extent, WINDOW_SIZE};
use single_flight::SingleFlight;
use slots::Slots;
pub use stream::ContentStream;
use tasks::Tasks;
use windows::Windows;

/// A position past this is in no object; no store has one of 2^63 bytes, and some ignore a range that begins there.
const MAX_POSITION: u64 = i64::MAX as u64 - WINDOW_SIZE;
/// How often somebody asks again whose question was given up as they came.
const MAX_ASKS: usize = 3;
/// How many objects' metadata are remembered (about 500 bytes each).
const MAX_METADATA: usize = 200_000;
/// How many windows may be read ahead at once: half of what one storage may have under way, so that who waits for bytes
/// finds a slot, and 256 MiB at most.
const MAX_AHEAD: usize = 32;

/// The `[cache]` section's part that this room wants; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentConfig {
    /// How long metadata is believed without asking storage: a changed object is noticed after at most this long.
    pub metadata_max_age: Duration,
    /// For how long more while storage cannot be asked: a changed object goes unnoticed for as long as storage is
    /// down, and for this long at most. Access is checked all the same.
    pub stale_if_error: Duration,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstRead {
    /// No byte (HEAD), or bytes counted from an end that is not known yet.
    Unknown,
    /// These, as far as the object has them, to their end or maybe not.
    At(Range<u64>, Extent),
}

impl FirstRead {
    fn wanted(self) -> Option<Wanted> {
        match self {
            Self::At(range, extent) if range.start <= MAX_POSITION && !range.is_empty() => {
                Some(Wanted {
                    begun_at: range.start,
                    left: range,
                    extent,
                })
            }
            Self::At(..) | Self::Unknown => None,
        }
    }
}

/// One storage to read from.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    presign: Option<Arc<dyn Presign>>,
    slots: Slots,
    outage: Outage,
}

impl Store {
    /// A storage; `presign` where it can make URLs.
    pub fn new(backend: Arc<dyn Backend>, presign: Option<Arc<dyn Presign>>) -> Self {
        Self {
            backend,
            presign,
            slots: Slots::default(),
            outage: Outage::default(),
        }
    }

    /// Why the storage is taken to be down at this moment; none: it is not.
    pub fn outage(&self) -> Option<BackendError> {
        self.outage.known()
    }
}

/// What survives a reload of the configuration: the cache, what is known of objects, the fetches under way.
pub struct Shelf {
    chunks: Arc<dyn ChunkStore>,
    lower: Lower,
    /// Of which storage has said that what was known no longer holds: what is on disk is no longer believed either.
    gone: quick_cache::sync::Cache<ObjectLocation, ()>,
    known: quick_cache::sync::Cache<ObjectLocation, Known>,
    opens: SingleFlight<(ObjectLocation, Option<u64>), Result<Answered, BackendError>>,
    windows: Arc<Windows>,
    ahead: Arc<Semaphore>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Shelf {
    /// An empty one over a chunk store, and a slower one below it where there is one.
    pub fn new(
        chunks: Arc<dyn ChunkStore>,
        disk: Option<Arc<DiskCache>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            chunks,
            lower: Lower::new(disk, metrics.clone()),
            gone: quick_cache::sync::Cache::new(MAX_METADATA),
            known: quick_cache::sync::Cache::new(MAX_METADATA),
            opens: SingleFlight::default(),
            windows: Arc::default(),
            ahead: Arc::new(Semaphore::new(MAX_AHEAD)),
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
            self.gone.remove(location);
        }
    }

    /// Forgets every chunk and what is known of every object: the next request asks storage. What is being fetched goes
    /// on, and is kept. Gives how many bytes of chunks were kept.
    pub async fn purge(&self) -> u64 {
        // First, so that nothing is recalled from there.
        let bytes = self.lower.purge().await + self.chunks.bytes();
        self.known.clear();
        self.windows.forget_finished();
        self.chunks.purge();
        bytes
    }

    /// What is kept of each storage. Goes through all of it.
    pub fn contents(&self) -> BTreeMap<StorageId, Held> {
        let mut contents = BTreeMap::<StorageId, Held>::new();
        self.chunks.each(&mut |key, bytes| {
            let storage = &key.version.location.storage;
            match contents.get_mut(storage) {
                Some(held) => held.add(bytes),
                None => {
                    let (bytes, entries) = (bytes, 1);
                    contents.insert(storage.clone(), Held { bytes, entries });
                }
            }
        });
        contents
    }

    /// How many bytes of chunks are kept.
    pub fn cached_bytes(&self) -> u64 {
        self.chunks.bytes()
    }

    /// How many bytes the disk cache takes.
    pub fn disk_bytes(&self) -> u64 {
        self.lower.bytes()
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

impl Known {
    fn age(&self) -> Duration {
        self.vouched_at.elapsed()
    }
}

/// An object that was opened: its metadata, and the way to its bytes.
#[derive(Clone)]
pub struct Opened {
    object: Object,
    status: CacheStatus,
    /// The window whose fetch this opening began.
    begun: Option<Arc<Opening>>,
    /// What storage failed with when it was asked for this opening, and the version believed in all the same.
    failure: Option<BackendError>,
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

    /// The bytes of a range of this version, which will be read to its end, or maybe not.
    pub fn stream(&self, range: &ByteRange, extent: Extent) -> ContentStream {
        self.clone().into_stream(range, extent)
    }

    /// The same, for the last who reads from it.
    pub fn into_stream(self, range: &ByteRange, extent: Extent) -> ContentStream {
        ContentStream::new(self, range.range(), extent)
    }
}

/// What is known of an object, and how that was learned.
struct Learned {
    answered: Answered,
    status: CacheStatus,
    /// What storage failed with, where it was asked in vain.
    failure: Option<BackendError>,
}

/// The reader of all storages.
pub struct Reader {
    stores: HashMap<StorageId, Arc<Store>>,
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
        let stores = stores.into_iter();
        Self {
            stores: stores.map(|(id, store)| (id, Arc::new(store))).collect(),
            shelf,
            config,
        }
    }

    /// Learns what the object is, from memory where that is fresh or storage is down, else from storage: by the very
    /// request that brings the first bytes where that is possible.
    pub async fn open(
        &self,
        resolved: &ResolvedObject,
        first: FirstRead,
        trace: Option<TraceContext>,
    ) -> Result<Opened, ContentError> {
        let store = self.store(resolved)?;
        let location = resolved.location();
        let wanted = first.wanted();
        let index = wanted.as_ref();
        let index = index.map_or(0, |wanted| plan::chunk_index(wanted.left.start));
        let known = self.shelf.known(location, index).await;
        if let Some(known) = known
            .as_ref()
            .filter(|known| known.age() < self.config.metadata_max_age)
        {
            return Ok(self.remembered(store, known, trace));
        }
        let question = Question {
            store: store.clone(),
            shelf: self.shelf.clone(),
            location: location.clone(),
            known,
            wanted,
            trace,
        };
        let learned = self.learn(&question).await?;
        self.shelf
            .metrics
            .cache_request(Tier::Metadata, learned.status.into());
        Ok(Opened {
            object: question.object(learned.answered.known),
            status: learned.status,
            begun: learned.answered.begun,
            failure: learned.failure,
        })
    }

    /// An object of which enough is known.
    fn remembered(&self, store: &Arc<Store>, known: &Known, trace: Option<TraceContext>) -> Opened {
        let status = CacheStatus::Hit;
        let metrics = &self.shelf.metrics;
        metrics.cache_request(Tier::Metadata, status.into());
        Opened {
            object: Object {
                known: known.clone(),
                store: store.clone(),
                shelf: self.shelf.clone(),
                trace,
            },
            status,
            begun: None,
            failure: None,
        }
    }

    async fn learn(&self, question: &Question) -> Result<Learned, BackendError> {
        let remembered = |known: &Known, status, failure| Learned {
            answered: known.clone().into(),
            status,
            failure,
        };
        let known = question.known.as_ref();
        let max_age = self.config.metadata_max_age;
        let stale = known.filter(|known| known.age() < max_age + self.config.stale_if_error);
        let outage = &question.store.outage;
        if let Some(stale) = stale.filter(|_| outage.known().is_some()) {
            if let Some(trial) = outage.trial() {
                self.shelf.tasks.spawn(question.clone().try_again(trial));
            }
            return Ok(remembered(stale, CacheStatus::Stale, None));
        }
        match (self.ask(question).await, stale) {
            (Ok((answered, leads)), _) => {
                let status = match known {
                    _ if !leads => CacheStatus::Updating,
                    Some(known) if known.version == answered.known.version => {
                        CacheStatus::Revalidated
                    }
                    Some(_) | None => CacheStatus::Miss,
                };
                Ok(Learned {
                    answered,
                    status,
                    failure: None,
                })
            }
            (Err(error), Some(stale)) if error.is_outage() => {
                tracing::debug!(%error, "storage is down: what is known of an object is believed on");
                Ok(remembered(stale, CacheStatus::Stale, Some(error)))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Asks, or shares the answer of who asks already. A failure is not shared: who did not ask tries once.
    async fn ask(&self, question: &Question) -> Result<(Answered, bool), BackendError> {
        let wanted = question.wanted.as_ref();
        let index = wanted.map(|wanted| plan::chunk_index(wanted.left.start));
        let key = (question.location.clone(), index);
        let mut shared_failure = false;
        for _ in 0..MAX_ASKS {
            let asked = |interest| question.clone().answer(interest);
            let (answer, leads) = self
                .shelf
                .opens
                .run(&self.shelf.tasks, key.clone(), asked)
                .await;
            match answer {
                // Given up: those who asked first had left just before this one came.
                None => {}
                Some(Err(error)) if !leads && !shared_failure && error.is_transient() => {
                    shared_failure = true;
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(answered)) => return Ok((answered, leads)),
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

    fn store(&self, resolved: &ResolvedObject) -> Result<&Arc<Store>, ContentError> {
        let storage = &resolved.location().storage;
        self.stores
            .get(storage)
            .ok_or_else(|| ContentError::NoStore(storage.clone()))
    }
}

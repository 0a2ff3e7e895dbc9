//! The tier below memory, as readers want it: the disk cache, asked off the runtime's threads and never for long.
//!
//! A disk that fails, hangs or is not there is a miss.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Known, Shelf};
use crate::cache::disk::DiskCache;
use crate::cache::{Chunk, ChunkKey, ChunkStore};
use crate::object::{ObjectLocation, ObjectMeta, ObjectVersion};
use crate::telemetry::{CacheResult, Metrics, Tier};

/// Reads under way: as many as keep a fast disk busy, and as many threads as a disk that hangs can hold.
const READS: usize = 32;
/// Who has waited so long for a chunk asks storage for it, which is hardly slower.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a disk that was too slow is left alone: each that waited for it waited for nothing.
const PAUSE: Duration = Duration::from_secs(10);
/// An age past every bound: of what was vouched for at a time that is still to come, by a clock that was set back.
const AGES: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The disk cache, where there is one.
#[derive(Clone)]
pub(super) struct Lower {
    disk: Option<Arc<DiskCache>>,
    reads: Arc<Semaphore>,
    slow_at: Arc<Mutex<Option<Instant>>>,
    metrics: Arc<Metrics>,
}

impl Lower {
    pub(super) fn new(disk: Option<Arc<DiskCache>>, metrics: Arc<Metrics>) -> Self {
        Self {
            disk,
            reads: Arc::new(Semaphore::new(READS)),
            slow_at: Arc::default(),
            metrics,
        }
    }

    /// Whether a chunk is there, as far as that is known without looking, and it is worth to look.
    pub(super) fn has(&self, key: &ChunkKey) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| disk.has(key) && !self.is_slow())
    }

    fn is_slow(&self) -> bool {
        self.slow_at().is_some_and(|at| at.elapsed() < PAUSE)
    }

    fn slow_at(&self) -> MutexGuard<'_, Option<Instant>> {
        // No code panics while it holds the lock.
        self.slow_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk, in the memory that suits `chunks`.
    pub(super) async fn read(&self, key: &ChunkKey, chunks: &Arc<dyn ChunkStore>) -> Option<Chunk> {
        let disk = self.disk.clone()?;
        let read = if self.has(key) {
            let (key, chunks) = (key.clone(), chunks.clone());
            let take = move |bytes: &[u8]| chunks.begin(bytes.len()).filled_with(bytes);
            self.ask(move || disk.read(&key, take)).await.flatten()
        } else {
            None
        };
        let result = match read {
            Some(_) => CacheResult::Hit,
            None => CacheResult::Miss,
        };
        self.metrics.cache_request(Tier::Disk, result);
        read
    }

    /// Keeps a chunk of which storage has just said that it is of this version, unless it is there.
    pub(super) fn keep(
        &self,
        key: &ChunkKey,
        chunk: &Chunk,
        meta: &Arc<ObjectMeta>,
        kept_at: SystemTime,
    ) {
        if let Some(disk) = self.disk.as_ref().filter(|disk| !disk.has(key)) {
            disk.keep(key, chunk.bytes().clone(), meta, kept_at);
        }
    }

    /// What was known of an object when a chunk of it was kept.
    pub(super) async fn recall(&self, location: &ObjectLocation, index: u64) -> Option<Known> {
        let disk = self.disk.clone()?;
        // Most of what is not in memory is not here either: nothing is read then.
        let place = disk.place(location, index).filter(|_| !self.is_slow());
        let Some(place) = place else {
            self.metrics.cache_request(Tier::Disk, CacheResult::Miss);
            return None;
        };
        let recalled = self.ask(move || disk.recall(&place)).await.flatten()?;
        let age = SystemTime::now().duration_since(recalled.kept_at);
        let vouched_at = Instant::now().checked_sub(age.unwrap_or(AGES))?;
        Some(Known {
            version: Arc::new(ObjectVersion {
                location: location.clone(),
                etag: recalled.meta.etag.clone(),
            }),
            meta: Arc::new(recalled.meta),
            learned_at: vouched_at,
            vouched_at,
        })
    }

    /// Gives up everything, also on disk; how many bytes that were.
    pub(super) async fn purge(&self) -> u64 {
        let Some(disk) = self.disk.clone() else {
            return 0;
        };
        spawn_blocking(move || disk.purge()).await.unwrap_or(0)
    }

    /// What the disk's files take.
    pub(super) fn bytes(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.bytes())
    }

    /// Has a thread do this; none where that takes too long. It goes on then, and its turn with it: that many threads
    /// are lost to a disk that hangs, and no more.
    async fn ask<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        let turn = self.reads.clone().acquire_owned();
        let asked = async {
            let turn = turn.await.ok()?;
            let done = spawn_blocking(move || (work(), drop(turn)).0);
            done.await.ok()
        };
        let Ok(answer) = timeout(PATIENCE, asked).await else {
            if self.slow_at().replace(Instant::now()).is_none() {
                tracing::warn!("the disk cache is slow to read, and is left alone now and then");
            }
            return None;
        };
        answer
    }
}

impl Shelf {
    /// Storage has spoken: what was known of an object no longer holds, through an outage neither.
    pub(super) fn forget(&self, location: &ObjectLocation) {
        self.known.remove(location);
        self.gone.insert(location.clone(), ());
    }

    /// What is known of an object: from memory, or from what is kept on disk beside this chunk of it.
    pub(super) async fn known(&self, location: &ObjectLocation, index: u64) -> Option<Known> {
        if let Some(known) = self.known.get(location) {
            return Some(known);
        }
        let is_gone = || self.gone.get(location).is_some();
        if is_gone() {
            return None;
        }
        let recalled = self.lower.recall(location, index).await?;
        // Storage may have spoken meanwhile: that holds, and is not undone by what was known before.
        if let Some(known) = self.known.get(location) {
            return Some(known);
        }
        if is_gone() {
            return None;
        }
        self.known.insert(location.clone(), recalled.clone());
        Some(recalled)
    }
}

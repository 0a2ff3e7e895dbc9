//! Chunks on disk, found again after a restart: a log of records in extents, an index of it in memory.
//!
//! Never holds anybody up: what cannot be written at once is not kept. Never believed without its checksum: what is
//! torn, foreign or damaged is a miss. Never needed: a disk that is full, read-only, broken or gone leaves the memory
//! tier and storage, and is tried again now and then.

mod extent;
mod index;
pub mod record;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::{Chunk, ChunkKey, SEGMENT_SIZE};
use crate::object::{ObjectLocation, ObjectMeta};
use extent::{Entry, Extent, Pages};
use index::Index;
use record::{Head, PAGE};
use writer::Writer;

/// The least that is of use: an extent must hold a chunk.
pub const MIN_CAPACITY: u64 = 256 << 20;
/// Chunks that wait to be written, in number and in bytes; past it they are not kept. A slow disk costs so much memory.
const QUEUE: usize = 1024;
const QUEUE_BYTES: u64 = 128 << 20;
/// How long a disk that failed is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// `[cache] disk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory; its own, made where it is missing.
    pub path: PathBuf,
    /// Bytes that its files take at most.
    pub capacity: u64,
}

/// What the disk tier tells, for metrics.
pub trait Watcher: Send + Sync {
    /// Records were given up to make room.
    fn evicted(&self);
    /// A record was not what its checksum says.
    fn damaged(&self);
    /// A chunk could not be kept: the disk is too slow, or fails.
    fn not_kept(&self);
}

/// The disk tier.
pub struct DiskCache {
    index: Arc<Index>,
    queue: Mutex<Option<SyncSender<Waiting>>>,
    queued: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    watcher: Arc<dyn Watcher>,
}

struct Waiting {
    key: ChunkKey,
    chunk: Chunk,
    meta: Arc<ObjectMeta>,
}

/// A record that is being read, a segment at a time. Blocks: for a thread that may.
pub struct Reading {
    index: Arc<Index>,
    watcher: Arc<dyn Watcher>,
    extent: Arc<Extent>,
    entry: Entry,
    head: Head,
    next: usize,
    /// What came with the head.
    first: Option<Bytes>,
}

impl DiskCache {
    /// Opens the directory, and finds what is there.
    ///
    /// # Errors
    /// It cannot be made or read, or another process uses it.
    pub fn open(config: &DiskConfig, watcher: Arc<dyn Watcher>) -> io::Result<Self> {
        std::fs::create_dir_all(&config.path)?;
        let lock = lock(&config.path)?;
        let index = Arc::new(Index::default());
        let extents = recover(&config.path, &index)?;
        let evicted = {
            let watcher = watcher.clone();
            Box::new(move |_| watcher.evicted())
        };
        let writer = Writer::new(
            config.path.clone(),
            config.capacity,
            index.clone(),
            extents,
            evicted,
        );
        let (sender, receiver) = sync_channel(QUEUE);
        let queued = Arc::new(AtomicU64::new(0));
        let thread = {
            let (queued, watcher) = (queued.clone(), watcher.clone());
            let work = move || {
                write_all(writer, &receiver, &queued, &*watcher);
                drop(lock);
            };
            std::thread::Builder::new()
                .name("disk cache".into())
                .spawn(work)?
        };
        Ok(Self {
            index,
            queue: Mutex::new(Some(sender)),
            queued,
            thread: Mutex::new(Some(thread)),
            watcher,
        })
    }

    /// Keeps a chunk, or does not; never waits.
    pub fn keep(&self, key: &ChunkKey, chunk: &Chunk, meta: &Arc<ObjectMeta>) {
        let length = chunk.len();
        if length == 0 {
            return;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else { return };
        let waiting = Waiting {
            key: key.clone(),
            chunk: chunk.clone(),
            meta: meta.clone(),
        };
        let room = self.queued.fetch_add(length, Ordering::AcqRel) + length <= QUEUE_BYTES;
        let sent = room
            && !matches!(
                queue.try_send(waiting),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
            );
        if !sent {
            self.queued.fetch_sub(length, Ordering::AcqRel);
            self.watcher.not_kept();
        }
    }

    /// The record of a chunk, where it is kept. Blocks for one read, which brings a small object whole.
    pub fn read(&self, key: &ChunkKey) -> Option<Reading> {
        let name = record::name(&key.version.location, key.index);
        let (extent, entry) = self.index.find(name)?;
        let reading = self.begin(extent, entry)?;
        // Another version may lie there.
        (reading.head.key == *key).then(|| {
            self.index.used(name);
            reading
        })
    }

    /// What is kept of an object's metadata: of a version that storage must be asked about. Blocks.
    pub fn recall(&self, location: &ObjectLocation, index: u64) -> Option<ObjectMeta> {
        let (extent, entry) = self.index.find(record::name(location, index))?;
        let head = extent.head(entry.page).ok()??;
        (head.key.version.location == *location).then_some(head.meta)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes what waits, and ends. Blocks.
    pub fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the disk cache's thread has panicked");
        }
    }

    fn begin(&self, extent: Arc<Extent>, entry: Entry) -> Option<Reading> {
        let first = (entry.length as usize).min(SEGMENT_SIZE);
        let mut pages = Pages::new(PAGE + first.next_multiple_of(PAGE));
        let head = extent.read(entry.page, pages.bytes()).ok().and_then(|()| {
            let head = <&[u8; PAGE]>::try_from(&pages.bytes()[..PAGE])
                .ok()
                .and_then(Head::decode)?;
            let whole = head.vouches(0, &pages.bytes()[PAGE..PAGE + first]);
            let own = head.generation == extent.generation && head.length == entry.length;
            (whole && own).then_some(head)
        });
        let Some(head) = head else {
            self.index.forget(extent.generation, &entry);
            self.watcher.damaged();
            return None;
        };
        Some(Reading {
            index: self.index.clone(),
            watcher: self.watcher.clone(),
            extent,
            entry,
            head,
            next: 0,
            first: Some(pages.part(PAGE..PAGE + first)),
        })
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.close();
    }
}

impl Reading {
    /// The next segment; `None` after the last, or where the rest is not to be had.
    pub fn segment(&mut self) -> Option<Bytes> {
        let number = self.next;
        self.next += 1;
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let start = number * SEGMENT_SIZE;
        let length = (self.head.length as usize)
            .checked_sub(start)?
            .min(SEGMENT_SIZE);
        if length == 0 {
            return None;
        }
        let mut pages = Pages::new(length.next_multiple_of(PAGE));
        let page = self.entry.page + 1 + (start / PAGE) as u32;
        let read = self.extent.read(page, pages.bytes()).is_ok();
        if read && self.head.vouches(number, &pages.bytes()[..length]) {
            return Some(pages.part(0..length));
        }
        self.index.forget(self.extent.generation, &self.entry);
        self.watcher.damaged();
        self.next = usize::MAX / SEGMENT_SIZE;
        None
    }
}

/// One process a directory: two would each take the other's files for their own.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::create(directory.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another process uses this directory"))?;
    Ok(file)
}

/// What is in the directory, oldest first; a later record of a name takes the place of an earlier one.
fn recover(directory: &Path, index: &Index) -> io::Result<Vec<Arc<Extent>>> {
    let mut extents = Vec::new();
    for file in std::fs::read_dir(directory)? {
        extents.extend(Extent::open(&file?.path())?.map(Arc::new));
    }
    extents.sort_by_key(|extent| extent.generation);
    extents.retain(|extent| match extent.entries() {
        Ok(entries) if !entries.is_empty() => {
            index.add(Arc::clone(extent));
            for entry in entries {
                index.insert(extent.generation, entry);
            }
            true
        }
        Ok(_) | Err(_) => {
            // Nothing in it is of use; the next one must not find it again.
            let _ = extent.delete();
            false
        }
    });
    Ok(extents)
}

fn write_all(
    mut writer: Writer,
    queue: &Receiver<Waiting>,
    queued: &AtomicU64,
    watcher: &dyn Watcher,
) {
    let mut failed_at: Option<Instant> = None;
    while let Ok(Waiting { key, chunk, meta }) = queue.recv() {
        queued.fetch_sub(chunk.len(), Ordering::AcqRel);
        if failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            watcher.not_kept();
            continue;
        }
        match writer.keep(&key, &chunk, &meta) {
            Ok(()) if failed_at.take().is_some() => {
                tracing::info!("the disk cache is written to again")
            }
            Ok(()) => {}
            Err(error) => {
                if failed_at.is_none() {
                    tracing::warn!(%error, "the disk cache cannot be written to; going on without it");
                }
                failed_at = Some(Instant::now());
                watcher.not_kept();
            }
        }
    }
    writer.finish();
}

#[cfg(test)]
mod tests;

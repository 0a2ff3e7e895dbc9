//! Chunks on disk, found again after a restart: a log of records in extents, an index of it in memory.
//!
//! Never holds anybody up: what cannot be written at once is not kept. Never believed without its checksum: what is
//! torn, foreign or damaged is a miss. Never needed: a disk that is full, read-only, broken or gone leaves the memory
//! tier and storage, and is tried again now and then.

mod batch;
mod directory;
mod extent;
mod index;
mod open;
mod pages;
pub mod record;
mod shared;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::ChunkKey;
use crate::object::{ObjectLocation, ObjectMeta};
use extent::{Entry, Extent};
use record::PAGE;
use shared::{Shared, Waiting};

/// The least that is of use: a sixteenth of it holds some chunks.
pub const MIN_CAPACITY: u64 = 64 << 20;
/// Files that it has open at most: as many extents as there are of a large cache, and some that ended early.
pub const MAX_FILES: u64 = 1_200;
/// Chunks that wait to be written, in number and in bytes; past it they are not kept. A slow disk costs so much memory.
const QUEUE: usize = 1024;
const QUEUE_BYTES: u64 = 32 << 20;
/// How long a start waits for what is on disk: a hundred thousand records take a tenth of it, a disk that hangs forever.
const START: Duration = Duration::from_secs(2);
/// How long the end of the process waits for what is still to be written.
const END: Duration = Duration::from_secs(2);

/// `[cache] disk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory; its own, made where it is missing.
    pub path: PathBuf,
    /// Bytes that its files take at most.
    pub capacity: u64,
}

impl DiskConfig {
    /// Makes the directory where it is missing, for this user alone.
    ///
    /// # Errors
    /// The system's own.
    pub fn make_directory(&self) -> io::Result<()> {
        directory::make(&self.path)
    }
}

/// What the disk tier tells, for metrics.
pub trait Watcher: Send + Sync {
    /// A record was given up to make room.
    fn evicted(&self);
    /// A record was not what its checksum says.
    fn damaged(&self);
    /// A chunk could not be kept: the disk is too slow, or fails.
    fn not_kept(&self);
}

/// The disk tier.
pub struct DiskCache {
    shared: Arc<Shared>,
    queue: Mutex<Option<SyncSender<Waiting>>>,
    /// The thread's end of it goes when it ends.
    ended: Mutex<Receiver<()>>,
}

/// Where a record lies.
#[derive(Debug)]
pub struct Place {
    extent: Arc<Extent>,
    entry: Entry,
}

/// What is kept of an object, whatever version storage has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// What storage said.
    pub meta: ObjectMeta,
    /// When it last did.
    pub kept_at: SystemTime,
}

impl DiskCache {
    /// Opens the directory and finds what is there: at once where it can, else as soon as it can. Blocks.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(config: DiskConfig, watcher: Arc<dyn Watcher>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            config,
            index: Arc::default(),
            writer: Mutex::new(None),
            queued: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            watcher,
        });
        let (opened, first_try) = sync_channel(1);
        let of_thread = shared.clone();
        let (ends, ended) = sync_channel(0);
        std::thread::Builder::new()
            .name("disk cache".into())
            .spawn(move || {
                of_thread.run(&receiver, &opened);
                // With it go its files, before anybody hears of the end.
                drop(of_thread);
                drop(ends);
            })?;
        if first_try.recv_timeout(START).is_err() {
            tracing::warn!("the disk cache is slow to open; going on without it until then");
        }
        Ok(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            ended: Mutex::new(ended),
        })
    }

    /// Keeps a chunk of an object of which storage said `meta` at `kept_at`, or does not; never waits.
    pub fn keep(&self, key: &ChunkKey, bytes: Bytes, meta: &Arc<ObjectMeta>, kept_at: SystemTime) {
        let length = bytes.len() as u64;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(queue), false) = (&*queue, length == 0) else {
            return;
        };
        let shared = &self.shared;
        let waiting = Waiting {
            key: key.clone(),
            bytes,
            meta: meta.clone(),
            kept_at,
            purges: shared.purges.load(Ordering::Acquire),
        };
        let room = shared.queued.fetch_add(length, Ordering::AcqRel) + length <= QUEUE_BYTES;
        if !room || queue.try_send(waiting).is_err() {
            shared.queued.fetch_sub(length, Ordering::AcqRel);
            shared.watcher.not_kept();
        }
    }

    /// Whether a chunk is kept, as far as that is known without looking at the disk.
    pub fn has(&self, key: &ChunkKey) -> bool {
        let name = record::name(&key.version.location, key.index);
        self.shared.index.has(name, record::tag(&key.version.etag))
    }

    /// Lends a chunk's bytes, where it is kept. Blocks for one read.
    pub fn read<R>(&self, key: &ChunkKey, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let shared = &self.shared;
        let name = record::name(&key.version.location, key.index);
        let (extent, entry) = shared.index.find(name)?;
        // Another version lies there.
        if entry.tag != record::tag(&key.version.etag) {
            return None;
        }
        pages::with(record::pages(entry.length) * PAGE, |pages| {
            let read = extent.read(entry.page, pages);
            let bytes = &pages[PAGE..][..entry.length as usize];
            let head = read.ok().and_then(|()| extent.decode(pages));
            let head = head.filter(|head| head.name() == name && head.vouches(bytes));
            let Some(head) = head else {
                shared.is_damaged(&extent, &entry);
                return None;
            };
            // So it may still: of two versions with one tag. While it counted as the one that is asked for, that one
            // would never be kept.
            if head.key != *key {
                shared.index.forget(extent.home.generation, &entry);
                return None;
            }
            shared.index.used(name);
            Some(take(bytes))
        })
    }

    /// Where a chunk of an object is kept, of whatever version. No I/O.
    pub fn place(&self, location: &ObjectLocation, index: u64) -> Option<Place> {
        let (extent, entry) = self.shared.index.find(record::name(location, index))?;
        Some(Place { extent, entry })
    }

    /// What is kept of an object's metadata beside a chunk of it: of a version that storage must be asked about.
    /// Blocks for one read.
    pub fn recall(&self, place: &Place) -> Option<Recalled> {
        let Place { extent, entry } = place;
        let head = extent.head(entry.page).ok().flatten();
        let Some(head) = head.filter(|head| head.name() == entry.name) else {
            self.shared.is_damaged(extent, entry);
            return None;
        };
        Some(Recalled {
            meta: head.meta,
            kept_at: head.kept_at,
        })
    }

    /// Gives up everything, also on disk. Gives how many bytes that were. Blocks.
    pub fn purge(&self) -> u64 {
        let shared = &self.shared;
        shared.purges.fetch_add(1, Ordering::AcqRel);
        let mut writer = shared.writer();
        let Some(writer) = &mut *writer else {
            return 0;
        };
        let before = writer.bytes();
        writer.purge();
        shared.bytes.store(writer.bytes(), Ordering::Release);
        before - writer.bytes()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.shared.config.path
    }

    /// What its files take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Acquire)
    }

    /// What waits to be written, in bytes.
    pub fn waiting(&self) -> u64 {
        self.shared.queued.load(Ordering::Acquire)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.shared.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes what waits, and ends. Blocks, no longer than two seconds.
    pub fn close(&self) {
        // Not held while this waits: who keeps a chunk meanwhile is not held up, and keeps none.
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if queue.is_none() {
            return;
        }
        drop(queue);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody sends; that the thread has ended is told by its end of the channel.
        if ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disk cache is too slow: what waited to be written is lost");
        }
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

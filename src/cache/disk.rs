//! Chunks on disk, found again after a restart: a log of records in extents, an index of it in memory.
//!
//! Never holds anybody up: what cannot be written at once is not kept. Never believed without its checksum: what is
//! torn, foreign or damaged is a miss. Never needed: a disk that is full, read-only, broken or gone leaves the memory
//! tier and storage, and is tried again now and then.

mod directory;
mod extent;
mod ghost;
mod index;
mod pages;
pub mod record;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::ChunkKey;
use crate::object::{ObjectLocation, ObjectMeta};
use directory::Directory;
use extent::{Entry, Extent, Found};
use index::Index;
use record::PAGE;
use writer::{Record, Writer};

/// The least that is of use: a sixteenth of it holds some chunks.
pub const MIN_CAPACITY: u64 = 64 << 20;
/// Chunks that wait to be written, in number and in bytes; past it they are not kept. A slow disk costs so much memory.
const QUEUE: usize = 1024;
const QUEUE_BYTES: u64 = 32 << 20;
/// How long a disk that failed is left alone.
const PAUSE: Duration = if cfg!(test) {
    Duration::from_millis(20)
} else {
    Duration::from_secs(10)
};
/// How long a start waits for what is on disk: a hundred thousand records take a tenth of it, a disk that hangs forever.
const START: Duration = Duration::from_secs(2);

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
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread that writes has in common with those who read.
struct Shared {
    config: DiskConfig,
    index: Arc<Index>,
    /// None until the directory could be opened.
    writer: Mutex<Option<Writer>>,
    /// What waits to be written, in bytes.
    queued: AtomicU64,
    /// What the files take.
    bytes: AtomicU64,
    /// How often everything was given up: what waited then is not kept.
    purges: AtomicU64,
    watcher: Arc<dyn Watcher>,
}

struct Waiting {
    key: ChunkKey,
    bytes: Bytes,
    meta: Arc<ObjectMeta>,
    kept_at: SystemTime,
    purges: u64,
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
        let thread = std::thread::Builder::new()
            .name("disk cache".into())
            .spawn(move || of_thread.run(&receiver, &opened))?;
        if first_try.recv_timeout(START).is_err() {
            tracing::warn!("the disk cache is slow to open; going on without it until then");
        }
        Ok(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
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
            // So it may still.
            if head.key != *key {
                return None;
            }
            shared.index.used(name);
            Some(take(bytes))
        })
    }

    /// What is kept of an object's metadata, beside a chunk of it: of a version that storage must be asked about.
    /// Blocks for one read.
    pub fn recall(&self, location: &ObjectLocation, index: u64) -> Option<Recalled> {
        let name = record::name(location, index);
        let (extent, entry) = self.shared.index.find(name)?;
        let head = extent.head(entry.page).ok().flatten();
        let Some(head) = head.filter(|head| head.name() == name) else {
            self.shared.is_damaged(&extent, &entry);
            return None;
        };
        (head.key.version.location == *location).then_some(Recalled {
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

    /// Writes what waits, and ends. Blocks.
    pub fn close(&self) {
        let queue = self.queue.lock().map(|mut queue| queue.take());
        drop(queue.unwrap_or_else(|poisoned| poisoned.into_inner().take()));
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
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_damaged(&self, extent: &Extent, entry: &Entry) {
        tracing::debug!(
            extent = extent.home.generation,
            page = entry.page,
            "a record of the disk cache is damaged"
        );
        self.index.forget(extent.home.generation, entry);
        self.watcher.damaged();
    }

    /// The thread's work, until nobody can send any more.
    fn run(&self, queue: &Receiver<Waiting>, opened: &SyncSender<()>) {
        let is_open = self.open(queue, opened);
        if is_open {
            self.write_all(queue);
        }
        // The directory is another's to take from here on.
        let writer = self.writer().take();
        if let Some(mut writer) = writer {
            writer.finish();
        }
    }

    /// Opens the directory, again and again where it cannot be; `false` at the end.
    fn open(&self, queue: &Receiver<Waiting>, opened: &SyncSender<()>) -> bool {
        let mut said = false;
        loop {
            let open = self.recover();
            let _ = opened.try_send(());
            match open {
                Ok(()) => return true,
                Err(error) if !said => {
                    said = true;
                    let path = self.config.path.display();
                    tracing::warn!(%error, "the disk cache at {path} cannot be opened; going on without it");
                }
                Err(error) => tracing::debug!(%error, "the disk cache cannot be opened"),
            }
            let tried_at = Instant::now();
            while let Some(left) = PAUSE.checked_sub(tried_at.elapsed()) {
                match queue.recv_timeout(left) {
                    Ok(waiting) => self.let_go(&waiting),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
            }
        }
    }

    /// What is in the directory, oldest first; a later record of a name takes the place of an earlier one.
    fn recover(&self) -> io::Result<()> {
        let begun = Instant::now();
        let directory = Arc::new(Directory::open(&self.config.path)?);
        self.index.clear();
        let mut extents = Vec::new();
        for file in std::fs::read_dir(&directory.path)? {
            extents.extend(found(&directory, &file?.path()));
        }
        extents.sort_by_key(|(extent, _)| extent.home.generation);
        for (extent, found) in &extents {
            self.index.add(Arc::clone(extent));
            self.index.insert(extent.home.generation, &found.entries);
        }
        let (capacity, watcher) = (self.config.capacity, self.watcher.clone());
        let evicted = Box::new(move || watcher.evicted());
        let writer = Writer::new(directory, capacity, self.index.clone(), extents, evicted);
        self.bytes.store(writer.bytes(), Ordering::Release);
        *self.writer() = Some(writer);
        let path = self.config.path.display();
        let (records, elapsed) = (self.index.len(), begun.elapsed());
        tracing::info!(records, ?elapsed, "the disk cache at {path} is open");
        Ok(())
    }

    fn write_all(&self, queue: &Receiver<Waiting>) {
        let mut failed_at: Option<Instant> = None;
        while let Ok(waiting) = queue.recv() {
            if failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
                self.let_go(&waiting);
                continue;
            }
            match self.write(&waiting) {
                Ok(()) => {
                    self.queued
                        .fetch_sub(waiting.bytes.len() as u64, Ordering::AcqRel);
                    if failed_at.take().is_some() {
                        tracing::info!("the disk cache is written to again");
                    }
                }
                Err(error) => {
                    if failed_at.is_none() {
                        tracing::warn!(%error, "the disk cache cannot be written to; going on without it");
                    }
                    failed_at = Some(Instant::now());
                    self.let_go(&waiting);
                }
            }
        }
    }

    fn let_go(&self, waiting: &Waiting) {
        self.queued
            .fetch_sub(waiting.bytes.len() as u64, Ordering::AcqRel);
        self.watcher.not_kept();
    }

    fn write(&self, waiting: &Waiting) -> io::Result<()> {
        let mut writer = self.writer();
        let Some(writer) = writer
            .as_mut()
            .filter(|_| waiting.purges == self.purges.load(Ordering::Acquire))
        else {
            return Ok(());
        };
        let kept = writer.keep(&Record {
            key: &waiting.key,
            meta: &waiting.meta,
            kept_at: waiting.kept_at,
            bytes: &waiting.bytes,
        });
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if kept
            .as_ref()
            .is_err_and(|error| full.contains(&error.kind()))
        {
            writer.is_full();
        }
        self.bytes.store(writer.bytes(), Ordering::Release);
        kept
    }
}

/// An extent and what is in it. What holds nothing of use is taken away: the next start must not find it again.
fn found(directory: &Arc<Directory>, path: &Path) -> Option<(Arc<Extent>, Found)> {
    let extent = match Extent::open(directory, path) {
        Ok(extent) => extent?,
        Err(error) => {
            tracing::warn!(%error, "{} cannot be opened, and takes room beside the disk cache", path.display());
            return None;
        }
    };
    let found = extent.find().unwrap_or_default();
    if found.entries.is_empty() {
        if let Err(error) = extent.delete() {
            tracing::debug!(%error, "an extent of no use cannot be deleted");
        }
        return None;
    }
    Some((Arc::new(extent), found))
}

#[cfg(test)]
mod tests;

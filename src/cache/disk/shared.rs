//! The thread that writes, and what it shares with those who read. Opens the directory, and tries again what failed.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::batch::BATCH;
use super::directory::Directory;
use super::extent::{Entry, Extent, Found};
use super::index::Index;
use super::open::Record;
use super::writer::Writer;
use super::{DiskConfig, Watcher};
use crate::cache::ChunkKey;
use crate::object::ObjectMeta;

/// How long a disk that failed is left alone.
const PAUSE: Duration = if cfg!(test) {
    Duration::from_millis(20)
} else {
    Duration::from_secs(10)
};

/// What the thread that writes has in common with those who read.
pub struct Shared {
    /// Where, and how much.
    pub config: DiskConfig,
    /// Where each record lies.
    pub index: Arc<Index>,
    /// None until the directory could be opened.
    pub writer: Mutex<Option<Writer>>,
    /// What waits to be written, in bytes.
    pub queued: AtomicU64,
    /// What the files take.
    pub bytes: AtomicU64,
    /// How often everything was given up: what waited then is not kept.
    pub purges: AtomicU64,
    /// Told of what goes wrong.
    pub watcher: Arc<dyn Watcher>,
}

/// A chunk that is to be written.
pub struct Waiting {
    /// Which.
    pub key: ChunkKey,
    /// Its bytes.
    pub bytes: Bytes,
    /// What storage said of its object.
    pub meta: Arc<ObjectMeta>,
    /// When it did.
    pub kept_at: SystemTime,
    /// How often everything had been given up when it came.
    pub purges: u64,
}

impl Shared {
    pub fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_damaged(&self, extent: &Extent, entry: &Entry) {
        tracing::debug!(
            extent = extent.home.generation,
            page = entry.page,
            "a record of the disk cache is damaged"
        );
        self.index.forget(extent.home.generation, entry);
        self.watcher.damaged();
    }

    /// The thread's work, until nobody can send any more.
    pub fn run(&self, queue: &Receiver<Waiting>, opened: &SyncSender<()>) {
        let is_open = self.open(queue, opened);
        if is_open {
            self.write_all(queue);
        }
        let writer = self.writer().take();
        if let Some(writer) = writer {
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
        // From here on who gives everything up waits for the writer; who did so before found none, and is obeyed now.
        let mut place = self.writer();
        let is_purged = self.purges.load(Ordering::Acquire) > 0;
        for (extent, found) in extents.iter().filter(|_| !is_purged) {
            self.index.add(Arc::clone(extent));
            self.index.insert(extent.home.generation, &found.entries);
        }
        let (capacity, watcher) = (self.config.capacity, self.watcher.clone());
        let evicted = Box::new(move || watcher.evicted());
        let mut writer = Writer::new(directory, capacity, self.index.clone(), extents, evicted);
        if is_purged {
            writer.purge();
        }
        self.bytes.store(writer.bytes(), Ordering::Release);
        *place = Some(writer);
        drop(place);
        let path = self.config.path.display();
        let (records, elapsed) = (self.index.len(), begun.elapsed());
        tracing::info!(records, ?elapsed, "the disk cache at {path} is open");
        Ok(())
    }

    fn write_all(&self, queue: &Receiver<Waiting>) {
        let mut failed_at: Option<Instant> = None;
        while let Ok(first) = queue.recv() {
            let batch = batch(first, queue);
            if failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
                batch.iter().for_each(|waiting| self.let_go(waiting));
                continue;
            }
            match self.write(&batch) {
                Ok(()) => {
                    let lengths = batch.iter().map(|waiting| waiting.bytes.len() as u64);
                    self.queued.fetch_sub(lengths.sum(), Ordering::AcqRel);
                    if failed_at.take().is_some() {
                        tracing::info!("the disk cache is written to again");
                    }
                }
                Err(error) => {
                    if failed_at.is_none() {
                        tracing::warn!(%error, "the disk cache cannot be written to; going on without it");
                    }
                    failed_at = Some(Instant::now());
                    // Some of it may have been written before that: it is told as lost all the same.
                    batch.iter().for_each(|waiting| self.let_go(waiting));
                }
            }
        }
    }

    fn let_go(&self, waiting: &Waiting) {
        self.watcher.not_kept();
        self.queued
            .fetch_sub(waiting.bytes.len() as u64, Ordering::AcqRel);
    }

    fn write(&self, batch: &[Waiting]) -> io::Result<()> {
        let mut writer = self.writer();
        let Some(writer) = writer.as_mut() else {
            return Ok(());
        };
        let purges = self.purges.load(Ordering::Acquire);
        let mut waiting = batch.iter().filter(|waiting| waiting.purges == purges);
        let kept = waiting.try_for_each(|waiting| {
            writer.keep(&Record {
                key: &waiting.key,
                meta: &waiting.meta,
                kept_at: waiting.kept_at,
                bytes: &waiting.bytes,
            })
        });
        let kept = kept.and_then(|()| writer.flush());
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

/// What waits beside the first, as much as is written in one go: nobody is waited for.
fn batch(first: Waiting, queue: &Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.bytes.len();
    let mut batch = vec![first];
    while bytes < BATCH
        && let Ok(next) = queue.try_recv()
    {
        bytes += next.bytes.len();
        batch.push(next);
    }
    batch
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

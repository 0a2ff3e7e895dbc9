//! A fetch over a real disk and a storage that is never asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{content, version};
use crate::backend::config::LocalConfig;
use crate::backend::local::Local;
use crate::cache::disk::{DiskCache, DiskConfig, Watcher};
use crate::cache::{Chunk, ChunkKey, ChunkStore, Growing};
use crate::content::fetch::{Fetch, Filling};
use crate::content::lower::Lower;
use crate::content::outage::Outage;
use crate::content::slots::Slots;
use crate::content::window::Window;
use crate::content::windows::{Joined, Windows};
use crate::object::ObjectMeta;
use crate::telemetry::Metrics;

const LENGTH: u64 = 10;

struct Nobody;

impl Watcher for Nobody {
    fn evicted(&self) {}
    fn damaged(&self) {}
    fn not_kept(&self) {}
}

/// Keeps nothing; somebody gives up everything on disk while a chunk of it is read.
struct Purged(Option<Arc<DiskCache>>);

impl ChunkStore for Purged {
    fn begin(&self, length: usize) -> Growing {
        if let Some(disk) = &self.0 {
            disk.purge();
        }
        Growing::new(length, None)
    }
    fn get(&self, _: &ChunkKey) -> Option<Chunk> {
        None
    }
    fn has(&self, _: &ChunkKey) -> bool {
        false
    }
    fn put(&self, _: ChunkKey, _: Chunk) {}
    fn purge(&self) {}
    fn bytes(&self) -> u64 {
        0
    }
}

fn meta() -> Arc<ObjectMeta> {
    Arc::new(ObjectMeta {
        etag: version().etag.clone(),
        complete_length: LENGTH,
        last_modified: None,
        content_type: None,
        content_encoding: None,
    })
}

/// Fetches the whole object.
async fn run(slots: Slots, disk: Option<Arc<DiskCache>>) -> Arc<Window> {
    let windows = Arc::new(Windows::default());
    let Joined::Leads(window, _follower) = windows.join(&version(), 0..LENGTH) else {
        panic!("nobody else fetches it");
    };
    let root = "/nowhere".into();
    let fetch = Fetch {
        backend: Arc::new(Local::new(LocalConfig { root }, Duration::from_secs(1))),
        slots,
        outage: Outage::default(),
        version: version(),
        meta: meta(),
        trace: None,
        chunks: Arc::new(Purged(disk.clone())),
        lower: Lower::new(disk, Arc::new(Metrics::new().expect("metrics"))),
        _ahead: None,
    };
    let filling = Filling::new(version(), window.clone(), windows);
    let run = tokio::time::timeout(Duration::from_secs(60), fetch.run(filling, None));
    run.await.expect("it ends");
    window
}

fn settle(disk: &DiskCache) {
    while disk.waiting() > 0 {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_came_from_disk_is_not_kept_there_as_if_storage_had_vouched_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = DiskConfig {
        path: directory.path().join("cache"),
        capacity: 64 << 20,
    };
    let disk = Arc::new(DiskCache::start(config, Arc::new(Nobody)).expect("a thread"));
    let key = ChunkKey {
        version: version(),
        index: 0,
    };
    disk.keep(&key, content(0..LENGTH), &meta(), SystemTime::now());
    settle(&disk);
    assert!(disk.has(&key));
    let window = run(Slots::default(), Some(disk.clone())).await;
    assert!(window.is_whole(), "it came from disk");
    settle(&disk);
    assert!(!disk.has(&key), "what was given up does not come back");
}

#[tokio::test]
async fn a_fetch_whose_turn_does_not_come_fails_and_queues_no_second_time() {
    let slots = Slots::default();
    let mut taken = Vec::new();
    while let Ok(Ok(slot)) =
        tokio::time::timeout(Duration::from_millis(50), slots.take(|| true)).await
    {
        taken.push(slot);
    }
    let window = run(slots, None).await;
    assert!(window.has_failed());
}

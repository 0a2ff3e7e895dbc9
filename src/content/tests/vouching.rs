//! What storage vouches for again is known on disk, though its bytes are not brought again.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::fetch::Nobody;
use super::{content, version};
use crate::backend::{Backend, BackendError, Call, Conditional, Fetched, Page};
use crate::cache::disk::{DiskCache, DiskConfig};
use crate::cache::memory::MemoryCache;
use crate::cache::{CacheConfig, ChunkKey};
use crate::content::open::Question;
use crate::content::single_flight::Interest;
use crate::content::{Shelf, Store};
use crate::object::ObjectMeta;
use crate::telemetry::Metrics;

const HOUR: Duration = Duration::from_secs(3600);

/// Says of everything that it is as it was.
struct Unchanged;

#[async_trait]
impl Backend for Unchanged {
    async fn head(&self, _: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        Ok(Conditional::NotModified)
    }

    async fn get(&self, _: Call<'_>, _: Range<u64>) -> Result<Conditional<Fetched>, BackendError> {
        Err(BackendError::NotFound)
    }

    async fn list(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page, BackendError> {
        Ok(Page::default())
    }
}

#[tokio::test]
async fn an_object_that_storage_vouched_for_again_is_known_to_be_so_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = DiskConfig {
        path: directory.path().join("cache"),
        capacity: 64 << 20,
    };
    let disk = Arc::new(DiskCache::start(config, Arc::new(Nobody)).expect("a thread"));
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let memory = MemoryCache::new(&CacheConfig { memory: 1 << 20 }, |_| ());
    let shelf = Shelf::new(Arc::new(memory), Some(disk.clone()), metrics);
    let store = Arc::new(Store::new(Arc::new(Unchanged), None));
    let location = &version().location;
    let meta = ObjectMeta {
        etag: version().etag.clone(),
        complete_length: 10,
        last_modified: None,
        content_type: None,
        content_encoding: None,
    };
    let key = ChunkKey {
        version: version(),
        index: 0,
    };
    let long_ago = SystemTime::now() - HOUR;
    disk.keep(&key, content(0..10), &Arc::new(meta), long_ago);
    while !disk.has(&key) {
        tokio::task::yield_now().await;
    }
    let known = shelf.known(location, 0).await.expect("it is recalled");
    // Learned so long ago, it would be asked about without a condition.
    let known = crate::content::Known {
        learned_at: std::time::Instant::now(),
        ..known
    };
    let ask = |known| {
        let question = Question {
            store: store.clone(),
            shelf: shelf.clone(),
            location: location.clone(),
            known: Some(known),
            wanted: None,
            trace: None,
        };
        question.answer(Interest::default())
    };
    let answered = ask(known).await.expect("awaited").expect("answered");
    let kept_at = || {
        let place = disk.place(location, 0)?;
        Some(disk.recall(&place)?.kept_at)
    };
    let noted = async {
        while kept_at() < Some(long_ago + HOUR / 2) {
            tokio::task::yield_now().await;
        }
    };
    let noted = tokio::time::timeout(Duration::from_secs(30), noted).await;
    noted.expect("it is noted on disk");
    // Not with each answer.
    let noted_at = answered.known.noted_at;
    let answered = ask(answered.known)
        .await
        .expect("awaited")
        .expect("answered");
    assert_eq!(answered.known.noted_at, noted_at);
}

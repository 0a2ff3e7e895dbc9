//! Chunks in memory, weighed in bytes. Admission and eviction are moka's TinyLFU: a sweep does not empty it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arena::Arena;
use super::{CacheConfig, Chunk, ChunkKey, ChunkStore, Growing};

/// What an entry costs beside its bytes: key, counters, moka's own nodes (measured by nobody; an upper guess that
/// keeps a cache of tiny objects within its bound).
const ENTRY_OVERHEAD: u64 = 512;

/// After so many bytes what was put is settled with what must go for it. Left to itself moka waits for 64 writes: that
/// is 16 MiB of whole chunks past its bound.
const SETTLE_AFTER: u64 = 4 << 20;
/// Memory beside what is kept, for what is still coming in and has not been settled: else chunks would be filled
/// elsewhere as soon as the cache is full. It is taken as it is filled.
const COMING_IN: u64 = 64 << 20;

/// The memory tier.
pub struct MemoryCache {
    chunks: moka::sync::Cache<ChunkKey, Chunk>,
    unsettled: AtomicU64,
    arena: Option<Arc<Arena>>,
}

impl MemoryCache {
    /// Keeps at most `config.memory` bytes, in an arena where the system allows one. `evicted` is called with an entry's weight when it goes.
    pub fn new(config: &CacheConfig, evicted: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let chunks = moka::sync::Cache::builder()
            .max_capacity(config.memory)
            .weigher(|_, chunk: &Chunk| u32::try_from(weight(chunk)).unwrap_or(u32::MAX))
            .eviction_listener(move |_, chunk, cause| {
                if cause.was_evicted() {
                    evicted(weight(&chunk));
                }
            })
            .build();
        let capacity = config.memory.saturating_add(COMING_IN.min(config.memory));
        let arena = Arena::new(capacity).inspect_err(|error| {
            tracing::debug!(%error, "no arena: media is kept on the heap, and copied as it is sent");
        });
        Self {
            chunks,
            unsettled: AtomicU64::new(0),
            arena: arena.ok(),
        }
    }

    /// Where chunks lie, for those who can send from there.
    pub fn arena(&self) -> Option<Arc<Arena>> {
        self.arena.clone()
    }
}

fn weight(chunk: &Chunk) -> u64 {
    chunk.len() + ENTRY_OVERHEAD
}

impl ChunkStore for MemoryCache {
    fn begin(&self, length: usize) -> Growing {
        Growing::new(length, self.arena.as_ref())
    }

    fn get(&self, key: &ChunkKey) -> Option<Chunk> {
        self.chunks.get(key)
    }

    fn has(&self, key: &ChunkKey) -> bool {
        self.chunks.contains_key(key)
    }

    fn put(&self, key: ChunkKey, chunk: Chunk) {
        let weight = weight(&chunk);
        self.chunks.insert(key, chunk);
        if self.unsettled.fetch_add(weight, Ordering::Relaxed) + weight >= SETTLE_AFTER {
            self.unsettled.store(0, Ordering::Relaxed);
            self.chunks.run_pending_tasks();
        }
    }

    fn purge(&self) {
        self.chunks.invalidate_all();
        self.chunks.run_pending_tasks();
    }

    fn bytes(&self) -> u64 {
        self.chunks.run_pending_tasks();
        self.chunks.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cache::CHUNK_SIZE;
    use crate::ids::StorageId;
    use crate::object::{ETag, ObjectLocation, ObjectVersion};

    fn key(index: u64) -> ChunkKey {
        let location = ObjectLocation {
            storage: StorageId::from("s"),
            epoch: 0,
            bucket: "b".into(),
            key: "k".into(),
        };
        let etag = ETag::strong("v").expect("a tag");
        ChunkKey {
            version: Arc::new(ObjectVersion { location, etag }),
            index,
        }
    }

    fn put(cache: &MemoryCache, index: u64, length: usize) {
        let mut growing = cache.begin(length);
        growing.push(Bytes::from(vec![index as u8; length]));
        cache.put(key(index), growing.finish());
    }

    #[test]
    fn it_holds_no_more_than_its_bytes_and_chunks_still_lie_in_the_arena_when_it_is_full() {
        let capacity = 16 << 20;
        let cache = MemoryCache::new(&CacheConfig { memory: capacity }, |_| {});
        let arena = cache.arena().expect("an arena");
        for index in 0..200 {
            put(&cache, index, CHUNK_SIZE as usize);
            let mut growing = cache.begin(CHUNK_SIZE as usize);
            growing.push(Bytes::from(vec![0; CHUNK_SIZE as usize]));
            assert!(arena.holds(growing.finish().bytes()), "{index}");
        }
        assert!(cache.bytes() <= capacity);
        let kept = (0..200).filter(|index| cache.has(&key(*index))).count() as u64;
        assert!(
            kept <= capacity / CHUNK_SIZE && kept > capacity / CHUNK_SIZE / 2,
            "{kept}"
        );
    }

    #[test]
    fn a_thousand_tiny_objects_weigh_what_they_cost_beside_their_bytes() {
        let cache = MemoryCache::new(&CacheConfig { memory: 1 << 20 }, |_| {});
        for index in 0..10_000 {
            put(&cache, index, 10);
        }
        assert!(cache.bytes() <= 1 << 20);
        let kept = (0..10_000).filter(|index| cache.has(&key(*index))).count();
        assert!(kept <= (1 << 20) / ENTRY_OVERHEAD as usize, "{kept}");
    }
}

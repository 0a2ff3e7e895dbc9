//! Chunks in memory, weighed in bytes. Admission and eviction are moka's TinyLFU: a sweep does not empty it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::arena::Arena;
use super::{CacheConfig, Chunk, ChunkKey, ChunkStore};

/// What an entry costs beside its bytes: key, counters, moka's own nodes (measured by nobody; an upper guess that
/// keeps a cache of tiny objects within its bound).
const ENTRY_OVERHEAD: u64 = 512;

/// The memory tier.
pub struct MemoryCache {
    chunks: moka::sync::Cache<ChunkKey, Chunk>,
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
        let arena = Arena::new(config.memory).inspect_err(|error| {
            tracing::debug!(%error, "no arena: media is kept on the heap, and copied as it is sent");
        });
        Self {
            chunks,
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

#[async_trait]
impl ChunkStore for MemoryCache {
    fn gather(&self, frames: &[Bytes]) -> Chunk {
        Chunk::gather(frames, self.arena.as_ref())
    }

    async fn get(&self, key: &ChunkKey) -> Option<Chunk> {
        self.chunks.get(key)
    }

    async fn put(&self, key: ChunkKey, chunk: Chunk) {
        self.chunks.insert(key, chunk);
        // Left to itself moka evicts in batches of 64 writes: half a gigabyte of whole chunks past its bound.
        self.chunks.run_pending_tasks();
    }

    fn purge(&self) {
        self.chunks.invalidate_all();
        self.chunks.run_pending_tasks();
    }

    fn bytes(&self) -> u64 {
        self.chunks.weighted_size()
    }

    fn each(&self, show: &mut dyn FnMut(&ChunkKey, u64)) {
        for (key, chunk) in self.chunks.iter() {
            show(&key, chunk.len());
        }
    }
}

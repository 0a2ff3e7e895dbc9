//! Chunks in memory, weighed in bytes. What is kept and what goes is S3-FIFO's to say: what is new is let in and has to
//! be asked for again to stay, so that annotators who look at what is new find it, and a sweep does not empty the cache.

use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::arena::Arena;
use super::{CHUNK_SIZE, CacheConfig, Chunk, ChunkKey, ChunkStore, Growing};

/// What an entry costs beside its bytes: key, hash table, ghosts (an upper guess that keeps a cache of tiny objects
/// within its bound).
const ENTRY_OVERHEAD: u64 = 512;
/// How much of it is for what was asked for again. With the library's 0.97 tasks that are done in order read 0.28 of
/// their bytes from storage where this reads 0.18, and a Zipf of 0.7 reads 0.58 where this reads 0.45 (`benches/fleet`).
const HOT: f64 = 0.8;
/// The bound is divided among parts that have a lock each; it is a multiple of this, so that they add up to no more.
const STEP: u64 = 4096;
/// Memory of a part: one of few chunks would let go what another has place for.
const PART: u64 = 64 << 20;
/// Parts at most.
const PARTS: u64 = 64;
/// Memory beside what is kept, for what is still coming in: else chunks would be filled elsewhere as soon as the cache
/// is full. It is taken as it is filled.
const COMING_IN: u64 = 64 << 20;

/// The memory tier.
pub struct MemoryCache {
    chunks: Cache<ChunkKey, Chunk, Weight, DefaultHashBuilder, Evicted>,
    capacity: u64,
    arena: Option<Arc<Arena>>,
}

#[derive(Clone, Copy, Debug)]
struct Weight;

/// Who is told of what goes.
#[derive(Clone)]
struct Evicted(Arc<dyn Fn(u64) + Send + Sync>);

impl Weighter<ChunkKey, Chunk> for Weight {
    fn weight(&self, _: &ChunkKey, chunk: &Chunk) -> u64 {
        chunk.len() + ENTRY_OVERHEAD
    }
}

impl Lifecycle<ChunkKey, Chunk> for Evicted {
    /// What goes is dropped when the cache is free again: memory that was sent from costs a system call each.
    type RequestState = Vec<Chunk>;

    fn on_evict(&self, gone: &mut Vec<Chunk>, key: ChunkKey, chunk: Chunk) {
        (self.0)(Weight.weight(&key, &chunk));
        gone.push(chunk);
    }
}

impl MemoryCache {
    /// Keeps at most `config.memory` bytes, in an arena where the system allows one. `evicted` is called with an entry's
    /// weight when it goes.
    pub fn new(config: &CacheConfig, evicted: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let capacity = config.memory - config.memory % STEP;
        let parts = (capacity / PART).clamp(1, PARTS);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(parts).expect("few"))
            .weight_capacity(capacity)
            .estimated_items_capacity(usize::try_from(capacity / CHUNK_SIZE).unwrap_or(usize::MAX))
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are named");
        let evicted = Evicted(Arc::new(evicted));
        let with_what_comes_in = config.memory.saturating_add(COMING_IN.min(config.memory));
        let arena = Arena::new(with_what_comes_in).inspect_err(|error| {
            tracing::debug!(%error, "no arena: media is kept on the heap");
        });
        Self {
            chunks: Cache::with_options(options, Weight, DefaultHashBuilder::default(), evicted),
            capacity,
            arena: arena.ok(),
        }
    }
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
        // What does not fit at all was never kept, and does not count as gone.
        if Weight.weight(&key, &chunk) <= self.capacity {
            self.chunks.insert(key, chunk);
        }
    }

    fn purge(&self) {
        self.chunks.clear();
    }

    fn bytes(&self) -> u64 {
        self.chunks.weight()
    }

    fn each(&self, show: &mut dyn FnMut(&ChunkKey, u64)) {
        for (key, chunk) in self.chunks.iter() {
            show(&key, chunk.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
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
        let arena = cache.arena.clone().expect("an arena");
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

    /// Annotators look at what is new, and soon again.
    #[test]
    fn what_is_new_is_let_in_though_what_is_there_was_read_more_often() {
        let cache = MemoryCache::new(&CacheConfig { memory: 16 << 20 }, |_| {});
        for _ in 0..5 {
            for index in 0..60 {
                if cache.get(&key(index)).is_none() {
                    put(&cache, index, CHUNK_SIZE as usize);
                }
            }
        }
        let mut fetched = 0;
        for task in 0..20 {
            for window in [0, 1, 0, 1, 0, 1] {
                let index = 1000 + 2 * task + window;
                if cache.get(&key(index)).is_none() {
                    fetched += 1;
                    put(&cache, index, CHUNK_SIZE as usize);
                }
            }
        }
        assert_eq!(fetched, 40, "each of what is new once");
    }

    #[test]
    fn a_sweep_does_not_put_out_what_is_asked_for_again_and_again() {
        let cache = MemoryCache::new(&CacheConfig { memory: 16 << 20 }, |_| {});
        for _ in 0..3 {
            for index in 0..20 {
                if cache.get(&key(index)).is_none() {
                    put(&cache, index, CHUNK_SIZE as usize);
                }
            }
        }
        for index in 1000..2000 {
            put(&cache, index, CHUNK_SIZE as usize);
        }
        let kept = (0..20).filter(|index| cache.has(&key(*index))).count();
        assert!(kept >= 18, "{kept}");
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

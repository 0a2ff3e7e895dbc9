//! Cached: chunks of object versions, by key. Knows neither people nor storage.
//!
//! A failing cache is a miss, never a failure. Reached only by `content`, which asks for a `ResolvedObject`.

pub mod arena;
mod chunk;
pub mod disk;
pub mod memory;

use std::sync::Arc;

use crate::object::ObjectVersion;
use crate::telemetry::CacheResult;
pub use chunk::{Chunk, Growing, Grown};

/// The unit of the cache: aligned, at most this many bytes. Fine enough that a seek brings little that was not asked
/// for, coarse enough that what a chunk costs beside its bytes does not count.
pub const CHUNK_SIZE: u64 = 256 << 10;

/// Which chunk of which version. No user in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// The object's version.
    pub version: Arc<ObjectVersion>,
    /// The chunk's number: it begins at `index * CHUNK_SIZE`.
    pub index: u64,
}

/// A place that keeps chunks. It has them at once, or has them not.
pub trait ChunkStore: Send + Sync {
    /// Begins a chunk of `length` bytes, in the memory that suits this store.
    fn begin(&self, length: usize) -> Growing {
        Growing::new(length, None)
    }
    /// The chunk, if it is kept.
    fn get(&self, key: &ChunkKey) -> Option<Chunk>;
    /// Whether it is kept, which does not count as use.
    fn has(&self, key: &ChunkKey) -> bool;
    /// Keeps a chunk, or does not.
    fn put(&self, key: ChunkKey, chunk: Chunk);
    /// Keeps none of what it kept.
    fn purge(&self);
    /// How many bytes are kept, for a gauge.
    fn bytes(&self) -> u64;
}

/// How a request's bytes were had, in nginx's words; the worst of its chunks stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheStatus {
    /// All from the cache.
    Hit,
    /// Metadata was stale and storage said it still holds.
    Revalidated,
    /// Metadata was stale and storage could not be asked.
    Stale,
    /// Joined a fetch that another request had begun.
    Updating,
    /// Fetched from storage.
    Miss,
}

impl From<CacheStatus> for CacheResult {
    fn from(status: CacheStatus) -> Self {
        match status {
            CacheStatus::Hit => Self::Hit,
            CacheStatus::Revalidated => Self::Revalidated,
            CacheStatus::Stale => Self::Stale,
            CacheStatus::Updating => Self::Updating,
            CacheStatus::Miss => Self::Miss,
        }
    }
}

/// The `[cache]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of memory for chunks; 0 keeps none.
    pub memory: u64,
}

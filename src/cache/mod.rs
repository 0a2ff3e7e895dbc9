//! Cached: chunks of object versions, by key. Knows neither people nor storage.
//!
//! A failing cache is a miss, never a failure. Reached only by `content`, which asks for a `ResolvedObject`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::object::ObjectVersion;

/// The unit of the cache and the window asked of storage: aligned, at most this many bytes (contract: 8 MiB).
pub const CHUNK_SIZE: u64 = 8 << 20;

/// Which chunk of which version. No user in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// The object's version.
    pub version: Arc<ObjectVersion>,
    /// The chunk's number: it begins at `index * CHUNK_SIZE`.
    pub index: u64,
}

/// The bytes of a chunk, whole, in segments so that a paused reader holds one segment and not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The segments, each but the last `SEGMENT_SIZE` long.
    pub segments: Arc<[Bytes]>,
}

/// A place that keeps chunks.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// The chunk, if it is kept.
    async fn get(&self, key: &ChunkKey) -> Option<Chunk>;
    /// Keeps a chunk, or does not.
    async fn put(&self, key: ChunkKey, chunk: Chunk);
}

/// How a request's bytes were had, in nginx's words; the worst of its chunks stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheStatus {
    /// All from the cache.
    Hit,
    /// Metadata was stale and storage said it still holds.
    Revalidated,
    /// Joined a fetch that another request had begun.
    Updating,
    /// Fetched from storage.
    Miss,
}

/// The `[cache]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of memory for chunks; 0 keeps none.
    pub memory: u64,
}

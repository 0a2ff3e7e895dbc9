//! Cached: chunks of object versions, by key. Knows neither people nor storage.
//!
//! A failing cache is a miss, never a failure. Reached only by `content`, which asks for a `ResolvedObject`.

pub mod arena;
pub mod disk;
pub mod memory;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;

use crate::object::ObjectVersion;
use crate::telemetry::CacheResult;
use arena::{Arena, Filling};

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

/// How much of a chunk is one allocation: a reader that pauses holds this much and not all, and it is large enough
/// that a chunk goes to the socket in few writes.
pub const SEGMENT_SIZE: usize = 1 << 20;

/// The bytes of a chunk, whole, in segments of exactly the memory they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    segments: Arc<[Bytes]>,
}

/// A hold on a chunk that does not keep it in memory.
#[derive(Clone, Debug)]
pub struct WeakChunk(Weak<[Bytes]>);

impl Chunk {
    /// Gathers frames as they were received: copied once, so that what is kept is exactly what is weighed, and no
    /// receive buffer lives on behind a slice of it. Into the arena, where there is one with room.
    pub fn gather(frames: &[Bytes], arena: Option<&Arc<Arena>>) -> Self {
        let mut left: usize = frames.iter().map(Bytes::len).sum();
        let mut segments = Vec::with_capacity(left.div_ceil(SEGMENT_SIZE));
        let mut segment = Segment::new(left.min(SEGMENT_SIZE), arena);
        for frame in frames {
            let mut frame = &frame[..];
            while !frame.is_empty() {
                let (taken, rest) = frame.split_at(frame.len().min(segment.room()));
                segment.push(taken);
                left -= taken.len();
                frame = rest;
                if segment.room() == 0 {
                    let next = Segment::new(left.min(SEGMENT_SIZE), arena);
                    segments.push(std::mem::replace(&mut segment, next).finish());
                }
            }
        }
        Self {
            segments: segments.into(),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.len() as u64)
            .sum()
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The bytes from `offset` to the end of their segment, without a copy; `None` past the end.
    pub fn at(&self, offset: u64) -> Option<Bytes> {
        let offset = usize::try_from(offset).ok()?;
        let segment = self.segments.get(offset / SEGMENT_SIZE)?;
        let within = offset % SEGMENT_SIZE;
        (within < segment.len()).then(|| segment.slice(within..))
    }

    /// A hold that does not keep it.
    pub fn downgrade(&self) -> WeakChunk {
        WeakChunk(Arc::downgrade(&self.segments))
    }
}

impl WeakChunk {
    /// The chunk, if something else still keeps it.
    pub fn upgrade(&self) -> Option<Chunk> {
        self.0.upgrade().map(|segments| Chunk { segments })
    }
}

/// A segment that is being filled.
enum Segment {
    Lent(Filling),
    /// What is there, and how long it will be.
    Heap(Vec<u8>, usize),
}

impl Segment {
    fn new(length: usize, arena: Option<&Arc<Arena>>) -> Self {
        match arena.and_then(|arena| arena.slot(length)) {
            Some(filling) => Self::Lent(filling),
            None => Self::Heap(Vec::with_capacity(length), length),
        }
    }

    fn room(&self) -> usize {
        match self {
            Self::Lent(filling) => filling.room(),
            Self::Heap(bytes, length) => length - bytes.len(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Lent(filling) => {
                if let Err(error) = filling.push(bytes) {
                    tracing::warn!(%error, "the cache's memory takes no more; going on without it");
                    let mut kept = Vec::with_capacity(filling.filled().len() + filling.room());
                    kept.extend_from_slice(filling.filled());
                    kept.extend_from_slice(bytes);
                    *self = Self::Heap(kept, filling.filled().len() + filling.room());
                }
            }
            Self::Heap(kept, _) => kept.extend_from_slice(bytes),
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Lent(filling) => filling.finish(),
            Self::Heap(bytes, _) => Bytes::from(bytes),
        }
    }
}

/// A place that keeps chunks.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// Makes a chunk of frames as they were received, in the memory that suits this store.
    fn gather(&self, frames: &[Bytes]) -> Chunk {
        Chunk::gather(frames, None)
    }
    /// The chunk, if it is kept.
    async fn get(&self, key: &ChunkKey) -> Option<Chunk>;
    /// Keeps a chunk, or does not.
    async fn put(&self, key: ChunkKey, chunk: Chunk);
    /// Keeps none of what it kept.
    fn purge(&self);
    /// How many bytes are kept, for a gauge.
    fn bytes(&self) -> u64;
    /// Shows every chunk that is kept, by its key and length, to people who want to know what is there.
    fn each(&self, _show: &mut dyn FnMut(&ChunkKey, u64)) {}
}

/// What is kept of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of chunks.
    pub bytes: u64,
    /// Chunks.
    pub entries: u64,
}

impl Held {
    /// One more chunk.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.entries += 1;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_the_frames_it_was_gathered_from() {
        for lengths in [
            vec![],
            vec![1],
            vec![SEGMENT_SIZE],
            vec![SEGMENT_SIZE - 1, 2],
            vec![3 * SEGMENT_SIZE + 5, 7],
        ] {
            let frames: Vec<Bytes> = lengths
                .iter()
                .enumerate()
                .map(|(i, &length)| Bytes::from(vec![i as u8 + 1; length]))
                .collect();
            let chunk = Chunk::gather(&frames, None);
            assert_eq!(chunk.len(), lengths.iter().sum::<usize>() as u64);
            let mut read = Vec::new();
            while let Some(bytes) = chunk.at(read.len() as u64) {
                read.extend_from_slice(&bytes);
            }
            assert_eq!(read, frames.concat());
        }
    }

    #[test]
    fn a_weak_hold_keeps_nothing() {
        let chunk = Chunk::gather(&[Bytes::from_static(b"abc")], None);
        let weak = chunk.downgrade();
        assert_eq!(weak.upgrade(), Some(chunk.clone()));
        drop(chunk);
        assert_eq!(weak.upgrade(), None);
    }
}

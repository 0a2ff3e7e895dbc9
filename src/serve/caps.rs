//! What all annotators together may hold: bodies at once, and the memory that these may keep. Past it the answer is 503
//! with `Retry-After`, while the kernel still has descriptors and memory to give.
//!
//! Never takes from a body that runs; who came first is served first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::error::Failure;
use crate::cache::CHUNK_SIZE;

/// What a running body may keep while its client pauses, or itself where it is smaller: hyper takes frames until it holds
/// 400 KiB, which are two chunks; one more is at hand, and one on its way to the socket.
const HELD_BY_A_BODY: u64 = 4 * CHUNK_SIZE;

/// `[server.limits]`: over all annotators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsConfig {
    /// Connections at once; past it each is told 503. Lowered to what the process has descriptors for.
    pub connections: usize,
    /// Bodies of media at once.
    pub streams: u64,
    /// Bytes that these may keep in memory, beside the cache.
    pub memory: u64,
}

impl Default for CapsConfig {
    fn default() -> Self {
        Self {
            connections: super::listener::MAX_CONNECTIONS,
            // Two for each of 5,000 annotators: a player has one that runs and one that was given up a moment ago.
            streams: 10_000,
            // 2,000 players that pause at once; a picture is gone before it weighs.
            memory: 2 << 30,
        }
    }
}

/// What is held now.
#[derive(Debug)]
pub struct Caps {
    config: CapsConfig,
    streams: AtomicU64,
    memory: AtomicU64,
}

impl Caps {
    /// With nothing held.
    pub fn new(config: CapsConfig) -> Self {
        Self {
            config,
            streams: AtomicU64::new(0),
            memory: AtomicU64::new(0),
        }
    }

    /// Counts a body that is about to begin, until its place is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub fn begin(self: &Arc<Self>) -> Result<Place, Failure> {
        take(&self.streams, 1, self.config.streams)?;
        Ok(Place {
            caps: Arc::clone(self),
            memory: 0,
        })
    }
}

/// A body's part of what may be held.
#[derive(Debug)]
#[must_use = "the body counts only as long as its place lives"]
pub struct Place {
    caps: Arc<Caps>,
    memory: u64,
}

impl Place {
    /// Counts the memory that a body of `length` bytes may keep.
    ///
    /// # Errors
    /// There is none left.
    pub fn hold(mut self, length: u64) -> Result<Self, Failure> {
        let memory = length.min(HELD_BY_A_BODY);
        take(&self.caps.memory, memory, self.caps.config.memory)?;
        self.memory += memory;
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.streams.fetch_sub(1, Relaxed);
        self.caps.memory.fetch_sub(self.memory, Relaxed);
    }
}

fn take(held: &AtomicU64, more: u64, most: u64) -> Result<(), Failure> {
    held.fetch_update(Relaxed, Relaxed, |held| {
        held.checked_add(more).filter(|held| *held <= most)
    })
    .map_err(|_| Failure::Overloaded)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(streams: u64, memory: u64) -> Arc<Caps> {
        Arc::new(Caps::new(CapsConfig {
            connections: 1,
            streams,
            memory,
        }))
    }

    #[test]
    fn past_the_streams_a_body_is_refused_until_one_ends() {
        let caps = caps(2, 0);
        let first = caps.begin().unwrap();
        let _second = caps.begin().unwrap();
        assert!(matches!(caps.begin(), Err(Failure::Overloaded)));
        drop(first);
        assert!(caps.begin().is_ok());
    }

    #[test]
    fn a_body_weighs_what_it_may_keep_and_gives_it_back() {
        let caps = caps(100, 3 << 20);
        let hold = |length| caps.begin().and_then(|place| place.hold(length));
        let _long = hold(5 << 30).unwrap();
        let also_long = hold(u64::MAX).unwrap();
        let short = hold(1000).unwrap();
        assert!(matches!(hold(1 << 20), Err(Failure::Overloaded)));
        drop(short);
        let _fits = hold(1 << 20).unwrap();
        assert!(hold(1).is_err());
        drop(also_long);
        assert!(hold(1).is_ok());
        assert_eq!(caps.streams.load(Relaxed), 2);
    }
}

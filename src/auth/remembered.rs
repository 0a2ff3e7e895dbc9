//! Verified tokens, remembered by hash: a signature is checked once, not for every range.
//!
//! Never holds a token, only its SHA-256, and never decides: the caller compares `expires_at` with the clock.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;

use super::Annotator;
use super::keys::KeySet;

/// What remembered tokens may take together. An annotator comes from a token of at most 8 KiB and usually of
/// one, so this is tens of thousands of annotators; one too many costs a signature, nothing else.
const CAPACITY_BYTES: u64 = 32 << 20;

/// What an entry takes beside its strings: hash, annotator and the cache's own bookkeeping, about.
const ENTRY_BYTES: u32 = 512;

/// An annotator who paused for longer costs one more signature; until then dead tokens take their room.
const TIME_TO_IDLE: Duration = Duration::from_secs(600);

/// Annotators by what proved them.
pub(super) struct Remembered(Cache<[u8; 32], Weighed>);

#[derive(Clone)]
struct Weighed {
    annotator: Arc<Annotator>,
    bytes: u32,
}

impl Default for Remembered {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(CAPACITY_BYTES)
                .weigher(|_, entry: &Weighed| entry.bytes)
                .time_to_idle(TIME_TO_IDLE)
                .build(),
        )
    }
}

impl Remembered {
    /// Whom this token was verified for with just these keys, expired or not.
    pub(super) fn get(&self, keys: &KeySet, token: &str) -> Option<Arc<Annotator>> {
        self.0.get(&id(keys, token)).map(|entry| entry.annotator)
    }

    /// Remembers whom this token was verified for.
    pub(super) fn insert(&self, keys: &KeySet, token: &str, annotator: Arc<Annotator>) {
        let strings = u32::try_from(token.len()).unwrap_or(u32::MAX);
        let bytes = strings.saturating_add(ENTRY_BYTES);
        self.0.insert(id(keys, token), Weighed { annotator, bytes });
    }
}

/// The keys are part of the name, so that other keys forget every token at once: one signed with a key that
/// the issuer has withdrawn is checked again, and refused.
fn id(keys: &KeySet, token: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&keys.fingerprint);
    context.update(token.as_bytes());
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}

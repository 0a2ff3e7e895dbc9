//! Verified tokens, remembered by hash: a signature is checked once, not for every range.
//!
//! Never holds a token, only its SHA-256, and never decides: the caller compares `expires_at` with the clock.

use std::sync::Arc;

use aws_lc_rs::digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Annotator;
use super::keys::KeySet;

/// What remembered tokens may take together. An annotator comes from a token of at most 8 KiB and usually of
/// one, so this is tens of thousands of annotators; one too many costs a signature, nothing else.
const CAPACITY_BYTES: u64 = 32 << 20;

/// What an entry takes beside its strings: hash, annotator and the cache's own bookkeeping, about.
const ENTRY_BYTES: u64 = 512;

/// What an entry with its strings takes usually; the cache makes its books for so many.
const USUAL_BYTES: u64 = 1024;

/// Annotators by what proved them. Dead tokens keep their place until a living one needs it.
pub(super) struct Remembered(Cache<[u8; 32], Weighed, Bytes>);

#[derive(Clone)]
struct Weighed {
    annotator: Arc<Annotator>,
    bytes: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Weighed> for Bytes {
    fn weight(&self, _: &[u8; 32], entry: &Weighed) -> u64 {
        entry.bytes
    }
}

impl Default for Remembered {
    fn default() -> Self {
        let usual = (CAPACITY_BYTES / USUAL_BYTES) as usize;
        Self(Cache::with_weighter(usual, CAPACITY_BYTES, Bytes))
    }
}

impl Remembered {
    /// Whom this token was verified for with just these keys, expired or not.
    pub(super) fn get(&self, keys: &KeySet, token: &str) -> Option<Arc<Annotator>> {
        self.0.get(&id(keys, token)).map(|entry| entry.annotator)
    }

    /// Remembers whom this token was verified for.
    pub(super) fn insert(&self, keys: &KeySet, token: &str, annotator: Arc<Annotator>) {
        let bytes = token.len() as u64 + ENTRY_BYTES;
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

//! The room that is measured, from Lockgate's own files (links); what it has of `cache/mod.rs` stands here.

use std::sync::Arc;

use crate::object::ObjectVersion;

pub mod disk;

/// As in `cache/mod.rs`.
pub const CHUNK_SIZE: u64 = 256 << 10;

/// As in `cache/mod.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    pub version: Arc<ObjectVersion>,
    pub index: u64,
}

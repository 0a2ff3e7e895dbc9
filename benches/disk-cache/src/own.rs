//! Lockgate's disk cache: an object is chunks of `CHUNK_SIZE`, a record each.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::disk::{DiskCache, DiskConfig, Watcher};
use crate::cache::{CHUNK_SIZE, ChunkKey};
use crate::ids::StorageId;
use crate::object::{ETag, ObjectLocation, ObjectMeta, ObjectVersion};
use bytes::Bytes;

use crate::{CAPACITY, Disk};

pub struct Own(DiskCache);

struct Fails;

impl Watcher for Fails {
    fn evicted(&self) {}
    fn damaged(&self) {
        panic!("a record is damaged");
    }
    fn not_kept(&self) {
        panic!("a record is not kept");
    }
}

impl Own {
    pub fn open(directory: &Path) -> Self {
        let config = DiskConfig {
            path: directory.to_owned(),
            capacity: CAPACITY,
        };
        Self(DiskCache::start(config, Arc::new(Fails)).expect("a thread"))
    }
}

fn version(number: usize) -> Arc<ObjectVersion> {
    Arc::new(ObjectVersion {
        location: ObjectLocation {
            storage: StorageId::from("recordings"),
            epoch: 1,
            bucket: "acme-recordings".into(),
            key: format!("datasets/production/2026/{number}.mp4").into(),
        },
        etag: ETag::strong("5d41402abc4b2a76b9719d911017c592").expect("a tag"),
    })
}

impl Disk for Own {
    fn keep(&mut self, number: usize, bytes: &[u8]) {
        let version = version(number);
        let meta = Arc::new(ObjectMeta {
            etag: version.etag.clone(),
            complete_length: bytes.len() as u64,
            last_modified: Some(SystemTime::UNIX_EPOCH),
            content_type: Some("video/mp4".into()),
            content_encoding: None,
        });
        for (index, chunk) in bytes.chunks(CHUNK_SIZE as usize).enumerate() {
            let key = ChunkKey {
                version: version.clone(),
                index: index as u64,
            };
            // What comes faster than it is written is not kept.
            while self.0.waiting() > (16 << 20).min(500 * chunk.len() as u64) {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            self.0.keep(
                &key,
                Bytes::copy_from_slice(chunk),
                &meta,
                SystemTime::now(),
            );
        }
    }

    fn read(&mut self, number: usize) -> usize {
        let version = version(number);
        let mut length = 0;
        for index in 0.. {
            let key = ChunkKey {
                version: version.clone(),
                index,
            };
            match self.0.read(&key, Bytes::copy_from_slice) {
                Some(bytes) => length += bytes.len(),
                None => break,
            }
        }
        length
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}

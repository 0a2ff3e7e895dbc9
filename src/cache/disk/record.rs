//! One record on disk: a head of one page, which says whose bytes follow and what they must sum up to. Pure.
//!
//! A record is believed only as far as its checksums go: what is torn, foreign or damaged decodes to nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use crc_fast::{CrcAlgorithm, checksum};
use serde::{Deserialize, Serialize};

use crate::cache::{CHUNK_SIZE, ChunkKey, SEGMENT_SIZE};
use crate::ids::StorageId;
use crate::object::{ETag, ObjectLocation, ObjectMeta, ObjectVersion};

/// The disk's unit: O_DIRECT wants offsets, lengths and buffers in multiples of it (open(2)).
pub const PAGE: usize = 4 << 10;
/// What a head begins with; the digit is the format's version.
const MAGIC: &[u8; 8] = b"LOCKGAT1";
const SEGMENTS: usize = CHUNK_SIZE as usize / SEGMENT_SIZE;
/// Magic, generation, length, the description's length, one sum per segment, the head's own sum.
const FIXED: usize = 8 + 8 + 4 + 4 + 4 * SEGMENTS + 4;
const HEAD_SUM: usize = FIXED - 4;

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The extent's generation: a record of another one was left behind there.
    pub generation: u64,
    /// Length of the bytes that follow.
    pub length: u32,
    /// Which chunk they are.
    pub key: ChunkKey,
    /// What storage said of the object.
    pub meta: ObjectMeta,
    sums: [u32; SEGMENTS],
}

#[derive(Serialize, Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    storage: std::borrow::Cow<'a, str>,
    epoch: u64,
    #[serde(borrow)]
    bucket: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    index: u64,
    #[serde(borrow)]
    etag: std::borrow::Cow<'a, str>,
    complete_length: u64,
    last_modified: Option<u64>,
    #[serde(borrow)]
    content_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    content_encoding: Option<std::borrow::Cow<'a, str>>,
}

/// By what a chunk is found: the object and the chunk's number, not the version, so that a new version takes the
/// place of the old one, and what is kept of an object can be asked without knowing its version.
pub fn name(location: &ObjectLocation, index: u64) -> u128 {
    let ObjectLocation {
        storage,
        epoch,
        bucket,
        key,
    } = location;
    // Lengths first: no two locations are spelt alike.
    let spelt = format!(
        "{}:{storage}{epoch}:{}:{bucket}{}:{key}{index}",
        storage.as_str().len(),
        bucket.len(),
        key.len()
    );
    let digest = digest(&SHA256, spelt.as_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_le_bytes(name)
}

/// The sum of one segment.
pub fn sum(bytes: &[u8]) -> u32 {
    // CRC-32C fits 32 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

impl Head {
    /// The head of a chunk's record; none where its key is too long for one.
    pub fn new(generation: u64, key: &ChunkKey, meta: &ObjectMeta, segments: &[&[u8]]) -> Self {
        let mut sums = [0; SEGMENTS];
        for (sum_, segment) in sums.iter_mut().zip(segments) {
            *sum_ = sum(segment);
        }
        let length: usize = segments.iter().map(|segment| segment.len()).sum();
        Self {
            generation,
            length: length as u32,
            key: key.clone(),
            meta: meta.clone(),
            sums,
        }
    }

    /// Whether a segment's bytes are those that were written.
    pub fn vouches(&self, segment: usize, bytes: &[u8]) -> bool {
        self.sums
            .get(segment)
            .is_some_and(|&kept| kept == sum(bytes))
    }

    /// Writes the head to a page; `false` where it does not fit one.
    pub fn encode(&self, page: &mut [u8; PAGE]) -> bool {
        let location = &self.key.version.location;
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let described = Described {
            storage: location.storage.as_str().into(),
            epoch: location.epoch,
            bucket: (&*location.bucket).into(),
            key: (&*location.key).into(),
            index: self.key.index,
            etag: self.meta.etag.as_str().into(),
            complete_length: self.meta.complete_length,
            last_modified: self.meta.last_modified.and_then(since).map(|d| d.as_secs()),
            content_type: self.meta.content_type.as_deref().map(Into::into),
            content_encoding: self.meta.content_encoding.as_deref().map(Into::into),
        };
        let Ok(text) = serde_json::to_vec(&described) else {
            return false;
        };
        let Some(room) = page.get_mut(FIXED..FIXED + text.len()) else {
            return false;
        };
        room.copy_from_slice(&text);
        let end = FIXED + text.len();
        page[end..].fill(0);
        page[..8].copy_from_slice(MAGIC);
        page[8..16].copy_from_slice(&self.generation.to_le_bytes());
        page[16..20].copy_from_slice(&self.length.to_le_bytes());
        page[20..24].copy_from_slice(&(text.len() as u32).to_le_bytes());
        for (index, sum) in self.sums.iter().enumerate() {
            page[24 + 4 * index..][..4].copy_from_slice(&sum.to_le_bytes());
        }
        page[HEAD_SUM..FIXED].fill(0);
        let own = sum(page);
        page[HEAD_SUM..FIXED].copy_from_slice(&own.to_le_bytes());
        true
    }

    /// Reads a head back; none where the page holds none that is whole.
    pub fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let word =
            |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        if page[..8] != *MAGIC {
            return None;
        }
        let mut unsigned = *page;
        unsigned[HEAD_SUM..FIXED].fill(0);
        if sum(&unsigned) != word(HEAD_SUM) {
            return None;
        }
        let text = page.get(FIXED..FIXED.checked_add(word(20) as usize)?)?;
        let described: Described<'_> = serde_json::from_slice(text).ok()?;
        let length = word(16);
        let etag = ETag::strong(&described.etag)?;
        let location = ObjectLocation {
            storage: StorageId::from(&*described.storage),
            epoch: described.epoch,
            bucket: (&*described.bucket).into(),
            key: (&*described.key).into(),
        };
        let start = described.index.checked_mul(CHUNK_SIZE)?;
        let expected = described
            .complete_length
            .checked_sub(start)?
            .min(CHUNK_SIZE);
        if expected != u64::from(length) || length == 0 {
            return None;
        }
        let mut generation = [0; 8];
        generation.copy_from_slice(&page[8..16]);
        let mut sums = [0; SEGMENTS];
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = word(24 + 4 * index);
        }
        let owned = |text: std::borrow::Cow<'_, str>| Arc::from(&*text);
        let since = |secs| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs));
        Some(Self {
            generation: u64::from_le_bytes(generation),
            length,
            key: ChunkKey {
                version: Arc::new(ObjectVersion {
                    location,
                    etag: etag.clone(),
                }),
                index: described.index,
            },
            meta: ObjectMeta {
                etag,
                complete_length: described.complete_length,
                last_modified: described.last_modified.and_then(since),
                content_type: described.content_type.map(owned),
                content_encoding: described.content_encoding.map(owned),
            },
            sums,
        })
    }

    /// The record's name.
    pub fn name(&self) -> u128 {
        name(&self.key.version.location, self.key.index)
    }
}

/// Pages that a record of `length` bytes takes, its head included.
pub fn pages(length: u32) -> usize {
    1 + (length as usize).div_ceil(PAGE)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A chunk's key and metadata, the object `length` bytes long.
    pub(crate) fn chunk(key: &str, index: u64, length: u64) -> (ChunkKey, ObjectMeta) {
        let etag = ETag::strong(&format!("v-{length}")).expect("a tag");
        let location = ObjectLocation {
            storage: StorageId::from("s"),
            epoch: 7,
            bucket: "b".into(),
            key: key.into(),
        };
        let meta = ObjectMeta {
            etag: etag.clone(),
            complete_length: length,
            last_modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            content_type: Some("image/png".into()),
            content_encoding: None,
        };
        let version = Arc::new(ObjectVersion { location, etag });
        (ChunkKey { version, index }, meta)
    }

    fn encoded(head: &Head) -> [u8; PAGE] {
        let mut page = [0xaa; PAGE];
        assert!(head.encode(&mut page));
        page
    }

    #[test]
    fn a_head_reads_back_as_it_was_written() {
        for (name, index, length) in [
            ("a.png", 0, 5),
            ("\u{1}\"\\\u{1f600} ü//", 0, CHUNK_SIZE),
            ("v.mp4", 3, 3 * CHUNK_SIZE + 1),
        ] {
            let (key, meta) = chunk(name, index, length);
            let bytes = vec![9; (length - index * CHUNK_SIZE) as usize];
            let segments: Vec<_> = bytes.chunks(SEGMENT_SIZE).collect();
            let head = Head::new(42, &key, &meta, &segments);
            let read = Head::decode(&encoded(&head)).expect("a head");
            assert_eq!(read, head);
            assert!(read.vouches(0, segments[0]) && !read.vouches(0, b"other"));
        }
    }

    #[test]
    fn a_head_with_any_bit_turned_is_none() {
        let (key, meta) = chunk("a.png", 0, 5);
        let page = encoded(&Head::new(42, &key, &meta, &[b"hello"]));
        for bit in 0..PAGE * 8 {
            let mut damaged = page;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_key_that_does_not_fit_has_no_head() {
        let (key, meta) = chunk(&"\u{1}".repeat(1024), 0, 5);
        let head = Head::new(42, &key, &meta, &[b"hello"]);
        assert!(!head.encode(&mut [0; PAGE]));
    }

    #[test]
    fn no_two_objects_have_one_name() {
        let names = [
            ("s", "b", "k1", 1),
            ("s", "b", "k", 11),
            ("s", "bk", "1", 1),
            ("sb", "", "k1", 1),
        ];
        let names = names.map(|(storage, bucket, key, index)| {
            let location = ObjectLocation {
                storage: StorageId::from(storage),
                epoch: 1,
                bucket: bucket.into(),
                key: key.into(),
            };
            name(&location, index)
        });
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}

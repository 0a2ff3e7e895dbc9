//! One record on disk: a head of one page, which says whose bytes follow and what they must sum up to. Pure.
//!
//! A record is believed only as far as its checksums go: what is torn, foreign or damaged decodes to nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::cache::{CHUNK_SIZE, ChunkKey};
use crate::ids::StorageId;
use crate::object::{ETag, ObjectLocation, ObjectMeta, ObjectVersion};

/// The disk's unit: O_DIRECT wants offsets, lengths and buffers in multiples of it (open(2)).
pub const PAGE: usize = 4 << 10;
/// What a head begins with; the digit is the format's version.
const MAGIC: &[u8; 8] = b"LOCKGAT2";
// Where each of a head's numbers stands, little-endian; the description follows.
const DIRECTORY: usize = 8;
const GENERATION: usize = 16;
const LENGTH: usize = 20;
const DESCRIBED: usize = 24;
const BYTES_SUM: usize = 32;
const HEAD_SUM: usize = 40;
const FIXED: usize = 48;

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the record was written: one of another place was carried here.
    pub home: Home,
    /// Length of the bytes that follow.
    pub length: u32,
    /// Which chunk they are.
    pub key: ChunkKey,
    /// What storage said of the object.
    pub meta: ObjectMeta,
    /// When storage last vouched for that, to the second.
    pub kept_at: SystemTime,
    sum: u64,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory's own number, drawn when it was made.
    pub directory: u64,
    /// The extent's number.
    pub generation: u32,
}

#[derive(Serialize, Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    storage: Cow<'a, str>,
    epoch: u64,
    #[serde(borrow)]
    bucket: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    index: u64,
    #[serde(borrow)]
    etag: Cow<'a, str>,
    complete_length: u64,
    kept_at: u64,
    last_modified: Option<u64>,
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content_encoding: Option<Cow<'a, str>>,
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

/// By what one version is told from another without looking at the disk, now and then wrongly.
pub fn tag(etag: &ETag) -> u16 {
    sum([etag.as_str().as_bytes()]) as u16
}

/// The sum of bytes, whatever pieces they come in: CRC-64/NVME, the fastest of the wide ones.
pub fn sum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut sum = Digest::new(CrcAlgorithm::Crc64Nvme);
    for piece in pieces {
        sum.update(piece);
    }
    sum.finalize()
}

impl Head {
    /// The head of a chunk's record.
    pub fn new(
        home: Home,
        key: &ChunkKey,
        meta: &ObjectMeta,
        kept_at: SystemTime,
        bytes: &[u8],
    ) -> Self {
        Self {
            home,
            // A chunk is no longer than CHUNK_SIZE.
            length: bytes.len() as u32,
            key: key.clone(),
            meta: meta.clone(),
            kept_at,
            sum: sum([bytes]),
        }
    }

    /// Whether these are the bytes that were written.
    pub fn vouches(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.length as usize && sum([bytes]) == self.sum
    }

    /// Writes the head to a page; `false` where it does not fit one, because of a long key.
    pub fn encode(&self, page: &mut [u8; PAGE]) -> bool {
        let Ok(text) = serde_json::to_vec(&self.described()) else {
            return false;
        };
        compose(page, self.home, self.length, self.sum, &text)
    }

    fn described(&self) -> Described<'_> {
        let location = &self.key.version.location;
        let since =
            |time: SystemTime| Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs());
        Described {
            storage: location.storage.as_str().into(),
            epoch: location.epoch,
            bucket: (&*location.bucket).into(),
            key: (&*location.key).into(),
            index: self.key.index,
            etag: self.meta.etag.as_str().into(),
            complete_length: self.meta.complete_length,
            kept_at: since(self.kept_at).unwrap_or(0),
            last_modified: self.meta.last_modified.and_then(since),
            content_type: self.meta.content_type.as_deref().map(Into::into),
            content_encoding: self.meta.content_encoding.as_deref().map(Into::into),
        }
    }

    /// Reads a head back; none where the page holds none that is whole.
    pub fn decode(page: &[u8; PAGE]) -> Option<Self> {
        if page[..DIRECTORY] != *MAGIC {
            return None;
        }
        let mut unsigned = *page;
        unsigned[HEAD_SUM..FIXED].fill(0);
        if sum([&unsigned[..]]) != long(page, HEAD_SUM) {
            return None;
        }
        let end = FIXED.checked_add(word(page, DESCRIBED) as usize)?;
        let described = serde_json::from_slice(page.get(FIXED..end)?).ok()?;
        Self::of(page, described)
    }

    fn of(page: &[u8; PAGE], described: Described<'_>) -> Option<Self> {
        let length = word(page, LENGTH);
        let start = described.index.checked_mul(CHUNK_SIZE)?;
        let rest = described.complete_length.checked_sub(start)?;
        if rest.min(CHUNK_SIZE) != u64::from(length) || length == 0 {
            return None;
        }
        let etag = ETag::strong(&described.etag)?;
        let owned = |text: Cow<'_, str>| Arc::from(&*text);
        let time = |secs| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs));
        let location = ObjectLocation {
            storage: StorageId::from(&*described.storage),
            epoch: described.epoch,
            bucket: owned(described.bucket),
            key: owned(described.key),
        };
        Some(Self {
            home: Home {
                directory: long(page, DIRECTORY),
                generation: word(page, GENERATION),
            },
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
                last_modified: described.last_modified.and_then(time),
                content_type: described.content_type.map(owned),
                content_encoding: described.content_encoding.map(owned),
            },
            kept_at: time(described.kept_at)?,
            sum: long(page, BYTES_SUM),
        })
    }

    /// The record's name.
    pub fn name(&self) -> u128 {
        name(&self.key.version.location, self.key.index)
    }
}

/// A head's page of its parts; `false` where the description does not fit.
pub fn compose(
    page: &mut [u8; PAGE],
    home: Home,
    length: u32,
    bytes_sum: u64,
    described: &[u8],
) -> bool {
    let Some(room) = page.get_mut(FIXED..FIXED + described.len()) else {
        return false;
    };
    room.copy_from_slice(described);
    page[FIXED + described.len()..].fill(0);
    page[..FIXED].fill(0);
    page[..DIRECTORY].copy_from_slice(MAGIC);
    page[DIRECTORY..GENERATION].copy_from_slice(&home.directory.to_le_bytes());
    page[GENERATION..LENGTH].copy_from_slice(&home.generation.to_le_bytes());
    page[LENGTH..DESCRIBED].copy_from_slice(&length.to_le_bytes());
    page[DESCRIBED..DESCRIBED + 4].copy_from_slice(&(described.len() as u32).to_le_bytes());
    page[BYTES_SUM..HEAD_SUM].copy_from_slice(&bytes_sum.to_le_bytes());
    let own = sum([&page[..]]);
    page[HEAD_SUM..FIXED].copy_from_slice(&own.to_le_bytes());
    true
}

/// Pages that a record of `length` bytes takes, its head included.
pub fn pages(length: u32) -> usize {
    1 + (length as usize).div_ceil(PAGE)
}

/// The 32-bit number at a place; 0 past the end.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    number.copied().map_or(0, u32::from_le_bytes)
}

/// The 64-bit number at a place; 0 past the end.
pub fn long(bytes: &[u8], at: usize) -> u64 {
    let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    number.copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HOME: Home = Home {
        directory: 0x0123_4567_89ab_cdef,
        generation: 42,
    };

    /// When what these tests keep was vouched for.
    pub(crate) fn kept_at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

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
            let head = Head::new(HOME, &key, &meta, kept_at(), &bytes);
            let read = Head::decode(&encoded(&head)).expect("a head");
            assert_eq!(read, head);
            assert!(read.vouches(&bytes));
            assert!(!read.vouches(&bytes[1..]) && !read.vouches(&vec![8; bytes.len()]));
        }
    }

    #[test]
    fn a_head_with_any_bit_turned_is_none() {
        let (key, meta) = chunk("a.png", 0, 5);
        let page = encoded(&Head::new(HOME, &key, &meta, kept_at(), b"hello"));
        for bit in 0..PAGE * 8 {
            let mut damaged = page;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_key_that_does_not_fit_has_no_head() {
        let (key, meta) = chunk(&"\u{1}".repeat(1024), 0, 5);
        let head = Head::new(HOME, &key, &meta, kept_at(), b"hello");
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

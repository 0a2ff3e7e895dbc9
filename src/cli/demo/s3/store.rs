//! Objects of the embedded S3 server: bytes in memory, or bytes computed when they are asked for.
//!
//! Never touches a disk and never speaks HTTP. A generated object costs no memory, whatever its length.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// Fills a buffer with the bytes of an object that begin at the offset. The same offset gives the same bytes.
pub type Fill = Arc<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// What an object holds.
#[derive(Clone)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that are computed.
    Generated {
        /// How many there are.
        length: u64,
        /// Where they come from.
        fill: Fill,
    },
}

impl Content {
    /// Bytes that are computed by `fill`.
    pub fn generated(length: u64, fill: impl Fn(u64, &mut [u8]) + Send + Sync + 'static) -> Self {
        Self::Generated {
            length,
            fill: Arc::new(fill),
        }
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated { length, .. } => *length,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range; what lies past the end is left out.
    pub fn read(&self, range: Range<u64>) -> Bytes {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        match self {
            Self::Bytes(bytes) => bytes.slice(start as usize..end as usize),
            Self::Generated { fill, .. } => {
                let mut piece = vec![0; (end - start) as usize];
                fill(start, &mut piece);
                piece.into()
            }
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.len())
    }
}

/// One version of an object, with the headers it is answered with.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bytes.
    pub content: Content,
    /// Its entity tag without the quotes.
    pub etag: String,
    /// When it was written, to the second.
    pub last_modified: SystemTime,
    /// `Content-Type`, where it has one.
    pub content_type: Option<String>,
    /// `Content-Encoding`, where it has one.
    pub content_encoding: Option<String>,
}

impl Object {
    /// An object written now. Its tag is a digest of bytes in memory; computed ones get a new tag each time.
    pub fn new(content: impl Into<Content>, content_type: Option<&str>) -> Self {
        let content = content.into();
        let etag = match &content {
            Content::Bytes(bytes) => digest(bytes),
            Content::Generated { .. } => format!("{:032x}", fastrand::u128(..)),
        };
        Self {
            content,
            etag,
            last_modified: to_the_second(SystemTime::now()),
            content_type: content_type.map(str::to_owned),
            content_encoding: None,
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref()[..16]
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn to_the_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Every object, in the order of bucket and key.
#[derive(Default)]
pub(super) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    buckets: BTreeSet<String>,
    objects: BTreeMap<(String, String), Object>,
}

impl Store {
    pub(super) fn create_bucket(&self, bucket: &str) {
        self.lock().buckets.insert(bucket.to_owned());
    }

    pub(super) fn put(&self, bucket: &str, key: &str, object: Object) {
        let mut inner = self.lock();
        inner.buckets.insert(bucket.to_owned());
        inner
            .objects
            .insert((bucket.to_owned(), key.to_owned()), object);
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) {
        let key = (bucket.to_owned(), key.to_owned());
        self.lock().objects.remove(&key);
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.lock().buckets.contains(bucket)
    }

    pub(super) fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        let key = (bucket.to_owned(), key.to_owned());
        self.lock().objects.get(&key).cloned()
    }

    /// Keys after `after` that begin with the prefix, in order, at most `limit`.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Vec<(String, Object)> {
        let inner = self.lock();
        let from = (bucket.to_owned(), prefix.max(after).to_owned());
        let below = inner.objects.range(from..);
        below
            .take_while(|((b, _), _)| b == bucket)
            .filter(|((_, key), _)| {
                key.starts_with(prefix) && (after.is_empty() || key.as_str() > after)
            })
            .take(limit)
            .map(|((_, key), object)| (key.clone(), object.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

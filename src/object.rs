//! What an object is: where it lies, which version of it, and what is known about it.
//!
//! Ground: imports `ids` alone. No user ever appears in these types, so that no cache key can hold one.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::ids::StorageId;

/// A strong entity tag, quotes included, as storage gave it (RFC 9110 §8.8.3).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Takes a strong entity tag as it stands in a header; a tag without quotes (some S3 servers) gets them.
    /// `None` for a weak one, an empty one, or one with bytes that a tag cannot hold.
    pub fn strong(value: &str) -> Option<Self> {
        let value = value.trim();
        let opaque = match value.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"')?,
            None => value,
        };
        let valid = |b: u8| b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80;
        let usable = !opaque.is_empty() && !value.starts_with("W/") && opaque.bytes().all(valid);
        usable.then(|| Self(format!("\"{opaque}\"").into()))
    }

    /// The tag as a header has it, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

/// Where an object lies: the storage as it is configured now, the bucket in it, and the key in that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectLocation {
    /// The storage's id.
    pub storage: StorageId,
    /// Which configuration of that storage: one that is another server, bucket or identity than before never shares
    /// an entry with its former self. The same over restarts, so that what is on disk is found again.
    pub epoch: u64,
    /// Bucket, or what the provider calls it; empty for local files.
    pub bucket: Arc<str>,
    /// The key, every byte of it, not encoded; for local files the path below the root.
    pub key: Arc<str>,
}

/// One version of an object: what a chunk of bytes belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectVersion {
    /// Where it lies.
    pub location: ObjectLocation,
    /// Its validator.
    pub etag: ETag,
}

/// What storage says of an object, whole: the metadata behind an answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The strong validator that every read of this version is pinned to.
    pub etag: ETag,
    /// Length of the whole object in bytes (RFC 9110 §14.4 calls it so).
    pub complete_length: u64,
    /// When it was last modified, to the second, where storage says so.
    pub last_modified: Option<SystemTime>,
    /// Storage's own `Content-Type`; `None` where it gave none.
    pub content_type: Option<Arc<str>>,
    /// Storage's own `Content-Encoding`; the bytes are passed as stored.
    pub content_encoding: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_entity_tag_is_one() {
        for (written, read) in [
            ("\"abc\"", Some("\"abc\"")),
            ("abc", Some("\"abc\"")),
            ("\"a-2\"", Some("\"a-2\"")),
            ("W/\"abc\"", None),
            ("\"\"", None),
            ("", None),
            ("\"a\"b\"", None),
            ("\"abc", None),
            ("\"a b\"", None),
        ] {
            assert_eq!(
                ETag::strong(written).as_ref().map(ETag::as_str),
                read,
                "{written}"
            );
        }
    }

    #[test]
    fn an_entity_tag_is_written_as_a_header_has_it() {
        let etag = ETag::strong("abc-2").unwrap();
        assert_eq!(etag.to_string(), "\"abc-2\"");
        assert_eq!(format!("{etag:?}"), "ETag(\"abc-2\")");
    }
}

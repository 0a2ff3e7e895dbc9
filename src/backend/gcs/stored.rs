//! What an answer says of the object as it is stored: its generation, its length, its coding, its checksum.
//!
//! Never takes what was transcoded on the way, for that has other ranges. Follows "Headers and query string
//! parameters" of the XML API (`x-goog-generation`, `x-goog-stored-content-*`, `x-goog-hash`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::{TryStreamExt, stream};
use http::{HeaderMap, HeaderName, header};

use crate::backend::http::text;
use crate::backend::{BackendError, ByteStream, Condition};
use crate::object::{ETag, ObjectMeta};

const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
const HASH: HeaderName = HeaderName::from_static("x-goog-hash");
const CONTENT_ENCODING: HeaderName = HeaderName::from_static("x-goog-stored-content-encoding");
const CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-goog-stored-content-length");

/// The stored object.
pub struct Stored {
    /// The answer's fields with the generation as entity tag: Google's own is the same for two generations of the
    /// same bytes, and could not be asked for.
    pub fields: HeaderMap,
    /// Its length, where it is told apart from the answer's.
    pub complete_length: Option<u64>,
    /// The checksum of all of its bytes, where it is told.
    pub crc32c: Option<u32>,
}

impl Stored {
    /// What these fields say of it.
    pub fn of(fields: &HeaderMap) -> Result<Self, BackendError> {
        let generation = text(fields, GENERATION)
            .filter(|generation| is_number(generation))
            .and_then(ETag::strong)
            .and_then(|etag| etag.as_str().parse().ok())
            .ok_or_else(|| BackendError::Protocol("no generation".into()))?;
        let mut tagged = fields.clone();
        tagged.insert(header::ETAG, generation);
        Ok(Self {
            fields: tagged,
            complete_length: text(fields, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            crc32c: crc32c(fields),
        })
    }

    /// The answer's metadata, if they are of the bytes as they are stored.
    pub fn checked(&self, meta: ObjectMeta) -> Result<ObjectMeta, BackendError> {
        let stored = text(&self.fields, CONTENT_ENCODING);
        let coding = meta.content_encoding.as_deref();
        let same_coding = stored.is_none_or(|stored| stored == coding.unwrap_or("identity"));
        let same_length = self
            .complete_length
            .is_none_or(|length| length == meta.complete_length);
        (same_coding && same_length)
            .then_some(meta)
            .ok_or_else(|| BackendError::Protocol("transcoded on the way".into()))
    }
}

/// The generation that the answer has to be of. A tag that is none of this storage's names no version that is there.
pub fn pinned(condition: &Condition) -> Result<Option<&str>, BackendError> {
    let Condition::IfMatch(etag) = condition else {
        return Ok(None);
    };
    let generation = etag.as_str().trim_matches('"');
    is_number(generation)
        .then_some(Some(generation))
        .ok_or(BackendError::Changed)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `crc32c=BASE64`, among other hashes, in one field or in several.
fn crc32c(fields: &HeaderMap) -> Option<u32> {
    let hashes = fields.get_all(HASH).into_iter();
    let mut hashes = hashes
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let hash = hashes.find_map(|hash| hash.trim().strip_prefix("crc32c="))?;
    let bytes = STANDARD.decode(hash).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// All of an object's bytes, the last of which are only given when the checksum holds. Costs no second pass.
pub fn verified(body: ByteStream, length: u64, expected: u32) -> ByteStream {
    let state = (body, Digest::new(CrcAlgorithm::Crc32Iscsi), length);
    Box::pin(stream::try_unfold(
        state,
        move |(mut body, mut digest, left)| async move {
            let Some(frame) = body.try_next().await? else {
                return Ok(None);
            };
            digest.update(&frame);
            let left = left.saturating_sub(frame.len() as u64);
            if left == 0 && digest.finalize() != u64::from(expected) {
                return Err(BackendError::Protocol(
                    "the bytes are not those of the checksum".into(),
                ));
            }
            Ok(Some((frame, (body, digest, left))))
        },
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backend::http::object_meta;

    fn fields(more: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        };
        more.iter().map(pair).collect()
    }

    fn meta(more: &[(&'static str, &'static str)]) -> Result<ObjectMeta, BackendError> {
        let stored = Stored::of(&fields(more))?;
        stored.checked(object_meta(&stored.fields, 10)?)
    }

    #[test]
    fn the_generation_is_the_tag_and_googles_own_is_not() {
        let found = meta(&[("x-goog-generation", "17"), ("etag", "\"md5\"")]).expect("metadata");
        assert_eq!(found.etag.as_str(), "\"17\"");
        for generation in ["", "a", "1 2", "-1", "\"1\""] {
            let answer = meta(&[("x-goog-generation", generation), ("etag", "\"md5\"")]);
            assert!(
                matches!(answer, Err(BackendError::Protocol(_))),
                "{generation:?}"
            );
        }
    }

    #[test]
    fn what_was_transcoded_is_not_taken() {
        let answer = |coding, stored, length| {
            meta(&[
                ("x-goog-generation", "1"),
                ("content-encoding", coding),
                ("x-goog-stored-content-encoding", stored),
                ("x-goog-stored-content-length", length),
            ])
        };
        assert!(answer("", "identity", "10").is_ok());
        assert!(answer("gzip", "gzip", "10").is_ok());
        for (coding, stored, length) in [
            ("", "gzip", "10"),
            ("gzip", "identity", "10"),
            ("", "identity", "9"),
        ] {
            let refused = answer(coding, stored, length);
            assert!(
                matches!(refused, Err(BackendError::Protocol(_))),
                "{coding} {stored} {length}"
            );
        }
    }

    #[test]
    fn a_tag_of_another_storage_pins_no_generation() {
        let if_match = |tag: &str| Condition::IfMatch(ETag::strong(tag).expect("a tag"));
        assert!(matches!(pinned(&if_match("\"12\"")), Ok(Some("12"))));
        assert!(matches!(
            pinned(&if_match("\"1a\"")),
            Err(BackendError::Changed)
        ));
        assert!(matches!(pinned(&Condition::None), Ok(None)));
    }

    #[tokio::test]
    async fn bytes_that_the_checksum_does_not_hold_for_are_not_given_to_their_end() {
        // RFC 3720 §B.4: 32 bytes of zeroes.
        let told = fields(&[("x-goog-hash", "md5=AAAA, crc32c=ipE2qg==")]);
        let crc32c = crc32c(&told).expect("a checksum");
        assert_eq!(crc32c, 0x8a91_36aa);
        let read = async |last: u8| {
            let mut bytes = [0; 32];
            bytes[31] = last;
            let frames: Vec<_> = bytes
                .chunks(20)
                .map(|frame| Ok(Bytes::copy_from_slice(frame)))
                .collect();
            let body: ByteStream = Box::pin(stream::iter(frames));
            verified(body, 32, crc32c).try_collect::<Vec<_>>().await
        };
        assert_eq!(read(0).await.expect("it is whole").concat(), [0; 32]);
        assert!(matches!(read(1).await, Err(BackendError::Protocol(_))));
    }
}

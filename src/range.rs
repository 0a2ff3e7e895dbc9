//! Byte ranges: from a `Range` field to the bytes of one representation (RFC 9110 §14). Pure.
//!
//! Ground: half-open inside; inclusive only where `Content-Range` is written.

use std::ops::Range;

/// One range as a client asked for it, before the object's length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-last`, inclusive on both sides.
    FromTo {
        /// First position.
        first_pos: u64,
        /// Last position, inclusive.
        last_pos: u64,
    },
    /// `first-`: to the end.
    From {
        /// First position.
        first_pos: u64,
    },
    /// `-length`: the last bytes.
    Suffix {
        /// How many.
        length: u64,
    },
}

/// Bytes of a representation that are there: never empty, never past the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRange {
    range: Range<u64>,
    complete_length: u64,
}
impl ByteRange {
    /// tmp
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

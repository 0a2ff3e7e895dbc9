//! Byte ranges: from a `Range` field to the bytes of one representation (RFC 9110 §14). Pure.
//!
//! Ground: half-open inside; inclusive only where `Content-Range` is written. The crate `http-range-header` is not
//! used: it disagrees with the RFC in the places that the last test names.

use std::ops::Range;

/// The longest `Range` field that is read; two 20-digit positions need 50 bytes. A longer one is ignored, as
/// RFC 9110 §14.2 allows, before anything is spent on it.
const MAX_FIELD_LENGTH: usize = 256;

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

/// None of the bytes asked for is there: 416, with the complete length in `Content-Range` (RFC 9110 §15.5.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range is not satisfiable in {complete_length} bytes")]
pub struct Unsatisfiable {
    /// The representation's length in bytes.
    pub complete_length: u64,
}

impl RangeSpec {
    /// Reads the value of a `Range` field. `None` is "answer as if there were no `Range`": another unit than bytes,
    /// broken syntax, a last position before the first (§14.1.1), or several ranges, to which a server may answer
    /// with everything (§14.2). Positions past `u64` are as good as infinite.
    pub fn parse(field: &[u8]) -> Option<Self> {
        if field.len() > MAX_FIELD_LENGTH {
            return None;
        }
        let (unit, set) = std::str::from_utf8(field).ok()?.split_once('=')?;
        // No whitespace stands around the equals sign; in the list it does (§5.6.1), and empty elements, too.
        if !unit.eq_ignore_ascii_case("bytes") || set.starts_with(OWS) {
            return None;
        }
        let mut elements = set
            .split(',')
            .map(|element| element.trim_matches(OWS))
            .filter(|element| !element.is_empty());
        let only = elements.next()?;
        match elements.next() {
            None => Self::parse_one(only),
            Some(_) => None,
        }
    }

    fn parse_one(spec: &str) -> Option<Self> {
        match spec.split_once('-')? {
            ("", length) => Some(Self::Suffix {
                length: digits(length)?,
            }),
            (first, "") => Some(Self::From {
                first_pos: digits(first)?,
            }),
            (first, last) => {
                let (first_pos, last_pos) = (digits(first)?, digits(last)?);
                (first_pos <= last_pos).then_some(Self::FromTo {
                    first_pos,
                    last_pos,
                })
            }
        }
    }

    /// The bytes that are there. `Ok(None)` is a suffix of an empty representation: satisfiable by §14.1.2, yet
    /// there is no `Content-Range` to write for it, so the answer is 200 with the whole, which is nothing.
    pub fn satisfy(self, complete_length: u64) -> Result<Option<ByteRange>, Unsatisfiable> {
        let (start, end) = match self {
            Self::FromTo {
                first_pos,
                last_pos,
            } => (first_pos, last_pos.saturating_add(1).min(complete_length)),
            Self::From { first_pos } => (first_pos, complete_length),
            Self::Suffix { length: 0 } => return Err(Unsatisfiable { complete_length }),
            Self::Suffix { length } => match ByteRange::whole(complete_length) {
                Some(_) => (complete_length.saturating_sub(length), complete_length),
                None => return Ok(None),
            },
        };
        if start >= end {
            return Err(Unsatisfiable { complete_length });
        }
        Ok(Some(ByteRange {
            range: start..end,
            complete_length,
        }))
    }
}

/// RFC 9110 §5.6.3.
const OWS: [char; 2] = [' ', '\t'];

fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Bytes of a representation that are there: never empty, never past the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRange {
    range: Range<u64>,
    complete_length: u64,
}

impl ByteRange {
    /// Everything; `None` for an empty representation.
    pub fn whole(complete_length: u64) -> Option<Self> {
        (complete_length > 0).then_some(Self {
            range: 0..complete_length,
            complete_length,
        })
    }

    /// Position of the first byte.
    pub fn first_pos(&self) -> u64 {
        self.range.start
    }

    /// Position of the last byte, inclusive, as headers have it.
    pub fn last_pos(&self) -> u64 {
        self.range.end - 1
    }

    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "a byte range is never empty")]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Half-open.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Length of the representation that these bytes are of.
    pub fn complete_length(&self) -> u64 {
        self.complete_length
    }

    /// The value of `Content-Range` (RFC 9110 §14.4).
    pub fn content_range(&self) -> String {
        format!(
            "bytes {}-{}/{}",
            self.first_pos(),
            self.last_pos(),
            self.complete_length
        )
    }

    /// The first `max` bytes of it; at least one, since a range is never empty.
    pub fn cut_to(self, max: u64) -> Self {
        let end = self
            .range
            .end
            .min(self.range.start.saturating_add(max.max(1)));
        Self {
            range: self.range.start..end,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RangeSpec::*;
    use super::*;

    #[test]
    fn a_field_is_one_range_or_ignored() {
        let max = u64::MAX;
        for (field, spec) in [
            (
                "bytes=0-0",
                Some(FromTo {
                    first_pos: 0,
                    last_pos: 0,
                }),
            ),
            (
                "bytes=007-9",
                Some(FromTo {
                    first_pos: 7,
                    last_pos: 9,
                }),
            ),
            ("BYTES=5-", Some(From { first_pos: 5 })),
            ("bytes=-5", Some(Suffix { length: 5 })),
            ("bytes=-0", Some(Suffix { length: 0 })),
            (
                "bytes=, 0-1 ,\t,",
                Some(FromTo {
                    first_pos: 0,
                    last_pos: 1,
                }),
            ),
            (
                "bytes=0-99999999999999999999",
                Some(FromTo {
                    first_pos: 0,
                    last_pos: max,
                }),
            ),
            ("bytes=99999999999999999999-", Some(From { first_pos: max })),
            ("bytes=0-1,2-3", None),
            ("bytes=2-1", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=,", None),
            ("bytes= 0-1", None),
            ("bytes =0-1", None),
            ("bytes=0 - 1", None),
            ("bytes=0-1-2", None),
            ("bytes=--1", None),
            ("bytes=+1-2", None),
            ("bytes=0x1-2", None),
            ("bytes=a-b", None),
            ("bytes=٣-٤", None),
            ("bytes", None),
            ("items=0-1", None),
            ("", None),
        ] {
            assert_eq!(RangeSpec::parse(field.as_bytes()), spec, "{field}");
        }
        assert_eq!(RangeSpec::parse(b"bytes=0-\xff"), None);
        let long = format!("bytes={}0-", ",".repeat(MAX_FIELD_LENGTH - 8));
        assert_eq!(
            RangeSpec::parse(long.as_bytes()),
            Some(From { first_pos: 0 })
        );
        assert_eq!(RangeSpec::parse(format!("{long}1").as_bytes()), None);
    }

    #[test]
    fn a_range_is_cut_at_the_end_or_not_satisfiable() {
        for (field, complete_length, content_range) in [
            ("bytes=0-0", 1, Ok("bytes 0-0/1")),
            ("bytes=0-9", 100, Ok("bytes 0-9/100")),
            ("bytes=90-199", 100, Ok("bytes 90-99/100")),
            ("bytes=99-", 100, Ok("bytes 99-99/100")),
            ("bytes=-1", 100, Ok("bytes 99-99/100")),
            ("bytes=-100", 100, Ok("bytes 0-99/100")),
            ("bytes=-999", 100, Ok("bytes 0-99/100")),
            ("bytes=-99999999999999999999", 100, Ok("bytes 0-99/100")),
            ("bytes=0-99999999999999999999", 100, Ok("bytes 0-99/100")),
            (
                "bytes=18446744073709551614-",
                u64::MAX,
                Ok("bytes 18446744073709551614-18446744073709551614/18446744073709551615"),
            ),
            (
                "bytes=0-18446744073709551615",
                u64::MAX,
                Ok("bytes 0-18446744073709551614/18446744073709551615"),
            ),
            ("bytes=100-", 100, Err(100)),
            ("bytes=100-200", 100, Err(100)),
            ("bytes=99999999999999999999-", u64::MAX, Err(u64::MAX)),
            ("bytes=-0", 100, Err(100)),
            ("bytes=0-", 0, Err(0)),
            ("bytes=0-0", 0, Err(0)),
            ("bytes=-0", 0, Err(0)),
        ] {
            let satisfied = RangeSpec::parse(field.as_bytes())
                .unwrap()
                .satisfy(complete_length);
            let written = satisfied.map(|range| range.unwrap().content_range());
            let expected = content_range.map(str::to_owned);
            assert_eq!(written.map_err(|e| e.complete_length), expected, "{field}");
        }
    }

    #[test]
    fn a_suffix_of_nothing_is_the_whole_of_nothing() {
        assert_eq!(Suffix { length: 5 }.satisfy(0), Ok(None));
        assert_eq!(ByteRange::whole(0), None);
    }

    #[test]
    fn a_range_is_cut_exactly() {
        let range = From { first_pos: 10 }.satisfy(100).unwrap().unwrap();
        assert_eq!(range.len(), 90);
        assert_eq!(range.clone().cut_to(8).content_range(), "bytes 10-17/100");
        assert_eq!(range.clone().cut_to(90), range);
        assert_eq!(range.clone().cut_to(u64::MAX), range);
        assert_eq!(range.clone().cut_to(0).len(), 1);
        assert_eq!(range.range(), 10..100);
        assert_eq!(range.complete_length(), 100);
    }

    #[test]
    fn every_range_stands_within_its_representation() {
        let positions = [0, 1, 2, 9, 10, 11, u64::MAX - 1, u64::MAX];
        for a in positions {
            for b in positions {
                for complete_length in positions {
                    for spec in [
                        FromTo {
                            first_pos: a,
                            last_pos: b,
                        },
                        From { first_pos: a },
                        Suffix { length: a },
                    ] {
                        if let Ok(Some(range)) = spec.satisfy(complete_length) {
                            assert!(
                                range.len() > 0 && range.last_pos() < complete_length,
                                "{spec:?}"
                            );
                            assert!(range.cut_to(b).len() <= b.max(1));
                        }
                    }
                }
            }
        }
    }

    /// What `http-range-header` makes of a field, with its every error a 416, since it does not tell them apart.
    fn by_crate(field: &str, complete_length: u64) -> Option<Range<u64>> {
        let parsed = http_range_header::parse_range_header(field).ok()?;
        let ranges = parsed.validate(complete_length).ok()?;
        let [only] = ranges.as_slice() else {
            return None;
        };
        Some(*only.start()..only.end() + 1)
    }

    fn by_us(field: &str, complete_length: u64) -> Option<Range<u64>> {
        let satisfied = RangeSpec::parse(field.as_bytes())?.satisfy(complete_length);
        satisfied.ok().flatten().map(|range| range.range())
    }

    #[test]
    fn http_range_header_agrees_on_ordinary_fields_and_disagrees_with_the_rfc_elsewhere() {
        for field in [
            "bytes=0-0",
            "bytes=0-99",
            "bytes=5-",
            "bytes=99-",
            "bytes=-5",
            "bytes=-100",
            "bytes=90-199",
            "bytes=100-",
        ] {
            assert_eq!(by_crate(field, 100), by_us(field, 100), "{field}");
        }
        // RFC 9110 §14.1.2: a suffix longer than the representation is the whole of it. §14.1: units in any case.
        // §5.6.1.2: empty list elements are ignored. §5.6: digits may begin with zeros.
        for (field, range) in [
            ("bytes=-999", 0..100),
            ("BYTES=0-9", 0..10),
            ("bytes=0-1,", 0..2),
            ("bytes=00-1", 0..2),
        ] {
            assert_eq!(by_crate(field, 100), None, "{field}");
            assert_eq!(by_us(field, 100), Some(range), "{field}");
        }
        // §14.2: an unknown unit is ignored; the crate has one error for it and for what is not satisfiable.
        assert!(http_range_header::parse_range_header("items=0-1").is_err());
        assert_eq!(RangeSpec::parse(b"items=0-1"), None);
    }
}

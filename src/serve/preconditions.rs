//! Conditional requests: whether the client already has what it asks for, or asks of another version.
//!
//! Pure, for GET and HEAD alone. Follows RFC 9110 §13.2.2 in its order; `If-Range` (§13.1.5) comes last, with the
//! range. Access was checked before any of it: a 304 says that an object exists.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};

use crate::object::{ETag, ObjectMeta};

/// The precondition fields of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<EntityTags>,
    if_unmodified_since: Option<SystemTime>,
    if_none_match: Option<EntityTags>,
    if_modified_since: Option<SystemTime>,
    if_range: Option<IfRange>,
}

/// What the preconditions say of the version that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client means.
    Failed,
}

impl Preconditions {
    /// Reads the fields. Several lines of one field are one list (§5.3); a date that is none is ignored (§13.1.3).
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let tags = |name| joined(headers, name).map(|value| EntityTags::parse(&value));
        let date = |name| joined(headers, name).and_then(|value| http_date(&value));
        Self {
            if_match: tags(header::IF_MATCH),
            if_unmodified_since: date(header::IF_UNMODIFIED_SINCE),
            if_none_match: tags(header::IF_NONE_MATCH),
            if_modified_since: date(header::IF_MODIFIED_SINCE),
            if_range: joined(headers, header::IF_RANGE).map(|value| IfRange::parse(&value)),
        }
    }

    /// §13.2.2, steps 1 to 4. A date says nothing about an object whose modification date is not known.
    pub fn evaluate(&self, meta: &ObjectMeta) -> Verdict {
        let not_after =
            |date: Option<SystemTime>| Some(seconds(meta.last_modified?) <= seconds(date?));
        let is_meant = match &self.if_match {
            Some(tags) => tags.strongly_match(&meta.etag),
            None => not_after(self.if_unmodified_since).unwrap_or(true),
        };
        if !is_meant {
            return Verdict::Failed;
        }
        let is_known = match &self.if_none_match {
            Some(tags) => tags.weakly_match(&meta.etag),
            None => not_after(self.if_modified_since).unwrap_or(false),
        };
        if is_known {
            Verdict::NotModified
        } else {
            Verdict::Proceed
        }
    }

    /// §13.2.2, step 5: whether the range asked for is one of this version. A date is a strong validator only where
    /// nothing can have changed within its second (§8.8.2.2), `now` being the answer's own date.
    pub fn range_applies(&self, meta: &ObjectMeta, now: SystemTime) -> bool {
        match (&self.if_range, meta.last_modified) {
            (None, _) => true,
            (Some(IfRange::Tag(tag)), _) => tag.strongly_matches(&meta.etag),
            (Some(IfRange::Date(date)), Some(modified)) => {
                seconds(*date) == seconds(modified) && seconds(modified) < seconds(now)
            }
            (Some(IfRange::Date(_)), None) | (Some(IfRange::Nothing), _) => false,
        }
    }
}

/// `If-Match` and `If-None-Match`: `*`, or the tags of the list that are tags. A field without any matches nothing,
/// which is the safe side of both: 412 for the one, the whole answer for the other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntityTags {
    Any,
    List(Vec<EntityTag>),
}

impl EntityTags {
    fn parse(value: &[u8]) -> Self {
        if value.trim_ascii() == b"*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        let mut rest = value;
        while !rest.is_empty() {
            rest = match EntityTag::split_from(rest) {
                Some((tag, after)) => {
                    tags.push(tag);
                    after
                }
                None => &rest[1..],
            };
        }
        Self::List(tags)
    }

    fn strongly_match(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| tag.strongly_matches(etag)),
        }
    }

    fn weakly_match(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags
                .iter()
                .any(|tag| tag.quoted == etag.as_str().as_bytes()),
        }
    }
}

/// §8.8.3, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntityTag {
    weak: bool,
    quoted: Vec<u8>,
}

impl EntityTag {
    /// A tag at the beginning of `value`, and what follows it. A comma may stand within the quotes.
    fn split_from(value: &[u8]) -> Option<(Self, &[u8])> {
        let strong = value.strip_prefix(b"W/");
        let (weak, value) = (strong.is_some(), strong.unwrap_or(value));
        let opaque = value.strip_prefix(b"\"")?;
        let end = opaque.iter().position(|b| *b == b'"')? + 2;
        let quoted = value[..end].to_vec();
        Some((Self { weak, quoted }, &value[end..]))
    }

    fn strongly_matches(&self, etag: &ETag) -> bool {
        !self.weak && self.quoted == etag.as_str().as_bytes()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IfRange {
    Tag(EntityTag),
    Date(SystemTime),
    /// Neither of the two: no version is meant, so the range never applies.
    Nothing,
}

impl IfRange {
    fn parse(value: &[u8]) -> Self {
        match EntityTag::split_from(value.trim_ascii()) {
            Some((tag, [])) => Self::Tag(tag),
            Some(_) => Self::Nothing,
            None => http_date(value).map_or(Self::Nothing, Self::Date),
        }
    }
}

fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(|line| line.as_bytes())
        .collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

fn http_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}

/// HTTP's dates have no fractions; what is compared with them has none, either.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn meta(last_modified: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            etag: ETag::strong("\"a,b\"").unwrap(),
            complete_length: 10,
            last_modified: last_modified.map(|date| httpdate::parse_http_date(date).unwrap()),
            content_type: None,
            content_encoding: None,
        }
    }

    fn preconditions(fields: &[(&'static str, &str)]) -> Preconditions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Preconditions::from_headers(&headers)
    }

    #[test]
    fn the_fields_are_evaluated_in_the_order_of_rfc_9110() {
        use Verdict::*;
        const IM: &str = "if-match";
        const IUS: &str = "if-unmodified-since";
        const INM: &str = "if-none-match";
        const IMS: &str = "if-modified-since";
        for (fields, verdict) in [
            (&[][..], Proceed),
            (&[(IM, "\"a,b\"")], Proceed),
            (&[(IM, "*")], Proceed),
            (&[(IM, "\"x\", \"a,b\"")], Proceed),
            (&[(IM, "\"x\""), (IM, "\"a,b\"")], Proceed),
            (&[(IM, "\"x\"")], Failed),
            (&[(IM, "W/\"a,b\"")], Failed),
            (&[(IM, "a,b")], Failed),
            (&[(IM, "\"a")], Failed),
            (&[(IM, "")], Failed),
            (&[(IUS, MODIFIED)], Proceed),
            (&[(IUS, AFTER)], Proceed),
            (&[(IUS, BEFORE)], Failed),
            (&[(IUS, "yesterday")], Proceed),
            (&[(IUS, MODIFIED), (IUS, BEFORE)], Proceed),
            (&[(IM, "\"a,b\""), (IUS, BEFORE)], Proceed),
            (&[(IM, "\"x\""), (IUS, AFTER)], Failed),
            (&[(INM, "\"a,b\"")], NotModified),
            (&[(INM, "W/\"a,b\"")], NotModified),
            (&[(INM, " * ")], NotModified),
            (&[(INM, "\"x\",W/\"y\" , \"a,b\"")], NotModified),
            (&[(INM, "\"x\""), (INM, "\"a,b\"")], NotModified),
            (&[(INM, "\"x\"")], Proceed),
            (&[(INM, "garbage")], Proceed),
            (&[(INM, "garbage, \"a,b\"")], NotModified),
            (&[(IMS, MODIFIED)], NotModified),
            (&[(IMS, AFTER)], NotModified),
            (&[(IMS, "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[(IMS, "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[(IMS, BEFORE)], Proceed),
            (&[(IMS, "1994")], Proceed),
            (&[(INM, "\"x\""), (IMS, AFTER)], Proceed),
            (&[(INM, "\"a,b\""), (IMS, BEFORE)], NotModified),
            (&[(IM, "\"a,b\""), (INM, "\"a,b\"")], NotModified),
            (&[(IM, "\"x\""), (INM, "\"a,b\"")], Failed),
            (&[(IUS, BEFORE), (IMS, AFTER)], Failed),
        ] {
            assert_eq!(
                preconditions(fields).evaluate(&meta(Some(MODIFIED))),
                verdict,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn a_date_says_nothing_about_an_object_without_one() {
        for (name, value) in [
            ("if-unmodified-since", BEFORE),
            ("if-modified-since", AFTER),
        ] {
            assert_eq!(
                preconditions(&[(name, value)]).evaluate(&meta(None)),
                Verdict::Proceed
            );
        }
    }

    #[test]
    fn a_range_applies_only_to_the_version_that_if_range_means() {
        let modified = meta(Some(MODIFIED));
        let at = |date| httpdate::parse_http_date(date).unwrap();
        for (value, now, applies) in [
            ("\"a,b\"", MODIFIED, true),
            ("W/\"a,b\"", AFTER, false),
            ("\"x\"", AFTER, false),
            ("\"x\", \"a,b\"", AFTER, false),
            ("*", AFTER, false),
            ("", AFTER, false),
            (MODIFIED, AFTER, true),
            (MODIFIED, MODIFIED, false),
            (AFTER, "Sun, 06 Nov 1994 09:49:37 GMT", false),
            (BEFORE, AFTER, false),
        ] {
            let conditions = preconditions(&[("if-range", value)]);
            assert_eq!(
                conditions.range_applies(&modified, at(now)),
                applies,
                "{value} {now}"
            );
        }
        assert!(preconditions(&[]).range_applies(&modified, at(AFTER)));
        assert!(!preconditions(&[("if-range", MODIFIED)]).range_applies(&meta(None), at(AFTER)));
    }

    #[test]
    fn no_field_makes_it_panic() {
        let pieces = ["\"", "W/", ",", " ", "*", "a", "\u{e9}", MODIFIED];
        fastrand::seed(7);
        for _ in 0..10_000 {
            let value: String = (0..fastrand::usize(..8))
                .map(|_| pieces[fastrand::usize(..pieces.len())])
                .collect();
            for name in ["if-match", "if-none-match", "if-range", "if-modified-since"] {
                let mut headers = HeaderMap::new();
                headers.append(
                    name,
                    http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                );
                let conditions = Preconditions::from_headers(&headers);
                let _ = conditions.evaluate(&meta(Some(MODIFIED)));
                let _ = conditions.range_applies(&meta(None), SystemTime::UNIX_EPOCH);
            }
        }
    }
}

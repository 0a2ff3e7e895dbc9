//! Preconditions against RFC 9110 §13.2.2 as a decision table, and against what must hold of any field.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{lines, number};
use crate::object::{ETag, ObjectMeta};
use crate::serve::preconditions::{Preconditions, Verdict};

const FIELDS: [(u8, HeaderName); 5] = [
    (b'm', header::IF_MATCH),
    (b'u', header::IF_UNMODIFIED_SINCE),
    (b'n', header::IF_NONE_MATCH),
    (b's', header::IF_MODIFIED_SINCE),
    (b'r', header::IF_RANGE),
];

/// The object's tag, the second it was modified in (or none), the answer's own second, then a field a line: its letter
/// above, and the value.
pub fn preconditions(input: &[u8]) {
    let [etag, modified, now, fields] = lines(input);
    let etag = std::str::from_utf8(etag).ok().and_then(ETag::strong);
    let Some(etag) = etag else {
        return;
    };
    // HTTP's calendar ends with the year 9999.
    let seconds = |line| at(number(line, 0).min(253_402_300_799));
    let meta = meta(etag, (!modified.is_empty()).then(|| seconds(modified)));
    let mut headers = HeaderMap::new();
    for line in fields.split(|byte| *byte == b'\n').take(8) {
        let Some((letter, value)) = line.split_first() else {
            continue;
        };
        let name = FIELDS.iter().find(|(known, _)| known == letter);
        if let (Some((_, name)), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    holds(&headers, &meta, seconds(now));
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn meta(etag: ETag, last_modified: Option<SystemTime>) -> ObjectMeta {
    ObjectMeta {
        etag,
        complete_length: 10,
        last_modified,
        content_type: None,
        content_encoding: None,
    }
}

fn verdict(headers: &HeaderMap, meta: &ObjectMeta) -> Verdict {
    Preconditions::from_headers(headers).evaluate(meta)
}

fn without(headers: &HeaderMap, name: HeaderName) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(name);
    headers
}

/// What holds of any fields, however broken.
fn holds(headers: &HeaderMap, meta: &ObjectMeta, now: SystemTime) {
    let decided = verdict(headers, meta);
    let has = |name| headers.contains_key(name);
    // A field that is there and says yes names the version, or any; nothing is guessed.
    let names_it = |name: HeaderName| {
        let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let quoted = meta.etag.as_str().as_bytes();
        lines.any(|line| {
            line.trim_ascii() == b"*" || line.windows(quoted.len()).any(|w| w == quoted)
        })
    };
    if has(header::IF_MATCH) {
        assert!(decided == Verdict::Failed || names_it(header::IF_MATCH));
        let alone = without(headers, header::IF_UNMODIFIED_SINCE);
        assert_eq!(
            verdict(&alone, meta),
            decided,
            "§13.2.2: step 2 is only for want of if-match"
        );
    } else if has(header::IF_NONE_MATCH) && decided == Verdict::NotModified {
        assert!(names_it(header::IF_NONE_MATCH));
    }
    if has(header::IF_NONE_MATCH) {
        let alone = without(headers, header::IF_MODIFIED_SINCE);
        assert_eq!(
            verdict(&alone, meta),
            decided,
            "§13.2.2: step 4 is only for want of if-none-match"
        );
    }
    assert_eq!(
        verdict(&without(headers, header::IF_RANGE), meta),
        decided,
        "step 5 is not one of these"
    );
    if meta.last_modified.is_none() && !has(header::IF_MATCH) && !has(header::IF_NONE_MATCH) {
        assert_eq!(
            decided,
            Verdict::Proceed,
            "a date says nothing of an object without one"
        );
    }
    let applies = Preconditions::from_headers(headers).range_applies(meta, now);
    let dated = || meta.last_modified.is_some_and(|modified| modified < now);
    assert!(!applies || !has(header::IF_RANGE) || names_it(header::IF_RANGE) || dated());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9110 §13.2.2, steps 1 to 4, for GET and HEAD, each condition absent, true or false.
    fn table(
        if_match: Option<bool>,
        if_unmodified: Option<bool>,
        if_none_match: Option<bool>,
        if_modified: Option<bool>,
    ) -> Verdict {
        match (if_match, if_unmodified, if_none_match, if_modified) {
            (Some(false), _, _, _) => Verdict::Failed,
            (None, Some(false), _, _) => Verdict::Failed,
            (_, _, Some(false), _) => Verdict::NotModified,
            (_, _, None, Some(false)) => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }

    const MODIFIED: u64 = 784_111_777;

    /// A list of tags as it is written, or `*`.
    #[derive(Clone, Debug)]
    struct Tags(Option<Vec<(bool, &'static str)>>);

    impl Tags {
        /// Lines with empty elements and white space (§5.6.1).
        fn append_to(&self, headers: &mut HeaderMap, name: HeaderName, split: usize) {
            let Some(tags) = &self.0 else {
                headers.append(name, HeaderValue::from_static("*"));
                return;
            };
            let tags: Vec<_> = tags
                .iter()
                .map(|(weak, opaque)| format!("{}\"{opaque}\"", if *weak { "W/" } else { "" }))
                .collect();
            let (one, other) = tags.split_at(split.min(tags.len()));
            headers.append(&name, one.join(" ,, ").parse().expect("a value"));
            if !other.is_empty() {
                headers.append(
                    &name,
                    format!(",{}", other.join(",\t")).parse().expect("a value"),
                );
            }
        }

        fn has(&self, weakly: bool, etag: &str) -> bool {
            let fits = |(weak, opaque): &(bool, &str)| (weakly || !weak) && *opaque == etag;
            self.0.as_ref().is_none_or(|tags| tags.iter().any(fits))
        }
    }

    const OPAQUE: [&str; 5] = ["a", "a,b", "a, b", "W/", ""];

    fn tags() -> impl Strategy<Value = Option<Tags>> {
        let tag = (any::<bool>(), proptest::sample::select(&OPAQUE[..]));
        let list = proptest::collection::vec(tag, 0..4).prop_map(|tags| Tags(Some(tags)));
        proptest::option::of(prop_oneof![5 => list, 1 => Just(Tags(None))])
    }

    /// Seconds beside the object's own; `Some(None)` is a field that is no date, and is ignored (§13.1.3, §13.1.4).
    fn date() -> impl Strategy<Value = Option<Option<u64>>> {
        let second = MODIFIED - 2..MODIFIED + 3;
        proptest::option::of(prop_oneof![5 => second.prop_map(Some), 1 => Just(None)])
    }

    fn append_date(headers: &mut HeaderMap, name: HeaderName, date: Option<Option<u64>>) {
        let Some(date) = date else {
            return;
        };
        let written = date.map_or("yesterday".into(), |seconds| {
            httpdate::fmt_http_date(at(seconds))
        });
        headers.append(name, written.parse().expect("a value"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn conditions_are_decided_as_the_table_of_rfc_9110_says(
            (if_match, if_none_match) in (tags(), tags()),
            (since, modified_since) in (date(), date()),
            etag in proptest::sample::select(&["a", "a,b", "W/"][..]),
            modified in proptest::option::of(Just(MODIFIED)),
            split in 0..4usize,
        ) {
            let mut headers = HeaderMap::new();
            if let Some(tags) = &if_match {
                tags.append_to(&mut headers, header::IF_MATCH, split);
            }
            if let Some(tags) = &if_none_match {
                tags.append_to(&mut headers, header::IF_NONE_MATCH, split);
            }
            append_date(&mut headers, header::IF_UNMODIFIED_SINCE, since);
            append_date(&mut headers, header::IF_MODIFIED_SINCE, modified_since);
            let meta = meta(ETag::strong(&format!("\"{etag}\"")).expect("a tag"), modified.map(at));

            let both = |date: Option<Option<u64>>| Some((modified?, date??));
            let expected = table(
                if_match.as_ref().map(|tags| tags.has(false, etag)),
                both(since).map(|(modified, date)| modified <= date),
                if_none_match.as_ref().map(|tags| !tags.has(true, etag)),
                both(modified_since).map(|(modified, date)| modified > date),
            );
            prop_assert_eq!(verdict(&headers, &meta), expected, "{:?}", headers);
            holds(&headers, &meta, at(MODIFIED + 60));
        }

        #[test]
        fn a_range_is_of_the_version_that_if_range_names(
            tag in proptest::option::of((any::<bool>(), proptest::sample::select(&OPAQUE[..]))),
            date in MODIFIED - 2..MODIFIED + 3,
            modified in proptest::option::of(Just(MODIFIED)),
            now in MODIFIED..MODIFIED + 3,
        ) {
            // §13.1.5: one strong tag that is the object's own, or its very date where that is a strong validator.
            let (value, applies) = match tag {
                Some((weak, opaque)) => (
                    format!("{}\"{opaque}\"", if weak { "W/" } else { "" }),
                    !weak && opaque == "a,b",
                ),
                None => (
                    httpdate::fmt_http_date(at(date)),
                    modified == Some(date) && now > date,
                ),
            };
            let headers = HeaderMap::from_iter([(header::IF_RANGE, value.parse().expect("a value"))]);
            let meta = meta(ETag::strong("\"a,b\"").expect("a tag"), modified.map(at));
            let preconditions = Preconditions::from_headers(&headers);
            prop_assert_eq!(preconditions.range_applies(&meta, at(now)), applies, "{}", value);
        }
    }
}

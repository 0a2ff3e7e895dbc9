//! ListObjectsV2: the question for one page and the reading of its answer.
//!
//! Keys come percent-encoded (`encoding-type=url`), since XML 1.0 cannot hold every byte that a key may.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::place::UNRESERVED;
use crate::backend::{BackendError, Listed, Page};

/// S3 gives so many keys a page at most.
const MAX_KEYS: usize = 1000;
/// Room for the longest page: 1,000 keys of 1,024 bytes, percent-encoded, with what stands around them.
pub(super) const PAGE_LIMIT: usize = 8 << 20;

/// The query of one page.
pub(super) fn query(prefix: &str, after: Option<&str>, limit: usize) -> String {
    let encoded = |text| utf8_percent_encode(text, UNRESERVED);
    // In the order of their names, as the signature has them.
    let token = after.map(|after| format!("continuation-token={}&", encoded(after)));
    format!(
        "?{}encoding-type=url&list-type=2&max-keys={}&prefix={}",
        token.unwrap_or_default(),
        limit.clamp(1, MAX_KEYS),
        encoded(prefix)
    )
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    encoding_type: Option<String>,
    next_continuation_token: Option<String>,
    #[serde(default)]
    is_truncated: bool,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
}

/// One page as S3 gave it.
pub(super) fn page(document: &Bytes) -> Result<Page, BackendError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        BackendError::Protocol(format!("a listing that cannot be read: {error}"))
    };
    let result: ListBucketResult =
        quick_xml::de::from_reader(&document[..]).map_err(|error| unreadable(&error))?;
    let encoded = result.encoding_type.as_deref() == Some("url");
    let entries = result.contents.into_iter().map(|contents| {
        let key = match encoded {
            true => decoded(&contents.key).map_err(|error| unreadable(&error))?,
            false => contents.key,
        };
        Ok(Listed {
            key,
            complete_length: contents.size,
        })
    });
    Ok(Page {
        entries: entries.collect::<Result<_, BackendError>>()?,
        next: result
            .next_continuation_token
            .filter(|_| result.is_truncated),
    })
}

/// As in a form: AWS and MinIO write a space as `+`, others as `%20`, and all write `+` as `%2B`.
fn decoded(key: &str) -> Result<String, std::str::Utf8Error> {
    let spaced: Cow<'_, str> = match key.contains('+') {
        true => key.replace('+', " ").into(),
        false => key.into(),
    };
    Ok(percent_decode_str(&spaced).decode_utf8()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_encoded_and_bounded() {
        assert_eq!(
            query("a b/+", Some("to/ken=="), 5000),
            "?continuation-token=to%2Fken%3D%3D&encoding-type=url&list-type=2&max-keys=1000&prefix=a%20b%2F%2B"
        );
        assert_eq!(
            query("", None, 0),
            "?encoding-type=url&list-type=2&max-keys=1&prefix="
        );
    }

    #[test]
    fn keys_are_decoded_where_the_answer_says_that_they_are_encoded() {
        let listed = |encoding: &str, key: &str| {
            let document = format!(
                "<ListBucketResult><IsTruncated>true</IsTruncated>{encoding}\
                 <NextContinuationToken>t</NextContinuationToken>\
                 <Contents><Key>{key}</Key><Size>3</Size></Contents></ListBucketResult>"
            );
            let page = page(&document.into()).expect("a page");
            assert_eq!(page.next.as_deref(), Some("t"));
            page.entries[0].key.clone()
        };
        let url = "<EncodingType>url</EncodingType>";
        assert_eq!(listed(url, "a+b%2Bc%01%25.mp4"), "a b+c\u{1}%.mp4");
        assert_eq!(listed(url, "a%20b"), "a b");
        assert_eq!(listed("", "a+b%2B &amp; c"), "a+b%2B & c");
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let document = "<ListBucketResult><IsTruncated>false</IsTruncated>\
                        <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let page = page(&Bytes::from(document)).expect("a page");
        assert!(page.entries.is_empty() && page.next.is_none());
        assert!(super::page(&Bytes::from_static(b"<html")).is_err());
    }
}

//! Routes with a media URI in them, in each spelling that the contract takes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What SigV4's canonical path leaves as it is: the unreserved letters and the slash.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// What the path of an `https://` URI need not encode (RFC 3986 §3.3), `+` among it.
const PATH: &AsciiSet = &KEY
    .remove(b'+')
    .remove(b'(')
    .remove(b')')
    .remove(b'&')
    .remove(b'=')
    .remove(b'@')
    .remove(b':')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

/// One way to write a `fileuri`.
pub type Spelling = fn(&str) -> String;

/// Every way to write one.
pub const SPELLINGS: &[(&str, Spelling)] = &[
    ("URL-safe base64, padded", |uri| {
        percent(&URL_SAFE.encode(uri))
    }),
    ("URL-safe base64, unpadded", |uri| {
        URL_SAFE_NO_PAD.encode(uri)
    }),
    ("standard base64, padded", |uri| {
        percent(&STANDARD.encode(uri))
    }),
    ("standard base64, unpadded", |uri| {
        percent(&STANDARD_NO_PAD.encode(uri))
    }),
    ("standard base64, not percent-encoded", |uri| {
        STANDARD.encode(uri)
    }),
    ("percent-encoded as it is", percent),
];

/// Percent-encodes all but letters and digits.
pub fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A key as the path of a request has it.
pub fn key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// A key as a URL's path has it that is encoded as little as it may be.
pub fn path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// The project's route to a media URI.
pub fn project(id: &str, uri: &str) -> String {
    format!("/projects/{id}/resolve/?fileuri={}", URL_SAFE.encode(uri))
}

/// The task's route to a media URI.
pub fn task(id: &str, uri: &str) -> String {
    format!("/tasks/{id}/resolve/?fileuri={}", URL_SAFE.encode(uri))
}

/// The standard alphabet, padded, as a query has it.
pub fn standard(uri: &str) -> String {
    percent(&STANDARD.encode(uri))
}

/// The URL-safe alphabet without padding.
pub fn unpadded(uri: &str) -> String {
    URL_SAFE_NO_PAD.encode(uri)
}

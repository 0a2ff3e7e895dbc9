//! The heads of answers that are no failure: 200, 206, 303 and 304.
//!
//! Pure: makes no body and chooses nothing that `range` and `preconditions` have decided; 412 and 416 are `error`'s.
//! Follows contract §4 and RFC 9110 §8, §14.4, §15.4.5. What storage said goes out only where it is named here, and
//! only where it is a valid field: none of its other headers, cookies or CORS fields does.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::DeliveryConfig;
use super::content_type::ContentType;
use super::error::Failure;
use crate::backend::PresignedUrl;
use crate::object::ObjectMeta;
use crate::range::ByteRange;

/// What keeps an opened document from running script, sending forms or loading anything.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'");
/// As many fields as a head has, with `Content-Security-Policy` and `Content-Range`: a map that grows moves all of them.
const FIELDS: usize = 12;
/// As many as a 304 has.
const FIELDS_OF_304: usize = 6;
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// `Strict-Transport-Security` (RFC 6797 §6.1): this host alone, for what its subdomains do is not known here.
pub fn strict_transport_security(max_age: Duration) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("max-age={}", max_age.as_secs())).ok()
}

/// Which bytes of the object the answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// 200: everything.
    Whole,
    /// 206: these.
    Part(ByteRange),
    /// 304: none, the client has them.
    NotModified,
}

/// The head of an answer with an object's bytes, or of the 304 that stands for it; whole but for CORS. `key` gives
/// the name of what is downloaded. The same for GET and HEAD.
pub fn media_head(
    selected: &Selected,
    meta: &ObjectMeta,
    key: &str,
    content_type: &ContentType,
    config: &DeliveryConfig,
) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.reserve(match selected {
        Selected::Whole | Selected::Part(_) => FIELDS,
        Selected::NotModified => FIELDS_OF_304,
    });
    add_validators(headers, meta, config);
    let (status, length) = match selected {
        Selected::Whole => (StatusCode::OK, Some(meta.complete_length)),
        Selected::Part(range) => {
            insert(headers, header::CONTENT_RANGE, range.content_range());
            (StatusCode::PARTIAL_CONTENT, Some(range.len()))
        }
        Selected::NotModified => (StatusCode::NOT_MODIFIED, None),
    };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let encoding = meta.content_encoding.as_deref();
        add_representation(headers, encoding, key, content_type, config);
    }
    *response.status_mut() = status;
    response
}

/// The 303 to a presigned URL. The URL is a credential: it is kept out of caches, of referrers and of `Debug`.
pub fn redirect(url: &PresignedUrl) -> Result<Response<()>, Failure> {
    let not_a_field = |_| Failure::Internal("the presigned url is no valid field value");
    let mut location = HeaderValue::from_str(url.url.expose()).map_err(not_a_field)?;
    location.set_sensitive(true);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// The head of what the annotation application serves itself: its bytes and validators, under this gateway's rules.
pub fn passed_on(
    status: StatusCode,
    theirs: &HeaderMap,
    key: &str,
    config: &DeliveryConfig,
) -> Response<()> {
    /// What of its head says which bytes these are.
    const OF_THE_BYTES: [HeaderName; 5] = [
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::ACCEPT_RANGES,
    ];
    let text = |name| theirs.get(name).and_then(|value| value.to_str().ok());
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for name in OF_THE_BYTES {
        headers.extend(theirs.get(&name).map(|value| (name, value.clone())));
    }
    // A weak one does not say that the bytes are the same (RFC 9110 §8.8.1), which ranges are put together by.
    if text(header::ETAG).is_some_and(|etag| !etag.starts_with('"')) {
        headers.remove(header::ETAG);
    }
    add_rules(headers, config);
    if status.is_success() {
        let content_type = ContentType::of(text(header::CONTENT_TYPE), key);
        let encoding = text(header::CONTENT_ENCODING);
        add_representation(headers, encoding, key, &content_type, config);
    }
    response
}

/// What 200, 206 and 304 have in common (RFC 9110 §15.4.5).
fn add_validators(headers: &mut HeaderMap, meta: &ObjectMeta, config: &DeliveryConfig) {
    if let Ok(etag) = HeaderValue::from_bytes(meta.etag.as_str().as_bytes()) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(date) = meta.last_modified.and_then(http_date) {
        insert(headers, header::LAST_MODIFIED, date);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    add_rules(headers, config);
}

/// Who may keep it, and for how long.
fn add_rules(headers: &mut HeaderMap, config: &DeliveryConfig) {
    headers.insert(header::CACHE_CONTROL, config.cache_control.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// What says how the bytes are to be read.
fn add_representation(
    headers: &mut HeaderMap,
    encoding: Option<&str>,
    key: &str,
    content_type: &ContentType,
    config: &DeliveryConfig,
) {
    headers.insert(header::CONTENT_TYPE, content_type.value().clone());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if content_type.is_inline() {
        let inline = HeaderValue::from_static("inline");
        headers.insert(header::CONTENT_DISPOSITION, inline);
    } else {
        insert(headers, header::CONTENT_DISPOSITION, attachment(key));
    }
    if content_type.is_active() {
        headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    }
    headers.insert(
        CROSS_ORIGIN_RESOURCE_POLICY,
        config.cross_origin_resource_policy.clone(),
    );
    // `identity` is reserved for `Accept-Encoding` (RFC 9110 §12.5.3).
    if let Some(encoding) = encoding
        && !matches!(encoding.trim(), "" | "identity")
    {
        insert(headers, header::CONTENT_ENCODING, encoding.to_owned());
    }
}

/// A value that is no valid field is left out: it could only have come from storage.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// An HTTP-date has a year of four digits and none before 1970 here; the crate panics past either.
fn http_date(time: SystemTime) -> Option<String> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since_epoch < YEAR_10000).then(|| httpdate::fmt_http_date(time))
}

/// RFC 6266: saved under the key's last component. A name that is not plain ASCII is also given in
/// RFC 8187's encoding, which every current browser prefers.
fn attachment(key: &str) -> String {
    /// RFC 8187 §3.2.1's `attr-char`.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let name = key.rsplit('/').next().unwrap_or_default();
    // A percent sign in a quoted string is decoded by some browsers (RFC 6266 appendix D).
    let plain = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\' | '%');
    if name.is_empty() {
        "attachment".to_owned()
    } else if name.chars().all(plain) {
        format!("attachment; filename=\"{name}\"")
    } else {
        let fallback: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .collect();
        format!(
            "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
            utf8_percent_encode(name, ENCODED)
        )
    }
}

#[cfg(test)]
mod tests;

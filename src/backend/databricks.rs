//! Files of one Databricks Unity Catalog volume, by the Files API 2.0.
//!
//! Follows Databricks' "Files API" reference: `/api/2.0/fs/files/Volumes/…` read by `Range`, `/api/2.0/fs/directories`
//! listed page by page. It has no entity tags: the validator is length and `Last-Modified` to the second, and the
//! condition `If-Unmodified-Since`. So a file that is written twice within one second with the same length is one
//! version twice, which a read that spans both could mix. Such a young version is given a tag that no later look at the
//! file repeats, so that at least no cache keeps it (`Version::tag`). Never presigns, and asks for nothing that READ VOLUME does not grant.

mod credentials;
mod listing;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::config::DatabricksConfig;
use super::http::{HttpClient, content_length, content_range, object_meta, retry_after, text};
use super::renewing::Clock;
use super::{Backend, BackendError, Call, Condition, Conditional, Fetched, Page};
use crate::object::{ETag, ObjectMeta};
use credentials::DatabricksCredentials;

/// Each segment of a path percent-encoded, the slashes between them not (RFC 3986 §2.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// A file modified so shortly before it is looked at may still change within the same second, by either clock.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// One volume.
pub struct Databricks {
    config: DatabricksConfig,
    client: HttpClient,
    credentials: DatabricksCredentials,
}

impl Databricks {
    /// Makes no request yet.
    pub fn new(config: DatabricksConfig, client: HttpClient) -> Self {
        Self::with_clock(config, client, Arc::new(SystemTime::now))
    }

    /// With another clock than the system's for the end of its tokens.
    pub fn with_clock(config: DatabricksConfig, client: HttpClient, clock: Clock) -> Self {
        Self {
            credentials: DatabricksCredentials::new(&config, client.clone(), clock),
            config,
            client,
        }
    }

    /// `path` begins with a slash, or is empty for the volume itself.
    fn url(&self, area: &str, path: &str) -> String {
        let host = self.config.host.as_str().trim_end_matches('/');
        let volume = utf8_percent_encode(&self.config.volume, PATH);
        let path = utf8_percent_encode(path, PATH);
        format!("{host}/api/2.0/fs/{area}/Volumes/{volume}{path}")
    }

    fn file_url(&self, key: &str) -> String {
        self.url("files", &format!("/{key}"))
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        call: &Call<'_>,
    ) -> Result<Request<Empty<Bytes>>, BackendError> {
        let mut request = Request::builder().method(method).uri(url);
        if let Condition::IfMatch(etag) = &call.condition {
            let version = Version::of(etag).ok_or(BackendError::Changed)?;
            request = request.header(header::IF_UNMODIFIED_SINCE, version.http_date());
        }
        if let Some(trace) = call.trace {
            request = request.header("traceparent", trace.header_value());
        }
        request.body(Empty::new()).map_err(unaskable)
    }

    /// Sends with the token in force; once more with a new one where the workspace refuses it before its end.
    async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        let response = self
            .client
            .send(self.signed(request.clone()).await?)
            .await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.credentials.renewable() {
            return self.client.send(self.signed(request).await?).await;
        }
        Ok(response)
    }

    /// A page of a listing.
    async fn fetch(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, BackendError> {
        let response = self
            .client
            .fetch(self.signed(request.clone()).await?)
            .await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.credentials.renewable() {
            return self.client.fetch(self.signed(request).await?).await;
        }
        Ok(response)
    }

    async fn signed<B>(&self, mut request: Request<B>) -> Result<Request<B>, BackendError> {
        let token = self.credentials.current().await?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| BackendError::NoCredentials("the token is not one line of text".into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Ok(request)
    }

    async fn refusal(&self, response: Response<Incoming>) -> BackendError {
        let (head, body) = response.into_parts();
        let document = self.client.error_document(body).await;
        refusal(head.status, &document).after(retry_after(&head.headers))
    }
}

#[async_trait]
impl Backend for Databricks {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let url = self.file_url(&call.location.key);
        let mut response = self.send(self.request(Method::HEAD, &url, &call)?).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let complete_length = content_length(response.headers())
            .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
        put_tag(response.headers_mut(), complete_length, &call.condition)?;
        let meta = object_meta(response.headers(), complete_length)?;
        Ok(match call.condition.lets_through(&meta.etag)? {
            true => Conditional::Is(meta),
            false => Conditional::NotModified,
        })
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let url = self.file_url(&call.location.key);
        let mut request = self.request(Method::GET, &url, &call)?;
        let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        request
            .headers_mut()
            .insert(header::RANGE, field.parse().map_err(unaskable)?);
        let mut response = self.send(request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // An empty file has no range: some stores behind a volume answer with all of it.
            StatusCode::OK if content_length(response.headers()) == Some(0) => {
                return Err(BackendError::RangeNotSatisfiable);
            }
            StatusCode::OK => return Err(BackendError::Protocol("a 200 to a range".into())),
            _ => return Err(self.refusal(response).await),
        }
        let complete_length = text(response.headers(), header::CONTENT_RANGE)
            .and_then(content_range)
            .ok_or_else(|| BackendError::Protocol("no content-range in a 206".into()))?
            .1;
        put_tag(response.headers_mut(), complete_length, &call.condition)?;
        let fetched = Fetched::partial(response, &range, &self.client)?;
        Ok(match call.condition.lets_through(&fetched.meta.etag)? {
            true => Conditional::Is(fetched),
            false => Conditional::NotModified,
        })
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        listing::page(self, prefix, after, limit).await
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.credentials.expiry()
    }
}

fn unaskable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Protocol(format!("the request cannot be made: {error}"))
}

/// What the Files API tells versions apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    complete_length: u64,
    /// `Last-Modified`, in seconds since 1970.
    modified: u64,
}

impl Version {
    /// The version that a tag of ours names.
    fn of(etag: &ETag) -> Option<Self> {
        let mut parts = etag.as_str().trim_matches('"').split('-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        Some(Self {
            complete_length: number()?,
            modified: number()?,
        })
    }

    /// Length and second, and a number of its own where the file was modified just before `now`: what is written to
    /// it next may bear the same second, and must not be taken for this.
    fn tag(self, now: SystemTime) -> String {
        let Self {
            complete_length,
            modified,
        } = self;
        let at = UNIX_EPOCH + Duration::from_secs(modified);
        let distance = now
            .duration_since(at)
            .unwrap_or_else(|ahead| ahead.duration());
        if distance < SETTLED_AFTER {
            let once = fastrand::u64(..);
            format!("\"{complete_length:x}-{modified:x}-{once:x}\"")
        } else {
            format!("\"{complete_length:x}-{modified:x}\"")
        }
    }

    fn http_date(self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.modified))
    }
}

/// Puts our tag where a store that has tags would have put its own, so that the same checks hold for both. Under
/// If-Match it is the tag that was asked for, or the file has changed: the workspace compares seconds alone.
fn put_tag(
    headers: &mut HeaderMap,
    complete_length: u64,
    condition: &Condition,
) -> Result<(), BackendError> {
    let date = |name| text(headers, name).and_then(|value| httpdate::parse_http_date(value).ok());
    let modified = date(header::LAST_MODIFIED)
        .ok_or_else(|| BackendError::Protocol("no last-modified to pin a version to".into()))?;
    let now = date(header::DATE).unwrap_or_else(SystemTime::now);
    let version = Version {
        complete_length,
        modified: modified
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    };
    let tag = match condition {
        Condition::IfMatch(etag) if Version::of(etag) == Some(version) => etag.as_str().to_owned(),
        Condition::IfMatch(_) => return Err(BackendError::Changed),
        Condition::None | Condition::IfNoneMatch(_) => version.tag(now),
    };
    headers.insert(header::ETAG, tag.parse().map_err(unaskable)?);
    Ok(())
}

/// "Databricks REST API errors": `error_code` and `message`; the message may name people and paths, and stays behind.
#[derive(serde::Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    error_code: String,
}

/// What the workspace said, sorted by what can be done about it. A HEAD's refusal has no document.
fn refusal(status: StatusCode, document: &[u8]) -> BackendError {
    let refusal: Refusal = serde_json::from_slice(document).unwrap_or_default();
    let code = refusal.error_code;
    let said = if code.is_empty() {
        status.as_str().to_owned()
    } else {
        code.chars().take(64).collect()
    };
    let missing = |what: &str| code.contains(what) && code != "NOT_FOUND";
    match status.as_u16() {
        404 if ["CATALOG", "SCHEMA", "VOLUME"].into_iter().any(missing) => {
            BackendError::NoSuchBucket
        }
        404 => BackendError::NotFound,
        401 => BackendError::AccessDenied(format!("{said}: the token is not valid, or has ended")),
        403 => BackendError::AccessDenied(said),
        409 | 412 => BackendError::Changed,
        416 => BackendError::RangeNotSatisfiable,
        429 | 503 => BackendError::throttled(said),
        408 | 500..=599 => BackendError::Unavailable(said),
        _ => BackendError::Protocol(format!("unexpected status {said}")),
    }
}

#[cfg(test)]
mod tests;

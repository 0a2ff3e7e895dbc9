//! Google Cloud Storage: HEAD and GET of one range over the XML API, listing over the JSON API, V4 signed URLs.
//!
//! Asks for `storage.objects.get` alone to read. Every read is pinned to a generation, which is the entity tag; bytes
//! are taken as stored, never transcoded. Follows Cloud Storage's "XML API", "Object Versioning", "Transcoding of
//! gzip-compressed files" and "HTTP status and error codes for XML".

mod ask;
mod aws;
mod federation;
pub mod identity;
mod key;
mod refusal;
mod sign;
mod token;

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use url::Url;

use self::sign::{Signable, Signer};
use self::token::{Grants, READ_ONLY, Tokens};
use super::config::GcsConfig;
use super::http::{HttpClient, content_length, object_meta, partial_content, text};
use super::renewing::{Clock, Renewing};
use super::{
    Backend, BackendError, Call, Condition, Conditional, Fetched, Listed, Page, Presign,
    PresignOptions, PresignedUrl,
};
use crate::object::{ETag, ObjectLocation, ObjectMeta};
use crate::secret::Secret;

const ENDPOINT: &str = "https://storage.googleapis.com";
/// What stays as it is in a query and in a name: the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a name in a signed path, where slashes stand.
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');
/// A page of a listing is no longer.
const MAX_PAGE: usize = 1000;

const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
const STORED_CONTENT_ENCODING: HeaderName =
    HeaderName::from_static("x-goog-stored-content-encoding");
const STORED_CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-goog-stored-content-length");

/// One bucket.
pub struct Gcs {
    /// Without a slash at its end.
    endpoint: String,
    bucket: String,
    client: HttpClient,
    tokens: Option<Renewing<Secret>>,
    signer: Signer,
    clock: Clock,
}

impl Gcs {
    /// Makes no request yet.
    pub fn new(config: GcsConfig, client: HttpClient) -> Self {
        Self::with_clock(config, client, Arc::new(SystemTime::now))
    }

    /// With another clock than the system's.
    pub fn with_clock(config: GcsConfig, client: HttpClient, clock: Clock) -> Self {
        let endpoint = config.endpoint.as_ref().map_or(ENDPOINT, Url::as_str);
        let grants = Grants {
            client: client.clone(),
            clock: clock.clone(),
        };
        let identity = config.identity.as_ref();
        let signer = Signer::new(identity, config.iam_endpoint.as_ref(), &grants);
        let tokens = config.identity.map(|identity| {
            let tokens = Tokens {
                identity,
                scope: READ_ONLY,
                grants,
            };
            Renewing::with_clock(tokens, clock.clone())
        });
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            bucket: config.bucket,
            client,
            tokens,
            signer,
            clock,
        }
    }

    /// The object's address. Slashes of the key are encoded, so that nothing on the way takes `..` for a path's.
    fn object_url(&self, key: &str, generation: Option<&str>) -> String {
        let endpoint = &self.endpoint;
        let bucket = utf8_percent_encode(&self.bucket, UNRESERVED);
        let key = utf8_percent_encode(key, UNRESERVED);
        match generation {
            Some(generation) => format!("{endpoint}/{bucket}/{key}?generation={generation}"),
            None => format!("{endpoint}/{bucket}/{key}"),
        }
    }

    async fn authorized<B>(&self, mut request: Request<B>) -> Result<Request<B>, BackendError> {
        if let Some(tokens) = &self.tokens {
            let token = tokens.current().await?;
            let fields = request.headers_mut();
            fields.insert(header::AUTHORIZATION, ask::bearer(&token)?);
        }
        Ok(request)
    }

    /// Asks for an object, of the pinned generation where one is pinned.
    async fn ask(
        &self,
        method: Method,
        call: &Call<'_>,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Incoming>, BackendError> {
        let pinned = pinned(&call.condition)?;
        let mut request = Request::builder()
            .method(method)
            .uri(self.object_url(&call.location.key, pinned))
            // Who takes gzip gets what is stored; else storage unpacks it, and ranges with it.
            .header(header::ACCEPT_ENCODING, "gzip");
        if let Some(range) = range {
            let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request = request.header(header::RANGE, field);
        }
        if let Some(traceparent) = call.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(unwritable)?;
        let response = self.client.send(self.authorized(request).await?).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let document = self.client.error_document(response.into_body()).await;
        Err(match refusal::xml(status, &document) {
            // Another generation may be there: the one that was asked for is not.
            BackendError::NotFound if pinned.is_some() => BackendError::Changed,
            error => error,
        })
    }

    async fn page(
        &self,
        prefix: &str,
        limit: usize,
        page_token: Option<&str>,
    ) -> Result<ObjectsPage, BackendError> {
        let mut url = format!(
            "{}/storage/v1/b/{}/o?maxResults={limit}&fields=items(name,size),nextPageToken&prefix={}",
            self.endpoint,
            utf8_percent_encode(&self.bucket, UNRESERVED),
            utf8_percent_encode(prefix, UNRESERVED)
        );
        if let Some(token) = page_token {
            url = format!("{url}&pageToken={}", utf8_percent_encode(token, UNRESERVED));
        }
        let request = Request::get(url)
            .body(Full::default())
            .map_err(unwritable)?;
        let answer = self.client.fetch(self.authorized(request).await?).await?;
        if answer.status() != StatusCode::OK {
            return Err(refusal::json(answer.status(), answer.body()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| {
            BackendError::Protocol(format!("a listing that cannot be read: {error}"))
        })
    }
}

#[async_trait]
impl Backend for Gcs {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let response = self.ask(Method::HEAD, &call, None).await?;
        let fields = response.headers();
        let number = |name| text(fields, name)?.parse().ok();
        let complete_length = number(STORED_CONTENT_LENGTH)
            .or_else(|| content_length(fields))
            .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
        let meta = meta(fields, object_meta(&versioned(fields)?, complete_length)?)?;
        match call.condition {
            Condition::IfNoneMatch(etag) if etag == meta.etag => Ok(Conditional::NotModified),
            Condition::IfMatch(etag) if etag != meta.etag => Err(BackendError::Changed),
            Condition::None | Condition::IfMatch(_) | Condition::IfNoneMatch(_) => {
                Ok(Conditional::Is(meta))
            }
        }
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        // The XML API has no precondition for "another generation than": asking first spares a body that would have
        // to be thrown away, and its connection.
        if let Condition::IfNoneMatch(_) = &call.condition
            && let Conditional::NotModified = self.head(call.clone()).await?
        {
            return Ok(Conditional::NotModified);
        }
        let response = self.ask(Method::GET, &call, Some(&range)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let message = format!("a {} to a range", response.status().as_u16());
            return Err(BackendError::Protocol(message));
        }
        let fields = response.headers();
        let (answered, range) = partial_content(&versioned(fields)?, &range)?;
        let meta = meta(fields, answered)?;
        if let Condition::IfMatch(etag) = &call.condition
            && *etag != meta.etag
        {
            return Err(BackendError::Changed);
        }
        let body = self
            .client
            .body(response.into_body(), range.end - range.start);
        Ok(Conditional::Is(Fetched { meta, range, body }))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let page = self.page(prefix, limit.min(MAX_PAGE), after).await?;
        let entries = page.items.into_iter().map(Listed::try_from);
        Ok(Page {
            entries: entries.collect::<Result<_, _>>()?,
            next: page.next_page_token,
        })
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.tokens.as_ref()?.ends_at()
    }
}

#[async_trait]
impl Presign for Gcs {
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError> {
        let object = Signable {
            endpoint: &self.endpoint,
            bucket: &self.bucket,
            key: &location.key,
        };
        self.signer.presign(&object, options, (self.clock)()).await
    }
}

/// The generation that the answer has to be of. A tag that is none of this storage's names no version that is there.
fn pinned(condition: &Condition) -> Result<Option<&str>, BackendError> {
    let Condition::IfMatch(etag) = condition else {
        return Ok(None);
    };
    let generation = etag.as_str().trim_matches('"');
    let is_number = generation.bytes().all(|b| b.is_ascii_digit());
    is_number
        .then_some(Some(generation))
        .ok_or(BackendError::Changed)
}

/// The answer's fields with the generation as entity tag: Google's own is the same for two generations of the same
/// bytes, and could not be asked for.
fn versioned(fields: &HeaderMap) -> Result<HeaderMap, BackendError> {
    let generation = text(fields, GENERATION)
        .filter(|generation| generation.bytes().all(|b| b.is_ascii_digit()))
        .and_then(ETag::strong)
        .and_then(|etag| etag.as_str().parse().ok())
        .ok_or_else(|| BackendError::Protocol("no generation".into()))?;
    let mut fields = fields.clone();
    fields.insert(header::ETAG, generation);
    Ok(fields)
}

/// Metadata of the bytes as they are stored: what was transcoded on the way has other ranges.
fn meta(fields: &HeaderMap, meta: ObjectMeta) -> Result<ObjectMeta, BackendError> {
    let stored = text(fields, STORED_CONTENT_ENCODING).filter(|coding| *coding != "identity");
    let told = fields.contains_key(STORED_CONTENT_ENCODING);
    if told && stored.unwrap_or_default() != meta.content_encoding.as_deref().unwrap_or_default() {
        return Err(BackendError::Protocol("transcoded on the way".into()));
    }
    Ok(meta)
}

fn unwritable(error: http::Error) -> BackendError {
    BackendError::Protocol(format!("the request cannot be written: {error}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectsPage {
    #[serde(default)]
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    /// A number, written as text.
    size: String,
}

impl TryFrom<Item> for Listed {
    type Error = BackendError;

    fn try_from(item: Item) -> Result<Self, BackendError> {
        let complete_length = item.size.parse();
        let complete_length = complete_length
            .map_err(|_| BackendError::Protocol("a listed size that is no number".into()))?;
        Ok(Self {
            key: item.name,
            complete_length,
        })
    }
}

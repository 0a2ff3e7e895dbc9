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
pub(super) mod refusal;
mod sign;
pub(super) mod stored;
mod token;

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use url::Url;

use self::sign::{Signable, Signer};
use self::stored::Stored;
use self::token::{Grants, READ_ONLY, Tokens};
use super::config::GcsConfig;
use super::http::{HttpClient, content_length, object_meta, partial_content, retry_after};
use super::renewing::{Clock, Renewing};
use super::{
    Backend, BackendError, Call, Condition, Conditional, Fetched, Listed, Page, Presign,
    PresignOptions, PresignedUrl,
};
use crate::object::{ObjectLocation, ObjectMeta};
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

    /// Sends on behalf of the identity; once more with a new token, where storage takes the old one for ended.
    async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        let Some(tokens) = &self.tokens else {
            return self.client.send(request).await;
        };
        let token = tokens.current().await?;
        let response = self
            .client
            .send(authorized(request.clone(), &token)?)
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        tokens.forget_refused(&token);
        let token = tokens.current().await?;
        self.client.send(authorized(request, &token)?).await
    }

    /// Asks for an object, of the pinned generation where one is pinned.
    async fn ask(
        &self,
        method: Method,
        call: &Call<'_>,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Incoming>, BackendError> {
        let pinned = stored::pinned(&call.condition)?;
        let mut request = Request::builder()
            .method(method)
            .uri(self.object_url(&call.location.key, pinned))
            // Who takes gzip gets what is stored; else storage unpacks it, and ranges with it.
            .header(header::ACCEPT_ENCODING, "gzip");
        if let Some(range) = range {
            let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request = request.header(header::RANGE, field);
        }
        if let Some(trace) = call.trace {
            request = request.header("traceparent", trace.header_value());
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(unwritable)?;
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let document = self.client.error_document(body).await;
        Err(match refusal::xml(head.status, &document) {
            // Another generation may be there: the one that was asked for is not.
            BackendError::NotFound if pinned.is_some() => BackendError::Changed,
            error => error.after(retry_after(&head.headers)),
        })
    }
}

#[async_trait]
impl Backend for Gcs {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let response = self.ask(Method::HEAD, &call, None).await?;
        let stored = Stored::of(response.headers())?;
        let complete_length = stored
            .complete_length
            .or_else(|| content_length(response.headers()))
            .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
        let meta = stored.checked(object_meta(&stored.fields, complete_length)?)?;
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
        let stored = Stored::of(response.headers())?;
        let (answered, range) = partial_content(&stored.fields, &range)?;
        let meta = stored.checked(answered)?;
        if let Condition::IfMatch(etag) = &call.condition
            && *etag != meta.etag
        {
            return Err(BackendError::Changed);
        }
        let body = self
            .client
            .body(response.into_body(), range.end - range.start);
        let body = match stored.crc32c {
            Some(crc32c) if range == (0..meta.complete_length) => {
                stored::verified(body, range.end, crc32c)
            }
            _ => body,
        };
        Ok(Conditional::Is(Fetched { meta, range, body }))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let mut url = format!(
            "{}/storage/v1/b/{}/o?maxResults={}&fields=items(name,size),nextPageToken&prefix={}",
            self.endpoint,
            utf8_percent_encode(&self.bucket, UNRESERVED),
            limit.min(MAX_PAGE),
            utf8_percent_encode(prefix, UNRESERVED)
        );
        if let Some(token) = after {
            url = format!("{url}&pageToken={}", utf8_percent_encode(token, UNRESERVED));
        }
        let request = Request::get(url)
            .body(Full::default())
            .map_err(unwritable)?;
        let request = match &self.tokens {
            Some(tokens) => authorized(request, &*tokens.current().await?)?,
            None => request,
        };
        let answer = self.client.fetch(request).await?;
        match answer.status() {
            StatusCode::OK => listing(answer.body()),
            status => Err(refusal::json(status, answer.body())),
        }
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.tokens.as_ref()?.watched_end()
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

fn authorized<B>(mut request: Request<B>, token: &Secret) -> Result<Request<B>, BackendError> {
    let fields = request.headers_mut();
    fields.insert(header::AUTHORIZATION, ask::bearer(token)?);
    Ok(request)
}

fn unwritable(error: http::Error) -> BackendError {
    BackendError::Protocol(format!("the request cannot be written: {error}"))
}

/// "Objects: list" of the JSON API.
fn listing(document: &[u8]) -> Result<Page, BackendError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Objects {
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
    let unreadable = |error: &dyn std::fmt::Display| {
        BackendError::Protocol(format!("a listing that cannot be read: {error}"))
    };
    let objects: Objects = serde_json::from_slice(document).map_err(|error| unreadable(&error))?;
    let listed = |item: Item| {
        Ok(Listed {
            complete_length: item.size.parse().map_err(|error| unreadable(&error))?,
            key: item.name,
        })
    };
    let entries = objects.items.into_iter().map(listed);
    Ok(Page {
        entries: entries.collect::<Result<_, BackendError>>()?,
        next: objects.next_page_token,
    })
}

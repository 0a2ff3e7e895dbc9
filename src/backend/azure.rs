//! Azure Blob Storage: Get Blob Properties, Get Blob of one range, List Blobs and presigned GET.
//!
//! Asks for blob read alone to read. Requests go over the house's own client, so that status, range, length and
//! validator are checked here; credentials and signatures stand in the rooms below. Follows the Storage REST reference
//! ("Get Blob", "Get Blob Properties", "List Blobs", "Create a service SAS").

pub(super) mod answers;
mod checksum;
mod credentials;
mod oauth;
mod sign;

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use percent_encoding::utf8_percent_encode;

use self::credentials::{Credentials, DELEGATION_LIFE};
use self::sign::{Grant, KEY, UNRESERVED};
use super::config::AzureConfig;
use super::http::{HttpClient, content_length, object_meta, retry_after, text};
use super::renewing::Clock;
use super::{
    Backend, BackendError, Call, Condition, Conditional, Fetched, Page, Presign, PresignOptions,
    PresignedUrl,
};
use crate::object::{ObjectLocation, ObjectMeta};
use crate::secret::Secret;

/// What is listed at once: the names fit into what the client reads of a document.
const MAX_RESULTS: usize = 1000;

/// One container.
pub struct Azure {
    config: AzureConfig,
    /// `https://account/container/`, ready for an encoded name.
    container_url: String,
    client: HttpClient,
    credentials: Credentials,
}

impl Azure {
    /// Makes no request yet.
    pub fn new(config: AzureConfig, client: HttpClient) -> Self {
        Self::with_clock(config, client, Arc::new(SystemTime::now))
    }

    /// With another clock than the system's for the life of tokens and keys.
    pub fn with_clock(config: AzureConfig, client: HttpClient, clock: Clock) -> Self {
        Self {
            container_url: format!("{}/{}/", account_url(&config), config.container),
            credentials: Credentials::new(&config, &client, &clock),
            config,
            client,
        }
    }

    /// Storage keeps every byte of a name but two: it takes a backslash for a slash, and folds the segments `.` and
    /// `..`, encoded or not. So no blob has a name with either, and to ask for one would be answered with another blob,
    /// maybe outside of the prefix that was checked.
    fn blob_url(&self, key: &str) -> Result<String, BackendError> {
        if key.contains('\\') || key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(BackendError::NotFound);
        }
        let key = utf8_percent_encode(key, KEY);
        Ok(format!("{}{key}", self.container_url))
    }

    fn request(
        &self,
        method: Method,
        call: &Call<'_>,
    ) -> Result<Request<Empty<Bytes>>, BackendError> {
        let url = self.blob_url(&call.location.key)?;
        let mut request = Request::builder().method(method).uri(url);
        match &call.condition {
            Condition::None => {}
            Condition::IfMatch(etag) => request = request.header(header::IF_MATCH, etag.as_str()),
            Condition::IfNoneMatch(etag) => {
                request = request.header(header::IF_NONE_MATCH, etag.as_str())
            }
        }
        if let Some(trace) = call.trace {
            request = request.header("traceparent", trace.header_value());
        }
        request.body(Empty::new()).map_err(unsendable)
    }

    async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        self.credentials
            .authorize(&self.config.account, &mut request)
            .await?;
        self.client.send(request).await
    }

    /// An answer that is not the bytes: what storage said, in the house's words.
    async fn refusal(&self, response: Response<Incoming>) -> BackendError {
        let (head, body) = response.into_parts();
        if answers::is_stranger(head.status, &head.headers) {
            self.credentials.refused().await;
        }
        let document = self.client.error_document(body).await;
        let error = answers::refusal(head.status, &head.headers, &document);
        error.after(retry_after(&head.headers))
    }
}

/// Where an account's blobs are, without a slash at the end.
fn account_url(config: &AzureConfig) -> String {
    match &config.endpoint {
        Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_owned(),
        None => format!("https://{}.blob.core.windows.net", config.account),
    }
}

fn unsendable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Protocol(format!("the request cannot be written: {error}"))
}

#[async_trait]
impl Backend for Azure {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let response = self.send(self.request(Method::HEAD, &call)?).await?;
        match response.status() {
            StatusCode::OK => {
                let complete_length = content_length(response.headers())
                    .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
                let meta = object_meta(response.headers(), complete_length)?;
                Ok(Conditional::Is(meta))
            }
            StatusCode::NOT_MODIFIED => Ok(Conditional::NotModified),
            _ => Err(self.refusal(response).await),
        }
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let mut request = self.request(Method::GET, &call)?;
        let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let field = field.parse().map_err(unsendable)?;
        request.headers_mut().insert(header::RANGE, field);
        let response = self.send(request).await?;
        match response.status() {
            // RFC 9110 §14.4 knows no range without a byte; Azurite answers so about an empty blob, where Azure says 416.
            StatusCode::PARTIAL_CONTENT if content_length(response.headers()) == Some(0) => {
                Err(BackendError::RangeNotSatisfiable)
            }
            StatusCode::PARTIAL_CONTENT => {
                let headers = response.headers().clone();
                let fetched = Fetched::partial(response, &range, &self.client)?;
                Ok(Conditional::Is(checksum::compared(fetched, &headers)))
            }
            StatusCode::NOT_MODIFIED => Ok(Conditional::NotModified),
            StatusCode::OK => Err(BackendError::Protocol("a 200 to a range".into())),
            _ => Err(self.refusal(response).await),
        }
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let limit = limit.clamp(1, MAX_RESULTS);
        let container = self.container_url.trim_end_matches('/');
        let mut url = format!("{container}?restype=container&comp=list&maxresults={limit}");
        for (name, value) in [("prefix", Some(prefix)), ("marker", after)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                url = format!("{url}&{name}={}", utf8_percent_encode(value, UNRESERVED));
            }
        }
        let mut request = Request::get(url)
            .body(Full::default())
            .map_err(unsendable)?;
        self.credentials
            .authorize(&self.config.account, &mut request)
            .await?;
        let (head, document) = self.client.fetch(request).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(answers::refusal(head.status, &head.headers, &document));
        }
        answers::page(&document)
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.credentials.ends_at()
    }
}

#[async_trait]
impl Presign for Azure {
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError> {
        let url = self.blob_url(&location.key)?;
        let expires_at = SystemTime::now() + options.expiry.min(DELEGATION_LIFE);
        let mut grant = Grant {
            account: &self.config.account,
            container: &self.config.container,
            blob: &location.key,
            ends_at: expires_at,
            only_https: self.container_url.starts_with("https:"),
            content_type: options.content_type.as_deref(),
        };
        let query = match &self.credentials {
            Credentials::AccountKey(key) => grant.by_account_key(key)?,
            Credentials::Identity { delegation, .. } => {
                let delegation = delegation.current().await?;
                grant.ends_at = expires_at.min(delegation.ends_at);
                grant.by_user_delegation(&delegation.key)?
            }
            Credentials::Sas(..) => {
                let reason = "a sas cannot be cut down to one blob, and is not handed out";
                return Err(BackendError::NoCredentials(reason.into()));
            }
        };
        Ok(PresignedUrl {
            url: Secret::new(format!("{url}?{query}")),
            expires_at: grant.ends_at,
        })
    }
}

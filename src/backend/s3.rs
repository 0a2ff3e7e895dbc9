//! S3 and what speaks its protocol: HEAD, GET of one range, ListObjectsV2 and presigned GET, signed with SigV4.
//!
//! Asks for `s3:GetObject` alone to read. The SDK gives credentials and signatures (`aws-config`, `aws-sigv4`); the
//! request itself goes over the house's own client, so that status, range, length and validator are checked here.
//! Two refusals are mended, once a question: the bucket's region, where none is configured, and credentials that
//! storage takes for ended. Follows the Amazon S3 API reference (GetObject, HeadObject, ListObjectsV2).

mod credentials;
mod listing;
mod place;
pub(super) mod refusal;

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::config::S3Config;
use super::http::{HttpClient, content_length, object_meta};
use super::{
    Backend, BackendError, Call, Condition, Conditional, Fetched, Page, Presign, PresignOptions,
    PresignedUrl,
};
use crate::object::{ObjectLocation, ObjectMeta};
use crate::secret::Secret;
use credentials::S3Credentials;
use place::{Place, UNRESERVED};
use refusal::Refusal;

/// A key in a path: slashes stand.
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// S3 signs for a week at most.
const MAX_PRESIGN_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// One bucket.
pub struct S3 {
    client: HttpClient,
    credentials: S3Credentials,
    place: Place,
}

/// What is asked of the bucket, before it is known where the bucket is and who signs.
struct Question {
    method: Method,
    /// An encoded key, or a query.
    target: String,
    fields: HeaderMap,
}

impl S3 {
    /// Makes no request yet.
    pub fn new(config: S3Config, client: HttpClient) -> Self {
        Self {
            credentials: S3Credentials::new(config.clone()),
            place: Place::new(config),
            client,
        }
    }

    /// Asks until storage gives what was asked for (200, 206, 304), or refuses for good.
    async fn ask(&self, question: &Question) -> Result<Response<Incoming>, BackendError> {
        let (mut moved, mut renewed) = (false, false);
        loop {
            let region = self.place.region().await;
            let credentials = self.credentials.current().await?;
            let response = self.send(question, &region, &credentials).await?;
            if let StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED =
                response.status()
            {
                self.place.settle(&region);
                return Ok(response);
            }
            let refusal = self
                .refusal(question, response, &region, &credentials)
                .await;
            if refusal.is_at_home() {
                self.place.settle(&region);
            }
            let elsewhere = refusal.elsewhere();
            if !moved && elsewhere.is_some_and(|there| self.place.learn(there, &region)) {
                moved = true;
            } else if !renewed
                && refusal.is_of_ended_credentials()
                && self.credentials.refused(&credentials)
            {
                renewed = true;
            } else {
                return Err(refusal.into_error(&region));
            }
        }
    }

    /// What storage says instead. An answer to HEAD has no document that tells why (RFC 9110 §9.3.2): where the
    /// status alone says little, GET is asked for the reason.
    async fn refusal(
        &self,
        question: &Question,
        response: Response<Incoming>,
        region: &str,
        credentials: &Credentials,
    ) -> Refusal {
        let told = self.read_refusal(response).await;
        if question.method != Method::HEAD || !told.says_little() {
            return told;
        }
        let mut fields = question.fields.clone();
        fields.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        let why = Question {
            method: Method::GET,
            target: question.target.clone(),
            fields,
        };
        match self.send(&why, region, credentials).await {
            Ok(response) if !response.status().is_success() => self.read_refusal(response).await,
            Ok(_) | Err(_) => told,
        }
    }

    async fn read_refusal(&self, response: Response<Incoming>) -> Refusal {
        let (head, body) = response.into_parts();
        let document = self.client.error_document(body).await;
        Refusal::new(head.status, &head.headers, &document)
    }

    async fn send(
        &self,
        question: &Question,
        region: &str,
        credentials: &Credentials,
    ) -> Result<Response<Incoming>, BackendError> {
        let uri = format!("{}{}", self.place.url(region), question.target);
        let mut settings = signing_settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // A proxy in between may well give `traceparent` a span of its own: it is sent and not signed.
        let signed = question
            .fields
            .iter()
            .filter(|(name, _)| *name != TRACEPARENT);
        let fields = signed.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let method = question.method.as_str();
        let signable = SignableRequest::new(method, &uri, fields, SignableBody::Bytes(&[]));
        let instructions = signature(signable.map_err(unsignable)?, region, credentials, settings)?;
        let request = Request::builder().method(&question.method).uri(&uri);
        let mut request = request.body(Empty::new()).map_err(unsignable)?;
        request.headers_mut().clone_from(&question.fields);
        instructions.apply_to_request_http1x(&mut request);
        self.client.send(request).await
    }

    /// A presigned URL names its region for good: it is found out before the first one is signed, by a HEAD that
    /// needs no other permission than reading. Its own failure is none: the URL's reader is told.
    async fn settle_region(&self, location: &ObjectLocation) {
        if !self.place.is_settled() {
            let _ = self.head(Call::about(location)).await;
        }
    }
}

impl Question {
    fn about(method: Method, call: &Call<'_>) -> Result<Self, BackendError> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(unsignable);
        let mut fields = HeaderMap::new();
        match &call.condition {
            Condition::None => {}
            Condition::IfMatch(etag) => {
                fields.insert(header::IF_MATCH, value(etag.as_str())?);
            }
            Condition::IfNoneMatch(etag) => {
                fields.insert(header::IF_NONE_MATCH, value(etag.as_str())?);
            }
        }
        if let Some(trace) = call.trace {
            fields.insert(TRACEPARENT, value(&trace.header_value())?);
        }
        Ok(Self {
            method,
            target: encoded(&call.location.key),
            fields,
        })
    }
}

#[async_trait]
impl Backend for S3 {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let response = self.ask(&Question::about(Method::HEAD, &call)?).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Conditional::NotModified);
        }
        let complete_length = content_length(response.headers())
            .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
        let meta = object_meta(response.headers(), complete_length)?;
        Ok(Conditional::Is(meta))
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let mut question = Question::about(Method::GET, &call)?;
        let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let field = field.parse().map_err(unsignable)?;
        question.fields.insert(header::RANGE, field);
        let response = self.ask(&question).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Conditional::NotModified),
            StatusCode::PARTIAL_CONTENT => {
                let fetched = Fetched::partial(response, &range, &self.client)?;
                Ok(Conditional::Is(fetched))
            }
            _ => Err(BackendError::Protocol("a 200 to a range".into())),
        }
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let question = Question {
            method: Method::GET,
            target: listing::query(prefix, after, limit),
            fields: HeaderMap::new(),
        };
        let response = self.ask(&question).await?;
        let document = self
            .client
            .document(response.into_body(), listing::PAGE_LIMIT);
        listing::page(&document.await?)
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.credentials.expiry()
    }
}

#[async_trait]
impl Presign for S3 {
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError> {
        self.settle_region(location).await;
        let region = self.place.region().await;
        let credentials = self.credentials.current().await?;
        let now = SystemTime::now();
        let life = match credentials.expiry() {
            Some(end) => options
                .expiry
                .min(end.duration_since(now).unwrap_or_default()),
            None => options.expiry,
        };
        let life = Duration::from_secs(life.min(MAX_PRESIGN_EXPIRY).as_secs());
        if life.is_zero() {
            return Err(BackendError::NoCredentials(
                "they end within the second".into(),
            ));
        }
        let mut url = format!("{}{}", self.place.url(&region), encoded(&location.key));
        if let Some(content_type) = &options.content_type {
            url = format!(
                "{url}?response-content-type={}",
                utf8_percent_encode(content_type, UNRESERVED)
            );
        }
        let mut settings = signing_settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(life);
        let signable = SignableRequest::new(
            if options.head_only { "HEAD" } else { "GET" },
            &url,
            std::iter::empty(),
            SignableBody::UnsignedPayload,
        );
        let instructions = signature(
            signable.map_err(unsignable)?,
            &region,
            &credentials,
            settings,
        )?;
        let mut request = Request::builder().uri(&url).body(()).map_err(unsignable)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(PresignedUrl {
            url: Secret::new(request.uri().to_string()),
            expires_at: now + life,
        })
    }
}

/// A key as it stands in a path, each byte of it.
fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

fn signature(
    request: SignableRequest<'_>,
    region: &str,
    credentials: &Credentials,
    settings: SigningSettings,
) -> Result<SigningInstructions, BackendError> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(unsignable)?;
    let signed = sign(request, &params.into()).map_err(unsignable)?;
    Ok(signed.into_parts().0)
}

fn signing_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    // S3 alone signs paths as they are: encoded once, `//` and `..` kept ("Authenticating Requests", S3 API).
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

fn unsignable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Protocol(format!("the request cannot be signed: {error}"))
}

#[cfg(test)]
mod tests;

//! S3 and what speaks its protocol: HEAD, GET of one range, ListObjectsV2 and presigned GET, signed with SigV4.
//!
//! Asks for `s3:GetObject` alone to read. The SDK gives credentials and signatures (`aws-config`, `aws-sigv4`); the
//! request itself goes over the house's own client, so that status, range, length and validator are checked here.
//! Follows the Amazon S3 API reference (GetObject, HeadObject, ListObjectsV2, "Error responses").

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use super::config::S3Config;
use super::http::{HttpClient, content_length, object_meta};
use super::s3_credentials::{S3Credentials, region};
use super::{
    Backend, BackendError, Call, Condition, Conditional, Fetched, Listed, Presign, PresignOptions,
    PresignedUrl,
};
use crate::object::{ObjectLocation, ObjectMeta};
use crate::secret::Secret;

/// SigV4's UriEncode: everything but the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a key in a path, where slashes stand.
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');
/// S3 signs for a week at most.
const MAX_PRESIGN_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// One bucket.
pub struct S3 {
    config: S3Config,
    client: HttpClient,
    credentials: S3Credentials,
    region: OnceCell<String>,
}

impl S3 {
    /// Makes no request yet.
    pub fn new(config: S3Config, client: HttpClient) -> Self {
        Self {
            credentials: S3Credentials::new(config.clone()),
            config,
            client,
            region: OnceCell::new(),
        }
    }

    async fn region(&self) -> &str {
        self.region.get_or_init(|| region(&self.config)).await
    }

    /// `scheme://authority/base/` of the bucket, ready for an encoded key.
    async fn bucket_url(&self) -> String {
        let bucket = &self.config.bucket;
        let (scheme, authority, base) = match &self.config.endpoint {
            Some(endpoint) => {
                let host = endpoint.host_str().unwrap_or_default();
                let port = endpoint
                    .port()
                    .map(|port| format!(":{port}"))
                    .unwrap_or_default();
                (
                    endpoint.scheme().to_owned(),
                    format!("{host}{port}"),
                    endpoint.path().trim_end_matches('/').to_owned(),
                )
            }
            None => {
                let region = self.region().await;
                let suffix = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                (
                    "https".to_owned(),
                    format!("s3.{region}.{suffix}"),
                    String::new(),
                )
            }
        };
        if self.config.path_style {
            format!(
                "{scheme}://{authority}{base}/{}/",
                utf8_percent_encode(bucket, UNRESERVED)
            )
        } else {
            format!("{scheme}://{bucket}.{authority}{base}/")
        }
    }

    async fn object_url(&self, key: &str) -> String {
        format!(
            "{}{}",
            self.bucket_url().await,
            utf8_percent_encode(key, KEY)
        )
    }

    async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        let credentials = self.credentials.current().await?;
        let mut settings = signing_settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let fields: Vec<(&str, &str)> = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let uri = request.uri().to_string();
        let method = request.method().clone();
        let signable = SignableRequest::new(
            method.as_str(),
            &uri,
            fields.into_iter(),
            SignableBody::Bytes(&[]),
        );
        let instructions = self
            .sign(signable.map_err(unsignable)?, &credentials, settings)
            .await?;
        instructions.apply_to_request_http1x(&mut request);
        self.client.send(request).await
    }

    async fn sign(
        &self,
        request: SignableRequest<'_>,
        credentials: &Credentials,
        settings: SigningSettings,
    ) -> Result<aws_sigv4::http_request::SigningInstructions, BackendError> {
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region().await)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(unsignable)?;
        Ok(sign(request, &params.into())
            .map_err(unsignable)?
            .into_parts()
            .0)
    }

    fn request(
        &self,
        method: Method,
        url: String,
        call: &Call<'_>,
    ) -> Result<Request<Empty<Bytes>>, BackendError> {
        let mut request = Request::builder().method(method).uri(url);
        match &call.condition {
            Condition::None => {}
            Condition::IfMatch(etag) => request = request.header(header::IF_MATCH, etag.as_str()),
            Condition::IfNoneMatch(etag) => {
                request = request.header(header::IF_NONE_MATCH, etag.as_str())
            }
        }
        if let Some(traceparent) = call.traceparent {
            request = request.header("traceparent", traceparent);
        }
        request.body(Empty::new()).map_err(unsignable)
    }

    /// An answer that is not the bytes: what storage said, in the house's words.
    async fn refusal(&self, response: Response<Incoming>) -> BackendError {
        let status = response.status();
        let in_region = super::http::text(
            response.headers(),
            HeaderName::from_static("x-amz-bucket-region"),
        )
        .map(str::to_owned);
        let document = self.client.error_document(response.into_body()).await;
        let code = element(&document, "Code").unwrap_or_default();
        refusal(status, &code, in_region.as_deref())
    }
}

#[async_trait]
impl Backend for S3 {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let url = self.object_url(&call.location.key).await;
        let response = self.send(self.request(Method::HEAD, url, &call)?).await?;
        match response.status() {
            StatusCode::OK => {
                let complete_length = content_length(response.headers())
                    .ok_or_else(|| BackendError::Protocol("no content-length for a HEAD".into()))?;
                Ok(Conditional::Is(object_meta(
                    response.headers(),
                    complete_length,
                )?))
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
        let url = self.object_url(&call.location.key).await;
        let mut request = self.request(Method::GET, url, &call)?;
        let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        request
            .headers_mut()
            .insert(header::RANGE, field.parse().map_err(unsignable)?);
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(Conditional::Is(Fetched::partial(
                response,
                &range,
                &self.client,
            )?)),
            StatusCode::NOT_MODIFIED => Ok(Conditional::NotModified),
            StatusCode::OK => Err(BackendError::Protocol("a 200 to a range".into())),
            _ => Err(self.refusal(response).await),
        }
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<Listed>, BackendError> {
        let bucket_url = self.bucket_url().await;
        let prefix = utf8_percent_encode(prefix, UNRESERVED);
        let url = format!("{bucket_url}?list-type=2&max-keys={limit}&prefix={prefix}");
        let request = Request::builder()
            .uri(url)
            .body(Empty::new())
            .map_err(unsignable)?;
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        // Room for the longest listing S3 gives: 1,000 keys of 1,024 bytes.
        let document = http_body_util::BodyExt::collect(http_body_util::Limited::new(
            response.into_body(),
            4 << 20,
        ))
        .await
        .map_err(|error| BackendError::Unavailable(error.to_string()))?
        .to_bytes();
        listing(&document)
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
        let mut url = self.object_url(&location.key).await;
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
            "GET",
            &url,
            std::iter::empty(),
            SignableBody::UnsignedPayload,
        );
        let instructions = self
            .sign(signable.map_err(unsignable)?, &credentials, settings)
            .await?;
        let mut request = Request::builder().uri(&url).body(()).map_err(unsignable)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(PresignedUrl {
            url: Secret::new(request.uri().to_string()),
            expires_at: now + life,
        })
    }
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

/// S3's error codes, sorted by what can be done about them ("Error responses", S3 API).
fn refusal(status: StatusCode, code: &str, in_region: Option<&str>) -> BackendError {
    let said = if code.is_empty() {
        status.as_str().to_owned()
    } else {
        code.to_owned()
    };
    match (status.as_u16(), code) {
        (404, "NoSuchBucket") => BackendError::NoSuchBucket,
        (404, _) => BackendError::NotFound,
        (409 | 412, _) => BackendError::Changed,
        (416, _) => BackendError::RangeNotSatisfiable,
        (301 | 307 | 400, _) if in_region.is_some() => BackendError::AccessDenied(format!(
            "{said}: the bucket is in region {}",
            in_region.unwrap_or_default()
        )),
        (400, "ExpiredToken" | "InvalidToken" | "AuthorizationHeaderMalformed")
        | (401 | 403, _) => BackendError::AccessDenied(said),
        (400, "RequestTimeout") | (408, _) => BackendError::Unavailable(said),
        (429 | 503, _) | (_, "SlowDown") => BackendError::Throttled(said),
        (500..=599, _) => BackendError::Unavailable(said),
        _ => BackendError::Protocol(format!("unexpected status {said}")),
    }
}

/// The text of the first element of that name, wherever it stands; error documents are this flat.
fn element(document: &Bytes, name: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_reader(&document[..]);
    let mut inside = false;
    loop {
        match reader.read_event().ok()? {
            quick_xml::events::Event::Start(start) => {
                inside = start.local_name().as_ref() == name.as_bytes()
            }
            quick_xml::events::Event::Text(text) if inside => {
                return Some(text.decode().ok()?.into_owned());
            }
            quick_xml::events::Event::Eof => return None,
            _ => {}
        }
    }
}

#[derive(serde::Deserialize)]
struct ListBucketResult {
    #[serde(rename = "Contents", default)]
    contents: Vec<Contents>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
}

fn listing(document: &Bytes) -> Result<Vec<Listed>, BackendError> {
    let result: ListBucketResult = quick_xml::de::from_reader(&document[..]).map_err(|error| {
        BackendError::Protocol(format!("a listing that cannot be read: {error}"))
    })?;
    Ok(result
        .contents
        .into_iter()
        .map(|contents| Listed {
            key: contents.key,
            complete_length: contents.size,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_storage_says_is_told_apart() {
        let said = |status: u16, code: &str| {
            refusal(StatusCode::from_u16(status).expect("a status"), code, None)
        };
        assert!(matches!(said(404, "NoSuchKey"), BackendError::NotFound));
        assert!(matches!(said(404, ""), BackendError::NotFound));
        assert!(matches!(
            said(404, "NoSuchBucket"),
            BackendError::NoSuchBucket
        ));
        assert!(matches!(
            said(403, "AccessDenied"),
            BackendError::AccessDenied(_)
        ));
        assert!(matches!(
            said(400, "ExpiredToken"),
            BackendError::AccessDenied(_)
        ));
        assert!(matches!(
            said(412, "PreconditionFailed"),
            BackendError::Changed
        ));
        assert!(matches!(
            said(416, "InvalidRange"),
            BackendError::RangeNotSatisfiable
        ));
        assert!(matches!(said(503, "SlowDown"), BackendError::Throttled(_)));
        assert!(matches!(
            said(500, "InternalError"),
            BackendError::Unavailable(_)
        ));
        assert!(matches!(said(302, ""), BackendError::Protocol(_)));
    }

    #[test]
    fn an_error_document_names_its_code() {
        let document = Bytes::from_static(
            b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message></Error>",
        );
        assert_eq!(element(&document, "Code").as_deref(), Some("SlowDown"));
        assert_eq!(element(&Bytes::from_static(b"<html"), "Code"), None);
    }
}

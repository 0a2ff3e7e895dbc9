//! Objects behind URLs that somebody else signed: S3's SigV4, Google's V4, Azure's SAS, as Label Studio hands them out.
//!
//! Holds no credential but the URL, which it never shows and never follows away from. The URL is signed for GET alone,
//! so a HEAD is a GET of one byte. One that has ended, or that storage refuses, is renewed once a question, unseen by
//! whoever reads. Storage is wherever the URL says, within the client's reach (`reach`). The `Content-Type` may be the
//! signer's guess: Label Studio puts one by the extension into S3's URLs.

mod dialect;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;

use self::dialect::Dialect;
use super::http::{HttpClient, content_length, object_meta};
use super::{Backend, BackendError, Call, Condition, Conditional, Fetched, Page};
use crate::object::{ObjectLocation, ObjectMeta};
use crate::signed::{NotSigned, SignedUrl, SignedUrls};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// A URL that ends sooner is taken for ended: the request has to get there, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5);
/// What a HEAD asks for.
const FIRST_BYTE: Range<u64> = 0..1;

/// All objects that somebody else signs for.
pub struct Signed {
    urls: Arc<SignedUrls>,
    client: HttpClient,
}

/// Storage's answer (200, 206 or 304), and whose manners it has.
struct Answer {
    response: Response<Incoming>,
    dialect: Dialect,
}

impl Signed {
    /// Makes no request yet. `client` should reach no further than storage may be.
    pub fn new(urls: Arc<SignedUrls>, client: HttpClient) -> Self {
        Self { urls, client }
    }

    /// Asks until storage gives what was asked for (200, 206, 304), or refuses for good.
    async fn ask(
        &self,
        call: &Call<'_>,
        range: Option<&Range<u64>>,
    ) -> Result<Answer, BackendError> {
        let known = self.urls.get(call.location);
        // The decision that let somebody in has put it there; it was dropped since, and comes back with the next.
        let mut signed = known.ok_or_else(|| unsigned("none is known for the object"))?;
        let mut renewed = false;
        if has_ended(&signed) {
            signed = self.renew(call.location, &signed).await?;
            renewed = true;
        }
        loop {
            let uri = uri(&signed)?;
            let dialect = Dialect::of(&uri);
            let request = request(call, uri, range, dialect)?;
            let response = self.client.send(request).await?;
            if let StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED =
                response.status()
            {
                return Ok(Answer { response, dialect });
            }
            let (head, body) = response.into_parts();
            let document = self.client.error_document(body).await;
            if renewed || !dialect.may_be_of_the_url(head.status, &head.headers, &document) {
                return Err(dialect.refusal(head.status, &head.headers, &document));
            }
            signed = self.renew(call.location, &signed).await?;
            renewed = true;
        }
    }

    async fn renew(
        &self,
        location: &ObjectLocation,
        stale: &SignedUrl,
    ) -> Result<SignedUrl, BackendError> {
        let renewed = self.urls.renew(location, stale).await;
        renewed.map_err(|error| match error {
            // Whoever may still see the object is let in anew, and brings a URL with them.
            NotSigned::Refused => unsigned("its signer refuses"),
            NotSigned::Unavailable(reason) => unsigned(&reason),
        })
    }

    /// Whether there is nothing in the object: a range of it cannot be satisfied, whichever it is.
    async fn empty(&self, call: &Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let Answer { response, dialect } = self.ask(call, None).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Conditional::NotModified);
        }
        match content_length(response.headers()) {
            Some(0) => {
                let meta = object_meta(response.headers(), 0)?;
                dialect.check(response.headers(), &meta)?;
                let through = call.condition.lets_through(&meta.etag)?;
                Ok(given(through, meta))
            }
            // Somebody has written to it between the two questions.
            Some(_) => Err(BackendError::Changed),
            None => Err(BackendError::Protocol("no content-length in a 200".into())),
        }
    }
}

#[async_trait]
impl Backend for Signed {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        match self.get(call.clone(), FIRST_BYTE).await {
            Ok(Conditional::Is(mut fetched)) => {
                // Read to its end, so that the connection can be used again.
                while let Some(frame) = fetched.body.next().await {
                    frame?;
                }
                Ok(Conditional::Is(fetched.meta))
            }
            Ok(Conditional::NotModified) => Ok(Conditional::NotModified),
            Err(BackendError::RangeNotSatisfiable) => self.empty(&call).await,
            Err(error) => Err(error),
        }
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let Answer { response, dialect } = self.ask(&call, Some(&range)).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Conditional::NotModified),
            // RFC 9110 §14.4 knows no range without a byte; Azurite answers so about an empty blob.
            StatusCode::PARTIAL_CONTENT if content_length(response.headers()) == Some(0) => {
                Err(BackendError::RangeNotSatisfiable)
            }
            StatusCode::PARTIAL_CONTENT => {
                let headers = response.headers().clone();
                let fetched = Fetched::partial(response, &range, &self.client)?;
                dialect.check(&headers, &fetched.meta)?;
                // Some servers ignore conditions.
                let through = call.condition.lets_through(&fetched.meta.etag)?;
                Ok(given(through, fetched))
            }
            _ => Err(BackendError::Protocol("a 200 to a range".into())),
        }
    }

    async fn list(
        &self,
        _bucket: &str,
        _prefix: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Page, BackendError> {
        let reason = "a signed url reads one object, and lists none";
        Err(BackendError::NoCredentials(reason.into()))
    }
}

fn given<T>(through: bool, answer: T) -> Conditional<T> {
    match through {
        true => Conditional::Is(answer),
        false => Conditional::NotModified,
    }
}

fn has_ended(signed: &SignedUrl) -> bool {
    let ends_at = signed.expires_at;
    ends_at.is_some_and(|ends_at| ends_at <= SystemTime::now() + MARGIN)
}

/// The URL as it is sent: a path is taken as it stands, for another spelling would have another signature.
fn uri(signed: &SignedUrl) -> Result<Uri, BackendError> {
    let uri: Option<Uri> = signed.url.expose().parse().ok();
    let web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    uri.filter(web)
        .ok_or_else(|| BackendError::Protocol("the signed url is none".into()))
}

fn request(
    call: &Call<'_>,
    uri: Uri,
    range: Option<&Range<u64>>,
    dialect: Dialect,
) -> Result<Request<Empty<Bytes>>, BackendError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(unsendable);
    let mut request = Request::get(uri).body(Empty::new()).map_err(unsendable)?;
    let fields = request.headers_mut();
    if let Some(range) = range {
        let field = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        fields.insert(header::RANGE, value(&field)?);
    }
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
    if let Some(codings) = dialect.accepted_codings() {
        fields.insert(header::ACCEPT_ENCODING, codings);
    }
    Ok(request)
}

fn unsendable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Protocol(format!("the request cannot be written: {error}"))
}

fn unsigned(reason: &str) -> BackendError {
    BackendError::CredentialsUnavailable(format!("no signed url: {reason}"))
}

#[cfg(test)]
mod tests;

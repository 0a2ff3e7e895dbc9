//! The one pooled HTTP client that stores are read through, and the checks on what comes back.
//!
//! Never follows a redirect, never trusts a length: a body ends after exactly the bytes that its head promised, or
//! with an error (RFC 9110 §14.4, §15.3.7). Chooses no status.

mod body;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::proxy::ProxyConnector;
use super::reach::{Forbidden, Reach};
use super::resolver::Resolver;
use super::{BackendError, ByteStream, Fetched};
use crate::object::{ETag, ObjectMeta};

/// A storage that does not accept a connection in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are given up before the usual 20 s at which S3 gives them up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// No error document of a store is longer; what is longer is not read.
const ERROR_DOCUMENT_LIMIT: usize = 64 << 10;
/// No head is longer, and no more of a body is read at once; S3 allows 2 KiB of an object's own fields. At most 100
/// fields is hyper's default, which it keeps on the stack; to name a number would cost an allocation.
const READ_BUFFER: usize = 256 << 10;
/// No Retry-After of storage's is believed beyond this: who waits longer had better ask.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// No token and no page of a listing is longer.
const DOCUMENT_LIMIT: usize = 4 << 20;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The system has no certificates, and none were given.
    #[error(
        "no certificate authorities found on this system; install ca-certificates or set ca_file"
    )]
    NoRoots,
    /// The storage's own CA could not be read.
    #[error("cannot read the certificates of {file}: {reason}")]
    CaFile {
        /// The file as configured.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refused the configuration.
    #[error("tls cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A pooled client; cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<ProxyConnector>, Full<Bytes>>,
    stall_timeout: Duration,
}

impl HttpClient {
    /// A client that trusts the system's authorities and, where given, those of `ca_file` (PEM). Storage that
    /// brings no byte for `stall_timeout`, the first one included, fails. Goes through the proxy that the environment
    /// names for a host.
    pub fn new(ca_file: Option<&Path>, stall_timeout: Duration) -> Result<Self, HttpClientError> {
        Self::within(Reach::Anywhere, ca_file, stall_timeout)
    }

    /// The same for storage whose place somebody else names: connects only to what is within reach.
    pub fn within(
        reach: Reach,
        ca_file: Option<&Path>,
        stall_timeout: Duration,
    ) -> Result<Self, HttpClientError> {
        let names = Resolver::of_system().within(reach);
        Self::through(Matcher::from_env(), names, ca_file, stall_timeout)
    }

    /// The same through other proxies than the environment's, to where other names lead.
    pub(super) fn through(
        proxies: Matcher,
        names: Resolver,
        ca_file: Option<&Path>,
        stall_timeout: Duration,
    ) -> Result<Self, HttpClientError> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(ProxyConnector::new(proxies, names, CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        Ok(Self {
            client,
            stall_timeout,
        })
    }

    /// Sends a request without a body and waits for the answer's head.
    pub async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        self.begin(request.map(|_| Full::default())).await
    }

    /// Sends a request, for a token or a listing, and reads the whole answer, whatever its status.
    pub async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, BackendError> {
        let (head, body) = self.begin(request).await?.into_parts();
        let document = self.document(body, DOCUMENT_LIMIT).await?;
        Ok(Response::from_parts(head, document))
    }

    /// A whole document, of at most `limit` bytes.
    pub async fn document(&self, body: Incoming, limit: usize) -> Result<Bytes, BackendError> {
        let whole = Limited::new(body, limit).collect();
        let whole = tokio::time::timeout(self.stall_timeout, whole)
            .await
            .map_err(|_| BackendError::TimedOut("storage stalled in the middle of a document"))?
            .map_err(|error| BackendError::Unavailable(error.to_string()))?;
        Ok(whole.to_bytes())
    }

    async fn begin(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, BackendError> {
        match tokio::time::timeout(self.stall_timeout, self.client.request(request)).await {
            Err(_) => Err(BackendError::TimedOut("storage did not begin to answer")),
            Ok(Err(error)) if causes(&error).any(|cause| cause.is::<Forbidden>()) => {
                Err(BackendError::AccessDenied(Forbidden.to_string()))
            }
            Ok(Err(error)) if error.is_connect() => Err(BackendError::Unavailable(format!(
                "cannot connect: {}",
                innermost(&error)
            ))),
            Ok(Err(error)) if is_no_http(&error) => {
                let reason = format!("an answer that is no http: {}", innermost(&error));
                Err(BackendError::Protocol(reason))
            }
            Ok(Err(error)) => Err(BackendError::Unavailable(innermost(&error))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// The answer's bytes, which must be exactly `length`, and come without a stall.
    pub fn body(&self, incoming: Incoming, length: u64) -> ByteStream {
        body::poured(incoming, length, self.stall_timeout)
    }

    /// An error document, as much of it as is worth reading; empty where it cannot be read.
    pub async fn error_document(&self, incoming: Incoming) -> Bytes {
        let whole = Limited::new(incoming, ERROR_DOCUMENT_LIMIT).collect();
        match tokio::time::timeout(self.stall_timeout, whole).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        }
    }
}

/// Trusts the system's authorities and, where given, those of `ca_file` (PEM).
pub fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, HttpClientError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let unreadable = |reason: String| HttpClientError::CaFile {
            file: file.display().to_string(),
            reason,
        };
        for certificate in
            CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?
        {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| unreadable(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authorities found on this system: https storage will be refused"
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The cause at the bottom of a chain of errors: what a person can act on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An error, and what it comes from.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether something answered, in no form of HTTP: asking again would bring the same.
fn is_no_http(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error)
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}

/// A field's value as text, where it was sent once: of two that differ none is to be believed (RFC 9110 §5.3).
pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    let alone = values.all(|other| other == value);
    value.to_str().ok().filter(|_| alone)
}

/// When storage wants to be asked again (RFC 9110 §10.2.3), five minutes at most; none where the head does not say.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let field = text(headers, header::RETRY_AFTER)?;
    let pause = match field.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(field).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

/// The metadata in an answer's head. Storage that gives no strong validator broke the protocol: a version could not
/// be pinned.
pub fn object_meta(headers: &HeaderMap, complete_length: u64) -> Result<ObjectMeta, BackendError> {
    let etag = text(headers, header::ETAG)
        .and_then(ETag::strong)
        .ok_or_else(|| BackendError::Protocol("no strong etag".into()))?;
    let last_modified: Option<SystemTime> = text(headers, header::LAST_MODIFIED)
        .and_then(|value| httpdate::parse_http_date(value).ok());
    let owned = |name| {
        text(headers, name)
            .filter(|value| !value.is_empty())
            .map(Arc::from)
    };
    Ok(ObjectMeta {
        etag,
        complete_length,
        last_modified,
        content_type: owned(header::CONTENT_TYPE),
        content_encoding: owned(header::CONTENT_ENCODING)
            .filter(|coding: &Arc<str>| &**coding != "identity"),
    })
}

/// `Content-Length`, where there is exactly one and it is a number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// A 206 that answers `asked`: its `Content-Range` must begin where asked and end there or at the object's end, and
/// its `Content-Length`, where given, must agree.
pub fn partial_content(
    headers: &HeaderMap,
    asked: &Range<u64>,
) -> Result<(ObjectMeta, Range<u64>), BackendError> {
    let broken = |what: &str| BackendError::Protocol(format!("{what} in a 206"));
    let field = text(headers, header::CONTENT_RANGE).ok_or_else(|| broken("no content-range"))?;
    let (range, complete_length) =
        content_range(field).ok_or_else(|| broken("a content-range that is none"))?;
    if range.start != asked.start || range.end != asked.end.min(complete_length) {
        return Err(broken("another range than was asked for"));
    }
    if content_length(headers).is_some_and(|length| length != range.end - range.start) {
        return Err(broken("a content-length that differs from content-range"));
    }
    Ok((object_meta(headers, complete_length)?, range))
}

/// `bytes first-last/complete` (RFC 9110 §14.4), half-open.
pub fn content_range(field: &str) -> Option<(Range<u64>, u64)> {
    let number = |digits: &str| {
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse::<u64>().ok())?
    };
    let (unit, rest) = field.split_once(' ')?;
    let (range, complete_length) = rest.split_once('/')?;
    let (first_pos, last_pos) = range.split_once('-')?;
    let (first_pos, last_pos, complete_length) = (
        number(first_pos)?,
        number(last_pos)?,
        number(complete_length)?,
    );
    let sound =
        unit.eq_ignore_ascii_case("bytes") && first_pos <= last_pos && last_pos < complete_length;
    sound.then_some((first_pos..last_pos + 1, complete_length))
}

impl Fetched {
    /// A 206 whose head was checked against what was asked for.
    pub fn partial(
        response: Response<Incoming>,
        asked: &Range<u64>,
        client: &HttpClient,
    ) -> Result<Self, BackendError> {
        let (meta, range) = partial_content(response.headers(), asked)?;
        let length = range.end - range.start;
        Ok(Self {
            meta,
            range,
            body: client.body(response.into_body(), length),
        })
    }
}

#[cfg(test)]
mod tests;

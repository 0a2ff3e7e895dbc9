//! Asking another service over HTTP: the pooled client, and what Label Studio's answers mean.
//!
//! Ground, for who somebody is and what they may see are asked of the same service. Follows no redirect, keeps no
//! cookie, sends no credential but the one it is handed, and reads no answer longer than 16 MiB. Remembers
//! nothing; [`memo`] does.

pub mod memo;
#[cfg(test)]
pub mod scripted;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::secret::Secret;

/// Longer, and the service is taken to be unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For a whole answer: a request for media waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A task with its annotations, or a page of tasks without them; what is longer is not held in memory.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// So many questions are under way at once. Label Studio has few workers (four in its image), and they have its pages
/// to serve as well; more questions would only wait there.
const MAX_UNDER_WAY: usize = 8;

/// So many more, about who somebody is whom nobody vouched for yet: whoever invents credentials, each another question,
/// then keeps waiting those alone who come for the first time. Half of Label Studio's workers at most.
const MAX_NEWCOMERS: usize = 2;

/// How long a question waits for its turn: as many as can be answered meanwhile, and no more, are worth waiting for.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections are given up before the service's own end, which for uwsgi and gunicorn is a few seconds at least.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// One byte of media, in case that it is sent.
const FIRST_BYTE: (HeaderName, HeaderValue) =
    (header::RANGE, HeaderValue::from_static("bytes=0-0"));

/// Anything that is there at all is enough (RFC 9110 §13.1.2): 304 says that it is, and who may see it.
const IF_NOT_THERE: (HeaderName, HeaderValue) =
    (header::IF_NONE_MATCH, HeaderValue::from_static("*"));

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("lockgate/", env!("CARGO_PKG_VERSION")));

/// A pooled client without bodies of its own.
pub type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A client for `uri` that trusts the system's authorities and, where given, those of `ca_file` (PEM).
///
/// # Errors
/// That no authority is known, or what is wrong with the file.
pub fn https_client(uri: &Uri, ca_file: Option<&Path>) -> io::Result<HttpsClient> {
    let connector = connector(uri, ca_file)?;
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .build(connector))
}

fn connector(uri: &Uri, ca_file: Option<&Path>) -> io::Result<HttpsConnector<HttpConnector>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    // Plain HTTP, such as to a sidecar, must not fail for want of certificate authorities.
    let roots = match uri.scheme_str() {
        Some("http") => RootCertStore::empty(),
        _ => roots(ca_file)?,
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_root_certificates(roots).with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector))
}

/// The authorities of the system and, where given, those of `ca_file` (PEM).
///
/// # Errors
/// That no authority is known, or what is wrong with the file.
pub fn roots(ca_file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let own = CertificateDer::pem_file_iter(file).map_err(io::Error::other)?;
        for certificate in own {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
    }
    match roots.is_empty() {
        true => Err(io::Error::other("no certificate authorities are known")),
        false => Ok(roots),
    }
}

/// What the service says.
#[derive(Debug)]
pub enum Answer {
    /// This.
    Told(Bytes),
    /// What was asked for lies at this address; a signed one is a credential.
    Elsewhere(Secret),
    /// It would send the media itself.
    Streams,
    /// It does not accept the credential.
    NotAuthenticated,
    /// They may not, or there is no such thing.
    Refused,
}

/// Why there is no answer; never who may what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many questions are under way.
    #[error("too many questions are under way")]
    Busy,
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// An answer that says nothing about who may what.
    #[error("answered {0}")]
    Status(u16),
    /// The body broke off or is too long.
    #[error("the answer could not be read: {0}")]
    Body(String),
    /// The body is not what is documented.
    #[error("the answer is not understood: {0}")]
    NotUnderstood(String),
}

/// Puts questions to one service. Cheap to share.
pub struct Asker {
    client: HttpsClient,
    /// For second tries, over a connection that nobody can have closed yet.
    fresh: HttpsClient,
    base: String,
    turns: Semaphore,
    newcomers: Semaphore,
}

impl Asker {
    /// Which service it asks.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// For the service at `base`, whose path is kept before every question's.
    ///
    /// # Errors
    /// See [`https_client`].
    pub fn new(base: &Url, ca_file: Option<&Path>) -> io::Result<Self> {
        let uri: Uri = base.as_str().parse().map_err(io::Error::other)?;
        Ok(Self {
            client: https_client(&uri, ca_file)?,
            fresh: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector(&uri, ca_file)?),
            base: base.as_str().trim_end_matches('/').to_owned(),
            turns: Semaphore::new(MAX_UNDER_WAY),
            newcomers: Semaphore::new(MAX_NEWCOMERS),
        })
    }

    /// What stands at `path`, by the credential in `fields`.
    ///
    /// # Errors
    /// [`AskError`]: nobody said anything about who may what.
    pub async fn what(&self, path: &str, fields: &HeaderMap) -> Result<Answer, AskError> {
        self.told(&self.turns, path, fields).await
    }

    /// [`what`](Self::what), by a credential that the service has not accepted yet.
    ///
    /// # Errors
    /// As there.
    pub async fn what_newcomer(&self, path: &str, fields: &HeaderMap) -> Result<Answer, AskError> {
        self.told(&self.newcomers, path, fields).await
    }

    async fn told(
        &self,
        turns: &Semaphore,
        path: &str,
        fields: &HeaderMap,
    ) -> Result<Answer, AskError> {
        let _turn = turn(turns).await?;
        let asked = async {
            let response = self.send(path, fields, &[]).await?;
            match meaning(&response)? {
                Some(answer) => Ok(answer),
                None => read(response).await.map(Answer::Told),
            }
        };
        in_time(asked).await
    }

    /// Where the media at `path` lies, by the credential in `fields`. Reads no media: one byte is asked for, in case
    /// that the service would rather send it itself.
    ///
    /// # Errors
    /// [`AskError`]: nobody said anything about who may what.
    pub async fn place(&self, path: &str, fields: &HeaderMap) -> Result<Answer, AskError> {
        let _turn = turn(&self.turns).await?;
        let asked = async {
            let response = self.send(path, fields, &[FIRST_BYTE]).await?;
            // It tried to send the media, and storage failed it.
            if response.status() == StatusCode::FAILED_DEPENDENCY {
                return Ok(Answer::Streams);
            }
            Ok(meaning(&response)?.unwrap_or(Answer::Streams))
        };
        in_time(asked).await
    }

    /// Whether the media at `path` is sent to the credential in `fields`, by a service that sends it itself:
    /// [`Answer::Streams`] if so. The condition spares it reading the media where it knows conditions; the range,
    /// sending it where it does not.
    ///
    /// # Errors
    /// [`AskError`]: nobody said anything about who may what.
    pub async fn sends(&self, path: &str, fields: &HeaderMap) -> Result<Answer, AskError> {
        let _turn = turn(&self.turns).await?;
        let asked = async {
            let conditions = [FIRST_BYTE, IF_NOT_THERE];
            let response = self.send(path, fields, &conditions).await?;
            match response.status() {
                // An empty file has no first byte.
                StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE => Ok(Answer::Streams),
                _ => Ok(meaning(&response)?.unwrap_or(Answer::Streams)),
            }
        };
        in_time(asked).await
    }

    /// Twice where a kept connection was closed just then: a question changes nothing. uwsgi, which runs Label Studio's
    /// image, closes after every answer without saying so, so that more than one connection of the pool may be dead.
    async fn send(
        &self,
        path: &str,
        fields: &HeaderMap,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, AskError> {
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|_| AskError::NotUnderstood("the question is no URI".into()))?;
        let request = || {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = fields.clone();
            let headers = request.headers_mut();
            headers.insert(header::USER_AGENT, USER_AGENT);
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            headers.extend(more.iter().cloned());
            request
        };
        match self.client.request(request()).await {
            Err(error) if !error.is_connect() => self.fresh.request(request()).await,
            sent => sent,
        }
        .map_err(|error| AskError::Unreachable(chain(&error)))
    }
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, AskError> {
    match tokio::time::timeout(TURN_TIMEOUT, turns.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(AskError::Busy),
    }
}

async fn in_time(
    asked: impl Future<Output = Result<Answer, AskError>>,
) -> Result<Answer, AskError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::TimedOut),
    }
}

/// What a head alone says; `None`: the body says it.
fn meaning(response: &Response<Incoming>) -> Result<Option<Answer>, AskError> {
    let status = response.status();
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(None),
        StatusCode::UNAUTHORIZED => Ok(Some(Answer::NotAuthenticated)),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Ok(Some(Answer::Refused))
        }
        _ if status.is_redirection() => {
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            match location {
                Some(url) if is_login(url) => Ok(Some(Answer::NotAuthenticated)),
                Some(url) => Ok(Some(Answer::Elsewhere(Secret::new(url)))),
                None => Err(AskError::Status(status.as_u16())),
            }
        }
        _ => Err(AskError::Status(status.as_u16())),
    }
}

/// Where Django sends a browser whose session is none: a path of its own. A signed URL is never one, whatever its key.
fn is_login(location: &str) -> bool {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let own = path.starts_with('/') && !path.starts_with("//");
    own && path.trim_end_matches('/').ends_with("/user/login")
}

async fn read(response: Response<Incoming>) -> Result<Bytes, AskError> {
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
    let body = body.collect().await;
    Ok(body
        .map_err(|error| AskError::Body(error.to_string()))?
        .to_bytes())
}

/// The error with its causes, in one line; neither of hyper's has an address or a field in it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;

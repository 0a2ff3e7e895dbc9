//! What is no media goes to the annotation application (`server.upstream`): a reverse proxy, streaming both ways.
//!
//! Answers pass as they are; nothing of a body is kept; what fails before the head has a status, and what fails after it
//! cuts the connection. Never forwards what is a media route in disguise, a field that is for one hop only, or what a
//! client says of its own address. Follows RFC 9110 §7.6 (forwarding) and §7.8 (upgrades), RFC 9112 §3 and §6.3
//! (targets and framing).
//!
//! What Label Studio needs of its own is one step before the request goes out and one after its answer's head is in:
//! `label_studio` holds its logouts, `task_json` rewrites what it leaves unresolved in tasks.

mod body;
mod fields;
mod label_studio;
mod places;
mod target;
mod tunnel;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::body::Body;
use super::error::Failure;
use super::listener::Peer;
use super::proxies::TrustedProxies;
use super::task_json;
use crate::auth::label_studio::Sessions;
use crate::backend::http::{HttpClientError, tls_config};
use crate::ids::RequestId;
use crate::telemetry::TraceContext;
use body::{Progress, RequestBody};
pub use body::{Upload, upload};
use label_studio::Passing;
use places::{Place, Places};
use target::Target;
pub use tunnel::Tunnels;

/// An application that does not accept a connection in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the 2 s after which gunicorn closes an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long the application may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the request's last byte to its answer's head, and for a request's body to move.
    pub head: Duration,
    /// For an answer's body to move.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// An export of a large project is made before its first byte: a minute, as in common reverse proxies.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        }
    }
}

/// Why the application gave no answer. `serve::error` chooses the status.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or one that broke before the answer's head.
    #[error("the upstream is not available: {0}")]
    Unavailable(String),
    /// What it answered is no HTTP, or not what was asked for.
    #[error("the upstream broke the protocol: {0}")]
    Protocol(String),
    /// It did nothing for too long.
    #[error("the upstream did not answer in time")]
    TimedOut,
}

/// The annotation application, and the connections to it.
pub struct Upstream {
    target: Target,
    /// For what may be sent twice.
    pooled: Client<HttpsConnector<HttpConnector>, RequestBody>,
    /// A connection for each request: uwsgi closes after every answer without saying so, and what was sent on a
    /// connection that is about to be closed may have been done or not.
    fresh: Client<HttpsConnector<HttpConnector>, RequestBody>,
    timeouts: Timeouts,
    places: Places,
    proxies: TrustedProxies,
    sessions: Option<Arc<Sessions>>,
}

/// Where a request comes from, and what it is known by.
pub struct Hop<'a> {
    /// Who sent it.
    pub peer: Peer,
    /// The trace that it belongs to.
    pub trace: &'a TraceContext,
    /// Its id, sent on as `X-Request-Id`.
    pub request_id: &'a RequestId,
    /// Who owns what it may be upgraded to.
    pub tunnels: &'a Tunnels,
}

impl Upstream {
    /// The application at `url`, of which only scheme, host and port are used; over TLS it is trusted by the system's
    /// authorities and those of `ca_file` (PEM). `sessions` where it is Label Studio: its logouts are then seen and held.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        url: &Url,
        ca_file: Option<&Path>,
        sessions: Option<Arc<Sessions>>,
    ) -> Result<Self, HttpClientError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pooled = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector.clone());
        let fresh = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self {
            target: Target::new(url),
            pooled,
            fresh,
            timeouts: Timeouts::default(),
            places: Places::default(),
            proxies: TrustedProxies::default(),
            sessions,
        })
    }

    /// With other time-outs than the usual.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// With another limit than 1,024 requests at once, a quarter of it for each address.
    pub fn with_max_concurrent(self, requests: usize) -> Self {
        let places = Places::of(requests);
        Self { places, ..self }
    }

    /// Believing these proxies in where a request comes from.
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Sends a request on and gives its answer as it comes; `body`: none for a request without one, or whose body was
    /// read already. A request for media is sent on only by who has checked it.
    pub async fn forward(
        &self,
        parts: &Parts,
        body: Option<Upload>,
        hop: &Hop<'_>,
    ) -> Result<Response<Body>, Failure> {
        let client = self.proxies.client(hop.peer, &parts.headers);
        let place = self.places.take(client.address.ip());
        let place = place.ok_or(Failure::Overloaded)?;
        let mut head = self.target.request(parts)?;
        let upgrade = websocket(parts, body.is_some());
        fields::for_the_upstream(&mut head.headers, parts, client, hop);
        fields::frame(&mut head.headers, body.as_ref());
        if upgrade.is_some() {
            fields::ask_for_websocket(&mut head.headers);
        }
        let passing = self
            .sessions
            .as_ref()
            .map(|sessions| Passing::before(sessions, &mut head));
        let tasks = passing
            .as_ref()
            .and_then(|_| task_json::applies(&head.method, head.uri.path(), head.uri.query()));
        if tasks.is_some() {
            task_json::ask_for_plain_json(&mut head.headers);
        }
        let progress = Arc::new(Progress::begin());
        let mut answer = self.send(head, body, &progress).await?;
        if let Some(passing) = passing {
            passing.after(answer.status(), answer.headers());
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switch(&mut answer, upgrade, hop.tunnels, place);
        }
        fields::for_the_client(answer.headers_mut());
        Ok(match tasks {
            Some(shape) => self.relayed(task_json::rewrite(shape, answer), progress, place),
            None => self.relayed(answer, progress, place),
        })
    }

    /// The answer's head. What asks for nothing to be done (RFC 9110 §9.2.1) and has no body is sent over a connection
    /// of the pool, and once more over a new one where that had died; everything else over a new one at once.
    async fn send(
        &self,
        head: Parts,
        body: Option<Upload>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Incoming>, Failure> {
        let again = (body.is_none() && head.method.is_safe()).then(|| head.clone());
        let body = RequestBody::new(body, progress.clone());
        let client = if again.is_some() {
            &self.pooled
        } else {
            &self.fresh
        };
        let first = self.attempt(client, Request::from_parts(head, body), progress);
        match (first.await, again) {
            (Err(Lost::Connection(_)), Some(head)) => {
                let body = RequestBody::new(None, progress.clone());
                let second = self.attempt(&self.fresh, Request::from_parts(head, body), progress);
                Ok(second.await?)
            }
            (answer, _) => Ok(answer?),
        }
    }

    /// Time runs while neither the request's body nor the answer moves.
    async fn attempt(
        &self,
        client: &Client<HttpsConnector<HttpConnector>, RequestBody>,
        request: Request<RequestBody>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Lost> {
        let mut answer = std::pin::pin!(client.request(request));
        loop {
            tokio::select! {
                answered = &mut answer => return answered.map_err(|error| lost(&error, progress)),
                () = tokio::time::sleep_until(progress.last() + self.timeouts.head) => {}
            }
            if progress.idle() >= self.timeouts.head {
                return Err(Lost::For(match progress.waits_for_client() {
                    true => Failure::RequestTimeout,
                    false => UpstreamError::TimedOut.into(),
                }));
            }
        }
    }

    fn relayed<B>(
        &self,
        answer: Response<B>,
        progress: Arc<Progress>,
        place: Place,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (head, body) = answer.into_parts();
        let length = body.size_hint().exact();
        let frames = body::frames(body, progress, self.timeouts.stall, place);
        let mut response = Response::new(Body::relayed(frames, length));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

/// Why an attempt brought no head.
enum Lost {
    /// The connection ended before a byte of the answer came.
    Connection(UpstreamError),
    /// Another try would bring the same.
    For(Failure),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Connection(error) => error.into(),
            Lost::For(failure) => failure,
        }
    }
}

fn lost(error: &hyper_util::client::legacy::Error, progress: &Progress) -> Lost {
    if progress.client_failed() {
        return Lost::For(Failure::BadRequest("its body broke off or is malformed"));
    }
    let causes =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
            error.source()
        });
    let innermost = causes
        .clone()
        .last()
        .map_or(String::new(), |cause| cause.to_string());
    let mut of_hyper = causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>());
    match of_hyper.next() {
        Some(error) if error.is_parse() => Lost::For(UpstreamError::Protocol(innermost).into()),
        Some(_) if !error.is_connect() => Lost::Connection(UpstreamError::Unavailable(innermost)),
        Some(_) | None => Lost::For(UpstreamError::Unavailable(innermost).into()),
    }
}

/// The client's side of an upgrade, where it asks for one that is let through: to a WebSocket (RFC 6455 §4.1) alone.
/// `h2c` would make a way around every check of this gateway.
fn websocket(parts: &Parts, has_body: bool) -> Option<OnUpgrade> {
    let names = |field, name: &str| {
        let lines = parts.headers.get_all(field).iter();
        let tokens = lines.filter_map(|line| line.to_str().ok());
        let mut tokens = tokens.flat_map(|line| line.split(','));
        tokens.any(|token| token.trim().eq_ignore_ascii_case(name))
    };
    let only = parts.headers.get_all(header::UPGRADE).iter().count() == 1;
    let asks = names(header::CONNECTION, "upgrade") && only;
    let exactly = parts.headers.get(header::UPGRADE)?.as_bytes();
    let asks = asks && exactly.trim_ascii().eq_ignore_ascii_case(b"websocket");
    let may = asks && !has_body && parts.method == http::Method::GET;
    parts.extensions.get::<OnUpgrade>().filter(|_| may).cloned()
}

/// 101, and a tunnel between the two connections from then on.
fn switch(
    answer: &mut Response<Incoming>,
    client: Option<OnUpgrade>,
    tunnels: &Tunnels,
    place: Place,
) -> Result<Response<Body>, Failure> {
    let to = answer.headers().get(header::UPGRADE);
    let agreed = to.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(client) = client.filter(|_| agreed) else {
        return Err(UpstreamError::Protocol("an upgrade that was not asked for".into()).into());
    };
    tunnels.open(client, hyper::upgrade::on(&mut *answer), place);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    std::mem::swap(response.headers_mut(), answer.headers_mut());
    let headers = response.headers_mut();
    fields::for_the_client(headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Ok(response)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests;

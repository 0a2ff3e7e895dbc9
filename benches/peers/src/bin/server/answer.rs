//! Answers of storage: GET and HEAD with one range and conditions (RFC 9110 §13, §14), as far as they are asked for here;
//! and what it is told: `/_/stats`, `/_/set?delay_ms=&rate=`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderName};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::Failure;
use super::body::{Body, Pieces};
use peers::Object;

/// The same for every object: nothing changes here.
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// What all connections share.
pub struct State {
    kept: HashMap<Box<str>, Bytes>,
    pub requests: AtomicU64,
    pub bytes: AtomicU64,
    /// Milliseconds before the first byte of each answer.
    delay: AtomicU64,
    /// Bytes a second of each answer; 0: as many as are taken.
    pub rate: AtomicU64,
}

impl State {
    pub fn new(kept: HashMap<Box<str>, Bytes>) -> Self {
        let [requests, bytes, delay, rate] = [0; 4].map(AtomicU64::new);
        Self {
            kept,
            requests,
            bytes,
            delay,
            rate,
        }
    }

    fn told(&self, path: &str, query: &str) -> Result<Response<Body>, Failure> {
        match path {
            "/_/set" => {
                for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                    let (key, value) = pair.split_once('=').ok_or("not a setting")?;
                    let setting = match key {
                        "delay_ms" => &self.delay,
                        "rate" => &self.rate,
                        _ => return Err("not a setting".into()),
                    };
                    setting.store(value.parse()?, Relaxed);
                }
            }
            "/_/stats" => {}
            _ => return Ok(Response::builder().status(404).body(Body::Empty)?),
        }
        let (requests, bytes) = (self.requests.load(Relaxed), self.bytes.load(Relaxed));
        let stats = format!("{{\"requests\":{requests},\"bytes\":{bytes}}}");
        Ok(Response::new(Body::Whole(Some(stats.into()))))
    }
}

/// Where one connection's requests arrive.
pub struct Desk {
    state: Arc<State>,
    proxy: Option<SocketAddr>,
    /// A connection to the other server for each of a client's.
    onward: Mutex<Option<SendRequest<Incoming>>>,
}

impl Desk {
    pub fn new(state: Arc<State>, proxy: Option<SocketAddr>) -> Self {
        Self {
            state,
            proxy,
            onward: Mutex::new(None),
        }
    }

    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        if let Some(proxy) = self.proxy {
            return self.pass_on(request, proxy).await;
        }
        let path = request.uri().path();
        let Some(object) = Object::at(path) else {
            return self
                .state
                .told(path, request.uri().query().unwrap_or_default());
        };
        self.state.requests.fetch_add(1, Relaxed);
        let delay = self.state.delay.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let field = |name: HeaderName| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let etag = object.etag();
        let head = Response::builder()
            .header(header::ETAG, &etag)
            .header(header::LAST_MODIFIED, LAST_MODIFIED)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_TYPE, "application/octet-stream");
        if field(header::IF_MATCH).is_some_and(|tags| !tags.contains(&etag)) {
            return Ok(head
                .status(StatusCode::PRECONDITION_FAILED)
                .body(Body::Empty)?);
        }
        if field(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&etag)) {
            return Ok(head.status(StatusCode::NOT_MODIFIED).body(Body::Empty)?);
        }
        let (head, part) = selected(head, field(header::RANGE), object.length);
        let head = head.header(header::CONTENT_LENGTH, part.end - part.start);
        if request.method() == Method::HEAD || part.is_empty() {
            return Ok(head.body(Body::Empty)?);
        }
        Ok(head.body(self.body(path, object, part)?)?)
    }

    fn body(&self, path: &str, object: Object, part: Range<u64>) -> Result<Body, Failure> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some(whole) = self.state.kept.get(name) else {
            let pieces = Pieces::new(self.state.clone(), object, part.start, part.end);
            return Ok(Body::Pieces(pieces));
        };
        let part = usize::try_from(part.start)?..usize::try_from(part.end)?;
        Ok(Body::Whole(Some(whole.slice(part))))
    }

    async fn pass_on(
        &self,
        request: Request<Incoming>,
        proxy: SocketAddr,
    ) -> Result<Response<Body>, Failure> {
        let mut onward = self.onward.lock().await;
        if onward.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Ends with its sender, which the client's connection owns.
            tokio::task::spawn_local(connection);
            *onward = Some(sender);
        }
        let sender = onward.as_mut().ok_or("no connection")?;
        sender.ready().await?;
        Ok(sender.send_request(request).await?.map(Body::Passed))
    }
}

/// The part that a `Range` field asks for; without one, or with one that is not understood, everything.
fn selected(head: Builder, range: Option<&str>, length: u64) -> (Builder, Range<u64>) {
    let part = range.and_then(|field| {
        let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
        let first = first.parse::<u64>().ok()?;
        let end = if last.is_empty() {
            length
        } else {
            last.parse::<u64>().ok()?.checked_add(1)?.min(length)
        };
        Some(first..end)
    });
    match part {
        None => (head, 0..length),
        Some(part) if part.start >= part.end => {
            let head = head
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{length}"));
            (head, 0..0)
        }
        Some(part) => {
            let told = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            let head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, told);
            (head, part)
        }
    }
}

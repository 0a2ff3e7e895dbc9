//! A client that a test reads well: ask, then look at the answer, whole or piece by piece.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::PATIENCE;
use super::content::Pattern;

/// A pooled client of one server.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Client {
    /// HTTP/1.1 to `http://address`.
    pub fn new(base: impl Into<String>) -> Self {
        Self::build(base, false)
    }

    /// HTTP/2 by prior knowledge.
    pub fn http2(base: impl Into<String>) -> Self {
        Self::build(base, true)
    }

    fn build(base: impl Into<String>, http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .http2_only(http2)
            .build(connector);
        Self {
            pool,
            base: base.into(),
        }
    }

    /// Where it asks.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: impl AsRef<str>) -> Ask {
        self.ask(Method::GET, path)
    }

    pub fn head(&self, path: impl AsRef<str>) -> Ask {
        self.ask(Method::HEAD, path)
    }

    /// A request to a path of this server, or to a whole URL.
    pub fn ask(&self, method: Method, path: impl AsRef<str>) -> Ask {
        let path = path.as_ref();
        let uri = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let request = Request::builder().method(method).uri(uri);
        Ask {
            pool: self.pool.clone(),
            request,
            body: Bytes::new(),
        }
    }
}

/// A request being written.
pub struct Ask {
    pool: Pool<HttpConnector, Full<Bytes>>,
    request: http::request::Builder,
    body: Bytes,
}

impl Ask {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// An ordinary token of this annotator.
    pub fn by(self, subject: &str) -> Self {
        self.bearer(super::token::of(subject))
    }

    pub fn range(self, range: impl AsRef<str>) -> Self {
        self.header("range", range.as_ref())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and returns once the head is there.
    pub async fn send(self) -> Reply {
        let request = self
            .request
            .body(Full::new(self.body))
            .expect("a valid request");
        let told = format!("{} {}", request.method(), request.uri());
        let answer = timeout(PATIENCE, self.pool.request(request)).await;
        let response = answer
            .unwrap_or_else(|_| panic!("no head in time: {told}"))
            .unwrap_or_else(|error| panic!("no head: {told}: {error:?}"));
        Reply { response }
    }

    /// Sends it; `None` where the connection ends before a head.
    pub async fn try_send(self) -> Option<Reply> {
        let request = self.request.body(Full::new(self.body));
        let answer = self.pool.request(request.expect("a valid request"));
        let answer = timeout(PATIENCE, answer).await.expect("a head in time");
        answer.ok().map(|response| Reply { response })
    }

    /// Sends it; the status, or `None` where nobody answers.
    pub async fn status(self) -> Option<u16> {
        let request = self
            .request
            .body(Full::new(self.body))
            .expect("a valid request");
        let response = timeout(PATIENCE, self.pool.request(request))
            .await
            .ok()?
            .ok()?;
        Some(response.status().as_u16())
    }

    /// Sends it and reads the whole answer, which has to end well.
    pub async fn answer(self) -> Answer {
        self.send().await.whole().await
    }
}

/// A head, with the body still to be read.
pub struct Reply {
    response: Response<Incoming>,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A field's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        field(self.response.headers(), name)
    }

    /// The next piece; `None` at the end, an error where the body was cut.
    pub async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = timeout(PATIENCE, self.response.body_mut().frame()).await;
            match frame.expect("the body does not stall")? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The whole answer, which has to end well.
    pub async fn whole(self) -> Answer {
        let (head, body) = self.response.into_parts();
        let body = timeout(PATIENCE, body.collect())
            .await
            .expect("the body ends");
        let body = body.expect("the body is whole").to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// Reads to the end, comparing with what stands at `offset`; how many bytes there were, and whether the body
    /// ended well. Memory stays small however long the body is.
    pub async fn compare(mut self, content: Pattern, offset: u64) -> (u64, bool) {
        let mut read = 0;
        while let Some(piece) = self.next().await {
            let Ok(piece) = piece else {
                return (read, false);
            };
            assert!(
                content.holds(offset + read, &piece),
                "other bytes after {read}"
            );
            read += piece.len() as u64;
        }
        (read, true)
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A field's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        field(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().expect("visible ASCII"))
}

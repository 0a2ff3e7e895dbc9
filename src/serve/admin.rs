//! The admin listener: is the process there, may traffic come, what was counted; a page to look at; and the cache emptied
//! on demand. For people and machines that run Lockgate, on loopback by default; never for a page of somebody else's in
//! a browser, which reaches loopback and private networks, too.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode, uri::Authority};
use http_body_util::Full;
use hyper::service::Service;

use super::status_page;
use crate::telemetry::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus's text format, as its version 0.0.4 says it must be called.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What browsers say of where a request comes from; `none` is a person at the address bar (Fetch Metadata §2.4).
const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SEC_FETCH_DEST: &str = "sec-fetch-dest";
/// What may be asked from the status page itself, and as what: the page again, when a person reloads it, and its
/// figures, by its script (Fetch Metadata §2.1). Nothing else here is for a page, be it ours.
const FOR_THE_PAGE: [(&str, &str); 3] = [
    ("/", "document"),
    ("/status", "document"),
    ("/status.json", "empty"),
];
/// Names that no public name server answers for, so that no stranger can point one at this listener: RFC 6761's and
/// RFC 6762's, ICANN's `internal`, Kubernetes' services.
const PRIVATE_SUFFIXES: [&str; 5] = [
    ".localhost",
    ".local",
    ".internal",
    ".svc",
    ".cluster.local",
];

/// Says what is missing before traffic may come, each in a few words; nothing: ready.
pub type Readiness = dyn Fn() -> Vec<String> + Send + Sync;

/// Empties the cache, and says how many bytes of chunks that was.
pub type Purge = dyn Fn() -> BoxFuture<'static, u64> + Send + Sync;

/// What the status page shows, as JSON. May take a while.
pub type Status = dyn Fn() -> serde_json::Value + Send + Sync;

/// The admin service; a clone per connection.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    purge: Arc<Purge>,
    status: Arc<Status>,
    hosts: Arc<[String]>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// Shows these metrics, and asks `readiness` each time. `hosts` are the names (`server.admin_hosts`) that it may be
    /// asked by beside its addresses and private names.
    pub fn new(
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        purge: Arc<Purge>,
        status: Arc<Status>,
        hosts: Arc<[String]>,
    ) -> Self {
        Self {
            metrics,
            readiness,
            purge,
            status,
            hosts,
        }
    }

    /// A page that an operator happens to look at must not reach past the firewall, whatever path or method it asks
    /// for. Where it points a name of its own at this listener (DNS rebinding) a browser sends neither `Origin` nor
    /// `Sec-Fetch-Site`: then the name in `Host` gives it away.
    fn refuses<B>(&self, request: &Request<B>) -> Option<&'static str> {
        let headers = request.headers();
        let site = headers.get(SEC_FETCH_SITE);
        let path = request.uri().path();
        let ours = site.is_some_and(|site| site == "same-origin")
            && FOR_THE_PAGE.iter().any(|(its, dest)| {
                path == *its && headers.get(SEC_FETCH_DEST).is_some_and(|it| it == dest)
            });
        if headers.contains_key(ORIGIN) || site.is_some_and(|site| site != "none" && !ours) {
            return Some("not for browsers\n");
        }
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let host = host.or(request.uri().host().map(str::as_bytes));
        // Without any it is HTTP/1.0, which no browser speaks.
        let known = host.is_none_or(|host| self.is_known(host));
        (!known).then_some("not by this name: ask by address, or add it to server.admin_hosts\n")
    }

    fn is_known(&self, host: &[u8]) -> bool {
        let Ok(authority) = Authority::try_from(host) else {
            return false;
        };
        // A user is no part of a Host (RFC 9110 §7.2).
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            || self
                .hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(name))
    }

    async fn answer(self, refused: Option<&'static str>, parts: Asked) -> Response<Full<Bytes>> {
        if let Some(why) = refused {
            return response(StatusCode::FORBIDDEN, TEXT, why);
        }
        let Asked { method, path } = parts;
        let reads = matches!(method, Method::GET | Method::HEAD);
        match &*path {
            "/" | "/status" if reads => status_page::page(),
            "/status.json" if reads => self.status().await,
            "/healthz" if reads => response(StatusCode::OK, TEXT, "ok"),
            "/readyz" if reads => self.ready(),
            "/metrics" if reads => self.metrics(),
            "/cache/purge" if method == Method::POST => self.purged().await,
            "/" | "/status" | "/status.json" | "/healthz" | "/readyz" | "/metrics" => {
                not_allowed("GET, HEAD")
            }
            "/cache/purge" => not_allowed("POST"),
            _ => response(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        }
    }

    /// Puts the document together where it keeps nobody waiting.
    async fn status(&self) -> Response<Full<Bytes>> {
        let status = self.status.clone();
        match tokio::task::spawn_blocking(move || status().to_string()).await {
            Ok(document) => response(StatusCode::OK, JSON, document),
            Err(error) => {
                tracing::error!(%error, "the status cannot be shown");
                let said = "the status cannot be shown\n";
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, said)
            }
        }
    }

    /// Answers when nothing is kept any more, on disk either.
    async fn purged(&self) -> Response<Full<Bytes>> {
        let bytes = (self.purge)().await;
        tracing::info!(bytes, "the cache was purged");
        let body = serde_json::json!({ "purged_bytes": bytes });
        response(StatusCode::OK, JSON, body.to_string())
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = (self.readiness)();
        let ready = missing.is_empty();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::json!({ "ready": ready, "missing": missing });
        response(status, JSON, body.to_string())
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.metrics.render() {
            Ok(text) => response(StatusCode::OK, METRICS, text),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be shown");
                response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    "the metrics cannot be shown\n",
                )
            }
        }
    }
}

/// A request, as far as it is looked at.
struct Asked {
    method: Method,
    path: String,
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// hyper leaves out the body of an answer to HEAD, and keeps its length.
    fn call(&self, request: Request<B>) -> Self::Future {
        let refused = self.refuses(&request);
        let asked = Asked {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        };
        let admin = self.clone();
        Box::pin(async move { Ok(admin.answer(refused, asked).await) })
    }
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
    refused
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    refused
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    status_page::keep_from_others(fields);
    response
}

#[cfg(test)]
mod tests;

//! The admin listener: is the process there, may traffic come, what was counted; and the cache emptied on demand. For people and machines that run
//! Lockgate, on loopback by default; never for a page in a browser, which reaches loopback and private networks, too.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode, uri::Authority};
use http_body_util::Full;
use hyper::service::Service;

use crate::telemetry::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus's text format, as its version 0.0.4 says it must be called.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What browsers say of where a request comes from; `none` is a person at the address bar (Fetch Metadata §2.4).
const SEC_FETCH_SITE: &str = "sec-fetch-site";
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

/// The admin service; a clone per connection.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    purge: Arc<Purge>,
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
        hosts: Arc<[String]>,
    ) -> Self {
        Self {
            metrics,
            readiness,
            purge,
            hosts,
        }
    }

    /// A page that an operator happens to look at must not reach past the firewall, whatever path or method it asks
    /// for. Where it points a name of its own at this listener (DNS rebinding) a browser sends neither `Origin` nor
    /// `Sec-Fetch-Site`: then the name in `Host` gives it away.
    fn refuses<B>(&self, request: &Request<B>) -> Option<&'static str> {
        let headers = request.headers();
        let site = headers.get(SEC_FETCH_SITE);
        if headers.contains_key(ORIGIN) || site.is_some_and(|site| site != "none") {
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

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if let Some(why) = self.refuses(request) {
            return response(StatusCode::FORBIDDEN, TEXT, why);
        }
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/healthz" if reads => response(StatusCode::OK, TEXT, "ok"),
            "/readyz" if reads => self.ready(),
            "/metrics" if reads => self.metrics(),
            "/healthz" | "/readyz" | "/metrics" => not_allowed("GET, HEAD"),
            "/cache/purge" => not_allowed("POST"),
            _ => response(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        }
    }

    fn is_purge<B>(&self, request: &Request<B>) -> bool {
        let purges = *request.method() == Method::POST && request.uri().path() == "/cache/purge";
        purges && self.refuses(request).is_none()
    }

    /// Answers when nothing is kept any more, on disk either.
    async fn purge(self) -> Response<Full<Bytes>> {
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

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    /// hyper leaves out the body of an answer to HEAD, and keeps its length.
    fn call(&self, request: Request<B>) -> Self::Future {
        if self.is_purge(&request) {
            return Box::pin(self.clone().purge().map(Ok));
        }
        Box::pin(ready(Ok(self.answer(&request))))
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
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn admin(missing: &'static [&'static str]) -> Admin {
        let readiness = move || missing.iter().map(|&what| what.to_owned()).collect();
        let hosts = Arc::from(["lockgate.example.com".to_owned()]);
        Admin::new(
            Arc::new(Metrics::new().unwrap()),
            Arc::new(readiness),
            Arc::new(|| Box::pin(ready(7))),
            hosts,
        )
    }

    async fn ask(admin: &Admin, request: http::request::Builder) -> (StatusCode, String) {
        let response = admin.call(request.body(()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_is_ok_even_where_readiness_is_not() {
        let asked = ask(&admin(&["keys"]), Request::get("/healthz")).await;
        assert_eq!(asked, (StatusCode::OK, "ok".to_owned()));
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing() {
        let asked = ask(&admin(&["keys: not loaded"]), Request::get("/readyz")).await;
        let expected = r#"{"missing":["keys: not loaded"],"ready":false}"#.to_owned();
        assert_eq!(asked, (StatusCode::SERVICE_UNAVAILABLE, expected));
        assert_eq!(
            ask(&admin(&[]), Request::get("/readyz")).await.0,
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn metrics_are_shown_as_prometheus_reads_them() {
        let (status, text) = ask(&admin(&[]), Request::get("/metrics")).await;
        assert!(status.is_success() && text.contains("\n# TYPE lockgate_http_in_flight gauge\n"));
    }

    #[tokio::test]
    async fn a_purge_is_a_post_and_says_how_much_it_was() {
        let asked = ask(&admin(&[]), Request::post("/cache/purge")).await;
        assert_eq!(asked, (StatusCode::OK, r#"{"purged_bytes":7}"#.to_owned()));
        for request in [Request::get("/cache/purge"), Request::post("/metrics")] {
            let (status, _) = ask(&admin(&[]), request).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        }
    }

    #[tokio::test]
    async fn a_browsers_page_is_refused() {
        for path in ["/healthz", "/readyz", "/metrics", "/"] {
            let request = Request::get(path).header(ORIGIN, "null");
            assert_eq!(ask(&admin(&[]), request).await.0, StatusCode::FORBIDDEN);
        }
    }

    #[tokio::test]
    async fn a_name_that_a_stranger_may_have_pointed_here_is_refused() {
        for (host, status) in [
            ("127.0.0.1:9090", StatusCode::OK),
            ("[::1]:9090", StatusCode::OK),
            ("10.1.2.3", StatusCode::OK),
            ("localhost:9090", StatusCode::OK),
            ("lockgate", StatusCode::OK),
            ("lockgate.monitoring.svc:9090", StatusCode::OK),
            ("lockgate.monitoring.svc.cluster.local.", StatusCode::OK),
            ("Lockgate.Example.com", StatusCode::OK),
            ("rebound.example.org:9090", StatusCode::FORBIDDEN),
            ("127.0.0.1.nip.io", StatusCode::FORBIDDEN),
            ("lockgate.example.com.evil.org", StatusCode::FORBIDDEN),
            ("svc", StatusCode::OK),
            ("evil.org@127.0.0.1:x", StatusCode::FORBIDDEN),
            ("", StatusCode::FORBIDDEN),
        ] {
            let request = Request::get("/metrics").header(HOST, host);
            assert_eq!(ask(&admin(&[]), request).await.0, status, "{host}");
        }
    }

    #[tokio::test]
    async fn a_person_at_the_address_bar_is_answered_and_a_page_is_not() {
        for (site, status) in [
            ("none", StatusCode::OK),
            ("same-origin", StatusCode::FORBIDDEN),
            ("same-site", StatusCode::FORBIDDEN),
            ("cross-site", StatusCode::FORBIDDEN),
        ] {
            let request = Request::get("/metrics").header(SEC_FETCH_SITE, site);
            assert_eq!(ask(&admin(&[]), request).await.0, status, "{site}");
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_found_and_other_methods_not_allowed() {
        assert_eq!(
            ask(&admin(&[]), Request::get("/healthz/")).await.0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            ask(&admin(&[]), Request::post("/metrics")).await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(
            ask(&admin(&[]), Request::head("/metrics")).await.0,
            StatusCode::OK
        );
    }
}

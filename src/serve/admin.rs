//! The admin listener: is the process there, may traffic come, what was counted. For people and machines that run
//! Lockgate, on loopback by default; never for annotators' browsers.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::Service;

use crate::telemetry::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus's text format, as its version 0.0.4 says it must be called.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says what is missing before traffic may come, each in a few words; nothing: ready.
pub type Readiness = dyn Fn() -> Vec<String> + Send + Sync;

/// The admin service; a clone per connection.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// Shows these metrics, and asks `readiness` each time.
    pub fn new(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        Self { metrics, readiness }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        // Only a browser sends Origin: a page that an operator happens to look at must not reach past the firewall.
        if request.headers().contains_key(ORIGIN) {
            return response(StatusCode::FORBIDDEN, TEXT, "not for browsers\n");
        }
        let path = request.uri().path();
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return response(StatusCode::NOT_FOUND, TEXT, "not found\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused =
                response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/healthz" => response(StatusCode::OK, TEXT, "ok"),
            "/readyz" => self.ready(),
            _ => self.metrics(),
        }
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
    type Future = Ready<Result<Self::Response, Infallible>>;

    /// hyper leaves out the body of an answer to HEAD, and keeps its length.
    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
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
        Admin::new(Arc::new(Metrics::new().unwrap()), Arc::new(readiness))
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
    async fn a_browsers_page_is_refused() {
        for path in ["/healthz", "/readyz", "/metrics", "/"] {
            let request = Request::get(path).header(ORIGIN, "null");
            assert_eq!(ask(&admin(&[]), request).await.0, StatusCode::FORBIDDEN);
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

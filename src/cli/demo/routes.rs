//! What the demo's page asks for, in front of the media routes: the page, tokens, revoke and restore, and the access
//! log as server-sent events (WHATWG HTML §9.2).
//!
//! Serves no media and decides no access: that is what is being shown. POST is for the page's own origin alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};

use super::{ANNA, EVE, Shared, configuration, page, token};

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;

/// So often an idle stream of events says that it is there, and finds out whether the page is.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers what is the demo's own. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
    log: Arc<broadcast::Receiver<Arc<str>>>,
}

impl Router {
    pub(super) fn new(shared: Arc<Shared>, log: broadcast::Receiver<Arc<str>>) -> Self {
        Self {
            shared,
            log: Arc::new(log),
        }
    }

    /// The answer to a request of the demo's own; `None`: the request is for Lockgate. Generic over the request's
    /// body, which is never read.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let path = request.uri().path();
        if path != "/" && !path.starts_with("/demo/") {
            return None;
        }
        let answer = match (request.method(), path) {
            (&Method::GET, "/") => html(),
            (&Method::GET, "/demo/state") => self.state(),
            (&Method::GET, "/demo/events") => self.events(),
            (&Method::GET, "/demo/token/anna") => self.token(ANNA),
            (&Method::GET, "/demo/token/eve") => self.token(EVE),
            (&Method::POST, "/demo/revoke" | "/demo/restore")
                if !same_origin(request.headers()) =>
            {
                json_answer(
                    StatusCode::FORBIDDEN,
                    &json!({ "error": "not from this page" }),
                )
            }
            (&Method::POST, "/demo/revoke") => self.set_membership(false),
            (&Method::POST, "/demo/restore") => self.set_membership(true),
            _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "no such page" })),
        };
        Some(answer)
    }

    /// What the page begins with, and what the bucket was asked for so far.
    fn state(&self) -> Response<Body> {
        let tasks = self.shared.tasks.iter().enumerate().map(|(n, media)| {
            json!({
                "id": configuration::task_id(n),
                "kind": media.kind,
                "caption": media.caption,
                "uri": configuration::uri(media.key),
                "bytes": media.content.len(),
            })
        });
        let list = std::fs::read_to_string(&self.shared.access_list).unwrap_or_default();
        let state = json!({
            "tasks": tasks.collect::<Vec<Value>>(),
            "member": list.contains(ANNA),
            "bucket": {
                "requests": self.shared.s3.request_count(),
                "bytes": self.shared.s3.bytes_sent(),
            },
        });
        json_answer(StatusCode::OK, &state)
    }

    /// A token as the annotation platform would mint it for somebody who has signed in there.
    fn token(&self, subject: &str) -> Response<Body> {
        match token::mint(subject, &self.shared.token_secret) {
            Ok(token) => json_answer(
                StatusCode::OK,
                &json!({ "subject": subject, "token": token }),
            ),
            Err(_) => failed("cannot mint a token"),
        }
    }

    /// Changes the access list's file: Lockgate sees that for itself.
    fn set_membership(&self, member: bool) -> Response<Body> {
        match configuration::write_access_list(&self.shared.access_list, member) {
            Ok(()) => json_answer(StatusCode::OK, &json!({ "member": member })),
            Err(_) => failed("cannot write the access list"),
        }
    }

    /// The access log from now on, a line per event.
    fn events(&self) -> Response<Body> {
        let opening = Bytes::from_static(b"retry: 1000\n\n");
        let events = stream::unfold(
            (Some(opening), self.log.resubscribe()),
            |(opening, mut log)| async move {
                let event = match opening {
                    Some(opening) => opening,
                    None => next_event(&mut log).await?,
                };
                Some((Ok(Frame::data(event)), (None, log)))
            },
        );
        let mut response = Response::new(StreamBody::new(events).boxed());
        set(&mut response, header::CONTENT_TYPE, "text/event-stream");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        response
    }
}

/// `None` once the log has ended.
async fn next_event(log: &mut broadcast::Receiver<Arc<str>>) -> Option<Bytes> {
    loop {
        match tokio::time::timeout(KEEP_ALIVE, log.recv()).await {
            Err(_) => return Some(Bytes::from_static(b":\n\n")),
            Ok(Ok(line)) => return Some(format!("data: {}\n\n", line.trim_end()).into()),
            // A page that was too slow misses lines, and goes on.
            Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) => return None,
        }
    }
}

/// Whether a request comes from the page itself (Fetch Metadata, and `Origin` of RFC 6454 for those without it), or
/// from no browser at all.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.as_bytes())
    };
    let by_site = text("sec-fetch-site").is_none_or(|site| site == b"same-origin");
    let by_origin = match (text("origin"), text("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.strip_prefix(b"http://") == Some(host),
        (Some(_), None) => false,
    };
    by_site && by_origin
}

fn html() -> Response<Body> {
    let mut response = Response::new(Full::from(page::HTML).boxed());
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(
        &mut response,
        header::CONTENT_SECURITY_POLICY,
        page::CONTENT_SECURITY_POLICY,
    );
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn failed(error: &str) -> Response<Body> {
    json_answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        &json!({ "error": error }),
    )
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(value.to_string()).boxed());
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;
    use crate::cli::demo::Demo;

    async fn demo() -> (Demo, Router, broadcast::Sender<Arc<str>>) {
        let demo = Demo::prepare(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (sender, log) = broadcast::channel(8);
        let router = demo.router(log);
        (demo, router, sender)
    }

    fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    async fn json(response: Response<Body>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn only_the_demos_own_paths_are_answered() {
        let (_demo, router, _) = demo().await;
        for path in [
            "/tasks/1/resolve/?fileuri=x",
            "/session",
            "/demo",
            "/data/local-files/?d=x",
        ] {
            assert!(
                router.answer(&request(Method::GET, path, &[])).is_none(),
                "{path}"
            );
        }
        let page = router.answer(&request(Method::GET, "/", &[])).unwrap();
        assert_eq!(
            (page.status(), &page.headers()["content-type"]),
            (
                StatusCode::OK,
                &HeaderValue::from_static("text/html; charset=utf-8")
            )
        );
        let missing = router
            .answer(&request(Method::GET, "/demo/token/mallory", &[]))
            .unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn revoke_and_restore_change_the_access_list() {
        let (_demo, router, _) = demo().await;
        for (path, member) in [("/demo/revoke", false), ("/demo/restore", true)] {
            let answer = router.answer(&request(Method::POST, path, &[])).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let state = json(
                router
                    .answer(&request(Method::GET, "/demo/state", &[]))
                    .unwrap(),
            )
            .await;
            assert_eq!(state["member"], member);
            assert_eq!(state["tasks"].as_array().unwrap().len(), 6);
        }
    }

    #[tokio::test]
    async fn another_site_cannot_revoke() {
        let (_demo, router, _) = demo().await;
        let host = ("host", "localhost:8080");
        for (headers, status) in [
            (
                vec![
                    host,
                    ("origin", "http://localhost:8080"),
                    ("sec-fetch-site", "same-origin"),
                ],
                200,
            ),
            (vec![host, ("origin", "http://localhost:8080")], 200),
            (vec![host, ("origin", "http://evil.example")], 403),
            (vec![host, ("origin", "null")], 403),
            (vec![host, ("sec-fetch-site", "cross-site")], 403),
            (vec![host, ("sec-fetch-site", "same-site")], 403),
        ] {
            let answer = router
                .answer(&request(Method::POST, "/demo/revoke", &headers))
                .unwrap();
            assert_eq!(answer.status().as_u16(), status, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn events_are_the_access_logs_lines_and_end_with_it() {
        let (_demo, router, log) = demo().await;
        let events = router
            .answer(&request(Method::GET, "/demo/events", &[]))
            .unwrap();
        log.send("{\"status\":206}".into()).unwrap();
        drop(log);
        drop(router);
        let all = events.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(all, "retry: 1000\n\ndata: {\"status\":206}\n\n");
    }

    #[tokio::test]
    async fn a_minted_token_says_who_and_until_when() {
        let (_demo, router, _) = demo().await;
        let answer = json(
            router
                .answer(&request(Method::GET, "/demo/token/eve", &[]))
                .unwrap(),
        )
        .await;
        assert_eq!(answer["subject"], EVE);
        let mut parts = answer["token"].as_str().unwrap().split('.');
        let claims = parts.nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims)
                .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["aud"]),
            (&json!(token::ISSUER), &json!(token::AUDIENCE))
        );
        assert!(claims["exp"].as_u64() > claims["iat"].as_u64());
    }
}

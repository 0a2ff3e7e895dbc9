//! Cross-origin reading: which origins' pages may read answers, credentials included.
//!
//! Pure. Follows the Fetch standard (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Origins are compared byte
//! for byte; there is no `*`, which with credentials would mean nothing. `Vary: Origin` stands on every answer, so
//! that no browser cache gives one origin's answer to another.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

const ALLOW_HEADERS: HeaderValue =
    HeaderValue::from_static("Range, If-Range, If-None-Match, Authorization");
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Range, Content-Length, Accept-Ranges, ETag, Last-Modified, Content-Type",
);
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// How long a browser may remember a preflight, in seconds: how late it notices that an origin was taken off the
/// list. It shows nothing by that, since each answer is checked again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The allow-list of `server.cors.allowed_origins`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    allowed: Vec<String>,
}

impl Cors {
    /// Takes exact origins, `https://editor.example.com`.
    pub fn new(allowed_origins: &[String]) -> Self {
        Self {
            allowed: allowed_origins.to_vec(),
        }
    }

    /// The answer to OPTIONS on a route with these methods: 204, for a preflight of an allowed origin with what it
    /// may send. [`Cors::decorate`] is already done.
    pub fn preflight(&self, request: &HeaderMap, allow: &'static str) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        if self.allowed_origin(request).is_some()
            && request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static(allow),
            );
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        self.decorate(request, headers);
        response
    }

    /// Adds to any answer what its request's origin may do with it, and `Vary: Origin` in any case.
    pub fn decorate(&self, request: &HeaderMap, response: &mut HeaderMap) {
        vary_by_origin(response);
        if let Some(origin) = self.allowed_origin(request) {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        }
    }

    fn allowed_origin<'a>(&self, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = super::request::only(request, header::ORIGIN)?;
        self.allowed
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
            .then_some(origin)
    }
}

/// Adds `Vary: Origin` where it does not stand yet.
fn vary_by_origin(headers: &mut HeaderMap) {
    const ORIGIN: HeaderName = header::ORIGIN;
    let names = |line: &HeaderValue| {
        line.as_bytes().split(|b| *b == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(ORIGIN.as_str().as_bytes())
        })
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDITOR: &str = "https://editor.example.com";
    const METHODS: &str = "GET, HEAD, OPTIONS";

    fn cors() -> Cors {
        Cors::new(&[EDITOR.to_owned(), "http://127.0.0.1:8000".to_owned()])
    }

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn only_an_exact_origin_may_read_an_answer() {
        for (origin, allowed) in [
            (EDITOR, true),
            ("http://127.0.0.1:8000", true),
            ("https://EDITOR.example.com", false),
            ("https://editor.example.com/", false),
            ("https://editor.example.com:443", false),
            ("http://editor.example.com", false),
            ("https://editor.example.com.evil.example", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            let mut answer = HeaderMap::new();
            cors().decorate(&request(&[("origin", origin)]), &mut answer);
            let echoed = text(&answer, "access-control-allow-origin");
            assert_eq!(echoed, allowed.then_some(origin), "{origin}");
            assert_eq!(
                text(&answer, "access-control-allow-credentials"),
                allowed.then_some("true")
            );
            assert_eq!(
                answer.contains_key("access-control-expose-headers"),
                allowed
            );
            assert_eq!(text(&answer, "vary"), Some("Origin"));
        }
        let mut answer = HeaderMap::new();
        cors().decorate(
            &request(&[("origin", EDITOR), ("origin", EDITOR)]),
            &mut answer,
        );
        assert!(!answer.contains_key("access-control-allow-origin"));
    }

    #[test]
    fn a_preflight_is_told_what_it_may_send() {
        let asked = request(&[("origin", EDITOR), ("access-control-request-method", "GET")]);
        let answer = cors().preflight(&asked, METHODS);
        assert_eq!(answer.status(), 204);
        for (name, value) in [
            ("access-control-allow-origin", EDITOR),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", METHODS),
            (
                "access-control-allow-headers",
                "Range, If-Range, If-None-Match, Authorization",
            ),
            ("access-control-max-age", "600"),
            ("allow", METHODS),
            ("vary", "Origin"),
        ] {
            assert_eq!(text(answer.headers(), name), Some(value), "{name}");
        }
    }

    #[test]
    fn options_of_another_origin_or_none_has_allow_and_nothing_of_cors() {
        for fields in [
            &[][..],
            &[
                ("origin", "https://evil.example"),
                ("access-control-request-method", "GET"),
            ],
        ] {
            let answer = cors().preflight(&request(fields), METHODS);
            assert_eq!(answer.status(), 204);
            assert_eq!(text(answer.headers(), "allow"), Some(METHODS));
            assert_eq!(text(answer.headers(), "vary"), Some("Origin"));
            assert!(
                answer
                    .headers()
                    .keys()
                    .all(|name| !name.as_str().starts_with("access-control"))
            );
        }
    }

    #[test]
    fn vary_is_not_said_twice() {
        for (there, lines) in [
            ("Origin", 1),
            ("Accept, origin", 1),
            ("*", 1),
            ("Accept", 2),
        ] {
            let mut answer = request(&[("vary", there)]);
            cors().decorate(&HeaderMap::new(), &mut answer);
            assert_eq!(answer.get_all("vary").iter().count(), lines, "{there}");
        }
    }
}

//! The credentials as a request carries them.
//!
//! Pure: verifies nothing. Follows RFC 6750 §2 (Bearer) and RFC 6265 §5.4 (cookies).

use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method};

use super::request::{only, parameter};
use crate::auth::Credentials;

/// The credentials of a request. `query_token` says whether `?token=` is honoured at all; it is on GET and HEAD alone.
///
/// What is meant as a bearer token and cannot be one (several `Authorization` fields, bytes that are no text) is
/// given as the empty token, which is invalid, so that a second field never decides who somebody is.
pub fn credentials<'a>(parts: &'a Parts, cookie_name: &str, query_token: bool) -> Credentials<'a> {
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    Credentials {
        bearer: bearer(&parts.headers),
        cookie: cookie(&parts.headers, cookie_name),
        query: parameter(&parts.uri, "token").filter(|_| query_token && reads),
        headers: &parts.headers,
    }
}

/// RFC 6750 §2.1; the scheme in any case (RFC 9110 §11.1). Another scheme is not ours and no credential.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    if !headers.contains_key(AUTHORIZATION) {
        return None;
    }
    let Some(Ok(field)) = only(headers, AUTHORIZATION).map(HeaderValue::to_str) else {
        return Some("");
    };
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// RFC 6265 §5.4; HTTP/2 may send several fields (RFC 9113 §8.2.3). An empty value is what a session leaves that was
/// ended, and no credential.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .into_iter()
        .find_map(|(n, value)| (n == name && !value.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn credentials_are_read_from_where_they_may_stand() {
        for (fields, bearer, cookie) in [
            (&[][..], None, None),
            (&[("authorization", "Bearer a.b.c")], Some("a.b.c"), None),
            (&[("authorization", "bEARER  a.b.c ")], Some("a.b.c"), None),
            (&[("authorization", "Bearer")], Some(""), None),
            (&[("authorization", "Bearer \u{e9}")], Some(""), None),
            (&[("authorization", "Basic eDp5")], None, None),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Some(""),
                None,
            ),
            (
                &[("authorization", "Basic a"), ("authorization", "Bearer b")],
                Some(""),
                None,
            ),
            (
                &[("cookie", "a=1; __Host-lockgate=t=; b=2")],
                None,
                Some("t="),
            ),
            (
                &[("cookie", "a=1"), ("cookie", "__Host-lockgate=t")],
                None,
                Some("t"),
            ),
            (
                &[("cookie", "x__Host-lockgate=t; __host-lockgate=t")],
                None,
                None,
            ),
            (
                &[
                    ("cookie", "__Host-lockgate=t"),
                    ("authorization", "Bearer a"),
                ],
                Some("a"),
                Some("t"),
            ),
        ] {
            let parts = parts("GET", "/x?token=q", fields);
            let found = credentials(&parts, "__Host-lockgate", false);
            assert_eq!(
                (found.bearer, found.cookie, found.query),
                (bearer, cookie, None),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn an_empty_session_cookie_hides_no_other_credential() {
        for (field, cookie) in [("c=", None), ("c=; a=1", None), ("c=; c=t", Some("t"))] {
            let parts = parts("GET", "/x?token=q", &[("cookie", field)]);
            let found = credentials(&parts, "c", true);
            assert_eq!((found.cookie, found.query), (cookie, Some("q")), "{field}");
        }
    }

    #[test]
    fn a_query_token_is_read_only_where_it_is_allowed_and_on_get_and_head() {
        for (method, allowed, token) in [
            ("GET", true, Some("q.q")),
            ("HEAD", true, Some("q.q")),
            ("OPTIONS", true, None),
            ("POST", true, None),
            ("GET", false, None),
        ] {
            let parts = parts(method, "/x?a=b&token=q.q&token=z", &[]);
            assert_eq!(
                credentials(&parts, "c", allowed).query,
                token,
                "{method} {allowed}"
            );
        }
    }
}

//! What is asked of the upstream: the target of a request that may be forwarded, and the refusal of one that may not.
//!
//! Pure. Follows RFC 9112 §3.2 (forms of targets, Host) and §6.3 (framing): hyper writes every body anew, so that no
//! second request can hide in one, and what could be read in two ways is refused before.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::serve::error::Failure;
use crate::serve::request::Route;

/// Where the upstream is.
pub(super) struct Target {
    scheme: Scheme,
    authority: Option<Authority>,
}

impl Target {
    pub(super) fn new(url: &Url) -> Self {
        let is_tls = url.scheme() == "https";
        let port = url.port().map(|port| format!(":{port}"));
        let authority = format!(
            "{}{}",
            url.host_str().unwrap_or_default(),
            port.unwrap_or_default()
        );
        Self {
            scheme: if is_tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.parse().ok(),
        }
    }

    /// The request as it goes on, with all of its fields, and `Host` as the client sent it.
    pub(super) fn request(&self, parts: &Parts) -> Result<Parts, Failure> {
        check_framing(&parts.headers)?;
        let target = origin_form(parts)?;
        let host = host(parts)?;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority.clone_from(&self.authority);
        uri.path_and_query = Some(target);
        let uri =
            Uri::from_parts(uri).map_err(|_| Failure::Internal("an upstream without a host"))?;
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        let (mut head, ()) = request.into_parts();
        head.headers.clone_from(&parts.headers);
        match host {
            Some(host) => head.headers.insert(header::HOST, host),
            None => head.headers.remove(header::HOST),
        };
        Ok(head)
    }
}

/// Path and query, whatever form the target had. CONNECT would make a tunnel of this gateway, and `*` is about a
/// server, not about what stands behind it. What our route table takes for media comes from who has checked it.
fn origin_form(parts: &Parts) -> Result<PathAndQuery, Failure> {
    let target = parts.uri.path_and_query();
    let target = target.filter(|target| target.as_str().starts_with('/'));
    let disguised = match Route::of(&parts.uri)? {
        Route::Media(_) => names_two(parts.uri.query().unwrap_or_default()),
        Route::Session | Route::Other => is_media_in_disguise(parts.uri.path()),
    };
    match target {
        Some(_) if disguised => Err(Failure::BadRequest(
            "a media route in a spelling that is not forwarded",
        )),
        Some(target) if parts.method != Method::CONNECT => Ok(target.clone()),
        Some(_) | None => Err(Failure::BadRequest("a target that is not forwarded")),
    }
}

/// The authority of an absolute target or of HTTP/2's pseudo-header outweighs `Host` (RFC 9112 §3.2.2,
/// RFC 9113 §8.3.1).
fn host(parts: &Parts) -> Result<Option<HeaderValue>, Failure> {
    let bad = Failure::BadRequest("several hosts, or one that is none");
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(bad);
    }
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).map_err(|_| bad)?,
        None => match field {
            Some(field) => field.clone(),
            None => return Ok(None),
        },
    };
    // With userinfo it is no host (RFC 9110 §4.2.4), and a comma would make two of it somewhere.
    match host
        .as_bytes()
        .iter()
        .any(|byte| b"@, /\\\"".contains(byte))
    {
        true => Err(Failure::BadRequest("several hosts, or one that is none")),
        false => Ok(Some(host)),
    }
}

/// One way to tell where a body ends (RFC 9112 §6.1, §6.3): a length, or `chunked` alone.
fn check_framing(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() || headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Failure::BadRequest("a body whose end is told in two ways"));
    }
    Ok(())
}

/// Whether an application that decodes the whole path, merges slashes or resolves dots, as WSGI servers and the proxies
/// before them do, would take it for a media route, though our route table did not. Such a path must not come to what
/// answers it without our checks. Label Studio's local files are found anywhere in a path, whose dots it does not resolve
/// (`io_storages/urls.py`): both readings are looked at.
fn is_media_in_disguise(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let (mut resolved, mut unresolved): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.trim_ascii() {
            b"" | b"." => {}
            b".." => {
                resolved.pop();
                unresolved.push(b"..");
            }
            segment => {
                resolved.push(segment);
                unresolved.push(segment);
            }
        }
    }
    [resolved, unresolved]
        .iter()
        .any(|segments| is_media(segments))
}

fn is_media(segments: &[&[u8]]) -> bool {
    let is_verb = |verb: &[u8]| verb == b"resolve" || verb == b"presign";
    let of_a_task = matches!(segments, [b"tasks" | b"projects", _, verb] if is_verb(verb));
    let mut pairs = segments.windows(2);
    of_a_task || pairs.any(|pair| pair[0].ends_with(b"data") && pair[1] == b"local-files")
}

/// Whether a query names media twice: we check the first, and Django serves the last.
fn names_two(query: &str) -> bool {
    let names = url::form_urlencoded::parse(query.as_bytes());
    names
        .filter(|(name, _)| name == "fileuri" || name == "d")
        .count()
        > 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn asked(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Parts, Failure> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        Target::new(&Url::parse("http://127.0.0.1:8081/").unwrap()).request(&parts)
    }

    #[test]
    fn path_and_query_are_kept_byte_for_byte_and_host_as_it_was_sent() {
        for (target, sent, host) in [
            (
                "/a%2Fb/?x=%20+&y",
                Some("ls.example:8080"),
                "ls.example:8080",
            ),
            (
                "http://real.example/x?",
                Some("other.example"),
                "real.example",
            ),
            ("/", None, ""),
        ] {
            let fields: Vec<_> = sent.map(|host| ("host", host)).into_iter().collect();
            let head = asked("GET", target, &fields).unwrap();
            let path = target.trim_start_matches("http://real.example");
            assert_eq!(head.uri.to_string(), format!("http://127.0.0.1:8081{path}"));
            let host_field = head.headers.get("host").map_or("", |h| h.to_str().unwrap());
            assert_eq!(host_field, host);
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        for (method, target, fields) in [
            ("CONNECT", "evil.example:443", &[][..]),
            ("OPTIONS", "*", &[]),
            ("GET", "/", &[("host", "a"), ("host", "b")]),
            ("GET", "/", &[("host", "a@b")]),
            ("GET", "http://a@b/", &[]),
            (
                "POST",
                "/",
                &[("transfer-encoding", "chunked"), ("content-length", "3")],
            ),
            ("POST", "/", &[("transfer-encoding", "gzip, chunked")]),
            ("POST", "/", &[("transfer-encoding", "xchunked")]),
            (
                "POST",
                "/",
                &[
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
        ] {
            let refused = asked(method, target, fields);
            assert!(
                matches!(refused, Err(Failure::BadRequest(_))),
                "{method} {target} {fields:?}"
            );
        }
    }

    #[test]
    fn media_that_was_checked_goes_on_if_it_is_named_once() {
        for (target, goes_on) in [
            ("/tasks/7/resolve/?lsref=1&fileuri=a", true),
            ("/data/local-files/?d=a", true),
            ("/tasks/7/resolve/?fileuri=a&fileuri=b", false),
            ("/tasks/7/resolve/?fileuri=a&%66ileuri=b", false),
            ("/data/local-files/?d=a&d=b", false),
            ("/tasks%2F7/resolve/?fileuri=a", false),
        ] {
            assert_eq!(asked("GET", target, &[]).is_ok(), goes_on, "{target}");
        }
    }

    #[test]
    fn a_media_route_in_another_spelling_is_seen() {
        for path in [
            "/tasks%2F7%2Fresolve/",
            "//tasks/7/resolve/",
            "/tasks/7/resolve//",
            "/tasks//7/presign",
            "/x/../tasks/7/resolve/",
            "/x/%2e%2E/projects/7/./resolve",
            "/tasks/7/resolve/%0A",
            "/data/local-files/x",
            "/x/data/local-files/",
            "/xdata%2Flocal-files/",
            "/data/local-files/../",
            "/data/local-files/..%2f",
            "/x/data/local-files/y/%2e%2e/%2e%2e",
        ] {
            assert!(is_media_in_disguise(path), "{path}");
        }
        for path in [
            "/",
            "/tasks/7/",
            "/projects/7/data",
            "/projects/7/data/import",
            "/api/tasks/7/resolve",
            "/tasks/7/resolved",
            "/data/upload/1/resolve.png",
            "/data/local-files.txt",
            "/tasks/7/resolve/../",
        ] {
            assert!(!is_media_in_disguise(path), "{path}");
        }
    }
}

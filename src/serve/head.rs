//! What a request's head must be before it is routed, wherever it then goes: what hyper leaves to its user.
//!
//! Pure. Follows RFC 9112 §3.2 (Host) and §6.1 (Transfer-Encoding), and RFC 9113 §8.3.1 (`:authority`). A request whose
//! end or whose host two readers could see differently is refused, so that no proxy before or behind can be deceived.

use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Version, uri::Authority};

use super::request::RequestError;

/// The most fields; hyper holds HTTP/1.1 to it, this room HTTP/2. Browsers send fewer than 30. Cookies are not counted:
/// HTTP/2 has one field for each (RFC 9113 §8.2.3).
const MAX_FIELDS: usize = 100;

/// Set on a request that came with both `Content-Length` and `Transfer-Encoding`: hyper shows the latter alone.
#[derive(Clone, Copy, Debug)]
pub struct TwoLengths;

/// Refuses what must not be answered otherwise.
pub fn check(parts: &Parts) -> Result<(), RequestError> {
    let headers = &parts.headers;
    if headers.len() - headers.get_all(COOKIE).iter().count() > MAX_FIELDS {
        return Err(RequestError::TooManyFields);
    }
    check_framing(parts)?;
    check_host(parts)
}

/// Whether the connection must close after the answer, as RFC 9112 §6.1 has it for a message with both lengths. One
/// with `Transfer-Encoding` alone is treated alike: browsers never send one.
pub fn closes(parts: &Parts) -> bool {
    parts.headers.contains_key(TRANSFER_ENCODING)
}

/// Asks hyper to close after this answer; HTTP/2 drops the field.
pub fn close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

fn check_framing(parts: &Parts) -> Result<(), RequestError> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let understood = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => chunked(coding) && parts.extensions.get::<TwoLengths>().is_none(),
        (Some(_), Some(_)) => false,
    };
    understood.then_some(()).ok_or(RequestError::BadFraming)
}

fn check_host(parts: &Parts) -> Result<(), RequestError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let host = host.map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(Authority::as_str);
    let good = match (parts.version, host, authority) {
        _ if second.is_some() => false,
        // HTTP/1.0 had no Host; nobody would miss it on our own routes.
        (Version::HTTP_09 | Version::HTTP_10, None, _) => true,
        (Version::HTTP_2, None, Some(authority)) => is_host(authority.as_bytes()),
        (Version::HTTP_2, Some(host), Some(authority)) => {
            is_host(host) && host.eq_ignore_ascii_case(authority.as_bytes())
        }
        (_, Some(host), _) => is_host(host),
        (_, None, _) => false,
    };
    good.then_some(()).ok_or(RequestError::BadHost)
}

/// `uri-host [ ":" port ]` of RFC 9110 §7.2, without the user information that an authority may have, and not empty
/// (§4.2.1).
fn is_host(value: &[u8]) -> bool {
    if is_plain_host(value) {
        return true;
    }
    let Ok(authority) = Authority::try_from(value) else {
        return false;
    };
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    !authority.host().is_empty() && port.is_some_and(is_port)
}

/// A name or an IPv4 address, and perhaps a port: what nearly all are, which need not be copied to be parsed.
fn is_plain_host(value: &[u8]) -> bool {
    let end = memchr::memchr(b':', value).unwrap_or(value.len());
    let (host, port) = value.split_at(end);
    let in_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty() && host.iter().all(in_a_name) && port.iter().skip(1).all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(version: Version, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_valid_host_is_wanted() {
        for (good, hosts) in [
            (true, &["lockgate"][..]),
            (true, &["lockgate:8080"]),
            (true, &["lockgate:"]),
            (true, &["[::1]:8080"]),
            (true, &["192.0.2.1"]),
            (true, &["xn--bcher-kva.example"]),
            (false, &[]),
            (false, &[""]),
            (false, &[":80"]),
            (false, &["a", "a"]),
            (false, &["a", "b"]),
            (false, &["a b"]),
            (false, &["a:b"]),
            (false, &["a:80:80"]),
            (false, &["user@a"]),
            (false, &["a/b"]),
            (false, &["http://a"]),
            (false, &["a?b"]),
            (false, &["[::1"]),
        ] {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let parts = parts(Version::HTTP_11, "/", &fields);
            assert_eq!(check(&parts).is_ok(), good, "{hosts:?}");
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out_and_http_2_names_it_once() {
        let host = |host| [("host", host)];
        for (good, parts) in [
            (true, parts(Version::HTTP_10, "/", &[])),
            (false, parts(Version::HTTP_10, "/", &host("a b"))),
            (true, parts(Version::HTTP_2, "https://a/", &[])),
            (true, parts(Version::HTTP_2, "https://a/", &host("A"))),
            (true, parts(Version::HTTP_2, "/", &host("a"))),
            (false, parts(Version::HTTP_2, "https://a/", &host("b"))),
            (false, parts(Version::HTTP_2, "https://u@a/", &[])),
            (false, parts(Version::HTTP_2, "/", &[])),
        ] {
            assert_eq!(check(&parts).is_ok(), good, "{parts:?}");
        }
    }

    #[test]
    fn chunked_once_is_the_only_transfer_coding() {
        for (good, codings) in [
            (true, &["chunked"][..]),
            (true, &["Chunked"]),
            (false, &["chunked, chunked"]),
            (false, &["chunked", "chunked"]),
            (false, &["gzip, chunked"]),
            (false, &["xchunked"]),
            (false, &["identity"]),
            (false, &[""]),
        ] {
            let mut fields = vec![("host", "a")];
            fields.extend(codings.iter().map(|&coding| ("transfer-encoding", coding)));
            let mut parts = parts(Version::HTTP_11, "/", &fields);
            assert_eq!(check(&parts).is_ok(), good, "{codings:?}");
            assert!(closes(&parts));
            parts.extensions.insert(TwoLengths);
            assert!(check(&parts).is_err());
        }
    }

    #[test]
    fn a_hundred_fields_are_taken_and_cookies_do_not_count() {
        let mut fields = vec![("host", "a")];
        fields.extend((1..MAX_FIELDS).map(|_| ("x", "y")));
        fields.extend((0..50).map(|_| ("cookie", "a=b")));
        assert!(check(&parts(Version::HTTP_11, "/", &fields)).is_ok());
        fields.push(("x", "y"));
        assert!(check(&parts(Version::HTTP_11, "/", &fields)).is_err());
    }
}

//! Which fields go on: end-to-end fields do, those of one hop do not, and what a gateway says of its client is said here,
//! by what the proxies that are trusted said to it.
//!
//! Follows RFC 9110 §7.6.1 (Connection), §7.6.3 (Via), §10.1.1 (Expect), RFC 7239 (Forwarded), RFC 9113 §8.2.3 (Cookie).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http_body::Body;

use super::{Hop, Peer, Upload};

/// Fields of one hop, beside those that `Connection` names. Trailers are not passed on, so `TE` goes, too.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes a request's fields those that the upstream gets; `Host` is there already.
pub(super) fn for_the_upstream(
    headers: &mut HeaderMap,
    parts: &Parts,
    client: Peer,
    hop: &Hop<'_>,
) {
    let host = headers.get(header::HOST).cloned();
    drop_hop_by_hop(headers);
    // Answered here, when the body is first read: the upstream's word would come too late.
    headers.remove(header::EXPECT);
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
    join_cookies(headers);
    say_where_from(headers, host.as_ref(), client);
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let received = match parts.version {
        http::Version::HTTP_2 => "2 lockgate",
        http::Version::HTTP_10 => "1.0 lockgate",
        _ => "1.1 lockgate",
    };
    headers.append(header::VIA, HeaderValue::from_static(received));
    if let Ok(id) = HeaderValue::try_from(hop.request_id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Ok(traceparent) = HeaderValue::try_from(hop.trace.child().header_value()) {
        headers.insert(TRACEPARENT, traceparent);
    }
}

/// Says how the body is framed, which hyper leaves out of a GET's: all of the client's body goes on, and no length
/// without a body, for the next request would be taken for it (RFC 9112 §6.3).
pub(super) fn frame(headers: &mut HeaderMap, body: Option<&Upload>) {
    match body.map(|body| body.size_hint().exact()) {
        Some(Some(_)) => {}
        Some(None) => {
            headers.remove(header::CONTENT_LENGTH);
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        None if headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length == "0") => {}
        None => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// Makes an answer's fields those that the client gets: all but those of one hop.
pub(super) fn for_the_client(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
}

/// Asks for the one upgrade that is let through.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter();
    let named: Vec<HeaderName> = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What a client claims of where it comes from. A name with an underscore is dropped, as nginx does: to a WSGI
/// application it is the same as with a dash, and to gunicorn `SCRIPT_NAME` even moves the path.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "forwarded"
        || name == "x-real-ip"
        || name.starts_with("x-forwarded-")
        || name.contains('_')
}

/// HTTP/2 may send several fields, of which HTTP/1.1 knows one.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() < 2 {
        return;
    }
    if let Ok(mut joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(header::COOKIE, joined);
    }
}

fn say_where_from(headers: &mut HeaderMap, host: Option<&HeaderValue>, client: Peer) {
    let address = client.address.ip().to_canonical();
    let proto = if client.tls { "https" } else { "http" };
    // RFC 7239 §6: an IPv6 address stands in brackets, and in quotes for its colons.
    let node = match address.is_ipv6() {
        true => format!("\"[{address}]\""),
        false => address.to_string(),
    };
    let named = host.and_then(|host| host.to_str().ok());
    let named = named.map_or(String::new(), |host| format!(";host=\"{host}\""));
    let forwarded = format!("for={node}{named};proto={proto}");
    for (name, value) in [
        (header::FORWARDED, forwarded),
        (FORWARDED_FOR, address.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

//! Media that only the annotation application has: the request goes on to it, once it was permitted here.
//!
//! Asks for what was permitted in the spelling that the access source gave it, never in the client's: the two sides
//! decode differently, and would mean two objects.
//!
//! Never shows where the application would rather send the client (a signed URL is a credential), none of its cookies,
//! and no caching of its own: of its answer's fields those go on that are named here.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};

use super::body::Body;
use super::error::Failure;
use super::gate::Gate;
use super::request::MediaRequest;
use super::response::passed_on;
use super::upstream::{Hop, UpstreamError};
use crate::access::Denied;
use crate::authority::AuthorityError;
use crate::range::{RangeSpec, Unsatisfiable};

/// The application's answer to `question`, a path and query, as one of Lockgate's own.
pub async fn answer(
    gate: &Gate,
    parts: &Parts,
    hop: &Hop<'_>,
    question: &str,
    request: &MediaRequest,
) -> Result<Response<Body>, Failure> {
    let upstream = gate.upstream.as_ref().ok_or(Failure::NotPassedOn)?;
    let range = asked_range(request.range, gate.delivery.max_range_size);
    let asked = asking(parts, question, range)?;
    let (head, body) = upstream.forward(&asked, None, hop).await?.into_parts();
    if let Some(failure) = failure(head.status, &head.headers) {
        return Err(failure);
    }
    let key = request.uri.file_name();
    let head = passed_on(head.status, &head.headers, key, &gate.delivery);
    Ok(match parts.method == Method::HEAD {
        true => head.map(|()| Body::empty()),
        false => head.map(|()| body),
    })
}

/// The one range that the application is asked for, no wider than a ranged answer may be. A suffix stays as wide as it
/// is: which bytes its first ones are is not known before the application says how long the media is.
fn asked_range(range: Option<RangeSpec>, max: Option<u64>) -> Option<HeaderValue> {
    let cut_to = |first_pos: u64, last_pos: u64| match max {
        Some(max) => last_pos.min(first_pos.saturating_add(max.saturating_sub(1))),
        None => last_pos,
    };
    let field = match range? {
        RangeSpec::From { first_pos } if max.is_none() => format!("bytes={first_pos}-"),
        RangeSpec::From { first_pos } => {
            format!("bytes={first_pos}-{}", cut_to(first_pos, u64::MAX))
        }
        RangeSpec::FromTo {
            first_pos,
            last_pos,
        } => format!("bytes={first_pos}-{}", cut_to(first_pos, last_pos)),
        RangeSpec::Suffix { length } => format!("bytes=-{length}"),
    };
    HeaderValue::try_from(field).ok()
}

/// The client's request, for the question in the place of its target, and for `range` alone: what this gateway takes
/// for no range, or for several, is answered with everything.
fn asking(parts: &Parts, question: &str, range: Option<HeaderValue>) -> Result<Parts, Failure> {
    const NO_URI: Failure = Failure::Internal("the application's question is no URI");
    let mut asked = parts.clone();
    // Media is no tunnel; and Label Studio knows no HEAD here (405), so that its answer to GET is cut at its head.
    asked.headers.remove(header::UPGRADE);
    asked.method = Method::GET;
    match range {
        Some(range) => asked.headers.insert(header::RANGE, range),
        None => asked.headers.remove(header::RANGE),
    };
    // The rest of the target may name the host (RFC 9112 §3.2.2).
    let mut target = asked.uri.into_parts();
    target.path_and_query = Some(question.parse().map_err(|_| NO_URI)?);
    asked.uri = Uri::from_parts(target).map_err(|_| NO_URI)?;
    Ok(asked)
}

/// What the application says in the place of media, in this gateway's words.
fn failure(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let protocol = |said: &str| UpstreamError::Protocol(said.into()).into();
    match status.as_u16() {
        200 | 206 | 304 => None,
        416 => Some(unsatisfiable(headers)),
        401 => Some(AuthorityError::NotAuthenticated.into()),
        // It tells no difference between what is not there and what is not for them.
        403 | 404 => Some(Denied::Unknown.into()),
        // Its presigned URLs were switched on since it was asked: when it is asked again that is known.
        300..=399 => {
            let reason = "it redirects what it was to serve";
            Some(AuthorityError::Unavailable(reason.into()).into())
        }
        424 => Some(protocol(
            "its storage failed it, or does not hold the object",
        )),
        429 | 503 => Some(Failure::Overloaded),
        _ => Some(protocol("another status than media has")),
    }
}

/// RFC 9110 §14.4: `bytes */N`, which the application may leave out.
fn unsatisfiable(headers: &HeaderMap) -> Failure {
    let field = headers.get(header::CONTENT_RANGE);
    let length = field
        .and_then(|field| field.to_str().ok()?.strip_prefix("bytes */"))
        .and_then(|length| length.parse().ok());
    match length {
        Some(complete_length) => Unsatisfiable { complete_length }.into(),
        None => Failure::NoSuchRange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_asked_for_no_wider_than_an_answer_may_be() {
        for (field, max, asked) in [
            ("bytes=5-", Some(10), Some("bytes=5-14")),
            ("bytes=5-99", Some(10), Some("bytes=5-14")),
            ("bytes=5-7", Some(10), Some("bytes=5-7")),
            ("bytes=5-", None, Some("bytes=5-")),
            ("bytes=5-99", None, Some("bytes=5-99")),
            ("bytes=-99", Some(10), Some("bytes=-99")),
            (
                "bytes=18446744073709551615-",
                Some(10),
                Some("bytes=18446744073709551615-18446744073709551615"),
            ),
            ("bytes=0-1,5-6", Some(10), None),
            ("items=0-", Some(10), None),
        ] {
            let range = asked_range(RangeSpec::parse(field.as_bytes()), max);
            let range = range.as_ref().map(|range| range.to_str().expect("text"));
            assert_eq!(range, asked, "{field} {max:?}");
        }
    }

    #[test]
    fn a_416_says_how_long_the_media_is_where_the_application_does() {
        for (field, length) in [
            (Some("bytes */1234"), Some(1234)),
            (Some("bytes */*"), None),
            (Some("bytes 0-1/2"), None),
            (None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(field.map(|it| (header::CONTENT_RANGE, HeaderValue::from_static(it))));
            let told = failure(StatusCode::RANGE_NOT_SATISFIABLE, &headers);
            let told = match told {
                Some(Failure::RangeNotSatisfiable(it)) => Some(it.complete_length),
                Some(Failure::NoSuchRange) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(told, length, "{field:?}");
        }
    }

    #[test]
    fn what_the_application_says_becomes_this_gateways_answer() {
        for (theirs, ours) in [
            (200, None),
            (206, None),
            (304, None),
            (416, Some(416)),
            (401, Some(401)),
            (403, Some(403)),
            (404, Some(403)),
            (302, Some(503)),
            (303, Some(503)),
            (424, Some(502)),
            (503, Some(503)),
            (500, Some(502)),
            (204, Some(502)),
        ] {
            let status = StatusCode::from_u16(theirs).expect("a status");
            let answered =
                failure(status, &HeaderMap::new()).map(|failure| failure.status().as_u16());
            assert_eq!(answered, ours, "{theirs}");
        }
    }
}

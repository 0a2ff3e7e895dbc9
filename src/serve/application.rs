//! Media that only the annotation application has: the request goes on to it, once it was permitted here.
//!
//! Asks for what was permitted in the spelling that the access source gave it, never in the client's: the two sides
//! decode differently, and would mean two objects.
//!
//! Never shows where the application would rather send the client (a signed URL is a credential), none of its cookies,
//! and no caching of its own: of its answer's fields those go on that are named here.

use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, header};

use super::body::Body;
use super::error::Failure;
use super::gate::Gate;
use super::response::passed_on;
use super::upstream::{Hop, UpstreamError};
use crate::access::Denied;
use crate::authority::AuthorityError;

/// The application's answer to `question`, a path and query, as one of Lockgate's own. `key` gives the name of what is
/// downloaded.
pub async fn answer(
    gate: &Gate,
    parts: &Parts,
    hop: &Hop<'_>,
    question: &str,
    key: &str,
) -> Result<Response<Body>, Failure> {
    let upstream = gate.upstream.as_ref().ok_or(Failure::NotPassedOn)?;
    let asked = asking(parts, question)?;
    let (head, body) = upstream.forward(&asked, None, hop).await?.into_parts();
    if let Some(failure) = failure(head.status) {
        return Err(failure);
    }
    let head = passed_on(head.status, &head.headers, key, &gate.delivery);
    Ok(match parts.method == Method::HEAD {
        true => head.map(|()| Body::empty()),
        false => head.map(|()| body),
    })
}

/// The client's request, for the question in the place of its target.
fn asking(parts: &Parts, question: &str) -> Result<Parts, Failure> {
    const NO_URI: Failure = Failure::Internal("the application's question is no URI");
    let mut asked = parts.clone();
    // Media is no tunnel; and Label Studio knows no HEAD here (405), so that its answer to GET is cut at its head.
    asked.headers.remove(header::UPGRADE);
    asked.method = Method::GET;
    // The rest of the target may name the host (RFC 9112 §3.2.2).
    let mut target = asked.uri.into_parts();
    target.path_and_query = Some(question.parse().map_err(|_| NO_URI)?);
    asked.uri = Uri::from_parts(target).map_err(|_| NO_URI)?;
    Ok(asked)
}

/// What the application says in the place of media, in this gateway's words.
fn failure(status: StatusCode) -> Option<Failure> {
    let protocol = |said: &str| UpstreamError::Protocol(said.into()).into();
    match status.as_u16() {
        200 | 206 | 304 | 416 => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_says_becomes_this_gateways_answer() {
        for (theirs, ours) in [
            (200, None),
            (206, None),
            (304, None),
            (416, None),
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
            let answered = failure(status).map(|failure| failure.status().as_u16());
            assert_eq!(answered, ours, "{theirs}");
        }
    }
}

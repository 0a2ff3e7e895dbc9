//! `/session`: a bearer token becomes a cookie, because `<img>`, `<audio>` and `<video>` cannot send headers; and the
//! cookie is dropped.
//!
//! The cookie holds the token itself and lives as long. Only `Authorization` opens a session: another site can make
//! a browser send its cookies, but not that header.

use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::body::Body;
use super::credentials::credentials;
use super::error::Failure;
use super::exchange::{Exchange, Recorder};
use super::gate::Gate;
use crate::auth::{AuthError, Credentials};

/// Answers POST and DELETE.
pub async fn answer(
    gate: &Gate,
    parts: &Parts,
    recorder: &Recorder,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Failure> {
    if parts.method == Method::DELETE {
        return Ok(no_content(gate.cookie.clear()));
    }
    let now = SystemTime::now();
    let bearer = credentials(parts, gate.cookie.name(), false).bearer;
    // Neither the cookie nor a query token opens a session.
    let credentials = Credentials {
        bearer,
        ..Credentials::default()
    };
    let annotator = gate.authenticate(credentials, recorder).await?;
    let token = bearer.ok_or(AuthError::Missing)?;
    exchange.asked_by(&annotator.subject);
    gate.limits.check_request(&annotator.subject)?;
    let cookie = gate
        .cookie
        .set(token, annotator.expires_at, now)
        .map_err(|_| Failure::ContentTooLarge)?;
    Ok(no_content(cookie))
}

fn no_content(cookie: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::SET_COOKIE, cookie);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

//! The demo's tokens: what the annotation platform would mint. HS256 (RFC 7518 §3.2) with the demo's own secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

/// `iss` of the demo's tokens.
pub(super) const ISSUER: &str = "https://platform.example.com";
/// `aud` of the demo's tokens.
pub(super) const AUDIENCE: &str = "lockgate";
/// As long as a working day.
const LIFE: Duration = Duration::from_secs(8 * 3600);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
}

/// A token for one of the demo's annotators.
pub(super) fn mint(subject: &str, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let claims = Claims {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: subject,
        iat: now.as_secs(),
        exp: (now + LIFE).as_secs(),
    };
    jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
}

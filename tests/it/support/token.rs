//! Tokens, as the platform would mint them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://platform.example.com";
pub const AUDIENCE: &str = "lockgate";
pub const SECRET: &str = "a secret of the tests that is long enough for HS256";

/// Seconds since 1970, from now on by `from_now` seconds.
pub fn epoch(from_now: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    now.as_secs() as i64 + from_now
}

/// An ordinary token of an hour.
pub fn of(subject: &str) -> String {
    with(subject, json!({}))
}

/// A token with more claims, or other ones; `null` takes a claim away.
pub fn with(subject: &str, more: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": epoch(3600),
    });
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => all.remove(name),
            value => all.insert(name.clone(), value.clone()),
        };
    }
    sign(&claims)
}

/// Signs what is written, well-formed or not.
pub fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm);
    let token = format!("{message}.{}", signature.expect("it signs"));
    super::secrets::remember(&token);
    token
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), claims, &key).expect("HS256 signs");
    super::secrets::remember(&token);
    token
}

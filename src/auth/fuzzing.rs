//! What the fuzz targets see of this room: a token's head before anything is proven, and claims that are well signed.
//!
//! Built for them and for tests alone.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};

use super::keys::Key;
use super::token::Unverified;
use super::{Annotator, AuthConfig};

/// What tokens must say, and what they are signed with here.
pub(crate) const ISSUER: &str = "https://issuer.test";
/// Their `aud`.
pub(crate) const AUDIENCE: &str = "lockgate";
/// The claim with the groups.
pub(crate) const GROUPS: &str = "groups";
/// How far clocks may differ, in seconds.
pub(crate) const LEEWAY: u64 = 30;
const SECRET: &[u8] = b"a secret that is long enough for every hash";

/// The algorithms allowed; `none` is not one that the parser knows.
const ALLOWED: [Algorithm; 3] = [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA];

static CONFIG: LazyLock<AuthConfig> = LazyLock::new(|| AuthConfig {
    issuer: ISSUER.into(),
    audience: AUDIENCE.into(),
    algorithms: ALLOWED.to_vec(),
    hmac_secret: None,
    public_key: None,
    private_key: None,
    jwks_url: None,
    leeway: Duration::from_secs(LEEWAY),
    groups_claim: GROUPS.into(),
    query_token: false,
    secure_cookie: None,
});

static KEY: LazyLock<Key> = LazyLock::new(|| {
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    Key::from_secret(secret, &ALLOWED).expect("a secret")
});

/// The `alg` and `kid` of a token that could be verified.
pub(crate) fn head(token: &str) -> Option<(String, Option<String>)> {
    let token = Unverified::parse(token, &ALLOWED).ok()?;
    Some((format!("{:?}", token.algorithm), token.kid))
}

/// Whose token this is, as if its key had been found.
pub(crate) fn verified(token: &str, now: SystemTime) -> Option<Annotator> {
    let token = Unverified::parse(token, &ALLOWED).ok()?;
    token.verify(&KEY, &CONFIG, now).ok()
}

/// A token with these claims, signed.
pub(crate) fn signed(claims: &[u8]) -> String {
    static SIGNING: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_secret(SECRET));
    let parts = [br#"{"alg":"HS256"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &SIGNING, Algorithm::HS256);
    format!("{message}.{}", signature.expect("an hmac is always had"))
}

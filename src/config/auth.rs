//! What `[auth]` means: which keys belong to which algorithms, and what would be dangerous (RFC 8725 §3.1, §3.2).

use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use toml::Value;

use super::raw;
use super::reader::Reader;
use crate::auth::AuthConfig;
use crate::secret::Secret;

/// Contract §3: clocks may differ by a minute and no more.
const MAX_LEEWAY: Duration = Duration::from_secs(60);
/// HS256's key should be as long as its hash (RFC 7518 §3.2), in bytes.
const HMAC_SECRET_LENGTH: usize = 32;

/// `tls`: whether Lockgate itself is reached over TLS.
pub fn auth(reader: &mut Reader<'_>, written: Option<Value>, tls: bool) -> Option<AuthConfig> {
    let before = reader.problems.len();
    let written = with_jwt(written);
    let auth: raw::Auth = reader.section("auth", Some(written))?;
    let jwt = auth.jwt;
    for (key, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if value.is_empty() {
            reader.problem(&format!("auth.jwt.{key}"), "must not be empty");
        }
    }
    check_algorithms(reader, &jwt);
    let leeway = reader.span(
        "auth.jwt.leeway",
        jwt.leeway,
        Duration::from_secs(30),
        Duration::ZERO..=MAX_LEEWAY,
    );
    let jwks_url = jwt.jwks_url.and_then(|url| jwks_url(reader, &url));
    let config = AuthConfig {
        issuer: jwt.issuer,
        audience: jwt.audience,
        algorithms: jwt.algorithms,
        hmac_secret: hmac_secret(reader, jwt.hmac_secret),
        public_key: public_key(reader, jwt.public_key),
        private_key: private_key(reader, jwt.private_key),
        jwks_url,
        leeway,
        groups_claim: jwt.groups_claim.unwrap_or_else(|| "groups".to_owned()),
        query_token: auth.query_token,
        secure_cookie: auth.secure_cookie,
    };
    if config.secure_cookie.is_none() && !tls {
        warn_of_the_cookie(reader);
    }
    // The room has the last word, where nothing was found that is wrong already: a start would say the same,
    // without the place.
    if reader.problems.len() == before
        && let Err(error) = config.validate()
    {
        reader.problem(&format!("auth.jwt.{}", error.key()), error.to_string());
    }
    Some(config)
}

/// A proxy in front that terminates TLS cannot be seen from here: who has none says so.
fn warn_of_the_cookie(reader: &mut Reader<'_>) {
    reader.warn(
        "auth.secure_cookie",
        "without server.tls the session cookie has neither Secure nor the __Host- prefix; \
         set it to true where a proxy in front speaks TLS, to false where browsers come over plain http",
    );
}

/// Without `[auth]` or `[auth.jwt]` at all it is `auth.jwt`'s own keys that are missing.
fn with_jwt(written: Option<Value>) -> Value {
    let empty = || Value::Table(toml::Table::new());
    let mut written = written.unwrap_or_else(empty);
    if let Value::Table(table) = &mut written {
        table.entry("jwt").or_insert_with(empty);
    }
    written
}

/// Looks at which keys are named, whether or not their values can be had.
fn check_algorithms(reader: &mut Reader<'_>, jwt: &raw::Jwt) {
    let algorithms = &jwt.algorithms;
    let has_secret = jwt.hmac_secret.is_some();
    let public_key = jwt.public_key.as_ref().map(|_| "auth.jwt.public_key");
    let public_key = public_key.or(jwt.jwks_url.as_ref().map(|_| "auth.jwt.jwks_url"));
    let is_hmac = |algorithm: &&Algorithm| AlgorithmFamily::Hmac.algorithms().contains(algorithm);
    let hmac = algorithms.iter().find(is_hmac);
    let public = algorithms.iter().find(|algorithm| !is_hmac(algorithm));
    if algorithms.is_empty() {
        reader.problem(
            "auth.jwt.algorithms",
            "name at least one algorithm, like [\"HS256\"]",
        );
        return;
    }
    match hmac {
        Some(algorithm) if !has_secret => reader.problem(
            "auth.jwt.hmac_secret",
            format!("is missing: {algorithm:?} needs it"),
        ),
        None if has_secret => reader.problem(
            "auth.jwt.hmac_secret",
            "no algorithm of auth.jwt.algorithms uses it; add HS256 or leave it out",
        ),
        _ => {}
    }
    match (public, public_key) {
        (Some(algorithm), None) => reader.problem(
            "auth.jwt.public_key",
            format!("is missing: {algorithm:?} needs public_key or jwks_url"),
        ),
        (None, Some(key)) => reader.problem(
            key,
            "no algorithm of auth.jwt.algorithms uses it; add RS256, ES256 or EdDSA, or leave it out",
        ),
        _ => {}
    }
}

fn hmac_secret(reader: &mut Reader<'_>, written: Option<raw::SecretRef>) -> Option<Secret> {
    const KEY: &str = "auth.jwt.hmac_secret";
    let secret = reader.secret(KEY, written)?;
    let text = secret.expose();
    if text.contains("-----BEGIN") {
        reader.problem(
            KEY,
            "is a PEM key, not a secret: give it as public_key with RS256, ES256 or EdDSA",
        );
    } else if text.len() < HMAC_SECRET_LENGTH {
        reader.warn(
            KEY,
            format!("shorter than {HMAC_SECRET_LENGTH} bytes: it can be guessed"),
        );
    }
    Some(secret)
}

fn public_key(reader: &mut Reader<'_>, written: Option<raw::SecretRef>) -> Option<Secret> {
    const KEY: &str = "auth.jwt.public_key";
    let key = reader.public(KEY, written)?;
    let text = key.expose();
    if text.contains("PRIVATE KEY-----") {
        reader.problem(KEY, "is a private key: only its public half belongs here");
    } else if !text.contains("-----BEGIN") {
        reader.problem(KEY, "is not PEM (-----BEGIN PUBLIC KEY-----)");
    }
    Some(key)
}

fn private_key(reader: &mut Reader<'_>, written: Option<raw::SecretRef>) -> Option<Secret> {
    const KEY: &str = "auth.jwt.private_key";
    let key = reader.secret(KEY, written)?;
    if !key.expose().contains("PRIVATE KEY-----") {
        reader.problem(KEY, "is not a private key in PEM");
    }
    Some(key)
}

fn jwks_url(reader: &mut Reader<'_>, written: &str) -> Option<url::Url> {
    const KEY: &str = "auth.jwt.jwks_url";
    let url = reader.url(KEY, written)?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        reader.warn(
            KEY,
            "over plain http whoever is on the way can put in keys of their own",
        );
    }
    Some(url)
}

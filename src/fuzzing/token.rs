//! Tokens: what is read of one before anything is proven, and whom well-signed claims may name.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{lines, number};
use crate::auth::fuzzing::{AUDIENCE, GROUPS, ISSUER, LEEWAY, head, signed, verified};
use crate::media_uri::MediaUri;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A token, as anybody may send one. Where the input is none, its two lines are a token's header and claims.
pub fn token(input: &[u8]) {
    let [header, claims] = lines(input);
    let written = [header, claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
        + ".AAAA";
    for token in [std::str::from_utf8(input).unwrap_or_default(), &written] {
        assert_eq!(head(token), modelled_head(token), "{token}");
        assert_eq!(verified(token, at(NOW)), None, "nobody signed it: {token}");
    }
}

/// RFC 7515 §7.1 and §4.1: three parts, the first a JSON object of distinct names in base64url, with an algorithm that
/// is allowed, no critical extension, and a `kid` that is a string where there is one.
fn modelled_head(token: &str) -> Option<(String, Option<String>)> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, _, _] = parts[..] else {
        return None;
    };
    let header = distinct(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
    let algorithm = header.get("alg")?.as_str()?;
    let allowed = ["HS256", "ES256", "EdDSA"].contains(&algorithm) && !header.contains_key("crit");
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str()?.to_owned()),
    };
    allowed.then(|| (algorithm.to_owned(), kid))
}

/// A JSON object, where no name in it occurs twice.
fn distinct(json: &[u8]) -> Option<Map<String, Value>> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while members.next_entry::<String, IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    let object: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let count = reader.deserialize_map(Count).ok()?;
    (count == object.len()).then_some(object)
}

/// The time in seconds, then claims that are well signed.
pub fn token_claims(input: &[u8]) {
    let [now, claims] = lines(input);
    // From then on a second of it has fractions that both numbers can hold.
    let now = number(now, NOW).clamp(1 << 30, 1 << 40);
    let annotator = verified(&signed(claims), at(now));
    let claims = distinct(claims);
    let claim = |name| claims.as_ref().and_then(|claims| claims.get(name));
    let expected = claims
        .as_ref()
        .is_some_and(|claims| holds(claims, now as f64));
    assert_eq!(annotator.is_some(), expected);
    let Some(annotator) = annotator else {
        return;
    };
    assert!(at(now) < annotator.expires_at);
    assert_eq!(
        claim("sub").and_then(Value::as_str),
        Some(annotator.subject.as_str())
    );
    assert_eq!(claim("task").is_some(), annotator.scope.task.is_some());
    assert_eq!(claim("uri").is_some(), annotator.scope.uri.is_some());
    let groups: Vec<&str> = annotator.groups.iter().map(|group| &**group).collect();
    assert_eq!(claim(GROUPS).and_then(strings).unwrap_or_default(), groups);
}

/// Contract §3: `iss`, `aud` and `exp` required, `nbf` honoured, what is there of the right type.
fn holds(claims: &Map<String, Value>, now: f64) -> bool {
    let leeway = LEEWAY as f64;
    let date = |name| match claims.get(name).map(Value::as_f64) {
        None => Ok(None),
        Some(Some(seconds)) if (0.0..=253_402_300_799.0).contains(&seconds) => Ok(Some(seconds)),
        Some(_) => Err(()),
    };
    let (Ok(_), Ok(begins), Ok(ends)) = (date("iat"), date("nbf"), date("exp")) else {
        return false;
    };
    let in_time = ends.is_some_and(|ends| now - leeway < ends)
        && begins.is_none_or(|begins| begins <= now + leeway);
    let audience = claims.get("aud").and_then(strings).unwrap_or_default();
    let optional = |name, fits: fn(&Value) -> bool| claims.get(name).is_none_or(fits);
    claims.get("iss").and_then(Value::as_str) == Some(ISSUER)
        && audience.contains(&AUDIENCE)
        && in_time
        && claims.get("sub").is_some_and(is_name)
        && optional(GROUPS, |groups| strings(groups).is_some())
        && optional("task", |task| task.is_u64() || is_name(task))
        && optional("uri", |uri| {
            uri.as_str().is_some_and(|uri| MediaUri::parse(uri).is_ok())
        })
}

fn is_name(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|name| (1..=256).contains(&name.len()) && !name.chars().any(char::is_control))
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        other => other.as_array()?.iter().map(Value::as_str).collect(),
    }
}

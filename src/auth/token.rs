//! One token: taken apart, its signature checked, its claims read (RFC 7515, RFC 7519).
//!
//! Pure: the clock and the key are arguments. Of the header only `alg` and `kid` are looked at: `jku`, `jwk`,
//! `x5u` and `x5c` would let a token bring its own key (RFC 8725 §3.10).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::AuthError::{self, Invalid};
use super::keys::Key;
use super::{Annotator, AuthConfig, Scope};
use crate::ids::{Subject, TaskId};
use crate::media_uri::MediaUri;

/// A longer token is refused before it is parsed; what fits a request's head is shorter.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest `sub`, and the longest `task`: both end up in log lines.
const MAX_NAME_BYTES: usize = 256;

/// The last second of the year 9999, the end of HTTP's and RFC 3339's calendars.
const MAX_NUMERIC_DATE: f64 = 253_402_300_799.0;

/// Why a token that was good is refused.
pub(super) const EXPIRED: &str = "expired";

/// Whether `algorithm` is verified with a shared secret.
pub(super) fn is_hmac(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}

/// A token of which nothing is proven yet.
pub(super) struct Unverified<'a> {
    /// The header's `alg`, one of those allowed.
    pub(super) algorithm: Algorithm,
    /// The header's `kid`.
    pub(super) kid: Option<String>,
    signing_input: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Takes the compact serialization apart (RFC 7515 §7.1) and reads the header.
    pub(super) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, AuthError> {
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Invalid("not a jwt"))?;
        let (header, payload) = signing_input.split_once('.').ok_or(Invalid("not a jwt"))?;
        if payload.contains('.') {
            return Err(Invalid("not a signed jwt"));
        }
        let mut header = json_object(header).ok_or(Invalid("malformed header"))?;
        // RFC 7515 §4.1.11: what is critical must be understood, and no extension is.
        if header.contains_key("crit") {
            return Err(Invalid("critical header"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm
            .and_then(|name| name.parse().ok())
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(Invalid("algorithm not allowed"))?;
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid),
            Some(_) => return Err(Invalid("malformed kid")),
        };
        Ok(Self {
            algorithm,
            kid,
            signing_input,
            payload,
            signature,
        })
    }

    /// Whose token this is, if it was signed with `key` and is for us and for now.
    pub(super) fn verify(
        &self,
        key: &Key,
        config: &AuthConfig,
        now: SystemTime,
    ) -> Result<Annotator, AuthError> {
        let message = self.signing_input.as_bytes();
        let verified =
            jsonwebtoken::crypto::verify(self.signature, message, &key.decoding, self.algorithm);
        if !matches!(verified, Ok(true)) {
            return Err(Invalid("signature"));
        }
        let claims = Claims(json_object(self.payload).ok_or(Invalid("malformed claims"))?);
        claims.are_for_us(config)?;
        Ok(Annotator {
            expires_at: claims.life(config.leeway, now)?,
            subject: claims.subject()?,
            groups: claims.groups(&config.groups_claim)?,
            scope: claims.scope()?,
            presented: None,
        })
    }
}

/// The claims of a token whose signature was checked.
struct Claims(Map<String, Value>);

impl Claims {
    fn are_for_us(&self, config: &AuthConfig) -> Result<(), AuthError> {
        if self.0.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
            return Err(Invalid("issuer"));
        }
        // RFC 7519 §4.1.3: one string, or an array of strings.
        let audience = self.0.get("aud").and_then(strings);
        if !audience.is_some_and(|audience| audience.contains(&config.audience.as_str())) {
            return Err(Invalid("audience"));
        }
        Ok(())
    }

    /// When the token ends, leeway included; an error where that has passed or its time has not come.
    fn life(&self, leeway: Duration, now: SystemTime) -> Result<SystemTime, AuthError> {
        self.date("iat")?;
        if self.date("nbf")?.is_some_and(|nbf| now + leeway < nbf) {
            return Err(Invalid("not valid yet"));
        }
        let expires_at = self.date("exp")?.ok_or(Invalid("no exp"))? + leeway;
        match now < expires_at {
            true => Ok(expires_at),
            false => Err(Invalid(EXPIRED)),
        }
    }

    /// A NumericDate (RFC 7519 §2): seconds since the epoch, fractions allowed.
    fn date(&self, claim: &str) -> Result<Option<SystemTime>, AuthError> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        let seconds = value
            .as_f64()
            .filter(|seconds| (0.0..=MAX_NUMERIC_DATE).contains(seconds))
            .ok_or(Invalid("malformed date"))?;
        Ok(Some(
            SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds),
        ))
    }

    fn subject(&self) -> Result<Subject, AuthError> {
        let subject = self.0.get("sub").and_then(Value::as_str).and_then(name);
        subject.map(Subject::from).ok_or(Invalid("subject"))
    }

    fn groups(&self, claim: &str) -> Result<Vec<Arc<str>>, AuthError> {
        let Some(value) = self.0.get(claim) else {
            return Ok(Vec::new());
        };
        let groups = strings(value).ok_or(Invalid("malformed groups"))?;
        Ok(groups.into_iter().map(Arc::from).collect())
    }

    fn scope(&self) -> Result<Scope, AuthError> {
        let task = match self.0.get("task") {
            None => None,
            Some(Value::String(task)) => {
                Some(TaskId::from(name(task).ok_or(Invalid("malformed task"))?))
            }
            Some(Value::Number(task)) if task.is_u64() => Some(TaskId::new(task.to_string())),
            Some(_) => return Err(Invalid("malformed task")),
        };
        let uri = match self.0.get("uri") {
            None => None,
            Some(Value::String(uri)) => {
                Some(MediaUri::parse(uri).map_err(|_| Invalid("malformed uri"))?)
            }
            Some(_) => return Err(Invalid("malformed uri")),
        };
        Ok(Scope { task, uri })
    }
}

/// One string, or an array of nothing else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(several) => several.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A string that can be a name: not empty, not long, and no line break for a log to trip over.
pub(super) fn name(string: &str) -> Option<&str> {
    let fits = !string.is_empty() && string.len() <= MAX_NAME_BYTES;
    (fits && !string.contains(char::is_control)).then_some(string)
}

/// A part of a token: base64url of a JSON object.
fn json_object(part: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    let UniqueMembers(members) = serde_json::from_slice(&json).ok()?;
    Some(members)
}

/// A JSON object in which no name occurs twice: parsers disagree about which of them counts, and so might the
/// issuer's and ours (RFC 7515 §4, RFC 7519 §4).
struct UniqueMembers(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a json object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut access: A,
            ) -> Result<UniqueMembers, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name that occurs twice"));
                    }
                }
                Ok(UniqueMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

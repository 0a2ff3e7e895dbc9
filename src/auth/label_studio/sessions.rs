//! Label Studio's sessions: which cookies belong together, and which sessions have ended.
//!
//! Django's signed-cookie sessions (`django/contrib/sessions/backends/signed_cookies.py`) are kept by the browser alone:
//! every answer sets another value, and one that was copied before a logout works for two weeks after it. But every
//! value carries the session's own `uid` (`core/middleware.py`, `SetSessionUIDMiddleware`), readable and signed. So a
//! session that ended is remembered by its `uid`, and no cookie of it gets past, however it was come by.
//!
//! Never verifies a signature and never decides who somebody is: a cookie that Label Studio did not sign it refuses
//! itself. Keeps SHA-256 sums, no cookie and no `uid` in clear.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;

/// Cookies that are known to be Label Studio's own. One that was forgotten costs Label Studio one question, nothing
/// else. An entry is some 200 bytes.
const MAX_KNOWN: u64 = 100_000;
/// A cookie is replaced by the next answer; one that comes later than this is asked about on its own again, so that
/// what has expired there is not taken for its successor here.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Sessions that ended. They get in here by a logout that Label Studio itself accepted from them, so that each costs
/// a log-in with a password; no flood of requests or invented cookies pushes one out. The one used least recently goes
/// first, so that one whose cookies are still tried stays.
const MAX_ENDED: u64 = 100_000;
/// Django refuses a cookie two weeks after it was signed (`SESSION_COOKIE_AGE`), and an hour for clocks.
const ENDED_FOR: Duration = Duration::from_secs(14 * 86_400 + 3600);
/// A session's fields are some 400 bytes; more than this is none.
const MAX_PAYLOAD: usize = 16 << 10;

/// What of a session says with which rights its cookie comes. `_session_expiry` and messages do not.
const RIGHTS: [&str; 5] = [
    "uid",
    "_auth_user_id",
    "_auth_user_hash",
    "last_login",
    "organization_pk",
];

/// A key to remember decisions by: the same for cookies of one session that come with the same rights. Tells nothing
/// of the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key itself, to be part of another.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One session, to be asked again and again whether it has ended. Tells nothing of the cookie.
#[derive(Clone)]
pub struct Watched {
    ended: Cache<[u8; 32], ()>,
    session: [u8; 32],
}

impl Watched {
    /// Whether it has by now: who came with it is refused, whatever Label Studio would say.
    pub fn has_ended(&self) -> bool {
        self.ended.get(&self.session).is_some()
    }
}

/// The sessions that passed by.
pub struct Sessions {
    known: Cache<[u8; 32], SessionKey>,
    ended: Cache<[u8; 32], ()>,
}

impl Default for Sessions {
    fn default() -> Self {
        // Least recently used: TinyLFU would keep a newcomer out in favour of what was asked for more often.
        let known = Cache::builder()
            .max_capacity(MAX_KNOWN)
            .time_to_live(KNOWN_FOR)
            .eviction_policy(EvictionPolicy::lru());
        let ended = Cache::builder()
            .max_capacity(MAX_ENDED)
            .time_to_live(ENDED_FOR)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            known: known.build(),
            ended: ended.build(),
        }
    }
}

impl Sessions {
    /// The key of a cookie's session where Label Studio is known to have signed it; else a key of this cookie alone,
    /// so that a forged one shares nothing with the one that it imitates.
    pub fn of(&self, cookie: &str) -> SessionKey {
        let id = hash("cookie", cookie);
        self.known.get(&id).unwrap_or(SessionKey(id))
    }

    /// Whether the cookie's session has ended: it must be refused, whatever Label Studio would say.
    pub fn ended(&self, cookie: &str) -> bool {
        self.watched(cookie).has_ended()
    }

    /// The cookie's session, for whoever goes on after its request was let in.
    pub fn watched(&self, cookie: &str) -> Watched {
        Watched {
            ended: self.ended.clone(),
            session: session(cookie),
        }
    }

    /// Label Studio answered a request that came with the cookie `sent`, and set the cookie `set`: it signed `set`.
    /// It signed `sent`, too, if it went on with its session: a cookie that it does not believe begins another one.
    pub fn passed(&self, sent: Option<&str>, set: &str) {
        self.learn(set);
        if let Some(sent) = sent.filter(|sent| *sent != set && session(sent) == session(set)) {
            self.learn(sent);
        }
    }

    /// Label Studio took a logout from this cookie. In force at once, for answers that are still under way, too.
    pub fn end(&self, cookie: &str) {
        self.ended.insert(session(cookie), ());
    }

    /// Whether Label Studio is known to have signed this cookie, and for somebody who had logged in: who is asked for no
    /// password could otherwise fill the list of sessions that ended.
    pub fn is_of_user(&self, cookie: &str) -> bool {
        let known = self.known.contains_key(&hash("cookie", cookie));
        known && payload(cookie).is_some_and(|payload| payload["_auth_user_id"].is_string())
    }

    /// Whether both are cookies of one session.
    pub fn continues(&self, sent: &str, set: &str) -> bool {
        session(sent) == session(set)
    }

    fn learn(&self, cookie: &str) {
        let Some(payload) = payload(cookie) else {
            return;
        };
        let rights = RIGHTS.map(|field| payload[field].clone());
        let key = SessionKey(hash("rights", &Value::from_iter(rights).to_string()));
        self.known.insert(hash("cookie", cookie), key);
    }
}

/// What a session ends by: its `uid`, or the cookie itself where there is none to read. Another session store's cookie
/// is the session's key; it stays the same for as long as the session lives.
fn session(cookie: &str) -> [u8; 32] {
    match payload(cookie).as_ref().map(|payload| &payload["uid"]) {
        Some(Value::String(uid)) => hash("uid", uid),
        Some(_) | None => hash("cookie", cookie),
    }
}

/// The signed fields: URL-safe base64 of JSON, behind a dot compressed by zlib, before the time and the signature
/// (`django/core/signing.py`, `sign_object`).
fn payload(cookie: &str) -> Option<Value> {
    let (signed, _signature) = cookie.rsplit_once(':')?;
    let (payload, _time) = signed.rsplit_once(':')?;
    let json = match payload.strip_prefix('.') {
        None => URL_SAFE_NO_PAD.decode(payload).ok()?,
        Some(compressed) => {
            let compressed = URL_SAFE_NO_PAD.decode(compressed).ok()?;
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&compressed, MAX_PAYLOAD)
                .ok()?
        }
    };
    serde_json::from_slice(&json).ok()
}

fn hash(what: &str, text: &str) -> [u8; 32] {
    let digest = digest(&SHA256, format!("{what}:{text}").as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

impl fmt::Debug for SessionKey {
    /// It stands for a credential: nothing of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(REDACTED)")
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(REDACTED)")
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests;

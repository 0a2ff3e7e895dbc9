//! What Label Studio is asked with: the caller's own credential, and nothing else of their request.
//!
//! Which of several credentials counts is Label Studio's to say (a bad `Bearer` falls through to the cookie there), so
//! all of them go on, and all of them name what is remembered.

use std::fmt;

use aws_lc_rs::digest;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::sessions::Watched;
use super::{Sessions, cookie};
use crate::auth::AuthError;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The caller's own credential, as they sent it. `Debug` prints `REDACTED`.
#[derive(Clone)]
pub struct Presented {
    /// The fields that are passed on, their values sensitive: `Cookie` reduced to Label Studio's session,
    /// `Authorization` of any scheme, `X-Api-Key`.
    pub fields: HeaderMap,
    /// Names the credential where something is remembered of it: two that have the same key are the same caller.
    pub key: [u8; 32],
    /// The session that is among it.
    session: Option<Watched>,
}

impl Presented {
    /// What a request presents. A session that has ended is not presented any more.
    ///
    /// # Errors
    /// [`AuthError::Missing`] or, where only what cannot count was sent, [`AuthError::Invalid`].
    pub fn of(headers: &HeaderMap, sessions: &Sessions) -> Result<Self, AuthError> {
        let mut fields = HeaderMap::new();
        let mut key = digest::Context::new(&digest::SHA256);
        let mut watched = None;
        for name in [AUTHORIZATION, API_KEY] {
            let mut values = headers.get_all(&name).iter();
            let Some(value) = values.next() else {
                continue;
            };
            // Which of two counts is not ours to guess (RFC 9110 §5.3).
            if values.next().is_some() {
                return Err(AuthError::Invalid("a credential field was sent twice"));
            }
            update(&mut key, name.as_str(), value.as_bytes());
            fields.insert(name, sensitive(value.clone()));
        }
        if let Some(session) = cookie::sent(headers) {
            let it = watched.insert(sessions.watched(&session));
            if !it.has_ended() {
                update(&mut key, cookie::NAME, sessions.of(&session).as_bytes());
                let pair = HeaderValue::try_from(format!("{}={session}", cookie::NAME));
                let pair = pair.map_err(|_| AuthError::Invalid("not a session cookie"))?;
                fields.insert(COOKIE, sensitive(pair));
            }
        }
        if fields.is_empty() {
            return Err(match watched {
                Some(_) => AuthError::Invalid("the session has ended"),
                None => AuthError::Missing,
            });
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(key.finish().as_ref());
        Ok(Self {
            // One that had ended before is no part of what is presented.
            session: watched.filter(|_| fields.contains_key(COOKIE)),
            fields,
            key: sum,
        })
    }

    /// Whether the session among it has ended since. Which credential counted is not known, so a token beside it does
    /// not help; the next request comes without the session.
    pub fn has_ended(&self) -> bool {
        self.session.as_ref().is_some_and(Watched::has_ended)
    }
}

/// Each with its length before it, so that no two lists of fields look the same.
fn update(key: &mut digest::Context, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        key.update(&(part.len() as u64).to_be_bytes());
        key.update(part);
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

impl PartialEq for Presented {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Presented {}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn presented(fields: &[(&'static str, &str)]) -> Result<Presented, AuthError> {
        Presented::of(&headers(fields), &Sessions::default())
    }

    #[test]
    fn only_credentials_are_passed_on_and_none_is_shown() {
        let it = presented(&[
            ("cookie", "csrftoken=c; sessionid=abc; theme=dark"),
            ("authorization", "Token 0b5e"),
            ("x-api-key", "7777"),
            ("accept-language", "de"),
            ("x-forwarded-for", "203.0.113.9"),
        ])
        .expect("they are there");
        assert_eq!(it.fields.len(), 3);
        assert_eq!(it.fields["cookie"], "sessionid=abc");
        assert_eq!(it.fields["authorization"], "Token 0b5e");
        assert_eq!(it.fields["x-api-key"], "7777");
        assert!(it.fields.values().all(HeaderValue::is_sensitive));
        assert_eq!(format!("{it:?}"), "REDACTED");
    }

    #[test]
    fn two_are_the_same_caller_where_all_they_present_is_the_same() {
        let of = |fields: &[(&'static str, &str)]| presented(fields).expect("they are there");
        let one = of(&[("authorization", "Token a"), ("cookie", "sessionid=s")]);
        let same = of(&[
            ("cookie", "theme=dark; sessionid=s"),
            ("authorization", "Token a"),
        ]);
        assert_eq!(one, same);
        for other in [
            &[("authorization", "Token a")][..],
            &[("authorization", "Token b"), ("cookie", "sessionid=s")],
            &[("x-api-key", "Token a"), ("cookie", "sessionid=s")],
        ] {
            assert_ne!(one, of(other));
        }
    }

    #[test]
    fn nothing_and_two_of_a_kind_are_no_credential() {
        for fields in [&[][..], &[("cookie", "theme=dark")]] {
            assert!(matches!(presented(fields), Err(AuthError::Missing)));
        }
        let twice = [
            ("authorization", "Token a"),
            ("authorization", "Token b"),
            ("cookie", "sessionid=a"),
        ];
        assert!(matches!(presented(&twice), Err(AuthError::Invalid(_))));
    }

    #[test]
    fn every_part_of_what_is_presented_is_part_of_its_key() {
        let all = [
            &[("authorization", "Token a")][..],
            &[("authorization", "Token b")],
            &[("x-api-key", "Token a")],
            &[("cookie", "sessionid=a")],
            &[("cookie", "sessionid=b")],
            &[("authorization", "Token a"), ("cookie", "sessionid=a")],
            &[("authorization", "Bearer bad"), ("cookie", "sessionid=a")],
            &[("authorization", "Bearer bad"), ("cookie", "sessionid=b")],
        ];
        let keys: std::collections::HashSet<_> = all
            .iter()
            .map(|fields| presented(fields).expect("a credential").key)
            .collect();
        assert_eq!(keys.len(), all.len());
        let other_cookies = [("cookie", "theme=dark; sessionid=a")];
        let (one, other) = (presented(all[3]), presented(&other_cookies));
        assert_eq!(one.expect("one").key, other.expect("the other").key);
    }

    #[test]
    fn a_session_that_has_ended_is_not_presented() {
        let sessions = Sessions::default();
        sessions.end("abc");
        let cookie = [("cookie", "sessionid=abc")];
        assert!(matches!(
            Presented::of(&headers(&cookie), &sessions),
            Err(AuthError::Invalid(_))
        ));
        let with_token = [("cookie", "sessionid=abc"), ("authorization", "Token a")];
        let it = Presented::of(&headers(&with_token), &sessions).expect("the token");
        assert!(!it.fields.contains_key(COOKIE));
    }
}

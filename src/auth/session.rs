//! The session cookie: how `<img>`, `<audio>` and `<video>`, which send no headers, say who asks.
//!
//! Its value is the token itself, so that a session is verified like any token and nothing is kept here.
//! Follows RFC 6265 and, for the `__Host-` prefix, draft-ietf-httpbis-rfc6265bis §4.1.3.2.

use std::time::SystemTime;

use http::HeaderValue;

/// Browsers keep cookies of at most 4,096 bytes, name and attributes included (RFC 6265 §6.1).
const MAX_TOKEN_BYTES: usize = 3_800;

/// Why a token cannot be a session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Over 3,800 bytes: a browser would drop the cookie without a word.
    #[error("the token is too long for a cookie")]
    TooLong,
    /// Empty, or with bytes that a cookie's value cannot hold; a verified token has none.
    #[error("the token is not a cookie value")]
    NotACookieValue,
}

/// The cookie's name and attributes, as the scheme of the site allows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    secure: bool,
}

impl SessionCookie {
    /// `secure` where browsers reach the site over TLS. Over plain HTTP they would refuse the `Secure`
    /// attribute, and the `__Host-` prefix that demands it.
    pub fn new(secure: bool) -> Self {
        Self { secure }
    }

    /// `__Host-lockgate`, or `lockgate` over plain HTTP.
    pub fn name(&self) -> &'static str {
        match self.secure {
            true => "__Host-lockgate",
            false => "lockgate",
        }
    }

    /// The token in the request's `Cookie` fields, if there is one. Other cookies may hold any bytes.
    pub fn find<'h>(&self, fields: impl IntoIterator<Item = &'h HeaderValue>) -> Option<&'h str> {
        fields
            .into_iter()
            .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
            .find_map(|pair| {
                let value = pair
                    .trim_ascii()
                    .strip_prefix(self.name().as_bytes())?
                    .strip_prefix(b"=")?;
                std::str::from_utf8(value).ok().filter(|v| !v.is_empty())
            })
    }

    /// The `Set-Cookie` that makes `token` the session until `expires_at`.
    ///
    /// # Errors
    /// Where the token does not fit a cookie.
    pub fn set(
        &self,
        token: &str,
        expires_at: SystemTime,
        now: SystemTime,
    ) -> Result<HeaderValue, SessionError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SessionError::TooLong);
        }
        let of_a_jwt =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if token.is_empty() || !token.bytes().all(of_a_jwt) {
            return Err(SessionError::NotACookieValue);
        }
        let life = expires_at.duration_since(now).unwrap_or_default();
        let mut cookie = HeaderValue::try_from(self.cookie(token, life.as_secs()))
            .map_err(|_| SessionError::NotACookieValue)?;
        cookie.set_sensitive(true);
        Ok(cookie)
    }

    /// The `Set-Cookie` that ends the session.
    pub fn clear(&self) -> HeaderValue {
        HeaderValue::try_from(self.cookie("", 0)).expect("names and attributes are ascii")
    }

    fn cookie(&self, value: &str, max_age: u64) -> String {
        let name = self.name();
        let secure = if self.secure { "; Secure" } else { "" };
        // Lax: media in a page of the same site, and links to it, but no other site's <img> or form.
        format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly{secure}; SameSite=Lax")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const SECURE: SessionCookie = SessionCookie { secure: true };
    const PLAIN: SessionCookie = SessionCookie { secure: false };

    #[test]
    fn the_cookie_lives_as_long_as_the_token() {
        let expires_at = UNIX_EPOCH + Duration::from_millis(90_999);
        let cookie = SECURE.set("a.b-_.c", expires_at, UNIX_EPOCH).unwrap();
        assert_eq!(
            cookie,
            "__Host-lockgate=a.b-_.c; Path=/; Max-Age=90; HttpOnly; Secure; SameSite=Lax"
        );
        let late = expires_at + Duration::from_secs(1);
        let cookie = SECURE.set("a.b.c", expires_at, late).unwrap();
        assert!(cookie.to_str().unwrap().contains("Max-Age=0;"));
    }

    #[test]
    fn over_plain_http_the_cookie_has_neither_prefix_nor_secure() {
        let expires_at = UNIX_EPOCH + Duration::from_secs(90);
        assert_eq!(
            PLAIN.set("a.b.c", expires_at, UNIX_EPOCH).unwrap(),
            "lockgate=a.b.c; Path=/; Max-Age=90; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_cleared_cookie_has_the_attributes_it_was_set_with() {
        assert_eq!(
            SECURE.clear(),
            "__Host-lockgate=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
        );
        assert_eq!(
            PLAIN.clear(),
            "lockgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn what_does_not_fit_a_cookie_is_refused() {
        let set = |token: &str| PLAIN.set(token, UNIX_EPOCH, UNIX_EPOCH);
        assert!(set(&"a".repeat(3_800)).is_ok());
        assert_eq!(set(&"a".repeat(3_801)), Err(SessionError::TooLong));
        for token in ["", "a; Domain=evil", "a\r\nb", "a,b", "\"a\"", "ä"] {
            assert_eq!(set(token), Err(SessionError::NotACookieValue), "{token}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let table = [
            (&["__Host-lockgate=a.b.c"][..], Some("a.b.c")),
            (&["x=1; __Host-lockgate=t;y=2"], Some("t")),
            (&["x=1", "y=2;  __Host-lockgate=t "], Some("t")),
            (&["x=\u{e9}; __Host-lockgate=t"], Some("t")),
            (
                &["__Host-lockgate=first; __Host-lockgate=second"],
                Some("first"),
            ),
            (&["__Host-lockgate=", "x=1"], None),
            (&["__host-lockgate=t"], None),
            (&["lockgate=t"], None),
            (&["__Host-lockgate2=t", "x__Host-lockgate=t"], None),
            (&["__Host-lockgate"], None),
            (&["x=\"__Host-lockgate=t"], None),
            (&[], None),
        ];
        for (fields, expected) in table {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| HeaderValue::from_bytes(field.as_bytes()).unwrap())
                .collect();
            assert_eq!(SECURE.find(&fields), expected, "{fields:?}");
        }
    }
}

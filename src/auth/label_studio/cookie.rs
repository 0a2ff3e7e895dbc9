//! The session cookie in a request's `Cookie` fields and in an answer's `Set-Cookie`, read as Django reads them.
//!
//! Who checks one spelling of a cookie while Label Studio reads another checks nothing, so what goes on to it is
//! written anew: the one pair that Django would take, or none. Follows `django/http/cookie.py` (`parse_cookie`) and
//! RFC 6265 §4.2; several fields are one, joined (RFC 9113 §8.2.3).

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// Django's `SESSION_COOKIE_NAME`, which Label Studio leaves as it is.
pub const NAME: &str = "sessionid";
/// Browsers keep no cookie of more than 4,096 bytes (RFC 6265 §6.1).
const MAX_LENGTH: usize = 4096;

/// The session's cookie of a request, if it has one that can be one of Django's. The last of several counts, as it
/// does to Django. To ask Label Studio on the caller's behalf, send this and not the caller's own field.
pub fn sent(headers: &HeaderMap) -> Option<String> {
    let text = joined(headers);
    let value = pairs(&text)
        .filter(|(name, _)| *name == NAME)
        .last()
        .map(|(_, value)| value)?;
    is_plain(value).then(|| value.to_owned())
}

/// The value that an answer sets for the session's cookie; none where it sets none, or takes it away.
pub fn set(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(SET_COOKIE).iter();
    let mut values = fields.filter_map(|field| {
        let pair = field.to_str().ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.trim() == NAME).then(|| value.trim())
    });
    values.next_back().filter(|value| is_plain(value))
}

/// Whether an answer takes the session's cookie away (`HttpResponse.delete_cookie` sets it to nothing, in quotes).
pub fn is_taken_away(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(SET_COOKIE).iter();
    let mut values = fields.filter_map(|field| {
        let pair = field.to_str().ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        (name.trim() == NAME).then(|| value.trim().trim_matches('"'))
    });
    values.next_back().is_some_and(str::is_empty)
}

/// The `Cookie` field as it goes on: every pair but the session's as it was, in one field, and then `session`.
/// `None`: nothing is left of it.
pub fn rewritten(headers: &HeaderMap, session: Option<&str>) -> Option<HeaderValue> {
    let text = joined(headers);
    let own = session.map(|value| format!("{NAME}={value}"));
    let others = text
        .split(';')
        .filter(|chunk| pairs(chunk).all(|(name, _)| name != NAME));
    let kept: Vec<&str> = others
        .map(str::trim)
        .filter(|chunk| !chunk.is_empty())
        .chain(own.as_deref())
        .collect();
    let mut field = HeaderValue::try_from(kept.join("; ")).ok()?;
    field.set_sensitive(true);
    (!field.is_empty()).then_some(field)
}

/// Bytes that are no UTF-8 are replaced, as Django replaces them.
fn joined(headers: &HeaderMap) -> String {
    let fields: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(|field| String::from_utf8_lossy(field.as_bytes()))
        .collect();
    fields.join("; ")
}

/// Python's `strip` takes away what Unicode calls white space, and so does `trim`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').map(|chunk| {
        let (name, value) = chunk.split_once('=').unwrap_or(("", chunk));
        (name.trim(), value.trim())
    })
}

/// What Django signs, and the keys of its other session stores. A quoted value is unquoted by Django, so one and the
/// same cookie would have many spellings; browsers send none.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=".contains(&byte);
    (1..=MAX_LENGTH).contains(&value.len()) && value.bytes().all(plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(&name, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_session_is_the_pair_that_django_takes() {
        for (fields, expected) in [
            (&["sessionid=a:b-_.c="][..], Some("a:b-_.c=")),
            (&["csrftoken=x; sessionid=a"], Some("a")),
            (&["sessionid=a; sessionid=b"], Some("b")),
            (&["sessionid=b", "sessionid=a"], Some("a")),
            (&["\u{a0}sessionid\u{2003}=\u{85}a"], Some("a")),
            (&["sessionid=\"a\""], None),
            (&["sessionid=a; sessionid=\"b\""], None),
            (&["sessionid=a b"], None),
            (&["sessionid="], None),
            (&["Sessionid=a", "xsessionid=b"], None),
            (&["sessionid"], None),
            (&[], None),
        ] {
            assert_eq!(
                sent(&headers(COOKIE, fields)).as_deref(),
                expected,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_goes_on_has_one_spelling_of_the_session_or_none() {
        let fields = [
            "csrftoken=x;sessionid=a; \u{a0}sessionid=\"q\"",
            "sessionid=b; z=\u{e9}",
        ];
        let headers = headers(COOKIE, &fields);
        let kept = rewritten(&headers, Some("b")).unwrap();
        assert_eq!(
            kept.as_bytes(),
            "csrftoken=x; z=\u{e9}; sessionid=b".as_bytes()
        );
        assert!(kept.is_sensitive());
        let kept = rewritten(&headers, None).unwrap();
        assert_eq!(kept.as_bytes(), "csrftoken=x; z=\u{e9}".as_bytes());
    }

    #[test]
    fn a_field_of_nothing_but_the_session_goes_with_it() {
        assert_eq!(rewritten(&headers(COOKIE, &["sessionid=a"]), None), None);
    }

    #[test]
    fn a_cookie_that_is_taken_away_is_none_that_is_set() {
        let gone = r#"sessionid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"#;
        for (fields, expected) in [
            (&["sessionid=a:b; HttpOnly; Path=/"][..], Some("a:b")),
            (&["csrftoken=x", "sessionid=a"], Some("a")),
            (&["csrftoken=x; sessionid=a"], None),
            (&[gone], None),
            (&[], None),
        ] {
            assert_eq!(set(&headers(SET_COOKIE, fields)), expected, "{fields:?}");
        }
    }
}

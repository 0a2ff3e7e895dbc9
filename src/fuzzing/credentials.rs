//! Credentials in a request's head: one bearer token or none, the first cookie of the right name, and nothing made up.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Request};

use crate::serve::credentials::credentials as read;

const NAME: &str = "__Host-lockgate";

/// The fields, one a line: `a` for `Authorization`, `c` for `Cookie`, then the value.
pub fn credentials(input: &[u8]) {
    let mut request = Request::new(());
    for line in input.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        let name: HeaderName = if *kind == b'a' { AUTHORIZATION } else { COOKIE };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name, value);
        }
    }
    let parts = request.into_parts().0;
    let found = read(&parts, NAME, false);
    let all = |name| parts.headers.get_all(name).iter().map(HeaderValue::to_str);
    assert_eq!(found.query, None);

    let fields: Vec<_> = all(AUTHORIZATION).collect();
    let expected = match fields[..] {
        [] => None,
        [Ok(field)] => bearer(field),
        // Which of two says who somebody is would be a guess: an invalid token, never none.
        _ => Some(""),
    };
    assert_eq!(found.bearer, expected);

    let readable: Vec<_> = all(COOKIE).filter_map(Result::ok).collect();
    assert_eq!(found.cookie, cookie(&readable.join(";")));
}

/// RFC 9110 §11.4: the scheme in any case, a space, the token.
fn bearer(field: &str) -> Option<&str> {
    let scheme = field.get(..6)?;
    let rest = &field[6..];
    let ends = rest.is_empty() || rest.starts_with(' ');
    (scheme.eq_ignore_ascii_case("bearer") && ends).then(|| rest.trim())
}

/// RFC 6265 §5.4: `name=value` between semicolons, where there is a value.
fn cookie(line: &str) -> Option<&str> {
    for pair in line.split(';') {
        if let Some(equals) = pair.find('=')
            && pair[..equals].trim_start() == NAME
            && let value = pair[equals + 1..].trim_end()
            && !value.is_empty()
        {
            return Some(value);
        }
    }
    None
}

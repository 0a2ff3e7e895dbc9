//! A string of a task's data as it is written in JSON, with the media URIs in it replaced by their media routes.
//!
//! Every byte of the literal that is no part of such a URI stays as it was written, escapes and all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use crate::authority::mentions::{Quoted, quoted};

/// The dialects that no browser loads by itself. An `https://` URL is left alone, as Label Studio leaves it: it may be
/// anybody's; and `/data/local-files/` is a media route already.
const UNLOADABLE: &[&str] = &["s3", "gs", "azure-blob", "dbx", "redis", "local"];

/// The literal, quotes and all, with its media URIs replaced; `None` where it has none, or is no text.
pub(super) fn with_media_routes(literal: &[u8], task: u64) -> Option<Vec<u8>> {
    let text: String = serde_json::from_slice(literal).ok()?;
    let mut place = Place::behind_the_quote();
    let mut written = Vec::new();
    let mut copied = 0;
    for Quoted { range, uri } in quoted(&text).into_iter().filter(has_no_route) {
        let begin = place.advance(literal, range.start);
        let end = place.advance(literal, range.end);
        written.extend_from_slice(&literal[copied..begin]);
        written.extend_from_slice(media_route(task, &uri).as_bytes());
        copied = end;
    }
    if copied == 0 {
        return None;
    }
    written.extend_from_slice(&literal[copied..]);
    Some(written)
}

fn has_no_route(found: &Quoted<'_>) -> bool {
    let scheme = found.uri.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| UNLOADABLE.iter().any(|s| s.eq_ignore_ascii_case(scheme)))
}

/// As Label Studio writes it: relative, the URI in padded URL-safe base64. None of its characters is escaped in JSON,
/// in HTML, or in either of them within the other.
fn media_route(task: u64, uri: &str) -> String {
    format!("/tasks/{task}/resolve/?fileuri={}", URL_SAFE.encode(uri))
}

/// The same place in the literal and in the text that it says, in bytes.
struct Place {
    written: usize,
    said: usize,
}

impl Place {
    fn behind_the_quote() -> Self {
        Self {
            written: 1,
            said: 0,
        }
    }

    /// Where in the literal that byte of its text is. The literal is known to be well-formed.
    fn advance(&mut self, literal: &[u8], said: usize) -> usize {
        while self.said < said {
            let rest = &literal[self.written..];
            let (written, said) = match rest {
                [b'\\', b'u', digits @ ..] => unicode_escape(digits),
                [b'\\', ..] => (2, 1),
                _ => (1, 1),
            };
            self.written += written;
            self.said += said;
        }
        self.written
    }
}

/// RFC 8259 §7: how many bytes `\uXXXX`, or a surrogate pair of two such, is written in, and how many of UTF-8 it says.
fn unicode_escape(digits: &[u8]) -> (usize, usize) {
    let hex = digits.iter().take(4);
    let unit = hex.fold(0, |unit, digit| {
        unit << 4 | char::from(*digit).to_digit(16).unwrap_or_default()
    });
    match unit {
        0xd800..=0xdfff => (12, 4),
        0x800.. => (6, 3),
        0x80.. => (6, 2),
        _ => (6, 1),
    }
}

//! What type media is said to be, and what a browser may do with that type.
//!
//! Pure: knows no bytes, since nothing is sniffed (WHATWG MIME Sniffing is switched off by `nosniff`). Storage's own
//! type counts; where that says nothing, the extension does, but never for HTML: whoever may put a file into a bucket
//! must not thereby put a page on the gateway's origin.

use std::borrow::Cow;

use http::HeaderValue;

/// What is known of nothing in particular.
const UNKNOWN: &str = "application/octet-stream";

/// A `Content-Type` that is safe to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    value: HeaderValue,
    /// `type/subtype`, lower case.
    essence: Cow<'static, str>,
}

/// What nearly all media is said to be: nothing of these need be parsed or copied.
const USUAL: [&str; 12] = [
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "video/mp4",
    "video/webm",
    "audio/mpeg",
    "audio/wav",
    "audio/ogg",
    "text/plain",
    "application/json",
    "application/pdf",
];

impl ContentType {
    /// Storage's own type; where there is none, or none that says or means anything, the extension's.
    pub fn of(stored: Option<&str>, key: &str) -> Self {
        let own = stored
            .filter(|stored| !says_nothing(stored))
            .and_then(Self::parse)
            .filter(|own| !says_nothing(&own.essence));
        own.or_else(|| guess(key).and_then(Self::parse))
            .unwrap_or_else(|| Self {
                value: HeaderValue::from_static(UNKNOWN),
                essence: Cow::Borrowed(UNKNOWN),
            })
    }

    /// `None` for what is no one media type (RFC 9110 §8.3.1), so that no browser reads another out of it: a control
    /// byte, a byte that is not ASCII, a broken name, or a comma, which would begin a second one.
    fn parse(text: &str) -> Option<Self> {
        if let Some(usual) = USUAL.iter().find(|usual| **usual == text) {
            return Some(Self {
                value: HeaderValue::from_static(usual),
                essence: Cow::Borrowed(usual),
            });
        }
        let text = text.trim_matches([' ', '\t']);
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || has_bare_comma(text) {
            return None;
        }
        let essence = text.split(';').next()?.trim_end().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let valid = is_token(kind) && is_token(subtype);
        let value = HeaderValue::from_str(text).ok()?;
        let essence = Cow::Owned(essence);
        valid.then_some(Self { value, essence })
    }

    /// As `Content-Type` has it.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// As `Accept` is compared with it.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether a browser may show it in place: image, audio, video, text, PDF.
    pub fn is_inline(&self) -> bool {
        let kind = self.essence.split('/').next().unwrap_or_default();
        matches!(kind, "image" | "audio" | "video" | "text") || self.essence == "application/pdf"
    }

    /// Whether it may hold script that a browser runs when it is opened: HTML, SVG and all other XML.
    pub fn is_active(&self) -> bool {
        let subtype = self.essence.split('/').nth(1).unwrap_or_default();
        matches!(subtype, "html" | "xml" | "xsl") || subtype.ends_with("+xml")
    }
}

/// What storage says of what it was told nothing about.
fn says_nothing(essence: &str) -> bool {
    matches!(essence, UNKNOWN | "binary/octet-stream")
}

/// The type that a key's extension stands for, which is never HTML's: also for a presigned URL's
/// `response-content-type`.
pub fn guess(key: &str) -> Option<&'static str> {
    // Of the last component alone: the crate reads paths as the platform does.
    let (_, extension) = key.rsplit('/').next()?.rsplit_once('.')?;
    let guessed = mime_guess::from_ext(extension).first_raw()?;
    (!matches!(guessed, "text/html" | "application/xhtml+xml" | UNKNOWN)).then_some(guessed)
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(tchar)
}

/// A comma outside a quoted string. Within one it is ordinary: `codecs="avc1.4d401e, mp4a.40.2"`.
fn has_bare_comma(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
    }
    // A quoted string that does not end holds what browsers may read otherwise.
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_own_type_counts_and_the_extension_only_where_it_says_nothing() {
        for (stored, key, sent) in [
            (Some("image/png"), "a.jpg", "image/png"),
            (
                Some("text/plain; charset=utf-8"),
                "a",
                "text/plain; charset=utf-8",
            ),
            (Some("text/html"), "a.png", "text/html"),
            (
                Some("video/mp4; codecs=\"a, b\""),
                "a",
                "video/mp4; codecs=\"a, b\"",
            ),
            (Some("Application/Octet-Stream"), "a.PNG", "image/png"),
            (Some("binary/octet-stream"), "a/b.wav", "audio/wav"),
            (Some(""), "a.mp4", "video/mp4"),
            (None, "a.svg", "image/svg+xml"),
            (None, "a.pdf", "application/pdf"),
            (None, "a.html", UNKNOWN),
            (None, "a.htm", UNKNOWN),
            (Some("application/octet-stream"), "a.xhtml", UNKNOWN),
            (None, "a.b/c", UNKNOWN),
            (None, "png", UNKNOWN),
            (None, "a.", UNKNOWN),
            (None, "", UNKNOWN),
            (Some("image/png\r\nSet-Cookie: a=b"), "a", UNKNOWN),
            (Some("image/png\u{7f}"), "a", UNKNOWN),
            (Some("image/png\t"), "a", "image/png"),
            (Some("image/p\tng"), "a", UNKNOWN),
            (Some("image/ä"), "a.png", "image/png"),
            (Some("image/png, text/html"), "a", UNKNOWN),
            (Some("image/png; x=\", text/html"), "a", UNKNOWN),
            (Some("png"), "a", UNKNOWN),
            (Some("image/"), "a", UNKNOWN),
            (Some("image /png"), "a", UNKNOWN),
        ] {
            assert_eq!(
                ContentType::of(stored, key).value(),
                sent,
                "{stored:?} {key}"
            );
        }
    }

    #[test]
    fn what_a_browser_may_do_follows_from_the_type() {
        for (stored, inline, active) in [
            ("image/png", true, false),
            ("audio/wav", true, false),
            ("video/mp4", true, false),
            ("text/csv", true, false),
            ("application/pdf", true, false),
            ("Text/HTML; charset=utf-8", true, true),
            ("image/svg+xml", true, true),
            ("text/xml", true, true),
            ("text/xsl", true, true),
            ("application/xml", false, true),
            ("application/xhtml+xml", false, true),
            ("application/rss+xml", false, true),
            ("application/json", false, false),
            ("application/zip", false, false),
            ("application/octet-stream", false, false),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                false,
                false,
            ),
        ] {
            let content_type = ContentType::of(Some(stored), "k");
            assert_eq!(
                (content_type.is_inline(), content_type.is_active()),
                (inline, active),
                "{stored}"
            );
        }
    }

    #[test]
    fn no_extension_is_upgraded_to_html() {
        for extension in [
            "html", "htm", "HTML", "xhtml", "xht", "shtml", "hta", "mhtml",
        ] {
            let sent = ContentType::of(None, &format!("a.{extension}"));
            assert!(!sent.essence().contains("html"), "{extension} {sent:?}");
        }
    }
}

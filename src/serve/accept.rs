//! Whether a client takes the one type that an object has, and as what. Pure; there is nothing to choose from.
//!
//! Follows RFC 9110 §12.5.1, and Fetch Metadata §2.1. Parameters of media ranges other than `q` are not compared: a
//! client that names one means the type, and a 406 helps nobody.

use http::header::{ACCEPT, HeaderMap};

/// What `Sec-Fetch-Dest` says where a page would run what it fetches, in its own origin's name. Media is data: somebody
/// who may upload it must not thereby put a script past the editor's Content-Security-Policy.
const RUN: [&str; 8] = [
    "script",
    "style",
    "xslt",
    "worker",
    "sharedworker",
    "serviceworker",
    "audioworklet",
    "paintworklet",
];

/// False where a browser says that it would run what it gets.
pub fn is_data(headers: &HeaderMap) -> bool {
    let destination = headers.get("sec-fetch-dest");
    !destination.is_some_and(|destination| RUN.iter().any(|run| destination == run))
}

/// False only where the request's `Accept` rules the type out: no media range matches it, or the most specific that
/// does has `q=0`. Without the field, or with nothing in it that can be read, anything is acceptable.
pub fn acceptable(headers: &HeaderMap, content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return true;
    };
    let lines = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let ranges = lines
        .flat_map(|line| line.split(','))
        .filter_map(MediaRange::parse);
    // Of the ranges that match, the most specific decides; of two of these, the kinder.
    let mut any_range = false;
    let mut best: Option<(u8, bool)> = None;
    for range in ranges {
        any_range = true;
        best = best.max(
            range
                .specificity(kind, subtype)
                .map(|specificity| (specificity, range.wanted)),
        );
    }
    !any_range || best.is_some_and(|(_, wanted)| wanted)
}

struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// `q` is not 0.
    wanted: bool,
}

impl<'a> MediaRange<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weights = parts.filter_map(|parameter| parameter.split_once('='));
        let mut weights = weights.filter(|(name, _)| name.eq_ignore_ascii_case("q"));
        let wanted = weights.next().is_none_or(|(_, q)| q.parse() != Ok(0.0));
        Some(Self {
            kind,
            subtype,
            wanted,
        })
    }

    /// How closely the range names the type: 0 for `*/*`, 2 for the type itself; `None` where it does not.
    fn specificity(&self, kind: &str, subtype: &str) -> Option<u8> {
        let (same_kind, same_subtype) = (
            self.kind.eq_ignore_ascii_case(kind),
            self.subtype.eq_ignore_ascii_case(subtype),
        );
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (_, "*") if same_kind => Some(1),
            _ if same_kind && same_subtype => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_refused_only_where_accept_rules_it_out() {
        for (accept, content_type, expected) in [
            (&[][..], "image/png", true),
            (&["*/*"], "image/png", true),
            (&["image/png"], "image/png", true),
            (&["IMAGE/PNG"], "image/png", true),
            (&["image/*"], "image/png; x=y", true),
            (
                &["image/avif,image/webp,image/*,*/*;q=0.8"],
                "video/mp4",
                true,
            ),
            (
                &["audio/*;q=0.9, application/ogg;q=0.7"],
                "video/mp4",
                false,
            ),
            (&["text/html", "image/png"], "image/png", true),
            (&["text/html"], "image/png", false),
            (&["image/pn"], "image/png", false),
            (&["*/*;q=0"], "image/png", false),
            (&["image/png;q=0, */*"], "image/png", false),
            (&["image/png;q=0.0, image/*"], "image/png", false),
            (&["image/*;q=0, image/png"], "image/png", true),
            (&["image/png;q=0, image/png;q=1"], "image/png", true),
            (&["text/html;level=1"], "text/html; charset=utf-8", true),
            (&["image/png;q=nonsense"], "image/png", true),
            (&[""], "image/png", true),
            (&["garbage"], "image/png", true),
        ] {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, line.parse().unwrap());
            }
            assert_eq!(
                acceptable(&headers, content_type),
                expected,
                "{accept:?} {content_type}"
            );
        }
    }
}

//! Media URIs in a task's strings: a string that is one, or text and HTML that mention some. Pure.
//!
//! Never guesses beyond contract §2's dialects. What is found too much names at worst an object that is not there; what
//! a string only resembles (`xs3://…`) is not found.

use std::borrow::Cow;
use std::ops::Range;

use crate::media_uri::{MAX_URI_LENGTH, MediaUri};

const SCHEMES: &[&str] = &[
    "s3",
    "gs",
    "azure-blob",
    "dbx",
    "redis",
    "https",
    "http",
    "local",
];
const LOCAL_FILES: &str = "/data/local-files";

/// What may stand before a URI and then also ends it: quotes as JSON in text, HTML and HTML in HTML have them.
const QUOTES: &[&str] = &["\\\"", "\"", "'", "&quot;", "&#34;", "&#39;", "&apos;"];

/// What stands between the items of a list in one string, beside white space.
const SEPARATORS: &[char] = &[',', ';', '|'];

/// Calls `found` with every media URI that a string of a task's data names.
pub fn mentions(text: &str, mut found: impl FnMut(MediaUri)) {
    let text = text.trim();
    let begins = beginnings(text);
    let mut keep = |candidate: &str| {
        if let Ok(uri) = MediaUri::parse(candidate) {
            found(uri);
        }
    };
    if begins == [0] && !text.contains(['\n', '\r']) {
        keep(text);
        // With a quote or a tag in it, it may as well be text that begins with a URI.
        if !text.contains(['"', '\'', '<', '>']) {
            return;
        }
    }
    for index in 0..begins.len() {
        for candidate in spellings(text, &begins, index) {
            keep(candidate);
            if let Cow::Owned(decoded) = decode_entities(candidate) {
                keep(&decoded);
            }
        }
    }
}

/// A URI that can be replaced where it stands in a string.
#[derive(Debug, PartialEq, Eq)]
pub struct Quoted<'t> {
    /// Where it stands in the string, in bytes.
    pub range: Range<usize>,
    /// The URI, with HTML's entities decoded where it stands among other text.
    pub uri: Cow<'t, str>,
}

/// The URIs whose beginning and end are beyond doubt, in order: the whole string where it is one, else each between
/// quotes. [`mentions`] names every one of them, so that what is put in their place leads to what the access check allows.
pub fn quoted(text: &str) -> Vec<Quoted<'_>> {
    let begin = text.len() - text.trim_start().len();
    let text = text.trim();
    let begins = beginnings(text);
    if begins == [0] && !text.contains(['\n', '\r']) {
        let (range, uri) = (begin..begin + text.len(), text.into());
        return MediaUri::parse(text)
            .map(|_| Quoted { range, uri })
            .into_iter()
            .collect();
    }
    let between_quotes = (0..begins.len()).filter_map(|index| {
        let range = between_quotes(text, &begins, index)?;
        let uri = decode_entities(&text[range.clone()]);
        MediaUri::parse(&uri).ok()?;
        let range = begin + range.start..begin + range.end;
        Some(Quoted { range, uri })
    });
    between_quotes.collect()
}

/// Where dialects begin, in order.
fn beginnings(text: &str) -> Vec<usize> {
    let schemes = text.match_indices("://").filter_map(|(colon, _)| {
        let before = &text.as_bytes()[..colon];
        let begin = before
            .iter()
            .rposition(|b| !b.is_ascii_alphanumeric() && !b"+-".contains(b))
            .map_or(0, |separator| separator + 1);
        let scheme = &before[begin..];
        let known = SCHEMES
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s.as_bytes()));
        known.then_some(begin)
    });
    let local_files = text.match_indices(LOCAL_FILES).filter_map(|(begin, _)| {
        let rest = &text[begin + LOCAL_FILES.len()..];
        (rest.starts_with("/?") || rest.starts_with('?')).then_some(begin)
    });
    let mut begins: Vec<usize> = schemes.chain(local_files).collect();
    begins.sort_unstable();
    begins
}

/// The readings of a mention: to its closing quote or parenthesis where one opened before it, else to the next blank,
/// quote or tag, with and without the punctuation of the sentence around it, and as an item of a list.
fn spellings<'t>(text: &'t str, begins: &[usize], index: usize) -> Vec<&'t str> {
    if let Some(range) = between_quotes(text, begins, index) {
        return vec![&text[range]];
    }
    let begin = begins[index];
    let next = begins.get(index + 1).copied().unwrap_or(text.len());
    let (before, rest) = text.split_at(begin);
    let rest = &rest[..within_reach(rest)];
    if before.ends_with('(')
        && let Some(end) = closing_parenthesis(rest).filter(|end| begin + end <= next)
    {
        return vec![&rest[..end]];
    }
    let end = rest
        .find(|c: char| c.is_whitespace() || "\"'<>".contains(c))
        .unwrap_or(rest.len());
    let word = &rest[..end];
    let bare = word.trim_end_matches(|c| ".,;:!?)]}".contains(c));
    let mut spellings = vec![word];
    if bare.len() < word.len() {
        spellings.push(bare);
    }
    // The last is read to the end only where the text begins with a URI, and so may be a list of them: elsewhere the
    // rest of a sentence follows.
    let may_be_item = next < text.len() || begins[0] == 0;
    let item = list_item(&text[begin..next]);
    spellings.extend(item.filter(|item| may_be_item && *item != word && *item != bare));
    spellings
}

/// From a quote to its like. Where a second URI begins before that, it is a list such as `srcset`, or the quotes belong
/// to others.
fn between_quotes(text: &str, begins: &[usize], index: usize) -> Option<Range<usize>> {
    let begin = begins[index];
    let next = begins.get(index + 1).copied().unwrap_or(text.len());
    let (before, rest) = text.split_at(begin);
    let quote = QUOTES.iter().find(|&&quote| before.ends_with(quote))?;
    let end = begin + rest[..within_reach(rest)].find(quote)?;
    (end <= next).then_some(begin..end)
}

/// Past a URI's greatest length, and a character more, there is nothing to find: without this bound a text full of
/// open parentheses would be read to its end for each of them.
fn within_reach(rest: &str) -> usize {
    rest.floor_char_boundary(MAX_URI_LENGTH + 4)
}

/// From one URI to where the next begins, as in `s3://b/a b.png, s3://b/c.png`.
fn list_item(text: &str) -> Option<&str> {
    let item = text.trim_end_matches(|c: char| c.is_whitespace() || SEPARATORS.contains(&c));
    (!item.contains(['\n', '\r', '"', '\'', '<', '>'])).then_some(item)
}

fn closing_parenthesis(rest: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\n' => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Decodes the entities that HTML must use in attributes and text, once; borrowed where there are none.
fn decode_entities(text: &str) -> Cow<'_, str> {
    const ENTITIES: &[(&str, &str)] = &[
        ("&amp;", "&"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ];
    let entity_at = |rest: &str| {
        ENTITIES
            .iter()
            .find(|(entity, _)| rest.starts_with(entity))
            .copied()
    };
    if !text
        .match_indices('&')
        .any(|(at, _)| entity_at(&text[at..]).is_some())
    {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (plain, from_ampersand) = rest.split_at(at);
        let (entity, meaning) = entity_at(from_ampersand).unwrap_or(("&", "&"));
        decoded.push_str(plain);
        decoded.push_str(meaning);
        rest = &from_ampersand[entity.len()..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut uris = vec![];
        mentions(text, |uri| uris.push(uri.to_string()));
        uris
    }

    #[test]
    fn a_string_that_is_a_uri_is_that_uri_whole() {
        for text in [
            "s3://bucket/key",
            "s3://bucket/with space + (1).png",
            "s3://bucket/a?b#c%20d&amp",
            "s3://bucket/ends.with.dot.",
            "gs://bucket/object",
            "azure-blob://container/blob",
            "redis://host/key",
            "dbx://Volumes/c/s/v/a.png",
        ] {
            assert_eq!(found(text), [text]);
        }
        assert_eq!(found("  s3://bucket/key\n"), ["s3://bucket/key"]);
        assert!(found("s3://bucket/anna's cut.mp4").contains(&"s3://bucket/anna's cut.mp4".into()));
        assert_eq!(found("/data/local-files/?d=clips/intro.wav").len(), 1);
        assert_eq!(found("local://workstation/clips/intro.wav").len(), 1);
    }

    #[test]
    fn text_and_html_name_every_uri_in_them() {
        for (text, expected) in [
            (
                "<img src=\"s3://b/a b.png\"> <img src='s3://b/c.png'>",
                &["s3://b/a b.png", "s3://b/c.png"][..],
            ),
            (
                "<a href=\"s3://b/x&amp;y\">",
                &["s3://b/x&amp;y", "s3://b/x&y"],
            ),
            (
                "&lt;img src=&quot;s3://b/it&#39;s.png&quot;&gt;",
                &["s3://b/it&#39;s.png", "s3://b/it's.png"],
            ),
            ("<img src=s3://b/a.png>", &["s3://b/a.png"]),
            (
                "see s3://b/a.png, then s3://b/b.png.",
                &[
                    "s3://b/a.png,",
                    "s3://b/a.png",
                    "s3://b/a.png, then",
                    "s3://b/b.png.",
                    "s3://b/b.png",
                ],
            ),
            (
                "![one](s3://b/a (1).png) and (s3://b/b.png)",
                &["s3://b/a (1).png", "s3://b/b.png"],
            ),
            ("{\"url\": \"s3://b/k\", \"n\": 1}", &["s3://b/k"]),
            ("{\\\"url\\\": \\\"s3://b/k\\\"}", &["s3://b/k"]),
            (
                "<img srcset=\"s3://b/1.png 1x, s3://b/2.png 2x\">",
                &["s3://b/1.png", "s3://b/1.png 1x", "s3://b/2.png"],
            ),
            (
                "s3://b/a.png\ns3://b/b c.png",
                &["s3://b/a.png", "s3://b/b", "s3://b/b c.png"],
            ),
            ("background: url(s3://b/a.png)", &["s3://b/a.png"]),
            ("xs3://b/k and my-local://b/k", &[]),
            ("no media at all", &[]),
            ("", &[]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn a_uri_alone_or_in_quotes_is_told_with_its_place() {
        for (text, expected) in [
            ("s3://b/it's a \"k\".png", &["s3://b/it's a \"k\".png"][..]),
            (
                " dbx://Volumes/c/s/v/a.png\n",
                &["dbx://Volumes/c/s/v/a.png"],
            ),
            (
                "<img src=\"/tasks/1/resolve/?fileuri=czM6\"> <img src='gs://b/a=1.png'><a href=\"s3://b/x&amp;y\">",
                &["gs://b/a=1.png", "s3://b/x&amp;y"],
            ),
            (
                "&lt;img src=&quot;s3://b/it&#39;s.png&quot;&gt;",
                &["s3://b/it&#39;s.png"],
            ),
            ("{\\\"url\\\": \\\"s3://b/k\\\"}", &["s3://b/k"]),
            // Where each begins and ends is a guess, so none is told.
            ("see s3://b/a.png, then s3://b/b.png.", &[]),
            ("<img srcset=\"s3://b/1.png 1x, s3://b/2.png 2x\">", &[]),
            ("background: url(s3://b/a.png)", &[]),
            ("s3://b/a.png,s3://b/b.png", &[]),
            (
                "\"s3://bucket\" \"dbx://Volumes/../x/y/z\" \"ftp://b/k\"",
                &[],
            ),
        ] {
            let quoted = quoted(text);
            let places: Vec<_> = quoted.iter().map(|q| &text[q.range.clone()]).collect();
            assert_eq!(places, expected, "{text}");
            let named = found(text);
            for Quoted { uri, .. } in quoted {
                let uri = MediaUri::parse(&uri).expect("it is one").to_string();
                assert!(named.contains(&uri), "{uri} of {text}: {named:?}");
            }
        }
    }

    #[test]
    fn every_uri_of_a_list_is_found_whatever_separates_them() {
        let first = "s3://media/data/a.png";
        let last = "s3://media/data/t 1.txt";
        for separator in [",", ", ", " , ", ";", "; ", "|", "\n", ",\r\n", ",;", "\t"] {
            let middle = "local://media/b (1).wav";
            let list = [first, middle, last].join(separator);
            let quoted = format!("<img data-list=\"{list}\">");
            let uris = found(&list);
            for uri in [first, middle, last] {
                assert!(
                    uris.contains(&uri.to_owned()),
                    "{uri} of {list:?}: {uris:?}"
                );
            }
            assert!(found(&quoted).contains(&first.to_owned()), "{quoted}");
        }
        // The list as one key, which it may be, is still offered.
        let list = "s3://b/a.png,s3://b/b.png";
        assert_eq!(found(list), [list, "s3://b/a.png", "s3://b/b.png"]);
    }

    #[test]
    fn a_uri_that_is_too_long_is_not_cut_to_one_that_fits() {
        let long = format!("(s3://b/{})", "é".repeat(MAX_URI_LENGTH));
        assert!(found(&long).is_empty());
        assert!(found(&long.replace('(', "\n")).is_empty());
    }

    #[test]
    fn a_local_file_is_found_behind_a_host_and_with_entities() {
        let uris =
            found("<audio src=\"https://studio.example.com/data/local-files/?d=a/b.wav&amp;x=1\">");
        let local = MediaUri::from_local_files("a/b.wav")
            .expect("it is one")
            .to_string();
        assert!(uris.contains(&local), "{uris:?}");
    }
}

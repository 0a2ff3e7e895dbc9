//! Media URIs in text and HTML: whatever is rewritten to a media route is what the access check takes for named.

use crate::authority::mentions::{mentions as named_by, quoted};
use crate::media_uri::MediaUri;

/// A string of a task's data.
pub fn mentions(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut named = Vec::new();
    named_by(text, |uri| named.push(uri));
    let mut end = 0;
    for found in quoted(text) {
        assert!(end <= found.range.start && found.range.start < found.range.end);
        end = found.range.end;
        let uri = MediaUri::parse(&found.uri).expect("what is found is a media uri");
        assert!(
            named.contains(&uri),
            "{uri} is rewritten and would be denied"
        );
        let stands = &text[found.range];
        assert!(stands == found.uri || stands.contains('&'), "{stands}");
    }
}

//! What an answer was, in the few words that the table has for it: `206 audio/wav 0-99/N`.
//!
//! `N` is the object's length and `E` its entity tag in storage, so that a line holds for any object. Bytes are compared
//! with the file that was uploaded, never with what another server said of it.

use http::Method;

use super::expect;
use super::instance::Object;
use crate::support::client::Reply;

/// An answer, read to its end.
pub struct Seen {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    is_whole: bool,
    is_head: bool,
    is_streamed: bool,
    object: Option<Object>,
    shown: Vec<String>,
}

/// The fields that are looked at, and those that must not be there.
const FIELDS: &[&str] = &[
    "accept-ranges",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "server",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-amz-request-id",
    "x-content-type-options",
    "x-frame-options",
];

impl Seen {
    /// Reads it; `shown` are the fields that the line wants to see.
    pub async fn of(
        mut reply: Reply,
        method: &Method,
        object: Option<Object>,
        is_streamed: bool,
        shown: &[String],
    ) -> Self {
        let fields = FIELDS
            .iter()
            .map(|name| ((*name).to_owned(), reply.header(name).to_owned()))
            .collect();
        let (mut body, mut is_whole) = (Vec::new(), true);
        while let Some(piece) = reply.next().await {
            match piece {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        Self {
            status: reply.status(),
            fields,
            body,
            is_whole,
            is_head: method == Method::HEAD,
            is_streamed,
            object,
            shown: shown.to_vec(),
        }
    }

    fn field(&self, name: &str) -> &str {
        let found = self
            .fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        &found.unwrap_or_else(|| panic!("{name} is not looked at")).1
    }

    fn media_type(&self) -> &str {
        let value = self.field("content-type");
        value.split(';').next().unwrap_or_default()
    }

    /// In the table's words.
    pub fn summary(&self) -> String {
        let mut said = self.status.to_string();
        if matches!(self.status, 200 | 206) {
            said = format!("{said} {}", self.media_type());
            if let Some(object) = &self.object {
                said = format!("{said} {}", self.extent(&object.bytes()));
            }
        }
        for name in &self.shown {
            let value = self.symbolic(self.field(name));
            let value = match (value.as_str(), name.as_str()) {
                ("", _) => "-".to_owned(),
                (_, "Set-Cookie") => "a session".to_owned(), // another one each time
                _ => value,
            };
            said = format!("{said}, {name}: {value}");
        }
        said.trim_end().to_owned()
    }

    /// Which bytes came, and whether they are the object's.
    fn extent(&self, bytes: &[u8]) -> String {
        let complete = bytes.len();
        let range = self.field("content-range").strip_prefix("bytes ");
        let Some(range) = range else {
            let length: usize = if self.is_head {
                self.field("content-length").parse().unwrap_or_default()
            } else {
                self.body.len()
            };
            let true_bytes = self.is_head || self.body == bytes;
            return match (length == complete, true_bytes && self.is_whole) {
                (true, true) => "N".to_owned(),
                (true, false) => "N, other bytes".to_owned(),
                (false, _) => format!("{length} of N"),
            };
        };
        let (ends, length) = range.split_once('/').unwrap_or((range, ""));
        let (first, last) = ends.split_once('-').unwrap_or((ends, ""));
        let (first_pos, last_pos) = (
            first.parse::<usize>().unwrap_or(usize::MAX),
            last.parse::<usize>().unwrap_or(usize::MAX),
        );
        let slice = bytes.get(first_pos..last_pos.saturating_add(1));
        let position = |text: &str, value: usize| match complete.checked_sub(value) {
            Some(1) if complete > 1 => "N-1".to_owned(),
            Some(back) if back <= 1000 && value > 1000 => format!("N-{back}"),
            _ => text.to_owned(),
        };
        let length = if length == complete.to_string() {
            "N"
        } else {
            length
        };
        let said = format!(
            "{}…{}/{length}",
            position(first, first_pos),
            position(last, last_pos)
        );
        let is_true = self.is_head || (self.is_whole && slice == Some(&self.body[..]));
        if is_true {
            said
        } else {
            format!("{said}, other bytes")
        }
    }

    /// With the object's own entity tag as `E`.
    fn symbolic(&self, value: &str) -> String {
        match &self.object {
            Some(object) if !object.etag.is_empty() => value.replace(&object.etag, "E"),
            _ => value.to_owned(),
        }
    }

    /// Whether Lockgate itself served an object.
    pub fn is_of_lockgate(&self) -> bool {
        self.object.is_some() && !self.is_streamed && matches!(self.status, 200 | 206 | 304)
    }

    /// Whether the body is worth comparing: a form has a token of its own each time.
    pub fn is_comparable(&self) -> bool {
        self.object.is_none() && self.status == 200 && self.media_type() != "text/html"
    }

    pub fn has_body_of(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

/// What holds for every 200, 206 and 304 of a media route.
pub fn keeps_the_law(seen: &Seen) -> Result<(), String> {
    expect(
        "entity tag",
        seen.symbolic(seen.field("etag")),
        "\"E\"".to_owned(),
    )?;
    expect("Accept-Ranges", seen.field("accept-ranges"), "bytes")?;
    expect(
        "Cache-Control",
        seen.field("cache-control"),
        "private, no-cache",
    )?;
    let varies = seen.field("vary").to_ascii_lowercase();
    expect("Vary has Origin", varies.contains("origin"), true)?;
    expect("Vary has Cookie", varies.contains("cookie"), false)?;
    for absent in [
        "set-cookie",
        "server",
        "x-amz-request-id",
        "x-frame-options",
    ] {
        expect(absent, seen.field(absent), "")?;
    }
    if seen.status == 304 {
        return expect("a 304 has no body", seen.body.len(), 0);
    }
    expect("nosniff", seen.field("x-content-type-options"), "nosniff")?;
    expect(
        "a Content-Length",
        seen.field("content-length").is_empty(),
        false,
    )
}

//! An answer as the store means it: what it says, what stands in its body, and where it breaks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{content, etag};
use crate::support::content::Pattern;

/// Which bytes stand in a body.
#[derive(Clone)]
pub enum Body {
    /// These of an object.
    Object(Pattern, Range<u64>),
    /// Others.
    Text(Vec<u8>),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By Content-Length, as it stands in the fields.
    Length,
    /// By chunks.
    Chunked,
    /// By the connection's end.
    Close,
}

/// Where an answer is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The request is read, and nothing was sent.
    BeforeHead,
    /// Half of the head is out.
    MidHead,
    /// So many bytes of the body are out.
    Body(u64),
}

/// How it is broken.
#[derive(Clone)]
pub enum Break {
    /// The connection is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing more comes, and the connection stays.
    Stall,
    /// Nothing more comes until there is a permit.
    Wait(Arc<Semaphore>),
}

/// An answer, true until it is bent.
#[derive(Clone)]
pub struct Answer {
    pub status: String,
    pub fields: Vec<(String, String)>,
    pub body: Body,
    pub framing: Framing,
    pub breaks: Option<(At, Break)>,
    /// One byte at a time, and a pause after each.
    pub drip: Option<Duration>,
    /// Sent before the status line.
    pub before: Vec<u8>,
    /// Sent instead of everything, again and again where it says so.
    pub raw: Option<(Vec<u8>, usize)>,
    /// What was asked.
    pub asked: Asked,
    /// The version and length of the object that is there.
    pub(super) there: Option<(u64, u64)>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub key: String,
    pub fields: Vec<(String, String)>,
}

impl Asked {
    /// A field's value; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        let mut named = self.fields.iter().filter(|(n, _)| n == name);
        named.next().map_or("", |(_, value)| value)
    }

    /// The first position asked for.
    pub(super) fn range(&self) -> Option<Range<u64>> {
        let (first, last) = self
            .field("range")
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
    }
}

impl Answer {
    pub(super) fn give(&mut self, version: u64, range: Option<Range<u64>>, length: u64) {
        let key = self.asked.key.clone();
        self.set("ETag", etag(&key, version));
        self.set("Last-Modified", "Tue, 03 Nov 2026 10:00:00 GMT");
        self.set("Content-Type", "video/mp4");
        self.status = "200 OK".into();
        if let Some(range) = &range {
            self.status = "206 Partial Content".into();
            let field = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            self.set("Content-Range", field);
        }
        let range = range.unwrap_or(0..length);
        self.set("Content-Length", (range.end - range.start).to_string());
        self.body = Body::Object(content(&key, version), range);
    }

    /// An error document.
    pub fn refuse(&mut self, status: u16, code: &str) {
        let document = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        self.status = format!("{status} {code}");
        self.fields = vec![("Content-Type".into(), "application/xml".into())];
        self.text(document);
    }

    /// Another body, whose length is told.
    pub fn text(&mut self, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.set("Content-Length", text.len().to_string());
        self.body = Body::Text(text);
    }

    /// Sets a field, or adds it.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.fields.push((name.to_owned(), value.into()));
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// The range of an object's bytes in the body, which must be that.
    pub fn range(&mut self) -> &mut Range<u64> {
        match &mut self.body {
            Body::Object(_, range) => range,
            Body::Text(_) => panic!("no object's bytes"),
        }
    }

    /// As a server does that knows no conditions: gives what is there now, where the request's If-Match is of another
    /// version.
    pub fn ignore_conditions(&mut self) {
        if let (true, Some((version, length))) = (self.status.starts_with("412"), self.there) {
            let range = self
                .asked
                .range()
                .map(|range| range.start..range.end.min(length));
            match range {
                Some(range) if range.is_empty() => self.refuse(416, "InvalidRange"),
                range => {
                    self.fields.clear();
                    self.give(version, range, length);
                }
            }
        }
    }

    /// As if the object had been put once more, as long as it was, before this request came.
    pub fn overwrite(&mut self) {
        if let (Some((version, length)), Some(range)) = (self.there, self.asked.range()) {
            self.fields.clear();
            self.give(
                version + 1,
                Some(range.start..range.end.min(length)),
                length,
            );
        }
    }

    /// As a server does that knows no ranges.
    pub fn ignore_range(&mut self) {
        if let Some((version, length)) = self.there {
            self.fields.clear();
            self.give(version, None, length);
        }
    }

    /// Whether the body is an object's: a test bends nothing else.
    pub fn is_object(&self) -> bool {
        matches!(self.body, Body::Object(..)) && self.asked.method == "GET"
    }

    pub(super) fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.fields {
            let is_length = name.eq_ignore_ascii_case("content-length");
            if !is_length || self.framing == Framing::Length {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += match self.framing {
            Framing::Length => "\r\n",
            Framing::Chunked => "Transfer-Encoding: chunked\r\n\r\n",
            Framing::Close => "Connection: close\r\n\r\n",
        };
        head
    }

    pub(super) fn length(&self) -> u64 {
        match &self.body {
            Body::Object(_, range) => range.end - range.start,
            Body::Text(text) => text.len() as u64,
        }
    }

    pub(super) fn piece(&self, at: u64, length: u64) -> Vec<u8> {
        match &self.body {
            Body::Object(content, range) => {
                let mut piece = vec![0; length as usize];
                content.fill(range.start + at, &mut piece);
                piece
            }
            Body::Text(text) => text[at as usize..(at + length) as usize].to_vec(),
        }
    }

    /// How many bytes of the body go out before it breaks.
    pub(super) fn before_break(&self) -> u64 {
        match self.breaks {
            Some((At::Body(after), _)) => after.min(self.length()),
            _ => self.length(),
        }
    }
}

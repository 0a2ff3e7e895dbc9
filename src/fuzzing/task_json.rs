//! Task JSON as it passes: the same however it is cut, nothing changed but URIs in a task's data, each into its route.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use serde_json::Value;

use super::{lines, number};
use crate::authority::mentions::mentions;
use crate::media_uri::MediaUri;
use crate::serve::task_json::{Shape, TaskJson};

/// `list` or another word, the length of the pieces, and the document.
pub fn task_json(input: &[u8]) {
    let [shape, length, document] = lines(input);
    let shape = if shape == b"list" {
        Shape::List
    } else {
        Shape::Task
    };
    let length = number(length, 1).clamp(1, 1 << 20) as usize;
    let whole = in_pieces(shape, document, document.len().max(1));
    assert_eq!(
        in_pieces(shape, document, length),
        whole,
        "it matters where it is cut"
    );
    if !document.contains(&b':') || !document.contains(&b'"') {
        assert_eq!(whole, document, "there is nothing to change");
    }
    let Ok(before) = serde_json::from_slice::<Value>(document) else {
        return;
    };
    let after = serde_json::from_slice(&whole).expect("what was json is json");
    match (shape, &before, &after) {
        (Shape::Task, _, _) => only_data_changes(&before, &after),
        (Shape::List, Value::Object(page), Value::Object(after)) => {
            assert!(page.keys().eq(after.keys()));
            for (name, value) in page {
                match name.as_str() {
                    "tasks" => each_is_a_task(value, &after[name]),
                    _ => assert_eq!(*value, after[name], "{name}"),
                }
            }
        }
        (Shape::List, _, _) => each_is_a_task(&before, &after),
    }
}

fn in_pieces(shape: Shape, document: &[u8], length: usize) -> Vec<u8> {
    let mut json = TaskJson::new(shape);
    let mut out = Vec::new();
    for piece in document.chunks(length) {
        out.extend(json.feed(Bytes::copy_from_slice(piece)));
    }
    out.extend(json.finish());
    out
}

fn each_is_a_task(before: &Value, after: &Value) {
    let (Value::Array(before), Value::Array(after)) = (before, after) else {
        return assert_eq!(before, after, "a list of tasks is an array");
    };
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(after) {
        only_data_changes(before, after);
    }
}

fn only_data_changes(before: &Value, after: &Value) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return assert_eq!(before, after, "a task is an object");
    };
    assert!(before.keys().eq(after.keys()));
    for (name, value) in before {
        match name.as_str() {
            "data" => only_uris_change(value, &after[name]),
            _ => assert_eq!(*value, after[name], "{name}"),
        }
    }
}

fn only_uris_change(before: &Value, after: &Value) {
    match (before, after) {
        (Value::String(before), Value::String(after)) => is_rewritten(before, after),
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            let items = before.iter().zip(after);
            items.for_each(|(before, after)| only_uris_change(before, after));
        }
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            let members = before.iter().zip(after.values());
            members.for_each(|((_, before), after)| only_uris_change(before, after));
        }
        _ => assert_eq!(before, after),
    }
}

/// Reads both side by side: where they part there is a URI in the one, and in the other the route that leads to it.
fn is_rewritten(before: &str, after: &str) {
    let (mut before, mut after) = (before, after);
    let mut named = Vec::new();
    mentions(before, |uri| named.push(uri));
    while before != after {
        let common = common(before, after);
        (before, after) = (&before[common..], &after[common..]);
        let (uri, rest) = route(after).expect("what was put in is a route");
        let parsed = MediaUri::parse(&uri).expect("what a route names is a media uri");
        assert!(named.contains(&parsed), "the access check would deny {uri}");
        before = behind(before, &uri).expect("what was taken out is that uri");
        after = rest;
    }
}

fn common(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum()
}

/// The URI of a route that a text begins with, and what follows it.
fn route(text: &str) -> Option<(String, &str)> {
    let id_and_more = text.strip_prefix("/tasks/")?;
    let more = id_and_more.trim_start_matches(|c: char| c.is_ascii_digit());
    let encoded = more.strip_prefix("/resolve/?fileuri=")?;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "-_=".contains(c);
    let rest = encoded.trim_start_matches(is_base64);
    let uri = URL_SAFE
        .decode(&encoded[..encoded.len() - rest.len()])
        .ok()?;
    Some((String::from_utf8(uri).ok()?, rest))
}

/// What follows a URI that a text begins with, with HTML's entities in it, or else as it is.
fn behind<'t>(text: &'t str, uri: &str) -> Option<&'t str> {
    behind_entities(text, uri).or_else(|| text.strip_prefix(uri))
}

fn behind_entities<'t>(text: &'t str, uri: &str) -> Option<&'t str> {
    let mut rest = text;
    for c in uri.chars() {
        let entities: &[&str] = match c {
            '&' => &["&amp;"],
            '"' => &["&quot;", "&#34;"],
            '\'' => &["&#39;", "&apos;"],
            '<' => &["&lt;"],
            '>' => &["&gt;"],
            _ => &[],
        };
        let entity = entities.iter().find_map(|entity| rest.strip_prefix(entity));
        rest = entity.or_else(|| rest.strip_prefix(c))?;
    }
    Some(rest)
}

//! The naive model: the whole document read by serde_json, the strings replaced in what was read, and all of it compared.

use proptest::prelude::*;
use serde_json::Value;

use super::super::literal::with_media_routes;
use super::{Shape, in_pieces, rewritten, route};
use crate::authority::mentions::mentions;

/// Strings that are URIs, mention some, or resemble one.
fn text() -> impl Strategy<Value = String> {
    let uri = prop_oneof![
        Just("s3://bucket/a b+c.png"),
        Just("dbx://Volumes/c/s/v/été.png"),
        Just("gs://b/x?y#z=1"),
        Just("azure-blob://c/b"),
        Just("redis://h/k"),
        Just("local://disk/a/b.wav"),
        Just("https://bucket.s3.us-east-1.amazonaws.com/k"),
        Just("/data/local-files/?d=a.wav"),
        Just("s3://bucket"),
        Just("dbx://Volumes/../s/v/a"),
        Just("xs3://b/k"),
    ];
    let around = prop_oneof![
        Just(("", "")),
        Just(("  ", "\n")),
        Just(("<img src=\"", "\">")),
        Just(("<b>'", "'</b>")),
        Just(("{\\\"u\\\": \\\"", "\\\"}")),
        Just(("&quot;", "&quot;")),
        Just(("see \u{1f600} ", ".")),
        Just(("\"", "")),
    ];
    let mention = (around, uri).prop_map(|((before, after), uri)| format!("{before}{uri}{after}"));
    prop_oneof![
        3 => mention.clone(),
        1 => proptest::collection::vec(mention, 0..4).prop_map(|all| all.concat()),
        1 => "[a-z/:\"'\\\\<>\u{7f}\u{e9}\u{2028}\u{1f600}]{0,12}",
    ]
}

/// A string as JSON may write it: some characters escaped that need not be.
fn literal() -> impl Strategy<Value = String> {
    (text(), any::<u64>()).prop_map(|(text, choice)| {
        let mut literal = String::from("\"");
        for (at, c) in text.chars().enumerate() {
            let escape = choice.rotate_left(at as u32 * 7) % 8 == 0;
            match c {
                '/' if escape => literal += "\\/",
                '"' | '\\' | '\u{0}'..='\u{1f}' => literal += &unicode(c),
                _ if escape => literal += &unicode(c),
                _ => literal.push(c),
            }
        }
        literal + "\""
    })
}

fn unicode(c: char) -> String {
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units).iter();
    units.map(|unit| format!("\\u{unit:04X}")).collect()
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")]
}

/// Any JSON, with spaces, escapes and numbers as people and machines write them, and names more than once.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0.50E+01".to_owned()),
        Just("12345678901234567890123".to_owned()),
    ];
    let leaf = prop_oneof![1 => scalar, 3 => literal()];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![Just("id"), Just("data"), Just("tasks"), Just("url")];
        let member = (name, space(), inner.clone());
        let member =
            member.prop_map(|(name, space, v)| format!("{space}\"{name}\"{space}:{space}{v}"));
        let item = (space(), inner, space()).prop_map(|(a, v, b)| format!("{a}{v}{b}"));
        prop_oneof![
            proptest::collection::vec(item, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec(member, 0..4)
                .prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

/// A task as the text around its id and its data: `{before "data": data after}`, the id in either of the two or in none.
fn task() -> impl Strategy<Value = (String, Option<u64>, String, String)> {
    let id = prop_oneof![4 => (0..2000u64).prop_map(Some), 1 => Just(None)];
    let data_name = prop_oneof![Just("\"data\""), Just("\"d\\u0061ta\"")];
    (id, any::<bool>(), data_name, value(), value(), value()).prop_map(
        |(id, first, data_name, data, other, last)| {
            let id_member = id.map_or(String::new(), |id| format!("\"id\" : {id}, "));
            let (early, late) = if first {
                (&*id_member, "")
            } else {
                ("", &*id_member)
            };
            let before = format!("{{{early}\"meta\":{other},{data_name}:");
            (
                before,
                id,
                data,
                format!(", {late}\"predictions\":{last}}}"),
            )
        },
    )
}

/// The model on a value's text: every string of it by itself, found by serde_json's own reading of where it ends.
fn modelled(data: &str, id: u64) -> String {
    let mut out = String::new();
    let mut rest = data;
    let mut is_name_next = vec![];
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '{' => is_name_next.push(true),
            '[' => is_name_next.push(false),
            '}' | ']' => drop(is_name_next.pop()),
            _ => {}
        }
        if c == '"' {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let said = strings
                .next()
                .expect("a string")
                .expect("it is well-formed");
            length = strings.byte_offset();
            let written = &rest[..length];
            let is_name =
                rest[length..].trim_start().starts_with(':') && is_name_next.last() == Some(&true);
            if is_name {
                out += written;
            } else {
                out += &replaced(&said, written, id);
            }
        } else {
            out += &rest[..length];
        }
        rest = &rest[length..];
    }
    out
}

fn replaced(said: &str, written: &str, id: u64) -> String {
    let new = with_media_routes(written.as_bytes(), id);
    let Some(new) = new else {
        return written.to_owned();
    };
    let new = String::from_utf8(new).expect("it is text");
    // What is said afterwards is what was said before, with URIs that the task names in the place of routes.
    let mut named = vec![];
    mentions(said, |uri| named.push(uri.to_string()));
    let mut back: String = serde_json::from_str(&new).expect("a string");
    for uri in &named {
        back = back.replace(&route(id, uri), uri);
    }
    // A route says what HTML's entities mean, the text has them as they are written.
    let meant = |text: &str| text.replace("&quot;", "\"");
    assert_eq!(meant(&back), meant(said));
    new
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_task_cut_anywhere_is_what_the_model_makes_of_it_whole(
        (before, id, data, after) in task(),
        mut cuts in proptest::collection::vec(0..4000usize, 0..8),
    ) {
        let document = format!("{before}{data}{after}");
        serde_json::from_str::<Value>(&document).expect("it is JSON");
        let model = id.map_or(data.clone(), |id| modelled(&data, id));
        cuts.sort_unstable();
        let out = in_pieces(Shape::Task, document.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&out), format!("{before}{model}{after}"));
    }

    #[test]
    fn a_page_of_tasks_is_its_tasks_one_by_one(
        tasks in proptest::collection::vec(task(), 0..4),
        paged: bool,
        other in value(),
    ) {
        let (open, close) = match paged {
            true => (format!("{{\"total\":{other},\"tasks\": ["), format!("],\"x\":[{{\"id\":1,\"data\":{other}}}]}}")),
            false => ("[".into(), "]".into()),
        };
        let all: Vec<_> = tasks.iter().map(|(b, _, d, a)| format!("{b}{d}{a}")).collect();
        let one_by_one: Vec<_> = all
            .iter()
            .map(|task| String::from_utf8(rewritten(Shape::Task, task.as_bytes())).expect("text"))
            .collect();
        let out = rewritten(Shape::List, format!("{open}{}{close}", all.join(" , ")).as_bytes());
        let expected = format!("{open}{}{close}", one_by_one.join(" , "));
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn any_bytes_pass_the_same_however_they_are_cut(
        (before, _, data, after) in task(),
        flips in proptest::collection::vec((0..4000usize, any::<u8>()), 0..3),
        cuts in proptest::collection::vec(0..4000usize, 0..8),
    ) {
        let mut document = format!("{before}{data}{after}").into_bytes();
        for (at, byte) in flips {
            let at = at % document.len();
            document[at] = byte;
        }
        let mut cuts = cuts;
        cuts.sort_unstable();
        let whole = rewritten(Shape::Task, &document);
        prop_assert_eq!(in_pieces(Shape::Task, &document, &cuts), whole.clone());
        let every: Vec<usize> = (0..document.len()).collect();
        prop_assert_eq!(in_pieces(Shape::Task, &document, &every), whole);
    }
}

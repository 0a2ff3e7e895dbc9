//! Tables of Label Studio's own answers, the naive model beside the real thing, and what is no JSON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http::Method;

use super::{MAX_HELD, Shape, TaskJson, applies};

mod answers;
mod body;
mod model;

/// The whole document in one piece.
fn rewritten(shape: Shape, document: &[u8]) -> Vec<u8> {
    in_pieces(shape, document, &[])
}

/// Cut at these places.
fn in_pieces(shape: Shape, document: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut json = TaskJson::new(shape);
    let mut out = Vec::new();
    let mut begin = 0;
    for end in cuts.iter().copied().chain([document.len()]) {
        let end = end.clamp(begin, document.len());
        out.extend(json.feed(Bytes::copy_from_slice(&document[begin..end])));
        begin = end;
    }
    out.extend(json.finish());
    out
}

fn route(task: u64, uri: &str) -> String {
    format!("/tasks/{task}/resolve/?fileuri={}", URL_SAFE.encode(uri))
}

/// Replaces `<uri>` by its route, which makes what is expected readable.
fn with_routes(task: u64, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('⟨') {
        let (uri, after) = after.split_once('⟩').expect("it is closed");
        out += before;
        out += &route(task, uri);
        rest = after;
    }
    out + rest
}

#[test]
fn the_routes_whose_answers_carry_resolved_tasks_and_no_other() {
    use Shape::{List, Task};
    let (get, head, post, patch) = (Method::GET, Method::HEAD, Method::POST, Method::PATCH);
    for (method, path, query, shape) in [
        (&get, "/api/tasks", None, Some(List)),
        (
            &get,
            "/api/tasks/",
            Some("project=1&page=1&page_size=30"),
            Some(List),
        ),
        (&get, "/api/tasks/17/", Some("resolve_uri=true"), Some(Task)),
        (
            &get,
            "/api/tasks/17",
            Some("resolve_uri=false&resolve_uri=1"),
            Some(Task),
        ),
        (&head, "/api/tasks/17", None, Some(Task)),
        (&get, "/api/dm/tasks", None, Some(List)),
        (&get, "/api/dm/tasks/", Some("view=2"), Some(List)),
        (&get, "/api/dm/tasks/17", None, Some(Task)),
        (&get, "/api/projects/3/next", None, Some(Task)),
        (
            &get,
            "/api/projects/3/next/",
            Some("resolve_uri=false"),
            Some(Task),
        ),
        (
            &post,
            "/api/dm/actions",
            Some("id=next_task&project=3"),
            Some(Task),
        ),
        (
            &post,
            "/api/dm/actions/",
            Some("project=3&id=next%5Ftask"),
            Some(Task),
        ),
        (&get, "/api/tasks/17/", Some("resolve_uri=false"), None),
        (&get, "/api/tasks/17/", Some("a=b&resolve_uri=False"), None),
        (
            &get,
            "/api/tasks",
            Some("resolve_uri=1&resolve_uri=0"),
            None,
        ),
        (&get, "/api/dm/tasks", Some("resolve_uri=%6eo"), None),
        (&post, "/api/tasks", None, None),
        (&patch, "/api/tasks/17/", None, None),
        (&get, "/api/tasks/17/annotations/", None, None),
        (&get, "/api/tasks/x", None, None),
        (&get, "/api/tasks//", None, None),
        (&get, "/api/projects/3/tasks/", None, None),
        (&get, "/api/projects/3/next/x", None, None),
        (&post, "/api/dm/actions", Some("id=delete_tasks"), None),
        (&get, "/api/dm/actions", Some("id=next_task"), None),
        (&get, "/tasks/17/resolve/", None, None),
        (&get, "/x/api/tasks", None, None),
    ] {
        assert_eq!(
            applies(method, path, query),
            shape,
            "{method} {path} {query:?}"
        );
    }
}

#[test]
fn what_is_no_json_passes_untouched_from_there_on() {
    let good = r#"{"id":7,"data":{"a":"⟨dbx://Volumes/c/s/v/a.png⟩"#;
    let bad = r#""b":"dbx://Volumes/c/s/v/b.png"},"z":1}"#;
    let raw = r#"{"id":7,"data":{"a":"dbx://Volumes/c/s/v/a.png"#;
    for broken in [
        "\":,",
        "\",,",
        "\" ",
        "\"],",
        "\"},{",
        "\",1:2,",
        "\",\"x\":tru,",
        "\",\"x\":01,",
        "\",\"x\":1e,",
        "\",\"x\":\"\\q\",",
        "\",\"x\":\"\\u12g4\",",
        "\",\"x\":\"\n\",",
        "\",\"x\":'',",
        "\",\"x\":\u{feff}1,",
    ] {
        let document = format!("{raw}{broken}{bad}");
        let expected = format!("{}{broken}{bad}", with_routes(7, good));
        let out = rewritten(Shape::Task, document.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), expected, "{broken}");
    }
    for document in [
        "",
        " ",
        "<html>",
        "\u{feff}{\"id\":1,\"data\":\"dbx://Volumes/c/s/v/a\"}",
        "{\"id\":1}{\"id\":1,\"data\":\"dbx://Volumes/c/s/v/a\"}",
    ] {
        assert_eq!(
            rewritten(Shape::Task, document.as_bytes()),
            document.as_bytes()
        );
    }
}

#[test]
fn a_document_that_is_cut_off_loses_no_byte() {
    let document = r#"{"data":{"a":"dbx://Volumes/c/s/v/a.png","b":["s3://b/k"]},"id":7}"#;
    for end in 0..document.len() - 1 {
        let part = &document.as_bytes()[..end];
        assert_eq!(rewritten(Shape::Task, part), part);
    }
    let whole = rewritten(Shape::Task, document.as_bytes());
    let expected = r#"{"data":{"a":"⟨dbx://Volumes/c/s/v/a.png⟩","b":["⟨s3://b/k⟩"]},"id":7}"#;
    assert_eq!(String::from_utf8_lossy(&whole), with_routes(7, expected));
}

#[test]
fn bytes_that_are_no_utf8_pass_and_the_rest_is_rewritten() {
    let document = b"{\"id\":7,\"x\":\"\xff\",\"data\":{\"a\":\"s3://b/\xff\",\"b\":\"s3://b/k\"}}";
    let out = rewritten(Shape::Task, document);
    let (before, after) = document.split_at(document.len() - 11);
    let mut expected = before.to_vec();
    expected.extend(route(7, "s3://b/k").bytes());
    expected.extend(&after[8..]);
    assert_eq!(out, expected);
}

#[test]
fn a_task_whose_id_comes_too_late_passes_as_it_is_and_the_next_is_rewritten() {
    let text = "x".repeat(MAX_HELD);
    let late = format!(r#"{{"data":{{"a":"s3://b/k","t":"{text}","c":"s3://b/l"}},"id":1}}"#);
    let small = r#"{"data":{"a":"⟨s3://b/k⟩"},"id":2}"#;
    let document = format!("[{late},{}]", small.replace(['⟨', '⟩'], ""));
    let out = rewritten(Shape::List, document.as_bytes());
    assert!(out == format!("[{late},{}]", with_routes(2, small)).into_bytes());
}

#[test]
fn a_string_that_is_too_long_passes_and_those_beside_it_are_rewritten() {
    let long = format!("<b>\\\"{}<img src='s3://b/k'>", "x".repeat(MAX_HELD));
    let document = |uri: &str| format!(r#"{{"id":1,"data":{{"t":"{long}","c":"{uri}"}}}}"#);
    let out = in_pieces(
        Shape::Task,
        document("s3://b/l").as_bytes(),
        &[100, MAX_HELD + 9],
    );
    assert!(out == with_routes(1, &document("⟨s3://b/l⟩")).into_bytes());
}

#[test]
fn nesting_that_is_too_deep_passes_without_recursion() {
    for depth in [200, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let document = |uri: &str| format!(r#"{{"id":1,"data":{{"t":{open}"{uri}"{close}}}}}"#);
        let out = rewritten(Shape::Task, document("s3://b/k").as_bytes());
        let uri = if depth == 200 {
            "⟨s3://b/k⟩"
        } else {
            "s3://b/k"
        };
        assert!(
            out == with_routes(1, &document(uri)).into_bytes(),
            "{depth}"
        );
    }
}

#[test]
fn memory_is_held_for_no_more_than_one_string_where_the_id_comes_first() {
    let mut json = TaskJson::new(Shape::Task);
    let piece = Bytes::from_static(b"{\"id\":1,\"data\":{\"a\":1,\"b\":[");
    assert_eq!(json.feed(piece.clone()), piece);
    assert_eq!(json.feed(Bytes::from_static(b"  \"s3://b/")), "  ");
    assert_eq!(json.feed(Bytes::from_static(b"k")), "");
    let expected = format!("\"{}\", 1", route(1, "s3://b/k"));
    assert_eq!(json.feed(Bytes::from_static(b"\", 1")), expected);
}

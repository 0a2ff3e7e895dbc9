//! The answer as the proxy hands it on: head, pieces, trailers, and what breaks off.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};

use super::super::{TaskJsonBody, ask_for_plain_json, rewrite};
use super::{Shape, with_routes};

const TASK: &str = r#"{"data":{"a":"⟨dbx://Volumes/c/s/v/a.png⟩"},"id":7}"#;

fn answered() -> String {
    TASK.replace(['⟨', '⟩'], "")
}

fn answer(status: u16, fields: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut answer = Response::builder().status(status);
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(answered().into()).expect("an answer")
}

#[tokio::test]
async fn an_answer_of_json_is_rewritten_and_its_head_says_so() {
    let length = answered().len().to_string();
    let fields = [
        ("content-type", "Application/JSON; charset=utf-8"),
        ("content-length", &*length),
        ("etag", "\"a\""),
        ("digest", "sha-256=x"),
        ("content-encoding", "identity"),
        ("vary", "Cookie"),
    ];
    let answer = rewrite(Shape::Task, answer(200, &fields));
    let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-encoding", "content-type", "vary"]);
    assert_eq!(answer.body().size_hint().exact(), None);
    let body = answer.into_body().collect().await.expect("it is whole");
    assert_eq!(body.to_bytes(), with_routes(7, TASK));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_passes_with_its_length() {
    let json = ("content-type", "application/json");
    for (status, fields) in [
        (206, vec![json, ("content-range", "bytes 0-50/200")]),
        (404, vec![json]),
        (200, vec![json, ("content-encoding", "gzip")]),
        (200, vec![("content-type", "text/html")]),
        (200, vec![]),
    ] {
        let answer = rewrite(
            Shape::Task,
            answer(status, &[&fields[..], &[("etag", "\"a\"")]].concat()),
        );
        assert!(answer.headers().contains_key("etag"), "{fields:?}");
        assert_eq!(
            answer.body().size_hint().exact(),
            Some(answered().len() as u64)
        );
        let body = answer.into_body().collect().await.expect("it is whole");
        assert_eq!(body.to_bytes(), answered(), "{fields:?}");
    }
}

#[tokio::test]
async fn what_was_held_comes_before_the_trailers() {
    let part = &answered()[..answered().len() - 4];
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().expect("a value"));
    let frames = [
        Frame::data(Bytes::from(part.to_owned())),
        Frame::trailers(trailers),
    ];
    let frames = stream::iter(frames.map(Ok::<_, Infallible>));
    let collected = TaskJsonBody::new(Shape::Task, StreamBody::new(frames))
        .collect()
        .await;
    let collected = collected.expect("it is whole");
    assert!(
        collected
            .trailers()
            .is_some_and(|trailers| trailers.contains_key("x-sum"))
    );
    assert_eq!(collected.to_bytes(), part);
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off() {
    let piece = Frame::data(Bytes::from_static(b"{\"data\":{\"a\":\"dbx://Vol"));
    let frames = stream::iter([Ok(piece), Err("cut")]);
    let mut body = TaskJsonBody::new(Shape::Task, StreamBody::new(frames));
    let first = body.frame().await.expect("a frame").expect("it holds");
    assert_eq!(first.into_data().expect("data"), "{\"data\":{\"a\":");
    assert_eq!(body.frame().await.expect("an error").err(), Some("cut"));
}

#[test]
fn the_request_asks_for_what_can_be_read() {
    let mut headers = HeaderMap::new();
    headers.insert("accept-encoding", "gzip, br".parse().expect("a value"));
    headers.insert("range", "bytes=0-1".parse().expect("a value"));
    ask_for_plain_json(&mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["accept-encoding"], "identity");
}

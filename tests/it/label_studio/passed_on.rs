//! What only the application has: under this gateway's rules for ranges, validators and bodies at once.

use bytes::Bytes;

use super::{A, MIB, Of, path};
use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::label_studio::LabelStudio;
use crate::support::store::Store;

/// In front of one whose storage does not sign.
async fn started(key: &str, value: impl Into<toml::Value>) -> (Store, LabelStudio, Gateway) {
    let store = Store::start().await;
    let studio = LabelStudio::start(&store, &[A]).await;
    studio.state().presign = false;
    let gateway = studio.setup().set(key, value).start().await;
    (store, studio, gateway)
}

#[tokio::test]
async fn the_application_is_asked_for_no_more_than_a_ranged_answer_may_have() {
    let (_store, studio, gateway) = started("delivery.max_range_size", "1KiB").await;
    studio.state().served = (
        206,
        &[
            ("content-type", "video/mp4"),
            ("content-range", "bytes 5-8/9"),
            ("etag", "W/\"11abc\""),
        ],
        Bytes::from_static(b"abcd"),
    );
    for (range, asked) in [
        (Some("bytes=5-"), Some("bytes=5-1028")),
        (Some("bytes=5-8"), Some("bytes=5-8")),
        (Some("bytes=0-1,5-6"), None),
        (None, None),
    ] {
        let ask = gateway.client().get(path(A)).of("anna");
        let ask = match range {
            Some(range) => ask.range(range),
            None => ask,
        };
        let answer = ask.answer().await;
        assert_eq!(answer.status, 206, "{range:?}");
        assert!(!answer.headers.contains_key("etag"), "it is a weak one");
        let passed = studio.state().passed.pop().expect("it was passed on");
        let passed = passed.get("range").map(|it| it.to_str().expect("text"));
        assert_eq!(passed, asked, "{range:?}");
    }
}

#[tokio::test]
async fn the_applications_416_is_this_gateways_problem_document() {
    let (_store, studio, gateway) = started("delivery.max_range_size", "1KiB").await;
    studio.state().served = (
        416,
        &[
            ("content-type", "text/html"),
            ("content-range", "bytes */1234"),
        ],
        Bytes::from_static(b"<h1>not here</h1>"),
    );
    let ask = gateway.client().get(path(A)).of("anna");
    let answer = ask.range("bytes=2000-").answer().await;
    assert_eq!(answer.status, 416);
    assert_eq!(answer.header("content-range"), "bytes */1234");
    assert_eq!(
        answer.json()["type"],
        "urn:lockgate:problem:range-not-satisfiable"
    );
}

#[tokio::test]
async fn its_bodies_count_among_those_at_once() {
    let (_store, studio, gateway) = started("server.limits.total_streams", 1).await;
    let length = 64 * MIB;
    studio.state().served = (
        200,
        &[("content-type", "video/mp4")],
        Pattern(1).bytes(length).into(),
    );
    let get = || gateway.client().get(path(A)).of("anna");
    let running = get().send().await;
    assert_eq!(running.status(), 200);
    let shed = get().answer().await;
    assert_eq!(shed.status, 503, "{}", shed.text());
    assert_eq!(shed.json()["type"], "urn:lockgate:problem:overloaded");
    assert_eq!(running.compare(Pattern(1), 0).await, (length, true));
    eventually("the place is given back", async || {
        (get().send().await.status() == 200).then_some(())
    })
    .await;
}

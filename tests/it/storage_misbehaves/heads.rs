//! What stands in the head of storage's answer is not true, not there, or not wanted.

use super::{MIB, WINDOW, assert_refused_then_served, assert_served, path, read, started};
use crate::support::stub::Stub;
use crate::support::wild_store::Answer;

/// The whole object, whatever range was asked for.
fn whole(answer: &mut Answer) {
    answer.ignore_range();
}

#[tokio::test]
async fn a_200_to_a_range_is_502_and_cuts_a_body_that_has_begun() {
    let (store, gateway) = started().await;
    store.always(whole);
    assert_refused_then_served(&store, &gateway, "a.mp4", "a 200").await;

    let content = store.put("b.mp4", 2 * WINDOW);
    store.always(|answer| {
        if answer
            .asked
            .field("range")
            .starts_with(&format!("bytes={WINDOW}-"))
        {
            whole(answer);
        }
    });
    assert_eq!(read(&gateway, "b.mp4", content).await, (200, WINDOW, false));
    store.behave();
    assert_served(&gateway, "b.mp4", content, 2 * WINDOW).await;
}

#[tokio::test]
async fn a_content_range_that_is_not_the_one_asked_for_is_502() {
    let (store, gateway) = started().await;
    for (case, field) in [
        ("shifted", "bytes 1-100000/100001"),
        ("another", "bytes 50000-99999/100000"),
        ("past its own end", "bytes 0-99999/5"),
        ("no length", "bytes 0-99999/*"),
        ("garbage", "bytes none of your business"),
        (
            "huge",
            "bytes 0-99999999999999999999999/99999999999999999999999999",
        ),
        ("another unit", "items 0-99999/100000"),
    ] {
        store.always(move |answer| answer.set("Content-Range", field));
        assert_refused_then_served(&store, &gateway, &case.replace(' ', "-"), case).await;
    }
    store.always(|answer| answer.remove("Content-Range"));
    assert_refused_then_served(&store, &gateway, "missing", "missing").await;
    store.always(|answer| {
        let other = ("Content-Range".to_owned(), "bytes 0-9/10".to_owned());
        answer.fields.push(other);
    });
    assert_refused_then_served(&store, &gateway, "two", "two that differ").await;
}

#[tokio::test]
async fn bytes_shifted_with_their_content_range_never_reach_the_client() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 2 * WINDOW);
    store.always(|answer| {
        let second = answer
            .asked
            .field("range")
            .starts_with(&format!("bytes={WINDOW}-"));
        if second && answer.is_object() {
            let range = answer.range();
            *range = range.start - 5..range.end - 5;
            let field = format!("bytes {}-{}/{}", range.start, range.end - 1, 2 * WINDOW);
            answer.set("Content-Range", field);
        }
    });
    assert_eq!(read(&gateway, "a.mp4", content).await, (200, WINDOW, false));
    store.behave();
    assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
}

#[tokio::test]
async fn a_206_of_less_than_was_asked_for_is_502() {
    let (store, gateway) = started().await;
    store.always(|answer| {
        if answer.is_object() {
            let range = answer.range();
            *range = 0..range.end / 2;
            let half = range.end;
            answer.set("Content-Range", format!("bytes 0-{}/100000", half - 1));
            answer.set("Content-Length", half.to_string());
        }
    });
    assert_refused_then_served(&store, &gateway, "a.mp4", "a subset").await;
}

#[tokio::test]
async fn an_error_document_in_a_200_is_502() {
    let (store, gateway) = started().await;
    store.always(|answer| {
        answer.refuse(200, "InternalError");
        answer.set("ETag", "\"a-tag\"");
    });
    assert_refused_then_served(&store, &gateway, "a.mp4", "a document").await;
}

#[tokio::test]
async fn a_content_encoding_nobody_asked_for_is_passed_on_and_never_mixed_with_another() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 2 * WINDOW);
    // From the first byte on: that is how the object is stored, for all that storage says.
    store.always(|answer| answer.set("Content-Encoding", "gzip"));
    let reply = gateway.get(path("a.mp4")).send().await;
    assert_eq!(reply.header("content-encoding"), "gzip");
    assert_eq!(reply.compare(content, 0).await, (2 * WINDOW, true));

    // From somewhere on: other bytes under the same tag.
    store.behave();
    let content = store.put("b.mp4", 2 * WINDOW);
    store.always(|answer| {
        if !answer.asked.field("range").starts_with("bytes=0-") {
            answer.set("Content-Encoding", "gzip");
        }
    });
    assert_eq!(read(&gateway, "b.mp4", content).await, (200, WINDOW, false));
}

#[tokio::test]
async fn no_etag_and_a_weak_one_are_502_for_no_version_could_be_pinned() {
    let (store, gateway) = started().await;
    store.always(|answer| answer.remove("ETag"));
    assert_refused_then_served(&store, &gateway, "none.mp4", "none").await;
    store.always(|answer| answer.set("ETag", "W/\"weak\""));
    assert_refused_then_served(&store, &gateway, "weak.mp4", "weak").await;
    store.always(|answer| answer.fields.push(("ETag".into(), "\"other\"".into())));
    assert_refused_then_served(&store, &gateway, "two.mp4", "two").await;
}

#[tokio::test]
async fn an_etag_that_changes_its_quotes_is_the_same_version() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 2 * WINDOW);
    store.always(|answer| {
        if !answer.asked.field("range").starts_with("bytes=0-") {
            let bare = crate::support::wild_store::etag("a.mp4", 1);
            answer.set("ETag", bare.trim_matches('"'));
        }
    });
    assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
}

#[tokio::test]
async fn storages_hostile_headers_do_not_pass() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    let hostile = [
        ("Set-Cookie", "session=stolen; Path=/"),
        ("Refresh", "0; url=https://evil.example"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("x-amz-meta-secret", "a secret of the owner's"),
        ("x-amz-request-id", "0123456789"),
        ("Server", "AmazonS3"),
        ("Location", "https://evil.example"),
        ("Link", "<https://evil.example>; rel=preload"),
        ("Clear-Site-Data", "\"*\""),
        ("Content-Security-Policy", "default-src *"),
        ("Strict-Transport-Security", "max-age=0"),
        ("Content-Disposition", "attachment; filename=evil.exe"),
        ("Service-Worker-Allowed", "/"),
        ("X-Accel-Redirect", "/etc/passwd"),
        ("Trailer", "Set-Cookie"),
    ];
    store.always(move |answer| {
        for (name, value) in hostile {
            answer.set(name, value);
        }
    });
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert!(answer.status == 200 && content.holds(0, &answer.body));
    for (name, value) in hostile {
        assert_ne!(answer.header(&name.to_ascii_lowercase()), value, "{name}");
    }
    assert!(answer.header("content-disposition").starts_with("inline"));
    for name in [
        "set-cookie",
        "server",
        "x-amz-meta-secret",
        "location",
        "x-accel-redirect",
    ] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn a_redirect_of_storages_is_never_followed() {
    let (store, gateway) = started().await;
    let elsewhere = Stub::start(|_| (200, "elsewhere".into())).await;
    let place = elsewhere.endpoint.clone();
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let place = place.clone();
        store.always(move |answer| {
            answer.refuse(307, "TemporaryRedirect");
            answer.status = status.into();
            answer.set("Location", &place);
        });
        assert_refused_then_served(
            &store,
            &gateway,
            status.split(' ').next().expect("a number"),
            status,
        )
        .await;
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn a_head_that_says_another_length_than_the_bytes_have_never_ends_as_if_whole() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 2 * MIB);
    let head = gateway.head(path("a.mp4"));
    store.next(|answer| answer.set("Content-Length", (9 * MIB).to_string()));
    assert_eq!(
        head.send().await.header("content-length"),
        (9 * MIB).to_string()
    );
    // What was learned of it does not hold when its bytes are asked for: the next read says what does.
    assert_served(&gateway, "a.mp4", content, 2 * MIB).await;
}

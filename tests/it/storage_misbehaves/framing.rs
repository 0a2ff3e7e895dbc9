//! Where storage's answer ends, or whether it is one: bodies too short and too long, heads without an end, no HTTP.

use super::{
    MIB, WINDOW, assert_refused_then_served, assert_served, impatient, path, read, started,
};
use crate::support::resident_bytes;
use crate::support::wild_store::{At, Break, Framing, etag};

#[tokio::test]
async fn a_body_cut_short_is_taken_up_by_if_match_and_range_unseen() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 2 * WINDOW);
    for how in [Break::Close, Break::Reset] {
        store.next(move |answer| answer.breaks = Some((At::Body(3 * MIB), how.clone())));
    }
    assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
    let asked = store.asked();
    // The connection's end may overtake the last bytes before it, where it is a reset.
    for taken_up in &asked[1..3] {
        assert_eq!(taken_up.field("if-match"), etag("a.mp4", 1));
        let range = taken_up.field("range");
        assert!(range.ends_with(&format!("-{}", WINDOW - 1)), "{range}");
        assert!(
            !range.starts_with("bytes=0-"),
            "what was there was asked for again"
        );
    }
    assert_eq!(
        asked[1].field("range"),
        format!("bytes={}-{}", 3 * MIB, WINDOW - 1)
    );
}

#[tokio::test]
async fn a_content_length_short_of_the_content_range_is_502() {
    let (store, gateway) = started().await;
    store.always(|answer| {
        if answer.is_object() {
            answer.range().end -= 1000;
            answer.set("Content-Length", "99000");
        }
    });
    assert_refused_then_served(&store, &gateway, "a.mp4", "cleanly framed").await;
}

#[tokio::test]
async fn a_short_body_that_is_framed_as_if_whole_is_taken_up_where_it_ended() {
    for framing in [Framing::Chunked, Framing::Close] {
        let (store, gateway) = started().await;
        let content = store.put("a.mp4", 4 * MIB);
        store.next(move |answer| {
            answer.framing = framing;
            answer.range().end = MIB;
        });
        assert_served(&gateway, "a.mp4", content, 4 * MIB).await;
        assert_eq!(store.count(), 2, "{framing:?}");
    }
}

#[tokio::test]
async fn chunked_and_close_delimited_bodies_are_read_like_any() {
    for framing in [Framing::Chunked, Framing::Close] {
        let (store, gateway) = started().await;
        let content = store.put("a.mp4", 2 * WINDOW);
        store.always(move |answer| answer.framing = framing);
        assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
        assert_eq!(store.count(), 2, "{framing:?}");
    }
}

#[tokio::test]
async fn a_body_longer_than_its_content_range_is_never_kept() {
    for framing in [Framing::Chunked, Framing::Close] {
        let (store, gateway) = started().await;
        let content = store.put("a.mp4", 100_000);
        store.always(move |answer| {
            answer.framing = framing;
            if answer.is_object() {
                answer.range().end += 50_000;
            }
        });
        // The bytes up to the end that the head tells are right; how much of them comes is chance.
        let reply = gateway.get(path("a.mp4")).send().await;
        match reply.status() {
            200 => assert!(reply.compare(content, 0).await.0 <= 100_000),
            status => assert_eq!(status, 502),
        }
        store.behave();
        assert_served(&gateway, "a.mp4", content, 100_000).await;
        assert!(store.count() > 1, "what was too long was kept");
    }
}

#[tokio::test]
async fn garbage_and_a_bad_status_line_are_502() {
    let (store, gateway) = started().await;
    for (key, garbage) in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 206\x00 OK\r\n\r\n",
        b"HTTP/7.3 206 OK\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ]
    .into_iter()
    .enumerate()
    {
        let case = garbage.escape_ascii().to_string();
        store.always(move |answer| answer.raw = Some((garbage.to_vec(), 1)));
        assert_refused_then_served(&store, &gateway, &key.to_string(), &case).await;
    }
}

#[tokio::test]
async fn twenty_megabytes_of_headers_are_502_and_cost_no_memory() {
    let (store, gateway) = started().await;
    store.put("warm.mp4", 10);
    assert_eq!(gateway.get(path("warm.mp4")).answer().await.status, 200);
    let before = resident_bytes();
    let line = format!("X-Field: {}\r\n", "x".repeat(1000)).into_bytes();
    store.always(move |answer| {
        answer.before = b"HTTP/1.1 206 Partial Content\r\n".to_vec();
        answer.before.extend(line.repeat(20_000));
    });
    assert_refused_then_served(&store, &gateway, "a.mp4", "20 MB of headers").await;
    store.always(|answer| {
        for number in 0..1000 {
            answer.set(&format!("X-{number}"), "x");
        }
    });
    assert_refused_then_served(&store, &gateway, "b.mp4", "a thousand fields").await;
    // The store in this process writes it out in one piece, and that alone is 20 MB.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 80 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn endless_100s_are_504_and_a_single_one_is_nothing() {
    let (store, gateway) = impatient().await;
    let content = store.put("a.mp4", 1000);
    let hundred = b"HTTP/1.1 100 Continue\r\n\r\n";
    store.next(|answer| answer.raw = Some((hundred.to_vec(), usize::MAX)));
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 504);
    store.next(|answer| answer.before = hundred.repeat(3));
    assert_served(&gateway, "a.mp4", content, 1000).await;
}

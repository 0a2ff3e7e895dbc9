//! Floods over HTTP/2 (RFC 9113 §10.5), frame by frame. What h2 itself bounds is held here all the same.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{MIB, good_request, path, started};
use crate::support::content::Pattern;
use crate::support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, get, pseudo, setting,
};
use crate::support::gateway::Gateway;
use crate::support::{PATIENCE, eventually, resident_bytes, token};

/// The error code with which a client says that it lost interest (RFC 9113 §7).
const CANCEL: u32 = 8;

/// Runs while the other end is flooded, and ends with it: nobody waits in vain for us to read.
async fn flood(gateway: &Gateway, http2: Http2, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let (reader, mut writer) = http2.0.into_split();
    let drained = tokio::spawn(async move {
        let mut reader = reader;
        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
    });
    let mut closed = false;
    for number in 0..20_000 {
        let frames = next(number);
        let sent = writer.write_all(&frames);
        if !timeout(PATIENCE, sent).await.is_ok_and(|sent| sent.is_ok()) {
            closed = true;
            break;
        }
        if number == 5_000 {
            good_request(gateway).await;
        }
    }
    good_request(gateway).await;
    drop(writer);
    drained.abort();
    closed
}

async fn memory_is_flat(before: u64) {
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 100 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn rapid_reset_is_calmed() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let before = resident_bytes();
    let fields = get(&path("a.mp4"), &token::of("anna"));
    let http2 = Http2::connect(gateway.address(), &[]).await;
    let reset = frame(RST_STREAM, 0, 0, &CANCEL.to_be_bytes());
    let closed = flood(&gateway, http2, |number| {
        let stream = 2 * number + 1;
        let mut reset = reset.clone();
        reset[5..9].copy_from_slice(&stream.to_be_bytes());
        [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields),
            reset,
        ]
        .concat()
    })
    .await;
    assert!(closed, "20,000 streams were opened and reset");
    memory_is_flat(before).await;
    eventually("nothing is in flight", async || {
        let metrics = gateway.metrics().await;
        metrics.contains("lockgate_http_in_flight 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn made_you_reset_is_calmed() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let before = resident_bytes();
    let fields = get(&path("a.mp4"), &token::of("anna"));
    let http2 = Http2::connect(gateway.address(), &[]).await;
    let closed = flood(&gateway, http2, |number| {
        let stream = 2 * number + 1;
        // A window update of 0 is an error of the stream (RFC 9113 §6.9): it is the server that must reset it.
        let made = frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
        [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields),
            made,
        ]
        .concat()
    })
    .await;
    assert!(closed, "20,000 streams were opened and made to be reset");
    memory_is_flat(before).await;
}

#[tokio::test]
async fn a_continuation_flood_is_closed() {
    let (_store, gateway) = started().await;
    let before = resident_bytes();
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    http2
        .send(&frame(HEADERS, END_STREAM, 1, &pseudo("/")))
        .await;
    let filler = field("x", &"y".repeat(1000));
    let closed = flood(&gateway, http2, |_| frame(CONTINUATION, 0, 1, &filler)).await;
    assert!(closed, "20 MB of fields were taken");
    memory_is_flat(before).await;
}

#[tokio::test]
async fn empty_continuations_are_closed() {
    let (_store, gateway) = started().await;
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    http2
        .send(&frame(HEADERS, END_STREAM, 1, &pseudo("/")))
        .await;
    assert!(flood(&gateway, http2, |_| frame(CONTINUATION, 0, 1, &[])).await);
}

#[tokio::test]
async fn an_hpack_bomb_is_431_or_closed() {
    let (_store, gateway) = started().await;
    let before = resident_bytes();
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    // One field of 4,000 bytes into the dynamic table (RFC 7541 §6.2.1), and then 10,000 times its index: 40 MB.
    let mut bomb = pseudo("/");
    let mut indexed = field("x", &"y".repeat(4000));
    indexed[0] = 0x40;
    bomb.extend(indexed);
    bomb.extend([0xbe; 10_000]);
    assert!(http2.request(1, &bomb).await);
    while let Some(frame) = http2.next().await {
        assert!(frame.kind != HEADERS || frame.status() != 200);
        if matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY) {
            break;
        }
    }
    good_request(&gateway).await;
    memory_is_flat(before).await;
}

#[tokio::test]
async fn a_settings_flood_takes_no_memory() {
    let (_store, gateway) = started().await;
    let before = resident_bytes();
    let http2 = Http2::connect(gateway.address(), &[]).await;
    let settings = frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 1000));
    flood(&gateway, http2, |_| settings.clone()).await;
    memory_is_flat(before).await;
}

#[tokio::test]
async fn a_ping_flood_takes_no_memory() {
    let (_store, gateway) = started().await;
    let before = resident_bytes();
    let http2 = Http2::connect(gateway.address(), &[]).await;
    let ping = frame(PING, 0, 0, &[7; 8]);
    flood(&gateway, http2, |_| ping.clone()).await;
    memory_is_flat(before).await;
}

#[tokio::test]
async fn floods_whose_answers_nobody_reads_are_held_back() {
    let (_store, gateway) = started().await;
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let before = resident_bytes();
        let mut http2 = Http2::connect(gateway.address(), &[]).await;
        let many = flood.repeat(10_000);
        // What is not read back fills the sockets, and then the gateway reads no more.
        let mut sent = 0;
        while sent < 200 && timeout(Duration::from_secs(2), http2.send(&many)).await == Ok(true) {
            sent += 1;
        }
        good_request(&gateway).await;
        memory_is_flat(before).await;
    }
}

#[tokio::test]
async fn zero_windows_on_a_hundred_streams_pin_little_memory() {
    let (store, gateway) = started().await;
    for number in 0..20 {
        store.generate("media", &format!("{number}.mp4"), Pattern(number), 20 * MIB);
    }
    let before = resident_bytes();
    let mut connections = Vec::new();
    for _ in 0..3 {
        let shut = setting(INITIAL_WINDOW_SIZE, 0);
        let mut http2 = Http2::connect(gateway.address(), &shut).await;
        for number in 0..100 {
            let fields = get(&path(&format!("{}.mp4", number % 20)), &token::of("anna"));
            assert!(http2.request(2 * number + 1, &fields).await);
        }
        for _ in 0..100 {
            let head = http2.until(HEADERS).await.expect("an answer");
            assert_eq!(head.status(), 200);
        }
        connections.push(http2);
    }
    good_request(&gateway).await;
    // Each holds a segment of 1 MiB at most, until its window has been shut for a minute; the cache has its own 64.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 600 * MIB, "grew by {} MiB", grown / MIB);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("lockgate_http_in_flight 300"), "{metrics}");
    drop(connections);
    eventually("nothing is in flight", async || {
        let metrics = gateway.metrics().await;
        metrics.contains("lockgate_http_in_flight 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hundred_and_first_stream_is_refused() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), 20 * MIB);
    let shut = setting(INITIAL_WINDOW_SIZE, 0);
    let mut http2 = Http2::connect(gateway.address(), &shut).await;
    let fields = get(&path("a.mp4"), &token::of("anna"));
    for number in 0..=100 {
        http2.request(2 * number + 1, &fields).await;
    }
    let refused = http2.until(RST_STREAM).await.expect("a reset");
    // REFUSED_STREAM: it may be tried again (RFC 9113 §8.7).
    assert_eq!((refused.stream, refused.error_code()), (201, 7));
}

#[tokio::test]
async fn another_host_than_the_authority_is_400_over_http_2() {
    let (_store, gateway) = started().await;
    for (host, status) in [("lockgate", 404), ("other", 400), ("a b", 400)] {
        let mut http2 = Http2::connect(gateway.address(), &[]).await;
        let fields = [pseudo("/nowhere"), field("host", host)].concat();
        http2.request(1, &fields).await;
        let answer = http2.until(HEADERS).await.expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
    }
}

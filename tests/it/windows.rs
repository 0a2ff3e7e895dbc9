//! What is asked of storage for what is read: where windows begin, how they grow, and that they end with their readers.

use std::ops::Range;

use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, token, uri};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CHUNK: u64 = 256 * KIB;
const CONTENT: Pattern = Pattern(3);

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

/// The ranges that storage was asked for, in the order in which it was.
fn asked(store: &Store) -> Vec<Range<u64>> {
    let ranges = store.requests().into_iter().filter_map(|asked| asked.range);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    ranges
        .map(|range| {
            let (first, last) = range["bytes=".len()..].split_once('-').expect("a range");
            number(first)..number(last) + 1
        })
        .collect()
}

/// Reads a range to its end, which must hold.
async fn read(gateway: &Gateway, range: String, first_pos: u64, length: u64) {
    let reply = gateway.get(path("a.mp4")).range(range).send().await;
    assert_eq!(reply.compare(CONTENT, first_pos).await, (length, true));
}

/// Begins to read from `first_pos` on, to no known end; `length` bytes are read.
async fn begin(gateway: &Gateway, first_pos: u64, length: u64) -> Raw {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {}\r\nRange: bytes={first_pos}-\r\n\r\n",
        path("a.mp4"),
        token::of("anna")
    );
    let mut raw = Raw::send(gateway.address(), request).await;
    raw.read_some(length as usize).await;
    raw
}

#[tokio::test]
async fn a_closed_range_of_8_mib_is_one_request_and_no_byte_more() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 64 * MIB);
    let range = format!("bytes={}-{}", 16 * MIB, 24 * MIB - 1);
    read(&gateway, range, 16 * MIB, 8 * MIB).await;
    let whole = 16 * MIB..24 * MIB;
    assert_eq!(asked(&store), std::slice::from_ref(&whole));
}

#[tokio::test]
async fn a_seek_into_the_middle_asks_storage_from_the_chunk_that_holds_the_position() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 64 * MIB);
    let first_pos = 20 * MIB + CHUNK + 5;
    let begun = begin(&gateway, first_pos, 1000).await;
    let first = asked(&store).swap_remove(0);
    assert_eq!(first, 20 * MIB + CHUNK..20 * MIB + 4 * CHUNK);
    drop(begun);
}

#[tokio::test]
async fn windows_grow_while_a_reader_reads_on_and_bring_each_byte_once() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 32 * MIB);
    read(&gateway, "bytes=0-".to_owned(), 0, 32 * MIB).await;
    let asked = asked(&store);
    let mut position = 0;
    for range in &asked {
        assert_eq!(range.start, position, "{asked:?}");
        position = range.end;
    }
    let sizes: Vec<_> = asked.iter().map(|range| range.end - range.start).collect();
    let grown = [512 * KIB, MIB, 2 * MIB, 4 * MIB, 8 * MIB, 8 * MIB];
    assert_eq!(sizes[..6], grown);
    assert_eq!(position, 32 * MIB);
    // All of it is cached now, however it is asked for.
    read(
        &gateway,
        format!("bytes={}-", 7 * MIB + 9),
        7 * MIB + 9,
        25 * MIB - 9,
    )
    .await;
    assert_eq!(store.requests().len(), asked.len());
}

#[tokio::test]
async fn a_window_ends_before_what_is_cached() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 64 * MIB);
    read(
        &gateway,
        format!("bytes={}-{}", 3 * MIB, 3 * MIB + 9),
        3 * MIB,
        10,
    )
    .await;
    let range = format!("bytes={MIB}-{}", 5 * MIB - 1);
    read(&gateway, range, MIB, 4 * MIB).await;
    let expected = [
        3 * MIB..3 * MIB + CHUNK,
        MIB..3 * MIB,
        3 * MIB + CHUNK..5 * MIB,
    ];
    assert_eq!(asked(&store), expected);
}

#[tokio::test]
async fn a_reader_that_leaves_early_pulls_little_more_than_it_reads() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 1 << 30);
    for number in 0..4 {
        let before = store.bytes_sent();
        drop(begin(&gateway, (100 + 100 * number) * MIB, 512 * KIB).await);
        eventually("storage comes to rest", async || {
            let sent = store.bytes_sent();
            let metrics = gateway.metrics().await;
            let left = metrics.contains("\nlockgate_http_in_flight 0\n");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            (left && sent == store.bytes_sent()).then_some(())
        })
        .await;
        // What sockets hold counts: a storage without any delay is ahead of its reader.
        let pulled = store.bytes_sent() - before;
        assert!(pulled <= 6 * MIB, "{} KiB", pulled / KIB);
    }
}

#[tokio::test]
async fn what_is_read_ahead_is_cancelled_when_its_reader_leaves() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 64 * MIB);
    store.hold_bodies_after(512 * KIB);
    let reader = begin(&gateway, 0, 512 * KIB).await;
    // The second window is asked for, brings half of what it is to, and stands there. Where the sockets took that half,
    // the third one does as well.
    eventually("it is read ahead", async || {
        (store.bytes_sent() >= MIB).then_some(())
    })
    .await;
    assert_eq!(asked(&store)[..2], [0..512 * KIB, 512 * KIB..1536 * KIB]);
    drop(reader);
    eventually("the reader has left", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("\nlockgate_http_in_flight 0\n")
            .then_some(())
    })
    .await;
    store.release();
    // Who comes later finds what came, and asks for the rest: nobody has brought it.
    read(&gateway, format!("bytes={}-{}", MIB, MIB + 9), MIB, 10).await;
    assert_eq!(asked(&store).pop(), Some(MIB..MIB + CHUNK));
    assert!(store.bytes_sent() < 2 * MIB, "it went on all the same");
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_any_more_is_cancelled_and_what_came_is_kept() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 8 * MIB);
    store.hold_bodies_after(MIB);
    let mut first = Raw::get(gateway.address(), &path("a.mp4"), &token::of("anna")).await;
    // The head takes a part of it.
    first.read_some(MIB as usize + 100).await;
    drop(first);
    eventually("the reader has left", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("\nlockgate_http_in_flight 0\n")
            .then_some(())
    })
    .await;
    store.release();
    let again = gateway.get(path("a.mp4")).send().await;
    assert_eq!(again.compare(CONTENT, 0).await, (8 * MIB, true));
    assert_eq!(asked(&store), [0..8 * MIB, MIB..8 * MIB]);
}

#[tokio::test]
async fn a_fetch_of_which_little_is_missing_outlives_the_client_that_began_it() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, MIB + 100);
    store.hold_bodies_after(MIB);
    let mut first = Raw::get(gateway.address(), &path("a.mp4"), &token::of("anna")).await;
    first.read_some(MIB as usize).await;
    drop(first);
    store.release();
    store.wait_for_bytes(MIB + 100).await;
    let again = gateway.get(path("a.mp4")).send().await;
    assert_eq!(again.compare(CONTENT, 0).await, (MIB + 100, true));
    assert_eq!(store.asked("a.mp4"), 1);
}

#[tokio::test]
async fn who_follows_a_window_keeps_it_when_the_one_who_began_it_leaves() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, 64 * MIB);
    store.hold_bodies_after(256 * KIB);
    let first = begin(&gateway, 0, 100 * KIB).await;
    let range = format!("bytes={}-{}", 300 * KIB, 400 * KIB - 1);
    let second = tokio::spawn(gateway.get(path("a.mp4")).range(range).send());
    eventually("both are there", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("\nlockgate_http_in_flight 2\n")
            .then_some(())
    })
    .await;
    drop(first);
    eventually("the first has left", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("\nlockgate_http_in_flight 1\n")
            .then_some(())
    })
    .await;
    store.release();
    let reply = second.await.expect("no panic");
    assert_eq!(reply.compare(CONTENT, 300 * KIB).await, (100 * KIB, true));
    let asked = asked(&store);
    assert_eq!(asked[0], 0..512 * KIB);
    assert!(asked[1..].iter().all(|range| range.start >= 512 * KIB));
}

//! One fetch for many readers: what is shared, what outlives whom, and that two versions never mix.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::raw::Raw;
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, resident_bytes, token, uri};

const MIB: u64 = 1 << 20;
const WINDOW: u64 = 8 * MIB;
const CHUNK: u64 = 256 << 10;
const OLD: Pattern = Pattern(1);
const NEW: Pattern = Pattern(2);

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

#[tokio::test]
async fn a_hundred_clients_of_one_cold_window_cause_one_storage_request() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, WINDOW);
    store.hold();
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let whole = format!("bytes=0-{}", WINDOW - 1);
        let ask = gateway.get(path("a.mp4")).range(whole);
        readers.spawn(async move { ask.send().await.compare(OLD, 0).await });
    }
    eventually("a hundred requests in flight", async || {
        gateway
            .metrics()
            .await
            .contains("lockgate_http_in_flight 100")
            .then_some(())
    })
    .await;
    store.release();
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.expect("no panic"), (WINDOW, true));
    }
    assert_eq!(store.asked("a.mp4"), 1);
}

#[tokio::test]
async fn the_first_client_leaving_harms_none() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, WINDOW);
    store.hold_bodies_after(MIB);
    let mut first = gateway.get(path("a.mp4")).send().await;
    first
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    let mut second = gateway.get(path("a.mp4")).send().await;
    let piece = second
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    drop(first);
    store.release();
    assert!(OLD.holds(0, &piece));
    let read = piece.len() as u64;
    assert_eq!(
        second.compare(Pattern(1), read).await,
        (WINDOW - read, true)
    );
    assert_eq!(store.asked("a.mp4"), 1);
}

#[tokio::test]
async fn the_first_bytes_come_before_the_window_is_complete() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, WINDOW);
    store.hold_bodies_after(MIB);
    let mut reply = gateway.get(path("a.mp4")).send().await;
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    assert!(OLD.holds(0, &piece));
    assert!(store.bytes_sent() <= MIB);
    store.release();
}

#[tokio::test]
async fn a_small_object_costs_one_storage_request_and_then_none() {
    let (store, gateway) = gateway_over_store().await;
    store.put("media", "a.png", OLD.bytes(100_000), Some("image/png"));
    for _ in 0..3 {
        let reply = gateway.get(path("a.png")).send().await;
        assert_eq!(reply.compare(OLD, 0).await, (100_000, true));
    }
    assert_eq!(store.asked("a.png"), 1);
}

#[tokio::test]
async fn storage_is_asked_for_aligned_chunks_and_no_more_than_was_wanted() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, 10 * WINDOW);
    let first_pos = 3 * WINDOW + 5;
    let reply = gateway
        .get(path("a.mp4"))
        .range(format!("bytes={first_pos}-{}", first_pos + 9))
        .send()
        .await;
    assert_eq!(reply.compare(OLD, first_pos).await, (10, true));
    let asked = store.requests();
    let ranges: Vec<_> = asked
        .iter()
        .filter_map(|request| request.range.as_deref())
        .collect();
    assert!(!ranges.is_empty());
    for range in ranges {
        let (first, last) = range
            .trim_start_matches("bytes=")
            .split_once('-')
            .expect("a range");
        let (first, last): (u64, u64) = (
            first.parse().expect("a number"),
            last.parse().expect("a number"),
        );
        assert_eq!(first % CHUNK, 0, "{range}");
        assert!(last < first + CHUNK, "{range}");
    }
    assert!(store.bytes_sent() <= CHUNK);
}

#[tokio::test]
async fn an_object_overwritten_between_windows_aborts_the_body_and_never_mixes() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, 12 * WINDOW);
    store.hold_bodies_after(4 * MIB);
    let mut reply = gateway.get(path("a.mp4")).send().await;
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    store.generate("media", "a.mp4", NEW, 12 * WINDOW);
    store.release();
    assert!(OLD.holds(0, &piece));
    let read = piece.len() as u64;
    let (more, whole) = reply.compare(OLD, read).await;
    assert!(!whole, "the body ended as if it were whole");
    assert!(read + more < 12 * WINDOW);

    let reply = gateway.get(path("a.mp4")).send().await;
    assert_eq!(reply.compare(NEW, 0).await, (12 * WINDOW, true));
}

#[tokio::test]
async fn an_object_overwritten_before_the_head_is_answered_whole_or_with_502() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, 4 * WINDOW);
    let old = gateway.get(path("a.mp4")).range("bytes=0-9").answer().await;
    let etag = store.generate("media", "a.mp4", NEW, 4 * WINDOW);
    let range = format!("bytes={}-{}", 3 * WINDOW, 3 * WINDOW + 9);
    let reply = gateway.get(path("a.mp4")).range(range).send().await;
    match reply.status() {
        206 => {
            assert_eq!(reply.header("etag"), etag);
            assert_eq!(reply.compare(NEW, 3 * WINDOW).await, (10, true));
        }
        status => assert_eq!(status, 502),
    }
    assert_ne!(old.header("etag"), etag);
}

#[tokio::test]
async fn storage_breaking_off_mid_body_is_mended_or_aborts_and_never_ends_short() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", OLD, 2 * WINDOW);
    store.fail_next(1, crate::support::store::Fault::CutBody(3 * MIB));
    let reply = gateway.get(path("a.mp4")).send().await;
    let (read, whole) = reply.compare(OLD, 0).await;
    assert_eq!(whole, read == 2 * WINDOW);
}

#[tokio::test]
async fn a_reader_that_pauses_holds_a_few_chunks_and_no_more() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section("media"))
        .set("cache.memory", "16MiB")
        .start()
        .await;
    store.generate("media", "a.mp4", OLD, 1 << 30);
    let before = resident_bytes();
    let mut paused = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::get(gateway.address(), &path("a.mp4"), &token::of("anna")).await;
        raw.read_some(1).await;
        paused.push(raw);
    }
    // They share what they read: what storage sends comes to rest at a few windows, however large the object.
    let mut last = 0;
    eventually("storage comes to rest", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let still = store.bytes_sent() == last;
        last = store.bytes_sent();
        still.then_some(())
    })
    .await;
    assert!(last <= 6 * WINDOW, "{} MiB were read ahead", last / MIB);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 256 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn cold_requests_whose_clients_have_left_are_not_fetched_in_turn() {
    const SLOTS: usize = 64;
    let (store, gateway) = gateway_over_store().await;
    for number in 0..3 * SLOTS {
        store.generate("media", &format!("{number}.mp4"), OLD, 10);
    }
    let get = |number: usize| gateway.get(path(&format!("{number}.mp4")));
    store.hold();
    let leavers: Vec<_> = (0..2 * SLOTS)
        .map(|number| tokio::spawn(get(number).answer()))
        .collect();
    store.wait_for_requests(SLOTS).await;
    // All that may be under way are; the others wait for their turn when they leave.
    for leaver in &leavers {
        leaver.abort();
    }
    let stays = tokio::spawn(get(3 * SLOTS - 1).answer());
    eventually("all who left are gone", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("\nlockgate_http_in_flight 1\n")
            .then_some(())
    })
    .await;
    store.release();
    assert_eq!(stays.await.expect("it ends").status, 200);
    let asked = store.requests().len();
    assert!(asked <= SLOTS + 1, "{asked} requests");
}

#[tokio::test]
async fn stale_metadata_does_not_fetch_a_window_that_is_under_way_again() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    store.generate("media", "a.mp4", OLD, 4 * MIB);
    store.hold_bodies_after(MIB);
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reply = gateway.get(path("a.mp4")).send().await;
        assert!(reply.next().await.expect("a piece").is_ok());
        readers.push(reply);
    }
    store.release();
    for reader in readers {
        // A first piece was taken off each, and is not longer than what was sent by then.
        assert!(reader.whole().await.status == 200);
    }
    assert_eq!(store.count("GetObject", "a.mp4"), 1);
}

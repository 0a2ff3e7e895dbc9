//! Storage stops in the middle: it stalls, drips, or resets the connection.

use std::time::{Duration, Instant};

use super::{MIB, WINDOW, assert_served, impatient, read, started};
use crate::support::wild_store::{At, Break};

#[tokio::test]
async fn a_stall_in_the_middle_of_a_body_is_taken_up_by_another_request() {
    let (store, gateway) = impatient().await;
    let content = store.put("a.mp4", WINDOW);
    store.next(|answer| answer.breaks = Some((At::Body(3 * MIB), Break::Stall)));
    assert_served(&gateway, "a.mp4", content, WINDOW).await;
    assert_eq!(store.count(), 2);
}

#[tokio::test]
async fn a_stall_before_the_head_is_504_and_the_next_request_is_served() {
    for at in [At::BeforeHead, At::MidHead] {
        let (store, gateway) = impatient().await;
        let content = store.put("a.mp4", 1000);
        store.next(move |answer| answer.breaks = Some((at, Break::Stall)));
        assert_eq!(read(&gateway, "a.mp4", content).await.0, 504, "{at:?}");
        assert_eq!(store.count(), 1, "{at:?}");
        assert_served(&gateway, "a.mp4", content, 1000).await;
    }
}

#[tokio::test]
async fn a_reset_at_any_stage_is_not_seen() {
    for at in [
        At::BeforeHead,
        At::MidHead,
        At::Body(0),
        At::Body(1),
        At::Body(3 * MIB),
        At::Body(WINDOW - 1),
    ] {
        for how in [Break::Reset, Break::Close] {
            let (store, gateway) = started().await;
            let content = store.put("a.mp4", 2 * WINDOW);
            store.next(move |answer| answer.breaks = Some((at, how.clone())));
            assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
        }
    }
}

#[tokio::test]
async fn a_reset_at_any_stage_again_and_again_is_503_or_a_cut() {
    for at in [At::BeforeHead, At::MidHead, At::Body(0), At::Body(MIB)] {
        let (store, gateway) = started().await;
        let content = store.put("a.mp4", 2 * WINDOW);
        store.always(move |answer| answer.breaks = Some((at, Break::Close)));
        match read(&gateway, "a.mp4", content).await {
            (200, read, whole) => assert!(!whole && read <= 3 * MIB, "{at:?}: {read}"),
            (status, _, _) => assert_eq!(status, 503, "{at:?}"),
        }
        assert_eq!(store.count(), 3, "{at:?}");
        store.behave();
        assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
    }
}

#[tokio::test]
async fn a_slow_drip_is_a_stall_and_ends() {
    let (store, gateway) = impatient().await;
    let content = store.put("a.mp4", WINDOW);
    store.always(|answer| answer.drip = Some(Duration::from_millis(5)));
    let begun = Instant::now();
    let (status, read_bytes, whole) = read(&gateway, "a.mp4", content).await;
    // A byte every 5 ms would take half a day.
    assert!(!whole && read_bytes < MIB, "{status} {read_bytes}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(store.count(), 3);
    store.behave();
    assert_served(&gateway, "a.mp4", content, WINDOW).await;
}

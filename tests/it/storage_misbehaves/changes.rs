//! The object changes while it is read, or between two reads of it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{MIB, WINDOW, assert_served, path, started};
use crate::support::gateway::Gateway;
use crate::support::wild_store::{Answer, At, Break, Framing, WildStore, etag};

const LENGTH: u64 = 2 * WINDOW;

/// Reads the old version; what `change` does happens when a MiB of it is out, and then the connection breaks.
async fn read_while(change: impl FnOnce(&WildStore), ignores_conditions: bool) {
    let (store, gateway) = started().await;
    let old = store.put("a.mp4", LENGTH);
    let go_on = Arc::new(Semaphore::new(0));
    let waits = go_on.clone();
    store.next(move |answer| {
        answer.breaks = Some((At::Body(MIB), Break::Wait(waits.clone())));
        let range = answer.range();
        // What comes after the pause ends early.
        range.end = range.start + 2 * MIB;
        answer.framing = Framing::Close;
    });
    if ignores_conditions {
        store.always(Answer::ignore_conditions);
    }
    let mut reply = gateway.get(path("a.mp4")).send().await;
    let first = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    assert!(old.holds(0, &first));
    change(&store);
    go_on.add_permits(1);
    let read = first.len() as u64;
    let (more, whole) = reply.compare(old, read).await;
    assert!(!whole, "the body ended as if it were whole");
    assert!(read + more <= 2 * MIB, "{}", read + more);
    assert!(store.count() > 1, "it was taken up");
}

#[tokio::test]
async fn an_object_overwritten_while_its_window_breaks_off_is_cut_and_never_mixed() {
    for ignores_conditions in [false, true] {
        read_while(
            |store| {
                store.put("a.mp4", LENGTH);
            },
            ignores_conditions,
        )
        .await;
    }
}

#[tokio::test]
async fn an_object_that_shrinks_mid_stream_is_cut() {
    for ignores_conditions in [false, true] {
        read_while(
            |store| {
                store.put("a.mp4", MIB);
            },
            ignores_conditions,
        )
        .await;
    }
}

#[tokio::test]
async fn an_object_that_grows_mid_stream_is_cut() {
    for ignores_conditions in [false, true] {
        let grown = |store: &WildStore| {
            store.put("a.mp4", 2 * LENGTH);
        };
        read_while(grown, ignores_conditions).await;
    }
}

#[tokio::test]
async fn an_object_deleted_mid_stream_is_cut() {
    read_while(|store| store.remove("a.mp4"), false).await;
}

/// Ten bytes of the second window, which is not cached, after the first was read.
async fn second_range(
    change: impl FnOnce(&WildStore),
) -> (WildStore, Gateway, (u16, String, Vec<u8>)) {
    let (store, gateway) = started().await;
    let old = store.put("a.mp4", LENGTH);
    let first = gateway.get(path("a.mp4")).range("bytes=0-9").send().await;
    assert_eq!(first.header("etag"), etag("a.mp4", 1));
    assert_eq!(first.compare(old, 0).await, (10, true));
    change(&store);
    let range = format!("bytes={WINDOW}-{}", WINDOW + 9);
    let answer = gateway.get(path("a.mp4")).range(range).answer().await;
    let tag = answer.header("etag").to_owned();
    let told = (answer.status, tag, answer.body.to_vec());
    (store, gateway, told)
}

#[tokio::test]
async fn an_object_that_grew_between_two_ranges_is_answered_in_its_new_version() {
    let (_store, _gateway, (status, tag, body)) = second_range(|store| {
        store.put("a.mp4", 2 * LENGTH);
    })
    .await;
    assert_eq!((status, tag), (206, etag("a.mp4", 2)));
    let new = crate::support::wild_store::content("a.mp4", 2);
    assert!(body.len() == 10 && new.holds(WINDOW, &body));
}

#[tokio::test]
async fn an_object_that_shrank_between_two_ranges_is_416_and_then_whole() {
    let (_store, gateway, (status, _, _)) = second_range(|store| {
        store.put("a.mp4", MIB);
    })
    .await;
    assert_eq!(status, 416);
    let new = crate::support::wild_store::content("a.mp4", 2);
    assert_served(&gateway, "a.mp4", new, MIB).await;
}

#[tokio::test]
async fn an_object_deleted_between_two_ranges_is_404() {
    let (_store, _gateway, (status, _, _)) = second_range(|store| store.remove("a.mp4")).await;
    assert_eq!(status, 404);
}

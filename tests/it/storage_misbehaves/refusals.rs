//! Storage says no for the moment: how often it is asked again, when, and what the client is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{MIB, WINDOW, assert_served, path, read, started};
use crate::support::eventually;
use crate::support::wild_store::{Answer, At, Break};

fn slow_down(answer: &mut Answer) {
    answer.refuse(503, "SlowDown");
}

#[tokio::test]
async fn a_slow_down_once_or_twice_is_not_seen() {
    for times in [1, 2] {
        let (store, gateway) = started().await;
        let content = store.put("a.mp4", 1000);
        store.next_few(times, slow_down);
        assert_served(&gateway, "a.mp4", content, 1000).await;
        assert_eq!(store.count(), times + 1);
    }
}

#[tokio::test]
async fn a_slow_down_always_is_503_after_three_tries() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    store.always(slow_down);
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(store.count(), 3);
    store.behave();
    assert_served(&gateway, "a.mp4", content, 1000).await;
}

#[tokio::test]
async fn a_500_once_is_not_seen() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    store.next(|answer| answer.refuse(500, "InternalError"));
    assert_served(&gateway, "a.mp4", content, 1000).await;
}

#[tokio::test]
async fn a_short_retry_after_of_storages_is_waited_for() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    store.next(|answer| {
        slow_down(answer);
        answer.set("Retry-After", "1");
    });
    let begun = Instant::now();
    assert_served(&gateway, "a.mp4", content, 1000).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(store.count(), 2);
}

#[tokio::test]
async fn a_long_retry_after_of_storages_is_passed_on_and_storage_left_alone() {
    let (store, gateway) = started().await;
    for (key, status, said, told) in [
        ("a.mp4", 503, "17", "17"),
        ("b.mp4", 429, "17", "17"),
        ("c.mp4", 500, "17", "17"),
        ("d.mp4", 503, "100000", "300"),
        ("e.mp4", 503, "Fri, 31 Dec 2100 23:59:59 GMT", "300"),
        ("f.mp4", 503, "-1", "5"),
    ] {
        store.put(key, 1000);
        let before = store.count();
        store.always(move |answer| {
            answer.refuse(status, "SlowDown");
            answer.set("Retry-After", said);
        });
        let answer = gateway.get(path(key)).answer().await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, told),
            "{said}"
        );
        let asked = store.count() - before;
        assert_eq!(asked, if told == "5" { 3 } else { 1 }, "{said}");
    }
}

#[tokio::test]
async fn a_window_that_breaks_off_again_and_again_is_asked_for_three_times_in_all() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", WINDOW);
    // A refusal counts as a try of the same window.
    store.next(slow_down);
    store.always(|answer| answer.breaks = Some((At::Body(MIB), Break::Close)));
    assert_eq!(
        read(&gateway, "a.mp4", content).await,
        (200, 2 * MIB, false)
    );
    assert_eq!(store.count(), 3);
    store.behave();
    assert_served(&gateway, "a.mp4", content, WINDOW).await;
}

#[tokio::test]
async fn a_storage_that_fails_everybody_is_asked_little_more_than_once_each() {
    const READERS: usize = 400;
    let (store, gateway) = started().await;
    store.always(slow_down);
    let begun = Instant::now();
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let ask = gateway.get(path(&format!("{number}.mp4")));
        readers.spawn(async move { ask.status().await });
    }
    for status in readers.join_all().await {
        assert_eq!(status, Some(503));
    }
    // A fifth, the ten that there are at the start, and two for each second.
    let most = READERS + READERS / 5 + 10 + 2 * (begun.elapsed().as_secs() as usize + 1);
    let asked = store.count();
    assert!((READERS..=most).contains(&asked), "{asked} of {most}");
}

#[tokio::test]
async fn a_shared_fetch_that_fails_fails_its_followers_only_after_their_own_try() {
    const READERS: usize = 20;
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    let go_on = Arc::new(Semaphore::new(0));
    let waits = go_on.clone();
    store.next(move |answer| {
        slow_down(answer);
        answer.breaks = Some((At::BeforeHead, Break::Wait(waits.clone())));
    });
    store.next_few(2, slow_down);
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let ask = gateway.get(path("a.mp4"));
        readers.spawn(async move { ask.send().await });
    }
    eventually("all of them wait", async || {
        let in_flight = format!("\nlockgate_http_in_flight {READERS}\n");
        gateway.metrics().await.contains(&in_flight).then_some(())
    })
    .await;
    go_on.add_permits(1);
    let mut failed = 0;
    for reply in readers.join_all().await {
        match reply.status() {
            200 => assert_eq!(reply.compare(content, 0).await, (1000, true)),
            status => {
                assert_eq!(status, 503);
                failed += 1;
            }
        }
    }
    assert_eq!(failed, 1, "the one whose three tries they were");
    assert_eq!(store.count(), 4);
}

//! All of storage is down: what is cached goes on being served, with its access check, and what is back is found.

use std::time::{Duration, Instant};

use http::Method;

use super::{WINDOW, assert_served, path, read};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wild_store::{At, Break, WildStore, content};

/// A gateway that asks storage each time, as far as storage answers.
async fn forgetful(more: impl FnOnce(Setup) -> Setup) -> (WildStore, Gateway) {
    let store = WildStore::start().await;
    let setup = Setup::over(&store.section())
        .set("cache.metadata_max_age", "0s")
        .set("delivery.stall_timeout", "1s");
    let gateway = more(setup).start().await;
    (store, gateway)
}

#[tokio::test]
async fn cached_media_is_served_with_its_access_check_while_storage_is_down() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let content = store.put("a.mp4", 2 * WINDOW);
    store.put("b.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
    let tag = gateway
        .head(path("a.mp4"))
        .send()
        .await
        .header("etag")
        .to_owned();
    store.set_down(true);

    assert_served(&gateway, "a.mp4", content, 2 * WINDOW).await;
    let part = gateway.get(path("a.mp4")).range("bytes=-100").send().await;
    assert_eq!((part.status(), part.header("etag")), (206, tag.as_str()));
    assert_eq!(part.compare(content, 2 * WINDOW - 100).await, (100, true));
    let unchanged = gateway.get(path("a.mp4")).header("if-none-match", &tag);
    assert_eq!(unchanged.answer().await.status, 304);
    assert_eq!(gateway.head(path("a.mp4")).answer().await.status, 200);
    // What is not cached is not there to be served.
    assert_eq!(gateway.get(path("b.mp4")).answer().await.status, 503);

    // Who may not see it does not see it, and who no longer may is refused.
    let by_eve = gateway.client().ask(Method::GET, path("a.mp4")).by("eve");
    assert_eq!(by_eve.answer().await.status, 403);
    gateway.replace_projects(
        "[[project]]\nid = '1'\nstorages = ['media']\nmembers = []\nmedia = 'storage'\n",
    );
    eventually("anna is refused", async || {
        let status = gateway.get(path("a.mp4")).send().await.status();
        (status == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_version_is_believed_in_no_longer_than_was_set() {
    let (store, gateway) = forgetful(|setup| setup.set("cache.stale_if_error", "0s")).await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
    store.set_down(true);
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 503);
}

#[tokio::test]
async fn what_storage_says_of_an_object_is_believed_over_what_is_cached() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let old = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", old, 1000).await;
    store.always(|answer| answer.refuse(403, "AccessDenied"));
    assert_eq!(read(&gateway, "a.mp4", old).await.0, 502);
    // An outage after it brings nothing back: what is refused may be gone (S3 says 403 where it may not list).
    store.always(|answer| answer.refuse(503, "SlowDown"));
    assert_eq!(read(&gateway, "a.mp4", old).await.0, 503);
    store.behave();
    let new = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", new, 1000).await;
    store.remove("a.mp4");
    assert_eq!(read(&gateway, "a.mp4", new).await.0, 404);
}

#[tokio::test]
async fn a_storage_that_hangs_is_waited_for_once_and_not_by_each_request() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
    store.always(|answer| answer.breaks = Some((At::BeforeHead, Break::Stall)));
    let begun = Instant::now();
    for _ in 0..30 {
        assert_served(&gateway, "a.mp4", content, 1000).await;
    }
    // Each time-out is a second.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let log = gateway.access_log();
    assert!(log.iter().any(|line| line["cache"] == "stale"), "{log:?}");
}

#[tokio::test]
async fn a_storage_that_is_down_is_tried_about_once_a_second() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
    store.always(|answer| answer.refuse(503, "SlowDown"));
    assert_served(&gateway, "a.mp4", content, 1000).await;
    let (before, begun) = (store.count(), Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        assert_served(&gateway, "a.mp4", content, 1000).await;
    }
    let asked = store.count() - before;
    let rounds = begun.elapsed().as_secs() as usize + 1;
    // Three tries each.
    assert!((1..=3 * rounds).contains(&asked), "{asked} in {rounds} s");
}

#[tokio::test]
async fn a_storage_that_is_back_is_found_within_two_seconds() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let old = store.put("a.mp4", 1000);
    store.put("b.mp4", 1000);
    assert_served(&gateway, "a.mp4", old, 1000).await;
    store.set_down(true);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_served(&gateway, "a.mp4", old, 1000).await;
        assert_eq!(gateway.get(path("b.mp4")).answer().await.status, 503);
    }
    let new = store.put("a.mp4", 2000);
    store.set_down(false);
    let back = Instant::now();
    // What was not cached is there at once; what was served stale is the new version soon.
    assert_served(&gateway, "b.mp4", content("b.mp4", 1), 1000).await;
    eventually("the new version", async || {
        let reply = gateway.get(path("a.mp4")).send().await;
        let is_new = reply.header("content-length") == "2000";
        is_new.then_some(())
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
    assert_served(&gateway, "a.mp4", new, 2000).await;
}

#[tokio::test]
async fn a_storage_that_failed_somebody_is_still_asked_for_what_is_not_cached() {
    let (store, gateway) = forgetful(|setup| setup).await;
    let content = store.put("a.mp4", 2 * WINDOW);
    let first = gateway.get(path("a.mp4")).range("bytes=0-9").send().await;
    assert_eq!(first.compare(content, 0).await, (10, true));
    store.put("b.mp4", 1000);
    store.next_few(3, |answer| answer.refuse(503, "SlowDown"));
    assert_eq!(gateway.get(path("b.mp4")).answer().await.status, 503);
    let rest = gateway.get(path("a.mp4")).range(format!("bytes={WINDOW}-"));
    let rest = rest.send().await;
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.compare(content, WINDOW).await, (WINDOW, true));
}

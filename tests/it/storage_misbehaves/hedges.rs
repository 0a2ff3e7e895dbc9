//! Storage is slow to answer some requests: these are sent a second time where the configuration says so.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{WINDOW, assert_served, path, read};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wild_store::{Answer, At, Break, WildStore};

/// One read more than this pays for a second request.
const EARNING: usize = 19;

fn stall(answer: &mut Answer) {
    answer.breaks = Some((At::BeforeHead, Break::Stall));
}

/// A gateway that sends a second request after so long, and has made so many reads.
async fn hedging(hedge: &str, reads: usize) -> (WildStore, Gateway) {
    let store = WildStore::start().await;
    let section = format!("{}hedge = '{hedge}'\n", store.section());
    let gateway = Setup::over(&section).start().await;
    for number in 0..reads {
        let key = format!("earning-{number}.png");
        let content = store.put(&key, 100);
        assert_served(&gateway, &key, content, 100).await;
    }
    (store, gateway)
}

async fn hedged(gateway: &Gateway, outcome: &str) -> u64 {
    let line = format!("lockgate_storage_hedged_total{{outcome=\"{outcome}\",storage=\"media\"}} ");
    let metrics = gateway.metrics().await;
    let count = metrics.lines().find_map(|shown| shown.strip_prefix(&line));
    count.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_second_request_answers_when_the_first_stalls_and_the_first_is_hung_up_on() {
    // Twenty answers are enough to tell what is usual.
    for (hedge, reads) in [("20ms", EARNING), ("p95", EARNING + 1)] {
        let (store, gateway) = hedging(hedge, reads).await;
        let (asked, content) = (store.count(), store.put("a.mp4", WINDOW));
        store.next(stall);
        assert_served(&gateway, "a.mp4", content, WINDOW).await;
        assert_eq!(store.count(), asked + 2, "{hedge}");
        let both = &store.asked()[asked..];
        assert_eq!(both[0].field("range"), both[1].field("range"));
        assert_eq!(hedged(&gateway, "won").await, 1);
        // The stalled one ends when its other side hangs up, and no sooner.
        eventually("the stalled connection is closed", async || {
            (store.connections() == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn no_second_request_is_sent_unless_it_is_configured() {
    let store = WildStore::start().await;
    let setup = Setup::over(&store.section()).set("delivery.stall_timeout", "500ms");
    let gateway = setup.start().await;
    let content = store.put("a.mp4", 1000);
    store.always(stall);
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 504);
    assert_eq!(store.count(), 1);
}

#[tokio::test]
async fn an_object_overwritten_between_two_requests_is_answered_whole_in_the_version_of_the_winner()
{
    let (store, gateway) = hedging("20ms", EARNING).await;
    let go_on = Arc::new(Semaphore::new(0));
    let waits = go_on.clone();
    let old = store.put("a.mp4", WINDOW / 2);
    // The first will answer with the old version, when it is too late.
    store.next(move |answer| {
        answer.breaks = Some((At::BeforeHead, Break::Wait(waits.clone())));
    });
    store.next(Answer::overwrite);
    let mut reply = gateway.get(path("a.mp4")).send().await;
    assert_eq!((reply.status(), hedged(&gateway, "won").await), (200, 1));
    let tag = reply.header("etag").to_owned();
    let first = reply.next().await.expect("a piece").expect("it holds");
    go_on.add_permits(1);
    let new = store.put("a.mp4", WINDOW / 2);
    assert!(new.holds(0, &first) && !old.holds(0, &first));
    let read = first.len() as u64;
    assert_eq!(reply.compare(new, read).await, (WINDOW / 2 - read, true));
    // What is kept is of that version alone.
    let again = gateway.get(path("a.mp4")).send().await;
    assert_eq!(again.header("etag"), tag);
    assert_eq!(again.compare(new, 0).await, (WINDOW / 2, true));
}

#[tokio::test]
async fn a_second_request_for_a_later_window_is_pinned_and_never_brings_another_version() {
    // Nothing but what is stalled takes so long, so that what was earned is there for it.
    let (store, gateway) = hedging("500ms", 3 * EARNING).await;
    let old = store.put("a.mp4", 2 * WINDOW);
    let second_window = format!("bytes={WINDOW}-");
    let is_later = move |answer: &Answer| {
        let range = answer.asked.field("range");
        range.starts_with(&second_window)
    };
    // The window's first request keeps silent; who comes second is given the new version, for this server knows no
    // conditions.
    let seen = std::sync::atomic::AtomicBool::new(false);
    store.always(move |answer| {
        if is_later(answer) {
            match seen.swap(true, std::sync::atomic::Ordering::SeqCst) {
                false => stall(answer),
                true => answer.overwrite(),
            }
        }
    });
    assert_eq!(read(&gateway, "a.mp4", old).await, (200, WINDOW, false));
    let asked = store.asked();
    let later = asked.iter().filter(|asked| {
        let range = asked.field("range");
        range.starts_with(&format!("bytes={WINDOW}-"))
    });
    let conditions: Vec<_> = later.map(|asked| asked.field("if-match")).collect();
    assert!(conditions.len() >= 2 && conditions.iter().all(|tag| *tag == conditions[0]));
    assert!(!conditions[0].is_empty());
}

//! An access source that is down, slow, or broken: never an open door, and well again when it is.

use std::time::{Duration, Instant};

use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::moody::{Mood, MoodyHouse};
use crate::support::uri;

const MIB: u64 = 1 << 20;

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

#[tokio::test]
async fn an_access_source_that_is_down_is_503_on_cached_media_too_and_well_again_when_it_is_back() {
    let house = MoodyHouse::start().await;
    house
        .store
        .put("media", "a.mp4", b"the media".to_vec(), None);
    assert_eq!(house.get(path("a.mp4")).answer().await.status, 200);
    for round in 0..2 {
        house.source.be(Mood::Down);
        house.store.reset_counters();
        for ask in [
            house.get(path("a.mp4")),
            house.get(path("a.mp4")).header("if-none-match", "*"),
        ] {
            let answer = ask.answer().await;
            assert_eq!(answer.status, 503, "{round}: {}", answer.text());
            assert_ne!(answer.header("retry-after"), "");
        }
        let eve = house.client.get(path("a.mp4")).by("eve").answer().await;
        assert_eq!(eve.status, 503);
        assert_eq!(house.store.requests().len(), 0);
        house.source.be(Mood::Well);
        assert_eq!(house.get(path("a.mp4")).answer().await.status, 200);
        let eve = house.client.get(path("a.mp4")).by("eve").answer().await;
        assert_eq!(eve.status, 403);
    }
}

#[tokio::test]
async fn an_access_source_that_takes_too_long_is_503_within_ten_seconds_and_more() {
    let house = MoodyHouse::start().await;
    house
        .store
        .put("media", "a.mp4", b"the media".to_vec(), None);
    house.source.be(Mood::Silent);
    let begun = Instant::now();
    let (first, second) = tokio::join!(
        house.get(path("a.mp4")).answer(),
        house.get(path("b.mp4")).answer()
    );
    assert_eq!((first.status, second.status), (503, 503));
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(20), "{taken:?}");
    assert_eq!(
        house.store.requests().len(),
        0,
        "nothing was read ahead of the answer"
    );
    house.source.be(Mood::Well);
    assert_eq!(house.get(path("a.mp4")).answer().await.status, 200);
}

#[tokio::test]
async fn a_running_body_is_cut_when_the_access_source_goes_down() {
    let house = MoodyHouse::start().await;
    house
        .store
        .generate("media", "a.mp4", Pattern(1), 100 * MIB);
    house.store.hold_bodies_after(4 * MIB);
    let reply = house.get(path("a.mp4")).send().await;
    assert_eq!(reply.status(), 200);
    house.source.be(Mood::Down);
    house.store.release();
    let (read, whole) = reply.compare(Pattern(1), 0).await;
    assert!(!whole, "the body went on to its end");
    assert!(read <= 9 * MIB, "{read} bytes");
    let cut = r#"lockgate_http_aborted_total{reason="access_unavailable"} 1"#;
    eventually("the metric says so", async || {
        house.metrics().contains(cut).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_one_request_is_a_500_there_and_a_metric() {
    let house = MoodyHouse::start().await;
    house
        .store
        .put("media", "a.mp4", b"the media".to_vec(), None);
    house.source.be(Mood::Panics);
    // One connection: what goes on it afterwards is answered.
    for _ in 0..3 {
        let answer = house.get(path("a.mp4")).answer().await;
        assert_eq!(answer.status, 500);
        assert!(!answer.text().contains("mood"), "{}", answer.text());
    }
    let counted = r#"lockgate_http_requests_total{code="500",method="GET",route="projects"} 3"#;
    assert!(house.metrics().contains(counted), "{}", house.metrics());
    assert!(house.metrics().contains("lockgate_http_in_flight 0"));
    house.source.be(Mood::Well);
    assert_eq!(house.get(path("a.mp4")).answer().await.status, 200);
}

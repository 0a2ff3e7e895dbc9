//! Global caps: past them the answer is 503 with `Retry-After`, and those who are served go on.

use super::{MIB, path};
use crate::support::client::{Answer, Client};
use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;

async fn with_limit(key: &str, value: impl Into<toml::Value>) -> (Store, Gateway) {
    let store = Store::start().await;
    store.generate("media", "good.mp4", Pattern(1), 1000);
    store.generate("media", "big.mp4", Pattern(1), 100 * MIB);
    let setup = Setup::over(&store.section("media")).set(key, value);
    (store, setup.start().await)
}

fn assert_shed(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["type"], "urn:lockgate:problem:overloaded");
    let after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!(after >= 1);
}

#[tokio::test]
async fn connections_past_the_cap_are_told_503_and_closed() {
    let (_store, gateway) = with_limit("server.limits.total_connections", 2).await;
    let served: Vec<_> = (0..2)
        .map(|_| Client::new(gateway.client().base()))
        .collect();
    for client in &served {
        let answer = client.get(path("good.mp4")).by("anna").answer().await;
        assert_eq!(answer.status, 200);
    }
    for _ in 0..3 {
        let client = Client::new(gateway.client().base());
        let shed = client.get(path("good.mp4")).by("anna").answer().await;
        assert_shed(&shed);
        assert_eq!(shed.header("connection"), "close");
    }
    let client = Client::http2(gateway.client().base());
    assert_shed(&client.get(path("good.mp4")).by("anna").answer().await);
    for client in &served {
        let answer = client.get(path("good.mp4")).by("anna").answer().await;
        assert_eq!(answer.status, 200);
    }
    drop(served);
    eventually("a place is free again", async || {
        let client = Client::new(gateway.client().base());
        let answer = client.get(path("good.mp4")).by("anna").answer().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bodies_past_the_cap_are_told_503() {
    let (_store, gateway) = with_limit("server.limits.total_streams", 1).await;
    let running = gateway.get(path("big.mp4")).send().await;
    assert_eq!(running.status(), 200);
    assert_shed(&gateway.get(path("good.mp4")).answer().await);
    assert_eq!(running.compare(Pattern(1), 0).await, (100 * MIB, true));
    eventually("the place is given back", async || {
        let answer = gateway.get(path("good.mp4")).answer().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn memory_past_the_cap_is_told_503_and_what_is_small_still_fits() {
    let (_store, gateway) = with_limit("server.limits.total_memory", "2MiB").await;
    let first = gateway.get(path("big.mp4")).send().await;
    let small = gateway.get(path("good.mp4")).answer().await;
    assert_eq!((first.status(), small.status), (200, 200));
    let second = gateway.get(path("big.mp4")).send().await;
    assert_eq!(second.status(), 200);
    assert_shed(&gateway.get(path("big.mp4")).answer().await);
    assert_shed(&gateway.get(path("good.mp4")).answer().await);
    // A head weighs nothing.
    assert_eq!(gateway.head(path("big.mp4")).answer().await.status, 200);
    drop(first);
    eventually("its memory is given back", async || {
        let answer = gateway.get(path("good.mp4")).answer().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

//! 408, 413, 414, 429, 431: a limit on everything that a client sends or takes.

use super::{assert_problem, path, started};
use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::raw::{self, Raw};
use crate::support::store::Store;

#[tokio::test]
async fn status_408_or_a_close_ends_a_head_that_never_ends() {
    let (_store, gateway) = started().await;
    let mut raw = Raw::send(gateway.address(), "GET / HTTP/1.1\r\nHost: lock").await;
    let answer = raw.read_to_end().await;
    assert!(
        matches!(raw::status(&answer), 0 | 408),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn status_413_is_for_a_body_that_nobody_wants() {
    let (_store, gateway) = started().await;
    // Only announced: what is not wanted need not be sent to be refused.
    let request = "POST /session HTTP/1.1\r\nHost: lockgate\r\nContent-Length: 2000000\r\n\r\n";
    let mut raw = Raw::send(gateway.address(), request).await;
    assert_eq!(raw::status(&raw.read_some(64).await), 413);
}

#[tokio::test]
async fn status_414_is_for_a_uri_past_the_limit() {
    let (_store, gateway) = started().await;
    assert_problem(&gateway.get(path(&"a".repeat(20_000))).answer().await, 414);
}

#[tokio::test]
async fn status_429_says_when_to_come_again() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("server.limits.requests_per_second", 2);
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let mut limited = None;
    for _ in 0..50 {
        let answer = gateway.get(path("a.mp4")).answer().await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert_problem(&limited, 429);
    assert!(
        limited
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds >= 1)
    );
}

#[tokio::test]
async fn status_429_limits_the_bodies_at_once_of_one_annotator() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media"))
        .set("server.limits.concurrent_streams", 1)
        .projects("[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna', 'bo']\nmedia = 'storage'\n");
    let gateway = setup.start().await;
    store.generate("media", "a.mp4", Pattern(1), 64 << 20);
    let running = gateway.get(path("a.mp4")).send().await;
    assert_eq!(running.status(), 200);
    assert_problem(&gateway.get(path("a.mp4")).answer().await, 429);
    let other = gateway
        .client()
        .get(path("a.mp4"))
        .by("bo")
        .range("bytes=0-9")
        .answer()
        .await;
    assert_eq!(
        other.status, 206,
        "another annotator has limits of their own"
    );
    drop(running);
    eventually("the stream is given back", async || {
        let again = gateway.get(path("a.mp4")).range("bytes=0-9").answer().await;
        (again.status == 206).then_some(())
    })
    .await;
}

#[tokio::test]
async fn status_431_is_for_a_head_past_the_limit() {
    let (_store, gateway) = started().await;
    let field = format!("X-Long: {}\r\n", "a".repeat(4000));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: lockgate\r\n{}\r\n",
        field.repeat(50)
    );
    let mut raw = Raw::send(gateway.address(), request).await;
    assert_eq!(raw::status(&raw.read_to_end().await), 431);
}

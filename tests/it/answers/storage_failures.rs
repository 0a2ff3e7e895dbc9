//! 502, 503, 504: what storage does wrong, told as what it is and never as the annotator's fault.

use super::{assert_problem, path, started};
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::store::{Fault, Store};
use crate::support::uri;

#[tokio::test]
async fn status_502_is_for_storage_that_refuses_lockgates_credentials() {
    let (store, gateway) = started().await;
    store.fail_next(10, Fault::Status(403, "AccessDenied"));
    assert_problem(&gateway.get(path("a.mp4")).answer().await, 502);
}

#[tokio::test]
async fn status_502_is_for_a_secret_key_that_is_wrong() {
    let store = Store::start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let wrong = store
        .section("media")
        .replace("the secret key", "another key");
    let gateway = Setup::over(&wrong).start().await;
    assert_problem(&gateway.get(path("a.mp4")).answer().await, 502);
}

#[tokio::test]
async fn status_502_is_for_a_bucket_that_is_not_there() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section("missing")).start().await;
    assert_problem(
        &gateway
            .get(uri::project("1", "s3://missing/a.mp4"))
            .answer()
            .await,
        502,
    );
}

#[tokio::test]
async fn status_503_says_when_to_come_again_where_storage_throttles() {
    let (store, gateway) = started().await;
    store.fail_next(20, Fault::Status(503, "SlowDown"));
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_problem(&answer, 503);
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert!(store.asked("a.mp4") <= 10, "retries are bounded");
}

#[tokio::test]
async fn status_503_is_for_storage_that_is_down() {
    let (store, gateway) = started().await;
    drop(store);
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_problem(&answer, 503);
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

#[tokio::test]
async fn one_failure_of_storage_is_retried_and_not_seen() {
    for fault in [
        Fault::Status(503, "SlowDown"),
        Fault::Status(500, "InternalError"),
        Fault::NoAnswer,
    ] {
        let (store, gateway) = started().await;
        store.fail_next(1, fault);
        let answer = gateway.get(path("a.mp4")).answer().await;
        assert_eq!(answer.status, 200, "{fault:?}");
        assert!(Pattern(1).holds(0, &answer.body));
    }
}

#[tokio::test]
async fn status_504_is_for_storage_that_does_not_answer_in_time() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("delivery.stall_timeout", "200ms");
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    store.hold();
    assert_problem(&gateway.get(path("a.mp4")).answer().await, 504);
    store.release();
}

#[tokio::test]
async fn a_body_that_stalls_is_aborted_and_never_ends_short() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("delivery.stall_timeout", "200ms");
    let gateway = setup.start().await;
    store.generate("media", "a.mp4", Pattern(1), 4 << 20);
    store.hold_bodies_after(1 << 20);
    let reply = gateway.get(path("a.mp4")).send().await;
    let (read, whole) = reply.compare(Pattern(1), 0).await;
    assert!(!whole && read < 4 << 20, "{read}");
    store.release();
}

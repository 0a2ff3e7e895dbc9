//! Who may no longer see something does not: not from the cache, not by a precondition, not to the end of a body.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::label_studio::LabelStudio;
use crate::support::raw::Raw;
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, token, uri};

const MIB: u64 = 1 << 20;
const WINDOW: u64 = 8 * MIB;
const CONTENT: Pattern = Pattern(1);

/// The access list without anna.
const REVOKED: &str =
    "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['bo']\nmedia = 'storage'\n";

fn path() -> String {
    uri::project("1", "s3://media/a.mp4")
}

async fn started(length: u64) -> (Store, Gateway) {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", CONTENT, length);
    (store, gateway)
}

/// Takes anna off the list; returns once that is in force.
async fn revoke(gateway: &Gateway) {
    gateway.replace_projects(REVOKED);
    eventually("the revocation is in force", async || {
        let answer = gateway.head(path()).answer().await;
        (answer.status == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_revoked_annotator_gets_403_on_a_cached_object() {
    let (store, gateway) = started(100_000).await;
    assert_eq!(gateway.get(path()).answer().await.status, 200);
    revoke(&gateway).await;
    store.reset_counters();
    let answer = gateway.get(path()).answer().await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("etag"), "");
    assert_eq!(
        gateway.get(path()).range("bytes=0-9").answer().await.status,
        403
    );
    assert_eq!(store.requests().len(), 0);
}

#[tokio::test]
async fn a_revoked_annotator_gets_403_instead_of_304_412_and_head_200() {
    let (_store, gateway) = started(100_000).await;
    let seen = gateway.get(path()).answer().await;
    let etag = seen.header("etag");
    assert_eq!(
        gateway
            .get(path())
            .header("if-none-match", etag)
            .answer()
            .await
            .status,
        304
    );
    revoke(&gateway).await;
    assert_eq!(
        gateway
            .get(path())
            .header("if-none-match", etag)
            .answer()
            .await
            .status,
        403
    );
    assert_eq!(
        gateway
            .get(path())
            .header("if-match", "\"other\"")
            .answer()
            .await
            .status,
        403
    );
    assert_eq!(
        gateway
            .get(path())
            .range("bytes=999999-")
            .answer()
            .await
            .status,
        403
    );
    assert_eq!(gateway.head(path()).answer().await.status, 403);
}

#[tokio::test]
async fn a_running_body_is_cut_within_one_window_of_its_sessions_logout() {
    const MEDIA: &str = "s3://media/data/a.mp4";
    let store = Store::start().await;
    store.generate("media", "data/a.mp4", CONTENT, 100 * MIB);
    store.hold_bodies_after(4 * MIB);
    let studio = LabelStudio::start(&store, &[MEDIA]).await;
    let gateway = studio.gateway().await;
    let get = |path: String| {
        gateway
            .client()
            .get(path)
            .header("cookie", "sessionid=anna")
    };
    let mut reply = get(uri::task("1", MEDIA)).send().await;
    let piece = reply.next().await.expect("a piece");
    let read = piece.expect("the body holds").len() as u64;
    assert_eq!(get("/logout".into()).answer().await.status, 200);
    store.release();
    let (more, whole) = reply.compare(CONTENT, read).await;
    assert!(!whole, "the body went on to its end");
    assert!(read + more <= WINDOW, "{} bytes", read + more);
}

#[tokio::test]
async fn a_running_body_is_cut_within_one_window_of_the_revocation() {
    let (store, gateway) = started(100 * MIB).await;
    store.hold_bodies_after(4 * MIB);
    let mut reply = gateway.get(path()).send().await;
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    revoke(&gateway).await;
    store.release();
    let read = piece.len() as u64;
    let (more, whole) = reply.compare(CONTENT, read).await;
    assert!(!whole, "the body went on to its end");
    assert!(read + more <= WINDOW, "{} bytes", read + more);
}

#[tokio::test]
async fn a_running_body_is_cut_when_its_token_expires() {
    let (store, gateway) = started(100 * MIB).await;
    let short = token::with("anna", json!({"exp": token::epoch(2)}));
    store.hold_bodies_after(4 * MIB);
    let mut reply = gateway.client().get(path()).bearer(&short).send().await;
    assert_eq!(reply.status(), 200);
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    eventually("the token expires", async || {
        let answer = gateway.client().head(path()).bearer(&short).answer().await;
        (answer.status == 401).then_some(())
    })
    .await;
    store.release();
    let read = piece.len() as u64;
    let (more, whole) = reply.compare(CONTENT, read).await;
    assert!(!whole, "the body went on to its end");
    assert!(read + more <= WINDOW, "{} bytes", read + more);
}

#[tokio::test]
async fn an_expired_token_gets_401_on_a_cached_object_and_instead_of_304() {
    let (store, gateway) = started(100_000).await;
    let seen = gateway.get(path()).answer().await;
    store.reset_counters();
    let expired = token::with("anna", json!({"exp": token::epoch(-5)}));
    let ask = || gateway.client().get(path()).bearer(&expired);
    assert_eq!(ask().answer().await.status, 401);
    assert_eq!(
        ask()
            .header("if-none-match", seen.header("etag"))
            .answer()
            .await
            .status,
        401
    );
    assert_eq!(
        gateway
            .client()
            .head(path())
            .bearer(&expired)
            .answer()
            .await
            .status,
        401
    );
    assert_eq!(store.requests().len(), 0);
}

#[tokio::test]
async fn a_body_from_the_cache_is_cut_too() {
    let (store, gateway) = started(6 * WINDOW).await;
    let whole = gateway.get(path()).send().await;
    assert_eq!(whole.compare(CONTENT, 0).await, (6 * WINDOW, true));
    store.reset_counters();
    // A reader that stands still: what the sockets do not take stays with the gateway.
    let mut raw = Raw::get(gateway.address(), &path(), &token::of("anna")).await;
    raw.read_some(1).await;
    revoke(&gateway).await;
    let rest = raw.read_to_end().await.len() as u64;
    assert!(rest < 6 * WINDOW, "the body went on to its end");
    assert_eq!(store.requests().len(), 0, "it came from the cache");
}

#[tokio::test]
async fn a_body_over_http2_is_cut_by_a_reset() {
    let (store, gateway) = started(100 * MIB).await;
    let client = crate::support::client::Client::http2(format!("http://{}", gateway.address()));
    store.hold_bodies_after(4 * MIB);
    let mut reply = client.get(path()).by("anna").send().await;
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    revoke(&gateway).await;
    store.release();
    let (more, whole) = reply.compare(CONTENT, piece.len() as u64).await;
    assert!(!whole, "the body went on to its end");
    assert!(more <= WINDOW);
}

#[tokio::test]
async fn a_changed_access_list_is_in_force_within_a_second() {
    let (_store, gateway) = started(1).await;
    assert_eq!(gateway.get(path()).answer().await.status, 200);
    let changed = Instant::now();
    revoke(&gateway).await;
    assert!(
        changed.elapsed() < Duration::from_secs(1),
        "{:?}",
        changed.elapsed()
    );
    let restored = REVOKED.replace("bo", "anna");
    let changed = Instant::now();
    gateway.replace_projects(&restored);
    eventually("the restored list is in force", async || {
        (gateway.head(path()).answer().await.status == 200).then_some(())
    })
    .await;
    assert!(
        changed.elapsed() < Duration::from_secs(1),
        "{:?}",
        changed.elapsed()
    );
}

#[tokio::test]
async fn a_broken_access_list_keeps_the_old_one_and_says_so() {
    let (_store, gateway) = started(1).await;
    gateway.replace_projects("[[project]]\nid = ");
    eventually("the metric says so", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("lockgate_config_last_reload_successful 0")
            .then_some(())
    })
    .await;
    assert_eq!(gateway.get(path()).answer().await.status, 200);
    revoke(&gateway).await;
    eventually("the metric says it is well again", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("lockgate_config_last_reload_successful 1")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_storage_kept_waiting_is_asked_about_again() {
    let (store, gateway) = started(100_000).await;
    store.generate("media", "cached.mp4", CONTENT, 10);
    let cached = uri::project("1", "s3://media/cached.mp4");
    assert_eq!(gateway.get(&cached).answer().await.status, 200);
    store.hold();
    let waits = tokio::spawn(gateway.get(path()).answer());
    store.wait_for_requests(2).await;
    let asked_at = Instant::now();
    gateway.replace_projects(REVOKED);
    eventually("the revocation is in force", async || {
        let answer = gateway.get(&cached).answer().await;
        (answer.status == 403).then_some(())
    })
    .await;
    // What was permitted holds for a second.
    tokio::time::sleep_until((asked_at + Duration::from_millis(1_100)).into()).await;
    store.release();
    assert_eq!(waits.await.expect("it ends").status, 403);
}

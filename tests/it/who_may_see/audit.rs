//! The audit log of a running gateway: who was shown what, who was refused or cut off, which configuration was read.

use serde_json::{Value, json};

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{eventually, token, uri};

const MIB: u64 = 1 << 20;

const REVOKED: &str =
    "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['bo']\nmedia = 'storage'\n";

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

async fn started() -> (Store, Gateway) {
    let store = Store::start().await;
    for key in ["a.mp4", "b.mp4"] {
        store.put("media", key, b"the media".to_vec(), None);
    }
    let setup = Setup::over(&store.section("media")).set("log.audit", "audit.log");
    (store, setup.start().await)
}

/// The lines of this event so far.
fn audited(gateway: &Gateway, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(gateway.directory().join("audit.log")).unwrap_or_default();
    let whole = text.lines().filter(|line| line.ends_with('}'));
    let lines = whole.map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    lines.filter(|line| line["event"] == event).collect()
}

async fn until(gateway: &Gateway, event: &str, count: usize) -> Vec<Value> {
    eventually("the lines are there", async || {
        let lines = audited(gateway, event);
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn the_audit_log_says_once_who_was_shown_what() {
    let (_store, gateway) = started().await;
    let first = gateway.get(path("a.mp4")).answer().await;
    for _ in 0..3 {
        gateway.get(path("a.mp4")).range("bytes=0-1").answer().await;
        let etag = first.header("etag");
        let again = gateway.get(path("a.mp4")).header("if-none-match", etag);
        assert_eq!(again.answer().await.status, 304);
    }
    // What shows nothing is not shown.
    assert_eq!(gateway.head(path("b.mp4")).answer().await.status, 200);
    assert_eq!(gateway.get(path("none.mp4")).answer().await.status, 404);
    assert_eq!(gateway.get(path("b.mp4")).answer().await.status, 200);
    let lines = until(&gateway, "shown", 2).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (field, value) in [
        ("subject", json!("anna")),
        ("project", json!("1")),
        ("storage", json!("media")),
        ("object", json!("s3://media/a.mp4")),
        ("status", json!(200)),
    ] {
        assert_eq!(lines[0][field], value, "{field} of {}", lines[0]);
    }
    assert_eq!(lines[1]["object"], "s3://media/b.mp4");
    assert!(audited(&gateway, "denied").is_empty());
}

#[tokio::test]
async fn the_audit_log_has_every_denial_with_its_reason() {
    let (_store, gateway) = started().await;
    let client = gateway.client();
    let expired = token::with("anna", json!({"exp": token::epoch(-60)}));
    let refused = client.get(path("a.mp4")).by("eve").answer().await;
    client.get(path("a.mp4")).by("eve").answer().await;
    client.get(path("a.mp4")).bearer(&expired).answer().await;
    client.get(path("a.mp4")).answer().await;
    gateway
        .get(uri::project("1", "s3://elsewhere/a.mp4"))
        .answer()
        .await;
    gateway
        .get(uri::task("99", "s3://media/a.mp4"))
        .answer()
        .await;
    let lines = until(&gateway, "denied", 6).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| (&line["reason"], &line["subject"], &line["status"]))
        .collect();
    let (eve, anna, nobody) = (json!("eve"), json!("anna"), json!(null));
    let (not_member, unknown) = (json!("not_member"), json!("unknown"));
    let (unauthenticated, no_storage) = (json!("unauthenticated"), json!("no_storage"));
    let (s401, s403) = (json!(401), json!(403));
    assert_eq!(
        told,
        [
            (&not_member, &eve, &s403),
            (&not_member, &eve, &s403),
            (&unauthenticated, &nobody, &s401),
            (&unauthenticated, &nobody, &s401),
            (&no_storage, &anna, &s403),
            (&unknown, &anna, &s403),
        ]
    );
    assert_eq!(lines[0]["request_id"], refused.json()["request_id"]);
    assert_eq!(lines[5]["task"], "99");
    assert!(audited(&gateway, "shown").is_empty());
}

#[tokio::test]
async fn the_audit_log_says_who_was_cut_off_and_which_access_list_did_it() {
    let (store, gateway) = started().await;
    store.generate("media", "long.mp4", Pattern(1), 100 * MIB);
    store.hold_bodies_after(4 * MIB);
    let reply = gateway.get(path("long.mp4")).send().await;
    gateway.replace_projects(REVOKED);
    eventually("the revocation is in force", async || {
        let answer = gateway.head(path("a.mp4")).answer().await;
        (answer.status == 403).then_some(())
    })
    .await;
    store.release();
    assert!(!reply.compare(Pattern(1), 0).await.1, "the body went on");
    let denied = eventually("the cut is there", async || {
        let lines = audited(&gateway, "denied");
        lines.into_iter().find(|line| line["reason"] == "revoked")
    })
    .await;
    assert_eq!(denied["object"], "s3://media/long.mp4");
    let read = until(&gateway, "configuration", 3).await;
    let files: Vec<_> = read.iter().map(|line| line["file"].as_str()).collect();
    let ends = |place: usize, name: &str| files[place].is_some_and(|file| file.ends_with(name));
    assert!(
        ends(0, "lockgate.toml") && ends(1, "projects.toml") && ends(2, "projects.toml"),
        "{files:?}"
    );
    assert_ne!(read[1]["sha256"], read[2]["sha256"]);
    assert!(read.iter().all(|line| line["taken"] == true), "{read:?}");
    gateway.replace_projects("broken");
    let read = until(&gateway, "configuration", 4).await;
    assert_eq!(read[3]["taken"], false);
}

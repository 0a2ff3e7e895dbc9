//! Who may see what: each row of the contract's third part.

mod credentials;

use serde_json::json;

use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{token, uri};

/// One project by tasks, one by storage, and one that anna has nothing to do with.
const PROJECTS: &str = "
[[project]]
id = '1'
storages = ['media', 'desk']
members = ['anna', 'bo']
groups = ['labelers']
tasks = 'tasks-1.jsonl'

[[project.task]]
id = '7'
media = ['s3://media/assigned.mp4']
assignees = ['bo']

[[project.task]]
id = '8'
media = ['/data/local-files/?d=clips/intro.wav', 'local://desk/clips/outro.wav']

[[project]]
id = '2'
storages = ['media']
members = ['anna']
media = 'storage'

[[project]]
id = '3'
storages = ['media', 'desk']
members = ['chen']
media = 'storage'
";

/// Label Studio's own task JSON: media at depth, in lists, inside text and HTML.
fn tasks() -> String {
    let tasks = [
        json!({"id": 1001, "data": {"video": "s3://media/plain.mp4"}}),
        json!({"id": 1002, "data": {"a": {"b": [{"c": "s3://media/deep.mp4"}, "s3://media/listed.mp4"]}}}),
        json!({"id": 1003, "data": {
            "html": "<p>See <img src=\"s3://media/in html &amp; more.png\"> and <a href='s3://media/link.png'>it</a></p>",
            "text": "Look at s3://media/in-text.png, then at (s3://media/in-parens.png).",
        }}),
        json!({"id": 1004, "data": {"key": "s3://media/with space?and#more.mp4"}}),
    ];
    tasks.iter().map(|task| format!("{task}\n")).collect()
}

async fn started() -> (Store, Gateway) {
    started_with(|setup| setup).await
}

async fn started_with(change: impl FnOnce(Setup) -> Setup) -> (Store, Gateway) {
    let store = Store::start().await;
    for key in [
        "plain.mp4",
        "deep.mp4",
        "listed.mp4",
        "in html & more.png",
        "link.png",
        "in-text.png",
        "in-parens.png",
        "with space?and#more.mp4",
        "assigned.mp4",
        "unnamed.mp4",
    ] {
        store.put("media", key, key.as_bytes().to_vec(), Some("video/mp4"));
    }
    let setup = Setup::bare()
        .storage("media", &store.section("media"))
        .storage("desk", "kind = 'local'\nroot = 'desk'\n")
        .file("desk/clips/intro.wav", "intro")
        .file("desk/clips/outro.wav", "outro")
        .file("desk/clips/unnamed.wav", "unnamed")
        .file("tasks-1.jsonl", tasks())
        .projects(PROJECTS);
    let gateway = change(setup).start().await;
    (store, gateway)
}

async fn status(gateway: &Gateway, subject: &str, path: &str) -> u16 {
    gateway.client().get(path).by(subject).answer().await.status
}

#[tokio::test]
async fn a_member_sees_what_a_task_names_at_any_depth_in_lists_and_inside_html_and_text() {
    let (_store, gateway) = started().await;
    for (task, key) in [
        ("1001", "plain.mp4"),
        ("1002", "deep.mp4"),
        ("1002", "listed.mp4"),
        ("1003", "in html & more.png"),
        ("1003", "link.png"),
        ("1003", "in-text.png"),
        ("1003", "in-parens.png"),
        ("1004", "with space?and#more.mp4"),
    ] {
        let answer = gateway
            .get(uri::task(task, &format!("s3://media/{key}")))
            .answer()
            .await;
        assert_eq!(answer.status, 200, "{task} {key}");
        assert_eq!(answer.text(), key);
    }
}

#[tokio::test]
async fn a_task_shows_its_own_media_alone() {
    let (_store, gateway) = started().await;
    for (task, key) in [
        ("1001", "deep.mp4"),
        ("1001", "unnamed.mp4"),
        ("1001", "plain.mp"),
        ("1002", "plain.mp4"),
    ] {
        let path = uri::task(task, &format!("s3://media/{key}"));
        assert_eq!(status(&gateway, "anna", &path).await, 403, "{task} {key}");
    }
}

#[tokio::test]
async fn the_project_route_shows_what_some_task_of_the_project_names() {
    let (_store, gateway) = started().await;
    for (key, wanted) in [("plain.mp4", 200), ("deep.mp4", 200), ("unnamed.mp4", 403)] {
        let path = uri::project("1", &format!("s3://media/{key}"));
        assert_eq!(status(&gateway, "anna", &path).await, wanted, "{key}");
    }
}

#[tokio::test]
async fn the_project_route_does_not_go_around_a_tasks_assignees() {
    let (_store, gateway) = started().await;
    let path = uri::project("1", "s3://media/assigned.mp4");
    assert_eq!(status(&gateway, "anna", &path).await, 403);
    assert_eq!(status(&gateway, "bo", &path).await, 200);
}

#[tokio::test]
async fn assignees_alone_see_a_task_that_has_any() {
    let (_store, gateway) = started().await;
    let path = uri::task("7", "s3://media/assigned.mp4");
    assert_eq!(status(&gateway, "bo", &path).await, 200);
    assert_eq!(status(&gateway, "anna", &path).await, 403);
}

#[tokio::test]
async fn media_by_storage_shows_whatever_the_projects_storages_hold() {
    let (_store, gateway) = started().await;
    let path = uri::project("2", "s3://media/unnamed.mp4");
    assert_eq!(status(&gateway, "anna", &path).await, 200);
    assert_eq!(status(&gateway, "bo", &path).await, 403);
    let other_storage = uri::project("2", "local://desk/clips/intro.wav");
    assert_eq!(status(&gateway, "anna", &other_storage).await, 403);
}

#[tokio::test]
async fn media_by_storage_can_be_the_rule_of_all_projects() {
    let (_store, gateway) = started_with(|setup| setup.set("access.media", "storage")).await;
    let path = uri::project("1", "s3://media/unnamed.mp4");
    assert_eq!(status(&gateway, "anna", &path).await, 200);
}

#[tokio::test]
async fn a_group_of_the_token_makes_a_member() {
    let (_store, gateway) = started().await;
    let path = uri::task("1001", "s3://media/plain.mp4");
    for (groups, wanted) in [
        (json!(["others", "labelers"]), 200),
        (json!("labelers"), 200),
        (json!(["others"]), 403),
        (json!([]), 403),
    ] {
        let token = token::with("dora", json!({ "groups": groups }));
        let answer = gateway.client().get(&path).bearer(token).answer().await;
        assert_eq!(answer.status, wanted, "{groups}");
    }
}

#[tokio::test]
async fn prefix_and_pattern_are_boundaries() {
    let (store, gateway) = started_with(|setup| {
        setup
            .projects("[[project]]\nid = '1'\nstorages = ['media', 'data']\nmembers = ['anna']\nmedia = 'storage'\n")
            .storage("data", "kind = 'local'\nroot = 'desk'\nprefix = 'clips'\npattern = '\\.wav$'\n")
            .file("desk/clips/a.txt", "a")
            .file("desk/clips-private/a.wav", "a")
    })
    .await;
    for (path, wanted) in [
        ("clips/intro.wav", 200),
        ("clips/a.txt", 403),
        ("clips-private/a.wav", 403),
        ("clips", 403),
    ] {
        let path = uri::project("1", &format!("local://data/{path}"));
        assert_eq!(status(&gateway, "anna", &path).await, wanted, "{path}");
    }
    drop(store);
}

#[tokio::test]
async fn local_files_are_served_in_label_studios_spelling() {
    let (_store, gateway) = started().await;
    let answer = gateway
        .get("/data/local-files/?d=clips/intro.wav")
        .answer()
        .await;
    assert_eq!((answer.status, answer.text()), (200, "intro"));
    let answer = gateway
        .get("/data/local-files?d=clips%2Fintro.wav")
        .answer()
        .await;
    assert_eq!((answer.status, answer.text()), (200, "intro"));
    for (subject, path, wanted) in [
        ("anna", "/data/local-files/?d=clips/unnamed.wav", 403),
        ("chen", "/data/local-files/?d=clips/unnamed.wav", 200),
        ("eve", "/data/local-files/?d=clips/intro.wav", 403),
        ("chen", "/data/local-files/?d=clips/none.wav", 404),
    ] {
        assert_eq!(
            status(&gateway, subject, path).await,
            wanted,
            "{subject} {path}"
        );
    }
    let path = uri::task("8", "local://desk/clips/outro.wav");
    assert_eq!(status(&gateway, "anna", &path).await, 200);
}

#[tokio::test]
async fn a_symbolic_link_does_not_lead_out_of_the_root() {
    let (_store, gateway) = started().await;
    let outside = gateway.directory().join("jwt.secret");
    std::os::unix::fs::symlink(outside, gateway.directory().join("desk/clips/link.wav"))
        .expect("a link");
    let answer = gateway
        .client()
        .get("/data/local-files/?d=clips/link.wav")
        .by("chen")
        .answer()
        .await;
    assert!(
        matches!(answer.status, 403 | 404 | 502),
        "{}",
        answer.status
    );
    assert!(!answer.text().contains(token::SECRET));
}

#[tokio::test]
async fn a_uri_that_names_no_storage_of_the_project_is_never_fetched() {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = trap.local_addr().expect("it is bound");
    let (store, gateway) = started().await;
    for uri in [
        format!("http://{address}/media/plain.mp4"),
        format!("https://{address}/media/plain.mp4"),
        "s3://elsewhere/plain.mp4".to_owned(),
        "gs://media/plain.mp4".to_owned(),
    ] {
        assert_eq!(
            status(&gateway, "anna", &uri::project("2", &uri)).await,
            403,
            "{uri}"
        );
    }
    let called = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(called.is_err(), "it was called");
    assert_eq!(store.requests().len(), 0);
}

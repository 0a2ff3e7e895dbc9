//! What keeps one thing from another: storages of the same name, and requests that look like others.

use http::Method;

use crate::support::client::{Answer, Ask};
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{raw, token, uri};

const TWO_PROJECTS: &str = "
[[project]]
id = '1'
storages = ['one']
members = ['anna']
media = 'storage'
[[project]]
id = '2'
storages = ['two']
members = ['bo']
media = 'storage'
";

async fn get(gateway: &Gateway, subject: &str, project: &str) -> Answer {
    let path = uri::project(project, "s3://media/a.mp4");
    gateway.client().get(path).by(subject).answer().await
}

#[tokio::test]
async fn two_storages_of_one_bucket_name_at_other_endpoints_never_share() {
    let (one, two) = (Store::start().await, Store::start().await);
    // The same length and type, so that only the bytes tell them apart.
    one.put("media", "a.mp4", b"of one".to_vec(), None);
    two.put("media", "a.mp4", b"of two".to_vec(), None);
    let gateway = Setup::bare()
        .storage("one", &one.section("media"))
        .storage("two", &two.section("media"))
        .projects(TWO_PROJECTS)
        .start()
        .await;
    for round in ["cold", "warm"] {
        assert_eq!(get(&gateway, "anna", "1").await.text(), "of one", "{round}");
        assert_eq!(get(&gateway, "bo", "2").await.text(), "of two", "{round}");
    }
    assert_eq!(get(&gateway, "anna", "2").await.status, 403);
    assert_eq!(
        (
            one.count("GetObject", "a.mp4"),
            two.count("GetObject", "a.mp4")
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn two_storages_of_one_bucket_under_other_credentials_never_share() {
    let store = Store::start().await;
    store.put("media", "a.mp4", b"the media".to_vec(), None);
    let refused = store
        .section("media")
        .replace(crate::support::store::SECRET, "another secret key");
    let gateway = Setup::bare()
        .storage("one", &store.section("media"))
        .storage("two", &refused)
        .projects(TWO_PROJECTS)
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(get(&gateway, "anna", "1").await.text(), "the media");
        // What the other storage's credentials brought into the cache is not theirs to see.
        assert_eq!(get(&gateway, "bo", "2").await.status, 502);
    }
}

/// Task 7 is anna's, task 8 is not, and the bucket holds what neither names.
const TASKS: &str = "
[[project]]
id = '1'
storages = ['media']
members = ['anna']
[[project.task]]
id = '7'
media = ['s3://media/a.mp4']
[[project.task]]
id = '8'
media = ['s3://media/b.mp4']
assignees = ['bo']
";

async fn tasks() -> (Store, Gateway) {
    let store = Store::start().await;
    for key in ["a.mp4", "b.mp4", "c.mp4"] {
        store.put("media", key, key.as_bytes().to_vec(), Some("video/mp4"));
    }
    let setup = Setup::over(&store.section("media")).projects(TASKS);
    let gateway = setup.start().await;
    (store, gateway)
}

#[tokio::test]
async fn a_path_that_climbs_or_wears_a_suffix_is_no_way_around() {
    let (_store, gateway) = tasks().await;
    let token = token::of("anna");
    for uri in ["s3://media/b.mp4", "s3://media/c.mp4"] {
        let query = format!("fileuri={}", uri::percent(uri));
        for path in [
            "/tasks/7/resolve/..%2f..%2f8/resolve/",
            "/tasks/7/../8/resolve/",
            "/tasks/7%2f..%2f8/resolve/",
            "/tasks/..%2ftasks%2f8/resolve/",
            "/tasks/7/resolve/..;/presign/",
            "/tasks/8;x.css/resolve/",
            "/tasks/8/resolve;x.css",
            "/tasks/8/resolve/;x.css",
            "/tasks/8/resolve/x.css",
            "/tasks/8/resolve/%3Bx.css",
            "/tasks/8%00/resolve/",
            "/tasks/8%20/resolve/",
            "/tasks/%38/resolve/",
            "/tasks/8%2F/resolve/",
            "//tasks/8/resolve/",
            "/./tasks/8/resolve/",
            "/tasks//8/resolve/",
            "/TASKS/8/resolve/",
            "/static/..%2ftasks/8/resolve/",
            "/session/../tasks/8/resolve/",
            "/projects/1%2f..%2f2/resolve/",
        ] {
            let target = format!("{path}?{query}");
            let answer = raw::Raw::answer(gateway.address(), &target, &token).await;
            let status = raw::status(&answer);
            assert!(matches!(status, 400 | 403 | 404), "{path} {uri}: {status}");
        }
    }
}

/// The whole of an answer, but for what differs between any two.
fn seen(answer: &Answer) -> (u16, Vec<String>, usize) {
    let fields = answer.headers.iter();
    let fields = fields.filter(|(name, _)| *name != "date");
    let mut fields: Vec<String> = fields
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    fields.sort();
    (answer.status, fields, answer.body.len())
}

#[tokio::test]
async fn more_in_the_query_changes_nothing() {
    let (_store, gateway) = tasks().await;
    let other = uri::percent("s3://media/b.mp4");
    for (uri, status) in [("s3://media/a.mp4", 200), ("s3://media/b.mp4", 403)] {
        let path = uri::task("7", uri);
        let plain = seen(&gateway.get(&path).answer().await);
        assert_eq!(plain.0, status);
        for more in [
            "&lsref=1".to_owned(),
            format!("&fileuri={other}"),
            format!("&FILEURI={other}"),
            format!("&fileuri[]={other}"),
            "&task=8&project=2&user=bo&sub=bo&admin=true".to_owned(),
            "&token=x&_method=DELETE&callback=alert".to_owned(),
            "&x.css".to_owned(),
            ";fileuri=x".to_owned(),
            "&&&=&=x&%00=%00".to_owned(),
        ] {
            let path = format!("{path}{more}");
            // In a `fileuri` that is base64 a semicolon is no part of it, so that it is then understood as none.
            let answer = gateway.get(&path).answer().await;
            if more.starts_with(';') {
                assert!(matches!(answer.status, 400 | 403), "{path}");
            } else {
                assert_eq!(seen(&answer), plain, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn host_and_forwarded_fields_change_nothing() {
    let (_store, gateway) = tasks().await;
    let other = uri::task("8", "s3://media/b.mp4");
    for (path, status) in [
        (uri::task("7", "s3://media/a.mp4"), 200),
        (other.clone(), 403),
        ("/metrics".to_owned(), 404),
        ("/healthz".to_owned(), 404),
    ] {
        let plain = seen(&gateway.get(&path).answer().await);
        assert_eq!(plain.0, status, "{path}");
        let with = |name: &str, value: &str| -> Ask { gateway.get(&path).header(name, value) };
        for (name, value) in [
            ("host", "127.0.0.1:9090"),
            ("host", "evil.example.com"),
            ("host", "localhost"),
            ("forwarded", "for=127.0.0.1;host=localhost;proto=https"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "localhost"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/tasks/8"),
            ("x-forwarded-user", "bo"),
            ("x-forwarded-email", "bo"),
            ("x-remote-user", "bo"),
            ("remote-user", "bo"),
            ("x-auth-request-user", "bo"),
            ("x-real-ip", "127.0.0.1"),
            ("x-original-url", other.as_str()),
            ("x-rewrite-url", other.as_str()),
            ("x-accel-redirect", other.as_str()),
            ("x-http-method-override", "DELETE"),
            ("x-api-key", "bo"),
        ] {
            let answer = with(name, value).answer().await;
            assert_eq!(seen(&answer), plain, "{path} with {name}: {value}");
        }
    }
}

#[tokio::test]
async fn another_method_by_another_name_is_not_taken() {
    let (_store, gateway) = tasks().await;
    let path = uri::task("7", "s3://media/a.mp4");
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "GeT"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        let ask = gateway.client().ask(method.clone(), &path).by("anna");
        assert_eq!(ask.answer().await.status, 405, "{method}");
    }
}

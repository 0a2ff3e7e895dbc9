//! One test for each status and each header of the contract's answers, named by it.

mod cors;
mod headers;
mod limits;
mod refusals;
mod storage_failures;

use http::Method;

use crate::support::client::Answer;
use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::uri;

const ORIGIN: &str = "https://editor.example.com";

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

async fn started() -> (Store, Gateway) {
    let store = Store::start().await;
    let setup =
        Setup::over(&store.section("media")).set("server.cors.allowed_origins", vec![ORIGIN]);
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(1000), Some("video/mp4"));
    (store, gateway)
}

/// What every failure has (RFC 9457), and that nothing internal is in it.
fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(
        problem["type"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{problem}"
    );
    assert!(
        problem["title"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{problem}"
    );
    assert!(
        problem["request_id"]
            .as_str()
            .is_some_and(|text| text.len() == 32),
        "{problem}"
    );
    for secret in ["127.0.0.1", "AKIA", "bucket", "Signature", "<Error"] {
        assert!(!answer.text().contains(secret), "{secret} in {problem}");
    }
    assert_clean(answer);
}

/// No header of storage's, and `Vary: Origin`.
fn assert_clean(answer: &Answer) {
    for name in answer.headers.keys() {
        let name = name.as_str();
        let provider = ["x-amz-", "x-goog-", "x-ms-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        assert!(
            !provider && name != "server" && name != "set-cookie",
            "{name}"
        );
    }
    assert_eq!(answer.header("vary"), "Origin");
}

#[tokio::test]
async fn status_200_has_the_whole_object_and_every_header() {
    let (_store, gateway) = started().await;
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_eq!(answer.status, 200);
    assert!(Pattern(1).holds(0, &answer.body));
    for (name, value) in [
        ("content-length", "1000"),
        ("content-type", "video/mp4"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, no-cache"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-site"),
        ("content-range", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.header("content-disposition").starts_with("inline"));
    assert!(answer.header("etag").starts_with('"'));
    assert!(httpdate::parse_http_date(answer.header("last-modified")).is_ok());
    assert_clean(&answer);
}

#[tokio::test]
async fn status_206_has_the_true_content_range_and_every_header_of_200() {
    let (_store, gateway) = started().await;
    let whole = gateway.get(path("a.mp4")).answer().await;
    let part = gateway
        .get(path("a.mp4"))
        .range("bytes=10-19")
        .answer()
        .await;
    assert_eq!(
        (part.status, part.header("content-range")),
        (206, "bytes 10-19/1000")
    );
    for name in [
        "etag",
        "last-modified",
        "content-type",
        "accept-ranges",
        "cache-control",
        "x-content-type-options",
        "content-disposition",
        "cross-origin-resource-policy",
    ] {
        assert_eq!(part.header(name), whole.header(name), "{name}");
    }
    assert_clean(&part);
}

#[tokio::test]
async fn status_304_has_the_validators_and_no_body() {
    let (_store, gateway) = started().await;
    let whole = gateway.get(path("a.mp4")).answer().await;
    let ask = gateway
        .get(path("a.mp4"))
        .header("if-none-match", whole.header("etag"));
    let answer = ask.answer().await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    for name in ["etag", "last-modified", "accept-ranges", "cache-control"] {
        assert_eq!(answer.header(name), whole.header(name), "{name}");
    }
    assert_clean(&answer);
}

#[tokio::test]
async fn head_answers_as_get_would() {
    let (_store, gateway) = started().await;
    let get = gateway.get(path("a.mp4")).answer().await;
    let head = gateway.head(path("a.mp4")).answer().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let fields = |answer: &Answer| {
        let mut fields = answer.headers.clone();
        fields.remove("date");
        fields
    };
    assert_eq!(fields(&head), fields(&get));
    let missing = gateway.head(path("none.mp4")).answer().await;
    assert_eq!((missing.status, missing.body.len()), (404, 0));
}

#[tokio::test]
async fn status_400_is_for_what_cannot_be_understood() {
    let (_store, gateway) = started().await;
    for path in [
        "/projects/1/resolve/".to_owned(),
        "/projects/1/resolve/?fileuri=".to_owned(),
        "/projects/1/resolve/?fileuri=not%20base64%20nor%20a%20uri".to_owned(),
        "/projects/1/resolve/?fileuri=%FF%FE".to_owned(),
        uri::project("1", "ftp://media/a.mp4"),
        uri::project("1", "s3://media"),
        uri::project("1", "/data/local-files/?d=../secret"),
        uri::project("1", "local://media/a/\0/b"),
        uri::project("1", "local://media/a/../b"),
        "/data/local-files/?d=..%2F..%2Fetc%2Fpasswd".to_owned(),
        "/data/local-files/".to_owned(),
        "/tasks//resolve/?fileuri=s3%3A%2F%2Fmedia%2Fa.mp4".to_owned(),
    ] {
        assert_problem(&gateway.get(&path).answer().await, 400);
    }
}

#[tokio::test]
async fn status_401_says_bearer_and_invalid_token_where_one_was_sent() {
    let (_store, gateway) = started().await;
    let none = gateway.client().get(path("a.mp4")).answer().await;
    assert_problem(&none, 401);
    assert!(none.header("www-authenticate").starts_with("Bearer"));
    assert!(!none.header("www-authenticate").contains("error"));
    let wrong = gateway
        .client()
        .get(path("a.mp4"))
        .bearer("not.a.token")
        .answer()
        .await;
    assert_problem(&wrong, 401);
    assert!(
        wrong
            .header("www-authenticate")
            .contains("error=\"invalid_token\"")
    );
}

#[tokio::test]
async fn status_404_is_for_an_object_that_is_not_there_and_for_other_paths() {
    let (_store, gateway) = started().await;
    assert_problem(&gateway.get(path("none.mp4")).answer().await, 404);
    for path in [
        "/",
        "/tasks/1",
        "/projects/1/resolve/more",
        "/metrics",
        "/healthz",
    ] {
        assert_problem(&gateway.get(path).answer().await, 404);
    }
}

#[tokio::test]
async fn status_405_names_the_methods_allowed() {
    let (_store, gateway) = started().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = gateway
            .client()
            .ask(method, path("a.mp4"))
            .by("anna")
            .answer()
            .await;
        assert_problem(&answer, 405);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    let answer = gateway.get("/session").answer().await;
    assert_problem(&answer, 405);
    assert!(answer.header("allow").contains("POST") && answer.header("allow").contains("DELETE"));
}

#[tokio::test]
async fn status_406_is_for_a_type_that_is_not_accepted() {
    let (_store, gateway) = started().await;
    assert_problem(
        &gateway
            .get(path("a.mp4"))
            .header("accept", "image/png")
            .answer()
            .await,
        406,
    );
    for accept in [
        "*/*",
        "video/*",
        "image/png, video/mp4;q=0.1",
        "image/*, */*;q=0.8",
    ] {
        let answer = gateway
            .get(path("a.mp4"))
            .header("accept", accept)
            .answer()
            .await;
        assert_eq!(answer.status, 200, "{accept}");
    }
}

#[tokio::test]
async fn status_416_says_how_long_the_object_is() {
    let (_store, gateway) = started().await;
    let answer = gateway
        .get(path("a.mp4"))
        .range("bytes=1000-")
        .answer()
        .await;
    assert_problem(&answer, 416);
    assert_eq!(answer.header("content-range"), "bytes */1000");
}

#[tokio::test]
async fn routes_are_taken_with_and_without_the_slash_and_by_their_alias() {
    let (_store, gateway) = started().await;
    let path = path("a.mp4");
    for path in [
        path.clone(),
        path.replace("/resolve/?", "/resolve?"),
        path.replace("/resolve/", "/presign/"),
        path.replace("/resolve/?", "/presign?"),
        format!("{path}&lsref=1"),
        path.replace("?", "?lsref=1&"),
    ] {
        assert_eq!(gateway.get(&path).answer().await.status, 200, "{path}");
    }
}

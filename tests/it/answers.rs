//! One test for each status and each header of the contract's answers, named by it.

use http::Method;

use crate::support::client::Answer;
use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::raw::{self, Raw};
use crate::support::store::{Fault, Object, Store};
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

/// The answer with what must differ (the request's id and the date) taken out.
fn masked(answer: &Answer) -> (u16, String, String) {
    let id = answer.json()["request_id"]
        .as_str()
        .expect("a request id")
        .to_owned();
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| {
            format!(
                "{name}: {}",
                value.to_str().expect("ASCII").replace(&id, "ID")
            )
        })
        .collect();
    fields.sort();
    (
        answer.status,
        fields.join("\n"),
        answer.text().replace(&id, "ID"),
    )
}

#[tokio::test]
async fn status_403_is_the_same_whether_project_task_or_object_exists_or_not() {
    let store = Store::start().await;
    let projects = "
        [[project]]
        id = '1'
        storages = ['media']
        members = ['anna', 'bo']
        [[project.task]]
        id = '7'
        media = ['s3://media/a.mp4', 's3://media/none.mp4']
        assignees = ['bo']
        [[project.task]]
        id = '8'
        media = ['s3://media/b.mp4']
        [[project]]
        id = '2'
        storages = ['media']
        members = ['bo']
        media = 'storage'
    ";
    let setup = Setup::bare()
        .storage("media", &store.section("media"))
        .projects(projects);
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let mut answers = Vec::new();
    for (told, path) in [
        ("a project of others", uri::project("2", "s3://media/a.mp4")),
        (
            "a project of others, no such object",
            uri::project("2", "s3://media/none.mp4"),
        ),
        ("no such project", uri::project("9", "s3://media/a.mp4")),
        ("a task of others", uri::task("7", "s3://media/a.mp4")),
        (
            "a task of others, no such object",
            uri::task("7", "s3://media/none.mp4"),
        ),
        ("no such task", uri::task("99", "s3://media/a.mp4")),
        ("media of another task", uri::task("8", "s3://media/a.mp4")),
        ("media of no task", uri::task("8", "s3://media/other.mp4")),
        (
            "media of no task of the project",
            uri::project("1", "s3://media/other.mp4"),
        ),
        (
            "a bucket of no storage",
            uri::project("1", "s3://elsewhere/a.mp4"),
        ),
        (
            "an address of the client's choice",
            uri::project("1", "http://127.0.0.1:1/media/a.mp4"),
        ),
        (
            "local files where there are none",
            "/data/local-files/?d=a.mp4".to_owned(),
        ),
    ] {
        let answer = gateway.get(path).answer().await;
        assert_problem(&answer, 403);
        answers.push((told, masked(&answer)));
    }
    let (_, first) = &answers[0];
    for (told, answer) in &answers {
        assert_eq!(answer, first, "{told}");
    }
    assert_eq!(
        store.requests().len(),
        0,
        "storage knows nothing of who is refused"
    );
}

#[tokio::test]
async fn status_404_is_for_an_object_that_is_not_there_and_for_other_paths() {
    let (_store, gateway) = started().await;
    assert_problem(&gateway.get(path("none.mp4")).answer().await, 404);
    for path in [
        "/",
        "/tasks/1",
        "/tasks//resolve",
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
    let ask = gateway.client().ask(Method::POST, "/session").by("anna");
    assert_problem(&ask.body(vec![b'a'; 2 << 20]).answer().await, 413);
}

#[tokio::test]
async fn status_414_is_for_a_uri_past_the_limit() {
    let (_store, gateway) = started().await;
    assert_problem(&gateway.get(path(&"a".repeat(20_000))).answer().await, 414);
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
    crate::support::eventually("the stream is given back", async || {
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

#[tokio::test]
async fn status_502_is_for_storage_that_refuses_lockgates_credentials() {
    let (store, gateway) = started().await;
    store.fail_next(10, Fault::Status(403, "AccessDenied"));
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
    assert!(!whole && read <= 1 << 20, "{read}");
    store.release();
}

#[tokio::test]
async fn content_type_and_disposition_follow_the_object_and_its_extension() {
    let (store, gateway) = started().await;
    for (key, stored, content_type, disposition) in [
        ("a.png", Some("image/png"), "image/png", "inline"),
        (
            "b.png",
            Some("application/octet-stream"),
            "image/png",
            "inline",
        ),
        ("c.wav", Some("binary/octet-stream"), "audio/wav", "inline"),
        (
            "d.pdf",
            Some("application/pdf"),
            "application/pdf",
            "inline",
        ),
        (
            "e.txt",
            Some("text/plain; charset=utf-8"),
            "text/plain; charset=utf-8",
            "inline",
        ),
        (
            "f.html",
            Some("application/octet-stream"),
            "application/octet-stream",
            "attachment",
        ),
        ("g.unknown", None, "application/octet-stream", "attachment"),
        (
            "h",
            Some("application/x-thing"),
            "application/x-thing",
            "attachment",
        ),
    ] {
        store.put("media", key, Pattern(1).bytes(10), stored);
        let answer = gateway.get(path(key)).answer().await;
        assert_eq!(answer.header("content-type"), content_type, "{key}");
        assert!(
            answer
                .header("content-disposition")
                .starts_with(disposition),
            "{key}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn content_security_policy_sandboxes_what_could_run() {
    let (store, gateway) = started().await;
    let sandbox = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
    for (key, stored, policy) in [
        ("a.html", "text/html", sandbox),
        ("b.svg", "image/svg+xml", sandbox),
        ("c.xml", "application/xml", sandbox),
        ("d.xhtml", "application/xhtml+xml; charset=utf-8", sandbox),
        ("e.pdf", "application/pdf", ""),
        ("f.png", "image/png", ""),
    ] {
        store.put("media", key, Pattern(1).bytes(10), Some(stored));
        let answer = gateway.get(path(key)).answer().await;
        assert_eq!(answer.header("content-security-policy"), policy, "{key}");
    }
}

#[tokio::test]
async fn content_encoding_is_passed_as_stored_and_ranges_are_over_the_stored_bytes() {
    let (store, gateway) = started().await;
    let mut object = Object::new(Pattern(1).bytes(1000), Some("text/plain"));
    object.content_encoding = Some("gzip".into());
    store.put_object("media", "a.txt", object);
    let whole = gateway.get(path("a.txt")).answer().await;
    assert_eq!(
        (whole.header("content-encoding"), whole.body.len()),
        ("gzip", 1000)
    );
    let part = gateway.get(path("a.txt")).range("bytes=5-9").answer().await;
    assert_eq!(
        (part.header("content-encoding"), part.status),
        ("gzip", 206)
    );
    assert!(Pattern(1).holds(5, &part.body));
}

#[tokio::test]
async fn etag_is_the_objects_own_and_the_same_for_everybody() {
    let store = Store::start().await;
    let two = "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna', 'bo']\nmedia = 'storage'\n";
    let gateway = Setup::over(&store.section("media"))
        .projects(two)
        .start()
        .await;
    let etag = store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let anna = gateway.get(path("a.mp4")).answer().await;
    let bo = gateway.client().get(path("a.mp4")).by("bo").answer().await;
    assert_eq!(
        (anna.header("etag"), bo.header("etag")),
        (etag.as_str(), etag.as_str())
    );
}

#[tokio::test]
async fn cache_control_and_resource_policy_are_configurable() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media"))
        .set("delivery.cache_control", "private, max-age=5")
        .set("delivery.cross_origin_resource_policy", "cross-origin");
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_eq!(answer.header("cache-control"), "private, max-age=5");
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        "cross-origin"
    );
}

#[tokio::test]
async fn cors_answers_a_preflight_of_an_allowed_origin() {
    let (_store, gateway) = started().await;
    let ask = gateway.client().ask(Method::OPTIONS, path("a.mp4"));
    let ask = ask
        .header("origin", ORIGIN)
        .header("access-control-request-method", "GET");
    let answer = ask
        .header("access-control-request-headers", "range,if-range")
        .answer()
        .await;
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let allowed = answer
        .header("access-control-allow-headers")
        .to_ascii_lowercase();
    for name in ["range", "if-range", "if-none-match", "authorization"] {
        assert!(
            allowed.split(", ").any(|allowed| allowed == name),
            "{name} in {allowed}"
        );
    }
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("GET")
    );
    assert_eq!(answer.header("vary"), "Origin");
}

#[tokio::test]
async fn cors_exposes_what_a_player_needs_on_every_answer() {
    let (_store, gateway) = started().await;
    for (path, status) in [(path("a.mp4"), 200), (path("none.mp4"), 404)] {
        let answer = gateway.get(path).header("origin", ORIGIN).answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        let exposed = answer
            .header("access-control-expose-headers")
            .to_ascii_lowercase();
        for name in [
            "content-range",
            "content-length",
            "accept-ranges",
            "etag",
            "last-modified",
            "content-type",
        ] {
            assert!(
                exposed.split(", ").any(|exposed| exposed == name),
                "{name} in {exposed}"
            );
        }
        assert_clean(&answer);
    }
}

#[tokio::test]
async fn cors_gives_other_origins_nothing() {
    let (_store, gateway) = started().await;
    for origin in [
        "https://evil.example.com",
        "null",
        "https://editor.example.com.evil.example",
        "http://editor.example.com",
    ] {
        let answer = gateway
            .get(path("a.mp4"))
            .header("origin", origin)
            .answer()
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        assert_eq!(answer.header("vary"), "Origin");
    }
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

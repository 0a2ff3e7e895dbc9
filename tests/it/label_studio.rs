//! In front of a Label Studio that judges: what it signs for comes through the cache, and nothing of it is shown.

mod passed_on;

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::label_studio::LabelStudio;
use crate::support::store::Store;
use crate::support::{client::Ask, eventually, uri};

const MIB: u64 = 1 << 20;
const A: &str = "s3://media/data/a.mp4";
const DBX: &str = "dbx://Volumes/c/s/v/b.mp4";

async fn started() -> (Store, LabelStudio, Gateway) {
    let store = Store::start().await;
    store.generate("media", "data/a.mp4", Pattern(1), MIB);
    let studio = LabelStudio::start(&store, &[A]).await;
    let gateway = studio.gateway().await;
    (store, studio, gateway)
}

fn path(uri: &str) -> String {
    uri::task("1", uri)
}

trait Of {
    fn of(self, session: &str) -> Self;
}

impl Of for Ask {
    /// By the session that Label Studio knows somebody under.
    fn of(self, session: &str) -> Self {
        self.header("cookie", format!("theme=dark; sessionid={session}"))
    }
}

#[tokio::test]
async fn what_label_studio_signs_for_comes_through_the_cache_and_is_shared() {
    let (store, studio, gateway) = started().await;
    for (n, session) in ["anna", "bert", "anna"].iter().enumerate() {
        let reply = gateway.client().get(path(A)).of(session).send().await;
        assert_eq!(reply.status(), 200, "{n}");
        assert_eq!(reply.header("content-type"), "video/mp4");
        assert_eq!(reply.header("cache-control"), "private, no-cache");
        assert_eq!(reply.compare(Pattern(1), 0).await, (MIB, true));
    }
    assert_eq!(store.count("GetObject", "data/a.mp4"), 1);
    // Each was asked about, with their own credential.
    assert!(studio.count("/tasks/1/resolve/") >= 3);
}

#[tokio::test]
async fn ranges_head_and_conditions_are_answered_as_http_says() {
    let (store, _studio, gateway) = started().await;
    let get = || gateway.client().get(path(A)).of("anna");
    let part = get().range("bytes=-500").send().await;
    assert_eq!(part.status(), 206);
    assert_eq!(
        part.header("content-range"),
        format!("bytes {}-{}/{MIB}", MIB - 500, MIB - 1)
    );
    assert_eq!(part.compare(Pattern(1), MIB - 500).await, (500, true));
    let past = get().range("bytes=2000000-").answer().await;
    assert_eq!(
        (past.status, past.header("content-range")),
        (416, format!("bytes */{MIB}").as_str())
    );
    let head = gateway.client().head(path(A)).of("anna").answer().await;
    assert_eq!(head.header("content-length"), MIB.to_string());
    let etag = head.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let asked = store.asked("data/a.mp4");
    let fresh = get().header("if-none-match", &etag).answer().await;
    assert_eq!((fresh.status, fresh.body.len()), (304, 0));
    assert_eq!(store.asked("data/a.mp4"), asked, "a 304 asked storage");
}

#[tokio::test]
async fn the_signed_url_is_shown_nowhere() {
    let (_store, studio, gateway) = started().await;
    studio.state().data = serde_json::json!({"media": [A, "s3://media/data/none.mp4"]});
    let mut shown = Vec::new();
    for (method, target, fields) in [
        (Method::GET, A, &[][..]),
        (Method::HEAD, A, &[]),
        (Method::GET, A, &[("range", "bytes=0-0")]),
        (Method::GET, A, &[("range", "bytes=9999999-")]),
        (Method::GET, A, &[("accept", "text/plain")]),
        (Method::GET, "s3://media/data/none.mp4", &[]),
        (Method::GET, "s3://media/other/a.mp4", &[]),
    ] {
        let mut ask = gateway.client().ask(method, path(target)).of("anna");
        for (name, value) in fields {
            ask = ask.header(name, value);
        }
        let answer = ask.answer().await;
        assert!(!answer.headers.contains_key("location"), "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        assert!(
            !answer.header("vary").to_lowercase().contains("cookie"),
            "{answer:?}"
        );
        shown.push(format!(
            "{:?} {}",
            answer.headers,
            String::from_utf8_lossy(&answer.body)
        ));
    }
    let lines = eventually("the lines of the log", async || {
        let lines = gateway.access_log();
        (lines.len() >= shown.len()).then_some(lines)
    })
    .await;
    shown.extend(lines.iter().map(ToString::to_string));
    shown.push(gateway.metrics().await);
    let signed = studio.state().signed.clone();
    assert!(!signed.is_empty());
    for url in signed {
        let signature = url.split("X-Amz-Signature=").nth(1).expect("it is signed");
        for text in &shown {
            assert!(
                !text.contains(&signature[..32]) && !text.contains("X-Amz"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn an_ended_url_is_renewed_and_nobody_notices() {
    let store = Store::start().await;
    store.generate("media", "data/a.mp4", Pattern(1), 20 * MIB);
    let studio = LabelStudio::start(&store, &[A]).await;
    // It counts as ended from the beginning (five seconds ahead), and the decision is remembered for an hour.
    studio.state().life = Duration::from_secs(4);
    let gateway = studio.setup().set("access.max_age", "1h").start().await;
    for range in [
        "bytes=0-99",
        "bytes=9000000-9000099",
        "bytes=17000000-17000099",
    ] {
        let reply = gateway
            .client()
            .get(path(A))
            .of("anna")
            .range(range)
            .send()
            .await;
        assert_eq!(reply.status(), 206, "{range}");
        let first: u64 = range[6..]
            .split('-')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        assert_eq!(reply.compare(Pattern(1), first).await, (100, true));
    }
    assert_eq!(studio.count("/api/tasks"), 1, "the decision is remembered");
    assert!(
        studio.state().signed.len() >= 3,
        "each window needed a new URL"
    );
}

#[tokio::test]
async fn who_was_removed_gets_403_on_cached_media_and_instead_of_304() {
    let (store, studio, gateway) = started().await;
    let get = || gateway.client().get(path(A)).of("anna");
    let answer = get().answer().await;
    assert_eq!(answer.status, 200);
    let etag = answer.header("etag").to_owned();
    studio.state().removed.insert("anna".into());
    let asked = store.asked("data/a.mp4");
    eventually("the refusal", async || {
        (get().status().await == Some(403)).then_some(())
    })
    .await;
    assert_eq!(
        get().header("if-none-match", &etag).answer().await.status,
        403
    );
    assert_eq!(store.asked("data/a.mp4"), asked);
    let bert = gateway.client().get(path(A)).of("bert").answer().await;
    assert_eq!(bert.status, 200, "another's removal is not theirs");
}

#[tokio::test]
async fn what_label_studio_does_not_check_is_refused_alike() {
    let (_store, studio, gateway) = started().await;
    let ask = async |uri: &str| gateway.client().get(path(uri)).of("anna").answer().await;
    studio.state().data =
        serde_json::json!({"media": [A, "s3://media/data-private/x.mp4", "s3://vault/data/a.mp4"]});
    for refused in [
        "s3://media/data/not-in-the-task.mp4",
        "s3://media/data-private/x.mp4",
        "s3://vault/data/a.mp4",
    ] {
        assert_eq!(ask(refused).await.status, 403, "{refused}");
    }
    assert_eq!(ask(A).await.status, 200);
    let nobody = gateway.client().get(path(A)).answer().await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.header("www-authenticate").starts_with("Bearer"));
    let stranger = gateway.client().get(path(A)).of("eve").answer().await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn media_of_a_storage_that_does_not_sign_is_passed_through_after_the_check() {
    let (store, studio, gateway) = started().await;
    {
        let mut state = studio.state();
        state.presign = false;
        state.served = (
            206,
            &[
                ("content-type", "text/html"),
                ("content-range", "bytes 0-3/4"),
                ("etag", "\"11abc\""),
                ("cache-control", "private, max-age=3600, must-revalidate"),
                ("access-control-allow-origin", "*"),
                ("server", "WSGIServer"),
            ],
            Bytes::from_static(b"<ht>"),
        );
    }
    let ask = gateway.client().get(path(A)).of("anna").range("bytes=0-");
    let answer = ask.answer().await;
    assert_eq!((answer.status, answer.text()), (206, "<ht>"));
    assert_eq!(answer.header("content-range"), "bytes 0-3/4");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(
        answer
            .header("content-security-policy")
            .starts_with("sandbox")
    );
    for name in ["set-cookie", "access-control-allow-origin", "server"] {
        assert!(!answer.headers.contains_key(name), "{name}: {answer:?}");
    }
    let passed = studio
        .state()
        .passed
        .last()
        .expect("it was passed on")
        .clone();
    assert_eq!(passed["range"], "bytes=0-");
    assert_eq!(store.asked("data/a.mp4"), 0);
    // What it would not have checked is refused before it is asked.
    let count = studio.state().passed.len();
    let other = path("s3://media/data/other.mp4");
    assert_eq!(
        gateway.client().get(other).of("anna").answer().await.status,
        403
    );
    assert_eq!(studio.state().passed.len(), count);
}

#[tokio::test]
async fn media_is_passed_on_in_the_spelling_that_was_checked_whatever_the_callers_was() {
    // Both alphabets differ on it, and it changes when it is decoded once more.
    const KEY: &str = "s3://media/data/\u{fb}\u{ff}~?>%2541.mp4";
    let literal = KEY.replace('?', "!");
    let (_store, studio, gateway) = started().await;
    {
        let mut state = studio.state();
        state.presign = false;
        state.data = serde_json::json!({"media": [KEY, literal]});
        state.served = (
            200,
            &[("content-type", "video/mp4")],
            Bytes::from_static(b"abcd"),
        );
    }
    for (name, spelling) in uri::SPELLINGS {
        let target = format!("/tasks/1/presign?lsref=1&fileuri={}", spelling(&literal));
        let answer = gateway.client().get(target).of("anna").answer().await;
        assert_eq!((answer.status, answer.text()), (200, "abcd"), "{name}");
        let asked_for = studio.state().passed_for.pop();
        assert_eq!(asked_for, Some(path(&literal)), "{name}");
    }
    // Label Studio would cut this one at its question mark.
    let cut = gateway.client().get(path(KEY)).of("anna").answer().await;
    assert_eq!((cut.status, studio.state().passed_for.len()), (403, 0));
}

#[tokio::test]
async fn a_local_file_of_label_studios_own_is_passed_on_while_it_says_so() {
    let (_store, studio, gateway) = started().await;
    studio.state().served = (
        200,
        &[("content-type", "text/plain")],
        Bytes::from_static(b"abcd"),
    );
    let get = || {
        let target = "/data/local-files?d=ds%2Fa%20%2B.txt&d=other";
        gateway.client().get(target).of("anna")
    };
    let answer = get().answer().await;
    assert_eq!((answer.status, answer.text()), (200, "abcd"));
    assert_eq!(
        studio.state().passed_for,
        ["/data/local-files/?d=ds/a%20%2B.txt"]
    );
    studio.state().removed.insert("anna".into());
    eventually("the refusal", async || {
        (get().status().await == Some(403)).then_some(())
    })
    .await;
    assert_eq!(studio.state().passed_for.len(), 1, "it was not sent again");
}

#[tokio::test]
async fn head_of_what_is_passed_through_is_a_get_without_its_body() {
    let (_store, studio, gateway) = started().await;
    {
        let mut state = studio.state();
        state.presign = false;
        state.served = (
            200,
            &[("content-type", "video/mp4")],
            Bytes::from_static(b"abcd"),
        );
    }
    let head = gateway.client().head(path(A)).of("anna").answer().await;
    assert_eq!((head.status, head.header("content-length")), (200, "4"));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn a_storage_that_begins_to_sign_between_two_questions_shows_no_url() {
    let (_store, studio, gateway) = started().await;
    {
        let mut state = studio.state();
        state.presign = false;
        state.served = (
            303,
            &[("location", "https://s3/a?X-Amz-Signature=0b5e")],
            Bytes::new(),
        );
    }
    let answer = gateway.client().get(path(A)).of("anna").answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    let shown = format!("{answer:?}");
    assert!(!shown.contains("0b5e"), "{shown}");
}

#[tokio::test]
async fn an_own_storage_is_preferred_and_label_studio_still_decides() {
    let store = Store::start().await;
    store.generate("media", "data/a.mp4", Pattern(1), MIB);
    let studio = LabelStudio::start(&store, &[A]).await;
    let setup = studio.setup().storage("mine", &store.section("media"));
    let gateway = setup.start().await;
    let reply = gateway.client().get(path(A)).of("anna").send().await;
    assert_eq!(reply.compare(Pattern(1), 0).await, (MIB, true));
    let line = eventually("a line", async || gateway.access_log().into_iter().next()).await;
    assert_eq!(line["storage"], "mine");
    assert_eq!(line["subject"], "anna@example.com");
    studio.state().removed.insert("anna".into());
    eventually("the refusal", async || {
        let status = gateway.client().get(path(A)).of("anna").status().await;
        (status == Some(403)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_label_studio_has_no_storage_for_comes_from_an_own_one_or_not_at_all() {
    let (_store, studio, gateway) = started().await;
    studio.state().data = serde_json::json!({"media": [DBX]});
    let answer = gateway.client().get(path(DBX)).of("anna").answer().await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn what_label_studio_leaves_unresolved_in_a_task_is_rewritten_to_its_media_route() {
    let (_store, studio, gateway) = started().await;
    studio.state().data = serde_json::json!({"media": [DBX], "note": "dbx is not a URI"});
    let task = async |query: &str| {
        let path = format!("/api/tasks/1/{query}");
        let answer = gateway.client().get(path).of("anna").answer().await;
        serde_json::from_str::<serde_json::Value>(answer.text()).expect("a task")
    };
    let raw = task("?resolve_uri=false").await;
    assert_eq!(raw["data"]["media"][0], DBX);
    let mut resolved = task("").await;
    let route = resolved["data"]["media"][0].take();
    let route = route.as_str().expect("a path").to_owned();
    assert_eq!(route, path(DBX));
    resolved["data"]["media"][0] = DBX.into();
    assert_eq!(resolved, raw, "and nothing else");
}

#[tokio::test]
async fn what_is_no_media_is_label_studios_own_and_so_is_session() {
    let (_store, _studio, gateway) = started().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::POST, "/session"),
        (Method::DELETE, "/session"),
        (Method::GET, "/user/login/"),
    ] {
        let answer = gateway.client().ask(method, path).answer().await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "a page of the application"),
            "{path}"
        );
        assert_eq!(answer.header("set-cookie"), "sessionid=next");
    }
    let posted = gateway
        .client()
        .ask(Method::POST, path(A))
        .of("anna")
        .answer()
        .await;
    assert_eq!(posted.status, 405);
}

#[tokio::test]
async fn a_label_studio_that_is_down_closes_media_and_leaves_the_gateway_ready() {
    let (_store, studio, gateway) = started().await;
    let get = || gateway.client().get(path(A)).of("anna");
    assert_eq!(get().answer().await.status, 200);
    drop(studio);
    let answer = get().answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert_eq!(gateway.client().get("/").answer().await.status, 502);
    assert_eq!(gateway.admin().get("/readyz").answer().await.status, 200);
}

#[tokio::test]
async fn a_reload_keeps_what_is_cached_and_signed() {
    let (store, _studio, gateway) = started().await;
    let get = || gateway.client().get(path(A)).of("anna");
    assert_eq!(get().answer().await.status, 200);
    let asked = store.asked("data/a.mp4");
    assert!(gateway.reload().await);
    let again = get().answer().await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(store.asked("data/a.mp4"), asked);
}

//! What an operator sees and does: metrics, the access log, reloads, health, and an end without a cut body.

use http::Method;
use serde_json::{Value, json};

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::Serving;
use crate::support::raw::Raw;
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, token, uri};

const MIB: u64 = 1 << 20;

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

/// The sum of a metric's samples whose labels have all of these in them.
fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let samples = text.lines().filter(|line| {
        let own = line
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']));
        own && labels.iter().all(|label| line.contains(label))
    });
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

#[tokio::test]
async fn every_metric_of_the_contract_is_there_with_values() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section("media"))
        .set("cache.memory", "16MiB")
        .start()
        .await;
    store.generate("media", "big.mp4", Pattern(1), 32 * MIB);
    let whole = gateway.get(path("big.mp4")).answer().await;
    assert_eq!(whole.status, 200);
    gateway
        .get(path("big.mp4"))
        .header("if-none-match", whole.header("etag"))
        .answer()
        .await;
    gateway
        .get(path("big.mp4"))
        .range("bytes=33000000-33000009")
        .answer()
        .await;
    gateway
        .client()
        .get(path("big.mp4"))
        .by("eve")
        .answer()
        .await;
    drop(gateway.get(path("big.mp4")).send().await);
    let text = eventually(
        "the client's leaving and the cache's bytes are counted",
        async || {
            let text = gateway.metrics().await;
            let aborted = metric(&text, "lockgate_http_aborted_total", &[])?;
            let cached = metric(&text, "lockgate_cache_bytes", &["tier=\"memory\""])?;
            (aborted > 0.0 && cached > 0.0).then_some(text)
        },
    )
    .await;
    for (name, labels) in [
        (
            "lockgate_http_requests_total",
            &["route=\"projects\"", "method=\"GET\"", "code=\"200\""][..],
        ),
        ("lockgate_http_requests_total", &["code=\"403\""]),
        ("lockgate_http_requests_total", &["code=\"304\""]),
        (
            "lockgate_http_request_duration_seconds_count",
            &["route=\"projects\""],
        ),
        (
            "lockgate_http_time_to_first_byte_seconds_count",
            &["route=\"projects\""],
        ),
        ("lockgate_http_response_bytes_total", &[]),
        (
            "lockgate_cache_requests_total",
            &["tier=\"memory\"", "result="],
        ),
        ("lockgate_cache_bytes", &["tier=\"memory\""]),
        ("lockgate_cache_evictions_total", &["tier=\"memory\""]),
        (
            "lockgate_storage_requests_total",
            &["storage=\"media\"", "operation=\"get\"", "outcome="],
        ),
        (
            "lockgate_storage_request_duration_seconds_count",
            &["storage=\"media\"", "operation=\"get\""],
        ),
        ("lockgate_storage_bytes_total", &["storage=\"media\""]),
        (
            "lockgate_access_decisions_total",
            &["decision=\"allow", "reason="],
        ),
        (
            "lockgate_access_decisions_total",
            &["decision=\"den", "reason="],
        ),
        ("lockgate_access_duration_seconds_count", &[]),
        ("lockgate_config_last_reload_successful", &[]),
        ("lockgate_build_info", &[]),
    ] {
        let value = metric(&text, name, labels);
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{name} {labels:?} is {value:?}\n{text}"
        );
    }
    assert!(metric(&text, "lockgate_http_in_flight", &[]).is_some());
    let bytes = metric(&text, "lockgate_http_response_bytes_total", &[]).unwrap_or_default();
    assert!(bytes >= (32 * MIB) as f64, "{bytes}");
    assert!(
        !text.contains("anna") && !text.contains("eve") && !text.contains("big.mp4"),
        "{text}"
    );
}

async fn log_line(gateway: &Gateway, index: usize) -> Value {
    eventually("a log line", async || {
        gateway.access_log().get(index).cloned()
    })
    .await
}

#[tokio::test]
async fn a_client_that_leaves_before_it_is_answered_is_logged_as_gone() {
    let (store, gateway) = gateway_over_store().await;
    store.put("media", "a.mp4", vec![1; 10], None);
    store.hold();
    let leaving = Raw::get(gateway.address(), &path("a.mp4"), &token::of("anna")).await;
    eventually("storage is asked", async || {
        (store.asked("a.mp4") > 0).then_some(())
    })
    .await;
    drop(leaving);
    let line = log_line(&gateway, 0).await;
    assert_eq!(
        (&line["status"], &line["aborted"], &line["bytes"]),
        (&json!(499), &json!("client_gone"), &json!(0))
    );
    let text = gateway.metrics().await;
    let gone = metric(&text, "lockgate_http_requests_total", &["code=\"499\""]);
    assert_eq!(gone, Some(1.0), "{text}");
    store.release();
}

#[tokio::test]
async fn the_access_log_has_one_line_for_each_request_with_every_field() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", Pattern(1), 1000);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = gateway.get(path("a.mp4")).range("bytes=10-19");
    ask.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .answer()
        .await;
    let line = log_line(&gateway, 0).await;
    for (field, value) in [
        ("trace_id", json!(trace)),
        ("subject", json!("anna")),
        ("project", json!("1")),
        ("task", json!(null)),
        ("storage", json!("media")),
        ("range", json!("10-19")),
        ("status", json!(206)),
        ("bytes", json!(10)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    for field in [
        "time",
        "request_id",
        "cache",
        "time_to_first_byte",
        "duration",
        "aborted",
    ] {
        assert!(line.get(field).is_some(), "{field} of {line}");
    }
    let refused = gateway.client().get(path("a.mp4")).by("eve").answer().await;
    let line = log_line(&gateway, 1).await;
    assert_eq!(
        (&line["status"], &line["subject"]),
        (&json!(403), &json!("eve"))
    );
    assert_eq!(line["request_id"], refused.json()["request_id"]);
    gateway.client().get(path("a.mp4")).answer().await;
    assert_eq!(log_line(&gateway, 2).await["subject"], json!(null));
}

#[tokio::test]
async fn the_access_log_says_how_the_bytes_were_had_and_what_was_cut() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", Pattern(1), 1000);
    gateway.get(path("a.mp4")).answer().await;
    gateway.get(path("a.mp4")).answer().await;
    let first = log_line(&gateway, 0).await["cache"]
        .to_string()
        .to_ascii_lowercase();
    let second = log_line(&gateway, 1).await["cache"]
        .to_string()
        .to_ascii_lowercase();
    assert_eq!((first.as_str(), second.as_str()), ("\"miss\"", "\"hit\""));
    store.generate("media", "big.mp4", Pattern(1), 100 * MIB);
    drop(gateway.get(path("big.mp4")).send().await);
    let line = log_line(&gateway, 2).await;
    assert!(
        !matches!(line["aborted"], Value::Null | Value::Bool(false)),
        "{line}"
    );
}

#[tokio::test]
async fn tokens_cookies_and_signatures_appear_in_no_log_line() {
    let store = Store::start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let setup = Setup::over(&store.section("media"))
        .storage("handed-out", &(store.section("public") + "delivery = 'redirect'\n"))
        .projects("[[project]]\nid = '1'\nstorages = ['media', 'handed-out']\nmembers = ['anna']\nmedia = 'storage'\n")
        .set("auth.query_token", true);
    store.put("public", "a.mp4", Pattern(1).bytes(10), None);
    let mut serving = Serving::start(setup).await;
    let client = serving.client.clone();
    let scoped = token::with("anna", json!({"uri": "s3://media/a.mp4"}));
    let bearer = token::of("anna");
    let expired = token::with("anna", json!({"exp": token::epoch(-60)}));
    let session = client
        .ask(Method::POST, "/session")
        .bearer(&bearer)
        .answer()
        .await;
    let cookie = session
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    client.get(path("a.mp4")).bearer(&bearer).answer().await;
    client.get(path("a.mp4")).bearer(&expired).answer().await;
    client
        .get(path("a.mp4"))
        .header("cookie", &cookie)
        .answer()
        .await;
    client
        .get(format!("{}&token={scoped}", path("a.mp4")))
        .answer()
        .await;
    client
        .get(format!("/nowhere?token={scoped}"))
        .answer()
        .await;
    let redirect = client
        .get(uri::project("1", "s3://public/a.mp4"))
        .bearer(&bearer)
        .answer()
        .await;
    let location = redirect.header("location").to_owned();
    let (_, signature) = location
        .split_once("X-Amz-Signature=")
        .expect("it is signed");
    serving.signal("TERM");
    assert!(serving.ended().await.success());
    let logs = ["access.log", "stdout", "stderr"]
        .map(|name| serving.written(name))
        .concat();
    assert!(logs.contains("\"status\":303"), "{logs}");
    let part_of = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    for secret in [
        part_of(&scoped),
        part_of(&bearer),
        part_of(&expired),
        signature.to_owned(),
        token::SECRET.to_owned(),
    ] {
        assert!(!logs.contains(&secret), "{secret} in\n{logs}");
    }
}

#[tokio::test]
async fn a_purge_forgets_what_is_cached_and_storage_is_asked_again() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.png", Pattern(1), 1000);
    for _ in 0..2 {
        assert_eq!(gateway.get(path("a.png")).answer().await.status, 200);
    }
    assert_eq!(store.count("GetObject", "a.png"), 1);
    let purge = async |method| {
        let request = gateway.admin().ask(method, "/cache/purge");
        request.answer().await
    };
    assert_eq!(purge(Method::GET).await.status, 405);
    let purged = purge(Method::POST).await;
    let said: Value = serde_json::from_str(purged.text()).expect("JSON");
    assert_eq!(purged.status, 200);
    assert!(said["purged_bytes"].as_u64() >= Some(1000), "{said}");
    assert_eq!(gateway.get(path("a.png")).answer().await.status, 200);
    assert_eq!(store.count("GetObject", "a.png"), 2);
}

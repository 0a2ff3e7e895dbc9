//! Traces: what a collector hears of a request, and that nobody waits for it.

use serde_json::Value;

use crate::support::application::Application;
use crate::support::collector::{Collector, Trace, hex, said};
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::Serving;
use crate::support::wild_store::WildStore;
use crate::support::{eventually, uri};

const CALLER: &str = "00f067aa0ba902b7";
const REQUEST: &str = "GET /projects/{project}/*";

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

fn setup(store: &WildStore, collector: &Collector) -> Setup {
    Setup::over(&store.section()).set("telemetry.otlp.endpoint", &*collector.endpoint)
}

/// A trace id that no other test has.
fn trace_id() -> String {
    format!("{:032x}", fastrand::u128(1..))
}

async fn ask(gateway: &Gateway, key: &str, trace_id: &str) -> u16 {
    let ask = gateway.get(path(key));
    let ask = ask.header("traceparent", format!("00-{trace_id}-{CALLER}-01"));
    ask.answer().await.status
}

/// The steps hang below the request, and the request below who called.
fn assert_steps_of_one_request(trace: &Trace) {
    let request = trace.one(REQUEST);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    for step in ["authenticate", "entitle", "open"] {
        let step = trace.one(step);
        assert_eq!(step.parent_span_id, request.span_id, "{}", step.name);
        assert!(step.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(step.end_time_unix_nano <= request.end_time_unix_nano);
    }
}

#[tokio::test]
async fn a_cold_request_is_one_trace_and_storage_hears_the_id_of_its_fetch() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    let gateway = setup(&store, &collector).start().await;
    let trace_id = trace_id();
    assert_eq!(ask(&gateway, "a.mp4", &trace_id).await, 200);
    let trace = collector.trace(&trace_id, 5).await;
    let names = [REQUEST, "authenticate", "entitle", "fetch", "open"];
    assert_eq!(trace.names(), names);
    assert_steps_of_one_request(&trace);
    let fetch = trace.one("fetch");
    assert_eq!(fetch.parent_span_id, trace.one("open").span_id);
    let heard = store.asked()[0].field("traceparent").to_owned();
    assert_eq!(heard, format!("00-{trace_id}-{}-01", hex(&fetch.span_id)));
    assert_eq!(said(fetch, "lockgate.bytes").as_deref(), Some("1000"));
    let request = trace.one(REQUEST);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "1000"),
        ("lockgate.storage", "media"),
        ("lockgate.cache", "miss"),
    ] {
        assert_eq!(said(request, key).as_deref(), Some(value), "{key}");
    }
    let shown = format!("{trace:?}");
    assert!(
        !shown.contains("anna") && !shown.contains("a.mp4"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_warm_request_has_no_fetch_and_says_that_it_was_a_hit() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    let gateway = setup(&store, &collector).start().await;
    let (cold, warm) = (trace_id(), trace_id());
    ask(&gateway, "a.mp4", &cold).await;
    ask(&gateway, "a.mp4", &warm).await;
    collector.trace(&cold, 5).await;
    let trace = collector.trace(&warm, 4).await;
    assert_eq!(trace.names(), [REQUEST, "authenticate", "entitle", "open"]);
    assert_steps_of_one_request(&trace);
    let request = trace.one(REQUEST);
    assert_eq!(said(request, "lockgate.cache").as_deref(), Some("hit"));
}

#[tokio::test]
async fn each_try_is_a_span_of_its_own_and_one_that_failed_says_so() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    store.next(|answer| answer.status = "503 Service Unavailable".to_owned());
    let gateway = setup(&store, &collector).start().await;
    let trace_id = trace_id();
    assert_eq!(ask(&gateway, "a.mp4", &trace_id).await, 200);
    let trace = collector.trace(&trace_id, 6).await;
    let fetches = trace.all("fetch");
    let failed: Vec<bool> = fetches.iter().map(|fetch| fetch.status.is_some()).collect();
    assert_eq!(
        failed.iter().filter(|failed| **failed).count(),
        1,
        "{trace:?}"
    );
    let heard: Vec<String> = store
        .asked()
        .iter()
        .map(|asked| asked.field("traceparent").to_owned())
        .collect();
    for fetch in fetches {
        let id = format!("00-{trace_id}-{}-01", hex(&fetch.span_id));
        assert!(heard.contains(&id), "{heard:?}");
    }
}

#[tokio::test]
async fn a_denial_ends_the_trace_where_it_was_decided() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    let gateway = setup(&store, &collector).start().await;
    let trace_id = trace_id();
    let ask = gateway.client().get(path("a.mp4")).by("eve");
    let ask = ask.header("traceparent", format!("00-{trace_id}-{CALLER}-01"));
    assert_eq!(ask.answer().await.status, 403);
    let trace = collector.trace(&trace_id, 3).await;
    assert_eq!(trace.names(), [REQUEST, "authenticate", "entitle"]);
    assert!(trace.one("entitle").status.is_some());
    // The client's fault is no error of the server's.
    assert!(trace.one(REQUEST).status.is_none());
}

#[tokio::test]
async fn the_application_hears_the_id_of_the_span_that_asks_it() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (application, collector) = (Application::answering(OK).await, Collector::start().await);
    let gateway = application
        .setup()
        .set("telemetry.otlp.endpoint", &*collector.endpoint)
        .start()
        .await;
    let trace_id = trace_id();
    let ask = gateway.client().get("/user/reset/s3cr3t-path?token=s3cr3t");
    let parent = format!("00-{trace_id}-{CALLER}-01");
    ask.header("traceparent", parent).answer().await;
    let trace = collector.trace(&trace_id, 2).await;
    let asked = trace.one("upstream");
    assert_eq!(asked.parent_span_id, trace.one("GET /*").span_id);
    let heard = application.seen().await.field("traceparent").to_owned();
    assert_eq!(heard, format!("00-{trace_id}-{}-01", hex(&asked.span_id)));
    assert!(!format!("{trace:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn a_ratio_of_nothing_records_only_what_callers_want_recorded() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    let setup = setup(&store, &collector).set("telemetry.otlp.sample_ratio", 0.0);
    let gateway = setup.start().await;
    assert_eq!(gateway.get(path("a.mp4")).answer().await.status, 200);
    let own = store.asked()[0].field("traceparent").to_owned();
    assert!(own.ends_with("-00"), "{own}");
    let trace_id = trace_id();
    ask(&gateway, "a.mp4", &trace_id).await;
    collector.trace(&trace_id, 4).await;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == trace_id));
}

#[tokio::test]
async fn a_batch_carries_the_collectors_key_and_nobody_reads_it_in_a_log() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    let setup = setup(&store, &collector)
        .set("telemetry.otlp.headers.x-api-key.file", "collector.key")
        .file("collector.key", "the-collectors-own-key");
    let mut serving = Serving::start(setup).await;
    let ask = serving.client.get(path("a.mp4")).by("anna");
    assert_eq!(ask.answer().await.status, 200);
    serving.signal("TERM");
    assert!(serving.ended().await.success());
    // What waited was sent before the end.
    let names: Vec<String> = collector.spans().into_iter().map(|it| it.name).collect();
    assert!(names.iter().any(|name| name == REQUEST), "{names:?}");
    let (path, fields) = &collector.posts()[0];
    assert_eq!(path, "/v1/traces");
    assert_eq!(fields["content-type"], "application/x-protobuf");
    assert_eq!(fields["x-api-key"], "the-collectors-own-key");
    let logs = ["stdout", "stderr", "access.log"].map(|name| serving.written(name));
    assert!(!logs.concat().contains("the-collectors-own-key"));
}

#[tokio::test]
async fn a_collector_that_stands_still_keeps_nobody_waiting_and_not_the_end_either() {
    let (store, collector) = (WildStore::start().await, Collector::answering(None).await);
    store.put("a.mp4", 1000);
    let mut serving = Serving::start(setup(&store, &collector)).await;
    let ask = async || serving.client.get(path("a.mp4")).by("anna").answer().await;
    assert_eq!(ask().await.status, 200);
    eventually("a batch is posted", async || {
        (!collector.posts().is_empty()).then_some(())
    })
    .await;
    for _ in 0..50 {
        assert_eq!(ask().await.status, 200);
    }
    assert_eq!(collector.posts().len(), 1, "the first still waits");
    serving.signal("TERM");
    assert!(serving.ended().await.success());
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted() {
    let (store, collector) = (
        WildStore::start().await,
        Collector::answering(Some(400)).await,
    );
    store.put("a.mp4", 1000);
    let gateway = setup(&store, &collector).start().await;
    ask(&gateway, "a.mp4", &trace_id()).await;
    eventually("they are counted", async || {
        let metrics = gateway.metrics().await;
        let mut lines = metrics.lines();
        lines.find(|line| *line == "lockgate_trace_spans_dropped_total 5")?;
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_line_of_the_access_log_names_the_trace_that_the_collector_has() {
    let (store, collector) = (WildStore::start().await, Collector::start().await);
    store.put("a.mp4", 1000);
    let gateway = setup(&store, &collector).start().await;
    assert_eq!(gateway.get(path("a.mp4")).answer().await.status, 200);
    let line: Value = eventually("its line", async || gateway.access_log().pop()).await;
    let trace_id = line["trace_id"].as_str().expect("an id");
    let trace = collector.trace(trace_id, 5).await;
    let request = trace.one(REQUEST);
    assert!(request.parent_span_id.is_empty(), "it begins here");
    let id = line["request_id"].as_str().map(str::to_owned);
    assert_eq!(said(request, "lockgate.request_id"), id);
}

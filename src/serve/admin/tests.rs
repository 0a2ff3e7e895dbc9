use http_body_util::BodyExt;

use super::*;

fn admin(missing: &'static [&'static str]) -> Admin {
    let readiness = move || missing.iter().map(|&what| what.to_owned()).collect();
    let hosts = Arc::from(["lockgate.example.com".to_owned()]);
    Admin::new(
        Arc::new(Metrics::new().unwrap()),
        Arc::new(readiness),
        Arc::new(|| Box::pin(std::future::ready(7))),
        Arc::new(|| serde_json::json!({ "version": "planted" })),
        hosts,
    )
}

async fn ask(admin: &Admin, request: http::request::Builder) -> (StatusCode, String) {
    let response = admin.call(request.body(()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_is_ok_even_where_readiness_is_not() {
    let asked = ask(&admin(&["keys"]), Request::get("/healthz")).await;
    assert_eq!(asked, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let asked = ask(&admin(&["keys: not loaded"]), Request::get("/readyz")).await;
    let expected = r#"{"missing":["keys: not loaded"],"ready":false}"#.to_owned();
    assert_eq!(asked, (StatusCode::SERVICE_UNAVAILABLE, expected));
    assert_eq!(
        ask(&admin(&[]), Request::get("/readyz")).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn metrics_are_shown_as_prometheus_reads_them() {
    let (status, text) = ask(&admin(&[]), Request::get("/metrics")).await;
    assert!(status.is_success() && text.contains("\n# TYPE lockgate_http_in_flight gauge\n"));
}

#[tokio::test]
async fn a_purge_is_a_post_and_says_how_much_it_was() {
    let asked = ask(&admin(&[]), Request::post("/cache/purge")).await;
    assert_eq!(asked, (StatusCode::OK, r#"{"purged_bytes":7}"#.to_owned()));
    for request in [Request::get("/cache/purge"), Request::post("/metrics")] {
        let (status, _) = ask(&admin(&[]), request).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn a_browsers_page_is_refused() {
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/",
        "/status",
        "/status.json",
    ] {
        let request = Request::get(path).header(ORIGIN, "null");
        assert_eq!(ask(&admin(&[]), request).await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_name_that_a_stranger_may_have_pointed_here_is_refused() {
    for (host, status) in [
        ("127.0.0.1:9090", StatusCode::OK),
        ("[::1]:9090", StatusCode::OK),
        ("10.1.2.3", StatusCode::OK),
        ("localhost:9090", StatusCode::OK),
        ("lockgate", StatusCode::OK),
        ("lockgate.monitoring.svc:9090", StatusCode::OK),
        ("lockgate.monitoring.svc.cluster.local.", StatusCode::OK),
        ("Lockgate.Example.com", StatusCode::OK),
        ("rebound.example.org:9090", StatusCode::FORBIDDEN),
        ("127.0.0.1.nip.io", StatusCode::FORBIDDEN),
        ("lockgate.example.com.evil.org", StatusCode::FORBIDDEN),
        ("svc", StatusCode::OK),
        ("evil.org@127.0.0.1:x", StatusCode::FORBIDDEN),
        ("", StatusCode::FORBIDDEN),
    ] {
        let request = Request::get("/metrics").header(HOST, host);
        assert_eq!(ask(&admin(&[]), request).await.0, status, "{host}");
    }
}

#[tokio::test]
async fn a_person_at_the_address_bar_is_answered_and_a_page_is_not() {
    for (site, status) in [
        ("none", StatusCode::OK),
        ("same-origin", StatusCode::FORBIDDEN),
        ("same-site", StatusCode::FORBIDDEN),
        ("cross-site", StatusCode::FORBIDDEN),
    ] {
        let request = Request::get("/metrics").header(SEC_FETCH_SITE, site);
        assert_eq!(ask(&admin(&[]), request).await.0, status, "{site}");
    }
}

#[tokio::test]
async fn the_status_page_may_ask_for_its_own_figures_and_nobody_elses_page_may() {
    let asked = |path: &str, site: &str, dest: &str| {
        let request = Request::get(path).header(SEC_FETCH_SITE, site);
        request.header(SEC_FETCH_DEST, dest)
    };
    for (path, its) in FOR_THE_PAGE {
        for (site, dest, status) in [
            ("none", "document", StatusCode::OK),
            ("same-origin", its, StatusCode::OK),
            ("same-origin", "iframe", StatusCode::FORBIDDEN),
            ("same-origin", "script", StatusCode::FORBIDDEN),
            ("same-site", its, StatusCode::FORBIDDEN),
            ("cross-site", its, StatusCode::FORBIDDEN),
        ] {
            let answered = ask(&admin(&[]), asked(path, site, dest)).await.0;
            assert_eq!(answered, status, "{path} {site} {dest}");
        }
        let rebound = asked(path, "same-origin", its).header(HOST, "rebound.example.org:9090");
        let rebound = ask(&admin(&[]), rebound).await.0;
        assert_eq!(rebound, StatusCode::FORBIDDEN);
        let with_origin = asked(path, "same-origin", its).header(ORIGIN, "http://127.0.0.1");
        let with_origin = ask(&admin(&[]), with_origin).await.0;
        assert_eq!(with_origin, StatusCode::FORBIDDEN);
    }
    let purge = Request::post("/cache/purge").header(SEC_FETCH_SITE, "same-origin");
    let purge = purge.header(SEC_FETCH_DEST, "empty");
    assert_eq!(ask(&admin(&[]), purge).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_page_is_framed_by_nobody_and_runs_nothing_but_its_own_script() {
    let request = Request::get("/").body(()).unwrap();
    let page = admin(&[]).call(request).await.unwrap();
    let field = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    let policy = field("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("script-src 'sha256-"));
    assert_eq!(field("x-frame-options"), "DENY");
    let figures = Request::get("/status.json").body(()).unwrap();
    let figures = admin(&[]).call(figures).await.unwrap();
    let policy = &figures.headers()["cross-origin-resource-policy"];
    assert_eq!(policy, "same-origin");
    let (status, json) = ask(&admin(&[]), Request::get("/status.json")).await;
    assert_eq!(
        (status, &*json),
        (StatusCode::OK, r#"{"version":"planted"}"#)
    );
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    assert_eq!(
        ask(&admin(&[]), Request::get("/healthz/")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ask(&admin(&[]), Request::post("/metrics")).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        ask(&admin(&[]), Request::head("/metrics")).await.0,
        StatusCode::OK
    );
}

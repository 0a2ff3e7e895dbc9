//! What is no media goes to the annotation application, as it is: heads, both ways.

mod bodies;
mod failures;
mod smuggling;
mod tunnels;

use http::Method;

use crate::support::application::Application;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::raw::Raw;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_goes_on_as_it_came_with_the_clients_own_host() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let answer = gateway
        .client()
        .ask(Method::PUT, "/projects/7/data%2Fx/?q=%20+&&z")
        .header("host", "labels.example:8443")
        .header("x-csrftoken", "t")
        .header("authorization", "Token abc")
        .body("body")
        .answer()
        .await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let seen = application.seen().await;
    assert_eq!(seen.line(), "PUT /projects/7/data%2Fx/?q=%20+&&z HTTP/1.1");
    assert_eq!(seen.field("host"), "labels.example:8443");
    assert_eq!(seen.field("content-length"), "4");
    assert_eq!(seen.field("x-csrftoken"), "t");
    assert_eq!(seen.field("authorization"), "Token abc");
    assert_eq!(seen.field("via"), "1.1 lockgate");
    assert_eq!(seen.body, b"body");
}

#[tokio::test]
async fn an_answer_passes_undecorated() {
    let application = Application::answering(
        "HTTP/1.1 302 Found\r\nLocation: /user/login/?next=/\r\nSet-Cookie: sessionid=a; HttpOnly\r\n\
         Set-Cookie: csrftoken=b\r\nVary: Accept-Language, Cookie\r\nAccess-Control-Allow-Origin: *\r\n\
         Server: WSGIServer/0.2\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let setup = application.setup();
    let origins = vec!["https://editor.example"];
    let gateway = setup
        .set("server.cors.allowed_origins", origins)
        .start()
        .await;
    let asked = gateway
        .client()
        .get("/sw.js")
        .header("origin", "https://editor.example");
    let answer = asked.answer().await;
    assert_eq!(answer.status, 302);
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
        .collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "access-control-allow-origin: *",
            "content-length: 0",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "location: /user/login/?next=/",
            "server: WSGIServer/0.2",
            "set-cookie: csrftoken=b",
            "set-cookie: sessionid=a; HttpOnly",
            "vary: Accept-Language, Cookie",
        ]
    );
}

#[tokio::test]
async fn fields_of_one_hop_end_here_both_ways() {
    let application = Application::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Theirs, keep-alive\r\nX-Theirs: 1\r\n\
         Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: X-T\r\nX-Kept: 1\r\n\r\nok",
    )
    .await;
    let gateway = application.gateway().await;
    let mut raw = Raw::send(
        gateway.address(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: x\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\nTrailer: X-T\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8(raw.read_to_end().await)
        .expect("text")
        .to_lowercase();
    assert!(
        answer.starts_with("http/1.1 200") && answer.contains("x-kept: 1"),
        "{answer}"
    );
    for gone in ["x-theirs", "keep-alive", "h2c", "trailer"] {
        assert!(!answer.contains(gone), "{gone} in {answer}");
    }
    let seen = application.seen().await;
    assert!(seen.has("x-kept"));
    for gone in [
        "connection",
        "x-mine",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
    ] {
        assert!(!seen.has(gone), "{gone} in {}", seen.head);
    }
}

#[tokio::test]
async fn what_a_client_says_of_its_address_is_replaced_by_what_is_known() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let claims = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/x"),
        ("x-forwarded-server", "x"),
        ("x-real-ip", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("script_name", "/x"),
    ];
    let mut asked = gateway.client().get("/").header("host", "labels.example");
    for (name, value) in claims {
        asked = asked.header(name, value);
    }
    asked.answer().await;
    let seen = application.seen().await;
    assert_eq!(seen.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.field("x-forwarded-host"), "labels.example");
    assert_eq!(seen.field("x-forwarded-proto"), "http");
    assert_eq!(
        seen.field("forwarded"),
        "for=127.0.0.1;host=\"labels.example\";proto=http"
    );
    for name in [
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-real-ip",
    ] {
        assert!(!seen.has(name), "{name}");
    }
    assert!(
        !seen.head.contains('_') && !seen.head.contains("6.6.6.6"),
        "{}",
        seen.head
    );
}

#[tokio::test]
async fn an_http2_client_is_spoken_for_in_http1() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let client = Client::http2(format!("http://{}", gateway.address()));
    let asked = client.ask(Method::POST, "/api/x?y").body("four");
    let answer = asked
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .answer()
        .await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let seen = application.seen().await;
    assert_eq!(seen.line(), "POST /api/x?y HTTP/1.1");
    assert_eq!(seen.field("host"), gateway.address().to_string());
    assert_eq!(seen.field("cookie"), "a=1; b=2");
    assert_eq!(seen.field("via"), "2 lockgate");
    assert_eq!(
        (seen.field("content-length"), &seen.body[..]),
        ("4", &b"four"[..])
    );
}

#[tokio::test]
async fn a_request_is_logged_counted_and_traced_like_others() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    gateway
        .client()
        .get("/api/version")
        .header("traceparent", &parent)
        .answer()
        .await;
    let seen = application.seen().await;
    assert!(
        seen.field("traceparent")
            .starts_with(&format!("00-{trace}-"))
    );
    assert_ne!(seen.field("traceparent"), parent);
    let line = eventually("its line", async || gateway.access_log().pop()).await;
    assert_eq!(
        (&line["route"], &line["status"], &line["bytes"]),
        (&"upstream".into(), &200.into(), &2.into())
    );
    assert_eq!(
        (&line["trace_id"], &line["aborted"]),
        (&trace.into(), &serde_json::Value::Null)
    );
    assert_eq!(line["request_id"], seen.field("x-request-id"));
    let counted = r#"lockgate_http_requests_total{code="200",method="GET",route="upstream"} 1"#;
    assert!(gateway.metrics().await.contains(counted));
}

#[tokio::test]
async fn a_media_route_never_reaches_the_upstream_in_whatever_spelling() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    for (target, status) in [
        ("/tasks/7/resolve/?fileuri=czM6Ly9iL2s=", 401),
        ("/projects/7/presign?fileuri=czM6Ly9iL2s=", 401),
        ("/data/local-files/?d=a.png", 401),
        ("/session", 405),
        ("/tasks%2F7%2Fresolve/?fileuri=czM6Ly9iL2s=", 400),
        ("//tasks/7/resolve/?fileuri=czM6Ly9iL2s=", 400),
        ("/x/../tasks/7/resolve/?fileuri=czM6Ly9iL2s=", 400),
        ("/x/data/local-files/?d=a.png", 400),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = Raw::send(gateway.address(), request)
            .await
            .read_to_end()
            .await;
        assert_eq!(crate::support::raw::status(&answer), status, "{target}");
    }
    assert_eq!(application.connections(), 0);
}

#[tokio::test]
async fn connections_to_the_upstream_are_reused() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    for _ in 0..5 {
        assert_eq!(gateway.client().get("/").answer().await.status, 200);
    }
    assert!(
        application.connections() < 5,
        "{}",
        application.connections()
    );
}

#[tokio::test]
async fn a_head_without_a_body_keeps_its_length() {
    let application = Application::start(|mut conversation, _| async move {
        while let Some(head) = conversation.head().await {
            let answer = match head.split(' ').nth(1) {
                Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n",
                Some("/204") => "HTTP/1.1 204 No Content\r\nX-Y: z\r\n\r\n",
                _ => OK,
            };
            conversation.say(answer).await;
        }
    })
    .await;
    let gateway = application.gateway().await;
    let client = gateway.client();
    let head = client.head("/head").answer().await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "12345", 0)
    );
    let unchanged = client.get("/304").answer().await;
    assert_eq!(
        (
            unchanged.status,
            unchanged.header("etag"),
            unchanged.body.len()
        ),
        (304, "\"e\"", 0)
    );
    assert_eq!(client.get("/204").answer().await.status, 204);
    assert_eq!(
        client.ask(Method::OPTIONS, "/x").answer().await.text(),
        "ok"
    );
    assert_eq!(
        client
            .ask(Method::from_bytes(b"PROPFIND").expect("a token"), "/x")
            .answer()
            .await
            .text(),
        "ok"
    );
    let http2 = Client::http2(client.base());
    let head = http2.head("/head").answer().await;
    assert_eq!((head.status, head.header("content-length")), (200, "12345"));
}

#[tokio::test]
async fn a_client_that_waits_for_a_100_gets_it_and_the_upstream_is_not_asked_for_one() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let head = "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    let mut raw = Raw::send(gateway.address(), head).await;
    let interim = raw.read_some(25).await;
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n"));
    raw.write(b"four").await;
    assert!(raw.read_to_end().await.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let seen = application.seen().await;
    assert!(!seen.has("expect"));
    assert_eq!(seen.body, b"four");
}

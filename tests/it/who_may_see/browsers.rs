//! What a page of another site can make a browser do: nothing to a session, and nothing on the admin listener.

use http::Method;

use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{gateway_over_store, raw, token};

const EDITOR: &str = "https://editor.example.com";
const EVIL: &str = "https://evil.example.com";

async fn started() -> (Store, Gateway) {
    let store = Store::start().await;
    let setup =
        Setup::over(&store.section("media")).set("server.cors.allowed_origins", vec![EDITOR]);
    let gateway = setup.start().await;
    (store, gateway)
}

#[tokio::test]
async fn a_page_of_another_site_opens_and_drops_no_session() {
    let (_store, gateway) = started().await;
    let client = gateway.client();
    let answer = client
        .ask(Method::POST, "/session")
        .by("anna")
        .answer()
        .await;
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default();
    assert!(answer.header("set-cookie").contains("SameSite=Lax"));
    // What a form or a simple request can send: cookies, a query, a body, but no Authorization.
    let token = token::of("eve");
    for content_type in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json",
    ] {
        for path in ["/session".to_owned(), format!("/session?token={token}")] {
            let forged = client
                .ask(Method::POST, path)
                .header("origin", EVIL)
                .header("sec-fetch-site", "cross-site")
                .header("cookie", cookie)
                .header("content-type", content_type)
                .body(format!("token={token}&access_token={token}"));
            let answer = forged.answer().await;
            assert_eq!((answer.status, answer.header("set-cookie")), (401, ""));
        }
    }
    // For anything else a browser asks first.
    for (origin, allowed) in [(EVIL, ""), ("null", ""), (EDITOR, EDITOR)] {
        for (method, field) in [("POST", "authorization"), ("DELETE", "")] {
            let asked = client
                .ask(Method::OPTIONS, "/session")
                .header("origin", origin)
                .header("access-control-request-method", method)
                .header("access-control-request-headers", field);
            let answer = asked.answer().await;
            let granted = answer.header("access-control-allow-origin");
            assert_eq!(granted, allowed, "{method} from {origin}");
        }
    }
    // A form cannot send DELETE, nor is it taken by another name.
    for name in ["x-http-method-override", "x-method-override"] {
        let forged = client.ask(Method::POST, "/session?_method=DELETE");
        let forged = forged.header("cookie", cookie).header(name, "DELETE");
        let answer = forged.answer().await;
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""));
    }
}

#[tokio::test]
async fn no_page_in_a_browser_reaches_the_admin_listener() {
    let (_store, gateway) = gateway_over_store().await;
    let base = gateway.admin().base().to_owned();
    let address = base
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let port = base.rsplit(':').next().expect("a port");
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    let fields = [
        (own.clone() + "Origin: https://evil.example.com\r\n"),
        (own.clone() + "Origin: null\r\n"),
        (own.clone() + &format!("Origin: {base}\r\n")),
        (own.clone() + "Sec-Fetch-Site: cross-site\r\n"),
        (own.clone() + "Sec-Fetch-Site: same-site\r\n"),
        (own.clone() + "Sec-Fetch-Site: same-origin\r\n"),
        // DNS rebinding: plain HTTP by a name of the page's own, without any of the above.
        format!("Host: rebound.evil.example.com:{port}\r\n"),
        "Host: 127.0.0.1.nip.io\r\n".to_owned(),
    ];
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("POST", "/cache/purge"),
        ("OPTIONS", "/cache/purge"),
        ("GET", "/"),
    ] {
        for fields in &fields {
            let request = format!(
                "{method} {path} HTTP/1.1\r\n{fields}Connection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = raw::Raw::send(address, &request).await.read_to_end().await;
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(raw::status(&answer), 403, "{request}{text}");
            assert!(
                !text.to_ascii_lowercase().contains("access-control-"),
                "{text}"
            );
            assert!(!text.contains("lockgate_"), "{text}");
        }
    }
    for host in [
        format!("127.0.0.1:{port}"),
        "localhost".into(),
        "lockgate.monitoring.svc".into(),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw::Raw::send(address, &request).await.read_to_end().await;
        assert_eq!(raw::status(&answer), 200, "{host}");
    }
}

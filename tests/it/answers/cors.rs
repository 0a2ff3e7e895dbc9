//! CORS: an allow-list of exact origins, and `Vary: Origin` on every answer.

use http::Method;

use super::{ORIGIN, assert_clean, path, started};

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

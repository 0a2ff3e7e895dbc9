//! Who: a bearer token, else the session cookie, else a query token where that is switched on.

use http::Method;
use serde_json::json;

use super::{started, started_with};
use crate::support::gateway::Gateway;
use crate::support::{token, uri};

#[tokio::test]
async fn a_bearer_token_comes_before_a_cookie() {
    let (_store, gateway) = started().await;
    let path = uri::task("1001", "s3://media/plain.mp4");
    let cookie = session(&gateway, "anna").await;
    let both = gateway
        .client()
        .get(&path)
        .by("eve")
        .header("cookie", &cookie);
    assert_eq!(both.answer().await.status, 403);
    let broken = gateway
        .client()
        .get(&path)
        .bearer("broken")
        .header("cookie", &cookie);
    assert_eq!(broken.answer().await.status, 401);
}

/// Exchanges a token for the cookie's `name=value`.
async fn session(gateway: &Gateway, subject: &str) -> String {
    let answer = gateway
        .client()
        .ask(Method::POST, "/session")
        .by(subject)
        .answer()
        .await;
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .expect("a cookie");
    cookie.to_owned()
}

#[tokio::test]
async fn behind_a_proxy_that_speaks_tls_the_cookie_is_secure_where_it_is_said() {
    let (_store, gateway) = started_with(|setup| setup.set("auth.secure_cookie", true)).await;
    let cookie = session(&gateway, "anna").await;
    assert!(cookie.starts_with("__Host-lockgate="), "{cookie}");
    let path = uri::task("1001", "s3://media/plain.mp4");
    let asked = gateway.client().get(&path).header("cookie", &cookie);
    assert_eq!(asked.answer().await.status, 200);
}

#[tokio::test]
async fn a_session_cookie_opens_what_its_token_opens_and_no_more() {
    let (_store, gateway) = started().await;
    let answer = gateway
        .client()
        .ask(Method::POST, "/session")
        .by("anna")
        .answer()
        .await;
    let set = answer.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(set.contains(attribute), "{attribute} in {set}");
    }
    let cookie = session(&gateway, "anna").await;
    let path = uri::task("1001", "s3://media/plain.mp4");
    let ask = |path: &str| {
        gateway
            .client()
            .get(path)
            .header("cookie", format!("theme=dark; {cookie}"))
    };
    assert_eq!(ask(&path).answer().await.status, 200);
    assert_eq!(
        ask(&uri::task("7", "s3://media/assigned.mp4"))
            .answer()
            .await
            .status,
        403
    );
    let nobody = gateway
        .client()
        .ask(Method::POST, "/session")
        .answer()
        .await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn a_session_is_dropped() {
    let (_store, gateway) = started().await;
    let cookie = session(&gateway, "anna").await;
    let answer = gateway
        .client()
        .ask(Method::DELETE, "/session")
        .header("cookie", &cookie)
        .answer()
        .await;
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn a_query_token_is_honoured_where_it_is_switched_on_for_the_one_thing_it_names() {
    let (_store, gateway) = started_with(|setup| setup.set("auth.query_token", true)).await;
    let uri = "s3://media/plain.mp4";
    let by_task = token::with("anna", json!({"task": 1001}));
    let by_uri = token::with("anna", json!({ "uri": uri }));
    let plain = token::of("anna");
    let deep = "s3://media/deep.mp4";
    for (told, token, path, wanted) in [
        ("the task it names", &by_task, uri::task("1001", uri), 200),
        ("another task", &by_task, uri::task("1002", deep), 403),
        (
            "a project route with a task's token",
            &by_task,
            uri::project("1", uri),
            403,
        ),
        ("the object it names", &by_uri, uri::project("1", uri), 200),
        ("another object", &by_uri, uri::project("1", deep), 403),
        (
            "a token that names nothing",
            &plain,
            uri::task("1001", uri),
            401,
        ),
    ] {
        let path = format!("{path}&token={token}");
        assert_eq!(
            gateway.client().get(&path).answer().await.status,
            wanted,
            "{told}"
        );
        assert_eq!(
            gateway.client().head(&path).answer().await.status,
            wanted,
            "{told}, HEAD"
        );
    }
    let post = format!("/session?token={by_task}");
    assert_eq!(
        gateway
            .client()
            .ask(Method::POST, post)
            .answer()
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_query_token_is_nothing_where_it_is_not_switched_on() {
    let (_store, gateway) = started().await;
    let token = token::with("anna", json!({"task": "1001"}));
    let path = format!(
        "{}&token={token}",
        uri::task("1001", "s3://media/plain.mp4")
    );
    assert_eq!(gateway.client().get(path).answer().await.status, 401);
}

#[tokio::test]
async fn tokens_that_are_not_as_the_contract_says_are_refused() {
    let (_store, gateway) = started().await;
    let path = uri::task("1001", "s3://media/plain.mp4");
    for (told, claims) in [
        (
            "another issuer",
            json!({"iss": "https://elsewhere.example.com"}),
        ),
        ("no issuer", json!({"iss": null})),
        ("another audience", json!({"aud": "others"})),
        ("no audience", json!({"aud": null})),
        ("expired", json!({"exp": token::epoch(-120)})),
        ("no expiry", json!({"exp": null})),
        ("not yet valid", json!({"nbf": token::epoch(120)})),
        ("no subject", json!({"sub": null})),
    ] {
        let token = token::with("anna", claims);
        let answer = gateway.client().get(&path).bearer(token).answer().await;
        assert_eq!(answer.status, 401, "{told}");
    }
    let several = token::with("anna", json!({"aud": ["others", token::AUDIENCE]}));
    assert_eq!(
        gateway
            .client()
            .get(&path)
            .bearer(several)
            .answer()
            .await
            .status,
        200
    );
}

//! `delivery = "redirect"`: a 303 whose Location works, for the one object and for as long as it says.

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::uri;

async fn started(more: &str) -> (Store, Gateway) {
    let store = Store::start().await;
    let section = store.section("media") + "delivery = 'redirect'\n" + more;
    let gateway = Setup::over(&section).start().await;
    (store, gateway)
}

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

/// The value of one parameter of a URL's query.
fn parameter(location: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(location).expect("Location is a URL");
    url.query_pairs()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_303_has_a_location_that_serves_the_object_and_its_ranges() {
    let (store, gateway) = started("").await;
    store.put(
        "media",
        "a b+c.mp4",
        Pattern(1).bytes(1000),
        Some("video/mp4"),
    );
    let answer = gateway.get(path("a b+c.mp4")).answer().await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("vary"), "Origin");
    let location = answer.header("location");
    let whole = gateway.client().get(location).send().await;
    assert_eq!(
        (whole.status(), whole.compare(Pattern(1), 0).await),
        (200, (1000, true))
    );
    let part = gateway
        .client()
        .get(location)
        .range("bytes=10-19")
        .send()
        .await;
    assert_eq!(
        (part.status(), part.compare(Pattern(1), 10).await),
        (206, (10, true))
    );
}

#[tokio::test]
async fn a_303_costs_no_bytes_and_is_the_same_for_head_and_presign() {
    let (store, gateway) = started("").await;
    store.put("media", "a.mp4", Pattern(1).bytes(1000), Some("video/mp4"));
    assert_eq!(gateway.head(path("a.mp4")).answer().await.status, 303);
    let presign = path("a.mp4").replace("/resolve/", "/presign/");
    assert_eq!(gateway.get(presign).answer().await.status, 303);
    assert_eq!(store.bytes_sent(), 0);
}

#[tokio::test]
async fn the_url_lives_for_presign_expiry() {
    let (store, gateway) = started("presign_expiry = '90s'\n").await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), Some("video/mp4"));
    let answer = gateway.get(path("a.mp4")).answer().await;
    let expires = parameter(answer.header("location"), "X-Amz-Expires").expect("it says so");
    assert!(expires.parse::<u64>().expect("a number") <= 90, "{expires}");
}

#[tokio::test]
async fn a_url_tampered_with_is_refused_by_storage() {
    let (store, gateway) = started("").await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), Some("video/mp4"));
    store.put("media", "b.mp4", Pattern(1).bytes(10), Some("video/mp4"));
    let answer = gateway.get(path("a.mp4")).answer().await;
    let other = answer.header("location").replace("a.mp4", "b.mp4");
    assert_eq!(gateway.client().get(other).answer().await.status, 403);
}

#[tokio::test]
async fn the_type_is_given_by_extension_where_the_objects_own_is_of_no_use() {
    let (store, gateway) = started("").await;
    for (key, own, told) in [
        ("a.mp4", None, Some("video/mp4")),
        ("b.png", Some("application/octet-stream"), Some("image/png")),
    ] {
        store.put("media", key, Pattern(1).bytes(10), own);
        let answer = gateway.get(path(key)).answer().await;
        let location = answer.header("location");
        assert_eq!(
            parameter(location, "response-content-type").as_deref(),
            told,
            "{key}"
        );
        let object = gateway.client().get(location).answer().await;
        assert_eq!(
            object.header("content-type"),
            told.unwrap_or_default(),
            "{key}"
        );
    }
}

#[tokio::test]
async fn temporary_credentials_carry_their_session_token_in_both_deliveries() {
    let store = Store::with_session_token(Some("a session token/of+the tests")).await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), Some("video/mp4"));
    let proxied = Setup::over(&store.section("media")).start().await;
    assert_eq!(proxied.get(path("a.mp4")).answer().await.status, 200);
    let section = store.section("media") + "delivery = 'redirect'\n";
    let redirected = Setup::over(&section).start().await;
    let answer = redirected.get(path("a.mp4")).answer().await;
    let object = redirected
        .client()
        .get(answer.header("location"))
        .answer()
        .await;
    assert_eq!((answer.status, object.status), (303, 200));
}

#[tokio::test]
async fn who_may_not_see_it_gets_no_url() {
    let (store, gateway) = started("").await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let eve = gateway.client().get(path("a.mp4")).by("eve").answer().await;
    assert_eq!((eve.status, eve.header("location")), (403, ""));
    let nobody = gateway.client().get(path("a.mp4")).answer().await;
    assert_eq!((nobody.status, nobody.header("location")), (401, ""));
}

#[tokio::test]
async fn no_log_line_has_the_signature() {
    let (store, gateway) = started("").await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let answer = gateway.get(path("a.mp4")).answer().await;
    let signature = parameter(answer.header("location"), "X-Amz-Signature").expect("it is signed");
    let lines = crate::support::eventually("a log line", async || {
        let lines = gateway.access_log();
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert_eq!(lines[0]["status"], 303);
    assert!(
        !lines
            .iter()
            .any(|line| line.to_string().contains(&signature))
    );
}

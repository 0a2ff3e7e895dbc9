//! The headers of media: type, disposition, policy, encoding, validators, caching.

use super::{path, started};
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::store::{Object, Store};

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

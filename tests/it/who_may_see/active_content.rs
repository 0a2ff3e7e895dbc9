//! Media that a browser could run, on the editor's own origin.

use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::uri;

const SCRIPT: &[u8] =
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(document.domain)</script></svg>";

/// Key, storage's type, what is sent as the type, the beginning of the disposition, whether it is sandboxed.
const MEDIA: &[(&str, Option<&str>, &str, &str, bool)] = &[
    ("a.html", Some("text/html"), "text/html", "inline", true),
    (
        "b.svg",
        Some("image/svg+xml"),
        "image/svg+xml",
        "inline",
        true,
    ),
    ("c.svg", None, "image/svg+xml", "inline", true),
    ("d.xml", Some("text/xml"), "text/xml", "inline", true),
    (
        "e.xhtml",
        Some("application/xhtml+xml"),
        "application/xhtml+xml",
        "attachment",
        true,
    ),
    (
        "f.js",
        Some("text/javascript"),
        "text/javascript",
        "inline",
        false,
    ),
    (
        "g.js",
        Some("application/javascript"),
        "application/javascript",
        "attachment",
        false,
    ),
    (
        "h.pdf",
        Some("application/pdf"),
        "application/pdf",
        "inline",
        false,
    ),
    // What no browser may guess to be a page.
    (
        "i.html",
        None,
        "application/octet-stream",
        "attachment",
        false,
    ),
    ("j.png", Some("image/png"), "image/png", "inline", false),
    (
        "k.mp4",
        Some("text/html; charset=utf-7"),
        "text/html; charset=utf-7",
        "inline",
        true,
    ),
];

async fn started() -> (Store, Gateway) {
    let store = Store::start().await;
    for (key, stored, ..) in MEDIA {
        store.put("media", key, SCRIPT.to_vec(), *stored);
    }
    let gateway = Setup::over(&store.section("media")).start().await;
    (store, gateway)
}

#[tokio::test]
async fn media_that_could_run_is_sandboxed_and_none_is_sniffed() {
    let (_store, gateway) = started().await;
    for (key, _, content_type, disposition, sandboxed) in MEDIA {
        let path = uri::project("1", &format!("s3://media/{key}"));
        for range in [None, Some("bytes=0-9")] {
            let ask = gateway.get(&path);
            let ask = match range {
                Some(range) => ask.range(range),
                None => ask,
            };
            let answer = ask.answer().await;
            assert_eq!(answer.header("content-type"), *content_type, "{key}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{key}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-site");
            let shown = answer.header("content-disposition");
            assert!(shown.starts_with(disposition), "{key}: {shown}");
            let policy = answer.header("content-security-policy");
            let expected = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
            assert_eq!(policy, if *sandboxed { expected } else { "" }, "{key}");
        }
    }
}

#[tokio::test]
async fn no_media_is_handed_out_to_be_run_as_a_script() {
    let (_store, gateway) = started().await;
    for (key, ..) in MEDIA {
        let path = uri::project("1", &format!("s3://media/{key}"));
        for (destination, status) in [
            ("script", 406),
            ("serviceworker", 406),
            ("sharedworker", 406),
            ("worker", 406),
            ("audioworklet", 406),
            ("paintworklet", 406),
            ("style", 406),
            ("xslt", 406),
            ("image", 200),
            ("audio", 200),
            ("video", 200),
            ("track", 200),
            ("iframe", 200),
            ("document", 200),
            ("embed", 200),
            ("empty", 200),
        ] {
            let ask = gateway.get(&path).header("sec-fetch-dest", destination);
            assert_eq!(ask.answer().await.status, status, "{key} as {destination}");
        }
    }
    // Nor does it tell what is there: who may not see it gets the refusal of everybody.
    let path = uri::project("1", "s3://elsewhere/f.js");
    let ask = gateway.get(path).header("sec-fetch-dest", "script");
    assert_eq!(ask.answer().await.status, 403);
}

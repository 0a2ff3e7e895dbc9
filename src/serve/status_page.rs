//! The status page: one document with its style and its script in it, which asks `/status.json` again and again.
//!
//! Loads nothing from anywhere else, and could not: its policy (CSP Level 3) lets run what has the very digest of its
//! own script and style, and connect to where it came from. Puts what it is told into the page as text, never as HTML.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http_body_util::Full;

const HTML: &str = include_str!("status_page/page.html");
const STYLE: &str = include_str!("status_page/page.css");
const SCRIPT: &str = include_str!("status_page/page.js");

/// The page, and the policy that goes with it.
static PAGE: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let page = HTML
        .replace("/* style */", STYLE)
        .replace("/* script */", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    (page.into(), policy)
});

/// What a policy calls a script or a style by its digest.
fn source(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
}

/// The page.
pub(super) fn page() -> Response<Full<Bytes>> {
    let (page, policy) = &*PAGE;
    let mut response = Response::new(Full::new(page.clone()));
    let fields: [(HeaderName, &str); 7] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (CACHE_CONTROL, "no-store"),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fields {
        // All of them are ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

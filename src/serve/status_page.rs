//! The status page: one document with its style and its script in it, which asks `/status.json` again and again.
//!
//! Loads nothing from anywhere else, and could not: its policy (CSP Level 3) lets run what has the very digest of its
//! own script and style, and connect to where it came from. Puts what it is told into the page as text, never as HTML.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
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
    let fields = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    fields.insert(CONTENT_TYPE, html);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // It is ASCII; without one the page's script would not run, and nothing else either.
    let policy = HeaderValue::from_str(policy);
    let nothing = HeaderValue::from_static("default-src 'none'");
    fields.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or(nothing));
    keep_from_others(fields);
    response
}

/// Other pages can neither frame an answer nor load it as something that it is not; which matters where a browser does
/// not say which page asks, as over plain HTTP to another machine.
pub(super) fn keep_from_others(fields: &mut HeaderMap) {
    fields.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let nosniff = HeaderValue::from_static("nosniff");
    fields.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    fields.insert(policy, HeaderValue::from_static("same-origin"));
}

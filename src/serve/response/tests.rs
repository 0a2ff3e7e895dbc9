//! What `response` promises, as tables.

use super::*;
use crate::object::ETag;
use crate::range::RangeSpec;
use crate::secret::Secret;

fn meta(content_type: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        etag: ETag::strong("\"abc-2\"").unwrap(),
        complete_length: 100,
        last_modified: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900)),
        content_type: content_type.map(Into::into),
        content_encoding: None,
    }
}

fn config() -> DeliveryConfig {
    DeliveryConfig {
        allow_proxy: true,
        max_range_size: None,
        cache_control: HeaderValue::from_static("private, no-cache"),
        cross_origin_resource_policy: HeaderValue::from_static("same-site"),
        stall_timeout: Duration::from_secs(30),
    }
}

fn part(field: &str) -> Selected {
    Selected::Part(
        RangeSpec::parse(field.as_bytes())
            .unwrap()
            .satisfy(100)
            .unwrap()
            .unwrap(),
    )
}

fn head(selected: &Selected, meta: &ObjectMeta, key: &str) -> Response<()> {
    let content_type = ContentType::of(meta.content_type.as_deref(), key);
    media_head(selected, meta, key, &content_type, &config())
}

/// The head as `name: value` lines, in order of the names.
fn lines(response: &Response<()>) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut lines: Vec<String> = response.headers().iter().map(line).collect();
    lines.sort();
    lines
}

fn field(response: &Response<()>, name: &str) -> Option<String> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_200_has_these_fields_and_no_other() {
    let response = head(&Selected::Whole, &meta(Some("image/png")), "a/b.png");
    assert_eq!(response.status(), 200);
    assert_eq!(
        lines(&response),
        [
            "accept-ranges: bytes",
            "cache-control: private, no-cache",
            "content-disposition: inline",
            "content-length: 100",
            "content-type: image/png",
            "cross-origin-resource-policy: same-site",
            "etag: \"abc-2\"",
            "last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "vary: Origin",
            "x-content-type-options: nosniff",
        ]
    );
}

#[test]
fn a_206_has_the_true_content_range_and_its_own_length() {
    let response = head(&part("bytes=-10"), &meta(None), "a.wav");
    assert_eq!(response.status(), 206);
    assert_eq!(
        lines(&response),
        [
            "accept-ranges: bytes",
            "cache-control: private, no-cache",
            "content-disposition: inline",
            "content-length: 10",
            "content-range: bytes 90-99/100",
            "content-type: audio/wav",
            "cross-origin-resource-policy: same-site",
            "etag: \"abc-2\"",
            "last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "vary: Origin",
            "x-content-type-options: nosniff",
        ]
    );
}

#[test]
fn a_304_has_validators_and_nothing_of_the_representation() {
    let response = head(&Selected::NotModified, &meta(Some("text/html")), "a.html");
    assert_eq!(response.status(), 304);
    assert_eq!(
        lines(&response),
        [
            "accept-ranges: bytes",
            "cache-control: private, no-cache",
            "etag: \"abc-2\"",
            "last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "vary: Origin",
        ]
    );
}

#[test]
fn a_303_is_kept_out_of_caches_and_referrers_and_debug() {
    let presigned = |url: &str| PresignedUrl {
        url: Secret::new(url),
        expires_at: SystemTime::UNIX_EPOCH,
    };
    let response = redirect(&presigned("https://s3/b/k?X-Amz-Signature=5ec2e7")).unwrap();
    assert_eq!(response.status(), 303);
    assert_eq!(
        lines(&response),
        [
            "cache-control: no-store",
            "content-length: 0",
            "location: https://s3/b/k?X-Amz-Signature=5ec2e7",
            "referrer-policy: no-referrer",
            "vary: Origin",
        ]
    );
    assert!(!format!("{response:?}").contains("5ec2e7"));
    assert!(matches!(
        redirect(&presigned("https://s3/\r\nx: y")),
        Err(Failure::Internal(_))
    ));
}

#[test]
fn html_svg_and_xml_are_sandboxed_and_pdf_is_not() {
    let sandbox = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
    for (content_type, sandboxed) in [
        ("text/html; charset=utf-8", true),
        ("application/xhtml+xml", true),
        ("image/svg+xml", true),
        ("application/xml", true),
        ("text/xml", true),
        ("application/pdf", false),
        ("image/png", false),
    ] {
        let response = head(&Selected::Whole, &meta(Some(content_type)), "k");
        let policy = field(&response, "content-security-policy");
        assert_eq!(
            policy.as_deref(),
            sandboxed.then_some(sandbox),
            "{content_type}"
        );
    }
}

#[test]
fn what_is_unknown_is_an_attachment_by_its_own_name() {
    for (content_type, key, disposition) in [
        ("video/mp4", "a.bin", "inline"),
        ("text/plain", "a", "inline"),
        ("application/pdf", "a", "inline"),
        (
            "application/zip",
            "a/b c.zip",
            "attachment; filename=\"b c.zip\"",
        ),
        ("", "a/b", "attachment; filename=\"b\""),
        ("", "a/b.html", "attachment; filename=\"b.html\""),
        ("", "a/", "attachment"),
        (
            "",
            "a\"b\\",
            "attachment; filename=\"a_b_\"; filename*=UTF-8''a%22b%5C",
        ),
        (
            "",
            "100%",
            "attachment; filename=\"100_\"; filename*=UTF-8''100%25",
        ),
        (
            "",
            "ä\r\n.x",
            "attachment; filename=\"___.x\"; filename*=UTF-8''%C3%A4%0D%0A.x",
        ),
    ] {
        let response = head(&Selected::Whole, &meta(Some(content_type)), key);
        assert_eq!(
            field(&response, "content-disposition").as_deref(),
            Some(disposition),
            "{key:?}"
        );
    }
}

#[test]
fn content_is_passed_as_it_is_encoded() {
    for (stored, sent) in [
        (Some("gzip"), Some("gzip")),
        (Some("br, gzip"), Some("br, gzip")),
        (Some("identity"), None),
        (Some(""), None),
        (Some("gzip\r\nx: y"), None),
        (None, None),
    ] {
        let meta = ObjectMeta {
            content_encoding: stored.map(Into::into),
            ..meta(Some("text/csv"))
        };
        let response = head(&Selected::Whole, &meta, "a.csv");
        assert_eq!(
            field(&response, "content-encoding").as_deref(),
            sent,
            "{stored:?}"
        );
        assert_eq!(field(&response, "content-length").as_deref(), Some("100"));
    }
}

#[test]
fn an_empty_object_is_a_200_of_length_0() {
    let meta = ObjectMeta {
        complete_length: 0,
        ..meta(None)
    };
    let response = head(&Selected::Whole, &meta, "a.png");
    assert_eq!(response.status(), 200);
    assert_eq!(field(&response, "content-length").as_deref(), Some("0"));
}

#[test]
fn no_time_that_storage_gives_makes_it_panic() {
    let year = Duration::from_secs(366 * 86_400);
    for (modified, sent) in [
        (None, false),
        (Some(SystemTime::UNIX_EPOCH), true),
        (SystemTime::UNIX_EPOCH.checked_sub(year), false),
        (SystemTime::UNIX_EPOCH.checked_add(year * 7000), true),
        (SystemTime::UNIX_EPOCH.checked_add(year * 9000), false),
        (
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799)),
            true,
        ),
    ] {
        let meta = ObjectMeta {
            last_modified: modified,
            ..meta(None)
        };
        let response = head(&Selected::Whole, &meta, "k");
        assert_eq!(
            field(&response, "last-modified").is_some(),
            sent,
            "{modified:?}"
        );
    }
}

#[test]
fn cache_control_and_resource_policy_are_the_operators() {
    let config = DeliveryConfig {
        cache_control: HeaderValue::from_static("private, max-age=60"),
        cross_origin_resource_policy: HeaderValue::from_static("cross-origin"),
        ..config()
    };
    let content_type = ContentType::of(None, "a.png");
    let response = media_head(
        &Selected::Whole,
        &meta(None),
        "a.png",
        &content_type,
        &config,
    );
    assert_eq!(
        field(&response, "cache-control").as_deref(),
        Some("private, max-age=60")
    );
    assert_eq!(
        field(&response, "cross-origin-resource-policy").as_deref(),
        Some("cross-origin")
    );
}

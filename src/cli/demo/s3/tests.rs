//! The embedded server as a signing client sees it.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

mod signatures;

const KEY: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

struct Fixture {
    server: S3Server,
    client: Client<HttpConnector, Empty<Bytes>>,
    credentials: Credentials,
}

impl Fixture {
    async fn new() -> Self {
        let server = S3Server::start([AccessKey::new("id", "secret")])
            .await
            .unwrap();
        server.put(
            "team.media",
            "abc",
            b"0123456789".to_vec(),
            Some("text/plain"),
        );
        Self {
            server,
            client: Client::builder(TokioExecutor::new()).build_http(),
            credentials: Credentials::new("id", "secret", None, None, "test"),
        }
    }

    fn url(&self, bucket: &str, key: &str) -> String {
        format!(
            "{}{bucket}/{}",
            self.server.endpoint(),
            utf8_percent_encode(key, &KEY)
        )
    }

    fn signed(
        &self,
        mut request: Request<Empty<Bytes>>,
        presign: Option<(Duration, SystemTime)>,
    ) -> Request<Empty<Bytes>> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let mut time = SystemTime::now();
        if let Some((expiry, at)) = presign {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expiry);
            time = at;
        }
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3");
        let params = params.time(time).settings(settings).build().unwrap().into();
        let uri = request.uri().to_string();
        let method = request.method().to_string();
        let headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()))
            .collect();
        let headers = headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let signable =
            SignableRequest::new(&method, uri, headers, SignableBody::UnsignedPayload).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        if presign.is_none() {
            request
                .headers_mut()
                .insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
        }
        request
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = self.signed(request.body(Empty::new()).unwrap(), None);
        self.client.request(request).await.unwrap()
    }

    async fn get(&self, key: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.send(Method::GET, &self.url("team.media", key), headers)
            .await
    }
}

async fn bytes(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn header<'a>(response: &'a Response<Incoming>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_form_of_a_single_range_is_answered_exactly() {
    let s3 = Fixture::new().await;
    for (range, expected, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=9-9", "9", "bytes 9-9/10"),
    ] {
        let response = s3.get("abc", &[("range", range)]).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header(&response, "content-range"), content_range);
        assert_eq!(
            header(&response, "content-length"),
            expected.len().to_string()
        );
        assert_eq!(bytes(response).await, expected, "{range}");
    }
    let whole = s3.get("abc", &[]).await;
    assert_eq!(
        (whole.status(), header(&whole, "content-type")),
        (StatusCode::OK, "text/plain")
    );
    assert_eq!(bytes(whole).await, "0123456789");
    let past = s3.get("abc", &[("range", "bytes=10-")]).await;
    assert_eq!(past.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&past, "content-range"), "bytes */10");
    assert!(String::from_utf8_lossy(&bytes(past).await).contains("InvalidRange"));
}

#[tokio::test]
async fn conditions_are_checked_in_the_rfcs_order() {
    let s3 = Fixture::new().await;
    let etag = s3
        .server
        .put("team.media", "abc", b"0123456789".to_vec(), None);
    let (past, future) = (
        "Thu, 01 Jan 2015 00:00:00 GMT",
        "Thu, 01 Jan 2099 00:00:00 GMT",
    );
    for (headers, status) in [
        (vec![("if-match", etag.as_str())], 200),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", future)], 304),
        (vec![("if-modified-since", past)], 200),
        (vec![("if-unmodified-since", past)], 412),
        (vec![("if-unmodified-since", future)], 200),
        (
            vec![("if-match", etag.as_str()), ("if-unmodified-since", past)],
            200,
        ),
        (
            vec![("if-match", "\"other\""), ("if-none-match", etag.as_str())],
            412,
        ),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let response = s3
                .send(method, &s3.url("team.media", "abc"), &headers)
                .await;
            assert_eq!(response.status().as_u16(), status, "{headers:?}");
            if status == 304 {
                assert_eq!(header(&response, "etag"), etag);
            }
        }
    }
}

#[tokio::test]
async fn every_key_arrives_unharmed() {
    let s3 = Fixture::new().await;
    let long = "é".repeat(512);
    for key in [
        "with space",
        "a+b",
        "100%",
        "%41",
        "a//b",
        "/leading",
        "//",
        "trailing/",
        "a#b?c&d=e",
        "(1) [2] {3}",
        "日本/ä.png",
        "..",
        "a/../b",
        "./c",
        "'\"<>",
        "back\\slash",
        &long,
    ] {
        s3.server
            .put("team.media", key, key.as_bytes().to_vec(), None);
        let response = s3.get(key, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{key}");
        assert_eq!(bytes(response).await, key.as_bytes());
    }
}

#[tokio::test]
async fn a_generated_object_of_5_gib_is_read_anywhere() {
    let s3 = Fixture::new().await;
    let content = Content::generated(5 << 30, |offset, piece| {
        for (i, byte) in piece.iter_mut().enumerate() {
            *byte = ((offset + i as u64) % 251) as u8;
        }
    });
    s3.server.put("team.media", "large", content, None);
    let first = (4_u64 << 30) + 7;
    let range = format!("bytes={first}-{}", first + 999_999);
    let read = bytes(s3.get("large", &[("range", &range)]).await).await;
    assert_eq!(read.len(), 1_000_000);
    assert!(
        read.iter()
            .enumerate()
            .all(|(i, byte)| u64::from(*byte) == (first + i as u64) % 251)
    );
    let head = s3
        .send(Method::HEAD, &s3.url("team.media", "large"), &[])
        .await;
    assert_eq!(header(&head, "content-length"), (5_u64 << 30).to_string());
}

#[tokio::test]
async fn held_requests_wait_and_bodies_stop_where_they_are_told() {
    let s3 = Fixture::new().await;
    s3.server.put("team.media", "large", vec![7; 3 << 20], None);
    s3.server.hold();
    let get = s3.get("large", &[]);
    let watch = async {
        s3.server.wait_for_requests(1).await;
        assert_eq!(s3.server.bytes_sent(), 0);
        s3.server.hold_bodies_after(300_000);
        s3.server.control.heads_open.send_replace(true);
        s3.server.wait_for_bytes(300_000).await;
        assert_eq!(s3.server.bytes_sent(), 300_000);
        s3.server.release();
    };
    let (response, ()) = tokio::join!(async { bytes(get.await).await }, watch);
    assert_eq!(response.len(), 3 << 20);
    assert_eq!(s3.server.count("GetObject", "large"), 1);
}

#[tokio::test]
async fn injected_faults_come_in_order_and_then_end() {
    let s3 = Fixture::new().await;
    s3.server.fail_next(1, Fault::Status(503, "SlowDown"));
    s3.server.fail_next(1, Fault::CutBody(4));
    let slow = s3.get("abc", &[]).await;
    assert_eq!(slow.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8_lossy(&bytes(slow).await).contains("SlowDown"));
    assert!(
        s3.get("abc", &[])
            .await
            .into_body()
            .collect()
            .await
            .is_err()
    );
    s3.server.fail_next(1, Fault::NoAnswer);
    let request = Request::get(s3.url("team.media", "abc"))
        .body(Empty::new())
        .unwrap();
    assert!(s3.client.request(s3.signed(request, None)).await.is_err());
    assert_eq!(bytes(s3.get("abc", &[]).await).await, "0123456789");
}

#[tokio::test]
async fn a_listing_keeps_to_prefix_limit_and_place() {
    let s3 = Fixture::new().await;
    for key in ["p/1", "p/2", "p/3", "q/1"] {
        s3.server.put("team.media", key, Vec::new(), None);
    }
    let url = format!(
        "{}team.media?list-type=2&prefix=p%2F&max-keys=2",
        s3.server.endpoint()
    );
    let page = bytes(s3.send(Method::GET, &url, &[]).await).await;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(
        page.contains("<Key>p/1</Key>") && page.contains("<Key>p/2</Key>") && !page.contains("p/3")
    );
    assert!(page.contains("<IsTruncated>true</IsTruncated>"), "{page}");
    let page = bytes(
        s3.send(Method::GET, &format!("{url}&continuation-token=p%2F2"), &[])
            .await,
    )
    .await;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(page.contains("<Key>p/3</Key>") && !page.contains("q/1") && page.contains("false"));
}

#[tokio::test]
async fn what_is_not_there_is_a_404_and_names_what_is_missing() {
    let s3 = Fixture::new().await;
    let missing = s3.get("nothing", &[]).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(String::from_utf8_lossy(&bytes(missing).await).contains("NoSuchKey"));
    let missing = s3.send(Method::GET, &s3.url("elsewhere", "abc"), &[]).await;
    assert!(String::from_utf8_lossy(&bytes(missing).await).contains("NoSuchBucket"));
}

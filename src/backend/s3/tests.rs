//! What is mended on the way to an answer, against a server that answers as S3 does.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use super::*;
use crate::backend::config::StaticCredentials;
use crate::backend::renewing::{Issuer, Lease, Renewing};
use crate::backend::stub::{Answer, Stub, answer};
use crate::ids::StorageId;

const ETAG: (&str, &str) = ("etag", "\"v1\"");

/// The region that a request is signed for.
fn signed_for(head: &Request<()>) -> String {
    let field = head.headers()["authorization"].to_str().unwrap();
    let scope = field.split("Credential=").nth(1).unwrap();
    scope.split('/').nth(2).unwrap().to_owned()
}

fn key_of(head: &Request<()>) -> &str {
    let field = head.headers()["authorization"].to_str().unwrap();
    let scope = field.split("Credential=").nth(1).unwrap();
    scope.split('/').next().unwrap()
}

fn given(head: &Request<()>) -> Answer {
    match *head.method() {
        Method::HEAD => answer(200, &[ETAG, ("content-length", "3")], ""),
        _ => answer(206, &[ETAG, ("content-range", "bytes 0-2/3")], "abc"),
    }
}

fn document(code: &str, more: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>m</Message>{more}</Error>")
}

fn s3(storage: &Stub, region: Option<&str>) -> S3 {
    let config = S3Config {
        bucket: "media".into(),
        region: region.map(str::to_owned),
        endpoint: format!("http://127.0.0.1:{}", storage.port).parse().ok(),
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: "AKIA0".into(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        }),
        ..S3Config::default()
    };
    S3::new(
        config,
        HttpClient::new(None, Duration::from_secs(10)).unwrap(),
    )
}

fn location() -> ObjectLocation {
    ObjectLocation {
        storage: StorageId::new("one".to_owned()),
        epoch: 1,
        bucket: "media".into(),
        key: "a b.mp4".into(),
    }
}

async fn read(s3: &S3) -> Result<u64, BackendError> {
    let location = location();
    match s3.get(Call::about(&location), 0..3).await? {
        Conditional::Is(fetched) => Ok(fetched.meta.complete_length),
        Conditional::NotModified => panic!("unasked"),
    }
}

/// A bucket in `eu-west-1` and the ways in which S3 says so.
async fn in_eu_west_1(refuse: fn() -> Answer) -> Stub {
    Stub::start(None, move |head| match signed_for(head).as_str() {
        "eu-west-1" => given(head),
        _ => refuse(),
    })
    .await
}

#[tokio::test]
async fn the_region_is_found_out_from_the_refusal_and_remembered() {
    let moved = || {
        answer(
            301,
            &[("x-amz-bucket-region", "eu-west-1")],
            &document("PermanentRedirect", ""),
        )
    };
    let header_alone = || answer(400, &[("x-amz-bucket-region", "eu-west-1")], "");
    let malformed = || {
        let document = document("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>");
        answer(400, &[], &document)
    };
    for refuse in [moved as fn() -> Answer, header_alone, malformed] {
        let storage = in_eu_west_1(refuse).await;
        let s3 = s3(&storage, None);
        for _ in 0..2 {
            assert_eq!(read(&s3).await.unwrap(), 3);
        }
        let regions: Vec<_> = storage.asked().iter().map(signed_for).collect();
        assert_eq!(regions, ["us-east-1", "eu-west-1", "eu-west-1"]);
    }
}

#[tokio::test]
async fn a_head_that_is_refused_without_a_word_asks_for_the_reason() {
    let storage = Stub::start(None, |head| {
        match (head.method(), signed_for(head).as_str()) {
            (_, "eu-west-1") => given(head),
            (&Method::HEAD, _) => answer(400, &[], ""),
            _ => answer(
                400,
                &[],
                &document("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            ),
        }
    })
    .await;
    let location = location();
    let s3 = s3(&storage, None);
    let head = s3.head(Call::about(&location)).await.unwrap();
    assert!(matches!(head, Conditional::Is(meta) if meta.complete_length == 3));
    assert_eq!(storage.asked().len(), 3);

    let skewed = Stub::start(None, |head| match *head.method() {
        Method::HEAD => answer(403, &[], ""),
        _ => answer(403, &[], &document("RequestTimeTooSkewed", "")),
    })
    .await;
    let error = self::s3(&skewed, None)
        .head(Call::about(&location))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "storage refused access: RequestTimeTooSkewed"
    );
}

#[tokio::test]
async fn a_presigned_url_is_signed_for_the_region_that_was_found_out() {
    let storage = in_eu_west_1(|| answer(301, &[("x-amz-bucket-region", "eu-west-1")], "")).await;
    let s3 = s3(&storage, None);
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: None,
    };
    for _ in 0..2 {
        let url = s3.presign(&location(), &options).await.unwrap().url;
        assert!(
            url.expose().contains("%2Feu-west-1%2Fs3%2F"),
            "{}",
            url.expose()
        );
    }
    assert_eq!(
        storage.asked().len(),
        2,
        "one HEAD too few, one that is right, and no more"
    );
}

#[tokio::test]
async fn an_object_that_is_not_there_tells_the_region_as_well() {
    let storage = Stub::start(None, |_| answer(404, &[], "")).await;
    let s3 = s3(&storage, None);
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: None,
    };
    for _ in 0..2 {
        s3.presign(&location(), &options).await.unwrap();
    }
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn a_configured_region_is_kept_and_the_right_one_named() {
    let storage = in_eu_west_1(|| answer(301, &[("x-amz-bucket-region", "eu-west-1")], "")).await;
    let error = read(&s3(&storage, Some("eu-central-1"))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "storage refused access: 301: the bucket is in region eu-west-1"
    );
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_sends_on_and_on_is_asked_twice() {
    let turn = AtomicUsize::new(0);
    let storage = Stub::start(None, move |_| {
        let region = format!("eu-west-{}", turn.fetch_add(1, Ordering::SeqCst));
        answer(301, &[("x-amz-bucket-region", &region)], "")
    })
    .await;
    assert!(matches!(
        read(&s3(&storage, None)).await,
        Err(BackendError::AccessDenied(_))
    ));
    assert_eq!(storage.asked().len(), 2);
}

/// Issues the keys AKIA0, AKIA1…, and after `last` none.
struct Keys {
    issued: AtomicUsize,
    last: usize,
}

#[async_trait]
impl Issuer<Credentials> for Keys {
    async fn issue(&self) -> Result<Lease<Credentials>, BackendError> {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        if number > self.last {
            return Err(BackendError::NoCredentials("refused".into()));
        }
        let credentials = Credentials::new(format!("AKIA{number}"), "s", None, None, "tests");
        Ok(Lease {
            value: Arc::new(credentials),
            ends_at: None,
        })
    }
}

fn with_keys(mut s3: S3, last: usize) -> S3 {
    s3.credentials = S3Credentials {
        renewing: Renewing::new(Keys {
            issued: AtomicUsize::new(0),
            last,
        }),
        renewable: true,
    };
    s3
}

#[tokio::test]
async fn credentials_that_storage_takes_for_ended_are_renewed_once() {
    let ended = |last_ended: &'static str| {
        Stub::start(None, move |head| match key_of(head) {
            key if key > last_ended => given(head),
            _ => answer(400, &[], &document("ExpiredToken", "")),
        })
    };
    let storage = ended("AKIA0").await;
    let renewed = with_keys(s3(&storage, None), 9);
    assert_eq!(read(&renewed).await.unwrap(), 3);
    assert_eq!(storage.asked().len(), 2);

    let storage = ended("AKIA9").await;
    let error = read(&with_keys(s3(&storage, None), 9)).await.unwrap_err();
    assert_eq!(error.to_string(), "storage refused access: ExpiredToken");
    assert_eq!(storage.asked().len(), 2, "no third try");

    let error = read(&with_keys(s3(&storage, None), 0)).await.unwrap_err();
    assert!(
        matches!(error, BackendError::CredentialsRefused(_)),
        "{error}"
    );

    let storage = ended("AKIA9").await;
    let error = read(&s3(&storage, None)).await.unwrap_err();
    assert!(matches!(error, BackendError::AccessDenied(_)), "{error}");
    assert_eq!(
        storage.asked().len(),
        1,
        "a key of the configuration has no other to follow"
    );
}

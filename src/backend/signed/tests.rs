//! What reading by signed URLs promises, against storage that answers as S3, Google and Azure do.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::backend::reach::Reach;
use crate::backend::stub::{Answer, Stub, answer};
use crate::object::ETag;
use crate::secret::Secret;
use crate::signed::Signer;

const ETAG: (&str, &str) = ("etag", "\"v1\"");
const BESIDE: Reach = Reach::Elsewhere { loopback: true };
const HOUR: Duration = Duration::from_secs(3600);

fn location(epoch: u64) -> ObjectLocation {
    ObjectLocation {
        storage: "label-studio".into(),
        epoch,
        bucket: "s3://media".into(),
        key: "a b.mp4".into(),
    }
}

fn url(storage: &Stub, signature: &str, life: Duration) -> SignedUrl {
    let port = storage.port;
    SignedUrl {
        url: Secret::new(format!(
            "http://127.0.0.1:{port}/media/a%20b.mp4?{signature}"
        )),
        expires_at: Some(SystemTime::now() + life),
    }
}

/// Signs the same each time, and counts.
struct Signs(AtomicU32, Result<SignedUrl, NotSigned>);

#[async_trait]
impl Signer for Signs {
    async fn sign(&self) -> Result<SignedUrl, NotSigned> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.clone()
    }
}

struct Given {
    signed: Signed,
    urls: Arc<SignedUrls>,
    signer: Arc<Signs>,
}

impl Given {
    /// A URL is known, and another will be signed.
    fn new(first: SignedUrl, next: Result<SignedUrl, NotSigned>) -> Self {
        let urls = Arc::new(SignedUrls::default());
        let signer = Arc::new(Signs(AtomicU32::new(0), next));
        urls.put(location(1), first, signer.clone());
        let client = HttpClient::within(BESIDE, None, Duration::from_secs(10)).unwrap();
        let signed = Signed::new(urls.clone(), client);
        Self {
            signed,
            urls,
            signer,
        }
    }

    /// A URL that holds, and no other to be had.
    fn at(storage: &Stub) -> Self {
        let first = url(storage, "X-Amz-Signature=1", HOUR);
        Self::new(first, Err(NotSigned::Refused))
    }

    fn asked(&self) -> u32 {
        self.signer.0.load(Ordering::Relaxed)
    }

    async fn read(&self) -> Result<String, BackendError> {
        read(&self.signed, &location(1)).await
    }
}

async fn read(signed: &Signed, location: &ObjectLocation) -> Result<String, BackendError> {
    let Conditional::Is(mut fetched) = signed.get(Call::about(location), 0..3).await? else {
        panic!("unasked");
    };
    let mut bytes = Vec::new();
    while let Some(frame) = fetched.body.next().await {
        bytes.extend_from_slice(&frame?);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

fn abc() -> Answer {
    answer(206, &[ETAG, ("content-range", "bytes 0-2/3")], "abc")
}

fn query(head: &Request<()>) -> &str {
    head.uri().query().unwrap_or_default()
}

#[tokio::test]
async fn a_range_is_read_with_the_url_as_it_was_signed() {
    let storage = Stub::start(None, |_| abc()).await;
    let first = url(&storage, "X-Amz-Signature=1", HOUR);
    let given = Given::new(first, Err(NotSigned::Refused));
    assert_eq!(given.read().await.unwrap(), "abc");
    let asked = storage.asked();
    let head = &asked[0];
    assert_eq!(head.method(), http::Method::GET);
    let target = head.uri().path_and_query().unwrap();
    assert_eq!(target, "/media/a%20b.mp4?X-Amz-Signature=1");
    assert_eq!(head.headers()["range"], "bytes=0-2");
    assert!(!head.headers().contains_key("authorization"));
    assert_eq!(given.asked(), 0);
}

#[tokio::test]
async fn a_url_that_has_ended_is_renewed_before_it_is_used() {
    let storage = Stub::start(None, |_| abc()).await;
    let next = url(&storage, "X-Amz-Signature=2", HOUR);
    let given = Given::new(url(&storage, "X-Amz-Signature=1", Duration::ZERO), Ok(next));
    for _ in 0..2 {
        assert_eq!(given.read().await.unwrap(), "abc");
    }
    let asked: Vec<_> = storage
        .asked()
        .iter()
        .map(|h| query(h).to_owned())
        .collect();
    assert_eq!(asked, ["X-Amz-Signature=2"; 2]);
    assert_eq!(given.asked(), 1);
}

#[tokio::test]
async fn a_url_that_storage_refuses_is_renewed_once_unseen() {
    let expired = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    let token = "<Error><Code>ExpiredToken</Code></Error>";
    for (status, document, signed_by) in [
        (403, expired, "X-Amz-Signature="),
        (400, token, "X-Goog-Signature="),
        (403, "", "sv=1&sig="),
    ] {
        let storage = Stub::start(None, move |head| match query(head).ends_with('2') {
            true => answer(
                206,
                &[
                    ETAG,
                    ("content-range", "bytes 0-2/3"),
                    ("x-goog-generation", "7"),
                ],
                "abc",
            ),
            false => answer(status, &[], document),
        })
        .await;
        let next = url(&storage, &format!("{signed_by}2"), HOUR);
        let given = Given::new(url(&storage, &format!("{signed_by}1"), HOUR), Ok(next));
        assert_eq!(given.read().await.unwrap(), "abc", "{signed_by}");
        assert_eq!(given.asked(), 1);
    }
}

#[tokio::test]
async fn storage_that_refuses_every_url_is_asked_twice_and_believed() {
    let document = "<Error><Code>AccessDenied</Code></Error>";
    let storage = Stub::start(None, move |_| answer(403, &[], document)).await;
    let next = url(&storage, "X-Amz-Signature=2", HOUR);
    let given = Given::new(url(&storage, "X-Amz-Signature=1", HOUR), Ok(next));
    let error = given.read().await.unwrap_err();
    assert!(matches!(error, BackendError::AccessDenied(_)), "{error}");
    assert_eq!((storage.asked().len(), given.asked()), (2, 1));
}

#[tokio::test]
async fn a_signer_that_refuses_or_is_down_is_no_fault_of_storage() {
    let storage = Stub::start(None, |_| abc()).await;
    for refusal in [NotSigned::Refused, NotSigned::Unavailable("down".into())] {
        let given = Given::new(
            url(&storage, "X-Amz-Signature=1", Duration::ZERO),
            Err(refusal),
        );
        let error = given.read().await.unwrap_err();
        assert!(
            matches!(error, BackendError::CredentialsUnavailable(_)),
            "{error}"
        );
    }
    assert!(storage.asked().is_empty());
}

#[tokio::test]
async fn an_object_that_two_credentials_sign_for_is_two_objects() {
    let storage = Stub::start(None, |_| abc()).await;
    let given = Given::at(&storage);
    let error = read(&given.signed, &location(2)).await.unwrap_err();
    assert!(
        matches!(error, BackendError::CredentialsUnavailable(_)),
        "{error}"
    );
    let second = url(&storage, "X-Amz-Signature=other", HOUR);
    given.urls.put(location(2), second, given.signer.clone());
    assert_eq!(read(&given.signed, &location(2)).await.unwrap(), "abc");
    let asked = storage.asked();
    assert_eq!(query(&asked[0]), "X-Amz-Signature=other");
}

#[tokio::test]
async fn a_head_is_a_get_of_one_byte() {
    let storage = Stub::start(None, |_| {
        let fields = [
            ETAG,
            ("content-range", "bytes 0-0/7"),
            ("content-type", "video/mp4"),
        ];
        answer(206, &fields, "a")
    })
    .await;
    let given = Given::at(&storage);
    let location = location(1);
    let head = given.signed.head(Call::about(&location)).await.unwrap();
    let Conditional::Is(meta) = head else {
        panic!("unasked");
    };
    assert_eq!(meta.complete_length, 7);
    assert_eq!(meta.content_type.as_deref(), Some("video/mp4"));
    let asked = storage.asked();
    assert_eq!(asked[0].method(), http::Method::GET);
    assert_eq!(asked[0].headers()["range"], "bytes=0-0");
}

#[tokio::test]
async fn an_empty_object_is_asked_for_without_a_range() {
    for (status, fields) in [(416, &[][..]), (206, &[("content-length", "0"), ETAG])] {
        let storage = Stub::start(None, move |head| match head.headers().get("range") {
            Some(_) => answer(status, fields, ""),
            None => answer(200, &[ETAG, ("content-length", "0")], ""),
        })
        .await;
        let given = Given::at(&storage);
        let location = location(1);
        let head = given.signed.head(Call::about(&location)).await.unwrap();
        let Conditional::Is(meta) = head else {
            panic!("unasked");
        };
        assert_eq!((meta.complete_length, meta.etag.as_str()), (0, "\"v1\""));
        let none = given.signed.get(Call::about(&location), 0..3).await;
        assert!(matches!(none, Err(BackendError::RangeNotSatisfiable)));
    }
}

#[tokio::test]
async fn a_condition_is_sent_and_its_answer_checked() {
    let v1 = ETag::strong("v1").unwrap();
    let v2 = ETag::strong("v2").unwrap();
    // Storage that keeps to conditions, and storage that ignores them.
    for ignores in [false, true] {
        let storage = Stub::start(None, move |head| {
            let of = |name: &str| head.headers().get(name).map(|value| value == "\"v1\"");
            match (of("if-match"), of("if-none-match")) {
                (Some(false), _) if !ignores => answer(412, &[], ""),
                (_, Some(true)) if !ignores => answer(304, &[ETAG], ""),
                _ => abc(),
            }
        })
        .await;
        let given = Given::at(&storage);
        let location = location(1);
        let get = async |condition| {
            let call = Call::about(&location).on(condition);
            given.signed.get(call, 0..3).await
        };
        assert!(get(Condition::IfMatch(v1.clone())).await.is_ok());
        assert!(matches!(
            get(Condition::IfMatch(v2.clone())).await,
            Err(BackendError::Changed)
        ));
        assert!(matches!(
            get(Condition::IfNoneMatch(v1.clone())).await,
            Ok(Conditional::NotModified)
        ));
        assert!(matches!(
            get(Condition::IfNoneMatch(v2.clone())).await,
            Ok(Conditional::Is(_))
        ));
    }
}

#[tokio::test]
async fn what_is_not_the_range_that_was_asked_for_is_refused() {
    const UNPACKED: &[(&str, &str)] = &[
        ETAG,
        ("content-range", "bytes 0-2/3"),
        ("x-goog-stored-content-encoding", "gzip"),
        ("x-goog-generation", "7"),
    ];
    for (status, fields, signed_by) in [
        (200, &[ETAG][..], "X-Amz-Signature=1"),
        (
            206,
            &[ETAG, ("content-range", "bytes 1-3/9")],
            "X-Amz-Signature=1",
        ),
        (
            206,
            &[ETAG, ("content-range", "bytes 0-1/9")],
            "X-Amz-Signature=1",
        ),
        (
            206,
            &[("content-range", "bytes 0-2/3")],
            "X-Amz-Signature=1",
        ),
        (
            206,
            &[("etag", "W/\"v\""), ("content-range", "bytes 0-2/3")],
            "sv=1&sig=1",
        ),
        // Unpacked on the way: a range of other bytes than those that are stored.
        (206, UNPACKED, "X-Goog-Signature=1"),
        (
            302,
            &[("location", "http://169.254.169.254/")],
            "X-Amz-Signature=1",
        ),
    ] {
        let storage = Stub::start(None, move |_| answer(status, fields, "abc")).await;
        let given = Given::new(url(&storage, signed_by, HOUR), Err(NotSigned::Refused));
        let error = given.read().await.unwrap_err();
        assert!(
            matches!(error, BackendError::Protocol(_)),
            "{fields:?}: {error}"
        );
        assert_eq!(storage.asked().len(), 1, "followed: {fields:?}");
    }
}

#[tokio::test]
async fn storage_on_this_machine_is_out_of_reach_unless_label_studio_is_here_too() {
    let storage = Stub::start(None, |_| abc()).await;
    let first = url(&storage, "X-Amz-Signature=1", HOUR);
    let mut given = Given::new(first.clone(), Err(NotSigned::Refused));
    assert!(given.read().await.is_ok());
    let away = Reach::Elsewhere { loopback: false };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let named = first.url.expose().replace("127.0.0.1", host);
        let client = HttpClient::within(away, None, Duration::from_secs(10)).unwrap();
        given.signed = Signed::new(given.urls.clone(), client);
        let place = ObjectLocation {
            key: host.into(),
            ..location(1)
        };
        let named = SignedUrl {
            url: Secret::new(named),
            ..first.clone()
        };
        given.urls.put(place.clone(), named, given.signer.clone());
        let error = read(&given.signed, &place).await.unwrap_err();
        assert!(
            matches!(error, BackendError::AccessDenied(_)),
            "{host}: {error}"
        );
    }
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn no_error_shows_the_url() {
    let storage = Stub::start(None, |head| {
        let echo = format!(
            "<Error><Code>AccessDenied</Code><Message>{}</Message></Error>",
            query(head)
        );
        answer(403, &[], &echo)
    })
    .await;
    let next = url(&storage, "X-Amz-Signature=0b5e2", HOUR);
    let given = Given::new(url(&storage, "X-Amz-Signature=0b5e1", HOUR), Ok(next));
    let refused = given.read().await.unwrap_err();
    let port = storage.port;
    drop(storage);
    let down = given.read().await.unwrap_err();
    let shown = format!("{refused:?} {refused} {down:?} {down}");
    assert!(
        !shown.contains("0b5e") && !shown.contains(&port.to_string()),
        "{shown}"
    );
}

#[tokio::test]
async fn a_signed_url_lists_nothing() {
    let storage = Stub::start(None, |_| abc()).await;
    let given = Given::at(&storage);
    assert!(given.signed.list("media", "", None, 10).await.is_err());
    assert!(storage.asked().is_empty());
}

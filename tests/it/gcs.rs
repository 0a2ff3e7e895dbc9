//! Google Cloud Storage on its emulator: ranges, generations, conditions, stored bytes, listings.

use futures_util::TryStreamExt;
use lockgate::backend::{Backend, BackendError, Call, Condition, Conditional, Listed};
use lockgate::ids::StorageId;
use lockgate::object::{ETag, ObjectLocation, ObjectMeta};

use crate::cli::{run_with, said};
use crate::support::content::Pattern;
use crate::support::fake_gcs::{self, FakeGcs};
use crate::support::gateway::Setup;
use crate::support::google::Google;
use crate::support::uri;

const MIB: u64 = 1 << 20;

fn path(key: &str) -> String {
    uri::project("1", &format!("gs://media/{key}"))
}

pub fn location(key: &str) -> ObjectLocation {
    ObjectLocation {
        storage: StorageId::new("media".to_owned()),
        epoch: 0,
        bucket: "media".into(),
        key: key.into(),
    }
}

fn found<T>(answer: Result<Conditional<T>, BackendError>) -> T {
    match answer.expect("an answer") {
        Conditional::Is(found) => found,
        Conditional::NotModified => panic!("not modified"),
    }
}

async fn read(
    backend: &impl Backend,
    call: Call<'_>,
    range: std::ops::Range<u64>,
) -> (ObjectMeta, Vec<u8>) {
    let fetched = found(backend.get(call, range).await);
    let pieces: Vec<_> = fetched.body.try_collect().await.expect("a whole body");
    (fetched.meta, pieces.concat())
}

#[tokio::test]
async fn every_form_of_range_is_answered_from_an_object_of_several_windows() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    let size = 20 * MIB + 3;
    gcs.put("media", "a b/c.mp4", Pattern(1).bytes(size)).await;
    let gateway = Setup::over(&gcs.section("media")).start().await;
    let last = size - 1;
    for (field, first, length) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=0-".to_owned(), 0, size),
        (format!("bytes={}-{}", 8 * MIB - 1, 8 * MIB), 8 * MIB - 1, 2),
        ("bytes=-5".to_owned(), size - 5, 5),
        (format!("bytes={last}-"), last, 1),
        (format!("bytes=5-{}", size + 100), 5, size - 5),
    ] {
        let reply = gateway.get(path("a b/c.mp4")).range(&field).send().await;
        assert_eq!(reply.status(), 206, "{field}");
        let told = format!("bytes {first}-{}/{size}", first + length - 1);
        assert_eq!(reply.header("content-range"), told);
        assert_eq!(
            reply.compare(Pattern(1), first).await,
            (length, true),
            "{field}"
        );
    }
    let whole = gateway.get(path("a b/c.mp4")).send().await;
    assert_eq!(
        (whole.status(), whole.header("content-type")),
        (200, "video/mp4")
    );
    assert_eq!(whole.compare(Pattern(1), 0).await, (size, true));
    let past = gateway
        .get(path("a b/c.mp4"))
        .range(format!("bytes={size}-"))
        .answer()
        .await;
    assert_eq!(
        (past.status, past.header("content-range")),
        (416, &*format!("bytes */{size}"))
    );
}

#[tokio::test]
async fn an_empty_object_is_whole_and_a_missing_one_is_not_there() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    gcs.put("media", "empty.mp4", "").await;
    let gateway = Setup::over(&gcs.section("media")).start().await;
    let empty = gateway.get(path("empty.mp4")).answer().await;
    assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
    assert_eq!(gateway.get(path("missing.mp4")).answer().await.status, 404);
    let other = Setup::over(&gcs.section("no-bucket")).start().await;
    let uri = uri::project("1", "gs://no-bucket/a.mp4");
    assert_ne!(other.get(uri).answer().await.status, 200);
    let listed = gcs
        .backend("no-bucket")
        .list("no-bucket", "", None, 1)
        .await;
    assert!(
        matches!(listed, Err(BackendError::NoSuchBucket)),
        "{listed:?}"
    );
}

#[tokio::test]
async fn the_generation_is_the_entity_tag_and_equal_bytes_of_two_generations_differ() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    let first = gcs.put("media", "a.mp4", "the same").await;
    let setup = Setup::over(&gcs.section("media")).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    let answer = gateway.get(path("a.mp4")).answer().await;
    let etag = answer.header("etag").to_owned();
    assert_eq!(etag, format!("\"{first}\""));
    assert!(
        !answer
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-goog"))
    );
    let not_modified = gateway
        .get(path("a.mp4"))
        .header("if-none-match", &etag)
        .answer()
        .await;
    assert_eq!(not_modified.status, 304);
    let second = gcs.put("media", "a.mp4", "the same").await;
    let answer = gateway
        .get(path("a.mp4"))
        .header("if-none-match", &etag)
        .answer()
        .await;
    assert_eq!(
        (answer.status, answer.header("etag")),
        (200, &*format!("\"{second}\""))
    );
}

#[tokio::test]
async fn a_read_is_pinned_to_its_generation() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    gcs.put("media", "a.mp4", "first").await;
    let (backend, at) = (gcs.backend("media"), location("a.mp4"));
    let about = || Call::about(&at);
    let meta = found(backend.head(about()).await);
    assert_eq!(
        (meta.complete_length, meta.content_type.as_deref()),
        (5, Some("video/mp4"))
    );
    assert!(meta.last_modified.is_some());
    let pinned = || about().on(Condition::IfMatch(meta.etag.clone()));
    let other_than = || about().on(Condition::IfNoneMatch(meta.etag.clone()));
    assert_eq!(
        read(&backend, pinned(), 1..3).await,
        (meta.clone(), b"ir".to_vec())
    );
    assert!(matches!(
        backend.head(other_than()).await,
        Ok(Conditional::NotModified)
    ));
    assert!(matches!(
        backend.get(other_than(), 0..9).await,
        Ok(Conditional::NotModified)
    ));

    gcs.put("media", "a.mp4", "second").await;
    assert!(matches!(
        backend.head(pinned()).await,
        Err(BackendError::Changed)
    ));
    assert!(matches!(
        backend.get(pinned(), 0..9).await,
        Err(BackendError::Changed)
    ));
    let (changed, bytes) = read(&backend, other_than(), 0..9).await;
    assert_eq!(bytes, b"second");
    assert_ne!(changed.etag, meta.etag);
    let foreign = ETag::strong("\"abc&x=1\"").expect("a tag");
    let asked = backend.head(about().on(Condition::IfMatch(foreign))).await;
    assert!(
        matches!(asked, Err(BackendError::Changed)),
        "another storage's tag"
    );
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_cut_and_never_mixed() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    let size = 96 * MIB;
    gcs.put("media", "a.mp4", Pattern(1).bytes(size)).await;
    let gateway = Setup::over(&gcs.section("media")).start().await;
    let mut reply = gateway.get(path("a.mp4")).send().await;
    let first = reply.next().await.expect("a piece").expect("it is whole");
    gcs.put("media", "a.mp4", Pattern(2).bytes(size)).await;
    let (read, whole) = reply.compare(Pattern(1), first.len() as u64).await;
    assert!(!whole && read < size, "read {read} of {size}");
    let again = gateway.get(path("a.mp4")).send().await;
    assert_eq!(again.compare(Pattern(2), 0).await, (size, true));
}

#[tokio::test]
async fn a_gzipped_object_is_passed_as_it_is_stored() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    // Storage does not look into it, and neither does Lockgate.
    gcs.put_encoded("media", "a.txt", "gzip", Pattern(3).bytes(1000))
        .await;
    let gateway = Setup::over(&gcs.section("media")).start().await;
    let part = gateway.get(path("a.txt")).range("bytes=10-19").send().await;
    assert_eq!(
        (part.status(), part.header("content-encoding")),
        (206, "gzip")
    );
    assert_eq!(part.header("content-range"), "bytes 10-19/1000");
    assert_eq!(part.compare(Pattern(3), 10).await, (10, true));
}

#[tokio::test]
async fn a_listing_holds_what_is_below_the_prefix_and_no_more_than_asked() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    for key in [
        "a/1 #%+.mp4",
        "a/2&?.mp4",
        "a//ü.mp4",
        "ab/3.mp4",
        "b/4.mp4",
    ] {
        gcs.put("media", key, key).await;
    }
    let backend = gcs.backend("media");
    let list = async |prefix: &str, after: Option<&str>, limit: usize| {
        let page = backend.list("media", prefix, after, limit).await;
        page.expect("a page")
    };
    let entry = |key: &str| Listed {
        key: key.to_owned(),
        complete_length: key.len() as u64,
    };
    let expected = ["a//ü.mp4", "a/1 #%+.mp4", "a/2&?.mp4"].map(entry);
    let whole = list("a/", None, 100).await;
    assert_eq!((&whole.entries[..], whole.next), (&expected[..], None));
    let first = list("a/", None, 2).await;
    assert_eq!(first.entries, expected[..2]);
    let second = list("a/", first.next.as_deref(), 2).await;
    assert_eq!((&second.entries[..], second.next), (&expected[2..], None));
    assert_eq!(list("none", None, 2).await.entries, []);
}

#[tokio::test]
async fn a_page_may_be_empty_and_its_token_have_any_bytes() {
    let google = Google::start(|asked| {
        let begin =
            "/storage/v1/b/media/o?maxResults=5&fields=items(name,size),nextPageToken&prefix=";
        assert!(asked.path.starts_with(begin), "{}", asked.path);
        let page = match asked.path.split_once("&pageToken=").map(|(_, token)| token) {
            None => r#"{"nextPageToken": "a/+"}"#,
            Some(token) => {
                assert_eq!(token, "a%2F%2B");
                r#"{"items": [{"name": "1", "size": "5"}]}"#
            }
        };
        (200, page.to_owned())
    })
    .await;
    let config = fake_gcs::config(google.origin(), "media");
    let backend = lockgate::backend::gcs::Gcs::new(config, fake_gcs::client());
    let empty = backend.list("media", "", None, 5).await.expect("a page");
    assert_eq!(empty.entries, []);
    let last = backend
        .list("media", "", empty.next.as_deref(), 5)
        .await
        .expect("a page");
    assert_eq!((last.entries.len(), last.next), (1, None));
}

#[tokio::test]
async fn check_tries_it_and_names_a_bucket_that_is_not_there() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    gcs.put("media", "a.mp4", "abc").await;
    let check = |bucket: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let output = run_with(
            &Setup::over(&gcs.section(bucket)),
            directory.path(),
            &["check"],
        );
        (output.status.code(), said(&output))
    };
    let (code, good) = check("media");
    assert_eq!(code, Some(0), "{good}");
    assert!(good.contains("a.mp4: 3 bytes, video/mp4"), "{good}");
    let (code, bad) = check("no-bucket");
    assert_eq!(code, Some(1), "{bad}");
    assert!(
        bad.contains("no such bucket") && bad.contains("correct bucket"),
        "{bad}"
    );
}

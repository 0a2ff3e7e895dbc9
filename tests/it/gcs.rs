//! Google Cloud Storage on its emulator: ranges, generations, conditions, stored bytes, listings.

use lockgate::backend::{Backend, BackendError};
use lockgate::ids::StorageId;
use lockgate::object::ObjectLocation;

use crate::cli::{run_with, said};
use crate::support::content::Pattern;
use crate::support::fake_gcs::{self, FakeGcs};
use crate::support::gateway::Setup;
use crate::support::google::Google;
use crate::support::uri;

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

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
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

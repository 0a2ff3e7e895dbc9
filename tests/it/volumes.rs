//! Databricks volumes, over a Files API of the tests' own: what this store has alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate::backend::config::{DatabricksConfig, DatabricksIdentity};
use lockgate::backend::databricks::Databricks;
use lockgate::backend::http::HttpClient;
use lockgate::backend::{Backend, BackendError, Call, Condition, Conditional};
use lockgate::object::ObjectLocation;
use lockgate::secret::Secret;

use crate::conformance::points::listed;
use crate::support::files_api::{CLIENT_ID, CLIENT_SECRET, FilesApi, TOKEN};
use crate::support::gateway::{Gateway, Setup};
use crate::support::shop::Shop;
use crate::support::uri;

async fn started() -> (FilesApi, Gateway) {
    let workspace = FilesApi::start().await;
    let gateway = Setup::over(&workspace.section())
        .set("cache.metadata_max_age", "0s")
        .start()
        .await;
    (workspace, gateway)
}

#[tokio::test]
async fn a_file_replaced_within_the_second_of_its_upload_is_not_served_from_the_cache() {
    let (workspace, gateway) = started().await;
    // The gateway's and the workspace's "now" are this very second, however long the test takes to say so.
    let now = SystemTime::now();
    workspace.put_at("a.mp4", b"old".to_vec(), now);
    let path = uri::project("1", &workspace.uri("a.mp4"));
    let old = gateway.get(&path).answer().await;
    workspace.put_at("a.mp4", b"new".to_vec(), now);
    let new = gateway.get(&path).answer().await;
    assert_eq!((old.text(), new.text()), ("old", "new"));
    assert_ne!(old.header("etag"), new.header("etag"));
}

#[tokio::test]
async fn what_a_workspace_says_of_us_is_never_the_annotators_403() {
    let (workspace, gateway) = started().await;
    workspace.put("a.mp4", vec![1]).await;
    let path = uri::project("1", &workspace.uri("a.mp4"));
    for (status, code, answered) in [
        (403, "PERMISSION_DENIED", 502),
        (404, "VOLUME_DOES_NOT_EXIST", 502),
        (400, "INVALID_PARAMETER_VALUE", 502),
    ] {
        workspace.fail([(status, code)]);
        let answer = gateway.get(&path).answer().await;
        assert_eq!(answer.status, answered, "{code}");
        assert!(!answer.text().contains(code), "{}", answer.text());
    }
    workspace.fail([(429, "RESOURCE_EXHAUSTED"); 3]);
    let answer = gateway.get(&path).answer().await;
    assert_eq!(answer.status, 503);
    assert_ne!(answer.header("retry-after"), "");
    workspace.fail([
        (429, "RESOURCE_EXHAUSTED"),
        (503, "TEMPORARILY_UNAVAILABLE"),
    ]);
    assert_eq!(
        gateway.get(&path).answer().await.status,
        200,
        "twice is tried again"
    );
    let refused = FilesApi::start().await;
    refused.revoke();
    let gateway = Setup::over(&refused.section()).start().await;
    let answer = gateway.get(&path).answer().await;
    assert_eq!(answer.status, 502, "a token that is not valid");
}

/// The backend itself, as a service principal, with a clock that the test moves.
struct Rig {
    workspace: FilesApi,
    backend: Databricks,
    seconds: Arc<AtomicU64>,
}

fn config(workspace: &FilesApi, identity: DatabricksIdentity) -> DatabricksConfig {
    DatabricksConfig {
        host: workspace.base().parse().expect("a url"),
        volume: "main/default/data set".into(),
        identity,
        ca_file: None,
    }
}

async fn rig(client_secret: &str) -> Rig {
    let workspace = FilesApi::start().await;
    workspace.put("a.mp4", b"abc".to_vec()).await;
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = {
        let seconds = seconds.clone();
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::SeqCst)))
    };
    let identity = DatabricksIdentity::Client {
        client_id: CLIENT_ID.into(),
        client_secret: Secret::new(client_secret),
    };
    let client = HttpClient::new(None, Duration::from_secs(30)).expect("a client");
    let backend = Databricks::with_clock(config(&workspace, identity), client, clock);
    Rig {
        workspace,
        backend,
        seconds,
    }
}

fn location(key: &str) -> ObjectLocation {
    ObjectLocation {
        storage: "media".into(),
        epoch: 1,
        bucket: "main/default/data set".into(),
        key: key.into(),
    }
}

impl Rig {
    async fn read(&self) -> Result<(), BackendError> {
        let location = location("a.mp4");
        self.backend.head(Call::about(&location)).await.map(|_| ())
    }
}

#[tokio::test]
async fn a_service_principal_renews_its_token_ahead_of_its_end() {
    let rig = rig(CLIENT_SECRET).await;
    rig.read().await.expect("it reads");
    rig.read().await.expect("it reads");
    assert_eq!(rig.workspace.issued(), 1);
    assert_eq!(
        rig.backend.credential_expiry(),
        Some(UNIX_EPOCH + Duration::from_secs(3600))
    );
    rig.seconds.store(3600 - 299, Ordering::SeqCst);
    rig.read().await.expect("it reads");
    assert_eq!(rig.workspace.issued(), 2);
}

#[tokio::test]
async fn while_no_token_is_issued_the_old_one_serves_until_its_end() {
    let rig = rig(CLIENT_SECRET).await;
    rig.read().await.expect("it reads");
    rig.workspace
        .fail_tokens([(500, "server_error"), (429, "slow_down")]);
    rig.seconds.store(3600 - 10, Ordering::SeqCst);
    rig.read().await.expect("the old token serves");
    rig.seconds.store(3601, Ordering::SeqCst);
    let error = rig.read().await.expect_err("there is no token");
    let passing = matches!(error, BackendError::CredentialsUnavailable(_));
    assert!(passing, "503, and never 403: {error}");
    rig.seconds.store(3603, Ordering::SeqCst);
    rig.read().await.expect("a new token was issued");
}

#[tokio::test]
async fn a_token_that_is_revoked_before_its_end_is_replaced_at_once() {
    let rig = rig(CLIENT_SECRET).await;
    rig.read().await.expect("it reads");
    rig.workspace.revoke();
    rig.read().await.expect("it reads with a new token");
    assert_eq!(rig.workspace.issued(), 2);
    rig.workspace.revoke();
    let listed = rig.backend.list("", "", None, 10).await.expect("it lists");
    assert_eq!(listed.next, None);
    assert_eq!(listed.entries.len(), 1);
    assert_eq!(listed.entries[0].complete_length, 3);
}

#[tokio::test]
async fn a_wrong_client_secret_is_said_and_never_shown() {
    let rig = rig("not the secret").await;
    let error = rig.read().await.expect_err("it is refused").to_string();
    assert!(error.contains("invalid_client"), "{error}");
    assert!(
        !error.contains("not the secret") && !error.contains(CLIENT_ID),
        "{error}"
    );
    let identity = DatabricksIdentity::Token(Secret::new(TOKEN));
    let shown = format!("{:?}", config(&rig.workspace, identity));
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
async fn a_listing_walks_directories_and_short_pages_within_the_prefix() {
    let rig = rig(CLIENT_SECRET).await;
    for key in [
        "b/1.png",
        "b/2.png",
        "b/c/3.png",
        "b/c/d/4.png",
        "bb/5.png",
        "b c/6.png",
    ] {
        rig.workspace.put(key, vec![0; 7]).await;
    }
    for (prefix, expected) in [
        (
            "",
            &[
                "a.mp4",
                "b c/6.png",
                "b/1.png",
                "b/2.png",
                "b/c/3.png",
                "b/c/d/4.png",
                "bb/5.png",
            ][..],
        ),
        ("b/", &["b/1.png", "b/2.png", "b/c/3.png", "b/c/d/4.png"]),
        ("b/c", &["b/c/3.png", "b/c/d/4.png"]),
        (
            "b",
            &[
                "b c/6.png",
                "b/1.png",
                "b/2.png",
                "b/c/3.png",
                "b/c/d/4.png",
                "bb/5.png",
            ],
        ),
        ("b/2", &["b/2.png"]),
        ("nothing/", &[]),
    ] {
        for limit in [1, 2, 100] {
            let keys = listed(&rig.backend, "", prefix, limit).await;
            assert_eq!(keys, expected, "{prefix}, {limit} a page");
        }
    }
    let asked = rig.workspace.requests();
    assert!(
        asked
            .iter()
            .any(|asked| asked.contains("page_token=page%2F%2B%3D")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_read_is_pinned_to_the_version_that_its_tag_names() {
    let rig = rig(CLIENT_SECRET).await;
    let location = location("a.mp4");
    let call = || Call::about(&location);
    let Ok(Conditional::Is(meta)) = rig.backend.head(call()).await else {
        panic!("it is there");
    };
    let pinned = || call().on(Condition::IfMatch(meta.etag.clone()));
    assert!(rig.backend.get(pinned(), 0..3).await.is_ok());
    let known = call().on(Condition::IfNoneMatch(meta.etag.clone()));
    assert!(matches!(
        rig.backend.head(known).await,
        Ok(Conditional::NotModified)
    ));
    // Another length within the same second, as a store that compares seconds alone would let through.
    rig.workspace.put_at(
        "a.mp4",
        b"abcd".to_vec(),
        meta.last_modified.expect("a time"),
    );
    let read = rig.backend.get(pinned(), 0..3).await;
    assert!(matches!(read, Err(BackendError::Changed)), "{read:?}");
    // The same length, later.
    rig.workspace.put("a.mp4", b"xyz".to_vec()).await;
    let read = rig.backend.get(pinned(), 0..3).await;
    assert!(matches!(read, Err(BackendError::Changed)), "{read:?}");
}

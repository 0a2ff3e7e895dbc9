//! Azure Blob Storage on Azurite: reads, listings, signed URLs, and who asks.

mod identities;
mod urls;

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use lockgate::backend::azure::Azure;
use lockgate::backend::config::{AzureConfig, AzureCredentials};
use lockgate::backend::http::HttpClient;
use lockgate::backend::{
    Backend, BackendError, Call, Condition, Conditional, Presign, PresignOptions,
};
use lockgate::ids::StorageId;
use lockgate::object::{ObjectLocation, ObjectMeta};
use lockgate::secret::Secret;

use crate::conformance::keys;
use crate::support::azurite::{ACCOUNT, Azurite, KEY};
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::shop::Kind;
use crate::support::{eventually, uri};

const CONTAINER: &str = "media-1";

fn config(azurite: &Azurite, credentials: AzureCredentials) -> AzureConfig {
    AzureConfig {
        account: ACCOUNT.to_owned(),
        container: CONTAINER.to_owned(),
        endpoint: Some(azurite.endpoint().parse().expect("a URL")),
        credentials,
        ca_file: azurite.ca_file().map(Into::into),
    }
}

fn client(azurite: &Azurite) -> HttpClient {
    HttpClient::new(azurite.ca_file(), Duration::from_secs(10)).expect("a client")
}

fn backend(azurite: &Azurite, credentials: AzureCredentials) -> Azure {
    Azure::new(config(azurite, credentials), client(azurite))
}

fn account_key() -> AzureCredentials {
    AzureCredentials::AccountKey(Secret::new(KEY))
}

fn at(key: &str) -> ObjectLocation {
    ObjectLocation {
        storage: StorageId::new("media"),
        epoch: 1,
        bucket: CONTAINER.into(),
        key: key.into(),
    }
}

fn signed(expiry: u64) -> PresignOptions {
    PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(expiry),
        content_type: None,
    }
}

async fn head(azure: &Azure, key: &str) -> Result<ObjectMeta, BackendError> {
    match azure.head(Call::about(&at(key))).await? {
        Conditional::Is(meta) => Ok(meta),
        Conditional::NotModified => panic!("nothing was asked on a condition"),
    }
}

async fn read(
    azure: &Azure,
    key: &str,
    range: std::ops::Range<u64>,
    condition: Condition,
) -> Result<Vec<u8>, BackendError> {
    let location = at(key);
    match azure
        .get(Call::about(&location).on(condition), range)
        .await?
    {
        Conditional::Is(fetched) => {
            let frames: Vec<_> = fetched.body.try_collect().await?;
            Ok(frames.concat())
        }
        Conditional::NotModified => Ok(b"not modified".to_vec()),
    }
}

async fn started() -> Option<Azurite> {
    let azurite = Azurite::start().await?;
    azurite.create_container(CONTAINER).await;
    Some(azurite)
}

#[tokio::test]
async fn names_that_azure_would_fold_into_others_are_not_asked_for() {
    let Some(azurite) = started().await else {
        return;
    };
    let gateway = Setup::over(&azurite.section(CONTAINER)).start().await;
    let azure = backend(&azurite, account_key());
    // Azurite keeps dots where Azure folds them, so that only a request that is never made is answered with 404.
    // Names with control characters are asked for, and not there.
    let refused = || keys::refused(Kind::Azure).into_iter().map(|(key, ..)| key);
    let folded = || refused().filter(|key| !key.contains(char::is_control));
    for key in folded().filter(|key| !key.contains('\\')) {
        azurite.put(CONTAINER, &key, "text/plain", "its own").await;
    }
    azurite
        .put(CONTAINER, "a/b", "text/plain", "with a slash")
        .await;
    for key in folded().chain(["a\\b".to_owned()]) {
        let name = format!("azure-blob://{CONTAINER}/{key}");
        let answer = gateway.get(uri::project("1", &name)).answer().await;
        assert_eq!(answer.status, 404, "{key}: {}", answer.text());
        let url = azure.presign(&at(&key), &signed(60)).await;
        assert!(matches!(url, Err(BackendError::NotFound)), "{key}");
    }
}

#[tokio::test]
async fn a_listing_goes_on_from_page_to_page_and_stays_below_its_prefix() {
    let Some(azurite) = started().await else {
        return;
    };
    let azure = backend(&azurite, account_key());
    for number in 0..1003 {
        azurite
            .put(CONTAINER, &format!("many/{number:04}"), "text/plain", "x")
            .await;
    }
    azurite
        .put(CONTAINER, "many-more/1", "text/plain", "x")
        .await;
    let page = async |prefix: &str, after: Option<&str>, limit| {
        let page = azure
            .list(CONTAINER, prefix, after, limit)
            .await
            .expect("it lists");
        let keys: Vec<_> = page.entries.into_iter().map(|listed| listed.key).collect();
        (keys, page.next)
    };
    let (first, next) = page("many/", None, 5000).await;
    let (second, end) = page("many/", next.as_deref(), 5000).await;
    assert_eq!((first.len() + second.len(), end), (1003, None));
    assert_eq!(
        (first[0].as_str(), second[second.len() - 1].as_str()),
        ("many/0000", "many/1002")
    );
    let (two, next) = page("many/", None, 2).await;
    assert_eq!(two, first[..2]);
    assert_eq!(page("many/", next.as_deref(), 1).await.0, first[2..3]);
    assert_eq!(
        page("many-", None, 10).await,
        (vec!["many-more/1".to_owned()], None)
    );
    assert_eq!(page("none", None, 10).await, (vec![], None));
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_container_are_named() {
    let Some(azurite) = started().await else {
        return;
    };
    azurite.put(CONTAINER, "a.mp4", "video/mp4", "x").await;
    let wrong = AzureCredentials::AccountKey(Secret::new("d3Jvbmc="));
    let error = read(&backend(&azurite, wrong), "a.mp4", 0..1, Condition::None).await;
    let error = error.expect_err("the key is wrong");
    assert!(matches!(error, BackendError::AccessDenied(_)), "{error}");
    let elsewhere = AzureConfig {
        container: "nowhere".to_owned(),
        ..config(&azurite, account_key())
    };
    let elsewhere = Azure::new(elsewhere, client(&azurite));
    assert!(matches!(
        head(&elsewhere, "a.mp4").await,
        Err(BackendError::NoSuchBucket)
    ));
    let listed = elsewhere.list("nowhere", "", None, 1).await;
    assert!(matches!(listed, Err(BackendError::NoSuchBucket)));
}

#[tokio::test]
async fn a_blob_whose_bytes_are_not_those_of_its_md5_is_never_whole() {
    let Some(azurite) = started().await else {
        return;
    };
    let gateway = Setup::over(&azurite.section(CONTAINER)).start().await;
    azurite
        .put(CONTAINER, "a.mp4", "video/mp4", Pattern(1).bytes(1000))
        .await;
    azurite.damage(CONTAINER, "a.mp4").await;
    let azure = backend(&azurite, account_key());
    let whole = read(&azure, "a.mp4", 0..8 << 20, Condition::None).await;
    assert!(matches!(whole, Err(BackendError::Protocol(_))), "{whole:?}");
    let part = read(&azure, "a.mp4", 0..999, Condition::None).await;
    assert_eq!(
        part.expect("of a part there is no sum"),
        Pattern(1).bytes(999)
    );
    let path = uri::project("1", &format!("azure-blob://{CONTAINER}/a.mp4"));
    assert_eq!(gateway.get(path).answer().await.status, 502);
}

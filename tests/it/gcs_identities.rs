//! Whose token Google gives to Lockgate: every flow against services that check what they are sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use lockgate::backend::config::GcsConfig;
use lockgate::backend::gcs::Gcs;
use lockgate::backend::gcs::identity::Identity;
use lockgate::backend::{Backend, BackendError, Call};
use serde_json::{Value, json};

use crate::gcs::location;
use crate::support::fake_gcs;
use crate::support::google::{self, AccountKey, EMAIL, Google};

const READ_ONLY: &str = "https://www.googleapis.com/auth/devstorage.read_only";
const IAM: &str = "https://www.googleapis.com/auth/iam";
const AUDIENCE: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q";

/// A storage of Google's, by this identity, at a time that the test moves.
struct Storage {
    gcs: Gcs,
    seconds: Arc<AtomicU64>,
}

impl Storage {
    fn by(google: &Google, identity: Identity) -> Self {
        let seconds = Arc::new(AtomicU64::new(1_767_225_600));
        let clock = seconds.clone();
        let now =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst));
        let config = GcsConfig {
            identity: Some(identity),
            ..fake_gcs::config(google.origin(), "media")
        };
        let gcs = Gcs::with_clock(config, fake_gcs::client(), Arc::new(now));
        Self { gcs, seconds }
    }

    fn with(google: &Google, file: &Value) -> Self {
        Self::by(google, parsed(&file.to_string()))
    }

    async fn read(&self) -> Result<(), BackendError> {
        self.gcs
            .get(Call::about(&location("a.mp4")), 0..3)
            .await
            .map(|_| ())
    }
}

fn parsed(json: &str) -> Identity {
    Identity::parse(json, &HashMap::new()).expect("an identity")
}

fn impersonation_url(google: &Google) -> String {
    format!(
        "{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken",
        google.origin()
    )
}

fn external(google: &Google, source: Value) -> Value {
    json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/sts", google.origin()),
        "credential_source": source,
    })
}

#[tokio::test]
async fn a_service_account_asserts_itself_with_its_key_for_reading_alone() {
    let google = Google::start(|_| google::token("good")).await;
    let key = AccountKey::generate();
    let token_uri = format!("{}/token", google.origin());
    let storage = Storage::by(&google, parsed(&key.file(&token_uri)));
    storage.read().await.expect("it is read");
    storage.read().await.expect("it is read again");
    let asked = google.asked("/token");
    assert_eq!(asked.len(), 1, "one token serves both");
    let form = asked[0].form();
    assert_eq!(
        form["grant_type"],
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    );
    let claims = key.claims(&form["assertion"]);
    let expected = json!({
        "iss": EMAIL, "scope": READ_ONLY, "aud": token_uri, "iat": 1_767_225_600, "exp": 1_767_229_200,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_serves_until_then_when_that_fails() {
    let fails = Arc::new(AtomicUsize::new(0));
    let failing = fails.clone();
    let google = Google::start(move |_| match failing.load(Ordering::SeqCst) {
        0 => google::token("good"),
        _ => (
            400,
            r#"{"error": "invalid_grant", "error_description": "account disabled"}"#.to_owned(),
        ),
    })
    .await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    let start = storage.seconds.load(Ordering::SeqCst);
    let at = |seconds: u64| storage.seconds.store(start + seconds, Ordering::SeqCst);
    assert_eq!(
        storage.gcs.credential_expiry(),
        None,
        "nobody has asked yet"
    );
    storage.read().await.expect("it is read");
    let end = storage.gcs.credential_expiry().expect("an end");
    assert_eq!(
        end,
        SystemTime::UNIX_EPOCH + Duration::from_secs(start + 3600)
    );
    at(3600 - 299);
    storage.read().await.expect("it is read");
    assert_eq!(
        google.asked("/computeMetadata").len(),
        2,
        "renewed before the end"
    );

    fails.store(1, Ordering::SeqCst);
    at(2 * 3600 - 299 - 200);
    storage.read().await.expect("the old token serves");
    at(2 * 3600 - 299);
    let ended = storage.read().await.expect_err("it has ended");
    assert!(ended.to_string().contains("account disabled"), "{ended}");
    assert!(
        matches!(ended, BackendError::CredentialsRefused(_)),
        "{ended}"
    );
    fails.store(0, Ordering::SeqCst);
    at(2 * 3600);
    storage.read().await.expect("it is read again");
}

#[tokio::test]
async fn the_metadata_server_is_asked_for_the_scope_and_with_its_flavor() {
    let google = Google::start(|asked| {
        let path = format!(
            "/computeMetadata/v1/instance/service-accounts/default/token?scopes={READ_ONLY}"
        );
        assert_eq!(
            (asked.path.as_str(), asked.header("metadata-flavor")),
            (path.as_str(), "Google")
        );
        google::token("good")
    })
    .await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    storage.read().await.expect("it is read");
    assert_eq!(google.asked("/computeMetadata").len(), 1);
}

#[tokio::test]
async fn a_users_refresh_token_is_traded_for_a_token() {
    let google = Google::start(|_| google::token("good")).await;
    let file = json!({
        "type": "authorized_user", "client_id": "an id", "client_secret": "a+secret", "refresh_token": "1//r",
        "token_uri": format!("{}/token", google.origin()), "quota_project_id": "p", "account": "",
    });
    Storage::with(&google, &file)
        .read()
        .await
        .expect("it is read");
    let form = google.asked("/token")[0].form();
    let expected = [
        ("grant_type", "refresh_token"),
        ("client_id", "an id"),
        ("client_secret", "a+secret"),
        ("refresh_token", "1//r"),
    ];
    assert_eq!(
        form,
        expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
}

fn assert_exchanged(google: &Google, subject_token: &str, scope: &str) {
    let form = google.asked("/sts")[0].form();
    let expected = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("audience", AUDIENCE),
        ("scope", scope),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", subject_token),
    ];
    assert_eq!(
        form,
        expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
}

#[tokio::test]
async fn a_subject_token_in_a_file_is_read_anew_and_exchanged() {
    let google = Google::start(|_| google::token("good")).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let storage = Storage::with(&google, &external(&google, json!({ "file": file })));
    let missing = storage.read().await.expect_err("there is no file");
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    std::fs::write(&file, "subject.token\n").expect("written");
    storage.seconds.fetch_add(2, Ordering::SeqCst);
    storage.read().await.expect("it is read");
    assert_exchanged(&google, "subject.token", READ_ONLY);
}

#[tokio::test]
async fn a_subject_token_from_an_address_is_exchanged_and_the_account_impersonated() {
    let google = Google::start(|asked| match asked.path.as_str() {
        "/identity?resource=x" => (
            200,
            json!({ "id": { "a": 1 }, "access_token": "subject" }).to_string(),
        ),
        "/sts" => google::token("federated"),
        _ => (
            200,
            json!({ "accessToken": "good", "expireTime": "2026-01-01T00:30:00.5Z" }).to_string(),
        ),
    })
    .await;
    let source = json!({
        "url": format!("{}/identity?resource=x", google.origin()),
        "headers": { "Metadata": "True" },
        "format": { "type": "json", "subject_token_field_name": "access_token" },
    });
    let mut file = external(&google, source);
    file["service_account_impersonation_url"] = impersonation_url(&google).into();
    file["service_account_impersonation"] = json!({ "token_lifetime_seconds": 1800 });
    let storage = Storage::with(&google, &file);
    storage.read().await.expect("it is read");
    assert_eq!(google.asked("/identity")[0].header("metadata"), "True");
    assert_exchanged(&google, "subject", IAM);
    let asked = &google.asked("/v1")[0];
    assert_eq!(asked.header("authorization"), "Bearer federated");
    let expected = json!({ "scope": [READ_ONLY], "delegates": [], "lifetime": "1800s" });
    assert_eq!(asked.json(), expected);
    let end = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_227_400_500);
    assert_eq!(storage.gcs.credential_expiry(), Some(end));
}

#[tokio::test]
async fn a_service_account_acts_as_another_through_a_chain() {
    let google = Google::start(|asked| match asked.path.as_str() {
        "/token" => google::token("source"),
        _ => (
            200,
            json!({ "accessToken": "good", "expireTime": "2026-01-01T01:00:00Z" }).to_string(),
        ),
    })
    .await;
    let key = AccountKey::generate();
    let source: Value =
        serde_json::from_str(&key.file(&format!("{}/token", google.origin()))).expect("JSON");
    let file = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": impersonation_url(&google),
        "delegates": ["projects/-/serviceAccounts/between@p.iam"],
        "source_credentials": source,
    });
    Storage::with(&google, &file)
        .read()
        .await
        .expect("it is read");
    assert_eq!(
        key.claims(&google.asked("/token")[0].form()["assertion"])["scope"],
        IAM
    );
    let asked = &google.asked("/v1")[0];
    assert_eq!(asked.header("authorization"), "Bearer source");
    assert_eq!(
        asked.json()["delegates"],
        json!(["projects/-/serviceAccounts/between@p.iam"])
    );
}

#[tokio::test]
async fn a_refused_token_is_told_in_the_services_words_and_asked_for_once() {
    let google = Google::start(|_| {
        let refusal =
            json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
        (400, refusal.to_string())
    })
    .await;
    let key = AccountKey::generate();
    let storage = Storage::by(
        &google,
        parsed(&key.file(&format!("{}/token", google.origin()))),
    );
    let refused = storage.read().await.expect_err("there is no token");
    assert!(
        matches!(refused, BackendError::NoCredentials(_)),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("invalid_grant: Invalid JWT Signature."),
        "{refused}"
    );
    assert_eq!(google.asked("/token").len(), 1);
}

#[tokio::test]
async fn a_token_service_that_stumbles_is_asked_again() {
    let stumbles = AtomicUsize::new(2);
    let google = Google::start(move |_| {
        let left = stumbles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        match left {
            Ok(_) => (503, "unavailable".to_owned()),
            Err(_) => google::token("good"),
        }
    })
    .await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    storage.read().await.expect("it is read");
    assert_eq!(google.asked("/computeMetadata").len(), 3);
}

#[tokio::test]
async fn a_token_service_that_stays_down_is_an_outage_and_no_refusal() {
    let google = Google::start(|_| (503, "unavailable".to_owned())).await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    let down = storage.read().await.expect_err("there is no token");
    assert!(
        matches!(down, BackendError::CredentialsUnavailable(_)),
        "{down}"
    );
}

#[tokio::test]
async fn a_token_that_storage_refuses_is_renewed_once() {
    let first = AtomicUsize::new(1);
    let google = Google::start(move |_| match first.swap(0, Ordering::SeqCst) {
        1 => google::token("revoked"),
        _ => google::token("good"),
    })
    .await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    storage.read().await.expect("it is read");
    assert_eq!(google.asked("/computeMetadata").len(), 2);
}

#[tokio::test]
async fn a_token_that_storage_refuses_is_not_the_annotators_403() {
    let google = Google::start(|_| google::token("bad")).await;
    let storage = Storage::by(&google, Identity::Metadata(google.host().to_owned()));
    let refused = storage.read().await.expect_err("it is refused");
    assert!(
        refused.to_string().contains("ended or were revoked"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("bad"), "{refused}");
    assert_eq!(
        google.asked("/media").len(),
        2,
        "and no more than once again"
    );
}

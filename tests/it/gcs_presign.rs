//! V4 signed URLs: each signature is verified here, for the emulator verifies none; and whose life they have.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate::backend::config::GcsConfig;
use lockgate::backend::gcs::Gcs;
use lockgate::backend::gcs::identity::Identity;
use lockgate::backend::{BackendError, Presign, PresignOptions, PresignedUrl};
use serde_json::json;
use url::Url;

use crate::gcs::location;
use crate::support::fake_gcs::{self, FakeGcs};
use crate::support::gateway::Setup;
use crate::support::google::{self, AccountKey, EMAIL, Google};
use crate::support::uri;

const HOUR: Duration = Duration::from_secs(3600);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Rebuilds what was signed from the URL as a server receives it ("Canonical requests"), and verifies it.
fn fields(url: &str, key: &AccountKey) -> BTreeMap<String, String> {
    let (unsigned, signature) = url.split_once("&X-Goog-Signature=").expect("a signature");
    let (address, query) = unsigned.split_once('?').expect("a query");
    let rest = address.split_once("://").expect("a scheme").1;
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    let mut sorted: Vec<_> = query.split('&').collect();
    sorted.sort_unstable();
    assert_eq!(sorted.join("&"), query, "the canonical query is sorted");
    let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let fields: BTreeMap<String, String> = Url::parse(url)
        .expect("a URL")
        .query_pairs()
        .into_owned()
        .collect();
    let (email, scope) = fields["X-Goog-Credential"]
        .split_once('/')
        .expect("a scope");
    assert_eq!(email, EMAIL);
    let date = &fields["X-Goog-Date"];
    assert_eq!(scope, format!("{}/auto/storage/goog4_request", &date[..8]));
    let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let signed = format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{hashed}");
    assert!(key.signed(signed.as_bytes(), &unhex(signature)), "{url}");
    fields
}

fn parsed(json: &str) -> Identity {
    Identity::parse(json, &Default::default()).expect("an identity")
}

fn config(google: &Google, identity: Identity) -> GcsConfig {
    GcsConfig {
        identity: Some(identity),
        iam_endpoint: Some(google.origin().parse().expect("a URL")),
        ..fake_gcs::config(google.origin(), "media")
    }
}

/// 2026-01-01T00:00:00Z.
fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

async fn presigned(
    config: GcsConfig,
    key: &str,
    expiry: Duration,
) -> Result<PresignedUrl, BackendError> {
    let storage = Gcs::with_clock(config, fake_gcs::client(), std::sync::Arc::new(new_year));
    let options = PresignOptions {
        head_only: false,
        expiry,
        content_type: Some("video/mp4; a=\"b\"".to_owned()),
    };
    storage.presign(&location(key), &options).await
}

#[tokio::test]
async fn a_key_signs_every_byte_of_an_odd_name_and_no_longer_than_a_week() {
    let google = Google::start(|asked| panic!("nobody needs to be asked: {asked:?}")).await;
    let key = AccountKey::generate();
    for (name, written) in [
        ("a b+c.mp4", "/media/a%20b%2Bc.mp4"),
        ("r/q?#&=.png", "/media/r/q%3F%23%26%3D.png"),
        ("a//b/../ü~(1)%41", "/media/a//b/../%C3%BC~%281%29%2541"),
    ] {
        let config = config(
            &google,
            parsed(&key.file("https://oauth2.googleapis.com/token")),
        );
        let signed = presigned(config, name, 30 * 24 * HOUR)
            .await
            .expect("a URL");
        let url = signed.url.expose();
        let found = fields(url, &key);
        assert!(
            url.starts_with(&format!("{}{written}?", google.origin())),
            "{url}"
        );
        assert_eq!(found["X-Goog-Date"], "20260101T000000Z");
        assert_eq!(found["X-Goog-Expires"], "604800");
        assert_eq!(found["X-Goog-Algorithm"], "GOOG4-RSA-SHA256");
        assert_eq!(found["response-content-type"], "video/mp4; a=\"b\"");
        assert_eq!(signed.expires_at, new_year() + 7 * 24 * HOUR);
        assert!(!format!("{signed:?}").contains("Signature"), "{signed:?}");
    }
}

#[tokio::test]
async fn a_303_leads_to_the_object_by_a_url_that_the_account_has_signed() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    gcs.put("media", "r/q?#&=.mp4", "odd").await;
    let key = AccountKey::generate();
    let section = gcs
        .section("media")
        .replace("anonymous = true", "credentials = { file = 'gcs.json' }");
    let setup = Setup::over(&(section + "delivery = 'redirect'\npresign_expiry = '10m'\n"));
    let gateway = setup
        .file("gcs.json", key.file("http://127.0.0.1:9/unused"))
        .start()
        .await;
    let answer = gateway
        .get(uri::project("1", "gs://media/r/q?#&=.mp4"))
        .answer()
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.header("location");
    assert_eq!(fields(location, &key)["X-Goog-Expires"], "600");
    assert_eq!(gateway.client().get(location).answer().await.text(), "odd");
}

/// Answers as Google does to a machine of its own, signing with this key. The token is good for an hour.
fn machine(key: std::sync::Arc<AccountKey>) -> impl Fn(&google::Asked) -> google::Answer {
    move |asked| {
        let path = asked.path.as_str();
        if path.ends_with("/default/email") {
            assert_eq!(asked.header("metadata-flavor"), "Google");
            return (200, format!("{EMAIL}\n"));
        }
        if path.contains("/default/token?scopes=") {
            assert!(
                path.ends_with("https://www.googleapis.com/auth/iam"),
                "{path}"
            );
            return google::token("signer");
        }
        assert_eq!(
            path,
            format!("/v1/projects/-/serviceAccounts/{EMAIL}:signBlob")
        );
        assert_eq!(asked.header("authorization"), "Bearer signer");
        let payload = asked.json()["payload"]
            .as_str()
            .map(|text| STANDARD.decode(text));
        let payload = payload.expect("a payload").expect("base64");
        (
            200,
            json!({ "keyId": "1", "signedBlob": STANDARD.encode(key.sign(&payload)) }).to_string(),
        )
    }
}

#[tokio::test]
async fn without_a_key_iam_signs_and_the_url_ends_with_the_token() {
    let key = std::sync::Arc::new(AccountKey::generate());
    let google = Google::start(machine(key.clone())).await;
    for (asked, given) in [(HOUR / 2, "1800"), (5 * HOUR, "3600")] {
        let config = config(&google, Identity::Metadata(google.host().to_owned()));
        let signed = presigned(config, "a.mp4", asked).await.expect("a URL");
        assert_eq!(fields(signed.url.expose(), &key)["X-Goog-Expires"], given);
        assert!(signed.expires_at <= new_year() + HOUR);
    }
}

#[tokio::test]
async fn an_impersonated_account_signs_on_the_word_of_who_impersonates_it() {
    let key = std::sync::Arc::new(AccountKey::generate());
    let machine = machine(key.clone());
    let google = Google::start(move |asked| match asked.path.as_str() {
        "/user" => google::token("signer"),
        _ => machine(asked),
    })
    .await;
    let identity = parsed(
        &json!({
            "type": "impersonated_service_account",
            "service_account_impersonation_url":
                format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"),
            "delegates": ["projects/-/serviceAccounts/between@p.iam"],
            "source_credentials": {
                "type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
                "token_uri": format!("{}/user", google.origin()),
            },
        })
        .to_string(),
    );
    let signed = presigned(config(&google, identity), "a.mp4", HOUR)
        .await
        .expect("a URL");
    fields(signed.url.expose(), &key);
    let delegates = &google.asked("/v1")[0].json()["delegates"];
    assert_eq!(
        *delegates,
        json!(["projects/-/serviceAccounts/between@p.iam"])
    );
}

#[tokio::test]
async fn who_cannot_sign_is_told_what_would() {
    let google = Google::start(|asked| match asked.path.contains("token") {
        true => google::token("signer"),
        false if asked.path.ends_with("email") => (200, EMAIL.to_owned()),
        false => (
            403,
            json!({ "error": { "status": "PERMISSION_DENIED", "message": "no" } }).to_string(),
        ),
    })
    .await;
    let user = r#"{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}"#;
    let external = json!({
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "http://x",
        "credential_source": { "file": "/x" },
    });
    for (identity, word) in [
        (parsed(user), "use a service account"),
        (
            parsed(&external.to_string()),
            "service_account_impersonation_url",
        ),
        (
            Identity::Metadata(google.host().to_owned()),
            "roles/iam.serviceAccountTokenCreator",
        ),
    ] {
        let refused = presigned(config(&google, identity), "a.mp4", HOUR)
            .await
            .expect_err("nobody signs");
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

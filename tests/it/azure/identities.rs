//! Identities of Entra ID: what is asked for their tokens, what storage does with them, and their renewal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lockgate::backend::config::{AzureApplication, AzureIdentity};
use serde_json::json;

use super::*;
use crate::support::authority::Authority;
use crate::support::entra::{self, OBJECT, TENANT, granted, token};
use crate::support::token::epoch;

fn application(authority: &Authority) -> AzureApplication {
    AzureApplication {
        authority_host: authority.url().parse().expect("a URL"),
        tenant_id: TENANT.to_owned(),
        client_id: "an application".to_owned(),
    }
}

fn principal(authority: &Authority) -> AzureCredentials {
    AzureCredentials::Identity(AzureIdentity::ServicePrincipal {
        application: application(authority),
        client_secret: Secret::new("a secret+&="),
    })
}

async fn started_with_tokens() -> Option<Azurite> {
    let azurite = Azurite::start_with_tokens().await?;
    azurite.create_container(CONTAINER).await;
    azurite
        .put(CONTAINER, "a b%+.mp4", "video/mp4", Pattern(1).bytes(100))
        .await;
    Some(azurite)
}

#[tokio::test]
async fn a_service_principal_reads_and_lists_with_one_token_for_all_requests() {
    let Some(azurite) = started_with_tokens().await else {
        return;
    };
    let authority = Authority::start(granted).await;
    let section = azurite.place(CONTAINER) + &entra::section(authority.url());
    let gateway = Setup::over(&section).start().await;
    let path = uri::project("1", &format!("azure-blob://{CONTAINER}/a b%+.mp4"));
    for _ in 0..3 {
        let answer = gateway.get(&path).answer().await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 100),
            "{}",
            answer.text()
        );
    }
    let [asked] = &authority.asked()[..] else {
        panic!("one token serves all: {:?}", authority.asked());
    };
    assert_eq!(
        (asked.method.as_str(), &*asked.path),
        ("POST", &*format!("/{TENANT}/oauth2/v2.0/token"))
    );
    assert_eq!(
        asked.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", "an application"),
        ("client_secret", "a secret+&="),
        ("scope", "https://storage.azure.com/.default"),
    ] {
        assert_eq!(asked.field(name), value, "{name}");
    }
    let azure = backend(&azurite, principal(&authority));
    let listed = azure
        .list(CONTAINER, "a ", None, 10)
        .await
        .expect("it lists")
        .entries;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn urls_of_an_identity_are_signed_with_one_delegation_key_and_end() {
    let Some(azurite) = started_with_tokens().await else {
        return;
    };
    let authority = Authority::start(granted).await;
    let azure = backend(&azurite, principal(&authority));
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: Some("video/webm".to_owned()),
    };
    let url = azure
        .presign(&at("a b%+.mp4"), &options)
        .await
        .expect("it signs")
        .url;
    let answer = azurite.get(url.expose(), Some("bytes=10-19")).await;
    assert_eq!(answer.status(), 206, "{:?}", answer.body());
    assert_eq!(answer.headers()["content-type"], "video/webm");
    assert!(Pattern(1).holds(10, answer.body()));
    let tampered = url.expose().replace("sp=r&", "sp=rw&");
    assert_eq!(azurite.get(&tampered, None).await.status(), 403);

    let short = azure
        .presign(&at("a b%+.mp4"), &signed(1))
        .await
        .expect("it signs")
        .url;
    let query = |url: &Secret, name| {
        let url = url::Url::parse(url.expose()).expect("a URL");
        let mut named = url.query_pairs().into_owned().filter(|(n, _)| n == name);
        named.next().expect("it is signed").1
    };
    assert_eq!(
        query(&short, "ske"),
        query(&url, "ske"),
        "the key is had once"
    );
    assert_eq!(query(&url, "skoid"), OBJECT);
    eventually("the URL ends", async || {
        (azurite.get(short.expose(), None).await.status() == 403).then_some(())
    })
    .await;
    let long = azure
        .presign(&at("a b%+.mp4"), &signed(30 * 86_400))
        .await
        .expect("it signs");
    assert!(
        end(&query(&long.url, "ske")) >= long.expires_at,
        "never past its key's end"
    );
}

/// A time as a signature has it.
fn end(written: &str) -> SystemTime {
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(written, rfc3339)
        .expect("a time")
        .into()
}

#[tokio::test]
async fn each_other_identity_asks_as_its_issuer_documents() {
    let Some(azurite) = started_with_tokens().await else {
        return;
    };
    let federated = azurite.directory().join("token");
    std::fs::write(&federated, "first.jwt\n").expect("written");
    let authority = Authority::start(|asked| {
        // What each of the three may be asked with; anything else gets no token.
        let right = match asked.path.as_str() {
            "/metadata/identity/oauth2/token" => {
                asked
                    .headers
                    .get("metadata")
                    .is_some_and(|value| value == "true")
                    && asked.field("api-version") == "2018-02-01"
                    && asked.field("resource") == "https://storage.azure.com/"
                    && asked.field("client_id") == "mine"
            }
            "/msi/token" => {
                asked
                    .headers
                    .get("x-identity-header")
                    .is_some_and(|value| value == "the header")
                    && asked.field("api-version") == "2019-08-01"
                    && asked.field("resource") == "https://storage.azure.com/"
                    && asked.field("client_id").is_empty()
            }
            _ => {
                asked.field("client_assertion") == "first.jwt"
                    && asked.field("client_assertion_type")
                        == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                    && asked.field("client_secret").is_empty()
            }
        };
        let token = token("https://storage.azure.com/");
        // The metadata services write numbers as text, and App Service the end alone.
        let document = json!({"access_token": token, "expires_on": epoch(3600).to_string()});
        if right {
            (200, document.to_string())
        } else {
            (400, format!("{asked:?}"))
        }
    })
    .await;
    let url = |path: &str| format!("{}{path}", authority.url()).parse().expect("a URL");
    for identity in [
        AzureIdentity::Workload {
            application: application(&authority),
            token_file: federated,
        },
        AzureIdentity::Managed {
            client_id: Some("mine".to_owned()),
            endpoint: url(""),
        },
        AzureIdentity::AppService {
            client_id: None,
            endpoint: url("/msi/token"),
            header: Secret::new("the header"),
        },
    ] {
        let azure = backend(&azurite, AzureCredentials::Identity(identity.clone()));
        let had = read(&azure, "a b%+.mp4", 0..9, Condition::None).await;
        assert_eq!(
            had.unwrap_or_else(|error| panic!("{identity:?}: {error}")),
            Pattern(1).bytes(9)
        );
        let end = azure.credential_expiry().expect("it ends");
        assert!(
            end > SystemTime::now() + Duration::from_secs(3500),
            "{identity:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_of_entra_is_named_without_its_words() {
    let refusal = json!({
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret provided: a secret+&=. Trace ID: 0",
    });
    let authority = Authority::start(move |_| (401, refusal.to_string())).await;
    let client = HttpClient::new(None, Duration::from_secs(10)).expect("a client");
    let config = AzureConfig {
        account: ACCOUNT.to_owned(),
        container: CONTAINER.to_owned(),
        endpoint: None,
        credentials: principal(&authority),
        ca_file: None,
    };
    assert!(!format!("{config:?}").contains("a secret"), "{config:?}");
    let error = head(&Azure::new(config, client), "a.mp4")
        .await
        .expect_err("no token");
    assert!(matches!(error, BackendError::NoCredentials(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("invalid_client (AADSTS7000215: client_secret is not"),
        "{text}"
    );
    assert!(!text.contains("secret+&="), "{text}");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_serves_until_it_while_that_fails() {
    let Some(azurite) = started_with_tokens().await else {
        return;
    };
    let fails = Arc::new(AtomicBool::new(false));
    let authority = Authority::start({
        let fails = Arc::clone(&fails);
        move |asked| match fails.load(Ordering::SeqCst) {
            true => (503, String::new()),
            false => granted(asked),
        }
    })
    .await;
    // A clock of its own: the hour of the token passes in no time. Storage's does not move.
    let (begin, passed) = (SystemTime::now(), Arc::new(AtomicU64::new(0)));
    let clock = Arc::clone(&passed);
    let clock = Arc::new(move || begin + Duration::from_secs(clock.load(Ordering::SeqCst)));
    let azure = Azure::with_clock(
        config(&azurite, principal(&authority)),
        client(&azurite),
        clock,
    );
    let reads = async || read(&azure, "a b%+.mp4", 0..9, Condition::None).await;
    let asked = || authority.asked().len();

    let eight = futures_util::future::join_all((0..8).map(|_| reads())).await;
    assert!(eight.iter().all(Result::is_ok));
    assert_eq!(asked(), 1, "one request for all");
    assert_eq!(
        azure.credential_expiry(),
        Some(begin + Duration::from_secs(3599))
    );
    passed.store(3500, Ordering::SeqCst);
    reads().await.expect("it is renewed");
    assert_eq!(asked(), 2, "ahead of its end");
    assert_eq!(
        azure.credential_expiry(),
        Some(begin + Duration::from_secs(3500 + 3599))
    );

    fails.store(true, Ordering::SeqCst);
    passed.store(3500 + 3500, Ordering::SeqCst);
    reads().await.expect("the old one serves until its end");
    assert_eq!(asked(), 3, "a renewal was tried");
    passed.store(3500 + 3600, Ordering::SeqCst);
    let error = reads().await.expect_err("it has ended");
    assert!(
        error.to_string().contains("entra id gave no token"),
        "{error}"
    );
    fails.store(false, Ordering::SeqCst);
    passed.store(3500 + 3700, Ordering::SeqCst);
    reads().await.expect("there is a new one");
}

#[tokio::test]
async fn a_token_that_storage_refuses_is_given_up_but_not_at_once() {
    let Some(azurite) = started_with_tokens().await else {
        return;
    };
    let authority = Authority::start(|_| {
        let document = json!({"expires_in": "3599", "access_token": token("https://else.example")});
        (200, document.to_string())
    })
    .await;
    let passed = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&passed);
    let begin = SystemTime::now();
    let clock = Arc::new(move || begin + Duration::from_secs(clock.load(Ordering::SeqCst)));
    let azure = Azure::with_clock(
        config(&azurite, principal(&authority)),
        client(&azurite),
        clock,
    );
    for (seconds, asked) in [(0, 1), (30, 1), (61, 1), (62, 2)] {
        passed.store(seconds, Ordering::SeqCst);
        let error = head(&azure, "a b%+.mp4")
            .await
            .expect_err("another audience");
        assert!(matches!(error, BackendError::AccessDenied(_)), "{error}");
        assert_eq!(authority.asked().len(), asked, "after {seconds} s");
    }
}

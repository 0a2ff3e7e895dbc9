//! `lockgate check` names the cause and what to change: one planted mistake at a time, on each kind of server.
//!
//! Those of S3 and of local files stand with the verb's own tests.

use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, SystemTime};

use crate::cli::{run_with, said};
use crate::support::azurite::Azurite;
use crate::support::fake_gcs::FakeGcs;
use crate::support::files_api::{self, FilesApi};
use crate::support::gateway::Setup;
use crate::support::google::{self, AccountKey, Google};
use crate::support::redis::Redis;
use crate::support::shop::Shop;

const EDITOR: &str = "https://editor.test";

/// A storage with one mistake, the media that is asked for (none: the first), and the step, cause and advice to be said.
type Mistake<'a> = (String, &'a str, [&'a str; 3]);

async fn check(setup: Setup, uri: &str) -> Output {
    let arguments = match uri {
        "" => vec![],
        uri => vec!["--uri".to_owned(), uri.to_owned()],
    };
    // The servers run on this thread's runtime: the binary has to be waited for on another.
    let run = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments.iter().map(String::as_str);
        let verb: Vec<_> = ["check"].into_iter().chain(arguments).collect();
        run_with(&setup, directory.path(), &verb)
    });
    run.await.expect("no panic")
}

/// Each is found: the first step that fails is the right one, and says the cause and what to change.
async fn each_is_named(mistakes: &[Mistake<'_>]) {
    for (section, uri, [step, cause, advice]) in mistakes {
        let output = check(Setup::over(section), uri).await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{section}{text}");
        let (_, failure) = text.split_once("  FAIL    ").expect(&text);
        let (line, rest) = failure.split_once('\n').expect(&text);
        let advised = rest.trim_start().lines().next().unwrap_or_default();
        assert!(line.starts_with(step), "{step}: {section}{text}");
        assert!(line.contains(cause), "{cause}: {section}{text}");
        assert!(advised.contains(advice), "{advice}: {section}{text}");
    }
}

async fn passes(setup: Setup, uri: &str) -> String {
    let output = check(setup, uri).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

/// An address at which nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").to_string()
}

const AZURE_URI: &str = "https://acmeslides.blob.core.windows.net/media-1/a.mp4";

#[tokio::test]
async fn mistakes_about_azure_are_named() {
    let Some(azurite) = Azurite::start().await else {
        return;
    };
    azurite.create_container("media-1").await;
    azurite.put("media-1", "a.mp4", "video/mp4", "abc").await;
    let good = azurite.section("media-1");
    let text = passes(Setup::over(&good), "").await;
    assert!(text.contains("ok      clock"), "{text}");
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let place = azurite.place("media-1");
    let sas = |permissions: &str, ends_at| {
        let sas = azurite.container_sas_to(permissions, "media-1", ends_at);
        format!("{place}sas_token = '{sas}'\n")
    };
    let endpoint = azurite.endpoint();
    let authority = endpoint.split('/').nth(2).expect("host and port");
    let elsewhere = |authority_of: &str| good.replace(authority, authority_of);
    let wrong_key = format!("{place}account_key = 'YW5vdGhlciBrZXk='\n");
    each_is_named(&[
        (
            wrong_key,
            "",
            [
                "list",
                "AuthorizationFailure",
                "correct account and account_key",
            ],
        ),
        (
            azurite.section("nowhere"),
            "",
            ["list", "no such bucket", "has no container nowhere"],
        ),
        (
            good.clone(),
            &AZURE_URI.replace("a.mp4", "b.mp4"),
            ["head", "b.mp4: no such object", "correct the key"],
        ),
        (
            format!("{good}prefix = 'none'\n"),
            "",
            ["list", "prefix none/ is empty", "correct prefix"],
        ),
        (
            format!("{good}pattern = '^b'\n"),
            "",
            ["list", "do not match the pattern", "correct pattern"],
        ),
        (
            sas("rl", now - hour),
            "",
            ["credentials", "the sas has ended", "make a new sas_token"],
        ),
        (
            sas("l", now + hour),
            "",
            ["head", "AuthorizationPermissionMismatch", "sp=r"],
        ),
        (
            elsewhere(&closed()),
            "",
            ["connect", "refused", "nothing listens there"],
        ),
        (
            elsewhere("storage.invalid"),
            "",
            ["name", "storage.invalid", "correct account or endpoint"],
        ),
        (
            good.replace("http://", "https://"),
            "",
            ["tls", "", "turn TLS off"],
        ),
    ])
    .await;
    // The least permission works: it is not a mistake that listing is not permitted.
    let text = passes(Setup::over(&sas("r", now + hour)), AZURE_URI).await;
    assert!(
        text.contains("reading needs no permission to list"),
        "{text}"
    );
}

#[tokio::test]
async fn certificates_that_are_not_trusted_and_those_of_others_are_told_apart() {
    let Some(azurite) = Azurite::start_with_tokens().await else {
        return;
    };
    azurite.create_container("media-1").await;
    azurite.put("media-1", "a.mp4", "video/mp4", "abc").await;
    let good = azurite.section("media-1");
    let text = passes(Setup::over(&good), "").await;
    assert!(text.contains("TLSv1_3"), "{text}");
    let (before, after) = good.split_once("ca_file").expect("a CA of its own");
    let (_, after) = after.split_once('\n').expect("a line");
    let untrusted = format!("{before}{after}");
    let other_name = good.replace("https://127.0.0.1", "https://localhost");
    each_is_named(&[
        (untrusted, "", ["tls", "UnknownIssuer", "set ca_file"]),
        (
            other_name,
            "",
            ["tls", "not valid for name", "name the server in endpoint"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn cors_is_tried_for_each_origin_and_for_the_one_after_a_redirect() {
    let Some(azurite) = Azurite::start().await else {
        return;
    };
    azurite.create_container("media-1").await;
    azurite.put("media-1", "a.mp4", "video/mp4", "abc").await;
    let setup = || {
        let section = azurite.section("media-1") + "delivery = 'redirect'\n";
        Setup::over(&section).set("server.cors.allowed_origins", vec![EDITOR])
    };
    for (allowed, refused) in [
        ("https://other.test", vec![EDITOR, "null"]),
        (EDITOR, vec!["null"]),
    ] {
        azurite.allow_origins(allowed).await;
        let output = check(setup(), "").await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let (_, cors) = text.split_once("FAIL    cors").expect(&text);
        let (line, rest) = cors.split_once('\n').expect(&text);
        for origin in [EDITOR, "null"] {
            let is_named = line.contains(&format!("{origin} ("));
            assert_eq!(is_named, refused.contains(&origin), "{origin}: {text}");
        }
        let rule = format!(
            "az storage cors add --account-name acmeslides --services b --methods GET HEAD --origins {EDITOR} null"
        );
        assert!(rest.contains(&rule), "{text}");
        assert!(rest.contains("Origin: null"), "{text}");
        assert!(!text.contains("sig="), "{text}");
    }
    for allowed in [&format!("{EDITOR},null"), "*"] {
        azurite.allow_origins(allowed).await;
        let text = passes(setup(), "").await;
        assert!(text.contains("ok      presign"), "{text}");
        assert!(text.contains("editor.test, null read"), "{text}");
    }
}

#[tokio::test]
async fn mistakes_about_google_are_named() {
    let Some(gcs) = FakeGcs::start("media").await else {
        return;
    };
    gcs.put("media", "clips/a.mp4", "abc").await;
    let good = gcs.section("media");
    let text = passes(Setup::over(&good), "").await;
    assert!(text.contains("ok      clock"), "{text}");
    let elsewhere = |endpoint: &str| good.replace(gcs.endpoint(), endpoint);
    each_is_named(&[
        (
            gcs.section("nowhere"),
            "",
            ["list", "no such bucket", "correct bucket"],
        ),
        (
            good.clone(),
            "gs://media/clips/b.mp4",
            ["head", "no such object", "correct the key"],
        ),
        (
            format!("{good}prefix = 'Clips'\n"),
            "",
            ["list", "prefix Clips/ is empty", "case-sensitive"],
        ),
        (
            elsewhere(&format!("http://{}", closed())),
            "",
            ["connect", "refused", "correct endpoint"],
        ),
        (
            elsewhere("https://storage.invalid"),
            "",
            ["name", "storage.invalid", "correct endpoint"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_service_account_that_google_does_not_take_is_told_apart() {
    let key = AccountKey::generate();
    for (token, step, cause, advice) in [
        (
            (
                400,
                r#"{"error": "invalid_grant", "error_description": "account not found"}"#
                    .to_owned(),
            ),
            "credentials",
            "invalid_grant",
            "make a new key",
        ),
        (
            google::token("revoked"),
            "head",
            "revoked",
            "replace the credentials",
        ),
    ] {
        let google = Google::start(move |asked| match asked.path.as_str() {
            "/token" => token.clone(),
            _ => (
                403,
                r#"{"error": {"message": "no storage.objects.list"}}"#.to_owned(),
            ),
        })
        .await;
        let origin = google.origin();
        let section = format!(
            "kind = 'gcs'\nbucket = 'media'\nendpoint = '{origin}'\ncredentials = {{ file = 'key.json' }}\n"
        );
        let file = key.file(&format!("{origin}/token"));
        let setup = Setup::over(&section).file("key.json", file);
        let text = said(&check(setup, "gs://media/a.mp4").await);
        let (_, failure) = text.split_once("  FAIL    ").expect(&text);
        assert!(failure.starts_with(step), "{text}");
        assert!(
            failure.contains(cause) && failure.contains(advice),
            "{text}"
        );
        assert!(!text.contains("PRIVATE"), "{text}");
    }
}

#[tokio::test]
async fn mistakes_about_databricks_are_named() {
    let workspace = FilesApi::start().await;
    workspace.put("clips/a.mp4", b"abc".to_vec()).await;
    let good = workspace.section();
    let text = passes(Setup::over(&good), "").await;
    assert!(text.contains("ok      clock"), "{text}");
    assert!(text.contains("a personal access token"), "{text}");
    let missing = workspace.uri("clips/b.mp4");
    let principal = |secret: &str| {
        let id = files_api::CLIENT_ID;
        format!(
            "{}client_id = '{id}'\nclient_secret = '{secret}'\n",
            workspace.volume()
        )
    };
    passes(Setup::over(&principal(files_api::CLIENT_SECRET)), "").await;
    let elsewhere = format!("http://{}", closed());
    each_is_named(&[
        (
            good.replace(files_api::TOKEN, "dapi-another"),
            "",
            ["list", "the token is not valid", "correct token"],
        ),
        (
            principal("another secret"),
            "",
            ["credentials", "invalid_client", "client_secret"],
        ),
        (
            good.clone(),
            &missing,
            ["head", "no such object", "correct the path"],
        ),
        (
            good.replace(workspace.base(), &elsewhere),
            "",
            ["connect", "refused", "correct host"],
        ),
    ])
    .await;
    workspace.fail([(404, "VOLUME_DOES_NOT_EXIST")]);
    each_is_named(&[(
        good.clone(),
        "",
        ["list", "no such bucket", "catalog/schema/volume"],
    )])
    .await;
    workspace.fail([(403, "PERMISSION_DENIED")]);
    each_is_named(&[(good, "", ["list", "PERMISSION_DENIED", "READ VOLUME"])]).await;
}

#[tokio::test]
async fn mistakes_about_redis_are_named() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis.put("a.png", b"abc".to_vec()).await;
    redis.user("blind", &[]).await;
    redis.user("reader", &["+getrange", "+exists"]).await;
    let good = redis.section();
    passes(Setup::over(&good), "").await;
    let password = crate::support::redis::PASSWORD;
    let blind = format!("{good}username = 'blind'\npassword = '{password}'\n");
    let uri = redis.uri("a.png");
    let wrong = format!("{good}username = 'blind'\npassword = 'another'\n");
    let reader = format!("{good}username = 'reader'\npassword = '{password}'\n");
    let text = passes(Setup::over(&reader), &uri).await;
    assert!(
        text.contains("reading needs no permission to list"),
        "{text}"
    );
    let closed = closed();
    let (_, port) = closed.rsplit_once(':').expect("a port");
    let elsewhere = good.replace(&redis.port().to_string(), port);
    let by_tls = format!(
        "kind = 'redis'\nurl = 'rediss://127.0.0.1:{}'\n",
        redis.port()
    );
    each_is_named(&[
        (wrong, "", ["list", "", "correct username and password"]),
        (blind, &uri, ["head", "NOPERM", "+getrange"]),
        (
            good.clone(),
            &redis.uri("b.png"),
            ["head", "no such object", "correct the key"],
        ),
        (
            elsewhere,
            "",
            ["connect", "refused", "correct host and its port"],
        ),
        (by_tls, "", ["tls", "", "tls = false"]),
    ])
    .await;
}

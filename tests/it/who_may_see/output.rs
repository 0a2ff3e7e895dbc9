//! What Lockgate writes: no line that a client forged, and no secret anywhere, at the chattiest level there is.
//!
//! Beside these, what every gateway and process of every test wrote is searched when it ends (`support/secrets.rs`).

use http::Method;
use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::process::{self, Serving};
use crate::support::store::{self, Store};
use crate::support::{raw, secrets, token, uri};

const WRITTEN: [&str; 4] = ["stdout", "stderr", "access.log", "audit.log"];

fn setup(store: &Store) -> Setup {
    Setup::over(&store.section("media"))
        .storage("handed-out", &(store.section("public") + "delivery = 'redirect'\n"))
        .storage("refused", &store.section("locked").replace(store::SECRET, "the wrong secret access key"))
        .projects("[[project]]\nid = '1'\nstorages = ['media', 'handed-out', 'refused']\nmembers = ['anna']\nmedia = 'storage'\n")
        .set("auth.query_token", true)
        .set("log.audit", "audit.log")
        .set("log.level", "trace")
}

/// Whether a line is one JSON value without a control character.
fn is_one_line(line: &str) -> bool {
    !line.chars().any(char::is_control) && serde_json::from_str::<Value>(line).is_ok()
}

#[tokio::test]
async fn no_client_forges_a_line_of_any_log() {
    let store = Store::start().await;
    let mut serving = Serving::start_at("trace", setup(&store)).await;
    let address = serving
        .client
        .base()
        .trim_start_matches("http://")
        .to_owned();
    let address = address.parse().expect("an address");
    let forged = "\r\n{\"forged\":true}\r\n\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{85}\u{2028}\0";
    let written = uri::percent(forged);
    let anna = token::of("anna");
    for path in [
        uri::project("1", &format!("s3://media/{forged}.mp4")),
        uri::project("1", &format!("s3://locked/{forged}.mp4")),
        uri::project("1", &format!("s3://elsewhere{forged}/a.mp4")),
        uri::project("1", forged),
        uri::project("1", &format!("https://host{forged}/a.mp4")),
        uri::task(&written, "s3://media/a.mp4"),
        format!("/tasks/7{written}/resolve/?fileuri=s3://media/a.mp4"),
        format!("/data/local-files/?d={written}"),
        format!("/{written}?{written}={written}"),
    ] {
        let answer = raw::Raw::answer(address, &path, &anna).await;
        assert!((400..=502).contains(&raw::status(&answer)), "{path}");
        assert!(!answer.contains(&0x1b), "{path}");
    }
    for (name, value) in [
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\u{1b}[31m",
        ),
        ("user-agent", "\u{1b}[2J{\"forged\":true}"),
        ("range", "bytes=\u{1b}[2J"),
        ("cookie", "lockgate=\u{1b}[2J"),
        ("authorization", "Bearer \u{1b}[2J"),
        ("host", "\u{1b}[2J"),
    ] {
        let request = format!(
            "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{name}: {value}\r\n\r\n"
        );
        raw::Raw::send(address, request).await.read_to_end().await;
    }
    for sub in [forged, "anna\r\nbo", "\u{1b}[2J", "\u{202e}anna"] {
        let token = token::with("anna", json!({ "sub": sub }));
        let path = uri::project("1", "s3://media/a.mp4");
        serving.client.get(path).bearer(token).answer().await;
    }
    serving.signal("TERM");
    assert!(serving.ended().await.success());
    for name in WRITTEN {
        let text = serving.written(name);
        for line in text.lines() {
            assert!(is_one_line(line), "{name}: {line:?}");
            assert!(!line.starts_with("{\"forged\""), "{name}: {line:?}");
        }
    }
    assert!(
        serving.written("audit.log").contains("forged"),
        "it was tried"
    );
}

#[tokio::test]
async fn no_token_signature_or_key_is_in_any_output_at_the_chattiest_level() {
    let store = Store::with_session_token(Some("the session token of the tests")).await;
    for bucket in ["media", "public", "locked"] {
        store.put(bucket, "a.mp4", b"the media".to_vec(), None);
    }
    let mut serving = Serving::start_at("trace", setup(&store)).await;
    let client = serving.client.clone();
    let path = |bucket: &str| uri::project("1", &format!("s3://{bucket}/a.mp4"));
    let bearer = token::of("anna");
    let scoped = token::with("anna", json!({"uri": "s3://media/a.mp4"}));
    let session = client
        .ask(Method::POST, "/session")
        .bearer(&bearer)
        .answer()
        .await;
    let cookie = session
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default();
    let location = client.get(path("public")).bearer(&bearer).answer().await;
    let location = location.header("location").to_owned();
    let (_, signature) = location
        .split_once("X-Amz-Signature=")
        .expect("it is signed");
    let expired = token::with("anna", json!({"exp": token::epoch(-60)}));
    let mut bodies = String::new();
    for ask in [
        client.get(path("media")).bearer(&bearer),
        client.get(path("media")).bearer(&expired),
        client.get(path("media")).bearer(format!("{bearer}x")),
        client.get(path("locked")).bearer(&bearer),
        client.get(path("elsewhere")).bearer(&bearer),
        client.get(path("media")).header("cookie", cookie),
        client.get(format!("{}&token={scoped}", path("media"))),
        client.get(format!("/nowhere?token={scoped}")),
        client.get(uri::project("1", &location)).bearer(&bearer),
        client
            .ask(Method::DELETE, "/session")
            .header("cookie", cookie),
        serving.admin.get("/metrics"),
        serving.admin.get("/readyz"),
        serving.admin.get(format!("/nowhere?token={scoped}")),
    ] {
        let answer = ask.answer().await;
        bodies.push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
    }
    let config = serving.path("lockgate.toml");
    let config = config.to_string_lossy();
    let uri = "s3://media/a.mp4";
    for arguments in [
        &["--config", &config, "check", "--uri", uri][..],
        &[
            "--config",
            &config,
            "explain",
            "--token",
            &bearer,
            "--project",
            "1",
            "--uri",
            uri,
        ],
        &["--config", &config, "ls", "--storage", "media"],
        &["--config", &config, "setup", "--storage", "media"],
    ] {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        // Not on this thread: the store is served from it.
        let ran = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            process::run(&arguments)
        });
        let output = ran.await.expect("it runs");
        bodies.push_str(&String::from_utf8_lossy(&output.stdout));
        bodies.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    // A key that is no key is not quoted in the complaint.
    std::fs::write(serving.path("jwt.secret"), "short secret of the tests").expect("it is written");
    serving.signal("HUP");
    serving.signal("TERM");
    assert!(serving.ended().await.success());
    let mut all = bodies;
    for name in WRITTEN {
        all.push_str(&serving.written(name));
    }
    assert!(
        all.contains("\"status\":303") && all.contains("\"DEBUG\""),
        "it is as chatty as it gets:\n{all}"
    );
    let sent = all.replace(&location, "");
    for secret in [
        signature,
        "the session token of the tests",
        "the wrong secret access key",
        "short secret of the tests",
    ] {
        assert!(!sent.contains(secret), "{secret} in\n{sent}");
    }
    secrets::assert_none_in_text("what was written", &sent);
}

#[test]
fn a_secret_in_what_was_written_fails_the_test_that_wrote_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let minted = token::of("anna");
    for (text, found) in [
        ("{\"status\":200}\n".to_owned(), false),
        (format!("bearer {minted}\n"), true),
        (format!("key {}\n", store::SECRET), true),
        (format!("secret {}\n", token::SECRET), true),
        ("https://storage/a?X-Amz-Signature=00\n".to_owned(), true),
    ] {
        std::fs::write(directory.path().join("access.log"), &text).expect("it is written");
        let search = || secrets::assert_none_in(directory.path(), &["stderr", "access.log"]);
        assert_eq!(std::panic::catch_unwind(search).is_err(), found, "{text}");
    }
}

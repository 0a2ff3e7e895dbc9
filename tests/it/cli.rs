//! The verbs of the binary, as a person at a terminal uses them.

use std::path::Path;
use std::process::Output;

use crate::support::client::Client;
use crate::support::gateway::Setup;
use crate::support::process::{run, spawn};
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, token, uri};

const TASK: &str = "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna']\n\
                    [[project.task]]\nid = '7'\nmedia = ['s3://media/a.mp4']\n";

/// Runs a verb with the configuration of a setup.
pub fn run_with(setup: &Setup, directory: &Path, verb: &[&str]) -> Output {
    let file = setup.write(directory);
    let file = file.to_string_lossy();
    run(&[verb, &["--config", &file]].concat())
}

async fn run_beside(setup: Setup, verb: &'static [&'static str]) -> Output {
    // The S3 server runs on this thread's runtime: the binary has to be waited for on another.
    let directory = tempfile::tempdir().expect("a directory");
    let run = tokio::task::spawn_blocking(move || run_with(&setup, directory.path(), verb));
    run.await.expect("no panic")
}

pub fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in [
        "serve",
        "demo",
        "check",
        "explain",
        "token",
        "setup",
        "ls",
        "warm",
        "completions",
        "man",
        "db",
        "grant",
        "revoke",
        "members",
    ] {
        let output = run(&[verb, "--help"]);
        assert!(output.status.success(), "{verb}: {}", said(&output));
        assert!(
            said(&output).to_lowercase().contains("example"),
            "{verb}: {}",
            said(&output)
        );
    }
}

#[test]
fn every_shell_can_complete_every_verb() {
    let help = said(&run(&["--help"]));
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    let verbs: Vec<_> = verbs
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.len() >= 10, "{help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success(), "{}", said(&output));
        let script = said(&output);
        for verb in &verbs {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
    // What no shell can read is of no use.
    let script = said(&run(&["completions", "bash"]));
    let check = std::process::Command::new("bash")
        .args(["-n", "-c", &script])
        .output();
    let check = check.expect("bash runs");
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn man_pages_are_written_for_every_verb() {
    let directory = tempfile::tempdir().expect("a directory");
    let man = directory.path().join("man1");
    let output = run(&["man", "--out", &man.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    for page in ["lockgate.1", "lockgate-serve.1", "lockgate-warm.1"] {
        let text = std::fs::read_to_string(man.join(page)).expect("it is there");
        assert!(text.contains(".TH "), "{page}: {text}");
    }
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("it is written");
    let refused = run(&["man", "--out", &file.display().to_string()]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&run(&["man"])).contains(".TH "));
}

#[test]
fn a_mistake_in_usage_exits_with_2() {
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["check", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_configuration_that_is_wrong_is_an_error_that_names_file_line_and_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = Setup::bare().set("server.drain", "30 parsecs");
    let output = run_with(&setup, directory.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text =
        std::fs::read_to_string(directory.path().join("lockgate.toml")).expect("it is there");
    let line = text
        .lines()
        .position(|line| line.starts_with("drain"))
        .expect("it is written")
        + 1;
    let place = format!("lockgate.toml:{line}: server.drain");
    assert!(
        said(&output).contains(&place),
        "{place} in {}",
        said(&output)
    );
}

#[test]
fn what_a_start_refuses_check_refuses_too_by_file_line_and_key() {
    let pem = |what: &str| format!("-----BEGIN {what}-----\nnonsense\n-----END {what}-----\n");
    let keys = Setup::bare()
        .set("auth.jwt.algorithms", vec!["HS256", "ES256"])
        .set("auth.jwt.public_key.file", "jwt.pem")
        .file("jwt.pem", pem("PUBLIC KEY"));
    let tls = Setup::bare()
        .set("server.tls.certificate", "tls.crt")
        .set("server.tls.private_key", "tls.key")
        .file("tls.crt", pem("CERTIFICATE"))
        .file("tls.key", pem("PRIVATE KEY"));
    for (setup, key) in [(keys, "auth.jwt.public_key"), (tls, "server.tls.")] {
        for verb in ["serve", "check"] {
            let directory = tempfile::tempdir().expect("a directory");
            let output = run_with(&setup, directory.path(), &[verb]);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
            let (_, place) = said.split_once("lockgate.toml:").expect(&said);
            let (line, place) = place.split_once(": ").expect(&said);
            assert!(line.parse::<usize>().is_ok(), "{verb}: {said}");
            assert!(place.starts_with(key), "{verb}: {said}");
        }
    }
}

#[tokio::test]
async fn a_token_that_was_minted_opens_the_gate() {
    let (store, gateway) = gateway_over_store().await;
    store.put("media", "a.mp4", vec![1], None);
    let file = gateway.directory().join("lockgate.toml");
    let output = run(&[
        "token",
        "--config",
        &file.to_string_lossy(),
        "--subject",
        "anna",
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let token = String::from_utf8(output.stdout).expect("ASCII");
    let ask = gateway.client().get(uri::project("1", "s3://media/a.mp4"));
    assert_eq!(ask.bearer(token.trim()).answer().await.status, 200);
}

#[tokio::test]
async fn check_exits_with_0_where_all_is_well_and_1_where_it_is_not() {
    let store = Store::start().await;
    store.put("media", "a.mp4", vec![1; 10], None);
    let good = run_beside(Setup::over(&store.section("media")), &["check"]).await;
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));

    let wrong = store
        .section("media")
        .replace("the secret key", "another key");
    let bad = run_beside(Setup::over(&wrong), &["check"]).await;
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(
        !said(&bad).contains("another key of the tests"),
        "{}",
        said(&bad)
    );
}

#[tokio::test]
async fn check_tries_the_uri_it_is_given() {
    let store = Store::start().await;
    store.put("media", "a.mp4", vec![1; 10], None);
    let setup = || Setup::over(&store.section("media"));
    let good = run_beside(
        setup(),
        &["check", "--storage", "media", "--uri", "s3://media/a.mp4"],
    )
    .await;
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    let bad = run_beside(
        setup(),
        &[
            "check",
            "--storage",
            "media",
            "--uri",
            "s3://media/none.mp4",
        ],
    )
    .await;
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
}

#[test]
fn explain_says_which_rule_allows_or_denies_and_which_storage_serves() {
    let setup = Setup::over("kind = 's3'\nbucket = 'media'\nendpoint = 'http://127.0.0.1:1'\n")
        .projects(TASK);
    let explain = |subject: &str, uri: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let token = token::of(subject);
        let verb = ["explain", "--token", &token, "--task", "7", "--uri", uri];
        said(&run_with(&setup, directory.path(), &verb))
    };
    let allowed = explain("anna", "s3://media/a.mp4");
    assert!(allowed.contains("media"), "{allowed}");
    let stranger = explain("eve", "s3://media/a.mp4");
    assert!(stranger.contains("not a member"), "{stranger}");
    let unnamed = explain("anna", "s3://media/b.mp4");
    assert!(unnamed.contains("does not name"), "{unnamed}");
}

/// The first URL that the demo prints.
pub fn printed_url(directory: &Path) -> Option<String> {
    let printed = std::fs::read_to_string(directory.join("stdout")).unwrap_or_default();
    let begin = printed
        .find("http://127.0.0.1:")
        .or_else(|| printed.find("http://localhost:"))?;
    // A line that is whole has its URL whole.
    let (url, _) = printed[begin..].split_once(|c: char| c.is_whitespace())?;
    Some(url.trim_end_matches('/').to_owned())
}

#[tokio::test]
async fn demo_prints_the_url_of_a_page_that_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut demo = spawn(&["demo", "--listen", "127.0.0.1:0"], directory.path());
    let url = eventually("a URL", async || printed_url(directory.path())).await;
    let page = Client::new(&url).get("/").answer().await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    demo.kill().expect("it runs");
    demo.wait().expect("it ends");
}

#[tokio::test]
async fn ls_writes_a_label_studio_task_a_line() {
    let store = Store::start().await;
    for key in [
        "clips/b \"1\".png",
        "clips/a.png",
        "clips/notes.txt",
        "other/c.png",
    ] {
        store.put("media", key, vec![1], None);
    }
    let section = store.section("media") + "prefix = 'clips'\npattern = '\\.png$'\n";
    let tasks = &["ls", "--storage", "media", "--tasks", "--field", "picture"];
    let output = run_beside(Setup::over(&section), tasks).await;
    assert!(output.status.success(), "{}", said(&output));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let uris = lines.lines().map(|line| {
        let task: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let data = task["data"].as_object().expect("data");
        assert_eq!(data.len(), 1);
        data["picture"].as_str().expect("a URI").to_owned()
    });
    let uris: Vec<_> = uris.collect();
    assert_eq!(
        uris,
        ["s3://media/clips/a.png", "s3://media/clips/b \"1\".png"]
    );
}

#[test]
fn setup_and_ls_of_a_storage_that_is_not_there_are_a_mistake_in_usage() {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = Setup::bare().storage("media", "kind = 'local'\nroot = 'media'\n");
    for verb in ["setup", "ls"] {
        let output = run_with(&setup, directory.path(), &[verb, "--storage", "elsewhere"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains("configured: media"),
            "{}",
            said(&output)
        );
    }
}

//! `lockgate warm` as an operator runs it, beside a running gateway: what it read costs storage nothing afterwards.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::cli::said;
use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::{run, spawn};
use crate::support::store::{Fault, Store};
use crate::support::{eventually, token, uri};

const MIB: u64 = 1 << 20;

/// A task list of project `1` that names these keys.
fn tasks(keys: &[&str]) -> String {
    let task = |(number, key): (usize, &&str)| {
        format!("[[project.task]]\nid = '{number}'\nmedia = ['s3://media/{key}']\n")
    };
    let tasks: String = keys.iter().enumerate().map(task).collect();
    format!("[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna']\n{tasks}")
}

/// A gateway whose tasks name these keys of a store, which holds them all.
async fn gateway_over(keys: &[&str]) -> (Store, Gateway) {
    let store = Store::start().await;
    for key in keys {
        store.put("media", key, vec![1; 1000], None);
    }
    let setup = Setup::over(&store.section("media")).projects(&tasks(keys));
    let gateway = setup.set("cache.metadata_max_age", "0s").start().await;
    (store, gateway)
}

/// The arguments for a gateway: where it is, and the configuration that it was started from.
fn arguments(gateway: &Gateway, more: &[&str]) -> Vec<String> {
    let config = gateway.directory().join("lockgate.toml");
    let mut all = vec![
        "warm".to_owned(),
        "--project=1".to_owned(),
        format!("--url={}", gateway.client().base()),
        format!("--config={}", config.display()),
    ];
    all.extend(more.iter().map(|argument| (*argument).to_owned()));
    all
}

/// Warms, while this thread serves.
async fn warm(gateway: &Gateway, more: &[&str]) -> Output {
    let arguments = arguments(gateway, more);
    let ran = tokio::task::spawn_blocking(move || {
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    });
    ran.await.expect("no panic")
}

async fn report(gateway: &Gateway, more: &[&str]) -> Value {
    let output = warm(gateway, &[more, &["--json"]].concat()).await;
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

/// The counts of a report: read, unchanged, failed.
fn counts(report: &Value) -> (u64, u64, usize) {
    let count = |name: &str| report[name].as_u64().expect("a number");
    let failed = report["failed"].as_array().expect("a list").len();
    (count("read"), count("unchanged"), failed)
}

fn requests(store: &Store, keys: &[&str]) -> usize {
    keys.iter().map(|key| store.asked(key)).sum()
}

#[tokio::test]
async fn what_was_warmed_is_in_the_cache() {
    let keys = ["a.png", "b c.png", "d/ü+%.png"];
    let store = Store::start().await;
    for key in keys {
        store.put("media", key, vec![1; 1000], None);
    }
    let setup = Setup::over(&store.section("media")).projects(&tasks(&keys));
    let gateway = setup.start().await;
    let output = warm(&gateway, &["--subject", "anna"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let asked = requests(&store, &keys);
    assert!(asked >= keys.len());
    for key in keys {
        let path = uri::project("1", &format!("s3://media/{key}"));
        assert_eq!(gateway.get(path).answer().await.status, 200);
    }
    assert_eq!(requests(&store, &keys), asked);
    let (out, err) = (output.stdout, output.stderr);
    let lines = String::from_utf8([err, out].concat()).expect("UTF-8");
    assert!(lines.contains("warming 3 objects of project 1"), "{lines}");
    assert!(lines.contains("read 3 of 3 objects: 2.93 KiB"), "{lines}");
    // Not on a terminal, so nothing that steers one.
    assert!(!lines.contains(['\u{1b}', '\r']), "{lines:?}");
}

#[tokio::test]
async fn a_project_that_shows_all_its_storages_hold_is_listed() {
    let store = Store::start().await;
    for key in ["data/a.png", "data/b.png", "data/c.txt", "other/d.png"] {
        store.put("media", key, vec![1; 10], None);
    }
    let section = store.section("media") + "prefix = 'data'\npattern = '\\.png$'\n";
    let gateway = Setup::over(&section).start().await;
    let report = report(&gateway, &["--subject", "anna"]).await;
    assert_eq!(counts(&report), (2, 0, 0), "{report}");
    assert_eq!(requests(&store, &["data/c.txt", "other/d.png"]), 0);
}

#[tokio::test]
async fn one_missing_object_is_named_and_does_not_stop_the_rest() {
    let keys = ["a.png", "none.png", "b.png", "c.png"];
    let (store, gateway) = gateway_over(&keys).await;
    store.remove("media", "none.png");
    let arguments = ["--subject", "anna", "--concurrency", "1"];
    let output = warm(&gateway, &arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let lines = said(&output);
    assert!(lines.contains("read 3 of 4 objects"), "{lines}");
    let failed = "failed: s3://media/none.png: not there (404)";
    assert!(lines.contains(failed), "{lines}");
}

#[tokio::test]
async fn whoever_may_not_see_the_media_warms_nothing() {
    let (store, gateway) = gateway_over(&["a.png"]).await;
    let report = report(&gateway, &["--subject", "eve"]).await;
    assert_eq!(counts(&report), (0, 0, 1), "{report}");
    assert_eq!(report["failed"][0]["reason"], "not permitted (403)");
    assert_eq!(store.asked("a.png"), 0);
}

#[tokio::test]
async fn a_token_and_a_file_of_tasks_need_no_configuration() {
    let (store, gateway) = gateway_over(&["a.png", "b.png"]).await;
    let file = gateway.directory().join("tasks.json");
    let tasks = r#"[{"id": 1, "data": {"image": "s3://media/a.png"}}]"#;
    std::fs::write(&file, tasks).expect("it is written");
    let (url, file) = (
        gateway.client().base().to_owned(),
        file.display().to_string(),
    );
    let token = token::of("anna");
    let ran = tokio::task::spawn_blocking(move || {
        run(&[
            "warm",
            "--project",
            "1",
            "--url",
            &url,
            "--token",
            &token,
            "--tasks",
            &file,
        ])
    });
    let output = ran.await.expect("no panic");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(store.asked("a.png") > 0);
    assert_eq!(store.asked("b.png"), 0);
}

fn recorded(state: &Path) -> usize {
    let text = std::fs::read_to_string(state).unwrap_or_default();
    text.matches("\"etag\"").count()
}

#[tokio::test]
async fn a_run_that_was_killed_is_gone_on_with_and_what_changed_is_read_again() {
    let keys = ["a.png", "b.png", "c.png", "long.mp4"];
    let (store, gateway) = gateway_over(&keys).await;
    store.generate("media", "long.mp4", Pattern(1), 3 * MIB);
    store.hold_bodies_after(MIB);
    let state = gateway.directory().join("warm.state");
    let state_argument = format!("--state={}", state.display());
    let verb = ["--subject=anna", "--concurrency=1", &state_argument];
    let arguments = arguments(&gateway, &verb);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let mut killed = spawn(&arguments, directory.path());
    eventually("the short ones are noted", async || {
        (recorded(&state) == 3).then_some(())
    })
    .await;
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    store.release();

    store.put("media", "b.png", vec![2; 500], None);
    let second = report(&gateway, &verb).await;
    assert_eq!(counts(&second), (2, 2, 0), "{second}");
    assert_eq!(second["bytes"].as_u64(), Some(3 * MIB + 500));
    let third = report(&gateway, &verb).await;
    assert_eq!(counts(&third), (0, 4, 0), "{third}");
}

#[tokio::test]
async fn an_interrupt_ends_a_run_with_its_report() {
    let (store, gateway) = gateway_over(&["a.png", "long.mp4"]).await;
    store.generate("media", "long.mp4", Pattern(1), 3 * MIB);
    store.hold_bodies_after(MIB);
    let state = gateway.directory().join("warm.state");
    let state_argument = format!("--state={}", state.display());
    let arguments = arguments(&gateway, &["--subject=anna", "--json", &state_argument]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let mut process = spawn(&arguments, directory.path());
    eventually("one is noted", async || {
        (recorded(&state) == 1).then_some(())
    })
    .await;
    let signal = format!("kill -INT {}", process.id());
    let sent = std::process::Command::new("sh")
        .args(["-c", &signal])
        .status();
    assert!(sent.expect("sh runs").success());
    let status = eventually("it ends", async || process.try_wait().expect("its state")).await;
    assert_eq!(status.code(), Some(1));
    let written = std::fs::read_to_string(directory.path().join("stdout")).expect("it is there");
    let report: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(report["stopped"], "interrupted");
    assert_eq!(report["read"], 1);
    store.release();
}

#[tokio::test]
async fn a_storage_that_throttles_is_waited_for() {
    let keys = ["a.png", "b.png"];
    let (store, gateway) = gateway_over(&keys).await;
    // The gateway's own three tries, twice.
    store.fail_next(6, Fault::Status(503, "SlowDown"));
    let report = report(&gateway, &["--subject", "anna", "--concurrency", "1"]).await;
    assert_eq!(counts(&report), (2, 0, 0), "{report}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_or_does_not_know_the_caller_stops_the_run() {
    let (_store, gateway) = gateway_over(&["a.png", "b.png"]).await;
    let report_ = report(&gateway, &["--token", "nonsense"]).await;
    let stopped = report_["stopped"].as_str().expect("a reason");
    assert!(stopped.contains("does not accept the token"), "{stopped}");
    // Nothing listens on a port that was given back.
    let [port] = crate::support::free_ports::<1>();
    let elsewhere = format!("--url=http://127.0.0.1:{port}");
    let mut arguments = arguments(&gateway, &["--subject=anna"]);
    arguments[2] = elsewhere;
    let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no Lockgate answers at"),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn what_cannot_be_begun_is_a_mistake_in_usage_that_says_what_is_missing() {
    let (_store, gateway) = gateway_over(&["a.png"]).await;
    for (more, expected) in [
        (&[][..], "--subject is needed"),
        (&["--subject=anna", "--project=1", "--state=/"], "--state /"),
    ] {
        let mut arguments = arguments(&gateway, &[]);
        // Only the last of an argument that is given twice would count, and clap refuses two.
        arguments.retain(|argument| more.is_empty() || argument != "--project=1");
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    let mut unknown = arguments(&gateway, &["--subject=anna"]);
    unknown[1] = "--project=9".to_owned();
    let output = run(&unknown.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("no project \"9\""),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn on_a_terminal_there_is_a_bar() {
    let (store, gateway) = gateway_over(&["a.png", "long.mp4"]).await;
    store.generate("media", "long.mp4", Pattern(1), 3 * MIB);
    store.hold_bodies_after(MIB);
    let arguments = arguments(&gateway, &["--subject=anna"]).join(" ");
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_lockgate"));
    let directory = tempfile::tempdir().expect("a directory");
    let typescript = directory.path().join("typescript");
    let path = typescript.display().to_string();
    // util-linux's own terminal: what is written to it goes to the file, at once.
    let mut script = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "script", "-qfec", &command, &path])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("script runs");
    let seen = || std::fs::read(&typescript).unwrap_or_default();
    eventually("the bar", async || {
        let text = String::from_utf8_lossy(&seen()).into_owned();
        (text.contains("1/2 objects") && text.contains("MiB/s")).then_some(())
    })
    .await;
    store.release();
    let status = eventually("it ends", async || script.try_wait().expect("its state")).await;
    assert!(status.success());
    let text = String::from_utf8_lossy(&seen()).into_owned();
    assert!(text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("read 2 of 2 objects"), "{text:?}");
}

//! The process: it ends when it is told to, and reaches no file that it was not told of.

use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::process::Serving;
use crate::support::store::Store;
use crate::support::{eventually, uri};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_second_sigterm_stops_at_once() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let setup = Setup::over(&store.section("media")).set("server.drain", "1h");
    let mut serving = Serving::start(setup).await;
    store.hold_bodies_after(MIB);
    let path = uri::project("1", "s3://media/a.mp4");
    let body = serving.client.get(path).by("anna").send().await;
    serving.signal("TERM");
    eventually("it drains", async || {
        (serving.admin.get("/readyz").status().await != Some(200)).then_some(())
    })
    .await;
    serving.signal("TERM");
    assert_eq!(serving.ended().await.code(), Some(1));
    assert!(!body.compare(Pattern(1), 0).await.1);
    store.release();
}

/// Whether this kernel offers what the sandbox is made of, as the process says.
fn is_enforced(serving: &Serving) -> bool {
    let log = serving.written("stderr");
    assert!(
        log.contains("sandbox") || log.contains("files are reached only"),
        "{log}"
    );
    log.contains("files are reached only")
}

async fn status(serving: &Serving, key: &str) -> u16 {
    let path = uri::project("1", &format!("local://media/{key}"));
    serving.client.get(path).by("anna").answer().await.status
}

/// A gateway over a directory beside it, which is then configured to be another one that was not named at start.
async fn moved_elsewhere(sandbox: bool) -> (Serving, tempfile::TempDir) {
    let elsewhere = tempfile::tempdir().expect("a directory");
    std::fs::write(elsewhere.path().join("b.txt"), "elsewhere").expect("it is written");
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n")
        .file("desk/a.txt", "here")
        .set("server.sandbox", sandbox)
        .set("log.audit", "audit.log");
    let serving = Serving::start(setup).await;
    assert_eq!(status(&serving, "a.txt").await, 200);
    let file = serving.path("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let root = format!("root = \"{}\"", elsewhere.path().display());
    let moved = config.replace("root = \"desk\"", &root);
    assert_ne!(config, moved);
    std::fs::write(&file, moved).expect("it is written");
    serving.signal("HUP");
    eventually("the other directory is in force", async || {
        (status(&serving, "a.txt").await != 200).then_some(())
    })
    .await;
    (serving, elsewhere)
}

#[tokio::test]
async fn no_file_is_reached_that_was_not_named_at_start() {
    let (serving, _elsewhere) = moved_elsewhere(true).await;
    if !is_enforced(&serving) {
        return;
    }
    assert_ne!(status(&serving, "b.txt").await, 200);
    let log = serving.written("stderr");
    assert!(log.contains("restart to use it"), "{log}");
    assert!(!log.contains("cannot be written"), "{log}");
    let proc = serving.no_new_privs();
    assert_eq!(proc.as_deref(), Some("1"));
}

#[tokio::test]
async fn without_the_sandbox_a_reload_may_name_any_directory() {
    let (serving, _elsewhere) = moved_elsewhere(false).await;
    assert!(!is_enforced(&serving));
    assert_eq!(status(&serving, "b.txt").await, 200);
}

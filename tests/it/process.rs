//! The process: it ends when it is told to, and reaches no file that it was not told of.

use std::fs::File;
use std::path::Path;
use std::process::Command;

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

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success());
}

#[tokio::test]
async fn a_reader_of_the_access_log_that_stands_still_does_not_keep_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    make_pipe(&pipe);
    let opened = File::options().read(true).write(true).open(&pipe);
    let _unread = opened.expect("it is open");
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n")
        .file("desk/a.txt", "here")
        .set("log.access", pipe.to_string_lossy().as_ref());
    let mut serving = Serving::start(setup).await;
    // A pipe takes 64 KiB, and a line has more than 200 bytes.
    for _ in 0..400 {
        assert_eq!(serving.client.get("/none").status().await, Some(404));
    }
    serving.signal("HUP");
    serving.signal("TERM");
    assert_eq!(serving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_is_heard_while_a_reload_stands_still() {
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n")
        .file("desk/a.txt", "here")
        .set("log.access", "access.log");
    let mut serving = Serving::start(setup).await;
    let file = serving.path("lockgate.toml");
    std::fs::remove_file(&file).expect("it was there");
    // Whoever opens it to read waits for a writer.
    make_pipe(&file);
    let log = serving.path("access.log");
    std::fs::rename(&log, serving.path("moved.log")).expect("it was there");
    serving.signal("HUP");
    eventually("the reload has begun", async || log.exists().then_some(())).await;
    serving.signal("TERM");
    assert_eq!(serving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_is_heard_while_a_start_waits_for_keys() {
    // Connects, and is never answered.
    let issuer = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let issuer = issuer.expect("a port is free");
    let address = issuer.local_addr().expect("it is bound");
    let jwks = format!("http://{address}/keys");
    let setup = Setup::bare()
        .set("auth.jwt.algorithms", vec!["ES256", "HS256"])
        .set("auth.jwt.jwks_url", jwks);
    let mut starting = Serving::starting(&setup);
    let _asking = issuer.accept().await.expect("it asks");
    starting.signal("TERM");
    assert_eq!(starting.ended().await.code(), Some(0));
    let log = starting.written("stderr");
    assert!(!log.contains("lockgate serves"), "it went on: {log}");
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
    assert_eq!(serving.privileged_threads(), [""; 0]);
}

#[tokio::test]
async fn without_the_sandbox_a_reload_may_name_any_directory() {
    let (serving, _elsewhere) = moved_elsewhere(false).await;
    assert!(!is_enforced(&serving));
    assert_eq!(status(&serving, "b.txt").await, 200);
}

#[tokio::test]
async fn a_task_file_that_the_sandbox_does_not_reach_is_named() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let tasks = elsewhere.path().join("tasks.json");
    std::fs::write(&tasks, "[]").expect("it is written");
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n").file("desk/a.txt", "here");
    let serving = Serving::start(setup).await;
    if !is_enforced(&serving) {
        return;
    }
    let list = serving.path("projects.toml");
    let projects = std::fs::read_to_string(&list).expect("it is there");
    let tasks = tasks.display();
    let more = format!("[[project]]\nid = '2'\nstorages = ['media']\ntasks = ['{tasks}']\n");
    std::fs::write(list, projects + &more).expect("it is written");
    let said = format!("the sandbox does not reach {tasks}: restart to use it");
    eventually("it is named", async || {
        serving.written("stderr").contains(&said).then_some(())
    })
    .await;
}

#[tokio::test]
async fn task_files_in_a_list_are_reached_wherever_they_lie_at_start() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let tasks = elsewhere.path().join("tasks.json");
    std::fs::write(&tasks, "[]").expect("it is written");
    let tasks = tasks.display();
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n")
        .file("desk/a.txt", "here")
        .projects(&format!(
            "[[project]]\nid = '2'\nstorages = ['media']\ntasks = ['{tasks}']\n"
        ));
    Serving::start(setup).await;
}

#[tokio::test]
async fn a_root_whose_link_is_switched_past_the_sandbox_is_told_from_a_files_mode() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let [old, new, root] = ["old", "new", "current"].map(|name| elsewhere.path().join(name));
    for directory in [&old, &new] {
        std::fs::create_dir(directory).expect("it is made");
        std::fs::write(directory.join("a.txt"), "a").expect("it is written");
    }
    std::os::unix::fs::symlink(&old, &root).expect("it is linked");
    let section = format!("kind = 'local'\nroot = '{}'\n", root.display());
    let serving = Serving::start(Setup::over(&section)).await;
    assert_eq!(status(&serving, "a.txt").await, 200);
    if !is_enforced(&serving) {
        return;
    }
    std::fs::write(new.join("b.txt"), "b").expect("it is written");
    std::fs::remove_file(&root).expect("it is removed");
    std::os::unix::fs::symlink(&new, &root).expect("it is linked");
    assert_eq!(status(&serving, "b.txt").await, 502);
    let log = serving.written("stderr");
    assert!(log.contains("a sandbox keeps it out of reach"), "{log}");
}

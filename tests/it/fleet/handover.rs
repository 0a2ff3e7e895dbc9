//! One machine: a socket that outlives the processes behind it, and what the service manager is told.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::process::Serving;
use crate::support::store::Store;
use crate::support::{PATIENCE, uri};

const MIB: u64 = 1 << 20;
/// Connections made while one process takes over from another.
const CONNECTS: usize = 1_000;

/// A shell in the place of systemd: it puts standard input where sd_listen_fds(3) says that sockets are, and becomes
/// the process. The kernel ends it with the thread that started it.
fn shell(script: &str, arguments: &[&str], directory: &Path) -> Command {
    let file = |name: &str| Stdio::from(File::create(directory.join(name)).expect("a file"));
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_lockgate"))
        .args(arguments)
        .env("LOCKGATE_LOG", "info")
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"));
    command
}

fn with_socket(listener: &TcpListener, arguments: &[&str], directory: &Path) -> Child {
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let socket = listener.try_clone().expect("it is cloned");
    shell(script, arguments, directory)
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .spawn()
        .expect("it starts")
}

async fn on(listener: &TcpListener, store: &Store) -> Serving {
    // Another port than the socket's: what is handed over stands in its place.
    let setup = Setup::over(&store.section("media"));
    Serving::start_by(|a, d| with_socket(listener, a, d), setup).await
}

/// Asks on a connection of its own; the head's first line.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /nowhere HTTP/1.1\r\nHost: lockgate\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    Ok(text.lines().next().unwrap_or("nothing").to_owned())
}

/// A process takes over from another on one socket, again and again, while others connect and a body runs.
#[tokio::test]
async fn on_a_socket_that_is_handed_over_no_connection_is_refused_and_no_body_cut() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 40 * MIB);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let mut serving = on(&listener, &store).await;
    assert_eq!(serving.address(), address);
    let body = serving.client.get(uri::project("1", "s3://media/a.mp4"));
    let body = body.by("anna").send().await;

    let (asked, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = std::sync::Mutex::new(Vec::new());
    let connecting = async |_| {
        while asked.fetch_add(1, Relaxed) < CONNECTS || over.load(Relaxed) == 0 {
            let answer = timeout(PATIENCE, ask(address)).await;
            match answer.expect("an answer in time") {
                Ok(line) if line.starts_with("HTTP/1.1 404") => {}
                otherwise => wrong.lock().expect("no panic").push(otherwise),
            }
        }
    };
    let handing_over = async {
        for _ in 0..3 {
            let mut next = on(&listener, &store).await;
            std::mem::swap(&mut serving, &mut next);
            next.signal("TERM");
            ended_well(next).await;
        }
        over.store(1, Relaxed);
    };
    let reading = async {
        assert_eq!(body.compare(Pattern(1), 0).await, (40 * MIB, true));
    };
    tokio::join!(join_all((0..4).map(connecting)), handing_over, reading);
    let wrong = wrong.into_inner().expect("no panic");
    let asked = asked.load(Relaxed);
    assert!(wrong.is_empty(), "{} of {asked}: {wrong:?}", wrong.len());
}

async fn ended_well(mut serving: Serving) {
    assert_eq!(serving.ended().await.code(), Some(0));
    let log = serving.written("stderr");
    assert!(log.contains("\"cut\":0"), "{log}");
}

/// With one process alone, as `systemctl restart` has it: who connects meanwhile waits for the next.
#[tokio::test]
async fn who_connects_while_no_process_is_there_is_answered_by_the_next() {
    let store = Store::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let serving = on(&listener, &store).await;
    serving.signal("TERM");
    ended_well(serving).await;
    let asking = tokio::spawn(ask(address));
    let _next = on(&listener, &store).await;
    let answer = asking.await.expect("no panic").expect("it is not refused");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn the_service_manager_hears_ready_reloading_alive_and_stopping() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = directory.path().join("notify");
    let manager = UnixDatagram::bind(&name).expect("it is bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("it is set");
    let hears = move |what: &str| {
        let mut buffer = [0; 256];
        loop {
            let len = manager.recv(&mut buffer).expect("it is told");
            let told = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if told.starts_with(what) {
                return told;
            }
            // Else it was told something too early, or what it should have heard was left out.
            assert_eq!(told, "WATCHDOG=1", "in wait for {what}");
        }
    };
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n").file("desk/a.txt", "here");
    let spawn = |arguments: &[&str], directory: &Path| {
        shell("WATCHDOG_PID=$$ exec \"$@\"", arguments, directory)
            .env("NOTIFY_SOCKET", &name)
            .env("WATCHDOG_USEC", "100000")
            .spawn()
            .expect("it starts")
    };
    let mut serving = Serving::start_by(spawn, setup).await;
    hears("READY=1");
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    serving.signal("HUP");
    let reloading = hears("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    hears("READY=1");
    serving.signal("TERM");
    hears("STOPPING=1");
    assert_eq!(serving.ended().await.code(), Some(0));
}

//! The binary as an operator runs it: a process of its own, with signals, an exit code, and what it writes.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::eventually;
use super::gateway::Setup;

/// Whether a program is installed.
pub fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .args(arguments)
        .output();
    output.expect("the binary runs")
}

/// Starts the binary, in a directory that takes what it writes; the kernel ends it with the thread that started it.
pub fn spawn(arguments: &[&str], directory: &Path) -> Child {
    spawn_at("debug", arguments, directory)
}

/// The same, as chatty as `level` says.
pub fn spawn_at(level: &str, arguments: &[&str], directory: &Path) -> Child {
    let file = |name: &str| Stdio::from(File::create(directory.join(name)).expect("a file"));
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_lockgate")])
        .args(arguments)
        .env("LOCKGATE_LOG", level)
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .expect("the binary starts")
}

/// `lockgate serve`, running; killed when dropped, and what it wrote is searched for secrets.
pub struct Serving {
    process: Started,
    directory: TempDir,
    pub client: Client,
    pub admin: Client,
}

impl Serving {
    /// Starts it and returns once it is ready.
    pub async fn start(setup: Setup) -> Self {
        Self::start_at("debug", setup).await
    }

    /// The same, as chatty as `level` says.
    pub async fn start_at(level: &str, setup: Setup) -> Self {
        let spawn = |arguments: &[&str], directory: &Path| spawn_at(level, arguments, directory);
        Self::start_by(spawn, setup).await
    }

    /// The same, its process started by the caller's own way: from the arguments, in the directory.
    pub async fn start_by(spawn: impl FnOnce(&[&str], &Path) -> Child, setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = setup.write(directory.path());
        let arguments = ["serve", "--config", &file.to_string_lossy()];
        let process = spawn(&arguments, directory.path());
        let mut started = Started(process);
        let log = directory.path().join("stderr");
        let (listen, admin) =
            eventually("the binary serves", async || started.addresses(&log)).await;
        let serving = Self {
            process: started,
            directory,
            client: Client::new(format!("http://{listen}")),
            admin: Client::new(format!("http://{admin}")),
        };
        eventually("the binary is ready", async || {
            (serving.admin.get("/readyz").status().await == Some(200)).then_some(())
        })
        .await;
        serving
    }

    /// Starts it, and leaves it to that.
    pub fn starting(setup: &Setup) -> Starting {
        let directory = tempfile::tempdir().expect("a directory");
        let file = setup.write(directory.path());
        let process = spawn(
            &["serve", "--config", &file.to_string_lossy()],
            directory.path(),
        );
        Starting {
            process: Started(process),
            directory,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let address = self.client.base().trim_start_matches("http://");
        address.parse().expect("an address")
    }

    /// Sends a signal by its name, `TERM` for one.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// The names of the threads that can gain privileges, as the kernel says: whatever confined the process began after
    /// them.
    pub fn privileged_threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.0.id()));
        let mut privileged = Vec::new();
        for task in tasks.expect("a Linux machine") {
            let status = task.expect("a thread").path().join("status");
            // A thread may end meanwhile.
            let Ok(status) = std::fs::read_to_string(status) else {
                continue;
            };
            let field = |name| {
                status
                    .lines()
                    .find_map(|line: &str| line.strip_prefix(name))
            };
            if field("NoNewPrivs:").map(str::trim) != Some("1") {
                privileged.push(field("Name:").unwrap_or_default().trim().to_owned());
            }
        }
        privileged
    }

    /// Files and sockets that it has open.
    pub fn descriptors(&self) -> usize {
        let directory = std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id()));
        directory.expect("a Linux machine").count()
    }

    /// Bytes of memory that it holds.
    pub fn resident_bytes(&self) -> u64 {
        super::resident_bytes_of(&self.process.0.id().to_string())
    }

    /// Takes its right to more open files than this.
    pub fn limit_descriptors(&self, most: u64) {
        let status = Command::new("prlimit")
            .arg(format!("--pid={}", self.process.0.id()))
            .arg(format!("--nofile={most}:{most}"))
            .status()
            .expect("prlimit runs");
        assert!(status.success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// What it has written so far to `stdout`, `stderr` or a file of its configuration.
    pub fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A file beside its configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let written = ["stdout", "stderr", "access.log", "audit.log"];
        super::secrets::assert_none_in(self.directory.path(), &written);
    }
}

/// The process, killed when dropped.
struct Started(Child);

/// `lockgate serve` on its way; killed when dropped.
pub struct Starting {
    process: Started,
    directory: TempDir,
}

impl Starting {
    /// What it has written so far to `stdout` or `stderr`.
    pub fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }
}

impl Started {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        let status = Command::new("sh")
            .args(["-c", &kill])
            .status()
            .expect("sh runs");
        assert!(status.success(), "{kill}");
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually("the binary ends", async || {
            self.0.try_wait().expect("its state is known")
        })
        .await
    }

    /// Where it listens, as its log says once it does: the system chose the ports.
    fn addresses(&mut self, log: &Path) -> Option<(String, String)> {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let ended = self.0.try_wait().expect("its state is known");
        assert!(ended.is_none(), "{ended:?}: {log}");
        let line = log
            .lines()
            .find(|line| line.contains("lockgate serves") && line.ends_with('}'))?;
        let value = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Some((value("listen")?, value("admin")?))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! PostgreSQL, the real server (Debian's `postgresql`): a cluster of its own, made for the test and gone with it.
//!
//! `tests/servers` installs it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.
//! The server refuses to run as root: there it runs as the user `postgres`, in a directory of that user's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::support::garage::is_ci;
use crate::support::gateway::Setup;
use crate::support::process::run;
use crate::support::{PATIENCE, eventually, free_ports};

/// Of every role: searched for in whatever a gateway writes.
pub const PASSWORD: &str = "a-password-of-the-tests-as-long-as-a-token";
/// The schema's owner, who may do anything.
pub const OWNER: &str = "owner";
/// Whom Lockgate connects as.
pub const READER: &str = "lockgate";

/// A cluster, running or not; its server is killed when it is dropped.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    server: Option<Child>,
}

impl Postgres {
    /// A cluster with an empty database; `None` where it is not installed and may be skipped.
    pub async fn empty() -> Option<Self> {
        let Some(initdb) = program("initdb") else {
            assert!(!is_ci(), "postgresql is not installed: run tests/servers");
            eprintln!("SKIPPED, for postgresql is not installed: run tests/servers");
            return None;
        };
        crate::support::secrets::remember(PASSWORD);
        let directory = directory();
        let password = directory.path().join("password");
        std::fs::write(&password, PASSWORD).expect("it is written");
        own(&password);
        let mut initdb = as_postgres(&initdb);
        initdb.args(["--username", OWNER, "--auth", "scram-sha-256", "--no-sync"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C.UTF-8"]);
        initdb.arg("--pwfile").arg(&password);
        initdb.arg("--pgdata").arg(directory.path().join("data"));
        finish(&mut initdb);
        let mut cluster = Self {
            directory,
            port: 0,
            options: Vec::new(),
            server: None,
        };
        cluster.start_somewhere().await;
        cluster.sql("create database lockgate").await;
        Some(cluster)
    }

    /// One with Lockgate's schema and roles, as the documentation says to make them.
    pub async fn start() -> Option<Self> {
        let cluster = Self::empty().await?;
        cluster.verb(&["db", "migrate"]).await;
        cluster.reader().await;
        Some(cluster)
    }

    /// The roles, and whom Lockgate connects as.
    pub async fn reader(&self) {
        let roles = self.verb(&["db", "roles"]).await;
        self.sql(&roles).await;
        let login =
            format!("create role {READER} login password '{PASSWORD}' in role lockgate_reader");
        self.sql(&login).await;
    }

    /// A standby of this one, streaming; it can be promoted.
    pub async fn standby(&self) -> Self {
        let directory = directory();
        let mut copy = as_postgres(&program("pg_basebackup").expect("it is installed"));
        copy.arg("--dbname").arg(self.url_of("postgres", OWNER));
        copy.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"]);
        copy.arg("--pgdata").arg(directory.path().join("data"));
        tokio::task::spawn_blocking(move || finish(&mut copy))
            .await
            .expect("no panic");
        let mut standby = Self {
            directory,
            port: 0,
            options: Vec::new(),
            server: None,
        };
        standby.start_somewhere().await;
        standby
    }

    /// A standby becomes the primary.
    pub async fn promote(&self) {
        self.sql_on("postgres", "select pg_promote()").await;
    }

    /// Sends a signal to all of its processes, `STOP` for one.
    pub fn signal_all(&self, name: &str) {
        let Some(server) = &self.server else { return };
        let mut kill = Command::new("sh");
        kill.arg("-c").arg(format!(
            "kill -{name} {0} $(ps -o pid= --ppid {0}) 2>/dev/null; true",
            server.id()
        ));
        finish(&mut kill);
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        // Who stands still does not notice that the server is gone.
        self.signal_all("CONT");
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts it again where it was. `reachable`: for Lockgate; else by the socket in its directory alone.
    pub async fn start_again(&mut self, reachable: bool) {
        // What the killed one's processes hold, they leave within a moment.
        for _ in 0..100 {
            self.kill();
            self.server = Some(self.spawn(reachable));
            if self.answers().await {
                return;
            }
        }
        panic!("postgres does not start again: {}", self.log());
    }

    /// Settings from the next start on, `ssl=on` for one.
    pub fn with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|it| it.to_string()));
    }

    /// A file beside its data, which the server may read.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        own(&path);
        path
    }

    /// Where such a file is.
    pub fn file_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A URL by which a role connects to the database of the tests.
    pub fn url(&self, role: &str) -> String {
        self.url_of("lockgate", role)
    }

    fn url_of(&self, database: &str, role: &str) -> String {
        format!(
            "postgres://{role}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A gateway's setup with this for its access source.
    pub fn setup(&self) -> Setup {
        setup(&self.url(READER))
    }

    /// Runs statements as the owner.
    pub async fn sql(&self, statements: &str) {
        let database = if statements.starts_with("create database") {
            "postgres"
        } else {
            "lockgate"
        };
        self.sql_on(database, statements).await;
    }

    async fn sql_on(&self, database: &str, statements: &str) {
        let done = self.client(database).await.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// A client that is the owner.
    pub async fn client(&self, database: &str) -> Client {
        self.connect(database).await.expect("postgres lets us in")
    }

    /// Runs a verb of the binary on this database as its owner; what it printed.
    pub async fn verb(&self, verb: &[&str]) -> String {
        let output = self.try_verb(verb).await;
        let text = crate::cli::said(&output);
        assert!(output.status.success(), "{verb:?}: {text}");
        text
    }

    /// The same, whatever comes of it.
    pub async fn try_verb(&self, verb: &[&str]) -> Output {
        let mut verb: Vec<_> = verb.iter().map(|it| it.to_string()).collect();
        if verb[..] != ["db", "roles"] {
            verb.extend(["--database".to_owned(), self.url(OWNER)]);
        }
        let run = move || run(&verb.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.expect("no panic");
        crate::support::secrets::assert_none_in_text("the verb", &crate::cli::said(&output));
        output
    }

    /// Where somebody else took the port meanwhile it ends at once, and another one is tried.
    async fn start_somewhere(&mut self) {
        for _ in 0..3 {
            [self.port] = free_ports();
            self.server = Some(self.spawn(true));
            if self.answers().await {
                return;
            }
        }
        panic!("postgres ends as soon as it has started: {}", self.log());
    }

    fn spawn(&self, reachable: bool) -> Child {
        let log = File::create(self.directory.path().join("log")).expect("a file");
        let mut server = as_postgres(&program("postgres").expect("it is installed"));
        server.arg("-D").arg(self.directory.path().join("data"));
        server.args(["-p", &self.port.to_string()]);
        server.arg("-k").arg(self.directory.path());
        let listen = if reachable { "127.0.0.1" } else { "" };
        server.args(["-c", &format!("listen_addresses={listen}")]);
        // A crash of the process loses nothing that the kernel has.
        for option in ["fsync=off", "max_wal_size=4GB"] {
            server.args(["-c", option]);
        }
        for option in &self.options {
            server.args(["-c", option]);
        }
        server.stdout(Stdio::null()).stderr(log);
        server.spawn().expect("postgres starts")
    }

    /// Waits until it lets us in; false where it has ended.
    async fn answers(&mut self) -> bool {
        eventually("postgres answers", async || {
            let server = self.server.as_mut().expect("it was started");
            if server.try_wait().expect("its state is known").is_some() {
                return Some(false);
            }
            self.connect("postgres").await.ok().map(|_| true)
        })
        .await
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.directory.path());
        config.port(self.port).user(OWNER).password(PASSWORD);
        config.dbname(database).connect_timeout(PATIENCE);
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with its client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// What the server has said since its start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A gateway's setup with the database at this URL for its access source. What is remembered would hold for an hour.
pub fn setup(url: &str) -> Setup {
    Setup::bare()
        .set("access.source", "postgres")
        .set("access.postgres.url", url)
        .set("access.max_age", "1h")
}

/// A directory that the server's user may enter and write to.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    own(directory.path());
    directory
}

/// Gives a file to whom the server runs as, where that is another user.
fn own(path: &Path) {
    if is_root() {
        let mut chown = Command::new("chown");
        finish(chown.arg("postgres:").arg(path));
    }
    let mut chmod = Command::new("chmod");
    finish(chmod.arg("u=rwX,go=").arg(path));
}

/// A program of the server's, run as whom it may run as; the kernel ends it with the test.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--clear-groups",
        ]);
    }
    command.arg(program).current_dir("/").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn finish(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        crate::cli::said(&output)
    );
}

/// Debian keeps the server's programs in a directory of its version, the latest of which counts.
fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let versions = versions.filter_map(|it| it.ok()?.file_name().into_string().ok()?.parse().ok());
    let latest: u32 = versions.max()?;
    let path = PathBuf::from(format!("/usr/lib/postgresql/{latest}/bin/{name}"));
    path.exists().then_some(path)
}

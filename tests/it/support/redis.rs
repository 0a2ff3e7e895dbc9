//! Redis, the real server (Debian's `redis-server`): a process of its own, that ends with the test's.
//!
//! `tests/servers` installs it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::garage::is_ci;
use super::shop::{Kind, Shop};
use super::{PATIENCE, eventually, free_ports};

/// With characters that a URL holds percent-encoded alone.
pub const PASSWORD: &str = "s:e/c%r@t";

/// A running server; killed when dropped, and by the kernel when the test's process ends otherwise.
pub struct Redis {
    process: Child,
    directory: TempDir,
    port: u16,
    tls_port: u16,
    commands: MultiplexedConnection,
}

impl Redis {
    /// Starts one, with a TLS port beside the plain one; `None` where it is not installed and may be skipped.
    pub async fn start() -> Option<Self> {
        let installed = Command::new("redis-server")
            .arg("--version")
            .output()
            .is_ok();
        if !installed {
            assert!(!is_ci(), "redis-server is not installed: run tests/servers");
            eprintln!("SKIPPED, for redis-server is not installed: run tests/servers");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        certificates(&directory);
        for _ in 0..3 {
            let [port, tls_port] = free_ports();
            let mut process = serve(&directory, port, tls_port);
            // Where somebody else took a port meanwhile it ends at once, and other ports are tried.
            if let Some(commands) = connect(&mut process, port).await {
                return Some(Self {
                    process,
                    directory,
                    port,
                    tls_port,
                    commands,
                });
            }
        }
        panic!("redis ends as soon as it has started");
    }

    /// Ends it as a crash would, and starts it again, empty, on the same ports.
    pub async fn restart(&mut self) {
        self.stop();
        self.process = serve(&self.directory, self.port, self.tls_port);
        let commands = connect(&mut self.process, self.port).await;
        self.commands = commands.expect("redis starts again");
    }

    /// Ends it as a crash would.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// One command.
    pub async fn command<T: redis::FromRedisValue>(&self, name: &str, arguments: &[&[u8]]) -> T {
        let mut command = redis::cmd(name);
        for argument in arguments {
            command.arg(*argument);
        }
        let answer = command.query_async(&mut self.commands.clone()).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A user who may do this and no more, on any key; the password is [`PASSWORD`].
    pub async fn user(&self, name: &str, rules: &[&str]) {
        let fixed = [
            "SETUSER",
            name,
            "reset",
            "on",
            &format!(">{PASSWORD}"),
            "~*",
        ];
        let rules: Vec<_> = fixed
            .iter()
            .chain(rules)
            .map(|rule| rule.as_bytes())
            .collect();
        self.command::<()>("ACL", &rules).await;
    }

    /// How often a command was called, and how often it was rejected.
    pub async fn calls(&self, command: &str) -> usize {
        let stats: String = self.command("INFO", &[b"commandstats"]).await;
        let line = format!("cmdstat_{command}:calls=");
        let found = stats
            .lines()
            .find_map(|l| l.strip_prefix(&line)?.split(',').next());
        found.map_or(0, |calls| calls.parse().expect("a number"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The keys of a `[[storage]]` section.
    pub fn section(&self) -> String {
        format!("kind = 'redis'\nhost = '127.0.0.1'\nport = {}\n", self.port)
    }

    /// The same by TLS.
    pub fn tls_section(&self) -> String {
        let ca = self.directory.path().join("ca.crt");
        format!(
            "kind = 'redis'\nurl = 'rediss://localhost:{}'\nca_file = '{}'\n",
            self.tls_port,
            ca.display()
        )
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shop for Redis {
    fn kind(&self) -> Kind {
        Kind::Redis
    }

    fn section(&self) -> String {
        self.section()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.command::<()>("SET", &[key.as_bytes(), &bytes]).await;
    }

    async fn remove(&self, key: &str) {
        self.command::<()>("DEL", &[key.as_bytes()]).await;
    }

    /// With the database, as each key can be named, and without, but for one that begins as a database would.
    fn uris(&self, key: &str) -> Vec<String> {
        let server = format!("redis://127.0.0.1:{}", self.port);
        let mut uris = vec![format!("{server}/0/{key}"), format!("redis:///0/{key}")];
        let first = key.split_once('/').map_or("", |(first, _)| first);
        if first.is_empty() || !first.bytes().all(|b| b.is_ascii_digit()) {
            uris.extend([format!("{server}/{key}"), format!("redis:///{key}")]);
        }
        uris
    }
}

fn serve(directory: &TempDir, port: u16, tls_port: u16) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir", "."])
        .args([
            "--port",
            &port.to_string(),
            "--tls-port",
            &tls_port.to_string(),
        ])
        .args(["--tls-cert-file", "leaf.crt", "--tls-key-file", "leaf.key"])
        .args(["--tls-ca-cert-file", "ca.crt", "--tls-auth-clients", "no"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis starts")
}

/// `None` where the process has ended.
async fn connect(process: &mut Child, port: u16) -> Option<MultiplexedConnection> {
    let client = redis::Client::open((Ipv4Addr::LOCALHOST.to_string(), port)).expect("an address");
    // A script over a large value holds up everybody for longer than the usual half a second.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    eventually("redis answers", async || {
        if process.try_wait().expect("its state is known").is_some() {
            return Some(None);
        }
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        Some(Some(connection.await.ok()?))
    })
    .await
}

/// A CA and a leaf: one certificate for both is refused.
fn certificates(directory: &TempDir) {
    let write = |name: &str, pem: String| {
        std::fs::write(directory.path().join(name), pem).expect("it is written");
    };
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    write(
        "ca.crt",
        ca.self_signed(&ca_key).expect("a certificate").pem(),
    );
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
    write(
        "leaf.crt",
        leaf.signed_by(&key, &issuer).expect("a certificate").pem(),
    );
    write("leaf.key", key.serialize_pem());
}

//! A running Label Studio with Lockgate in front: what `tests/label-studio --json` says of it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::Method;
use serde::Deserialize;

use crate::support::client::{Ask, Client};
use crate::support::garage::{is_ci, tools};

/// A person who can log in.
#[derive(Clone, Deserialize)]
pub struct User {
    pub id: u64,
    pub email: String,
    pub password: String,
    pub token: String,
}

/// An object of storage, and what lies there.
#[derive(Clone, Deserialize)]
pub struct Object {
    pub uri: String,
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    pub etag: String,
}

impl Object {
    /// Its bytes; none where it is named and not there.
    pub fn bytes(&self) -> Vec<u8> {
        let read = |file: &PathBuf| std::fs::read(file).expect("a sample is read");
        self.file.as_ref().map(read).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Said {
    label_studio: String,
    lockgate: String,
    access_log: Option<PathBuf>,
    admin: Option<String>,
    max_age: u64,
    users: HashMap<String, User>,
    projects: HashMap<String, u64>,
    tasks: HashMap<String, Vec<u64>>,
    objects: HashMap<String, Object>,
}

/// A running instance; it ends when its standard input does.
pub struct Instance {
    process: Child,
    input: Option<ChildStdin>,
    said: Said,
    text: String,
    /// A client of Label Studio itself.
    pub label_studio: Client,
    /// A client of Lockgate.
    pub lockgate: Client,
}

impl Instance {
    /// Starts one; `None` where Label Studio is not installed and may be skipped.
    pub async fn start() -> Option<Self> {
        if !tools().join("label-studio/bin/uwsgi").exists() || !tools().join("bin/garage").exists()
        {
            assert!(
                !is_ci(),
                "Label Studio or garage is not installed: run tests/servers"
            );
            eprintln!("SKIPPED, for Label Studio or garage is not installed: run tests/servers");
            return None;
        }
        let started = tokio::task::spawn_blocking(Self::begin).await;
        Some(started.expect("it starts"))
    }

    fn begin() -> Self {
        // It ends with its standard input, and that with this process, however that ends.
        let mut command = Command::new(root().join("tests/label-studio"));
        command.arg("--json");
        if std::env::var_os("LOCKGATE_DIRECT").is_some() {
            command.arg("--direct");
        }
        let built = std::env::var_os("LOCKGATE");
        let built = built.unwrap_or_else(|| env!("CARGO_BIN_EXE_lockgate").into());
        let mut process = command
            .env("LOCKGATE", built)
            .env("LOCKGATE_TOOLS", tools())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/label-studio starts");
        let mut text = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut text)
            .expect("it speaks");
        assert!(!text.is_empty(), "tests/label-studio failed, see above");
        let said: Said = serde_json::from_str(&text).expect("JSON");
        Self {
            input: process.stdin.take(),
            process,
            label_studio: Client::new(&said.label_studio),
            lockgate: Client::new(&said.lockgate),
            said,
            text,
        }
    }

    /// Ends everything and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.input.take());
        let mut process = self.process;
        let ended = tokio::task::spawn_blocking(move || process.wait()).await;
        let status = ended.expect("no panic").expect("it is waited for");
        assert!(status.success(), "tests/label-studio ended with {status}");
    }

    /// Whether there is no Lockgate in front.
    pub fn is_direct(&self) -> bool {
        self.said.access_log.is_none()
    }

    /// The lag of a revocation, as the instance is configured.
    pub fn max_age(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.said.max_age)
    }

    pub fn user(&self, name: &str) -> &User {
        &self.said.users[name]
    }

    pub fn project(&self, name: &str) -> u64 {
        self.said.projects[name]
    }

    /// The first task of a project.
    pub fn task(&self, name: &str) -> u64 {
        self.tasks(name)[0]
    }

    pub fn tasks(&self, name: &str) -> &[u64] {
        &self.said.tasks[name]
    }

    pub fn object(&self, name: &str) -> &Object {
        let object = self.said.objects.get(name);
        object.unwrap_or_else(|| panic!("no object is called {name}"))
    }

    /// The task's route to an object, as Label Studio's editor writes it.
    pub fn media(&self, task: u64, object: &str) -> String {
        let uri = URL_SAFE.encode(&self.object(object).uri);
        format!("/tasks/{task}/resolve/?fileuri={uri}")
    }

    /// A GET through Lockgate with somebody's token.
    pub fn get(&self, path: impl AsRef<str>, user: &str) -> Ask {
        self.ask(Method::GET, path, user)
    }

    /// A request through Lockgate with somebody's token.
    pub fn ask(&self, method: Method, path: impl AsRef<str>, user: &str) -> Ask {
        let token = &self.user(user).token;
        let ask = self.lockgate.ask(method, path);
        ask.header("authorization", format!("Token {token}"))
    }

    /// Where Lockgate listens.
    pub fn lockgate_address(&self) -> SocketAddr {
        let address = self.said.lockgate.trim_start_matches("http://");
        address.parse().expect("an address")
    }

    /// The sum of a metric of Lockgate's over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let admin = self.said.admin.as_ref().expect("a Lockgate");
        let scraped = Client::new(admin).get("/metrics").answer().await;
        let lines = scraped.text().lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    }

    /// What was said of it, in a file for a program of another language.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("instance.json");
        std::fs::write(&path, &self.text).expect("it is written");
        path
    }
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

//! A gateway in this process, from a configuration like an operator's: a file of its own in a directory of its own.
//!
//! The one place that knows how the library starts and stops.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use toml::{Table, Value};

use super::client::{Ask, Client};
use super::token::{AUDIENCE, ISSUER, SECRET};

/// What a gateway is started from; the defaults serve one project `1` with the one member `anna`.
pub struct Setup {
    config: Table,
    projects: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Setup {
    /// A gateway in front of one storage, `media`, all of which the members of project `1` may see.
    pub fn over(section: &str) -> Self {
        let projects =
            "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna']\nmedia = 'storage'\n";
        Self::bare().storage("media", section).projects(projects)
    }

    /// Nothing at all.
    pub fn empty() -> Self {
        Self {
            config: Table::new(),
            projects: String::new(),
            files: Vec::new(),
        }
    }

    /// A gateway without storages and projects.
    pub fn bare() -> Self {
        Self::empty()
            .set("server.listen", "127.0.0.1:0")
            .set("server.admin_listen", "127.0.0.1:0")
            .set("auth.jwt.issuer", ISSUER)
            .set("auth.jwt.audience", AUDIENCE)
            .set("auth.jwt.algorithms", vec!["HS256"])
            .set("auth.jwt.leeway", "0s")
            .set("auth.jwt.hmac_secret.file", "jwt.secret")
            .set("access.source", "file")
            .set("access.file", "projects.toml")
            .set("cache.memory", "64MiB")
            .set("log.access", "access.log")
            .file("jwt.secret", SECRET)
    }

    /// Sets one key, `server.limits.requests_per_second` for one.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (tables, last) = key.rsplit_once('.').expect("a section and a key");
        let mut table = &mut self.config;
        for name in tables.split('.') {
            let entry = table
                .entry(name)
                .or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().expect("a table");
        }
        table.insert(last.to_owned(), value.into());
        self
    }

    /// Adds a `[[storage]]`, from its keys.
    pub fn storage(mut self, id: &str, section: &str) -> Self {
        let mut table: Table = section.parse().expect("TOML");
        table.insert("id".to_owned(), id.into());
        let storages = self
            .config
            .entry("storage")
            .or_insert_with(|| Value::Array(Vec::new()));
        storages
            .as_array_mut()
            .expect("an array")
            .push(table.into());
        self
    }

    /// The access list, whole.
    pub fn projects(mut self, text: &str) -> Self {
        text.clone_into(&mut self.projects);
        self
    }

    /// A file beside the configuration, by its relative path.
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), bytes.into()));
        self
    }

    /// Writes the files; the configuration's path.
    pub fn write(&self, directory: &Path) -> PathBuf {
        for (path, bytes) in &self.files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().expect("below the directory"))
                .expect("it is made");
            std::fs::write(path, bytes).expect("it is written");
        }
        std::fs::write(directory.join("projects.toml"), &self.projects).expect("it is written");
        let config = directory.join("lockgate.toml");
        std::fs::write(&config, self.config.to_string()).expect("it is written");
        config
    }

    /// Starts it.
    pub async fn start(self) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory");
        let file = self.write(directory.path());
        let source = lockgate::app::Source {
            file: Some(file),
            environment: Vec::new(),
        };
        let running = lockgate::app::start(source, None)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let client = Client::new(format!("http://{}", running.local_addr()));
        Gateway {
            running: Some(running),
            client,
            directory,
        }
    }
}

/// A running gateway; it stops when it is dropped, and what it wrote is searched for secrets.
pub struct Gateway {
    /// None once it was stopped.
    running: Option<lockgate::app::Running>,
    client: Client,
    directory: TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        super::secrets::assert_none_in(self.directory.path(), &["access.log", "audit.log"]);
    }
}

impl Gateway {
    pub fn address(&self) -> SocketAddr {
        self.running().local_addr()
    }

    /// Reads the configuration again; false where a mistake keeps the old one.
    pub async fn reload(&self) -> bool {
        self.running().reload().await
    }

    /// A client of the admin listener.
    pub fn admin(&self) -> Client {
        let address = self.running().admin_addr().expect("an admin listener");
        Client::new(format!("http://{address}"))
    }

    fn running(&self) -> &lockgate::app::Running {
        self.running.as_ref().expect("it runs")
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A GET by anna.
    pub fn get(&self, path: impl AsRef<str>) -> Ask {
        self.client.get(path).by("anna")
    }

    /// A HEAD by anna.
    pub fn head(&self, path: impl AsRef<str>) -> Ask {
        self.client.head(path).by("anna")
    }

    /// Stops it as SIGTERM does: what is to be written is written.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.drain().await;
        }
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces the access list as an operator's tools do: a new file, renamed over the old one.
    pub fn replace_projects(&self, text: &str) {
        let new = self.directory().join("projects.toml.new");
        std::fs::write(&new, text).expect("it is written");
        std::fs::rename(new, self.directory().join("projects.toml")).expect("it is renamed");
    }

    /// The access log so far.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.directory().join("access.log")).unwrap_or_default();
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect()
    }

    /// The metrics as they are scraped.
    pub async fn metrics(&self) -> String {
        self.admin()
            .get("/metrics")
            .answer()
            .await
            .text()
            .to_owned()
    }
}

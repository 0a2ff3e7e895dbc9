//! A root of local files, with a file beside it that nobody may see.

use std::fs;
use std::path::PathBuf;

use lockgate::backend::config::LocalConfig;
use lockgate::backend::local::Local;
use tempfile::TempDir;

use super::gateway::{Gateway, Setup};
use super::shop::{Kind, Shop};
use super::{PATIENCE, uri};

pub struct Disk(TempDir);

impl Disk {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("root")).expect("a root");
        fs::write(directory.path().join("secret.txt"), "a secret").expect("a file");
        Self(directory)
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub async fn gateway(&self) -> Gateway {
        let setup = Setup::over(&self.section()).set("cache.metadata_max_age", "0s");
        setup.start().await
    }

    pub fn backend(&self) -> Local {
        Local::new(LocalConfig { root: self.root() }, PATIENCE)
    }
}

/// Written beside and renamed, as tools that replace files do.
impl Shop for Disk {
    fn kind(&self) -> Kind {
        Kind::Local
    }

    fn section(&self) -> String {
        format!("kind = 'local'\nroot = '{}'\n", self.root().display())
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let path = self.at(key);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        let new = self.0.path().join("new");
        fs::write(&new, bytes).expect("it is written");
        fs::rename(new, path).expect("it is renamed");
    }

    async fn remove(&self, key: &str) {
        fs::remove_file(self.at(key)).expect("it is removed");
    }

    fn uris(&self, key: &str) -> Vec<String> {
        vec![
            format!("local://media/{key}"),
            format!("/data/local-files/?d={}", uri::key(key)),
            format!("/data/local-files?d={}", uri::percent(key)),
        ]
    }
}

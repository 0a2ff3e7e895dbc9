//! Any store that a test can fill, so that one list of points is asked of all.

use super::client::Client;

/// What kind of storage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    S3,
    /// S3, but for what this server of it has of its own.
    Garage,
    Gcs,
    Azure,
    Databricks,
    Redis,
    Local,
}

/// What becomes of a URL that it hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presigns {
    /// It hands out none.
    Never,
    /// The server refuses it once it has ended.
    UntilItsEnd,
    /// The emulator looks at no end: this field of the query has its life in seconds.
    For(&'static str),
}

/// A store. Its storage is `media` in the gateway before it.
pub trait Shop {
    fn kind(&self) -> Kind;
    /// The keys of a `[[storage]]` section.
    fn section(&self) -> String;
    /// Stores an object; one that is there already becomes another version.
    async fn put(&self, key: &str, bytes: Vec<u8>);
    async fn remove(&self, key: &str);
    /// Every media URI of a key: each dialect that can name it, the plainest first.
    fn uris(&self, key: &str) -> Vec<String>;

    /// The plainest media URI of a key.
    fn uri(&self, key: &str) -> String {
        self.uris(key).swap_remove(0)
    }

    /// Whether it hands out URLs.
    fn presigns(&self) -> Presigns {
        Presigns::Never
    }

    /// The keys of a `[[storage]]` section that hands out URLs.
    fn signing_section(&self) -> String {
        self.section()
    }

    /// Status and body of a GET of a URL that it handed out.
    async fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        let answer = Client::new("").get(url).answer().await;
        (answer.status, answer.body.to_vec())
    }
}

//! What every section needs while it is read: the document, the place paths start from, the environment, and where
//! mistakes, warnings and files to watch are collected.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Value;
use url::Url;

use super::raw::SecretRef;
use super::units::Span;
use crate::located::{Document, Located};
use crate::secret::Secret;

/// Secrets and keys are small; what is larger is another file by mistake.
const MAX_SECRET_FILE: u64 = 1 << 20;

pub struct Reader<'a> {
    document: &'a Document,
    directory: &'a Path,
    environment: &'a HashMap<String, String>,
    pub problems: Vec<Located>,
    pub warnings: Vec<String>,
    pub files: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub fn new(
        document: &'a Document,
        directory: Option<&'a Path>,
        environment: &'a HashMap<String, String>,
    ) -> Self {
        Self {
            document,
            directory: directory.unwrap_or(Path::new("")),
            environment,
            problems: vec![],
            warnings: vec![],
            files: vec![],
        }
    }

    /// The environment, for what providers' own tools read from it.
    pub fn environment(&self) -> &'a HashMap<String, String> {
        self.environment
    }

    /// Reads a section; one that is left out is read as an empty one, so that its missing keys are named.
    pub fn section<T: DeserializeOwned>(&mut self, key: &str, written: Option<Value>) -> Option<T> {
        let written = written.unwrap_or_else(|| Value::Table(toml::Table::new()));
        let read = self.document.read_part(key, written);
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.document.at(key, message));
    }

    pub fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.warnings
            .push(self.document.at(key, message).to_string());
    }

    /// The key of a storage's root, by the storage's id.
    pub fn key_of_root(&self, id: &str) -> String {
        let storages = self
            .document
            .tree()
            .get("storage")
            .and_then(Value::as_array);
        let is_it = |storage: &Value| storage.get("id").and_then(Value::as_str) == Some(id);
        let index = storages.and_then(|storages| storages.iter().position(is_it));
        index.map_or("storage".to_owned(), |index| {
            format!("storage[{index}].root")
        })
    }

    /// Paths are relative to the configuration file's directory.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.directory.join(written)
    }

    /// A file that must be there and is to be watched.
    pub fn file(&mut self, key: &str, written: &Path) -> PathBuf {
        let path = self.path(written);
        if !path.is_file() {
            self.problem(key, format!("no such file: {}", path.display()));
        }
        self.files.push(path.clone());
        path
    }

    /// A duration with its default, within bounds.
    pub fn span(
        &mut self,
        key: &str,
        written: Option<Span>,
        default: Duration,
        bounds: std::ops::RangeInclusive<Duration>,
    ) -> Duration {
        let span = written.map_or(default, |span| span.0);
        if !bounds.contains(&span) {
            let (least, most) = bounds.into_inner();
            self.problem(key, format!("must be from {least:?} to {most:?}"));
        }
        span
    }

    /// A name that may be left out; an empty one is no way to do that.
    pub fn not_empty(&mut self, key: &str, written: Option<&String>) {
        if written.is_some_and(String::is_empty) {
            self.problem(key, "is empty; leave it out");
        }
    }

    /// An `http(s)://` URL with a host and nothing that does not belong in a configuration.
    pub fn url(&mut self, key: &str, written: &str) -> Option<Url> {
        let usable = Url::parse(written).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        if usable.is_none() {
            self.problem(
                key,
                "expected an http:// or https:// URL without user and fragment",
            );
        }
        usable
    }

    /// A secret's value, with a warning where it stands in the file itself.
    pub fn secret(&mut self, key: &str, written: Option<SecretRef>) -> Option<Secret> {
        if matches!(written, Some(SecretRef::Plain(_))) {
            self.warn(
                key,
                "a secret in plain text; { env = \"NAME\" } or { file = \"path\" } keeps it out of here",
            );
        }
        self.public(key, written)
    }

    /// What is given as a secret may be, and is none: a public key, an access key's id.
    pub fn public(&mut self, key: &str, written: Option<SecretRef>) -> Option<Secret> {
        let value = match written? {
            SecretRef::Plain(text) => Ok(text),
            SecretRef::Env(name) => match self.environment.get(&name) {
                Some(value) => Ok(value.clone()),
                None => Err(format!("the environment variable {name} is not set")),
            },
            SecretRef::File(file) => self.secret_file(&self.path(&file)),
        };
        match value {
            Ok(text) if text.is_empty() => self.problem(key, "the secret is empty"),
            Ok(text) => return Some(Secret::new(text)),
            Err(message) => self.problem(key, message),
        }
        None
    }

    fn secret_file(&mut self, path: &Path) -> Result<String, String> {
        self.files.push(path.to_owned());
        let unreadable = |error| format!("{} cannot be read: {error}", path.display());
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_SECRET_FILE {
            return Err(format!("{} is too large for a secret", path.display()));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

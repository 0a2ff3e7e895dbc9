//! The configuration: one TOML file and the environment in, the rooms' own sections out, validated.
//!
//! Roof: composes the sections that the rooms own and imports none of their doings. Reads files (itself, secrets), and
//! opens no socket. Every mistake is collected and named by file, line and key, or by environment variable.
//!
//! Environment, from strongest to weakest:
//! 1. `LOCKGATE__SECTION__KEY`, as in `LOCKGATE__SERVER__LISTEN` or `LOCKGATE__AUTH__JWT__HMAC_SECRET__ENV`; a storage
//!    by its id, upper-cased, with `_` for whatever is no letter or digit: `LOCKGATE__STORAGE__MY_BUCKET__REGION`.
//!    A value is text; a list, a table, a number or a boolean is written as TOML writes it.
//! 2. the file
//! 3. Label Studio's own variables: `RESOLVER_PROXY_MAX_RANGE_SIZE` (bytes), `RESOLVER_PROXY_TIMEOUT` (seconds),
//!    `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED` with `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`,
//!    `AZURE_BLOB_ACCOUNT_NAME` and `AZURE_BLOB_ACCOUNT_KEY`. Below them stands what identifies a workload: Azure's
//!    `AZURE_*` and `IDENTITY_*`, and Google's application default (`GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own
//!    file), which is a file to watch; and OpenTelemetry's `OTEL_*`, which say where traces go. The variables of AWS's SDK (`AWS_*`) are read by those who sign, not here.

mod access;
mod auth;
mod disk;
mod environment;
mod raw;
mod reader;
mod sections;
mod storage;
mod telemetry;
pub mod units;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::auth::AuthConfig;
use crate::authority::AccessConfig;
use crate::backend::config::{BackendConfig, Hedge};
use crate::cache::CacheConfig;
use crate::cache::disk::DiskConfig;
use crate::content::ContentConfig;
use crate::ids::StorageId;
use crate::located::{Document, Located, Problems};
use crate::project::Delivery;
use crate::serve::{DeliveryConfig, ServerConfig};
use crate::telemetry::{AuditConfig, OtlpConfig};

pub use disk::served_by;
use reader::Reader;

/// A whole configuration that holds together.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: ServerConfig,
    /// `[delivery]`, but for `presign_expiry`, which stands with each storage.
    pub delivery: DeliveryConfig,
    /// `[auth]`; none where Label Studio judges credentials.
    pub auth: Option<AuthConfig>,
    /// `[access]`.
    pub access: AccessConfig,
    /// `[cache]`.
    pub cache: CacheConfig,
    /// `[cache.disk]`, where there is one.
    pub disk: Option<DiskConfig>,
    /// `[cache]`'s part for the reader.
    pub content: ContentConfig,
    /// `[[storage]]`, in the order written.
    pub storages: Vec<StorageConfig>,
    /// `[log]`.
    pub log: LogConfig,
    /// `[telemetry] otlp`: where traces go; none: nowhere.
    pub otlp: Option<OtlpConfig>,
}

/// One `[[storage]]`.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Its id, unique.
    pub id: StorageId,
    /// How to reach it.
    pub backend: BackendConfig,
    /// Keys must lie below this, as written; empty for the whole bucket.
    pub prefix: Arc<str>,
    /// Keys must match this as well, where one is set: anywhere in the whole key, unless `^` and `$` bind it.
    pub pattern: Option<Regex>,
    /// How its media reaches the annotator.
    pub delivery: Delivery,
    /// The life of a presigned URL, from 1 s to 7 days.
    pub presign_expiry: Duration,
    /// When a slow request is sent a second time; none: never.
    pub hedge: Option<Hedge>,
}

impl PartialEq for StorageConfig {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.backend == other.backend
            && self.prefix == other.prefix
            && self.pattern.as_ref().map(Regex::as_str) == other.pattern.as_ref().map(Regex::as_str)
            && self.delivery == other.delivery
            && self.presign_expiry == other.presign_expiry
            && self.hedge == other.hedge
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where the access log goes (`log.access`, default stdout).
    pub access: AccessLog,
    /// What else is logged, in `tracing`'s filter syntax (`log.level`, default `info`).
    pub level: String,
    /// Where who was shown what is written (`log.audit`); none: nowhere.
    pub audit: Option<AuditConfig>,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// `"stdout"`.
    Stdout,
    /// `"off"`.
    Off,
    /// A file, appended to.
    File(PathBuf),
}

/// A configuration, and what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works and should not stay: for the log at start. Each names its place.
    pub warnings: Vec<String>,
    /// What to watch: the configuration itself, secrets' files, TLS files.
    pub files: Vec<PathBuf>,
}

/// Where a configuration comes from.
#[derive(Clone, Default)]
pub struct Source {
    /// The file's name, for messages and as the place that relative paths start from; `None`: the working directory.
    pub file: Option<PathBuf>,
    /// What stands in it.
    pub text: String,
    /// The environment, all of it.
    pub environment: Vec<(String, String)>,
}

/// Loads `file` with `environment` (usually `std::env::vars()`) over it. All mistakes come at once.
pub fn load(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    load_naming(file, environment, &mut Vec::new())
}

/// [`load`], and which files are named goes into `named` also where there are mistakes: what is missing may come.
pub fn load_naming(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    named: &mut Vec<PathBuf>,
) -> Result<Loaded, Problems> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Located::file(
            file.display().to_string(),
            format!("cannot be read: {error}; --config FILE names another one"),
        )
    })?;
    Source {
        file: Some(file.to_owned()),
        text,
        environment: environment.into_iter().collect(),
    }
    .load_naming(named)
}

impl Source {
    /// Makes the configuration of it. All mistakes come at once.
    pub fn load(&self) -> Result<Loaded, Problems> {
        self.load_naming(&mut Vec::new())
    }

    /// [`Self::load`], as [`load_naming`] is [`load`].
    pub fn load_naming(&self, named: &mut Vec<PathBuf>) -> Result<Loaded, Problems> {
        let name = self.file.as_ref().map(|file| file.display().to_string());
        let mut document = Document::parse(name.as_deref(), &self.text)?;
        let environment = self.environment.iter().cloned().collect();
        let merged = environment::merge(&mut document, &environment);
        let root: raw::Root = document.read()?;

        let directory = self.file.as_deref().and_then(Path::parent);
        let mut reader = Reader::new(&document, directory, &environment);
        reader.problems.extend(merged.problems);
        reader.warnings.extend(merged.warnings);
        let files = self.file.iter().cloned();
        reader.files.extend(files);
        let composed = compose(&mut reader, root);
        named.clone_from(&reader.files);
        match composed {
            Some(config) if reader.problems.is_empty() => Ok(Loaded {
                config,
                warnings: reader.warnings,
                files: reader.files,
            }),
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// Reads every section before giving up on any, so that all mistakes are named at once.
fn compose(reader: &mut Reader<'_>, root: raw::Root) -> Option<Config> {
    let mut server = sections::server(reader, root.server);
    let upstream = server.as_ref().and_then(|server| server.upstream.clone());
    let access = access::access(reader, root.access, upstream.as_ref());
    let label_studio = access.as_ref().and_then(AccessConfig::label_studio);
    let has_auth = root.auth.is_some();
    let auth = match label_studio {
        Some(_) => Some(None),
        // Whether it is needed cannot be told while `access` has mistakes.
        None if access.is_none() && !has_auth => None,
        None => {
            let tls = server.as_ref().is_some_and(|server| server.tls.is_some());
            auth::auth(reader, root.auth, tls).map(Some)
        }
    };
    let cache = sections::cache(reader, root.cache);
    let delivery = sections::delivery(reader, root.delivery);
    let log = sections::log(reader, root.log);
    let otlp = telemetry::otlp(reader, root.telemetry);
    let (allow_proxy, presign_expiry) = delivery.as_ref().map_or(
        (true, sections::DEFAULT_PRESIGN_EXPIRY),
        |(delivery, presign_expiry)| (delivery.allow_proxy, *presign_expiry),
    );
    let storages = storage::storages(reader, root.storage, allow_proxy, presign_expiry);
    if let Some(label_studio) = label_studio {
        access::check_label_studio(reader, &storages, allow_proxy, has_auth);
        // Whoever is asked who may see what also answers what is no media.
        if let Some(server) = &mut server {
            server.upstream.get_or_insert(label_studio.url.clone());
        }
    }
    let (cache, disk, content) = cache?;
    if let Some(disk) = &disk {
        disk::check(reader, disk, &storages);
    }
    let mut own = reader.files.clone();
    own.extend(
        access
            .as_ref()
            .and_then(|access| access.file().map(Path::to_owned)),
    );
    if let Some(log) = &log {
        own.extend(log.audit.iter().map(|audit| audit.path.clone()));
        if let AccessLog::File(file) = &log.access {
            own.push(file.clone());
        }
    }
    disk::check_own_files(reader, &own, &storages);
    Some(Config {
        server: server?,
        delivery: delivery?.0,
        auth: auth?,
        access: access?,
        cache,
        disk,
        content,
        storages,
        log: log?,
        otlp: otlp?,
    })
}

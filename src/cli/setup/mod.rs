//! `lockgate setup`: what to grant for a storage and its delivery, ready to paste, and no more than that.
//!
//! Asks nobody and changes nothing. What Lockgate cannot know stands in CAPITALS, and is said once.

mod aws;
mod azure;
mod databricks;
mod gcs;
mod redis;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::CliError;
use crate::backend::config::BackendConfig;
use crate::config::{Config, StorageConfig};
use crate::project::Delivery;

/// What a browser may ask a storage for, and see of its answer, when it was sent there (redirect mode).
const ALLOWED_HEADERS: &[&str] = &["Range", "If-Range", "If-None-Match"];
const EXPOSED_HEADERS: &[&str] = &[
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
];
/// How long a browser may remember what CORS allows, in seconds.
const MAX_AGE_SECONDS: u32 = 3600;

/// The arguments of `lockgate setup`.
#[derive(Debug, Default, clap::Args)]
pub struct SetupArgs {
    /// The storage.
    #[arg(long, value_name = "ID")]
    storage: String,
    /// Who Lockgate is for the provider: a role's ARN, a service account, an application's id.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Allow listing as well, which `ls` and `check` use and serving does not.
    #[arg(long)]
    list: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What the grants are for, whoever the provider is.
struct Wanted<'a> {
    /// Keys below this, ending with a slash; empty for all.
    prefix: String,
    /// Whether browsers are sent to the storage itself.
    redirect: bool,
    /// The origins that they come from.
    origins: &'a [String],
    principal: Option<&'a str>,
    list: bool,
}

/// One thing to paste or to run.
#[derive(Debug, Serialize)]
struct Part {
    /// What it is, stable.
    name: &'static str,
    /// Where it belongs, and when it is needed.
    purpose: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    /// A document, by a file's name that the commands know it by.
    Document { file: &'static str, json: Value },
    /// Lines for a shell, or for a query editor.
    Commands(String),
}

/// Everything to grant for one storage.
#[derive(Debug, Serialize)]
struct Setup {
    storage: String,
    kind: &'static str,
    delivery: &'static str,
    parts: Vec<Part>,
}

/// Prints what to grant.
///
/// # Errors
/// The configuration's mistakes, and a storage that is not configured.
pub fn run(config: &Path, args: &SetupArgs) -> Result<ExitCode, CliError> {
    let loaded = super::load(config)?;
    let storage = super::storage(&loaded.config, &args.storage)?;
    let setup = setup(&loaded.config, storage, args);
    if args.json {
        super::print_json(&setup);
    } else {
        super::print(&setup.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn setup(config: &Config, storage: &StorageConfig, args: &SetupArgs) -> Setup {
    let wanted = Wanted {
        prefix: super::check::advice::ending_at_component(&storage.prefix),
        redirect: storage.delivery == Delivery::Redirect,
        origins: &config.server.allowed_origins,
        principal: args.principal.as_deref(),
        list: args.list,
    };
    let parts = parts(storage, &wanted);
    Setup {
        storage: storage.id.to_string(),
        kind: super::kind(storage),
        delivery: storage.delivery.as_str(),
        parts,
    }
}

fn parts(storage: &StorageConfig, wanted: &Wanted<'_>) -> Vec<Part> {
    match &storage.backend {
        BackendConfig::S3(s3) => aws::parts(s3, wanted),
        BackendConfig::Local(local) => vec![Part {
            name: "permissions",
            purpose: "reading for the user that Lockgate runs as, here lockgate".into(),
            content: Content::Commands(format!(
                "setfacl -R -m u:lockgate:rX {}",
                shell(&local.root.display().to_string())
            )),
        }],
        BackendConfig::Azure(azure) => azure::parts(&azure.account, &azure.container, wanted),
        BackendConfig::Gcs(gcs) => gcs::parts(&gcs.bucket, wanted),
        BackendConfig::Databricks(databricks) => databricks::parts(&databricks.volume, wanted),
        BackendConfig::Redis(redis) => redis::parts(redis, wanted),
    }
}

/// The CORS rules that let pages of these origins read, and how they are put in force, on one line: for `check`.
pub(super) fn cors(storage: &StorageConfig, origins: &[&str]) -> String {
    let origins: Vec<_> = origins.iter().map(|&origin| origin.to_owned()).collect();
    let wanted = Wanted {
        prefix: String::new(),
        redirect: true,
        origins: &origins,
        principal: None,
        list: false,
    };
    let parts = parts(storage, &wanted);
    let cors = parts.iter().filter(|part| part.name.starts_with("cors"));
    let lines: Vec<_> = cors
        .map(|part| match &part.content {
            Content::Document { file, json } => format!("{file}: {json}"),
            Content::Commands(lines) => lines.clone(),
        })
        .collect();
    lines.join("; then ")
}

impl Wanted<'_> {
    /// Who Lockgate is, or the word that stands for it.
    fn principal<'a>(&'a self, unknown: &'a str) -> &'a str {
        self.principal.unwrap_or(unknown)
    }

    /// The origins, or the word that stands for them.
    fn origins(&self) -> Vec<&str> {
        match self.origins {
            [] => vec!["https://EDITOR"],
            origins => origins.iter().map(String::as_str).collect(),
        }
    }
}

/// A word as a shell takes it, whatever is in it (POSIX, "Single-Quotes").
fn shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=,".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (storage, kind, delivery) = (&self.storage, self.kind, self.delivery);
        writeln!(
            f,
            "# What storage {storage} ({kind}, delivery by {delivery}) needs, and no more."
        )?;
        for part in &self.parts {
            writeln!(f, "\n# {}: {}", part.name, part.purpose)?;
            match &part.content {
                Content::Document { file, json } => writeln!(f, "# {file}\n{json:#}")?,
                Content::Commands(lines) => writeln!(f, "{lines}")?,
            }
        }
        Ok(())
    }
}

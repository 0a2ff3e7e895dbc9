//! `lockgate check`: validates the configuration and tries each storage step by step; each failure says what to change.
//!
//! Reads at most a byte of media, writes nothing anywhere, and prints no secret and no presigned URL.

pub(super) mod advice;
mod azure;
mod disk;
mod gcs;
mod label_studio;
mod local;
mod network;
mod object;
mod other;
mod postgres;
mod provider;
mod redirect;
mod remote;
mod report;
mod s3;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use super::CliError;
use crate::app;
use crate::auth::{AuthConfig, Authenticator};
use crate::authority::AccessSource;
use crate::authority::file::FileAuthority;
use crate::backend::config::BackendConfig;
use crate::backend::http::HttpClient;
use crate::config::{Config, Loaded, StorageConfig};
use crate::located::Problems;
use crate::media_uri::MediaUri;
use crate::resolve::{StorageRule, Storages};
use crate::serve::tls::Tls;

use report::{Report, Step, StorageReport};

/// The arguments of `lockgate check`.
#[derive(Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Try this storage alone.
    #[arg(long, value_name = "ID")]
    storage: Option<String>,
    /// Read this media as a test; without it, the first object below each storage's prefix.
    #[arg(long, value_parser = super::media_uri)]
    uri: Option<MediaUri>,
    /// Print JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Checks and prints what was found.
///
/// # Errors
/// A `--storage` that the configuration does not have. Every other mistake is part of the report.
pub async fn run(config: &Path, args: &CheckArgs) -> Result<ExitCode, CliError> {
    let report = match super::load(config) {
        Ok(loaded) => check(config, &loaded, args).await?,
        Err(problems) if args.json => Report::broken(&problems),
        Err(problems) => return Err(problems.into()),
    };
    if args.json {
        super::print_json(&report);
    } else {
        super::print(&report.to_string());
    }
    Ok(match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn check(file: &Path, loaded: &Loaded, args: &CheckArgs) -> Result<Report, CliError> {
    let config = &loaded.config;
    let rules = app::storage_rules(config);
    let chosen = chosen(config, &rules, args)?;
    let mut configuration = configuration(file, loaded).await;
    if let Some(uri) = &args.uri {
        configuration.push(held(uri, &chosen));
    }
    let mut storages = vec![];
    for (storage, rule) in &chosen {
        let mut steps: Vec<Step> = unbound_pattern(storage).into_iter().collect();
        steps.extend(check_storage(config, storage, rule, args.uri.as_ref()).await);
        storages.push(StorageReport {
            id: storage.id.to_string(),
            kind: super::kind(storage),
            steps,
        });
    }
    let access = match &config.access.source {
        AccessSource::LabelStudio(studio) => label_studio::steps(studio).await,
        AccessSource::Postgres(database) => postgres::steps(config, database).await,
        AccessSource::File(list) => access_list(config, list),
    };
    Ok(Report::new(configuration, access, storages))
}

/// What the configuration itself needs: that it is whole, and the files and keys it points to.
async fn configuration(file: &Path, loaded: &Loaded) -> Vec<Step> {
    let config = &loaded.config;
    let summary = format!("{}: storages {}", file.display(), config.storages.len());
    let mut steps = vec![Step::ok("parse", summary)];
    let warnings = loaded.warnings.iter();
    steps.extend(warnings.map(|warning| Step::warning("parse", warning)));
    if let Some(files) = &config.server.tls {
        let advice =
            "correct server.tls: the chain with the server's own certificate first, and its key";
        steps.push(match Tls::load(files) {
            Ok(_) => Step::ok("tls", files.certificate.display().to_string()),
            Err(error) => Step::failed("tls", super::with_causes(&error), advice),
        });
    }
    if let Some(auth) = &config.auth {
        steps.push(keys(auth).await);
    }
    steps.extend(config.disk.as_ref().map(disk::check));
    steps
}

/// Takes the keys that tokens are verified with, and fetches the issuer's key set, as a start would.
async fn keys(auth: &AuthConfig) -> Step {
    let authenticator = match Authenticator::new(auth.clone()) {
        Ok(authenticator) => authenticator,
        Err(error) => {
            let advice = format!("correct auth.jwt.{}", error.key());
            return Step::failed("keys", super::with_causes(&error), advice);
        }
    };
    let Some(url) = &auth.jwks_url else {
        return Step::ok("keys", "those of auth.jwt can be used");
    };
    authenticator.loaded().await;
    match authenticator.ready() {
        true => Step::ok("keys", format!("{url} was fetched")),
        false => Step::failed(
            "keys",
            format!("{url} cannot be fetched, or holds no key set"),
            "correct jwks_url, and let this machine reach it",
        ),
    }
}

type Chosen<'a> = (&'a StorageConfig, &'a StorageRule);

fn chosen<'a>(
    config: &'a Config,
    rules: &'a Storages,
    args: &CheckArgs,
) -> Result<Vec<Chosen<'a>>, CliError> {
    let asked = |storage: &StorageConfig| {
        let only = args.storage.as_deref();
        only.is_none_or(|only| only == storage.id.as_str())
    };
    let storages = config.storages.iter().filter(|storage| asked(storage));
    let chosen: Vec<_> = storages
        .filter_map(|storage| Some((storage, rules.get(&storage.id)?)))
        .collect();
    match &args.storage {
        Some(id) if chosen.is_empty() => Err(CliError::Usage(format!(
            "no storage has the id {id:?}; configured: {}",
            super::storage_ids(config)
        ))),
        _ => Ok(chosen),
    }
}

/// Whether any of the storages answers to the URI: it would be a mistake to leave it untried without a word.
fn held(uri: &MediaUri, chosen: &[Chosen<'_>]) -> Step {
    let named = chosen
        .iter()
        .find(|(_, rule)| rule.names.key(&rule.id, uri).is_some());
    let holder = chosen.iter().find(|(_, rule)| rule.key(uri).is_some());
    match (holder, named) {
        (Some((storage, _)), _) => Step::ok("uri", format!("names an object of {}", storage.id)),
        (None, Some((storage, _))) => Step::failed(
            "uri",
            format!("lies outside the prefix or the pattern of {}", storage.id),
            "correct --uri, or the storage's prefix and pattern: they are access boundaries",
        ),
        (None, None) => Step::failed(
            "uri",
            "names an object of none of these storages",
            "compare its bucket (or its host) with bucket and endpoint; names are case-sensitive",
        ),
    }
}

fn access_list(config: &Config, list: &Path) -> Vec<Step> {
    let file = list.display();
    let opened = FileAuthority::open(list.to_owned(), config.access.media);
    let checked = opened.and_then(|authority| {
        let ids: Vec<_> = config.storages.iter().map(|s| s.id.clone()).collect();
        authority.check_storages(&ids)?;
        Ok(authority.size())
    });
    match checked {
        Ok((projects, tasks)) => vec![Step::ok(
            "parse",
            format!("{file}: projects {projects}, tasks {tasks}"),
        )],
        Err(problems) => mistakes(&problems),
    }
}

/// A step for each located mistake.
fn mistakes(problems: &Problems) -> Vec<Step> {
    let problems = problems.0.iter();
    problems
        .map(|problem| Step::mistake("parse", problem))
        .collect()
}

/// A pattern is an access boundary, and is searched for in the whole key: one that may begin anywhere may let through
/// more than was meant.
fn unbound_pattern(storage: &StorageConfig) -> Option<Step> {
    let pattern = storage.pattern.as_ref()?.as_str();
    let bound = pattern.starts_with('^') || pattern.starts_with("\\A");
    let note = "matches anywhere in the key; begin it with ^ to bind it to the key's beginning";
    (!bound).then(|| Step::warning("pattern", format!("{pattern:?} {note}")))
}

async fn check_storage(
    config: &Config,
    storage: &StorageConfig,
    rule: &StorageRule,
    uri: Option<&MediaUri>,
) -> Vec<Step> {
    let stall_timeout = config.delivery.stall_timeout;
    let parts = match app::backend(storage, stall_timeout) {
        Ok(parts) => parts,
        Err(error) => {
            let advice = "correct ca_file, or install the system's certificates";
            return vec![Step::failed("tls", error.to_string(), advice)];
        }
    };
    let objects = object::Objects {
        storage,
        rule,
        backend: &*parts.backend,
        key: uri.map(|uri| rule.key(uri)),
    };
    let client = match &storage.backend {
        BackendConfig::Local(local) => return local::check(local, &objects).await,
        BackendConfig::S3(_)
        | BackendConfig::Azure(_)
        | BackendConfig::Gcs(_)
        | BackendConfig::Databricks(_)
        | BackendConfig::Redis(_) => HttpClient::new(storage.backend.ca_file(), stall_timeout),
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Step::failed("tls", error.to_string(), "correct ca_file")],
    };
    let presign = parts.presign.as_deref();
    remote::check(&objects, presign, &config.server.allowed_origins, &client).await
}

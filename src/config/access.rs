//! What `[access]` means: who says who may see what, and what goes with each source.

use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use toml::Value;
use url::Url;

use super::StorageConfig;
use super::raw;
use super::reader::Reader;
use super::sections::DAY;
use crate::authority::postgres::config::{MAX_CONNECTIONS, Verify};
use crate::authority::{AccessConfig, AccessSource, LabelStudioConfig, PostgresConfig};
use crate::resolve::{APPLICATION, LABEL_STUDIO};

/// `upstream`: `server.upstream`, where Label Studio is when nothing else is said.
pub fn access(
    reader: &mut Reader<'_>,
    written: Option<Value>,
    upstream: Option<&Url>,
) -> Option<AccessConfig> {
    let access: raw::Access = reader.section("access", written)?;
    let max_age = reader.span(
        "access.max_age",
        access.max_age,
        Duration::from_secs(5),
        Duration::ZERO..=DAY,
    );
    let media = access.media;
    let file = access.file.as_deref().unwrap_or(Path::new(""));
    let source = match access.source.unwrap_or(raw::AccessSource::File) {
        raw::AccessSource::File => list(reader, file),
        raw::AccessSource::Postgres => {
            if access.file.is_some() {
                let message = "not used: the database says who may see what; lockgate db import reads it into there";
                reader.warn("access.file", message);
            }
            postgres(reader, access.postgres.unwrap_or_default())?
        }
        raw::AccessSource::LabelStudio => {
            if access.file.is_some() {
                reader.warn(
                    "access.file",
                    "not used: Label Studio says who may see what",
                );
            }
            let sections = [access.label_studio, access.hyphen];
            label_studio(reader, sections.into_iter().flatten(), upstream)?
        }
    };
    Some(AccessConfig {
        source,
        media,
        max_age,
    })
}

fn list(reader: &mut Reader<'_>, file: &Path) -> AccessSource {
    if file == Path::new("") {
        reader.problem(
            "access.file",
            "is missing: the access list, like \"projects.toml\"",
        );
    }
    AccessSource::File(reader.path(file))
}

fn postgres(reader: &mut Reader<'_>, section: raw::Postgres) -> Option<AccessSource> {
    const URL: &str = "access.postgres.url";
    let ca_file = section.ca_file.as_deref();
    let ca_file = ca_file.map(|file| reader.file("access.postgres.ca_file", file));
    let password = reader.secret("access.postgres.password", section.password);
    let Some(written) = section.url else {
        let message = "is missing: where the access lists are, like { env = \"LOCKGATE_DATABASE_URL\" } with \
                       postgres://lockgate:password@host:5432/database?sslmode=verify-full in it";
        reader.problem(URL, message);
        return None;
    };
    let plain = matches!(written, raw::SecretRef::Plain(_));
    // A URL is a secret where a password stands in it, and not else.
    let url = reader.public(URL, Some(written))?;
    let mut config = match PostgresConfig::parse(&url) {
        Ok(config) => config,
        Err(error) => {
            reader.problem(URL, error.to_string());
            return None;
        }
    };
    if plain && config.server.get_password().is_some() {
        let message = "a password in plain text; password = { env = \"NAME\" } or url = { env = \"NAME\" } keeps it out of here";
        reader.warn(URL, message);
    }
    if config.believes_anybody() {
        let message = "whoever is on the path could answer for the database: add ?sslmode=verify-full, and ca_file \
                       where its authority is not among the system's";
        reader.warn(URL, message);
    }
    if let Some(password) = password {
        config.server.password(password.expose());
    }
    let in_url = config.ca_file.take();
    config.ca_file = ca_file.or_else(|| in_url.map(|file| reader.file(URL, &file)));
    // As it is with libpq: who names an authority wants it verified.
    if config.ca_file.is_some() && config.verify == Verify::Nothing {
        config.verify = Verify::Authority;
        config.server.ssl_mode(SslMode::Require);
    }
    if let Some(connections) = section.connections {
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            let message = format!("must be from 1 to {MAX_CONNECTIONS}");
            reader.problem("access.postgres.connections", message);
        }
        config.connections = connections;
    }
    Some(AccessSource::Postgres(Box::new(config)))
}

fn label_studio(
    reader: &mut Reader<'_>,
    sections: impl Iterator<Item = raw::LabelStudio>,
    upstream: Option<&Url>,
) -> Option<AccessSource> {
    const KEY: &str = "access.label_studio";
    let section = sections.fold(raw::LabelStudio::default(), |first, next| {
        raw::LabelStudio {
            url: first.url.or(next.url),
            ca_file: first.ca_file.or(next.ca_file),
        }
    });
    let ca_file = section.ca_file.as_deref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{KEY}.ca_file"), file));
    let url = match (&section.url, upstream) {
        (Some(written), _) => url(reader, &format!("{KEY}.url"), written)?,
        (None, Some(upstream)) => upstream.clone(),
        (None, None) => {
            let message = "is missing: where Label Studio is, like \"http://127.0.0.1:8081\" (or server.upstream, or --label-studio)";
            reader.problem(&format!("{KEY}.url"), message);
            return None;
        }
    };
    Some(AccessSource::LabelStudio(LabelStudioConfig {
        url,
        ca_file,
    }))
}

/// Its routes are below `/`, as its pages and its service worker want them.
fn url(reader: &mut Reader<'_>, key: &str, written: &str) -> Option<Url> {
    let url = reader.url(key, written)?;
    if url.path() != "/" || url.query().is_some() {
        let message = "must be scheme, host and port alone, like \"http://127.0.0.1:8081\"";
        reader.problem(key, message);
    }
    Some(url)
}

/// What does not go together with Label Studio as the source.
pub fn check_label_studio(
    reader: &mut Reader<'_>,
    storages: &[StorageConfig],
    allow_proxy: bool,
    has_auth: bool,
) {
    if has_auth {
        let message =
            "not used: with access.source = \"label-studio\" Label Studio judges credentials";
        reader.warn("auth", message);
    }
    if !allow_proxy {
        let message = "false leaves nothing to serve: what Label Studio signs for is streamed, never handed out";
        reader.problem("delivery.allow_proxy", message);
    }
    for (index, storage) in storages.iter().enumerate() {
        if [APPLICATION, LABEL_STUDIO].contains(&storage.id.as_str()) {
            let message = format!("{} is Label Studio's own here", storage.id);
            reader.problem(&format!("storage[{index}].id"), message);
        }
    }
}

//! What a `[[storage]]` means, by its kind.

mod azure;
mod databricks;
mod gcs;
mod redis;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use toml::Value;

use super::StorageConfig;
use super::raw::{self, Kind};
use super::reader::Reader;
use super::sections::presign_expiry;
use super::units;
use crate::backend::config::{BackendConfig, Hedge, LocalConfig, S3Config, StaticCredentials};
use crate::ids::StorageId;
use crate::project::Delivery;

/// At once would be a second request for each; and what takes longer is not slow but ill: the first request, which is
/// given up after ten seconds, is to be outlasted by little.
const HEDGE_AFTER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5);

pub fn storages(
    reader: &mut Reader<'_>,
    written: Vec<toml::Table>,
    allow_proxy: bool,
    default_expiry: Duration,
) -> Vec<StorageConfig> {
    let mut ids = HashSet::new();
    let mut storages = vec![];
    for (index, table) in written.into_iter().enumerate() {
        let at = format!("storage[{index}]");
        let Some(storage) = storage(reader, &at, table, default_expiry) else {
            continue;
        };
        if !ids.insert(storage.id.clone()) {
            let message = format!("two storages have the id {:?}", storage.id.as_str());
            reader.problem(&format!("{at}.id"), message);
        }
        if storage.delivery == Delivery::Proxy && !allow_proxy {
            reader.problem(
                &format!("{at}.delivery"),
                "is \"proxy\", which delivery.allow_proxy = false forbids; use \"redirect\" where the kind can",
            );
        }
        storages.push(storage);
    }
    storages
}

fn storage(
    reader: &mut Reader<'_>,
    at: &str,
    mut table: toml::Table,
    default_expiry: Duration,
) -> Option<StorageConfig> {
    let mut common = toml::Table::new();
    for key in raw::COMMON_KEYS {
        common.extend(table.remove_entry(*key));
    }
    let common: Option<raw::StorageCommon> = reader.section(at, Some(Value::Table(common)));
    let common = common?;
    let backend = backend(reader, at, common.kind, table)?;
    check_common(reader, at, &common);
    if let BackendConfig::Azure(azure) = &backend {
        azure::check_redirect(reader, at, azure, common.delivery);
    }
    let hedge = hedge(reader, at, &common);
    let pattern = common.pattern.and_then(|pattern| {
        let invalid = |error: regex::Error| format!("not a regular expression: {error}");
        let pattern = Regex::new(&pattern).map_err(invalid);
        pattern
            .map_err(|message| reader.problem(&format!("{at}.pattern"), message))
            .ok()
    });
    let presign_expiry = presign_expiry(
        reader,
        &format!("{at}.presign_expiry"),
        common.presign_expiry,
        default_expiry,
    );
    Some(StorageConfig {
        id: StorageId::new(common.id),
        backend,
        prefix: Arc::from(common.prefix),
        pattern,
        delivery: common.delivery,
        presign_expiry,
        hedge,
    })
}

/// When a slow request is sent a second time. What is read over no connection of its own has no second one.
fn hedge(reader: &mut Reader<'_>, at: &str, common: &raw::StorageCommon) -> Option<Hedge> {
    let written = common.hedge.as_deref()?;
    let at = format!("{at}.hedge");
    if matches!(common.kind, Kind::Local | Kind::Redis) {
        reader.problem(
            &at,
            "is for storages that are asked over HTTP; leave it out",
        );
    }
    if written == "p95" {
        return Some(Hedge::P95);
    }
    match units::parse_duration(written) {
        Ok(after) if HEDGE_AFTER.contains(&after) => return Some(Hedge::After(after)),
        Ok(_) => reader.problem(&at, "is no time to wait for storage: 1ms to 5s"),
        Err(_) => reader.problem(&at, "is neither \"p95\" nor a duration like \"200ms\""),
    }
    None
}

fn check_common(reader: &mut Reader<'_>, at: &str, common: &raw::StorageCommon) {
    if common.id.is_empty() {
        reader.problem(&format!("{at}.id"), "must not be empty");
    }
    if common.prefix.starts_with('/') {
        reader.problem(
            &format!("{at}.prefix"),
            "begins with a slash, and keys do not; write \"data/\", not \"/data/\"",
        );
    }
    let redirect = common.delivery == Delivery::Redirect;
    let only_proxy = match common.kind {
        Kind::Local => Some("local files have no URL to redirect to"),
        Kind::Databricks => Some("databricks is served by proxy only"),
        Kind::Redis => Some("redis has no URL to redirect to"),
        Kind::S3 | Kind::Gcs | Kind::Azure => None,
    };
    if let Some(reason) = only_proxy.filter(|_| redirect) {
        let message = format!("{reason}; use delivery = \"proxy\"");
        reader.problem(&format!("{at}.delivery"), message);
    }
}

fn backend(
    reader: &mut Reader<'_>,
    at: &str,
    kind: Kind,
    table: toml::Table,
) -> Option<BackendConfig> {
    let table = Value::Table(table);
    match kind {
        Kind::S3 => {
            let s3 = reader.section(at, Some(table))?;
            s3_config(reader, at, s3).map(|s3| BackendConfig::S3(Box::new(s3)))
        }
        Kind::Local => {
            let local: raw::Local = reader.section(at, Some(table))?;
            if local.root.as_os_str().is_empty() {
                reader.problem(
                    &format!("{at}.root"),
                    "is empty; the directory itself is \".\"",
                );
            }
            let root = reader.path(&local.root);
            Some(BackendConfig::Local(LocalConfig { root }))
        }
        Kind::Azure => {
            let azure = reader.section(at, Some(table))?;
            azure::azure_config(reader, at, azure)
                .map(|azure| BackendConfig::Azure(Box::new(azure)))
        }
        Kind::Gcs => {
            let gcs = reader.section(at, Some(table))?;
            gcs::gcs_config(reader, at, gcs).map(|gcs| BackendConfig::Gcs(Box::new(gcs)))
        }
        Kind::Databricks => {
            let written = reader.section(at, Some(table))?;
            databricks::config(reader, at, written).map(BackendConfig::Databricks)
        }
        Kind::Redis => {
            let written = reader.section(at, Some(table))?;
            redis::config(reader, at, written).map(BackendConfig::Redis)
        }
    }
}

fn s3_config(reader: &mut Reader<'_>, at: &str, s3: raw::S3) -> Option<S3Config> {
    if s3.bucket.is_empty() || s3.bucket.contains(['/', ' ', '\\']) {
        reader.problem(
            &format!("{at}.bucket"),
            "is not a bucket's name; what follows a slash belongs in prefix",
        );
    }
    let endpoint = match &s3.endpoint {
        Some(written) => Some(reader.url(&format!("{at}.endpoint"), written)?),
        None => None,
    };
    let sts_endpoint = match &s3.sts_endpoint {
        Some(written) => Some(reader.url(&format!("{at}.sts_endpoint"), written)?),
        None => None,
    };
    reader.not_empty(&format!("{at}.region"), s3.region.as_ref());
    reader.not_empty(&format!("{at}.profile"), s3.profile.as_ref());
    reader.not_empty(&format!("{at}.role_arn"), s3.role_arn.as_ref());
    check_role(reader, at, &s3);
    let ca_file = s3.ca_file.as_ref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{at}.ca_file"), file));
    let external_id = s3.external_id.clone();
    let external_id = reader.public(&format!("{at}.external_id"), external_id);
    Some(S3Config {
        path_style: s3
            .path_style
            .unwrap_or(endpoint.is_some() || s3.bucket.contains('.')),
        credentials: static_credentials(reader, at, &s3),
        bucket: s3.bucket,
        region: s3.region,
        endpoint,
        profile: s3.profile,
        role_arn: s3.role_arn,
        external_id,
        role_session_name: s3.role_session_name,
        role_duration: s3.role_duration.map(|life| life.0),
        sts_endpoint,
        ca_file,
    })
}

/// What is said when a role is assumed needs a role, and has the bounds of STS' AssumeRole.
fn check_role(reader: &mut Reader<'_>, at: &str, s3: &raw::S3) {
    let said = [
        ("external_id", s3.external_id.is_some()),
        ("role_session_name", s3.role_session_name.is_some()),
        ("role_duration", s3.role_duration.is_some()),
        ("sts_endpoint", s3.sts_endpoint.is_some()),
    ];
    if let (None, Some((key, _))) = (&s3.role_arn, said.iter().find(|(_, said)| *said)) {
        let message = format!("is missing: {key} is said when a role is assumed");
        reader.problem(&format!("{at}.role_arn"), message);
    }
    let is_name = |name: &String| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
        (2..=64).contains(&name.len()) && name.bytes().all(allowed)
    };
    if s3
        .role_session_name
        .as_ref()
        .is_some_and(|name| !is_name(name))
    {
        reader.problem(
            &format!("{at}.role_session_name"),
            "is no name for a session: 2 to 64 letters, digits or any of +=,.@_-",
        );
    }
    let hours = Duration::from_secs(900)..=Duration::from_secs(12 * 3600);
    if s3
        .role_duration
        .is_some_and(|life| !hours.contains(&life.0))
    {
        reader.problem(
            &format!("{at}.role_duration"),
            "is no time that a role can be assumed for: 15 minutes to 12 hours",
        );
    }
}

/// Both halves of an access key or neither: with neither the SDK's default chain is asked.
fn static_credentials(
    reader: &mut Reader<'_>,
    at: &str,
    s3: &raw::S3,
) -> Option<StaticCredentials> {
    let (id, secret) = (s3.access_key_id.clone(), s3.secret_access_key.clone());
    let missing = match (&id, &secret, &s3.session_token) {
        (Some(_), None, _) => Some("secret_access_key"),
        (None, Some(_), _) | (None, None, Some(_)) => Some("access_key_id"),
        _ => None,
    };
    if let Some(key) = missing {
        reader.problem(
            &format!("{at}.{key}"),
            "is missing: static credentials are access_key_id and secret_access_key",
        );
    }
    let id = reader.public(&format!("{at}.access_key_id"), id);
    let secret = reader.secret(&format!("{at}.secret_access_key"), secret);
    let token = s3.session_token.clone();
    let session_token = reader.secret(&format!("{at}.session_token"), token);
    Some(StaticCredentials {
        access_key_id: id?.expose().to_owned(),
        secret_access_key: secret?,
        session_token,
    })
}

//! The configuration as it is written: every key of every section, none of its meaning.
//!
//! Defaults and rules stand with the section that means them; here a key is there or it is not. Each storage is read
//! on its own, by its kind, so that a key of another kind is an unknown key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Value;

use super::units::{ByteSize, Span};
use crate::project::{Delivery, MediaRule};

/// The sections; each is read apart, so that one's mistake does not hide another's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    pub server: Option<Value>,
    pub auth: Option<Value>,
    pub access: Option<Value>,
    pub cache: Option<Value>,
    pub delivery: Option<Value>,
    pub log: Option<Value>,
    pub telemetry: Option<Value>,
    #[serde(default)]
    pub storage: Vec<toml::Table>,
}

/// A secret by reference (`{ env = "NAME" }`, `{ file = "path" }`) or as plain text.
#[derive(Clone)]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
    Plain(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: Option<String>,
    pub admin_listen: Option<String>,
    #[serde(default)]
    pub admin_hosts: Vec<String>,
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    pub upstream: Option<String>,
    pub tls: Option<Tls>,
    pub drain: Option<Span>,
    pub sandbox: Option<bool>,
    #[serde(default)]
    pub sandbox_paths: Vec<PathBuf>,
    #[serde(default)]
    pub cors: Cors,
    #[serde(default)]
    pub limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    pub client_ca: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificate>,
    pub hsts: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    Required,
    Optional,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    #[serde(default)]
    pub allowed_origins: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub requests_per_second: Option<u32>,
    pub concurrent_streams: Option<u32>,
    pub bandwidth: Option<ByteSize>,
    pub project: Option<Box<ProjectLimits>>,
    // Over all annotators.
    pub total_connections: Option<u32>,
    pub total_streams: Option<u32>,
    pub total_memory: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectLimits {
    pub requests_per_second: Option<u32>,
    pub concurrent_streams: Option<u32>,
    pub bandwidth: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    #[serde(default)]
    pub query_token: bool,
    /// Whether the session cookie is `Secure` and has the `__Host-` prefix; left out: where `server.tls` is set.
    pub secure_cookie: Option<bool>,
    pub jwt: Jwt,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    pub issuer: String,
    pub audience: String,
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    pub hmac_secret: Option<SecretRef>,
    pub jwks_url: Option<String>,
    pub public_key: Option<SecretRef>,
    pub private_key: Option<SecretRef>,
    pub leeway: Option<Span>,
    pub groups_claim: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessSource {
    File,
    Postgres,
    LabelStudio,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub source: Option<AccessSource>,
    pub file: Option<PathBuf>,
    pub postgres: Option<Postgres>,
    // Both spellings are the section's name; a variable and the file may use one each.
    pub label_studio: Option<LabelStudio>,
    #[serde(rename = "label-studio")]
    pub hyphen: Option<LabelStudio>,
    #[serde(default)]
    pub media: MediaRule,
    pub max_age: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    pub url: Option<SecretRef>,
    pub password: Option<SecretRef>,
    pub ca_file: Option<PathBuf>,
    pub connections: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelStudio {
    pub url: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub memory: Option<ByteSize>,
    pub disk: Option<Disk>,
    pub metadata_max_age: Option<Span>,
    pub stale_if_error: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub path: PathBuf,
    pub capacity: ByteSize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySection {
    pub presign_expiry: Option<Span>,
    pub allow_proxy: Option<bool>,
    pub max_range_size: Option<ByteSize>,
    pub cache_control: Option<String>,
    pub cross_origin_resource_policy: Option<String>,
    pub stall_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub access: Option<String>,
    pub level: Option<String>,
    pub audit: Option<PathBuf>,
    pub audit_window: Option<Span>,
    pub audit_max_size: Option<ByteSize>,
    pub audit_keep: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub otlp: Option<Otlp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    pub endpoint: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, SecretRef>,
    pub sample_ratio: Option<f64>,
    pub service_name: Option<String>,
}

/// Keys that every kind of storage has.
pub const COMMON_KEYS: &[&str] = &[
    "id",
    "kind",
    "prefix",
    "pattern",
    "delivery",
    "presign_expiry",
    "hedge",
];

/// The values of [`COMMON_KEYS`].
#[derive(Debug, Deserialize)]
pub struct StorageCommon {
    pub id: String,
    pub kind: Kind,
    #[serde(default)]
    pub prefix: String,
    /// A regular expression, searched for anywhere in the whole key (the prefix included): `clips/` also lets
    /// `private/clips/a.mp4` through. `^` and `$` bind it to the key's beginning and end.
    pub pattern: Option<String>,
    #[serde(default)]
    pub delivery: Delivery,
    pub presign_expiry: Option<Span>,
    /// `"p95"` or a duration.
    pub hedge: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    S3,
    Gcs,
    Azure,
    Databricks,
    Redis,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub bucket: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub path_style: Option<bool>,
    pub access_key_id: Option<SecretRef>,
    pub secret_access_key: Option<SecretRef>,
    pub session_token: Option<SecretRef>,
    pub profile: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<SecretRef>,
    pub role_session_name: Option<String>,
    pub role_duration: Option<Span>,
    pub sts_endpoint: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    pub root: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    pub account: Option<String>,
    pub container: String,
    pub account_key: Option<SecretRef>,
    pub sas_token: Option<SecretRef>,
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretRef>,
    pub federated_token_file: Option<PathBuf>,
    pub authority_host: Option<String>,
    pub endpoint: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    pub bucket: String,
    pub credentials: Option<SecretRef>,
    #[serde(default)]
    pub anonymous: bool,
    pub endpoint: Option<String>,
    pub iam_endpoint: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Databricks {
    pub host: String,
    pub volume: String,
    pub token: Option<SecretRef>,
    pub client_id: Option<SecretRef>,
    pub client_secret: Option<SecretRef>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    pub url: Option<SecretRef>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub db: Option<u32>,
    pub username: Option<String>,
    pub password: Option<SecretRef>,
    pub tls: Option<bool>,
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Plain(_) => f.write_str("REDACTED"),
        }
    }
}

const UNQUOTED: &str = "a secret must be a quoted string";

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
struct Reference {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = SecretRef;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a secret: { env = \"NAME\" }, { file = \"path\" } or text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretRef, E> {
                Ok(SecretRef::Plain(text.to_owned()))
            }

            // serde's own words would show the value.
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretRef, E> {
                Err(E::custom(UNQUOTED))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretRef, E> {
                Err(E::custom(UNQUOTED))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretRef, E> {
                Err(E::custom(UNQUOTED))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretRef, E> {
                Err(E::custom(UNQUOTED))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretRef, A::Error> {
                let reference = Reference::deserialize(MapAccessDeserializer::new(map))?;
                match (reference.env, reference.file) {
                    (Some(name), None) => Ok(SecretRef::Env(name)),
                    (None, Some(path)) => Ok(SecretRef::File(path)),
                    _ => Err(de::Error::custom(
                        "expected { env = \"NAME\" } or { file = \"path\" }, one of the two",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Written)
    }
}

//! The configuration as a person may see it: what is said of each section, key by key, none that holds a secret.
//!
//! A value is text, a number, `{"bytes": n}` or `{"seconds": n}`: whoever shows it writes the unit.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::backend::config::BackendConfig;
use crate::config::{AccessLog, Config};
use crate::project::MediaRule;
use crate::serve::LimitsConfig;

/// Sections in the order of the file: `[{"section": …, "entries": [[key, value], …]}, …]`.
pub(super) fn configured(config: &Config) -> Value {
    json!([
        section("server", server(config)),
        section("limits", limits(config)),
        section("access", access(config)),
        section("cache", cache(config)),
        section("delivery", delivery(config)),
        section("telemetry", telemetry(config)),
    ])
}

fn section(name: &str, entries: Vec<(&str, Value)>) -> Value {
    json!({ "section": name, "entries": entries })
}

fn server(config: &Config) -> Vec<(&'static str, Value)> {
    let server = &config.server;
    let upstream = server.upstream.as_ref().map(shown);
    vec![
        ("listen", json!(server.listen.to_string())),
        (
            "admin_listen",
            json!(server.admin_listen.map(|it| it.to_string())),
        ),
        ("tls", json!(server.tls.is_some())),
        ("upstream", json!(upstream)),
        ("drain", seconds(server.drain)),
        ("allowed_origins", json!(server.allowed_origins)),
        ("sandbox", json!(server.sandbox)),
    ]
}

fn limits(config: &Config) -> Vec<(&'static str, Value)> {
    let (server, caps) = (&config.server, &config.server.caps);
    let of = |limits: &LimitsConfig| {
        let rate = json!(limits.requests_per_second);
        let bandwidth = limits.bandwidth.map(bytes);
        (rate, json!(limits.concurrent_streams), json!(bandwidth))
    };
    let (rate, streams, bandwidth) = of(&server.limits);
    let (project_rate, project_streams, project_bandwidth) = of(&server.project_limits);
    vec![
        ("requests_per_second (annotator)", rate),
        ("concurrent_streams (annotator)", streams),
        ("bandwidth per second (annotator)", bandwidth),
        ("requests_per_second (project)", project_rate),
        ("concurrent_streams (project)", project_streams),
        ("bandwidth per second (project)", project_bandwidth),
        ("total_connections", json!(caps.connections)),
        ("total_streams", json!(caps.streams)),
        ("total_memory", bytes(caps.memory)),
    ]
}

fn access(config: &Config) -> Vec<(&'static str, Value)> {
    let access = &config.access;
    let label_studio = access.label_studio().map(|it| shown(&it.url));
    let source = match (access.file(), &label_studio) {
        (Some(_), _) => "file",
        (None, Some(_)) => "label-studio",
        (None, None) => "postgres",
    };
    let auth = config.auth.as_ref();
    vec![
        ("source", json!(source)),
        (
            "file",
            json!(access.file().map(|it| it.display().to_string())),
        ),
        ("label_studio", json!(label_studio)),
        (
            "media",
            json!(match access.media {
                MediaRule::Task => "task",
                MediaRule::Storage => "storage",
            }),
        ),
        ("max_age", seconds(access.max_age)),
        ("issuer", json!(auth.map(|auth| &auth.issuer))),
        ("audience", json!(auth.map(|auth| &auth.audience))),
        (
            "jwks_url",
            json!(auth.and_then(|auth| auth.jwks_url.as_ref()).map(shown)),
        ),
    ]
}

fn cache(config: &Config) -> Vec<(&'static str, Value)> {
    vec![
        ("memory", bytes(config.cache.memory)),
        ("metadata_max_age", seconds(config.content.metadata_max_age)),
        ("stale_if_error", seconds(config.content.stale_if_error)),
    ]
}

fn delivery(config: &Config) -> Vec<(&'static str, Value)> {
    let delivery = &config.delivery;
    vec![
        ("allow_proxy", json!(delivery.allow_proxy)),
        ("max_range_size", json!(delivery.max_range_size.map(bytes))),
        ("stall_timeout", seconds(delivery.stall_timeout)),
    ]
}

fn telemetry(config: &Config) -> Vec<(&'static str, Value)> {
    let log = match &config.log.access {
        AccessLog::Stdout => "stdout".to_owned(),
        AccessLog::Off => "off".to_owned(),
        AccessLog::File(file) => file.display().to_string(),
    };
    let audit = config.log.audit.as_ref();
    let otlp = config.otlp.as_ref();
    vec![
        ("access log", json!(log)),
        (
            "audit log",
            json!(audit.map(|audit| audit.path.display().to_string())),
        ),
        ("traces to", json!(otlp.map(|otlp| shown(&otlp.url)))),
        ("sample_ratio", json!(otlp.map(|otlp| otlp.sample_ratio))),
    ]
}

/// Where a storage is, in a few words.
pub(super) fn place(backend: &BackendConfig) -> String {
    match backend {
        BackendConfig::S3(s3) => at(&s3.bucket, s3.endpoint.as_ref()),
        BackendConfig::Local(local) => local.root.display().to_string(),
        BackendConfig::Azure(azure) => {
            let container = format!("{}/{}", azure.account, azure.container);
            at(&container, azure.endpoint.as_ref())
        }
        BackendConfig::Gcs(gcs) => at(&gcs.bucket, gcs.endpoint.as_ref()),
        BackendConfig::Databricks(databricks) => at(&databricks.volume, Some(&databricks.host)),
        BackendConfig::Redis(redis) => format!("{}:{}, db {}", redis.host, redis.port, redis.db),
    }
}

fn at(name: &str, endpoint: Option<&Url>) -> String {
    match endpoint {
        Some(endpoint) => format!("{name} at {}", shown(endpoint)),
        None => name.to_owned(),
    }
}

/// Without its query: some gateways have a key there.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // Neither can be set where there is no host, and then there is neither.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

fn bytes(bytes: u64) -> Value {
    json!({ "bytes": bytes })
}

fn seconds(duration: Duration) -> Value {
    json!({ "seconds": duration.as_secs_f64() })
}

//! What `[server]`, `[access]`, `[cache]`, `[delivery]` and `[log]` mean: defaults, bounds, rules.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use toml::Value;
use tracing_subscriber::EnvFilter;

use super::raw;
use super::reader::Reader;
use super::{AccessLog, LogConfig};
use crate::cache::CacheConfig;
use crate::cache::disk::{DiskConfig, MIN_CAPACITY};
use crate::content::ContentConfig;
use crate::serve::caps::CapsConfig;
use crate::serve::proxies::TrustedProxies;
use crate::serve::tls::Tls;
use crate::serve::{DeliveryConfig, LimitsConfig, ServerConfig, TlsFiles};
use crate::telemetry::AuditConfig;

/// The life of a presigned URL where none is configured.
pub const DEFAULT_PRESIGN_EXPIRY: Duration = Duration::from_secs(3600);
/// SigV4 accepts no longer life than 7 days, and none under a second.
const PRESIGN_EXPIRY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
/// Past a day a setting of these kinds is a mistake of the unit.
pub const DAY: Duration = Duration::from_secs(86_400);
/// Below it an audit log would be put aside every few lines.
const MIN_AUDIT_SIZE: u64 = 4 << 10;
/// Putting one aside renames each that is kept.
const MAX_AUDIT_FILES: u32 = 1000;
/// What one body may hold: with less there would be none.
const LEAST_MEMORY: u64 = 1 << 20;

pub fn server(reader: &mut Reader<'_>, written: Option<Value>) -> Option<ServerConfig> {
    let server: raw::Server = reader.section("server", written)?;
    let addresses = addresses(reader, &server);
    let upstream = server.upstream.as_deref();
    let upstream = upstream.and_then(|written| upstream_url(reader, written));
    for (index, origin) in server.cors.allowed_origins.iter().enumerate() {
        check_origin(reader, index, origin);
    }
    let hsts = server.tls.as_ref().and_then(|tls| hsts(reader, tls));
    let tls = server.tls.map(|written| tls(reader, &written));
    let drain = reader.span(
        "server.drain",
        server.drain,
        Duration::from_secs(30),
        Duration::ZERO..=DAY,
    );
    let sandbox_paths = server.sandbox_paths.iter();
    let sandbox_paths = sandbox_paths.map(|path| reader.path(path)).collect();
    let trusted_proxies = trusted_proxies(reader, &server.trusted_proxies);
    let (listen, admin_listen) = addresses?;
    Some(ServerConfig {
        listen,
        admin_listen,
        admin_hosts: server.admin_hosts,
        trusted_proxies,
        upstream,
        tls,
        drain,
        allowed_origins: server.cors.allowed_origins,
        limits: limits(reader, "server.limits", &server.limits),
        caps: caps(reader, &server.limits),
        project_limits: project_limits(reader, server.limits.project),
        hsts,
        sandbox: server.sandbox.unwrap_or(true),
        sandbox_paths,
    })
}

fn trusted_proxies(reader: &mut Reader<'_>, written: &[String]) -> TrustedProxies {
    let networks = written.iter().enumerate().filter_map(|(index, text)| {
        let network = TrustedProxies::network(text);
        if network.is_none() {
            let key = format!("server.trusted_proxies[{index}]");
            reader.problem(&key, "must be a network or an address, like \"10.0.0.0/8\"");
        }
        network
    });
    TrustedProxies(networks.collect())
}

/// A path would have to be cut from and put before every path, link and cookie: the application has to be at `/`.
fn upstream_url(reader: &mut Reader<'_>, written: &str) -> Option<url::Url> {
    let url = reader.url("server.upstream", written)?;
    if url.path() != "/" || url.query().is_some() {
        reader.problem(
            "server.upstream",
            "must be scheme, host and port alone, like \"http://127.0.0.1:8081\": paths are passed on as they come",
        );
    }
    Some(url)
}

/// The files are read here as they will be at start, so that what is wrong with them is said with its place.
fn tls(reader: &mut Reader<'_>, written: &raw::Tls) -> TlsFiles {
    let client_ca = written.client_ca.as_deref();
    let files = TlsFiles {
        certificate: reader.file("server.tls.certificate", &written.certificate),
        private_key: reader.file("server.tls.private_key", &written.private_key),
        client_ca: client_ca.map(|path| reader.file("server.tls.client_ca", path)),
        client_optional: written.client_certificate == Some(raw::ClientCertificate::Optional),
    };
    if written.client_certificate.is_some() && client_ca.is_none() {
        let key = "server.tls.client_certificate";
        reader.problem(key, "needs server.tls.client_ca, to tell whose it is");
    }
    // One that is missing has been named already.
    let ca_is_there = files.client_ca.as_ref().is_none_or(|file| file.is_file());
    if files.certificate.is_file() && files.private_key.is_file() && ca_is_there {
        for (key, error) in Tls::mistakes(&files) {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let message = format!("{error}{}", cause.unwrap_or_default());
            reader.problem(&format!("server.tls.{key}"), message);
        }
    }
    files
}

/// A year, as RFC 6797 §6.1.1's example has it; 0 leaves the field out.
fn hsts(reader: &mut Reader<'_>, tls: &raw::Tls) -> Option<Duration> {
    let year = 365 * DAY;
    let hsts = reader.span("server.tls.hsts", tls.hsts, year, Duration::ZERO..=2 * year);
    (!hsts.is_zero()).then_some(hsts)
}

fn addresses(
    reader: &mut Reader<'_>,
    server: &raw::Server,
) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let listen = server.listen.as_deref().unwrap_or("127.0.0.1:8080");
    let admin_listen = server.admin_listen.as_deref().unwrap_or("127.0.0.1:9090");
    let listen = address(reader, "server.listen", listen);
    let admin_listen = match admin_listen {
        "off" => None,
        written => Some(address(reader, "server.admin_listen", written)?),
    };
    if admin_listen == listen && listen.is_some_and(|address| address.port() != 0) {
        reader.problem("server.admin_listen", "is the same as server.listen");
    }
    Some((listen?, admin_listen))
}

fn address(reader: &mut Reader<'_>, key: &str, written: &str) -> Option<SocketAddr> {
    let address = written.parse().ok();
    if address.is_none() {
        reader.problem(
            key,
            format!("{written:?} is not an IP address and port, like \"127.0.0.1:8080\""),
        );
    }
    address
}

/// An origin is compared byte for byte with what a browser sends, so it must be written as browsers write it
/// (RFC 6454 §6.2): a wildcard or a path would never match, or match too much.
fn check_origin(reader: &mut Reader<'_>, index: usize, written: &str) {
    let as_sent = url::Url::parse(written)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| url.origin().ascii_serialization());
    let message = match as_sent {
        _ if written.contains('*') => "wildcards are not allowed: name each origin".to_owned(),
        Some(origin) if origin == written => return,
        Some(origin) => format!("{written:?} is not an exact origin; did you mean {origin:?}?"),
        None => format!(
            "{written:?} is not an origin: scheme://host[:port], like \"https://editor.example.com\""
        ),
    };
    reader.problem(&format!("server.cors.allowed_origins[{index}]"), message);
}

fn project_limits(
    reader: &mut Reader<'_>,
    written: Option<Box<raw::ProjectLimits>>,
) -> LimitsConfig {
    let Some(written) = written else {
        return LimitsConfig::default();
    };
    let written = raw::Limits {
        requests_per_second: written.requests_per_second,
        concurrent_streams: written.concurrent_streams,
        bandwidth: written.bandwidth,
        ..raw::Limits::default()
    };
    limits(reader, "server.limits.project", &written)
}

fn limits(reader: &mut Reader<'_>, section: &str, limits: &raw::Limits) -> LimitsConfig {
    let bandwidth = limits.bandwidth.map(|size| size.0);
    for (key, zero) in [
        ("requests_per_second", limits.requests_per_second == Some(0)),
        ("concurrent_streams", limits.concurrent_streams == Some(0)),
        ("bandwidth", bandwidth == Some(0)),
    ] {
        if zero {
            let key = format!("{section}.{key}");
            reader.problem(&key, "0 would let nobody in; leave it out for no limit");
        }
    }
    LimitsConfig {
        requests_per_second: limits.requests_per_second,
        concurrent_streams: limits.concurrent_streams,
        bandwidth,
    }
}

/// What all annotators together may hold.
fn caps(reader: &mut Reader<'_>, limits: &raw::Limits) -> CapsConfig {
    let usual = CapsConfig::default();
    for (key, zero) in [
        ("total_connections", limits.total_connections == Some(0)),
        ("total_streams", limits.total_streams == Some(0)),
    ] {
        if zero {
            reader.problem(&format!("server.limits.{key}"), "0 would let nobody in");
        }
    }
    let memory = limits.total_memory.map_or(usual.memory, |size| size.0);
    if memory < LEAST_MEMORY {
        reader.problem(
            "server.limits.total_memory",
            "must be at least 1MiB: what one body may hold",
        );
    }
    let connections = limits
        .total_connections
        .map(|connections| connections as usize);
    CapsConfig {
        connections: connections.unwrap_or(usual.connections),
        streams: limits.total_streams.map_or(usual.streams, u64::from),
        memory,
    }
}

pub fn cache(
    reader: &mut Reader<'_>,
    written: Option<Value>,
) -> Option<(CacheConfig, Option<DiskConfig>, ContentConfig)> {
    let cache: raw::Cache = reader.section("cache", written)?;
    let disk = cache.disk.as_ref().map(|written| disk(reader, written));
    let metadata_max_age = reader.span(
        "cache.metadata_max_age",
        cache.metadata_max_age,
        Duration::from_secs(30),
        Duration::ZERO..=DAY,
    );
    let stale_if_error = reader.span(
        "cache.stale_if_error",
        cache.stale_if_error,
        Duration::from_secs(3600),
        Duration::ZERO..=DAY,
    );
    let content = ContentConfig {
        metadata_max_age,
        stale_if_error,
    };
    let memory = cache.memory.map_or(512 << 20, |size| size.0);
    Some((CacheConfig { memory }, disk, content))
}

fn disk(reader: &mut Reader<'_>, written: &raw::Disk) -> DiskConfig {
    let capacity = written.capacity.0;
    if capacity < MIN_CAPACITY {
        reader.problem(
            "cache.disk.capacity",
            "must be at least 64MiB; leave cache.disk out for none",
        );
    }
    let path = reader.path(&written.path);
    if path.exists() && !path.is_dir() {
        let message = format!(
            "{} is no directory; name one that holds nothing else",
            path.display()
        );
        reader.problem("cache.disk.path", message);
    }
    DiskConfig { path, capacity }
}

/// `[delivery]`, and the life of presigned URLs for storages that set none.
pub fn delivery(
    reader: &mut Reader<'_>,
    written: Option<Value>,
) -> Option<(DeliveryConfig, Duration)> {
    let delivery: raw::DeliverySection = reader.section("delivery", written)?;
    let expiry = presign_expiry(
        reader,
        "delivery.presign_expiry",
        delivery.presign_expiry,
        DEFAULT_PRESIGN_EXPIRY,
    );
    let max_range_size = delivery.max_range_size.map(|size| size.0);
    if max_range_size == Some(0) {
        reader.problem(
            "delivery.max_range_size",
            "must be at least 1B; leave it out for no limit",
        );
    }
    let (cache_control, cross_origin_resource_policy) = fields(reader, &delivery);
    let stall_timeout = reader.span(
        "delivery.stall_timeout",
        delivery.stall_timeout,
        Duration::from_secs(10),
        Duration::from_millis(1)..=DAY,
    );
    let config = DeliveryConfig {
        allow_proxy: delivery.allow_proxy.unwrap_or(true),
        max_range_size,
        cache_control,
        cross_origin_resource_policy,
        stall_timeout,
    };
    Some((config, expiry))
}

/// The fields of media's heads that are configurable: `Cache-Control` and `Cross-Origin-Resource-Policy`.
fn fields(reader: &mut Reader<'_>, delivery: &raw::DeliverySection) -> (HeaderValue, HeaderValue) {
    let cache_control = delivery.cache_control.clone();
    let cache_control = cache_control.unwrap_or_else(|| "private, no-cache".to_owned());
    let field = HeaderValue::from_str(&cache_control);
    if field.is_err() {
        reader.problem("delivery.cache_control", "not a valid field value");
    } else if !keeps_out_of_shared_caches(&cache_control) {
        reader.warn(
            "delivery.cache_control",
            "without private or no-store a shared cache may keep one annotator's media and show it to another",
        );
    }
    let policy = delivery.cross_origin_resource_policy.clone();
    let policy = policy.unwrap_or_else(|| "same-site".to_owned());
    if !["same-site", "same-origin", "cross-origin"].contains(&policy.as_str()) {
        reader.problem(
            "delivery.cross_origin_resource_policy",
            format!("{policy:?} is not one of same-site, same-origin, cross-origin"),
        );
    }
    let policy = HeaderValue::from_str(&policy);
    (
        field.unwrap_or(HeaderValue::from_static("private, no-cache")),
        policy.unwrap_or(HeaderValue::from_static("same-site")),
    )
}

/// RFC 9111 §5.2.2.5, §5.2.2.7; `private="field"` is about that field alone.
fn keeps_out_of_shared_caches(cache_control: &str) -> bool {
    cache_control.split(',').any(|directive| {
        let directive = directive.trim();
        directive.eq_ignore_ascii_case("private") || directive.eq_ignore_ascii_case("no-store")
    })
}

pub fn presign_expiry(
    reader: &mut Reader<'_>,
    key: &str,
    written: Option<super::units::Span>,
    default: Duration,
) -> Duration {
    let expiry = written.map_or(default, |span| span.0);
    if !PRESIGN_EXPIRY.contains(&expiry) {
        reader.problem(key, "a presigned URL lives from 1s to 7d");
    }
    expiry
}

pub fn log(reader: &mut Reader<'_>, written: Option<Value>) -> Option<LogConfig> {
    let log: raw::Log = reader.section("log", written)?;
    let access = match log.access.as_deref().unwrap_or("stdout") {
        "stdout" => AccessLog::Stdout,
        "off" => AccessLog::Off,
        path => AccessLog::File(reader.path(Path::new(path))),
    };
    let level = log.level.clone().unwrap_or_else(|| "info".to_owned());
    let plain = ["off", "error", "warn", "info", "debug", "trace"].contains(&level.as_str());
    // A bare unknown word would be taken for a module's name, and nothing be logged.
    let filter = level.contains('=') && EnvFilter::try_new(&level).is_ok();
    if !plain && !filter {
        reader.problem(
            "log.level",
            format!("{level:?} is not one of off, error, warn, info, debug, trace, nor a filter like \"info,lockgate=debug\""),
        );
    }
    let audit = audit(reader, &log);
    Some(LogConfig {
        access,
        level,
        audit,
    })
}

fn audit(reader: &mut Reader<'_>, log: &raw::Log) -> Option<AuditConfig> {
    let hour = Duration::from_secs(3600);
    let window = reader.span(
        "log.audit_window",
        log.audit_window,
        hour,
        Duration::ZERO..=DAY,
    );
    let max_size = log.audit_max_size.map_or(100 << 20, |size| size.0);
    if max_size < MIN_AUDIT_SIZE {
        reader.problem("log.audit_max_size", "must be at least 4KiB");
    }
    let keep = log.audit_keep.unwrap_or(10);
    if !(1..=MAX_AUDIT_FILES).contains(&keep) {
        reader.problem("log.audit_keep", "must be from 1 to 1000 files");
    }
    let path = reader.path(log.audit.as_deref()?);
    Some(AuditConfig {
        path,
        window,
        max_size,
        keep,
    })
}

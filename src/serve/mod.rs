//! Listen, route, answer: the only floor that speaks HTTP to clients, and the only one that chooses a status code.

mod accept;
pub mod admin;
mod application;
pub mod body;
pub mod caps;
mod ciphers;
mod connection;
mod content_type;
pub mod cors;
pub mod credentials;
pub mod desk;
pub mod error;
pub mod exchange;
pub mod gate;
mod head;
pub mod limits;
pub mod listener;
mod media;
mod offer;
mod places;
pub mod preconditions;
pub mod proxies;
mod rare;
pub mod recheck;
pub mod request;
pub mod response;
mod rest;
mod screen;
mod session;
mod spoken;
mod status_page;
pub mod task_json;
pub mod tls;
pub mod upstream;
mod watch;

pub use desk::{Desk, Front};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

/// The `[server]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where annotators are served.
    pub listen: SocketAddr,
    /// Where health and metrics are served; none: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Names that the admin listener may be asked by, beside addresses and private names: against DNS rebinding.
    pub admin_hosts: Vec<String>,
    /// Proxies in front, which are believed in who a client is and whether it came by TLS; nobody else is.
    pub trusted_proxies: proxies::TrustedProxies,
    /// Where everything goes that is no media: scheme, host and port; none: nowhere.
    pub upstream: Option<url::Url>,
    /// Certificate and key; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How long bodies may go on after SIGTERM.
    pub drain: Duration,
    /// The exact origins that may read answers from another site, credentials allowed.
    pub allowed_origins: Vec<String>,
    /// What one annotator may take.
    pub limits: LimitsConfig,
    /// What all who work on one project may take together.
    pub project_limits: LimitsConfig,
    /// Whether the process confines itself to the files that its configuration names.
    pub sandbox: bool,
    /// Files and directories that it reads beside them.
    pub sandbox_paths: Vec<PathBuf>,
    /// `max-age` of `Strict-Transport-Security`; none: not sent.
    pub hsts: Option<Duration>,
    /// What all of them may.
    pub caps: caps::CapsConfig,
}

/// PEM files; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// The authorities whose certificates clients may or must show; none: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client that shows none is let in.
    pub client_optional: bool,
}

/// `[server.limits]`, per annotator, and `[server.limits.project]`; none: unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Requests per second; past it 429.
    pub requests_per_second: Option<u32>,
    /// Bodies at once; past it 429.
    pub concurrent_streams: Option<u32>,
    /// Bytes per second over all their bodies; past it they slow down.
    pub bandwidth: Option<u64>,
}

/// `[delivery]`, as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// False: this deployment only redirects, and a storage that proxies is a configuration error.
    pub allow_proxy: bool,
    /// A ranged answer is cut to this many bytes; an answer to a request without Range never is.
    pub max_range_size: Option<u64>,
    /// `Cache-Control` of media (`delivery.cache_control`).
    pub cache_control: HeaderValue,
    /// `Cross-Origin-Resource-Policy` of media (`delivery.cross_origin_resource_policy`).
    pub cross_origin_resource_policy: HeaderValue,
    /// How long a body may wait for storage's next byte, the first included (`RESOLVER_PROXY_TIMEOUT`); never a limit
    /// on the whole.
    pub stall_timeout: Duration,
}

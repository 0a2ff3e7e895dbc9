//! Where PostgreSQL is and how it is believed: `postgres://user:password@host:port/database?…`, as libpq documents it
//! (libpq-connect §34.1.1.2), several hosts with commas between them.
//!
//! `sslmode` means what it does there: `prefer` and `require` encrypt and believe any certificate, `verify-ca` wants one
//! that a known authority signed, `verify-full` also the host's own name in it. As there, a CA file makes `require`
//! verify the authority. Opens nothing; no error here repeats any part of the URL, for a password stands in it.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::secret::Secret;

/// Connections for questions of one Lockgate where nothing else is said: a question takes a fraction of a millisecond,
/// and every replica has as many.
pub const DEFAULT_CONNECTIONS: u32 = 8;
/// PostgreSQL's own default is 100 for all of its clients.
pub const MAX_CONNECTIONS: u32 = 100;
/// For each address, where the URL says nothing: a host that is gone must leave time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Unacknowledged for this long, and the connection is given up by the kernel.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are tried after this long, so that one whose other end is gone does not stay.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What is believed of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Anything: the connection is encrypted, and whoever is on the path may have answered.
    Nothing,
    /// That a known authority signed it.
    Authority,
    /// That, and that it names the host.
    Full,
}

/// How PostgreSQL is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresConfig {
    /// Hosts, user, password, database; its `Debug` shows no password.
    pub server: Config,
    /// What is believed of its certificate.
    pub verify: Verify,
    /// Authorities beside the system's own (PEM).
    pub ca_file: Option<PathBuf>,
    /// So many questions at once.
    pub connections: u32,
}

/// What is wrong with a URL, without a word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or parts that are not understood.
    #[error(
        "expected postgres://user:password@host:port/database; what is no letter or digit in user and password is percent-encoded"
    )]
    NotUnderstood,
    /// An `sslmode` that libpq does not have, or that may do without TLS though it could be had.
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// A weaker `sslmode` than libpq takes together with the system's authorities.
    #[error("sslrootcert=system goes with sslmode=verify-full alone")]
    System,
    /// Nowhere to connect to.
    #[error("names no host: postgres://user@host/database, or ?host=/run/postgresql for a socket")]
    NoHost,
}

impl PostgresConfig {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn parse(url: &Secret) -> Result<Self, UrlError> {
        let url = url.expose();
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_url {
            return Err(UrlError::NotUnderstood);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let fields: Vec<_> = query.split('&').filter(|field| !field.is_empty()).collect();
        let value = |name: &str| {
            let mut fields = fields.iter().rev();
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let ca_file = value("sslrootcert").map(decoded).transpose()?;
        // "system" is libpq's word for the system's own authorities: anybody has a certificate of theirs for some name.
        let system = ca_file.as_deref() == Some("system");
        let ca_file = ca_file.filter(|_| !system).map(PathBuf::from);
        let (mode, verify) = match (value("sslmode"), &ca_file) {
            (None | Some("verify-full"), _) if system => (SslMode::Require, Verify::Full),
            (Some(_), _) if system => return Err(UrlError::System),
            (None | Some("prefer"), _) => (SslMode::Prefer, Verify::Nothing),
            (Some("disable"), _) => (SslMode::Disable, Verify::Nothing),
            (Some("require"), None) => (SslMode::Require, Verify::Nothing),
            (Some("require" | "verify-ca"), _) => (SslMode::Require, Verify::Authority),
            (Some("verify-full"), _) => (SslMode::Require, Verify::Full),
            (Some(_), _) => return Err(UrlError::SslMode),
        };
        let ours = ["sslmode", "sslrootcert", "target_session_attrs"];
        let theirs = fields.iter().filter(|field| {
            let key = field.split('=').next().unwrap_or_default();
            !ours.contains(&key)
        });
        let theirs = theirs.copied().collect::<Vec<_>>().join("&");
        let mut server: Config = format!("{base}?{theirs}")
            .parse()
            .map_err(|_| UrlError::NotUnderstood)?;
        if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        server.ssl_mode(mode);
        with_limits(&mut server);
        Ok(Self {
            server,
            verify,
            ca_file,
            connections: DEFAULT_CONNECTIONS,
        })
    }

    /// Whether whoever is on the path to it could answer in its place.
    pub fn believes_anybody(&self) -> bool {
        // Where there are addresses, they are connected to, and a host is the name in the certificate.
        let addresses = self.server.get_hostaddrs();
        let is_far = |host: &Host| match host {
            Host::Tcp(name) => {
                let address = name.parse::<std::net::IpAddr>();
                name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            }
            Host::Unix(_) => false,
        };
        let far = match addresses.is_empty() {
            true => self.server.get_hosts().iter().any(is_far),
            false => addresses.iter().any(|address| !address.is_loopback()),
        };
        self.verify != Verify::Full && far
    }
}

fn with_limits(server: &mut Config) {
    // A standby may lag behind, and what was revoked would be believed again; it cannot LISTEN either.
    server.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if server.get_connect_timeout().is_none() {
        server.connect_timeout(CONNECT_TIMEOUT);
    }
    if server.get_tcp_user_timeout().is_none() {
        server.tcp_user_timeout(USER_TIMEOUT);
    }
    server.keepalives_idle(KEEPALIVE);
    server.keepalives_interval(Duration::from_secs(2));
    server.keepalives_retries(2);
    if server.get_application_name().is_none() {
        server.application_name("lockgate");
    }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| UrlError::NotUnderstood)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresConfig, UrlError> {
        PostgresConfig::parse(&Secret::new(url))
    }

    #[test]
    fn sslmode_means_what_it_does_to_libpq() {
        for (query, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("sslmode=require", SslMode::Require, Verify::Nothing),
            (
                "sslmode=require&sslrootcert=ca.crt",
                SslMode::Require,
                Verify::Authority,
            ),
            ("sslmode=verify-ca", SslMode::Require, Verify::Authority),
            ("sslmode=verify-full", SslMode::Require, Verify::Full),
            ("sslrootcert=system", SslMode::Require, Verify::Full),
            (
                "sslrootcert=system&sslmode=verify-full",
                SslMode::Require,
                Verify::Full,
            ),
        ] {
            let config = parse(&format!("postgres://u:p@db.example.com/lockgate?{query}")).unwrap();
            assert_eq!(config.server.get_ssl_mode(), mode, "{query}");
            assert_eq!(config.verify, verify, "{query}");
        }
        let weak = parse("postgres://u@db.example.com/lockgate?sslmode=allow");
        assert_eq!(weak, Err(UrlError::SslMode));
        for mode in ["disable", "prefer", "require", "verify-ca"] {
            let url = format!("postgres://u@h/d?sslrootcert=system&sslmode={mode}");
            assert_eq!(parse(&url), Err(UrlError::System), "{mode}");
        }
    }

    #[test]
    fn a_url_that_is_not_understood_is_not_repeated() {
        for url in [
            "mysql://u:hidden@h/d",
            "postgres://u:hidden@h/d?hid=den",
            "postgres://u:hidden@h:port/d",
            "postgres://",
            "hidden",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(!error.contains("hid") && !error.contains("den="), "{error}");
        }
    }

    #[test]
    fn nothing_that_is_shown_has_the_password_in_it() {
        let config = parse("postgres://anna:hidden@h1,h2:5433/d?connect_timeout=7").unwrap();
        assert!(!format!("{config:?}").contains("hidden"));
        assert_eq!(config.server.get_hosts().len(), 2);
        assert_eq!(
            config.server.get_connect_timeout(),
            Some(&Duration::from_secs(7))
        );
    }

    #[test]
    fn who_could_answer_in_its_place_is_known() {
        for (url, anybody) in [
            ("postgres://u@db.example.com/d", true),
            ("postgres://u@db.example.com/d?sslmode=require", true),
            ("postgres://u@db.example.com/d?sslmode=verify-full", false),
            ("postgres://u@127.0.0.1,localhost/d", false),
            ("postgres://u@127.0.0.1,other/d", true),
            ("postgres:///d?host=/run/postgresql", false),
            ("postgres://u@localhost/d?hostaddr=192.0.2.7", true),
            ("postgres://u@db.example.com/d?hostaddr=127.0.0.1", false),
        ] {
            assert_eq!(parse(url).unwrap().believes_anybody(), anybody, "{url}");
        }
    }
}

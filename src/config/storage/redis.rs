//! `kind = "redis"`: one database, by its parts or by a URL (`redis://user:password@host:port/db`, `rediss://` for TLS).

use percent_encoding::percent_decode_str;
use url::Url;

use crate::backend::config::RedisConfig;
use crate::config::raw;
use crate::config::reader::Reader;
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 6379;

pub fn config(reader: &mut Reader<'_>, at: &str, written: raw::Redis) -> Option<RedisConfig> {
    reader.not_empty(&format!("{at}.username"), written.username.as_ref());
    let ca_file = written.ca_file.as_ref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{at}.ca_file"), file));
    let config = match written.url.clone() {
        Some(url) => {
            let parts = written.host.is_some()
                || written.port.is_some()
                || written.db.is_some()
                || written.username.is_some()
                || written.tls.is_some();
            if parts {
                let message = "says host, port, db, username and tls already; leave those out";
                reader.problem(&format!("{at}.url"), message);
            }
            // A URL is a secret where a password stands in it, and not else.
            let url = reader.public(&format!("{at}.url"), Some(url))?;
            let config = of_url(url.expose());
            if config.is_none() {
                let message =
                    "expected redis://[user[:password]@]host[:port][/db], or rediss:// for tls";
                reader.problem(&format!("{at}.url"), message);
            }
            config?
        }
        None => {
            if written.host.as_deref().unwrap_or_default().is_empty() {
                reader.problem(&format!("{at}.host"), "is missing: give it, or url");
            }
            RedisConfig {
                host: written.host.clone()?,
                port: written.port.unwrap_or(DEFAULT_PORT),
                db: written.db.unwrap_or_default(),
                username: written.username.clone(),
                password: None,
                tls: written.tls.unwrap_or_default(),
                ca_file: None,
            }
        }
    };
    let in_url = config.password.clone();
    if in_url.is_some() && matches!(written.url, Some(raw::SecretRef::Plain(_))) {
        let message = "a password in plain text; password = { env = \"NAME\" } or url = { env = \"NAME\" } keeps it out of here";
        reader.warn(&format!("{at}.url"), message);
    }
    let password = reader.secret(&format!("{at}.password"), written.password);
    let config = RedisConfig {
        password: password.or(in_url),
        ca_file,
        ..config
    };
    if config.username.is_some() && config.password.is_none() {
        let message = "is missing: a user is let in by a password";
        reader.problem(&format!("{at}.password"), message);
    }
    if config.ca_file.is_some() && !config.tls {
        let message = "is of no use without tls = true (or rediss://)";
        reader.problem(&format!("{at}.ca_file"), message);
    }
    Some(config)
}

fn of_url(text: &str) -> Option<RedisConfig> {
    let url = Url::parse(text).ok()?;
    let tls = match url.scheme() {
        "redis" => false,
        "rediss" => true,
        _ => return None,
    };
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().ok()?;
        (!decoded.is_empty()).then(|| decoded.into_owned())
    };
    let db = match url.path().trim_start_matches('/') {
        "" => 0,
        db => db.parse().ok()?,
    };
    let plain = url.query().is_none() && url.fragment().is_none();
    plain.then_some(RedisConfig {
        // An IPv6 address stands in brackets in a URL, and nowhere else.
        host: decoded(url.host_str()?.trim_matches(['[', ']']))?,
        port: url.port().unwrap_or(DEFAULT_PORT),
        db,
        username: decoded(url.username()),
        password: url.password().and_then(decoded).map(Secret::new),
        tls,
        ca_file: None,
    })
}

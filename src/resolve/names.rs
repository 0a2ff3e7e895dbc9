//! Which URIs name objects of a storage, and which key they name there. Pure; knows no prefix and no permit.

use std::sync::Arc;

use url::Url;

use crate::ids::StorageId;
use crate::media_uri::{GCS, MediaUri, Provider};

/// Which URIs name objects of a storage.
#[derive(Clone, Debug)]
pub enum Names {
    /// An S3 bucket, and the storage's own endpoint where it has one (`http(s)://host[:port][/base]`).
    S3 {
        /// The bucket.
        bucket: Arc<str>,
        /// The endpoint, for URIs in path and in virtual-host style.
        endpoint: Option<Url>,
    },
    /// A Google Cloud Storage bucket.
    Gcs {
        /// The bucket.
        bucket: Arc<str>,
    },
    /// An Azure container. A URI that names no account is of any.
    Azure {
        /// The storage account.
        account: Arc<str>,
        /// The container.
        container: Arc<str>,
    },
    /// A Databricks volume.
    Volume {
        /// `catalog/schema/volume`.
        volume: Arc<str>,
    },
    /// Files below a root.
    Local,
    /// A Redis database.
    Redis {
        /// The server's name or address.
        host: Arc<str>,
        /// Its port.
        port: u16,
        /// The number of the database.
        db: u32,
    },
}

impl Names {
    /// The key that a URI names in the storage `id`, if it names one there.
    pub fn key(&self, id: &StorageId, uri: &MediaUri) -> Option<Arc<str>> {
        match uri {
            MediaUri::Object {
                provider,
                bucket,
                key,
                account,
            } => self
                .is_bucket(*provider, bucket, account.as_deref())
                .then(|| key.clone()),
            MediaUri::Url {
                host, port, path, ..
            } => {
                let Self::S3 {
                    bucket,
                    endpoint: Some(endpoint),
                } = self
                else {
                    return None;
                };
                key_at_endpoint(endpoint, bucket, host, *port, path).map(Arc::from)
            }
            MediaUri::Volume {
                volume: named,
                path,
            } => {
                let Self::Volume { volume } = self else {
                    return None;
                };
                (volume == named).then(|| path.clone())
            }
            MediaUri::Local { storage, path } => {
                let here = storage.as_ref().is_none_or(|named| **named == *id.as_str());
                (here && matches!(self, Self::Local)).then(|| path.clone())
            }
            MediaUri::Redis { authority, key } => {
                let Self::Redis { host, port, db } = self else {
                    return None;
                };
                key_in_database(host, *port, *db, authority, key).map(Arc::from)
            }
        }
    }

    /// The URI that names a key here as a task's data would: what [`Self::key`] reads.
    pub fn uri(&self, key: &str) -> Option<MediaUri> {
        let object = |provider| MediaUri::Object {
            provider,
            bucket: self.bucket(),
            key: key.into(),
            account: None,
        };
        match self {
            Self::S3 { .. } => Some(object(Provider::S3)),
            Self::Gcs { .. } => Some(object(Provider::Gcs)),
            Self::Azure { .. } => Some(object(Provider::Azure)),
            Self::Volume { volume } => Some(MediaUri::Volume {
                volume: volume.clone(),
                path: key.into(),
            }),
            // Label Studio's own spelling, which names no storage.
            Self::Local => Some(MediaUri::Local {
                storage: None,
                path: key.into(),
            }),
            Self::Redis { host, port, db } => {
                let host = match host.contains(':') {
                    true => format!("[{host}]"),
                    false => host.to_string(),
                };
                Some(MediaUri::Redis {
                    authority: format!("{host}:{port}").into(),
                    key: format!("{db}/{key}").into(),
                })
            }
        }
    }

    /// What [`crate::object::ObjectLocation::bucket`] says of this storage's objects.
    pub fn bucket(&self) -> Arc<str> {
        match self {
            Self::S3 { bucket, .. } | Self::Gcs { bucket } => bucket.clone(),
            Self::Azure { container, .. } => container.clone(),
            Self::Volume { volume } => volume.clone(),
            Self::Redis { db, .. } => db.to_string().into(),
            Self::Local => "".into(),
        }
    }

    fn is_bucket(&self, provider: Provider, named: &str, named_account: Option<&str>) -> bool {
        match self {
            Self::S3 { bucket, endpoint } => {
                let here = match provider {
                    Provider::S3 => true,
                    Provider::Gcs => endpoint.as_ref().is_some_and(is_gcs),
                    Provider::Azure => false,
                };
                here && **bucket == *named
            }
            Self::Gcs { bucket } => provider == Provider::Gcs && **bucket == *named,
            Self::Azure { account, container } => {
                let same_account = named_account.is_none_or(|named| **account == *named);
                provider == Provider::Azure && same_account && **container == *named
            }
            Self::Volume { .. } | Self::Redis { .. } | Self::Local => false,
        }
    }
}

/// Google Cloud Storage by its other interface (HMAC keys): its buckets are those that its own URIs name.
fn is_gcs(endpoint: &Url) -> bool {
    endpoint.host_str() == Some(GCS) && endpoint.port().is_none() && endpoint.path() == "/"
}

/// `endpoint/bucket/key`, or `bucket.endpoint/key` with the bucket before the host. The scheme is not compared: a
/// proxy may serve both, and the URI is only a name. The port is, since another port is another server.
fn key_at_endpoint<'a>(
    endpoint: &Url,
    bucket: &str,
    host: &str,
    port: u16,
    path: &'a str,
) -> Option<&'a str> {
    if endpoint.port_or_known_default() != Some(port) {
        return None;
    }
    let path = below(path, endpoint.path().trim_matches('/'))?;
    let own_host = endpoint.host_str()?;
    let key = if host == own_host {
        below(path, bucket)?
    } else {
        // Hosts are compared without case (RFC 9110 §4.2.3), and this one is in lower case already.
        let label = host.strip_suffix(own_host)?.strip_suffix('.')?;
        label.eq_ignore_ascii_case(bucket).then_some(path)?
    };
    (!key.is_empty()).then_some(key)
}

/// `redis://host[:port]/db/key`, the key literal. A URI without an authority is of any server, and one without a
/// number first is of any database: a key that begins with a number and a slash is named with its database before it.
fn key_in_database<'a>(
    host: &str,
    port: u16,
    db: u32,
    authority: &str,
    rest: &'a str,
) -> Option<&'a str> {
    let (named, named_port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets (RFC 3986 §3.2.2).
        Some((named, digits)) if !digits.ends_with(']') => (named, digits.parse().ok()?),
        _ => (authority, 6379),
    };
    let named = named.trim_start_matches('[').trim_end_matches(']');
    let is_here = named.eq_ignore_ascii_case(host) && named_port == port;
    if !is_here && !authority.is_empty() {
        return None;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let key = match rest.split_once('/') {
        Some((number, key)) if is_number(number) => (number.parse() == Ok(db)).then_some(key)?,
        _ => rest,
    };
    (!key.is_empty()).then_some(key)
}

/// What stands in `path` after `base` and a slash.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    if base.is_empty() {
        return Some(path);
    }
    path.strip_prefix(base)?.strip_prefix('/')
}

//! Media URIs: every dialect of contract §2, parsed once into what it names.
//!
//! Ground: knows no storage and makes no request. `resolve` maps a `MediaUri` to an object.
//!
//! URLs are taken apart by hand (RFC 3986 §3): a URL parser that normalises, as browsers do, would lose `//`, `.`
//! and `..`, which in an object store are only bytes of a key.

mod hosts;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub(crate) use hosts::GCS;

/// The longest media URI in bytes: a key of 1,024 bytes, each percent-encoded, with room for host and path.
pub const MAX_URI_LENGTH: usize = 8 << 10;

const LOCAL_FILES: &str = "/data/local-files";

/// What a media URI names. Two spellings of the same object in the same dialect compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediaUri {
    /// `scheme://bucket/key` and the providers' own well-known hosts. The key is literal, every byte kept.
    Object {
        /// Whose buckets these are.
        provider: Provider,
        /// Bucket or container.
        bucket: Arc<str>,
        /// The key; never empty.
        key: Arc<str>,
        /// Azure's storage account, where the URI names one.
        account: Option<Arc<str>>,
    },
    /// An `http(s)://` URL of a host that is not a provider's own: it may be some storage's `endpoint`.
    Url {
        /// Whether the scheme is `https`.
        tls: bool,
        /// The host, lower case, without port.
        host: Arc<str>,
        /// The port, the scheme's own where none is written.
        port: u16,
        /// The path, percent-decoded once, without its leading slash.
        path: Arc<str>,
    },
    /// `dbx://Volumes/catalog/schema/volume/path`: a file in a Databricks volume.
    Volume {
        /// `catalog/schema/volume`.
        volume: Arc<str>,
        /// The path below the volume: no empty, `.` or `..` component, no NUL.
        path: Arc<str>,
    },
    /// `redis://…/key`: one value of a Redis database.
    Redis {
        /// What stands between the slashes, as written; may be empty.
        authority: Arc<str>,
        /// The key; never empty.
        key: Arc<str>,
    },
    /// `/data/local-files/?d=path` and `local://storage/path`: a path that cannot traverse.
    Local {
        /// The storage, where the URI names one.
        storage: Option<Arc<str>>,
        /// The path below the storage's root: no empty, `.` or `..` component, no NUL.
        path: Arc<str>,
    },
}

/// Whose object store a URI speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// Why a string is not a media URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaUriError {
    /// No dialect of contract §2 begins like this.
    #[error("not a media uri of a known dialect")]
    UnknownDialect,
    /// No bucket, no key, or no path.
    #[error("the media uri names no object")]
    NamesNothing,
    /// A path component that traverses, is empty, or holds a NUL.
    #[error("the media uri has a path component that is not allowed")]
    Traverses,
    /// Not UTF-8 once percent-decoded.
    #[error("the media uri is not valid utf-8 when decoded")]
    NotUtf8,
    /// Longer than [`MAX_URI_LENGTH`].
    #[error("the media uri is too long")]
    TooLong,
}

impl MediaUri {
    /// Parses a URI as a task's data holds it.
    pub fn parse(text: &str) -> Result<Self, MediaUriError> {
        if text.len() > MAX_URI_LENGTH {
            return Err(MediaUriError::TooLong);
        }
        if let Some(query) = local_files_query(text) {
            let d = query.split('&').find_map(|field| field.strip_prefix("d="));
            return Self::from_local_files(d.ok_or(MediaUriError::NamesNothing)?);
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(MediaUriError::UnknownDialect)?;
        // Nearly all are written in lower case: only the others need a copy (RFC 3986 §3.1).
        let scheme = match scheme.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(scheme.to_ascii_lowercase()),
            false => Cow::Borrowed(scheme),
        };
        match &*scheme {
            "s3" => object(Provider::S3, rest),
            "gs" => object(Provider::Gcs, rest),
            "azure-blob" => object(Provider::Azure, rest),
            "https" => hosts::parse(true, rest),
            "http" => hosts::parse(false, rest),
            "dbx" => volume(rest),
            "redis" => redis(rest),
            "local" => {
                let (storage, path) = split_nonempty(rest)?;
                let (storage, path) = (Some(storage.into()), safe_path(path)?.into());
                Ok(Self::Local { storage, path })
            }
            _ => Err(MediaUriError::UnknownDialect),
        }
    }

    /// Parses the raw value of the `fileuri` parameter, still percent-encoded: a URI as it is, or one in base64 in
    /// the URL-safe or the standard alphabet, padded or not. `+` is never a space: it is a character of base64.
    pub fn from_fileuri(raw: &str) -> Result<Self, MediaUriError> {
        let value = percent_decode(raw)?;
        if begins_like_a_dialect(&value) {
            return Self::parse(&value);
        }
        let decoded = [&URL_SAFE, &STANDARD]
            .iter()
            .find_map(|engine| engine.decode(value.as_bytes()).ok())
            .ok_or(MediaUriError::UnknownDialect)?;
        let text = String::from_utf8(decoded).map_err(|_| MediaUriError::UnknownDialect)?;
        Self::parse(&text)
    }

    /// Parses the raw value of the `d` parameter of `/data/local-files/`, still percent-encoded.
    pub fn from_local_files(raw: &str) -> Result<Self, MediaUriError> {
        let path = percent_decode(raw)?;
        if path.is_empty() {
            return Err(MediaUriError::NamesNothing);
        }
        let path = safe_path(&path)?.into();
        Ok(Self::Local {
            storage: None,
            path,
        })
    }

    /// The last component of the name: what a downloaded file would be called, and where its extension is.
    /// Empty where the key ends with a slash.
    pub fn file_name(&self) -> &str {
        let path = match self {
            Self::Object { key, .. } | Self::Redis { key, .. } => key,
            Self::Url { path, .. } | Self::Volume { path, .. } | Self::Local { path, .. } => path,
        };
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// The one spelling that all spellings of the same name share; [`MediaUri::parse`] reads it back.
impl fmt::Display for MediaUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object {
                provider,
                bucket,
                key,
                account,
            } => match (provider, account) {
                (Provider::S3, _) => write!(f, "s3://{bucket}/{key}"),
                (Provider::Gcs, _) => write!(f, "gs://{bucket}/{key}"),
                (Provider::Azure, None) => write!(f, "azure-blob://{bucket}/{key}"),
                (Provider::Azure, Some(account)) => {
                    let (bucket, key) = (encode_path(bucket), encode_path(key));
                    write!(f, "https://{account}.{}/{bucket}/{key}", hosts::AZURE)
                }
            },
            Self::Url {
                tls,
                host,
                port,
                path,
            } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{host}")?;
                if *port != hosts::default_port(*tls) {
                    write!(f, ":{port}")?;
                }
                write!(f, "/{}", encode_path(path))
            }
            Self::Volume { volume, path } => write!(f, "dbx://Volumes/{volume}/{path}"),
            Self::Redis { authority, key } => write!(f, "redis://{authority}/{key}"),
            Self::Local {
                storage: Some(storage),
                path,
            } => write!(f, "local://{storage}/{path}"),
            Self::Local {
                storage: None,
                path,
            } => write!(f, "{LOCAL_FILES}/?d={}", encode_path(path)),
        }
    }
}

/// `bucket/key`, the key literal.
fn object(provider: Provider, rest: &str) -> Result<MediaUri, MediaUriError> {
    let (bucket, key) = split_nonempty(rest)?;
    Ok(MediaUri::Object {
        provider,
        bucket: bucket.into(),
        key: key.into(),
        account: None,
    })
}

/// `Volumes/catalog/schema/volume/path`. Databricks' files are a file system, so the path must not traverse.
fn volume(rest: &str) -> Result<MediaUri, MediaUriError> {
    let below = rest
        .strip_prefix("Volumes/")
        .ok_or(MediaUriError::NamesNothing)?;
    let below = safe_path(below)?;
    let (end, _) = below
        .match_indices('/')
        .nth(2)
        .ok_or(MediaUriError::NamesNothing)?;
    let (volume, path) = (below[..end].into(), below[end + 1..].into());
    Ok(MediaUri::Volume { volume, path })
}

/// `authority/key`, both as written.
fn redis(rest: &str) -> Result<MediaUri, MediaUriError> {
    match rest.split_once('/') {
        Some((authority, key)) if !key.is_empty() => Ok(MediaUri::Redis {
            authority: authority.into(),
            key: key.into(),
        }),
        _ => Err(MediaUriError::NamesNothing),
    }
}

fn split_nonempty(rest: &str) -> Result<(&str, &str), MediaUriError> {
    match rest.split_once('/') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() => Ok((name, key)),
        _ => Err(MediaUriError::NamesNothing),
    }
}

/// A relative path on a file system: refused unless it is already in its normal form, so that nothing normalises to
/// something else. An absolute path begins with an empty component.
fn safe_path(path: &str) -> Result<&str, MediaUriError> {
    let traverses =
        |component: &str| matches!(component, "" | "." | "..") || component.contains('\0');
    if path.split('/').any(traverses) {
        return Err(MediaUriError::Traverses);
    }
    Ok(path)
}

/// What follows `/data/local-files/?`, with or without the slash before the question mark.
fn local_files_query(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(LOCAL_FILES)?;
    rest.strip_prefix('/').unwrap_or(rest).strip_prefix('?')
}

/// Whether a decoded `fileuri` is a URI as it stands. Neither `:` nor `?` is in base64, so nothing is taken twice.
fn begins_like_a_dialect(value: &str) -> bool {
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|s| s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        || local_files_query(value).is_some()
}

/// Percent-decodes once. A `%` that no two hexadecimal digits follow stays, as the URL standard has it.
fn percent_decode(text: &str) -> Result<Cow<'_, str>, MediaUriError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| MediaUriError::NotUtf8)
}

fn encode_path(path: &str) -> impl fmt::Display + '_ {
    /// RFC 3986 §2.3's unreserved characters, and the slash, stand for themselves.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path, ENCODED)
}

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, ANY_PADDING);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);

#[cfg(test)]
mod tests;

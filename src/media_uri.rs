//! Media URIs: every dialect of contract §2, parsed once into what it names.
//!
//! Ground: knows no storage and makes no request. `resolve` maps a `MediaUri` to an object.

use std::sync::Arc;

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
        /// `http` or `https`.
        tls: bool,
        /// The host, lower case, without port.
        host: Arc<str>,
        /// The port, the scheme's own where none is written.
        port: u16,
        /// The path, percent-decoded once, without its leading slash.
        path: Arc<str>,
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
    /// Percent-encoding that is broken or not UTF-8.
    #[error("the media uri is not valid utf-8 when decoded")]
    NotUtf8,
    /// Longer than any key a store accepts.
    #[error("the media uri is too long")]
    TooLong,
}

//! Fetched: storage as Lockgate needs it: metadata, one range of one version, a presigned URL.
//!
//! Knows objects, never people. One room per provider; a provider's types stay in its own file; retry is a decorator.

pub mod azure;
mod budget;
pub mod config;
pub mod databricks;
pub mod epoch;
pub mod gcs;
pub mod hedged;
pub mod http;
pub mod local;
pub mod measured;
pub mod proxy;
pub mod reach;
pub mod redis;
pub mod renewing;
mod resolver;
pub mod retry;
pub mod s3;
pub mod signed;
#[cfg(test)]
pub(crate) mod stub;
pub mod traced;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::object::{ETag, ObjectLocation, ObjectMeta};
use crate::secret::Secret;
use crate::telemetry::TraceContext;
use retry::Tries;

/// The bytes of one range as storage sends them. Ends with an error or after exactly the range's length.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BackendError>> + Send>>;

/// On what condition storage shall answer (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    #[default]
    None,
    /// Only this version: another one is [`BackendError::Changed`].
    IfMatch(ETag),
    /// Only another version than this: the same one is [`Conditional::NotModified`].
    IfNoneMatch(ETag),
}

impl Condition {
    /// Whether an answer of this version is let through, for stores that leave it to us to compare: `false` is "not
    /// modified".
    pub fn lets_through(&self, etag: &ETag) -> Result<bool, BackendError> {
        match self {
            Self::None => Ok(true),
            Self::IfMatch(wanted) if wanted == etag => Ok(true),
            Self::IfMatch(_) => Err(BackendError::Changed),
            Self::IfNoneMatch(known) => Ok(known != etag),
        }
    }
}

/// One question to storage: about which object, on what condition, on whose behalf.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The object.
    pub location: &'a ObjectLocation,
    /// On what condition storage shall answer.
    pub condition: Condition,
    /// The trace that it belongs to, passed on as the W3C's `traceparent`.
    pub trace: Option<TraceContext>,
    /// How often it was asked already.
    pub tries: Tries,
}

impl<'a> Call<'a> {
    /// An unconditional question.
    pub fn about(location: &'a ObjectLocation) -> Self {
        Self {
            location,
            condition: Condition::None,
            trace: None,
            tries: Tries::default(),
        }
    }

    /// The same question on a condition.
    pub fn on(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// An answer to a request that may have been conditional.
#[derive(Debug)]
pub enum Conditional<T> {
    /// The version is still the one named.
    NotModified,
    /// The answer.
    Is(T),
}

/// A range that storage is about to send. Its head was checked: a 206, the range that was asked for (cut at the
/// object's end), a strong validator.
pub struct Fetched {
    /// The object's metadata, whole.
    pub meta: ObjectMeta,
    /// The bytes that will come: what was asked for, cut at `meta.complete_length`.
    pub range: Range<u64>,
    /// Those bytes.
    pub body: ByteStream,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("meta", &self.meta)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Objects that can be read.
#[async_trait]
pub trait Backend: Send + Sync {
    /// An object's metadata.
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError>;

    /// One range of an object. An object that ends before `range` does gives what it has; one that ends before it
    /// begins is [`BackendError::RangeNotSatisfiable`] (an empty object with any range is that, too).
    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError>;

    /// One page of the keys below a prefix, for `check` and `ls`: at most `limit`, and fewer where the store likes.
    /// `after`: the [`Page::next`] of the page before.
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError>;

    /// When the credentials in force end, where they do.
    fn credential_expiry(&self) -> Option<SystemTime> {
        None
    }
}

#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        (**self).head(call).await
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        (**self).get(call, range).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        (**self).list(bucket, prefix, after, limit).await
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        (**self).credential_expiry()
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it lists, in the store's order; may be nothing though more pages follow.
    pub entries: Vec<Listed>,
    /// What the next page begins after: a token of the store's own, that means nothing elsewhere. None: the last page.
    pub next: Option<String>,
}

/// A key that a listing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Its length in bytes.
    pub complete_length: u64,
}

/// Objects that can be handed out by URL: a capability, not a promise (no local storage has it).
#[async_trait]
pub trait Presign: Send + Sync {
    /// A URL for GET (or HEAD) of the object, that ends after `expiry` or with the credentials' own end.
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError>;
}

#[async_trait]
impl<P: Presign + ?Sized> Presign for Arc<P> {
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError> {
        (**self).presign(location, options).await
    }
}

/// What a presigned URL shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresignOptions {
    /// For HEAD, not for GET: most signatures cover the method, and a client that asked by HEAD follows with HEAD.
    pub head_only: bool,
    /// How long it shall live.
    pub expiry: Duration,
    /// The `Content-Type` that storage shall answer with, where its own would be of no use.
    pub content_type: Option<String>,
}

/// A URL that is a credential. `Debug` prints `REDACTED`.
#[derive(Clone, Debug)]
pub struct PresignedUrl {
    /// The URL.
    pub url: Secret,
    /// Its end.
    pub expires_at: SystemTime,
}

/// What went wrong at storage, in storage's words. `serve::error` chooses the status.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// The object is not there.
    #[error("no such object")]
    NotFound,
    /// The bucket is not there.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Storage refused Lockgate's credentials or their permission.
    #[error("storage refused access: {0}")]
    AccessDenied(String),
    /// Lockgate has no credentials to ask with: none are configured, or their source refuses to give any.
    #[error("no credentials for storage: {0}")]
    NoCredentials(String),
    /// The credentials have ended and cannot be renewed, or their source cannot be asked: for now there are none.
    #[error("credentials for storage cannot be had at the moment: {0}")]
    CredentialsUnavailable(String),
    /// Credentials were had, and their source now refuses to give others: somebody took them away, or put in wrong ones.
    #[error("credentials for storage are refused now: {0}")]
    CredentialsRefused(String),
    /// The version that was asked for is no longer there.
    #[error("the object has changed")]
    Changed,
    /// The range begins past the object's end.
    #[error("the range begins past the end of the object")]
    RangeNotSatisfiable,
    /// Storage asks to slow down (503 SlowDown, 429).
    #[error("storage throttles: {said}")]
    Throttled {
        /// What it said.
        said: String,
        /// When it wants to be asked again, where it said so.
        retry_after: Option<Duration>,
    },
    /// Storage cannot be reached, broke off, or answered with a server error.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// Storage did not answer in time.
    #[error("storage timed out: {0}")]
    TimedOut(&'static str),
    /// Storage's answer is not what the protocol says it must be.
    #[error("storage broke the protocol: {0}")]
    Protocol(String),
}

impl BackendError {
    /// Storage asks to slow down, and does not say for how long.
    pub fn throttled(said: impl Into<String>) -> Self {
        Self::Throttled {
            said: said.into(),
            retry_after: None,
        }
    }

    /// With what the answer's head says of when to come again; that alone makes an unavailable storage one that asks
    /// to slow down.
    fn after(self, retry_after: Option<Duration>) -> Self {
        match (self, retry_after) {
            (Self::Throttled { said, .. } | Self::Unavailable(said), Some(_)) => {
                Self::Throttled { said, retry_after }
            }
            (error, _) => error,
        }
    }
}

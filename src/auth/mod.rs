//! Who is it: from a token, a session cookie or a query token to an [`Annotator`].
//!
//! Does no access decision and knows no project. Follows RFC 7519 (JWT), RFC 7517 (JWK), RFC 6750 (Bearer)
//! and RFC 8725 (what to distrust in a JWT).

mod config;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod jwks;
mod keys;
pub mod label_studio;
mod remembered;
mod session;
mod token;

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderMap;

use crate::ids::{Subject, TaskId};
use crate::media_uri::MediaUri;

pub use config::{AuthConfig, AuthConfigError, MAX_LEEWAY};
pub use session::{SessionCookie, SessionError};

use jwks::{Jwks, Timing};
use keys::{KeySet, Selected};
use label_studio::Presented;
use remembered::Remembered;
use token::Unverified;

/// Whether a token may have it as its `sub` or its `task`: 1 to 256 bytes without control characters.
pub fn is_name(string: &str) -> bool {
    token::name(string).is_some()
}

/// Turns credentials into annotators: by tokens ([`Authenticator`]), or by asking Label Studio.
#[async_trait]
pub trait Identify: Send + Sync {
    /// Who sent these credentials.
    ///
    /// # Errors
    /// [`AuthError`]; its reasons are for the log.
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Arc<Annotator>, AuthError>;

    /// Whether it can judge at all yet, for `/readyz`. A source that is down for the moment does not make it false.
    fn ready(&self) -> bool;
}

#[async_trait]
impl Identify for Authenticator {
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Arc<Annotator>, AuthError> {
        Self::authenticate(self, credentials, now).await
    }

    fn ready(&self) -> bool {
        Self::ready(self)
    }
}

/// Turns tokens into annotators: holds the keys, and remembers which tokens it has verified.
pub struct Authenticator {
    config: AuthConfig,
    keys: Keys,
    remembered: Remembered,
}

/// Where the keys come from.
enum Keys {
    /// The configured secret or public key, for as long as this configuration lives.
    Configured(Arc<KeySet>),
    /// The issuer's key set, beside the configured secret where there is one.
    Fetched(Jwks),
}

impl Authenticator {
    /// Checks the configuration and loads its keys. With a `jwks_url` the first fetch and the refreshes run
    /// in a background task that ends when the authenticator is dropped, so this must be called in a tokio
    /// runtime then.
    ///
    /// # Errors
    /// What is wrong with the configuration; never that the key set could not be fetched.
    pub fn new(config: AuthConfig) -> Result<Self, AuthConfigError> {
        Self::with_timing(config, Timing::default())
    }

    fn with_timing(config: AuthConfig, timing: Timing) -> Result<Self, AuthConfigError> {
        let configured = config.check()?;
        config.warn_of_a_short_secret();
        let keys = match &config.jwks_url {
            None => Keys::Configured(Arc::new(KeySet::configured(configured))),
            Some(url) => Keys::Fetched(Jwks::start(url, configured, &config.algorithms, timing)?),
        };
        Ok(Self {
            config,
            keys,
            remembered: Remembered::default(),
        })
    }

    /// Who sent these credentials. The first that was sent decides: the bearer token, else the cookie, else
    /// the query token, and where it is invalid the others are not tried. A query token must name the one
    /// task or object that it is for, because URLs end up in logs and histories.
    ///
    /// # Errors
    /// [`AuthError`]; its reasons are for the log.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Arc<Annotator>, AuthError> {
        if let Some(token) = credentials.bearer.or(credentials.cookie) {
            return self.verify(token, now).await;
        }
        let token = credentials.query.filter(|_| self.config.query_token);
        let annotator = self.verify(token.ok_or(AuthError::Missing)?, now).await?;
        if annotator.scope.is_empty() {
            return Err(AuthError::Invalid(
                "a query token must name a task or a uri",
            ));
        }
        Ok(annotator)
    }

    /// Waits until the key set was fetched for the first time, well or not: a reload puts the new
    /// authenticator in the old one's place only then, so that nobody waits for its keys.
    pub async fn loaded(&self) {
        match &self.keys {
            Keys::Configured(_) => {}
            Keys::Fetched(jwks) => jwks.first_fetch().await,
        }
    }

    /// Whether there are keys to verify with; false only until the key set was fetched for the first time.
    pub fn ready(&self) -> bool {
        self.current_keys().complete
    }

    async fn verify(&self, token: &str, now: SystemTime) -> Result<Arc<Annotator>, AuthError> {
        // Before anything is computed over it.
        if token.len() > token::MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid("too long"));
        }
        let keys = self.current_keys();
        if let Some(annotator) = self.remembered.get(&keys, token) {
            // `now` has moved on since the signature was checked.
            return match now < annotator.expires_at {
                true => Ok(annotator),
                false => Err(AuthError::Invalid(token::EXPIRED)),
            };
        }
        let unverified = Unverified::parse(token, &self.config.algorithms)?;
        let keys = self.keys_for(&unverified, keys).await;
        let key = match keys.select(unverified.algorithm, unverified.kid.as_deref()) {
            Selected::Key(key) => key,
            Selected::Ambiguous => {
                return Err(AuthError::Invalid("no kid, and several keys would fit"));
            }
            Selected::Unknown if keys.complete || token::is_hmac(unverified.algorithm) => {
                return Err(AuthError::Invalid("unknown key"));
            }
            Selected::Unknown => return Err(AuthError::NoKeys),
        };
        let annotator = Arc::new(unverified.verify(key, &self.config, now)?);
        self.remembered.insert(&keys, token, annotator.clone());
        Ok(annotator)
    }

    /// The keys as they are or, where they lack this token's key, after asking the issuer again.
    async fn keys_for(&self, token: &Unverified<'_>, keys: Arc<KeySet>) -> Arc<KeySet> {
        match &self.keys {
            // A secret is never fetched, so asking again would not find it.
            Keys::Fetched(jwks) if !token::is_hmac(token.algorithm) => {
                match keys.select(token.algorithm, token.kid.as_deref()) {
                    Selected::Unknown => jwks.refetched().await,
                    Selected::Key(_) | Selected::Ambiguous => keys,
                }
            }
            Keys::Fetched(_) | Keys::Configured(_) => keys,
        }
    }

    fn current_keys(&self) -> Arc<KeySet> {
        match &self.keys {
            Keys::Configured(keys) => keys.clone(),
            Keys::Fetched(jwks) => jwks.current(),
        }
    }
}

/// Somebody whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotator {
    /// The token's `sub`.
    pub subject: Subject,
    /// The token's groups claim.
    pub groups: Vec<Arc<str>>,
    /// The token's `exp` plus the configured leeway: nothing is shown from then on, a running body included. Far in
    /// the future where Label Studio judges, which is asked again instead.
    pub expires_at: SystemTime,
    /// What the token limits itself to; required of a query token, honoured on every token.
    pub scope: Scope,
    /// What Label Studio is asked with where it judges; none where a token was verified here.
    pub presented: Option<Arc<Presented>>,
}

/// The one task or object that a token names (claims `task` and `uri`); empty for an ordinary token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this task's route.
    pub task: Option<TaskId>,
    /// Only this media.
    pub uri: Option<MediaUri>,
}

impl Scope {
    /// Whether the token limits itself to nothing: an ordinary token.
    pub fn is_empty(&self) -> bool {
        self.task.is_none() && self.uri.is_none()
    }
}

/// The credentials as a request carries them; `serve::request` fills it in.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<&'a str>,
    /// The value of the session cookie.
    pub cookie: Option<&'a str>,
    /// `?token=`, given only where `auth.query_token` is on and the method is GET or HEAD.
    pub query: Option<&'a str>,
    /// All of the request's fields: Label Studio takes a cookie of its own, `Authorization` of any scheme, and
    /// `X-Api-Key`.
    pub headers: &'a HeaderMap,
}

static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

impl Default for Credentials<'_> {
    fn default() -> Self {
        Self {
            bearer: None,
            cookie: None,
            query: None,
            headers: &NO_HEADERS,
        }
    }
}

/// Why nobody was authenticated. `serve::error` makes it a 401 (503 where keys could not be had).
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No credential was sent.
    #[error("no credential")]
    Missing,
    /// One was sent and is not valid; the reason is for the log, never for the client.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// There are no keys to verify with, because the key set could not be fetched yet.
    #[error("no keys to verify tokens with yet")]
    NoKeys,
    /// Whoever judges credentials does not answer; the reason is for the log.
    #[error("credentials cannot be judged at the moment: {0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests;

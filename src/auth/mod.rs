//! Who is it: from a token, a session cookie or a query token to an [`Annotator`].
//!
//! Does no access decision and knows no project. Follows RFC 7519 (JWT), RFC 7517 (JWK), RFC 6750 (Bearer).

use std::sync::Arc;
use std::time::SystemTime;

use crate::ids::{Subject, TaskId};
use crate::media_uri::MediaUri;

/// Somebody whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotator {
    /// The token's `sub`.
    pub subject: Subject,
    /// The token's groups claim.
    pub groups: Vec<Arc<str>>,
    /// The token's `exp`: nothing is shown after it, a running body included.
    pub expires_at: SystemTime,
    /// What the token limits itself to; required of a query token, honoured on every token.
    pub scope: Scope,
}

/// The one task or object that a token names (claims `task` and `uri`); empty for an ordinary token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this task's route.
    pub task: Option<TaskId>,
    /// Only this media.
    pub uri: Option<MediaUri>,
}

/// The credentials as a request carries them; `serve::request` fills it in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<&'a str>,
    /// The value of the session cookie.
    pub cookie: Option<&'a str>,
    /// `?token=`, given only where `auth.query_token` is on and the method is GET or HEAD.
    pub query: Option<&'a str>,
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
}

/// The `[auth]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `iss` that tokens must have.
    pub issuer: String,
    /// `aud` that tokens must have (among theirs).
    pub audience: String,
    /// The only algorithms accepted.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// HS256/384/512 secret.
    pub hmac_secret: Option<crate::secret::Secret>,
    /// A public key (or certificate's key) in PEM.
    pub public_key: Option<crate::secret::Secret>,
    /// A private key in PEM: for `lockgate token` alone, never needed to serve.
    pub private_key: Option<crate::secret::Secret>,
    /// Where the issuer's key set is.
    pub jwks_url: Option<url::Url>,
    /// How far clocks may differ, at most 60 s (contract §3).
    pub leeway: std::time::Duration,
    /// The claim that lists the annotator's groups.
    pub groups_claim: String,
    /// Whether `?token=` is honoured on GET and HEAD.
    pub query_token: bool,
}

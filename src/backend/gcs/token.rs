//! Access tokens: whose they are, where they come from, and when they end.
//!
//! Asks for the least: `devstorage.read_only` to read, `iam` for those who sign or act in another's name. Follows
//! AIP-4111 to 4117, RFC 7523 (JWT bearer) and the IAM Service Account Credentials API.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::identity::{Identity, Impersonated, ServiceAccount, User};
use super::{ask, federation};
use crate::backend::BackendError;
use crate::backend::http::HttpClient;
use crate::backend::renewing::{Clock, Issuer, Lease};
use crate::secret::Secret;

/// Enough to read objects.
pub const READ_ONLY: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// Enough to sign and to act as a service account, where the roles allow it.
pub const IAM: &str = "https://www.googleapis.com/auth/iam";
/// Google gives no token for longer to an assertion.
const ASSERTION_LIFE: Duration = Duration::from_secs(3600);
/// The metadata server's account of the machine or pod.
pub const METADATA_ACCOUNT: &str = "computeMetadata/v1/instance/service-accounts/default";
/// Without it the metadata server answers nobody, so that no proxy can be tricked into asking it.
pub const METADATA_FLAVOR: (&str, &str) = ("metadata-flavor", "Google");

/// A token and its end.
pub struct Granted {
    token: Secret,
    ends_at: SystemTime,
}

/// What is asked for tokens, and what tells the time.
#[derive(Clone)]
pub struct Grants {
    /// The storage's own client.
    pub client: HttpClient,
    /// The time.
    pub clock: Clock,
}

/// Tokens of one identity with one scope.
pub struct Tokens {
    /// Whose.
    pub identity: Identity,
    /// For what.
    pub scope: &'static str,
    /// From where.
    pub grants: Grants,
}

#[async_trait]
impl Issuer<Secret> for Tokens {
    async fn issue(&self) -> Result<Lease<Secret>, BackendError> {
        let granted = self.grants.token(&self.identity, self.scope).await?;
        Ok(Lease {
            value: Arc::new(granted.token),
            ends_at: Some(granted.ends_at),
        })
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Granted, BackendError>> + Send + 'a>>;

impl Grants {
    /// A new token. Boxed, for one identity may act through another.
    fn token<'a>(&'a self, identity: &'a Identity, scope: &'a str) -> Asking<'a> {
        Box::pin(async move {
            match identity {
                Identity::ServiceAccount(account) => self.assert(account, scope).await,
                Identity::User(user) => self.refresh(user).await,
                Identity::Metadata(host) => self.metadata(host, scope).await,
                Identity::External(account) => federation::exchange(self, account, scope).await,
                Identity::Impersonated(account) => self.impersonate(account, scope).await,
            }
        })
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Sends a request that a token answers (RFC 6749 §5.1).
    pub async fn granted(
        &self,
        whom: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Granted, BackendError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: u64,
        }
        let asked_at = self.now();
        let answer: Answer = ask::json(&self.client, whom, request).await?;
        Ok(Granted {
            token: Secret::new(answer.access_token),
            ends_at: asked_at + Duration::from_secs(answer.expires_in),
        })
    }

    async fn assert(&self, account: &ServiceAccount, scope: &str) -> Result<Granted, BackendError> {
        let issued_at = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = serde_json::json!({
            "iss": account.client_email,
            "scope": scope,
            "aud": account.token_uri,
            "iat": issued_at.as_secs(),
            "exp": (issued_at + ASSERTION_LIFE).as_secs(),
        });
        let key_id = account.private_key_id.as_deref();
        let assertion = account.private_key.jwt(key_id, &claims)?;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
        ];
        let request = ask::form(&account.token_uri, &fields)?;
        self.granted("the token endpoint of the service account", request)
            .await
    }

    /// A person's tokens have the scopes that the person agreed to.
    async fn refresh(&self, user: &User) -> Result<Granted, BackendError> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", user.client_id.as_str()),
            ("client_secret", user.client_secret.expose()),
            ("refresh_token", user.refresh_token.expose()),
        ];
        let request = ask::form(&user.token_uri, &fields)?;
        self.granted("the token endpoint of the user", request)
            .await
    }

    async fn metadata(&self, host: &str, scope: &str) -> Result<Granted, BackendError> {
        let url = format!("http://{host}/{METADATA_ACCOUNT}/token?scopes={scope}");
        let request = ask::get(&url, &[METADATA_FLAVOR])?;
        let whom = "no credentials are configured, and the metadata server";
        self.granted(whom, request).await
    }

    /// A token of a service account, on the word of another identity.
    async fn impersonate(
        &self,
        account: &Impersonated,
        scope: &str,
    ) -> Result<Granted, BackendError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: String,
            expire_time: String,
        }
        let source = self.token(&account.source, IAM).await?;
        let body = serde_json::json!({
            "scope": [scope],
            "delegates": account.delegates,
            "lifetime": format!("{}s", account.lifetime_seconds),
        });
        let request = ask::post(&account.url, &source.token, &body)?;
        let whom = "impersonating the service account";
        let answer: Answer = ask::json(&self.client, whom, request).await?;
        let ends_at = OffsetDateTime::parse(&answer.expire_time, &Rfc3339).map_err(|_| {
            BackendError::NoCredentials(format!("{whom}: expireTime is no RFC 3339 time"))
        })?;
        Ok(Granted {
            token: Secret::new(answer.access_token),
            ends_at: ends_at.into(),
        })
    }
}

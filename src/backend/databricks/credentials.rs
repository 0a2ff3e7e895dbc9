//! Whose requests the Databricks backend sends: a personal access token, or a service principal's tokens had by OAuth
//! machine to machine (client credentials, RFC 6749 §4.4).
//!
//! Follows Databricks' "Authorize service principal access with OAuth": the workspace names its token endpoint in
//! `/oidc/.well-known/oauth-authorization-server` (RFC 8414). Never sends the client's secret in the clear where the
//! workspace itself is reached by TLS.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::backend::BackendError;
use crate::backend::config::{DatabricksConfig, DatabricksIdentity};
use crate::backend::http::HttpClient;
use crate::backend::renewing::{Clock, Issuer, Lease, Renewing};
use crate::secret::Secret;

const METADATA: &str = "/oidc/.well-known/oauth-authorization-server";
const USUAL_ENDPOINT: &str = "/oidc/v1/token";
/// What a client credentials grant asks of a workspace.
const GRANT: &str = "grant_type=client_credentials&scope=all-apis";
/// The life of a token whose answer names none (RFC 6749 §5.1 lets it): Databricks' own are an hour long.
const USUAL_LIFE: Duration = Duration::from_secs(3600);

/// The bearer tokens in force.
pub struct DatabricksCredentials(Renewing<Secret>);

impl DatabricksCredentials {
    /// Asks nobody until the first request wants a token.
    pub fn new(config: &DatabricksConfig, client: HttpClient, clock: Clock) -> Self {
        let renewing = match config.identity.clone() {
            DatabricksIdentity::Token(token) => Renewing::with_clock(Given(token), clock),
            DatabricksIdentity::Client {
                client_id,
                client_secret,
            } => {
                let principal = ServicePrincipal {
                    host: config.host.clone(),
                    client_id,
                    client_secret,
                    client,
                    clock: clock.clone(),
                };
                Renewing::with_clock(principal, clock)
            }
        };
        Self(renewing)
    }

    /// A token that has not ended.
    pub async fn current(&self) -> Result<Arc<Secret>, BackendError> {
        self.0.current().await
    }

    /// The end of the token in force, where it has one that is known: a personal access token's is not.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.0.watched_end()
    }

    /// Forgets the token in force, which the workspace has refused; whether another one can be had.
    pub fn renewable(&self) -> bool {
        let renewable = self.0.ends_at().is_some();
        if renewable {
            self.0.forget();
        }
        renewable
    }
}

/// A personal access token: it ends when its owner says so, and nobody tells.
struct Given(Secret);

#[async_trait]
impl Issuer<Secret> for Given {
    async fn issue(&self) -> Result<Lease<Secret>, BackendError> {
        Ok(Lease {
            value: Arc::new(self.0.clone()),
            ends_at: None,
        })
    }
}

struct ServicePrincipal {
    host: Url,
    client_id: String,
    client_secret: Secret,
    client: HttpClient,
    clock: Clock,
}

#[derive(serde::Deserialize)]
struct Metadata {
    token_endpoint: String,
}

#[derive(serde::Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(serde::Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    error: String,
}

#[async_trait]
impl Issuer<Secret> for ServicePrincipal {
    async fn issue(&self) -> Result<Lease<Secret>, BackendError> {
        let asked_at = (self.clock)();
        let endpoint = self.token_endpoint().await?;
        let request = Request::post(endpoint.as_str())
            .header(header::AUTHORIZATION, self.basic())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(GRANT));
        let response = self.ask(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        let token: Token = serde_json::from_slice(response.body())
            .map_err(|_| no_token("the token endpoint's answer holds no token"))?;
        let life = token.expires_in.map_or(USUAL_LIFE, Duration::from_secs);
        Ok(Lease {
            value: Arc::new(Secret::new(token.access_token)),
            ends_at: asked_at.checked_add(life),
        })
    }
}

impl ServicePrincipal {
    /// Where tokens are had, asked anew for each: a token lives for an hour.
    async fn token_endpoint(&self) -> Result<Url, BackendError> {
        let here = |path| {
            let url = self.host.join(path);
            url.map_err(|_| no_token("the host cannot be asked for a token"))
        };
        let response = self
            .ask(Request::get(here(METADATA)?.as_str()).body(Full::default()))
            .await?;
        let endpoint = match response.status() {
            StatusCode::OK => {
                let metadata = serde_json::from_slice::<Metadata>(response.body()).ok();
                metadata
                    .and_then(|metadata| Url::parse(&metadata.token_endpoint).ok())
                    .ok_or_else(|| {
                        no_token("the workspace's oauth metadata names no token endpoint")
                    })?
            }
            StatusCode::NOT_FOUND => here(USUAL_ENDPOINT)?,
            _ => return Err(refused(&response)),
        };
        if endpoint.scheme() != "https" && self.host.scheme() == "https" {
            return Err(no_token("the workspace names a token endpoint without tls"));
        }
        Ok(endpoint)
    }

    /// HTTP Basic with both halves form-encoded first (RFC 6749 §2.3.1).
    fn basic(&self) -> String {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let (id, secret) = (
            encoded(&self.client_id),
            encoded(self.client_secret.expose()),
        );
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    }

    async fn ask(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Bytes>, BackendError> {
        let request = request.map_err(|_| no_token("the host cannot be asked for a token"))?;
        let answer = self.client.fetch(request).await;
        answer.map_err(|error| unavailable(&error))
    }
}

/// Whoever issues tokens cannot be asked: it may be another time.
fn unavailable(why: &dyn std::fmt::Display) -> BackendError {
    BackendError::CredentialsUnavailable(format!("no token was issued: {why}"))
}

fn no_token(why: &str) -> BackendError {
    BackendError::NoCredentials(why.into())
}

/// RFC 6749 §5.2: what is wrong stands in `error`; the description is not passed on.
fn refused(response: &Response<Bytes>) -> BackendError {
    let refusal: Refusal = serde_json::from_slice(response.body()).unwrap_or_default();
    let plain = |error: &str| error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let status = response.status();
    let said = match refusal.error.as_str() {
        error if !error.is_empty() && error.len() < 64 && plain(error) => error,
        _ => status.as_str(),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return unavailable(&said);
    }
    no_token(&format!("the workspace issued no token: {said}"))
}

//! Access tokens of Entra ID for an identity: one request to its authority or to the machine's metadata service.
//!
//! By hand over the house's own client: each flow is one documented request, and what renews them is the house's too.
//! Holds no token and knows no blob. Follows "OAuth 2.0 client credentials flow on the Microsoft identity platform"
//! (secret and federated credential), "How to use managed identities to acquire an access token" and "Use managed
//! identities for App Service".

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use url::Url;
use url::form_urlencoded::Serializer;

use super::BackendError;
use crate::backend::config::{AzureApplication, AzureIdentity};
use crate::backend::http::HttpClient;
use crate::backend::renewing::{Clock, Issuer, Lease};
use crate::secret::Secret;

/// Whom the tokens are for: any account's storage.
const RESOURCE: &str = "https://storage.azure.com/";
const SCOPE: &str = "https://storage.azure.com/.default";
/// RFC 7523 §2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A federated token is one JWT; what is longer is another file.
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// An access token.
pub(super) struct Token {
    /// The token itself.
    pub(super) text: Secret,
    /// When it was had.
    pub(super) issued_at: SystemTime,
}

/// Asks for an identity's tokens.
pub(super) struct TokenIssuer {
    pub(super) identity: AzureIdentity,
    pub(super) client: HttpClient,
    pub(super) clock: Clock,
}

#[async_trait]
impl Issuer<Token> for TokenIssuer {
    async fn issue(&self) -> Result<Lease<Token>, BackendError> {
        let issued_at = (self.clock)();
        let answer = match self.client.fetch(self.request().await?).await {
            Ok(answer) => answer,
            // Their source cannot be asked: an outage, where a refusal is a mistake.
            Err(error) => return Err(BackendError::CredentialsUnavailable(error.to_string())),
        };
        let granted = granted(&answer).map_err(|reason| {
            let reason = self.without_a_token(&reason);
            match is_busy(answer.status()) {
                true => BackendError::CredentialsUnavailable(reason),
                false => BackendError::NoCredentials(reason),
            }
        })?;
        Ok(Lease {
            ends_at: Some(granted.ends_at(issued_at)),
            value: Arc::new(Token {
                text: Secret::new(granted.access_token),
                issued_at,
            }),
        })
    }
}

impl TokenIssuer {
    fn without_a_token(&self, reason: &str) -> String {
        let asked = match &self.identity {
            AzureIdentity::ServicePrincipal { .. } => {
                "entra id gave no token for the client secret"
            }
            AzureIdentity::Workload { .. } => "entra id gave no token for the workload identity",
            AzureIdentity::Managed { .. } | AzureIdentity::AppService { .. } => {
                "no managed identity gave a token"
            }
        };
        format!("{asked}: {reason}")
    }

    async fn request(&self) -> Result<Request<Full<Bytes>>, BackendError> {
        match &self.identity {
            AzureIdentity::ServicePrincipal {
                application,
                client_secret,
            } => client_credentials(application, &[("client_secret", client_secret.expose())]),
            AzureIdentity::Workload {
                application,
                token_file,
            } => {
                let unreadable = |error: std::io::Error| {
                    let reason = format!("{}: {error}", token_file.display());
                    BackendError::NoCredentials(self.without_a_token(&reason))
                };
                let token = federated_token(token_file).await.map_err(unreadable)?;
                let proof = [
                    ("client_assertion_type", JWT_BEARER),
                    ("client_assertion", token.expose()),
                ];
                client_credentials(application, &proof)
            }
            AzureIdentity::Managed {
                client_id,
                endpoint,
            } => {
                let mut url = endpoint.clone();
                url.set_path("/metadata/identity/oauth2/token");
                managed(url, "2018-02-01", client_id, "metadata", "true")
            }
            AzureIdentity::AppService {
                client_id,
                endpoint,
                header,
            } => managed(
                endpoint.clone(),
                "2019-08-01",
                client_id,
                "x-identity-header",
                header.expose(),
            ),
        }
    }
}

/// The file is read for each token: its own issuer replaces it well before it ends.
async fn federated_token(file: &Path) -> std::io::Result<Secret> {
    if tokio::fs::metadata(file).await?.len() > MAX_TOKEN_FILE {
        return Err(std::io::Error::other("too large for a token"));
    }
    let text = tokio::fs::read_to_string(file).await?;
    Ok(Secret::new(text.trim()))
}

fn client_credentials(
    application: &AzureApplication,
    proof: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, BackendError> {
    let form = Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &application.client_id)
        .append_pair("scope", SCOPE)
        .extend_pairs(proof)
        .finish();
    let mut url = application.authority_host.clone();
    url.set_path(&format!("/{}/oauth2/v2.0/token", application.tenant_id));
    Request::post(url.as_str())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .map_err(super::unsendable)
}

fn managed(
    mut url: Url,
    version: &str,
    client_id: &Option<String>,
    field: &'static str,
    value: &str,
) -> Result<Request<Full<Bytes>>, BackendError> {
    url.query_pairs_mut()
        .append_pair("api-version", version)
        .append_pair("resource", RESOURCE)
        .extend_pairs(client_id.iter().map(|id| ("client_id", id)));
    Request::get(url.as_str())
        .header(field, value)
        .body(Full::default())
        .map_err(super::unsendable)
}

/// A token as it comes. Entra writes seconds as numbers, the metadata service as text; one says how long the token
/// lives, another until when.
#[derive(serde::Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Seconds>,
    expires_on: Option<Seconds>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(digits) => digits.parse().ok()?,
        };
        // A century at most: a clock cannot be carried past its end by an answer.
        (seconds < 100 * 366 * 86_400).then(|| Duration::from_secs(seconds))
    }
}

impl Granted {
    /// An answer that says no end is trusted for as little as one renewal a minute costs.
    fn ends_at(&self, now: SystemTime) -> SystemTime {
        let read = |written: &Option<Seconds>| written.as_ref().and_then(Seconds::duration);
        match (read(&self.expires_in), read(&self.expires_on)) {
            (Some(life), _) => now + life,
            (None, Some(since_epoch)) => UNIX_EPOCH + since_epoch,
            (None, None) => now + Duration::from_secs(60),
        }
    }
}

/// RFC 6749 §5.2, and the metadata service's errors, which have the same form.
#[derive(Default, serde::Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Whether whoever gives tokens is out of order for now: 410 is the metadata service's while it is being updated
/// ("How to use managed identities to acquire an access token", error handling).
fn is_busy(status: http::StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 410 | 429)
}

fn granted(answer: &Response<Bytes>) -> Result<Granted, String> {
    if answer.status().is_success() {
        // serde's own message may quote what it read.
        return serde_json::from_slice(answer.body())
            .map_err(|_| "an answer without a token".to_owned());
    }
    let refused: Refused = serde_json::from_slice(answer.body()).unwrap_or_default();
    let status = answer.status().as_u16();
    let code = refused
        .error_description
        .split(':')
        .next()
        .unwrap_or_default();
    let code = code.strip_prefix("AADSTS").filter(|digits| {
        !digits.is_empty() && digits.len() < 12 && digits.bytes().all(|b| b.is_ascii_digit())
    });
    let error: String = refused
        .error
        .chars()
        .filter(|c| c.is_ascii_lowercase() || *c == '_')
        .take(40)
        .collect();
    Err(match code {
        Some(code) => format!("{error} (AADSTS{code}{})", meaning(code)),
        None if error.is_empty() => format!("status {status}"),
        None => format!("{error} (status {status})"),
    })
}

/// The commonest of Entra's codes ("Microsoft Entra authentication and authorization error codes").
fn meaning(code: &str) -> &'static str {
    match code {
        "7000215" => ": client_secret is not the value of a secret of this application",
        "7000222" => ": the client secret has ended",
        "700016" => ": client_id is no application of this tenant",
        "90002" | "900023" => ": no such tenant_id",
        "70021" | "700211" | "700212" | "700213" => {
            ": no federated credential matches the token's issuer, subject and audience"
        }
        "700024" => ": the federated token has ended, or the clock is off",
        _ => "",
    }
}

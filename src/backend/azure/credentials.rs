//! What Azure is asked with: the account's key, a SAS, or an identity's token; and what URLs are signed with.
//!
//! Tokens and user delegation keys are had once for all and renewed ahead of their end. Follows "Authorize access to
//! Azure Storage" and "Get User Delegation Key" of the Storage REST reference.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;

use super::oauth::{Token, TokenIssuer};
use super::sign::{UserDelegationKey, VERSION, parse_utc, shared_key, utc};
use super::{BackendError, answers, unsendable};
use crate::backend::config::{AzureConfig, AzureCredentials};
use crate::backend::http::HttpClient;
use crate::backend::renewing::{Clock, Issuer, Lease, Renewing};
use crate::secret::Secret;

/// The longest life of a user delegation key, and so of what it signs.
pub(super) const DELEGATION_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A delegation key is asked for anew this often, so that nearly all of its life is left for what it signs, and so
/// that one that was revoked is in use no longer than this.
const DELEGATION_IN_USE: Duration = Duration::from_secs(3600);
/// A delegation key begins this long ago, should storage's clock be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// A token that storage refuses is given up before its end, but not when it was just had: another would fare no better.
const TOKEN_IS_NEW: Duration = Duration::from_secs(60);

/// The credentials in force.
pub(super) enum Credentials {
    /// The account's key.
    AccountKey(Secret),
    /// A signature that somebody else made, and its end.
    Sas(Secret, Option<SystemTime>),
    /// An identity.
    Identity {
        tokens: Arc<Renewing<Token>>,
        delegation: Renewing<Delegation>,
        clock: Clock,
    },
}

/// A user delegation key, and the end that it was given.
pub(super) struct Delegation {
    pub(super) key: UserDelegationKey,
    pub(super) ends_at: SystemTime,
}

impl Credentials {
    pub(super) fn new(config: &AzureConfig, client: &HttpClient, clock: &Clock) -> Self {
        match &config.credentials {
            AzureCredentials::AccountKey(key) => Self::AccountKey(key.clone()),
            AzureCredentials::Sas(query) => Self::Sas(query.clone(), sas_end(query)),
            AzureCredentials::Identity(identity) => {
                let issuer = TokenIssuer {
                    identity: identity.clone(),
                    client: client.clone(),
                    clock: clock.clone(),
                };
                let tokens = Arc::new(Renewing::with_clock(issuer, clock.clone()));
                let delegation = DelegationIssuer {
                    tokens: tokens.clone(),
                    url: format!(
                        "{}/?restype=service&comp=userdelegationkey",
                        super::account_url(config)
                    ),
                    client: client.clone(),
                    clock: clock.clone(),
                };
                Self::Identity {
                    tokens,
                    delegation: Renewing::with_clock(delegation, clock.clone()),
                    clock: clock.clone(),
                }
            }
        }
    }

    /// Signs a request that has no body.
    pub(super) async fn authorize<B>(
        &self,
        account: &str,
        request: &mut Request<B>,
    ) -> Result<(), BackendError> {
        stamp(request)?;
        match self {
            Self::AccountKey(key) => {
                let path = request.uri().path_and_query();
                let path = path.map_or("/", |path| path.as_str());
                let value = shared_key(account, key, request.method(), path, request.headers())?;
                set_authorization(request, &value)
            }
            Self::Sas(query, ends_at) => {
                if let Some(end) = ends_at.filter(|end| *end <= SystemTime::now()) {
                    let reason = format!("the sas has ended at {}", utc(end));
                    return Err(BackendError::CredentialsUnavailable(reason));
                }
                let sign = if request.uri().query().is_some() {
                    '&'
                } else {
                    '?'
                };
                let uri = format!("{}{sign}{}", request.uri(), query.expose());
                *request.uri_mut() = uri.parse().map_err(unsendable)?;
                Ok(())
            }
            Self::Identity { tokens, .. } => bear(request, &*tokens.current().await?),
        }
    }

    /// The end of the credentials in force, where they have one.
    pub(super) fn ends_at(&self) -> Option<SystemTime> {
        match self {
            Self::AccountKey(_) => None,
            Self::Sas(_, ends_at) => *ends_at,
            Self::Identity { tokens, .. } => tokens.watched_end(),
        }
    }

    /// Storage did not know whom it was asked by: a token may have been revoked before its end.
    pub(super) async fn refused(&self) {
        if let Self::Identity { tokens, clock, .. } = self
            && let Ok(token) = tokens.current().await
            && token.issued_at + TOKEN_IS_NEW < clock()
        {
            tokens.forget_refused(&token);
        }
    }
}

/// `se` of a SAS.
fn sas_end(query: &Secret) -> Option<SystemTime> {
    let parameters = url::form_urlencoded::parse(query.expose().as_bytes());
    let mut ends = parameters.filter(|(name, _)| name == "se");
    ends.next().and_then(|(_, end)| parse_utc(&end))
}

/// The fields that every request has.
fn stamp<B>(request: &mut Request<B>) -> Result<(), BackendError> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let date = HeaderValue::try_from(date).map_err(unsendable)?;
    let fields = request.headers_mut();
    fields.insert("x-ms-date", date);
    fields.insert("x-ms-version", HeaderValue::from_static(VERSION));
    Ok(())
}

fn bear<B>(request: &mut Request<B>, token: &Token) -> Result<(), BackendError> {
    set_authorization(request, &format!("Bearer {}", token.text.expose()))
}

fn set_authorization<B>(request: &mut Request<B>, value: &str) -> Result<(), BackendError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| BackendError::NoCredentials("a token that no header can hold".into()))?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Asks storage for a key that signs in an identity's name.
struct DelegationIssuer {
    tokens: Arc<Renewing<Token>>,
    url: String,
    client: HttpClient,
    clock: Clock,
}

#[async_trait]
impl Issuer<Delegation> for DelegationIssuer {
    async fn issue(&self) -> Result<Lease<Delegation>, BackendError> {
        let now = (self.clock)();
        // A minute less than is allowed, should storage's clock be behind.
        let (start, ends_at) = (
            now - CLOCK_SKEW,
            now + DELEGATION_LIFE - Duration::from_secs(60),
        );
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>",
            utc(start),
            utc(ends_at)
        );
        let mut request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/xml")
            .body(Full::from(document))
            .map_err(unsendable)?;
        stamp(&mut request)?;
        bear(&mut request, &*self.tokens.current().await?)?;
        let answer = self.client.fetch(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(answers::refusal(
                answer.status(),
                answer.headers(),
                answer.body(),
            ));
        }
        let key = delegation_key(answer.body())?;
        let ends_at = parse_utc(&key.signed_expiry).map_or(ends_at, |end| end.min(ends_at));
        Ok(Lease {
            value: Arc::new(Delegation { key, ends_at }),
            ends_at: Some(ends_at.min(now + DELEGATION_IN_USE)),
        })
    }
}

fn delegation_key(document: &Bytes) -> Result<UserDelegationKey, BackendError> {
    quick_xml::de::from_reader(&document[..])
        .map_err(|_| BackendError::Protocol("a user delegation key that cannot be read".into()))
}

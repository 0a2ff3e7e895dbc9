//! Whose requests the S3 backend signs: static keys, or the SDK's default chain, and a role assumed with either.
//!
//! One refresh serves all requests, ahead of the credentials' end; while a refresh fails the old ones serve until
//! their end. Follows the AWS SDKs' "standardized credential providers".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::sync::OnceCell;

use super::place::region;
use crate::backend::BackendError;
use crate::backend::config::S3Config;
use crate::backend::renewing::{Issuer, Lease, Renewing};

/// The credentials in force.
pub(super) struct S3Credentials {
    pub(super) renewing: Renewing<Credentials>,
    /// Whether asking once more may give others: not for a key that the configuration holds.
    pub(super) renewable: bool,
}

impl S3Credentials {
    /// Asks nobody yet: the chain is walked when the first request wants to be signed.
    pub(super) fn new(config: S3Config) -> Self {
        Self {
            renewable: config.credentials.is_none() || config.role_arn.is_some(),
            renewing: Renewing::new(Chain {
                config,
                provider: OnceCell::new(),
                were_had: AtomicBool::new(false),
            }),
        }
    }

    /// Credentials that have not ended.
    pub(super) async fn current(&self) -> Result<Arc<Credentials>, BackendError> {
        self.renewing.current().await
    }

    /// Storage takes these for ended: they are forgotten. Whether asking once more may give others.
    pub(super) fn refused(&self, credentials: &Arc<Credentials>) -> bool {
        if self.renewable {
            self.renewing.forget_refused(credentials);
        }
        self.renewable
    }

    /// The end of the credentials in force, where they have one; see [`Renewing::watched_end`].
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        self.renewing.watched_end()
    }
}

/// The provider, made when it is first asked: the chain may look at files and at the network.
struct Chain {
    config: S3Config,
    provider: OnceCell<SharedCredentialsProvider>,
    were_had: AtomicBool,
}

#[async_trait]
impl Issuer<Credentials> for Chain {
    async fn issue(&self) -> Result<Lease<Credentials>, BackendError> {
        let provider = self.provider.get_or_init(|| provider(&self.config)).await;
        match provider.provide_credentials().await {
            Ok(credentials) => {
                self.were_had.store(true, Ordering::Relaxed);
                Ok(Lease {
                    ends_at: credentials.expiry(),
                    value: Arc::new(credentials),
                })
            }
            Err(error) => Err(match failure(&error) {
                Failure::Outage => BackendError::CredentialsUnavailable(reason(&error)),
                // What gave credentials before is configured rightly.
                Failure::Unclear if self.were_had.load(Ordering::Relaxed) => {
                    BackendError::CredentialsUnavailable(reason(&error))
                }
                Failure::Unclear | Failure::Refusal => BackendError::NoCredentials(reason(&error)),
            }),
        }
    }
}

/// Why there are no credentials, as far as the SDK tells.
enum Failure {
    /// Their source could not be asked, which may be over in a moment.
    Outage,
    /// STS answered, and will not give any.
    Refusal,
    /// It cannot be told.
    Unclear,
}

fn failure(error: &CredentialsError) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<ConnectorError>() {
            return Failure::Outage;
        }
        if let Some(said) = answer_of_sts(error) {
            return said;
        }
        cause = error.source();
    }
    match error {
        CredentialsError::ProviderTimedOut(_) => Failure::Outage,
        _ => Failure::Unclear,
    }
}

/// What STS's answer to either way of assuming a role says ("Common errors" of its reference); none where it is none.
fn answer_of_sts(error: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    fn read<'a, E: ProvideErrorMetadata + std::error::Error + 'static>(
        error: &'a (dyn std::error::Error + 'static),
    ) -> Option<(u16, Option<&'a str>)> {
        let SdkError::ServiceError(answer) = error.downcast_ref::<SdkError<E, HttpResponse>>()?
        else {
            return None;
        };
        Some((answer.raw().status().as_u16(), answer.err().code()))
    }
    let (status, code) =
        read::<AssumeRoleError>(error).or_else(|| read::<AssumeRoleWithWebIdentityError>(error))?;
    // It asks to slow down with a 400 (and this code), too.
    let throttles = status == 429 || code.is_some_and(|code| code.starts_with("Throttling"));
    Some(match status {
        400..500 if !throttles => Failure::Refusal,
        _ => Failure::Outage,
    })
}

/// The SDK's errors say little at the top; what helps stands below. No SDK puts a secret in either.
fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    reason
}

async fn provider(config: &S3Config) -> SharedCredentialsProvider {
    let own = match &config.credentials {
        Some(keys) => SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key_id,
            keys.secret_access_key.expose(),
            keys.session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "lockgate.toml",
        )),
        None => {
            let mut chain = DefaultCredentialsChain::builder();
            if let Some(profile) = &config.profile {
                chain = chain.profile_name(profile);
            }
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let Some(role) = &config.role_arn else {
        return own;
    };
    let mut sdk_config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region(config).await))
        .credentials_provider(own.clone());
    if let Some(endpoint) = &config.sts_endpoint {
        sdk_config = sdk_config.endpoint_url(endpoint.as_str());
    }
    let mut assume = AssumeRoleProvider::builder(role)
        .session_name(config.role_session_name.as_deref().unwrap_or("lockgate"))
        .configure(&sdk_config.load().await);
    if let Some(external_id) = &config.external_id {
        assume = assume.external_id(external_id.expose());
    }
    if let Some(duration) = config.role_duration {
        assume = assume.session_length(duration);
    }
    SharedCredentialsProvider::new(assume.build_from_provider(own).await)
}

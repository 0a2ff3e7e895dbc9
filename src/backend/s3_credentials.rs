//! Whose requests the S3 backend signs: static keys, or the SDK's default chain, and a role assumed with either.
//!
//! One refresh serves all requests, ahead of the credentials' end; while a refresh fails the old ones serve until
//! their end. Follows the AWS SDKs' "standardized credential providers".

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::OnceCell;

use super::BackendError;
use super::config::S3Config;
use super::renewing::{Issuer, Lease, Renewing};

/// Where nothing says otherwise.
const DEFAULT_REGION: &str = "us-east-1";

/// The credentials in force.
pub struct S3Credentials(Renewing<Credentials>);

impl S3Credentials {
    /// Asks nobody yet: the chain is walked when the first request wants to be signed.
    pub fn new(config: S3Config) -> Self {
        Self(Renewing::new(Chain {
            config,
            provider: OnceCell::new(),
        }))
    }

    /// Credentials that have not ended.
    pub async fn current(&self) -> Result<Arc<Credentials>, BackendError> {
        self.0.current().await
    }

    /// The end of the credentials in force, where they have one.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.0.ends_at()
    }
}

/// The provider, made when it is first asked: the chain may look at files and at the network.
struct Chain {
    config: S3Config,
    provider: OnceCell<SharedCredentialsProvider>,
}

#[async_trait]
impl Issuer<Credentials> for Chain {
    async fn issue(&self) -> Result<Lease<Credentials>, BackendError> {
        let provider = self.provider.get_or_init(|| provider(&self.config)).await;
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Lease {
                ends_at: credentials.expiry(),
                value: Arc::new(credentials),
            }),
            Err(error) => Err(BackendError::NoCredentials(reason(&error))),
        }
    }
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
    let sdk_config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region(config).await))
        .credentials_provider(own.clone())
        .load()
        .await;
    let mut assume = AssumeRoleProvider::builder(role)
        .session_name("lockgate")
        .configure(&sdk_config);
    if let Some(external_id) = &config.external_id {
        assume = assume.external_id(external_id.expose());
    }
    SharedCredentialsProvider::new(assume.build_from_provider(own).await)
}

/// The region to sign for: configured, else the SDK's chain, else `us-east-1`.
pub async fn region(config: &S3Config) -> String {
    if let Some(region) = &config.region {
        return region.clone();
    }
    // A server of one's own has no region, and the chain may take seconds to find that this is no cloud machine.
    if config.endpoint.is_some() {
        return DEFAULT_REGION.to_owned();
    }
    let mut chain = DefaultRegionChain::builder();
    if let Some(profile) = &config.profile {
        chain = chain.profile_name(profile);
    }
    chain
        .build()
        .region()
        .await
        .map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.to_string())
}

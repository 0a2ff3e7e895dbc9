//! What a `[[storage]]` section says of credentials and places, as the backends want it; `config` fills it in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::gcs::identity::Identity;
use crate::secret::Secret;

/// How to reach one storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// S3 and what speaks its protocol.
    S3(Box<S3Config>),
    /// Files below a root.
    Local(LocalConfig),
    /// Azure Blob Storage.
    Azure(Box<AzureConfig>),
    /// Google Cloud Storage.
    Gcs(Box<GcsConfig>),
    /// A volume of a Databricks workspace.
    Databricks(DatabricksConfig),
    /// String values of a Redis database.
    Redis(RedisConfig),
}

impl BackendConfig {
    /// The word for it, as it is written in `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Local(_) => "local",
            Self::Azure(_) => "azure",
            Self::Gcs(_) => "gcs",
            Self::Databricks(_) => "databricks",
            Self::Redis(_) => "redis",
        }
    }

    /// The CA that is trusted beside the system's, where one is configured.
    pub fn ca_file(&self) -> Option<&Path> {
        match self {
            Self::S3(s3) => s3.ca_file.as_deref(),
            Self::Azure(azure) => azure.ca_file.as_deref(),
            Self::Gcs(gcs) => gcs.ca_file.as_deref(),
            Self::Local(_) => None,
            Self::Databricks(databricks) => databricks.ca_file.as_deref(),
            Self::Redis(redis) => redis.ca_file.as_deref(),
        }
    }
}

/// When a request to storage is slow enough to be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// Past the 95th of a hundred of its latest answers.
    P95,
    /// After so long.
    After(Duration),
}

/// `kind = "s3"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// The region. Where none is set it is found out from storage's answers, beginning with the SDK's chain, then
    /// `us-east-1`.
    pub region: Option<String>,
    /// Where an S3-compatible server is; AWS where none is set.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the path and not in the host's name. The default: yes with an endpoint, and for
    /// names with dots; no on AWS.
    pub path_style: bool,
    /// Static credentials; the SDK's default chain where there are none.
    pub credentials: Option<StaticCredentials>,
    /// The profile of the SDK's chain.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<Secret>,
    /// What the role's session is called in the account's logs (CloudTrail); `lockgate` where none is set.
    pub role_session_name: Option<String>,
    /// How long the role's credentials shall last; an hour where none is set.
    pub role_duration: Option<Duration>,
    /// Where AssumeRole is asked; the region's own STS, or what `AWS_ENDPOINT_URL_STS` says, where none is set.
    pub sts_endpoint: Option<url::Url>,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticCredentials {
    /// The key's id, not a secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// `kind = "local"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The directory that holds the files.
    pub root: PathBuf,
}

/// `kind = "azure"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureConfig {
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// Where the account's blobs are, the account in the path where it must be; `https://ACCOUNT.blob.core.windows.net`
    /// where none is set.
    pub endpoint: Option<Url>,
    /// Who asks.
    pub credentials: AzureCredentials,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Who asks Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureCredentials {
    /// The account's key, base64: reads and signs.
    AccountKey(Secret),
    /// A shared access signature, without its question mark: reads, and cannot be handed out.
    Sas(Secret),
    /// An identity of Entra ID: reads, and signs with a key that it asks for.
    Identity(AzureIdentity),
}

/// An identity of Entra ID, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureIdentity {
    /// A service principal: an application and its secret.
    ServicePrincipal {
        /// The application.
        application: AzureApplication,
        /// Its secret.
        client_secret: Secret,
    },
    /// Workload identity: a token that another issuer (Kubernetes) writes to a file, and renews there.
    Workload {
        /// The application.
        application: AzureApplication,
        /// The file.
        token_file: PathBuf,
    },
    /// The managed identity of a machine, from its metadata service.
    Managed {
        /// A user-assigned identity; the machine's own where none is named.
        client_id: Option<String>,
        /// The metadata service.
        endpoint: Url,
    },
    /// The managed identity of App Service, Functions or Container Apps.
    AppService {
        /// A user-assigned identity; the system's where none is named.
        client_id: Option<String>,
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`: proves that the process that asks is the app.
        header: Secret,
    },
}

/// An application of Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureApplication {
    /// Where its tenant's tokens are had.
    pub authority_host: Url,
    /// The tenant.
    pub tenant_id: String,
    /// The application.
    pub client_id: String,
}

/// `kind = "gcs"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsConfig {
    /// The bucket.
    pub bucket: String,
    /// Where another server than `https://storage.googleapis.com` is.
    pub endpoint: Option<Url>,
    /// Where another server than `https://iamcredentials.googleapis.com` signs for identities without a key.
    pub iam_endpoint: Option<Url>,
    /// Who asks; nobody: a public bucket.
    pub identity: Option<Identity>,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// `kind = "databricks"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabricksConfig {
    /// The workspace, `https://host`.
    pub host: url::Url,
    /// `catalog/schema/volume`.
    pub volume: String,
    /// Whose requests these are.
    pub identity: DatabricksIdentity,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Who asks a Databricks workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabricksIdentity {
    /// The owner of a personal access token.
    Token(Secret),
    /// A service principal, by OAuth.
    Client {
        /// Its application id, not a secret.
        client_id: String,
        /// Its OAuth secret.
        client_secret: Secret,
    },
}

/// `kind = "redis"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub db: u32,
    /// The ACL user; the default user where none is set.
    pub username: Option<String>,
    /// The user's password, or the server's.
    pub password: Option<Secret>,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

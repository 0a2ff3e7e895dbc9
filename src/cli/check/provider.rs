//! What differs between the stores that are reached over a network: where the server is, which settings name it, and
//! who asks. Makes no request.

use url::Url;

use crate::backend::config::{
    AzureConfig, AzureCredentials, AzureIdentity, BackendConfig, DatabricksConfig,
    DatabricksIdentity, GcsConfig, RedisConfig, S3Config,
};
use crate::backend::gcs::identity::Identity;

/// The settings that name a server, for advice.
#[derive(Clone, Copy)]
pub struct Naming {
    /// The one that holds its address.
    pub setting: &'static str,
    /// All that its name is made of.
    pub made_of: &'static str,
    /// What else helps where the name is wrong; begins with `; `.
    pub hint: &'static str,
}

impl Naming {
    /// Of a proxy that the environment names.
    pub const PROXY: Self = Self {
        setting: "HTTPS_PROXY",
        made_of: "HTTPS_PROXY",
        hint: "; NO_PROXY leaves a host out",
    };

    /// Of a storage.
    pub fn of(backend: &BackendConfig) -> Self {
        let (setting, made_of, hint) = match backend {
            BackendConfig::S3(_) => (
                "endpoint",
                "endpoint or region",
                "; path_style = true keeps the bucket out of the host's name",
            ),
            BackendConfig::Azure(_) => ("endpoint", "account or endpoint", ""),
            BackendConfig::Gcs(_) => ("endpoint", "endpoint", ""),
            BackendConfig::Databricks(_) | BackendConfig::Redis(_) => ("host", "host", ""),
            BackendConfig::Local(_) => ("root", "root", ""),
        };
        Self {
            setting,
            made_of,
            hint,
        }
    }
}

/// Where requests go, as configured.
pub fn server(backend: &BackendConfig) -> Option<Url> {
    match backend {
        BackendConfig::S3(s3) => s3_server(s3),
        BackendConfig::Azure(azure) => azure_server(azure),
        BackendConfig::Gcs(gcs) => match &gcs.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => Url::parse("https://storage.googleapis.com/").ok(),
        },
        BackendConfig::Databricks(databricks) => Some(databricks.host.clone()),
        BackendConfig::Redis(redis) => redis_server(redis),
        BackendConfig::Local(_) => None,
    }
}

fn s3_server(s3: &S3Config) -> Option<Url> {
    if let Some(endpoint) = &s3.endpoint {
        return Some(endpoint.clone());
    }
    let region = s3.region.as_deref().unwrap_or("us-east-1");
    Url::parse(&format!("https://s3.{region}.amazonaws.com/")).ok()
}

fn azure_server(azure: &AzureConfig) -> Option<Url> {
    match &azure.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => Url::parse(&format!("https://{}.blob.core.windows.net/", azure.account)).ok(),
    }
}

/// Written as a URL for its parts: Redis is not asked by HTTP.
fn redis_server(redis: &RedisConfig) -> Option<Url> {
    let scheme = if redis.tls { "https" } else { "http" };
    let host = match redis.host.contains(':') {
        true => format!("[{}]", redis.host),
        false => redis.host.clone(),
    };
    Url::parse(&format!("{scheme}://{host}:{}/", redis.port)).ok()
}

/// Who asks, by a name that is no secret.
pub fn whose(backend: &BackendConfig) -> String {
    match backend {
        BackendConfig::Azure(azure) => azures(azure),
        BackendConfig::Gcs(gcs) => googles(gcs),
        BackendConfig::Databricks(databricks) => workspaces(databricks),
        BackendConfig::Redis(redis) => match (&redis.username, &redis.password) {
            (Some(user), _) => format!("user {user}"),
            (None, Some(_)) => "the default user, by its password".into(),
            (None, None) => "the default user, without a password".into(),
        },
        BackendConfig::S3(s3) => match (&s3.credentials, &s3.role_arn, &s3.profile) {
            (_, Some(role), _) => format!("by the role {role}"),
            (Some(_), None, _) => "from the configuration".into(),
            (None, None, Some(profile)) => format!("of the profile {profile}"),
            (None, None, None) => "from the AWS SDK's default chain".into(),
        },
        BackendConfig::Local(_) => "the user that Lockgate runs as".into(),
    }
}

fn azures(azure: &AzureConfig) -> String {
    let identity = match &azure.credentials {
        AzureCredentials::AccountKey(_) => return "the account's key".into(),
        AzureCredentials::Sas(_) => return "a sas".into(),
        AzureCredentials::Identity(identity) => identity,
    };
    let managed = |client_id: &Option<String>| match client_id {
        Some(id) => format!("the managed identity {id}"),
        None => "the machine's managed identity".into(),
    };
    match identity {
        AzureIdentity::ServicePrincipal { application, .. } => {
            format!("the service principal {}", application.client_id)
        }
        AzureIdentity::Workload { application, .. } => {
            format!("{}, by workload identity", application.client_id)
        }
        AzureIdentity::Managed { client_id, .. } | AzureIdentity::AppService { client_id, .. } => {
            managed(client_id)
        }
    }
}

fn googles(gcs: &GcsConfig) -> String {
    match &gcs.identity {
        None => "nobody's: the bucket is taken to be public".into(),
        Some(Identity::ServiceAccount(account)) => {
            format!("the service account {}", account.client_email)
        }
        Some(Identity::User(_)) => "a person's, as gcloud left them".into(),
        Some(Identity::Metadata(host)) => {
            format!("this machine's service account, from the metadata server {host}")
        }
        Some(Identity::External(account)) => {
            format!("workload identity federation by {}", account.audience)
        }
        Some(Identity::Impersonated(_)) => "a service account that another identity acts as".into(),
    }
}

fn workspaces(databricks: &DatabricksConfig) -> String {
    match &databricks.identity {
        DatabricksIdentity::Token(_) => "a personal access token".into(),
        DatabricksIdentity::Client { client_id, .. } => {
            format!("the service principal {client_id}")
        }
    }
}

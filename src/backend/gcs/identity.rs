//! Who asks Google Cloud Storage: the JSON of a credentials file as Google writes it, and the metadata server.
//!
//! Makes no request. Follows AIP-4110 (application default), 4112 (service account), 4113 (user) and 4117 (external
//! account). What such a file may hold and Lockgate does not do (running programs) is refused here, by its name.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::key::Key;
use crate::backend::config::StaticCredentials;
use crate::secret::Secret;

/// Where tokens of service accounts and users come from.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// What AWS is asked to confirm an identity by, where the file names nothing else.
const AWS_VERIFICATION: &str =
    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A service account with its key.
    ServiceAccount(ServiceAccount),
    /// A person, as `gcloud auth application-default login` leaves one.
    User(User),
    /// The service account of this machine or pod, from the metadata server at this `host[:port]`.
    Metadata(String),
    /// A workload of another cloud or identity provider (workload identity federation).
    External(Box<ExternalAccount>),
    /// A service account that another identity acts as.
    Impersonated(Box<Impersonated>),
}

/// `"type": "service_account"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    /// Its e-mail address: its name.
    pub client_email: String,
    /// Its key.
    pub private_key: Key,
    /// The key's name.
    pub private_key_id: Option<String>,
    /// Where its tokens come from.
    #[serde(default = "token_uri")]
    pub token_uri: String,
}

/// `"type": "authorized_user"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The OAuth client's id.
    pub client_id: String,
    /// The OAuth client's secret.
    #[serde(deserialize_with = "secret")]
    pub client_secret: Secret,
    /// What tokens are had for.
    #[serde(deserialize_with = "secret")]
    pub refresh_token: Secret,
    /// Where they are had.
    #[serde(default = "token_uri")]
    pub token_uri: String,
}

/// `"type": "external_account"`, impersonation left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ExternalAccount {
    /// The pool's provider, in full.
    pub audience: String,
    /// What kind of token the subject has (RFC 8693 §3).
    pub subject_token_type: String,
    /// The security token service.
    pub token_url: String,
    /// Where the subject's token is.
    pub credential_source: SubjectSource,
    /// The project that is billed for a workforce pool's requests.
    pub workforce_pool_user_project: Option<String>,
}

/// `credential_source`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenSource")]
pub enum SubjectSource {
    /// A file that another program keeps fresh.
    File {
        /// The file.
        file: PathBuf,
        /// What stands in it.
        format: Format,
    },
    /// An address that answers with a token.
    Url {
        /// The address.
        url: String,
        /// What is sent along: a key, now and then.
        headers: BTreeMap<String, Secret>,
        /// What it answers.
        format: Format,
    },
    /// An AWS role's identity, proven by a signed `GetCallerIdentity`.
    Aws(AwsSource),
}

/// An AWS role, from the environment or from the instance's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSource {
    /// The access key in the environment, where there is one: it goes before the instance's.
    pub access_key: Option<StaticCredentials>,
    /// The region in the environment.
    pub region: Option<String>,
    /// Answers the availability zone.
    pub region_url: Option<String>,
    /// Answers the role's name, and below it the role's credentials.
    pub url: Option<String>,
    /// Answers the session token of IMDSv2.
    pub imdsv2_session_token_url: Option<String>,
    /// What Google shall ask AWS, with `{region}` in it.
    pub regional_cred_verification_url: String,
}

/// What a file or an address gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The token alone.
    #[default]
    Text,
    /// JSON with the token in this field.
    Json(String),
}

/// A service account acted as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonated {
    /// Who acts.
    pub source: Identity,
    /// `…/serviceAccounts/EMAIL:generateAccessToken`.
    pub url: String,
    /// The chain of service accounts in between.
    pub delegates: Vec<String>,
    /// How long a token shall live, in seconds.
    pub lifetime_seconds: u32,
}

impl Identity {
    /// Reads a credentials file; of the environment, AWS' own variables count where the identity is an AWS role. The
    /// message names what is wrong, and no value.
    pub fn parse(json: &str, environment: &HashMap<String, String>) -> Result<Self, String> {
        let written = serde_json::from_str::<Written>(json).map_err(|error| {
            match error.classify() {
                serde_json::error::Category::Data => error.to_string(),
                _ => "is not JSON: expected a credentials file's content; a path is written { file = \"…\" }".to_owned(),
            }
        })?;
        let mut identity = written.identity()?;
        identity.complete(environment);
        Ok(identity)
    }
}

impl Identity {
    /// AIP-4117: the environment goes before the instance's metadata.
    fn complete(&mut self, environment: &HashMap<String, String>) {
        let account = match self {
            Self::External(account) => account,
            Self::Impersonated(impersonated) => return impersonated.source.complete(environment),
            Self::ServiceAccount(_) | Self::User(_) | Self::Metadata(_) => return,
        };
        let SubjectSource::Aws(aws) = &mut account.credential_source else {
            return;
        };
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        aws.region = variable("AWS_REGION")
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .cloned();
        aws.access_key = variable("AWS_ACCESS_KEY_ID")
            .zip(variable("AWS_SECRET_ACCESS_KEY"))
            .map(|(id, secret)| StaticCredentials {
                access_key_id: id.clone(),
                secret_access_key: Secret::new(secret.as_str()),
                session_token: variable("AWS_SESSION_TOKEN")
                    .map(|token| Secret::new(token.as_str())),
            });
    }
}

impl Impersonated {
    /// The service account's address, from the URL that names it.
    pub fn email(&self) -> Option<&str> {
        let (_, rest) = self.url.rsplit_once("/serviceAccounts/")?;
        rest.strip_suffix(":generateAccessToken")
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(User),
    ExternalAccount(Box<WrittenExternal>),
    ImpersonatedServiceAccount(WrittenImpersonated),
}

#[derive(Deserialize)]
struct WrittenExternal {
    #[serde(flatten)]
    account: ExternalAccount,
    service_account_impersonation_url: Option<String>,
    #[serde(default)]
    service_account_impersonation: Lifetime,
}

#[derive(Deserialize)]
struct Lifetime {
    token_lifetime_seconds: u32,
}

impl Default for Lifetime {
    /// An hour is what Google gives unless the organisation allows more.
    fn default() -> Self {
        Self {
            token_lifetime_seconds: 3600,
        }
    }
}

#[derive(Deserialize)]
struct WrittenImpersonated {
    source_credentials: Box<Written>,
    service_account_impersonation_url: String,
    #[serde(default)]
    delegates: Vec<String>,
}

impl Written {
    fn identity(self) -> Result<Identity, String> {
        let (source, url, delegates, lifetime_seconds) = match self {
            Self::ServiceAccount(account) => return Ok(Identity::ServiceAccount(account)),
            Self::AuthorizedUser(user) => return Ok(Identity::User(user)),
            Self::ExternalAccount(external) => {
                let account = Identity::External(Box::new(external.account));
                let Some(url) = external.service_account_impersonation_url else {
                    return Ok(account);
                };
                let lifetime = external.service_account_impersonation;
                (account, url, vec![], lifetime.token_lifetime_seconds)
            }
            Self::ImpersonatedServiceAccount(written) => (
                written.source_credentials.identity()?,
                written.service_account_impersonation_url,
                written.delegates,
                Lifetime::default().token_lifetime_seconds,
            ),
        };
        let impersonated = Impersonated {
            source,
            url,
            delegates,
            lifetime_seconds,
        };
        if impersonated.email().is_none() {
            return Err(
                "service_account_impersonation_url names no service account: expected \
                 …/serviceAccounts/EMAIL:generateAccessToken"
                    .to_owned(),
            );
        }
        Ok(Identity::Impersonated(Box::new(impersonated)))
    }
}

#[derive(Deserialize)]
struct WrittenSource {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<WrittenFormat>,
    environment_id: Option<String>,
    region_url: Option<String>,
    imdsv2_session_token_url: Option<String>,
    regional_cred_verification_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum WrittenFormat {
    Text,
    Json { subject_token_field_name: String },
}

impl TryFrom<WrittenSource> for SubjectSource {
    type Error = String;

    fn try_from(written: WrittenSource) -> Result<Self, String> {
        let format = match written.format {
            Some(WrittenFormat::Json {
                subject_token_field_name: field,
            }) => Format::Json(field),
            Some(WrittenFormat::Text) | None => Format::Text,
        };
        match (written.environment_id.as_deref(), written.file, written.url) {
            (Some("aws1"), _, url) => Ok(Self::Aws(AwsSource {
                access_key: None,
                region: None,
                region_url: written.region_url,
                url,
                imdsv2_session_token_url: written.imdsv2_session_token_url,
                regional_cred_verification_url: written
                    .regional_cred_verification_url
                    .unwrap_or_else(|| AWS_VERIFICATION.to_owned()),
            })),
            (Some(_), ..) => Err("credential_source.environment_id is not aws1".to_owned()),
            (None, Some(file), _) => Ok(Self::File { file, format }),
            (None, None, Some(url)) => Ok(Self::Url {
                url,
                headers: written
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name, Secret::new(value)))
                    .collect(),
                format,
            }),
            (None, None, None) => Err(
                "credential_source has neither file nor url nor environment_id; programs and certificates are not \
                 supported"
                    .to_owned(),
            ),
        }
    }
}

fn token_uri() -> String {
    TOKEN_URI.to_owned()
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

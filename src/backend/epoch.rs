//! A number for what a storage's configuration means: where it is, and as whom it is asked. Pure.
//!
//! What is cached stands under it, on disk over restarts. Whatever may change what a key names, or who may read it,
//! makes another number; a secret does not, for nothing derived from one may lie on disk, and whom it belongs to is
//! named by what stands beside it: a key's id, an account, an application. Beside a Databricks token or a Google user's
//! nothing does: whoever is taken to another user's gives the storage another id, or has the cache purged.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use url::form_urlencoded;

use super::config::{
    AzureApplication, AzureConfig, AzureCredentials, AzureIdentity, BackendConfig,
    DatabricksConfig, DatabricksIdentity, GcsConfig, RedisConfig, S3Config,
};
use super::gcs::identity::{Identity, SubjectSource};

/// The fields of a shared access signature that say what it is for and who delegated it
/// (<https://learn.microsoft.com/rest/api/storageservices/create-service-sas>); named here one by one, so that no other
/// can bring a secret in.
const SAS_FIELDS: [&str; 13] = [
    "saoid", "sdd", "ses", "si", "sip", "skoid", "sktid", "sp", "spr", "sr", "srt", "ss", "suoid",
];

/// The number; `prefix` is the storage's own.
pub fn epoch(config: &BackendConfig, prefix: &str) -> u64 {
    let mut names = Names::default();
    names.add(prefix);
    match config {
        BackendConfig::S3(s3) => names.s3(s3),
        BackendConfig::Local(local) => names.all(["local", &*local.root.to_string_lossy()]),
        BackendConfig::Azure(azure) => names.azure(azure),
        BackendConfig::Gcs(gcs) => names.gcs(gcs),
        BackendConfig::Databricks(databricks) => names.databricks(databricks),
        BackendConfig::Redis(redis) => names.redis(redis),
    }
    let digest = digest(&SHA256, names.0.as_bytes());
    let first = digest.as_ref().first_chunk().copied();
    first.map_or(0, u64::from_be_bytes)
}

/// Names one after another, each with its length before it: no two lists are spelt alike.
#[derive(Default)]
struct Names(String);

impl Names {
    fn add(&mut self, name: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{}:{name}", name.len());
    }

    fn maybe(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.add(name),
            None => self.0.push('-'),
        }
    }

    fn all<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        names.into_iter().for_each(|name| self.add(name));
    }

    fn s3(&mut self, s3: &S3Config) {
        self.all(["s3", &s3.bucket]);
        self.maybe(s3.endpoint.as_ref().map(|url| url.as_str()));
        self.maybe(s3.region.as_deref());
        let credentials = s3.credentials.as_ref();
        self.maybe(credentials.map(|key| key.access_key_id.as_str()));
        self.maybe(s3.profile.as_deref());
        self.maybe(s3.role_arn.as_deref());
        // AWS does not treat it as a secret, though it is read as one here.
        self.maybe(s3.external_id.as_ref().map(|id| id.expose()));
        self.maybe(s3.role_session_name.as_deref());
        self.maybe(s3.sts_endpoint.as_ref().map(|url| url.as_str()));
    }

    fn azure(&mut self, azure: &AzureConfig) {
        self.all(["azure", &azure.account, &azure.container]);
        self.maybe(azure.endpoint.as_ref().map(|url| url.as_str()));
        match &azure.credentials {
            AzureCredentials::AccountKey(_) => self.add("account key"),
            AzureCredentials::Sas(query) => self.sas(query.expose()),
            AzureCredentials::Identity(AzureIdentity::ServicePrincipal { application, .. }) => {
                self.application("service principal", application);
            }
            AzureCredentials::Identity(AzureIdentity::Workload { application, .. }) => {
                self.application("workload", application);
            }
            AzureCredentials::Identity(AzureIdentity::Managed {
                client_id,
                endpoint,
            }) => {
                self.all(["managed", endpoint.as_str()]);
                self.maybe(client_id.as_deref());
            }
            AzureCredentials::Identity(AzureIdentity::AppService {
                client_id,
                endpoint,
                ..
            }) => {
                self.all(["app service", endpoint.as_str()]);
                self.maybe(client_id.as_deref());
            }
        }
    }

    /// What it is for and who delegated it, and neither its signature nor its times.
    fn sas(&mut self, query: &str) {
        self.add("sas");
        let mut fields: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| SAS_FIELDS.contains(&&**name))
            .collect();
        fields.sort_unstable();
        for (name, value) in &fields {
            self.all([&**name, &**value]);
        }
    }

    fn application(&mut self, kind: &str, application: &AzureApplication) {
        let AzureApplication {
            authority_host,
            tenant_id,
            client_id,
        } = application;
        self.all([kind, authority_host.as_str(), tenant_id, client_id]);
    }

    fn gcs(&mut self, gcs: &GcsConfig) {
        self.all(["gcs", &gcs.bucket]);
        self.maybe(gcs.endpoint.as_ref().map(|url| url.as_str()));
        match &gcs.identity {
            Some(identity) => self.identity(identity),
            None => self.add("anonymous"),
        }
    }

    fn identity(&mut self, identity: &Identity) {
        match identity {
            Identity::ServiceAccount(account) => self.all(["account", &account.client_email]),
            Identity::User(user) => self.all(["user", &user.client_id]),
            Identity::Metadata(host) => self.all(["metadata", host]),
            Identity::External(external) => {
                self.all(["external", &external.audience, &external.token_url]);
                self.all([external.subject_token_type.as_str()]);
                match &external.credential_source {
                    SubjectSource::File { file, .. } => {
                        self.all(["file", &*file.to_string_lossy()])
                    }
                    SubjectSource::Url { url, .. } => self.all(["url", url]),
                    SubjectSource::Aws(aws) => {
                        let key = aws.access_key.as_ref();
                        self.maybe(key.map(|key| key.access_key_id.as_str()));
                        self.maybe(aws.url.as_deref());
                        self.add(&aws.regional_cred_verification_url);
                    }
                }
            }
            Identity::Impersonated(impersonated) => {
                self.all(["impersonated", &impersonated.url]);
                self.all(impersonated.delegates.iter().map(String::as_str));
                self.identity(&impersonated.source);
            }
        }
    }

    fn databricks(&mut self, databricks: &DatabricksConfig) {
        self.all(["databricks", databricks.host.as_str(), &databricks.volume]);
        match &databricks.identity {
            DatabricksIdentity::Token(_) => self.add("token"),
            DatabricksIdentity::Client { client_id, .. } => self.all(["client", client_id]),
        }
    }

    fn redis(&mut self, redis: &RedisConfig) {
        let (port, db) = (redis.port.to_string(), redis.db.to_string());
        self.all(["redis", &redis.host, &port, &db]);
        self.maybe(redis.username.as_deref());
        self.add(if redis.tls { "tls" } else { "plain" });
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{LocalConfig, StaticCredentials};
    use super::*;
    use crate::secret::Secret;

    fn s3(change: impl FnOnce(&mut S3Config)) -> u64 {
        let mut s3 = S3Config {
            bucket: "media".into(),
            region: Some("eu-central-1".into()),
            credentials: Some(StaticCredentials {
                access_key_id: "AKIA1".into(),
                secret_access_key: Secret::new("one"),
                session_token: None,
            }),
            ..S3Config::default()
        };
        change(&mut s3);
        epoch(&BackendConfig::S3(Box::new(s3)), "data/")
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        // A number that changes with the code would leave every record on every disk unfound.
        assert_eq!(s3(|_| {}), 0xc33a7cb7e6596e48);
    }

    #[test]
    fn what_may_change_what_a_key_means_makes_another_one() {
        let key = |id: &str| {
            Some(StaticCredentials {
                access_key_id: id.into(),
                secret_access_key: Secret::new("one"),
                session_token: None,
            })
        };
        let endpoint: url::Url = "http://minio:9000".parse().expect("a URL");
        let epochs = [
            s3(|_| {}),
            s3(|s3| s3.bucket = "medi".into()),
            s3(|s3| s3.region = None),
            s3(|s3| s3.endpoint = Some(endpoint.clone())),
            s3(|s3| s3.sts_endpoint = Some(endpoint.clone())),
            s3(|s3| s3.credentials = key("AKIA2")),
            s3(|s3| s3.credentials = None),
            s3(|s3| s3.profile = Some("AKIA1".into())),
            s3(|s3| s3.role_arn = Some("arn".into())),
            s3(|s3| s3.external_id = Some(Secret::new("arn"))),
            s3(|s3| s3.role_session_name = Some("arn".into())),
            epoch(
                &BackendConfig::Local(LocalConfig {
                    root: "media".into(),
                }),
                "data/",
            ),
            epoch(
                &BackendConfig::Local(LocalConfig {
                    root: "media".into(),
                }),
                "",
            ),
        ];
        let distinct: std::collections::HashSet<_> = epochs.iter().collect();
        assert_eq!(distinct.len(), epochs.len());
    }

    #[test]
    fn a_secret_alone_makes_no_other_one() {
        let rotated = |s3: &mut S3Config| {
            if let Some(credentials) = &mut s3.credentials {
                credentials.secret_access_key = Secret::new("two");
                credentials.session_token = Some(Secret::new("three"));
            }
        };
        assert_eq!(s3(rotated), s3(|_| {}));
        let azure = |secret: &str| {
            let azure = AzureConfig {
                account: "a".into(),
                container: "c".into(),
                endpoint: None,
                credentials: AzureCredentials::AccountKey(Secret::new(secret)),
                ca_file: None,
            };
            epoch(&BackendConfig::Azure(Box::new(azure)), "")
        };
        assert_eq!(azure("one"), azure("two"));
    }

    #[test]
    fn a_shared_access_signature_is_told_by_what_it_is_for_and_not_by_its_signature() {
        let sas = |query: &str| {
            let azure = AzureConfig {
                account: "a".into(),
                container: "c".into(),
                endpoint: None,
                credentials: AzureCredentials::Sas(Secret::new(query)),
                ca_file: None,
            };
            epoch(&BackendConfig::Azure(Box::new(azure)), "")
        };
        let first = sas("sp=rl&sr=c&skoid=anna&se=2026-11-22&sig=one");
        assert_eq!(first, sas("sr=c&skoid=anna&se=2027-11-22&sp=rl&sig=two"));
        for other in ["sp=r&sr=c&skoid=anna", "sp=rl&sr=c&skoid=ben", "sp=rl&sr=c"] {
            assert_ne!(first, sas(&format!("{other}&se=2026-11-22&sig=one")));
        }
    }

    #[test]
    fn an_aws_role_without_keys_is_told_by_where_its_credentials_come_from() {
        let external = |url: &str| {
            let json = serde_json::json!({
                "type": "external_account",
                "audience": "//iam.googleapis.com/p",
                "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": {
                    "environment_id": "aws1",
                    "url": url,
                    "region_url": "http://169.254.169.254/latest/meta-data/placement/availability-zone",
                    "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
                },
            });
            let identity = Identity::parse(&json.to_string(), &Default::default());
            let mut names = Names::default();
            names.identity(&identity.expect("it is one"));
            names.0
        };
        let roles = "latest/meta-data/iam/security-credentials";
        let first = external(&format!("http://169.254.169.254/{roles}"));
        assert_ne!(first, external(&format!("http://169.254.170.2/{roles}")));
    }
}

//! What to change when storage says no: a cause in, one sentence out. Pure.
//!
//! The codes are those of S3's "Error responses" and of the servers that speak its protocol.

use super::provider::Naming;
use super::{azure, gcs, other};
use crate::backend::BackendError;
use crate::backend::config::{BackendConfig, S3Config};
use crate::config::StorageConfig;

/// What to change so that `error` does not come again.
pub fn advice(error: &BackendError, storage: &StorageConfig) -> String {
    if let BackendError::Unavailable(said) = error
        && said.contains("certificate")
    {
        return certificate(said, &Naming::of(&storage.backend));
    }
    if let BackendConfig::Azure(azure) = &storage.backend
        && let Some(advice) = azure::advice(error, azure)
    {
        return advice;
    }
    let s3 = match &storage.backend {
        BackendConfig::S3(s3) => Some(s3),
        BackendConfig::Local(_) | BackendConfig::Azure(_) => None,
        BackendConfig::Gcs(gcs) => return gcs::advice(error, gcs),
        BackendConfig::Databricks(_) => return other::databricks(error),
        BackendConfig::Redis(_) => return other::redis(error),
    };
    match error {
        BackendError::NotFound => {
            "correct the key: the object is not there, and names are case-sensitive".into()
        }
        BackendError::NoSuchBucket => {
            "correct bucket, or endpoint and region: this server has no bucket of that name".into()
        }
        BackendError::AccessDenied(said) => match s3 {
            Some(s3) => refused(said, s3, &storage.prefix),
            None => "give the user that Lockgate runs as permission to read the file".into(),
        },
        BackendError::NoCredentials(said) | BackendError::CredentialsRefused(said) => match s3 {
            Some(s3) => no_credentials(said, s3),
            None => "configure the storage's credentials".into(),
        },
        BackendError::CredentialsUnavailable(_) => {
            "try again; if it stays, let this machine reach what gives its credentials (STS, the \
             metadata service, the token's issuer)"
                .into()
        }
        BackendError::Changed => "try again: the object was written to meanwhile".into(),
        BackendError::RangeNotSatisfiable => "try another object: this one is shorter".into(),
        BackendError::Throttled { .. } => {
            "try again later; if it stays, ask the provider for a higher request rate".into()
        }
        BackendError::Unavailable(_) => match &storage.backend {
            BackendConfig::Local(_) => {
                "correct root, or make it readable for the user that Lockgate runs as".into()
            }
            BackendConfig::S3(_)
            | BackendConfig::Azure(_)
            | BackendConfig::Gcs(_)
            | BackendConfig::Databricks(_)
            | BackendConfig::Redis(_) => {
                "try again; if it stays, look at the storage's own log and status page".into()
            }
        },
        BackendError::TimedOut(_) => {
            "look at the storage's load and the network between; firewalls drop without a word"
                .into()
        }
        BackendError::Protocol(_) => "point endpoint at the S3 API itself (not a console or a \
            caching proxy): Lockgate needs 206 to Range, and strong entity tags"
            .into(),
    }
}

/// What to change when S3 refused with this error code, as [`BackendError::AccessDenied`] has it.
fn refused(said: &str, s3: &S3Config, prefix: &str) -> String {
    if let Some((_, region)) = said.split_once("the bucket is in region ") {
        return format!("set region = {region:?}");
    }
    let (code, hint) = said.split_once(": ").unwrap_or((said, ""));
    match code {
        "InvalidObjectState" => {
            "restore the object from its archive (RestoreObject), or move it to a storage class that \
             can be read at once"
                .into()
        }
        _ if hint.contains("KMS key") => {
            "allow kms:Decrypt on the bucket's KMS key to these credentials, in the key's policy too \
             where it is another account's; the key must be enabled"
                .into()
        }
        "SignatureDoesNotMatch" => {
            "correct secret_access_key: it does not belong to this access key id".into()
        }
        "InvalidAccessKeyId" | "NotSignedUp" => {
            "correct access_key_id (or endpoint): this server does not know the key".into()
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "replace access_key_id, secret_access_key and session_token together: the temporary \
             credentials have ended or do not belong together"
                .into()
        }
        "RequestTimeTooSkewed" | "RequestExpired" => {
            "set the clock of this machine (NTP): S3 refuses signatures that are 15 minutes off"
                .into()
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" => {
            "set region to the bucket's own".into()
        }
        _ => permission(s3, prefix),
    }
}

/// The least that reading needs (GetObject's page: what S3 says depends on `s3:ListBucket`).
fn permission(s3: &S3Config, prefix: &str) -> String {
    let (partition, bucket) = (partition(s3), &s3.bucket);
    let below = ending_at_component(prefix);
    let otherwise = match &s3.endpoint {
        None => {
            "and kms:Decrypt where the bucket is encrypted with a KMS key; without s3:ListBucket, S3 \
             says the same of an object that is not there"
        }
        Some(_) => {
            "or correct access_key_id and secret_access_key: some servers refuse a wrong key in the \
             same words"
        }
    };
    format!(
        "allow s3:GetObject on arn:{partition}:s3:::{bucket}/{below}* to these credentials, {otherwise}"
    )
}

/// A prefix as Lockgate takes it: `data` stands for `data/`.
pub fn ending_at_component(prefix: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

fn partition(s3: &S3Config) -> &'static str {
    let region = s3.region.as_deref().unwrap_or_default();
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn no_credentials(said: &str, s3: &S3Config) -> String {
    if said.contains("end within the second") || said.contains("ExpiredToken") {
        return "renew the credentials: they have ended".into();
    }
    match (&s3.role_arn, &s3.external_id) {
        (Some(role), external_id) => {
            let condition = match external_id {
                Some(_) => "on the condition of this external_id",
                None => "(with external_id set here, if the policy asks for one)",
            };
            format!("let the trust policy of {role} allow sts:AssumeRole {condition}")
        }
        (None, _) => "set access_key_id and secret_access_key, or give the process what the AWS \
            SDK looks for: AWS_ACCESS_KEY_ID, a profile, or a role of the machine"
            .into(),
    }
}

/// What to change about a certificate that TLS refused, by what rustls says of it.
pub fn certificate(said: &str, naming: &Naming) -> String {
    let said = said.to_lowercase();
    if said.contains("unknownissuer") {
        "set ca_file to the PEM of the authority that signed the server's certificate".into()
    } else if said.contains("not valid for name") || said.contains("notvalidforname") {
        let Naming { setting, hint, .. } = naming;
        format!("name the server in {setting} as its certificate does{hint}")
    } else if said.contains("expired") {
        "renew the server's certificate, or set this machine's clock".into()
    } else if said.contains("notvalidyet") || said.contains("not valid yet") {
        "set this machine's clock: the server's certificate begins later".into()
    } else if said.contains("causedasendentity") || said.contains("ca certificate") {
        "give the server a certificate that is no authority's own: a CA cannot stand for a server"
            .into()
    } else {
        "correct the server's certificate".into()
    }
}

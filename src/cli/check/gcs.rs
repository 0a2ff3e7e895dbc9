//! `kind = "gcs"`: what to change when Google says no. Pure.

use crate::backend::BackendError;
use crate::backend::config::GcsConfig;

/// What to change so that Google does not say this again.
pub fn advice(error: &BackendError, gcs: &GcsConfig) -> String {
    let bucket = &gcs.bucket;
    match error {
        BackendError::NotFound => "correct the key: the object is not there, and names are case-sensitive".into(),
        BackendError::NoSuchBucket => "correct bucket: there is none of that name; names are case-sensitive".into(),
        BackendError::AccessDenied(said) if said.contains("encryption key") => {
            "grant roles/cloudkms.cryptoKeyDecrypter on the key to the bucket's Cloud Storage service agent, and see \
             that the key is enabled; objects under keys that their owner supplies cannot be served"
                .into()
        }
        BackendError::AccessDenied(said) if said.contains("clock") => "set the clock of this machine (NTP)".into(),
        BackendError::AccessDenied(said) if said.contains("revoked") => {
            "replace the credentials: Google does not take them (any more)".into()
        }
        BackendError::AccessDenied(said) if said.contains("requesters pay") => {
            "turn requester pays off, or serve a copy of the media from another bucket".into()
        }
        BackendError::AccessDenied(_) => format!(
            "gcloud storage buckets add-iam-policy-binding gs://{bucket} --member=serviceAccount:EMAIL \
             --role=roles/storage.legacyObjectReader (it has storage.objects.get alone, which is enough to read)"
        ),
        BackendError::NoCredentials(said)
        | BackendError::CredentialsUnavailable(said)
        | BackendError::CredentialsRefused(said) => {
            no_credentials(said)
        }
        BackendError::Changed => "try again: the object was written to meanwhile".into(),
        BackendError::RangeNotSatisfiable => "try another object: this one is shorter".into(),
        BackendError::Throttled { .. } => "try again later: Cloud Storage raises a bucket's rate as it is used".into(),
        BackendError::Unavailable(_) | BackendError::TimedOut(_) => {
            "correct endpoint, or let this machine reach storage.googleapis.com".into()
        }
        BackendError::Protocol(_) => "point endpoint at Cloud Storage itself: no proxy that unpacks or caches".into(),
    }
}

fn no_credentials(said: &str) -> String {
    if said.contains("metadata server") {
        "set credentials = { file = \"…\" }: this machine is none of Google's, or has no service account".into()
    } else if said.contains("serviceAccountTokenCreator") || said.contains("impersonating") {
        "grant roles/iam.serviceAccountTokenCreator on the service account to the identity that Lockgate runs as, and \
         enable the IAM Service Account Credentials API"
            .into()
    } else if said.contains("iat and exp") {
        "set the clock of this machine (NTP): Google takes no token request that is off by minutes"
            .into()
    } else if said.contains("invalid_grant") {
        "make a new key: this one was deleted, or its service account disabled".into()
    } else {
        "correct credentials: a key file of a service account, or a federation's configuration file"
            .into()
    }
}

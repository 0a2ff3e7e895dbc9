//! `kind = "gcs"`: objects as the backend reads them, a signed URL, and what to change when Google says no.

use std::time::Duration;

use http::{Request, header};
use http_body_util::Empty;

use super::object::Objects;
use super::report::{Step, skip_rest};
use crate::backend::config::GcsConfig;
use crate::backend::http::HttpClient;
use crate::backend::{BackendError, Presign, PresignOptions};
use crate::project::Delivery;

const ORDER: &[&str] = &["list", "head", "range", "presign"];

/// Tries one storage as the backend reads it and hands it out.
pub async fn check(
    gcs: &GcsConfig,
    objects: &Objects<'_>,
    presign: Option<&dyn Presign>,
    stall_timeout: Duration,
) -> Vec<Step> {
    let mut steps = vec![];
    let readable = objects.check(&mut steps).await;
    match (readable, presign, objects.storage.delivery) {
        (Some(key), Some(presign), Delivery::Redirect) => {
            let fetched = fetch(gcs, objects, presign, &key, stall_timeout).await;
            steps.push(match fetched {
                Ok(()) => Step::ok("presign", "a signed URL was fetched"),
                Err(error) => objects.failed("presign", &error),
            });
        }
        (_, _, Delivery::Proxy) => {
            steps.push(Step::skipped("presign", "only redirect mode needs it"));
        }
        (_, _, Delivery::Redirect) => {}
    }
    skip_rest(&mut steps, ORDER, "nothing could be read");
    steps
}

/// Signs a URL and asks it for one byte, as an annotator's browser would.
async fn fetch(
    gcs: &GcsConfig,
    objects: &Objects<'_>,
    presign: &dyn Presign,
    key: &str,
    stall_timeout: Duration,
) -> Result<(), BackendError> {
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: None,
    };
    let signed = presign.presign(&objects.location(key), &options).await?;
    let client = HttpClient::new(gcs.ca_file.as_deref(), stall_timeout);
    let client = client.map_err(|error| BackendError::Unavailable(error.to_string()))?;
    let request = Request::get(signed.url.expose())
        .header(header::RANGE, "bytes=0-0")
        .body(Empty::new())
        .map_err(|error| BackendError::Protocol(error.to_string()))?;
    match client.send(request).await?.status().as_u16() {
        // An empty object has no first byte: 416.
        200 | 206 | 416 => Ok(()),
        status => Err(BackendError::AccessDenied(format!(
            "a signed URL answers {status}"
        ))),
    }
}

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
        BackendError::NoCredentials(said) | BackendError::CredentialsUnavailable(said) => {
            no_credentials(said)
        }
        BackendError::Changed => "try again: the object was written to meanwhile".into(),
        BackendError::RangeNotSatisfiable => "try another object: this one is shorter".into(),
        BackendError::Throttled(_) => "try again later: Cloud Storage raises a bucket's rate as it is used".into(),
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

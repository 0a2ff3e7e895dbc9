//! An AWS role as a Google identity: a `GetCallerIdentity` that is signed here and asked by Google.
//!
//! Never asks AWS itself. Follows AIP-4117 ("Determining the subject token in AWS") and, for the instance's metadata,
//! IMDSv2; the signature is `aws-sigv4`'s.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::Request;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use super::identity::AwsSource;
use super::token::Grants;
use super::{UNRESERVED, ask};
use crate::backend::BackendError;

const IMDS: &str = "the instance's metadata";
/// Long enough for the few questions that follow.
const SESSION_SECONDS: &str = "300";

/// The signed request, written as Google wants a subject token.
pub async fn subject_token(
    grants: &Grants,
    source: &AwsSource,
    audience: &str,
) -> Result<String, BackendError> {
    let session = match &source.imdsv2_session_token_url {
        Some(url) if source.access_key.is_none() || source.region.is_none() => {
            let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
            let request = ask::request("PUT", url, &[lifetime], bytes::Bytes::new())?;
            Some(ask::text(&grants.client, IMDS, request).await?)
        }
        _ => None,
    };
    let metadata = Metadata {
        grants,
        session: session.as_deref(),
    };
    let region = match &source.region {
        Some(region) => region.clone(),
        None => metadata.region(source).await?,
    };
    let credentials = match &source.access_key {
        Some(key) => Credentials::new(
            &key.access_key_id,
            key.secret_access_key.expose(),
            key.session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "environment",
        ),
        None => metadata.credentials(source).await?,
    };
    let url = source
        .regional_cred_verification_url
        .replace("{region}", &region);
    let request = signed(&url, &region, &credentials, audience, grants.now())?;
    Ok(utf8_percent_encode(&written(&request), UNRESERVED).to_string())
}

struct Metadata<'a> {
    grants: &'a Grants,
    session: Option<&'a str>,
}

impl Metadata<'_> {
    async fn get(&self, url: &str) -> Result<String, BackendError> {
        let session = self
            .session
            .map(|session| ("x-aws-ec2-metadata-token", session));
        let request = ask::get(url, session.as_slice())?;
        let answer = ask::text(&self.grants.client, IMDS, request).await?;
        Ok(answer.trim().to_owned())
    }

    /// A zone is its region and a letter.
    async fn region(&self, source: &AwsSource) -> Result<String, BackendError> {
        let url = source
            .region_url
            .as_deref()
            .ok_or_else(|| missing("set AWS_REGION, or region_url in credential_source"))?;
        let zone = self.get(url).await?;
        Ok(zone
            .trim_end_matches(|c: char| c.is_ascii_lowercase())
            .to_owned())
    }

    async fn credentials(&self, source: &AwsSource) -> Result<Credentials, BackendError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Role {
            access_key_id: String,
            secret_access_key: String,
            token: Option<String>,
        }
        let url = source.url.as_deref().ok_or_else(|| {
            missing("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or url in credential_source")
        })?;
        let role = self.get(url).await?;
        let document = self
            .get(&format!("{}/{role}", url.trim_end_matches('/')))
            .await?;
        let role: Role = serde_json::from_str(&document)
            .map_err(|_| missing("the instance's metadata hold no access key"))?;
        Ok(Credentials::new(
            role.access_key_id,
            role.secret_access_key,
            role.token,
            None,
            "instance",
        ))
    }
}

fn missing(what: &str) -> BackendError {
    BackendError::NoCredentials(format!("no AWS identity: {what}"))
}

/// `POST`, without a body; bound to the pool's provider by a signed header.
fn signed(
    url: &str,
    region: &str,
    credentials: &Credentials,
    audience: &str,
    now: SystemTime,
) -> Result<Request<()>, BackendError> {
    let unsignable = |error: &dyn std::fmt::Display| missing(&format!("cannot sign: {error}"));
    let mut request = Request::post(url)
        .header("x-goog-cloud-target-resource", audience)
        .body(())
        .map_err(|error| unsignable(&error))?;
    let host = request.uri().authority().map(|host| host.to_string());
    let host = host.ok_or_else(|| missing("regional_cred_verification_url has no host"))?;
    let fields = [
        ("host", host.as_str()),
        ("x-goog-cloud-target-resource", audience),
    ];
    let body = SignableBody::Bytes(&[]);
    let signable = SignableRequest::new("POST", url, fields.into_iter(), body);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsignable(&error))?;
    let signed = sign(
        signable.map_err(|error| unsignable(&error))?,
        &params.into(),
    );
    let (instructions, _signature) = signed.map_err(|error| unsignable(&error))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    let host = host.parse().map_err(|_| missing("the host is none"))?;
    request.headers_mut().insert("host", host);
    Ok(request)
}

/// The request as JSON: `url`, `method`, `headers` as pairs.
fn written(request: &Request<()>) -> String {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            serde_json::json!({ "key": name.as_str(), "value": value.to_str().unwrap_or_default() })
        })
        .collect();
    serde_json::json!({
        "url": request.uri().to_string(),
        "method": request.method().as_str(),
        "headers": headers,
        "body": "",
    })
    .to_string()
}

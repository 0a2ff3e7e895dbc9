//! Workload identity federation: another provider's token, exchanged at Google's security token service.
//!
//! Never runs a program. Follows AIP-4117 and RFC 8693; AWS' part is [`super::aws`].

use serde_json::Value;

use super::identity::{ExternalAccount, Format, SubjectSource};
use super::token::{Granted, Grants};
use super::{ask, aws};
use crate::backend::BackendError;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token for the federated identity.
pub async fn exchange(
    grants: &Grants,
    account: &ExternalAccount,
    scope: &str,
) -> Result<Granted, BackendError> {
    let subject_token = subject_token(grants, account).await?;
    let mut fields = vec![
        ("grant_type", GRANT),
        ("requested_token_type", ACCESS_TOKEN),
        ("audience", &account.audience),
        ("scope", scope),
        ("subject_token_type", &account.subject_token_type),
        ("subject_token", &subject_token),
    ];
    let options = account
        .workforce_pool_user_project
        .as_ref()
        .map(|project| serde_json::json!({ "userProject": project }).to_string());
    if let Some(options) = &options {
        fields.push(("options", options));
    }
    let request = ask::form(&account.token_url, &fields)?;
    grants.granted("the security token service", request).await
}

async fn subject_token(grants: &Grants, account: &ExternalAccount) -> Result<String, BackendError> {
    let (document, format) = match &account.credential_source {
        SubjectSource::File { file, format } => {
            let text = tokio::fs::read_to_string(file).await.map_err(|error| {
                unusable(format!(
                    "{} cannot be read: {}",
                    file.display(),
                    error.kind()
                ))
            })?;
            (text, format)
        }
        SubjectSource::Url {
            url,
            headers,
            format,
        } => {
            let fields: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.expose()))
                .collect();
            let whom = "the subject token's address";
            let text = ask::text(&grants.client, whom, ask::get(url, &fields)?).await?;
            (text, format)
        }
        SubjectSource::Aws(source) => {
            return aws::subject_token(grants, source, &account.audience).await;
        }
    };
    match format {
        Format::Text => Ok(document.trim().to_owned()),
        Format::Json(field) => {
            let json: Option<Value> = serde_json::from_str(&document).ok();
            json.as_ref()
                .and_then(|json| json.get(field)?.as_str())
                .map(str::to_owned)
                .ok_or_else(|| unusable(format!("has no field {field:?}")))
        }
    }
}

fn unusable(reason: String) -> BackendError {
    BackendError::NoCredentials(format!("the subject token: {reason}"))
}

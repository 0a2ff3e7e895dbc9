//! `kind = "azure"`: what to change when Azure says no. Pure.
//!
//! The codes are those of "Blob Storage error codes" and "Status and error codes" (Storage REST reference).

use crate::backend::BackendError;
use crate::backend::config::{AzureConfig, AzureCredentials, AzureIdentity};

/// What is Azure's own among it; none: as with any storage.
pub fn advice(error: &BackendError, azure: &AzureConfig) -> Option<String> {
    let AzureConfig {
        account, container, ..
    } = azure;
    let advice = match error {
        BackendError::NoSuchBucket => {
            format!("correct container, or account: {account} has no container {container}")
        }
        BackendError::AccessDenied(said) => refused(said, azure),
        BackendError::NoCredentials(said)
        | BackendError::CredentialsUnavailable(said)
        | BackendError::CredentialsRefused(said) => no_credentials(said, azure)?,
        BackendError::Protocol(_) => {
            "point endpoint at the Blob service itself: Lockgate needs 206 to Range, and \
            strong entity tags"
                .into()
        }
        BackendError::NotFound
        | BackendError::Unavailable(_)
        | BackendError::Changed
        | BackendError::RangeNotSatisfiable
        | BackendError::Throttled { .. }
        | BackendError::TimedOut(_) => return None,
    };
    Some(advice)
}

fn refused(said: &str, azure: &AzureConfig) -> String {
    let account = &azure.account;
    let code = said.split(':').next().unwrap_or_default();
    match code {
        _ if said.contains("clock is") => "set the clock of this machine (NTP)".into(),
        _ if said.contains("the sas has ended") => NEW_SAS.into(),
        _ if said.contains("another tenant") => "correct tenant_id: it is not the account's".into(),
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => stranger(azure),
        "AuthorizationPermissionMismatch" => permission(azure),
        // Azurite says so of a wrong key.
        "AuthorizationFailure" if azure.endpoint.is_some() => stranger(azure),
        "AuthorizationFailure" => format!(
            "az storage account network-rule add --account-name {account} --ip-address ADDRESS (of this machine), or \
             use a private endpoint"
        ),
        "KeyBasedAuthenticationNotPermitted" => {
            "replace account_key by an identity: tenant_id, client_id and client_secret".into()
        }
        "BlobArchived" | "BlobBeingRehydrated" => format!(
            "az storage blob set-tier --account-name {account} --container-name {} --name KEY --tier Hot; it takes hours",
            azure.container
        ),
        code if code.starts_with("KeyVault") => {
            "give the account's identity back its access to the customer-managed key, and see that the key is enabled"
                .into()
        }
        _ => "do what storage's words above ask for; docs/stores/azure.md has them all".into(),
    }
}

const NEW_SAS: &str =
    "make a new sas_token, that begins now and ends later: with sp=rl it lists as well";

/// Storage does not know who asks.
fn stranger(azure: &AzureConfig) -> String {
    let account = &azure.account;
    match &azure.credentials {
        AzureCredentials::AccountKey(_) => format!(
            "correct account and account_key: az storage account keys list --account-name {account} shows both keys"
        ),
        AzureCredentials::Sas(_) => {
            "replace sas_token: it is not this container's, was cut, or its key was rotated".into()
        }
        AzureCredentials::Identity(_) => {
            "correct account and tenant_id: the account does not take this identity's token".into()
        }
    }
}

fn permission(azure: &AzureConfig) -> String {
    match &azure.credentials {
        AzureCredentials::Sas(_) => {
            "replace sas_token by one with sp=r (sp=rl lists as well)".into()
        }
        AzureCredentials::AccountKey(_) | AzureCredentials::Identity(_) => format!(
            "assign the role Storage Blob Data Reader on the container {} to the identity (lockgate setup prints the \
             line; to sign URLs, Storage Blob Delegator on the account as well); a new assignment takes up to ten \
             minutes to hold",
            azure.container
        ),
    }
}

/// Entra ID's codes are explained in "Microsoft Entra authentication and authorization error codes".
fn no_credentials(said: &str, azure: &AzureConfig) -> Option<String> {
    let advice = match &azure.credentials {
        _ if said.contains("the sas has ended") => NEW_SAS,
        _ if said.contains("AADSTS7000215") || said.contains("AADSTS7000222") => {
            "replace client_secret: it has ended, or is the secret's id and not its value"
        }
        _ if said.contains("AADSTS700016") => {
            "correct client_id: the tenant has no such application"
        }
        _ if said.contains("AADSTS90002") => "correct tenant_id: there is no such tenant",
        AzureCredentials::Identity(AzureIdentity::ServicePrincipal { .. }) => {
            "correct tenant_id, client_id and client_secret, and let this machine reach Entra ID"
        }
        AzureCredentials::Identity(AzureIdentity::Workload { .. }) => {
            "correct tenant_id, client_id and the token's file, and the federated credential's issuer, subject and audience"
        }
        AzureCredentials::Identity(
            AzureIdentity::Managed { .. } | AzureIdentity::AppService { .. },
        ) => {
            "assign a managed identity to this machine, or set account_key, sas_token, or tenant_id, client_id and \
            client_secret"
        }
        AzureCredentials::AccountKey(_) => {
            "correct account_key: it is base64, as the portal shows it"
        }
        AzureCredentials::Sas(_) => return None,
    };
    Some(advice.into())
}

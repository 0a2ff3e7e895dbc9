//! What a `[[storage]]` of kind `azure` means, and which of its ways to say who asks is meant.
//!
//! Where the section says nothing of it: Label Studio's `AZURE_BLOB_ACCOUNT_KEY`, then what Azure's own SDKs take from
//! the environment (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`, `AZURE_FEDERATED_TOKEN_FILE`,
//! `AZURE_AUTHORITY_HOST`), then the managed identity. Asks nobody.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::super::raw::{self, SecretRef};
use super::super::reader::Reader;
use crate::backend::config::{AzureApplication, AzureConfig, AzureCredentials, AzureIdentity};
use crate::project::Delivery;
use crate::secret::Secret;

/// Entra ID of the public cloud.
const AUTHORITY_HOST: &str = "https://login.microsoftonline.com";
/// The metadata service of Azure's machines: a link-local address, never over TLS.
const METADATA_SERVICE: &str = "http://169.254.169.254";

pub fn azure_config(reader: &mut Reader<'_>, at: &str, azure: raw::Azure) -> Option<AzureConfig> {
    if !is_container(&azure.container) {
        reader.problem(
            &format!("{at}.container"),
            "is not a container's name; what follows a slash belongs in prefix",
        );
    }
    let endpoint = match &azure.endpoint {
        Some(written) => Some(reader.url(&format!("{at}.endpoint"), written)?),
        None => None,
    };
    if endpoint.as_ref().is_some_and(|url| url.query().is_some()) {
        let message = "has a query; a shared access signature belongs in sas_token";
        reader.problem(&format!("{at}.endpoint"), message);
    }
    let ca_file = azure.ca_file.as_ref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{at}.ca_file"), file));
    reader.not_empty(&format!("{at}.tenant_id"), azure.tenant_id.as_ref());
    reader.not_empty(&format!("{at}.client_id"), azure.client_id.as_ref());
    let account = account(reader, at, &azure);
    let credentials = credentials(reader, at, &azure);
    if let (Some(AzureCredentials::Identity(_)), Some(endpoint)) = (&credentials, &endpoint)
        && !is_private(endpoint)
    {
        reader.problem(
            &format!("{at}.endpoint"),
            "must be https: an identity's token is sent to it",
        );
    }
    Some(AzureConfig {
        account: account?,
        container: azure.container,
        endpoint,
        credentials: credentials?,
        ca_file,
    })
}

/// A SAS opens a container, and its URL would open it to whoever is redirected there.
pub fn check_redirect(reader: &mut Reader<'_>, at: &str, azure: &AzureConfig, delivery: Delivery) {
    if delivery == Delivery::Redirect && matches!(azure.credentials, AzureCredentials::Sas(_)) {
        reader.problem(
            &format!("{at}.delivery"),
            "is \"redirect\", and a sas_token cannot be cut down to the one blob that an annotator may see; use \
             account_key or an identity, or delivery = \"proxy\"",
        );
    }
}

fn account(reader: &mut Reader<'_>, at: &str, azure: &raw::Azure) -> Option<String> {
    let key = format!("{at}.account");
    let account = azure.account.clone();
    let Some(account) = account.or_else(|| variable(reader, "AZURE_BLOB_ACCOUNT_NAME")) else {
        reader.problem(&key, "is missing: the storage account's name");
        return None;
    };
    // It becomes part of a host's name.
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.bytes().all(letters) {
        let message = "is not a storage account's name: 3 to 24 lower-case letters and digits";
        reader.problem(&key, message);
    }
    Some(account)
}

/// A variable that is set and not empty.
fn variable(reader: &Reader<'_>, name: &str) -> Option<String> {
    let value = reader.environment().get(name);
    value.filter(|value| !value.is_empty()).cloned()
}

/// "Naming and referencing containers, blobs, and metadata".
fn is_container(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ordinary = (3..=63).contains(&name.len()) && name.bytes().all(letters);
    ordinary || matches!(name, "$root" | "$web" | "$logs")
}

fn credentials(reader: &mut Reader<'_>, at: &str, azure: &raw::Azure) -> Option<AzureCredentials> {
    let says = [
        (azure.account_key.is_some(), "account_key"),
        (azure.sas_token.is_some(), "sas_token"),
        (azure.client_secret.is_some(), "client_secret"),
        (azure.federated_token_file.is_some(), "federated_token_file"),
    ];
    let mut said = says.iter().filter(|(is_there, _)| *is_there);
    if let (Some((_, used)), Some((_, idle))) = (said.next(), said.next()) {
        let message = format!("is not used: {used} says already who asks");
        reader.warn(&format!("{at}.{idle}"), message);
    }
    if let Some(key) = azure
        .account_key
        .clone()
        .or_else(|| label_studios_key(reader, azure))
    {
        return account_key(reader, at, key);
    }
    if azure.sas_token.is_some() {
        return sas(reader, at, azure.sas_token.clone());
    }
    identity(reader, at, azure).map(AzureCredentials::Identity)
}

/// The variable's key is for the variable's account, and stands below whatever the section says of who asks.
fn label_studios_key(reader: &Reader<'_>, azure: &raw::Azure) -> Option<SecretRef> {
    const KEY: &str = "AZURE_BLOB_ACCOUNT_KEY";
    let silent = azure.sas_token.is_none()
        && azure.tenant_id.is_none()
        && azure.client_id.is_none()
        && azure.client_secret.is_none()
        && azure.federated_token_file.is_none();
    let its_account = variable(reader, "AZURE_BLOB_ACCOUNT_NAME");
    let same_account = azure.account.is_none() || azure.account == its_account;
    let given = silent && same_account && variable(reader, KEY).is_some();
    given.then(|| SecretRef::Env(KEY.to_owned()))
}

fn account_key(reader: &mut Reader<'_>, at: &str, key: SecretRef) -> Option<AzureCredentials> {
    let name = format!("{at}.account_key");
    let key = reader.secret(&name, Some(key))?;
    if STANDARD.decode(key.expose()).is_err() {
        reader.problem(&name, "is not an account's key, which is base64");
    }
    Some(AzureCredentials::AccountKey(key))
}

fn sas(reader: &mut Reader<'_>, at: &str, sas: Option<SecretRef>) -> Option<AzureCredentials> {
    let name = format!("{at}.sas_token");
    let sas = reader.secret(&name, sas)?;
    // As the portal gives it, with its question mark, or without.
    let query = sas.expose().trim().trim_start_matches('?');
    let signed = query
        .split('&')
        .any(|parameter| parameter.starts_with("sig="));
    let visible = query.bytes().all(|b| b.is_ascii_graphic());
    if !signed || !visible || query.contains('#') {
        let message =
            "is not a shared access signature: \"sv=...&sig=...\", without the URL before it";
        reader.problem(&name, message);
    }
    Some(AzureCredentials::Sas(Secret::new(query)))
}

fn identity(reader: &mut Reader<'_>, at: &str, azure: &raw::Azure) -> Option<AzureIdentity> {
    if azure.client_secret.is_some() || azure.federated_token_file.is_some() {
        return written_identity(reader, at, azure);
    }
    let client_id = azure.client_id.clone();
    let client_id = client_id.or_else(|| variable(reader, "AZURE_CLIENT_ID"));
    let tenant_id = azure.tenant_id.clone();
    let tenant_id = tenant_id.or_else(|| variable(reader, "AZURE_TENANT_ID"));
    if let (Some(tenant_id), Some(client_id)) = (tenant_id, &client_id) {
        let token_file = variable(reader, "AZURE_FEDERATED_TOKEN_FILE");
        let client_secret = variable(reader, "AZURE_CLIENT_SECRET");
        if token_file.is_some() || client_secret.is_some() {
            let application = application(reader, at, azure, tenant_id, client_id.clone())?;
            // A secret is set by hand; a token file may be there for other reasons.
            return Some(match (client_secret, token_file) {
                (Some(secret), _) => AzureIdentity::ServicePrincipal {
                    application,
                    client_secret: Secret::new(secret),
                },
                (None, token_file) => AzureIdentity::Workload {
                    application,
                    token_file: PathBuf::from(token_file.unwrap_or_default()),
                },
            });
        }
    }
    if azure.tenant_id.is_some() {
        reader.problem(
            &format!("{at}.client_secret"),
            "is missing: a service principal is tenant_id, client_id and client_secret",
        );
    }
    managed_identity(reader, at, client_id)
}

/// An application that the section names, with its secret or with the file of its token.
fn written_identity(
    reader: &mut Reader<'_>,
    at: &str,
    azure: &raw::Azure,
) -> Option<AzureIdentity> {
    for (value, name) in [
        (&azure.tenant_id, "tenant_id"),
        (&azure.client_id, "client_id"),
    ] {
        if value.is_none() {
            let message = "is missing: a token is asked for with tenant_id and client_id";
            reader.problem(&format!("{at}.{name}"), message);
        }
    }
    let client_secret = azure.client_secret.clone();
    let client_secret = reader.secret(&format!("{at}.client_secret"), client_secret);
    let (tenant_id, client_id) = (azure.tenant_id.clone()?, azure.client_id.clone()?);
    let application = application(reader, at, azure, tenant_id, client_id)?;
    if azure.client_secret.is_some() {
        return Some(AzureIdentity::ServicePrincipal {
            application,
            client_secret: client_secret?,
        });
    }
    let token_file = reader.path(
        azure
            .federated_token_file
            .as_deref()
            .unwrap_or(Path::new("")),
    );
    Some(AzureIdentity::Workload {
        application,
        token_file,
    })
}

fn application(
    reader: &mut Reader<'_>,
    at: &str,
    azure: &raw::Azure,
    tenant_id: String,
    client_id: String,
) -> Option<AzureApplication> {
    let key = format!("{at}.authority_host");
    let written = azure.authority_host.clone();
    let written = written.or_else(|| variable(reader, "AZURE_AUTHORITY_HOST"));
    let authority_host = reader.url(&key, written.as_deref().unwrap_or(AUTHORITY_HOST))?;
    if !is_private(&authority_host) {
        reader.problem(&key, "must be https: a secret is sent to it");
    }
    // It becomes part of a path: an id, or a domain of the tenant.
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if tenant_id.is_empty() || !tenant_id.bytes().all(letters) {
        reader.problem(&format!("{at}.tenant_id"), "is not a tenant's id or domain");
    }
    Some(AzureApplication {
        authority_host,
        tenant_id,
        client_id,
    })
}

fn managed_identity(
    reader: &mut Reader<'_>,
    at: &str,
    client_id: Option<String>,
) -> Option<AzureIdentity> {
    let endpoint = variable(reader, "IDENTITY_ENDPOINT");
    if let (Some(endpoint), Some(header)) = (endpoint, variable(reader, "IDENTITY_HEADER")) {
        return Some(AzureIdentity::AppService {
            client_id,
            endpoint: reader.url(at, &endpoint)?,
            header: Secret::new(header),
        });
    }
    let endpoint = variable(reader, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    let endpoint = endpoint.as_deref().unwrap_or(METADATA_SERVICE);
    Some(AzureIdentity::Managed {
        client_id,
        endpoint: reader.url(at, endpoint)?,
    })
}

/// Whether what is sent there is read by nobody else: over TLS, or to this machine itself.
fn is_private(url: &Url) -> bool {
    let this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || this_machine
}

//! Azure: role assignments on the container and, for user-delegation SAS, on the account; CORS of the blob service.
//!
//! Follows "Assign an Azure role for access to blob data", "Create a user delegation SAS" and `az storage cors`.

use super::{ALLOWED_HEADERS, Content, EXPOSED_HEADERS, MAX_AGE_SECONDS, Part, Wanted, shell};

pub(super) fn parts(account: &str, container: &str, wanted: &Wanted<'_>) -> Vec<Part> {
    let principal = shell(wanted.principal("CLIENT_ID"));
    let scope = format!(
        "/subscriptions/SUBSCRIPTION/resourceGroups/RESOURCE_GROUP/providers/Microsoft.Storage/storageAccounts/{account}"
    );
    let assign = |role: &str, scope: &str| {
        let scope = shell(scope);
        format!("az role assignment create --assignee {principal} --role '{role}' --scope {scope}")
    };
    let part = |name, purpose: &str, line| Part {
        name,
        purpose: purpose.into(),
        content: Content::Commands(line),
    };
    let container_scope = format!("{scope}/blobServices/default/containers/{container}");
    let mut parts = vec![part(
        "reader",
        "reading for a service principal or a managed identity; an account key or a SAS needs none of it",
        assign("Storage Blob Data Reader", &container_scope),
    )];
    if wanted.redirect {
        parts.push(part(
            "delegator",
            "only without an account key: lets the identity ask for the key that signs user-delegation SAS",
            assign("Storage Blob Delegator", &scope),
        ));
        parts.push(part(
            "cors",
            "adds to the CORS rules of the account's blob service",
            cors(account, wanted),
        ));
    }
    parts
}

fn cors(account: &str, wanted: &Wanted<'_>) -> String {
    let origins: Vec<_> = wanted.origins().into_iter().map(shell).collect();
    format!(
        "az storage cors add --account-name {} --services b --methods GET HEAD --origins {} --allowed-headers {} \
         --exposed-headers {} --max-age {MAX_AGE_SECONDS}",
        shell(account),
        origins.join(" "),
        ALLOWED_HEADERS.join(" "),
        EXPOSED_HEADERS.join(" ")
    )
}

//! `kind = "databricks"`: one volume of a workspace, and one of two identities.

use crate::backend::config::{DatabricksConfig, DatabricksIdentity};
use crate::config::raw;
use crate::config::reader::Reader;

pub fn config(
    reader: &mut Reader<'_>,
    at: &str,
    written: raw::Databricks,
) -> Option<DatabricksConfig> {
    let host = reader.url(&format!("{at}.host"), &written.host)?;
    if host.path() != "/" || host.query().is_some() {
        reader.problem(
            &format!("{at}.host"),
            "is more than a workspace's address; write \"https://adb-1.azuredatabricks.net\"",
        );
    }
    let ca_file = written.ca_file.as_ref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{at}.ca_file"), file));
    Some(DatabricksConfig {
        host,
        volume: volume(reader, at, &written.volume)?,
        identity: identity(reader, at, &written)?,
        ca_file,
    })
}

/// `catalog/schema/volume`, as media URIs have it.
fn volume(reader: &mut Reader<'_>, at: &str, written: &str) -> Option<String> {
    let named = |part: &str| !matches!(part, "" | "." | "..");
    if written.split('/').count() != 3 || !written.split('/').all(named) {
        reader.problem(
            &format!("{at}.volume"),
            "is not \"catalog/schema/volume\"; what lies below the volume belongs in prefix",
        );
        return None;
    }
    Some(written.to_owned())
}

fn identity(
    reader: &mut Reader<'_>,
    at: &str,
    written: &raw::Databricks,
) -> Option<DatabricksIdentity> {
    let (id, secret) = (written.client_id.clone(), written.client_secret.clone());
    let wrong = match (&written.token, &id, &secret) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => None,
        (Some(_), _, _) => Some((
            "token",
            "is given beside a service principal; one identity is asked for",
        )),
        (None, None, None) => Some((
            "token",
            "is missing: give it, or client_id and client_secret",
        )),
        (None, Some(_), None) => Some(("client_secret", "is missing: it goes with client_id")),
        (None, None, Some(_)) => Some(("client_id", "is missing: it goes with client_secret")),
    };
    if let Some((key, message)) = wrong {
        reader.problem(&format!("{at}.{key}"), message);
        return None;
    }
    if written.token.is_some() {
        let token = reader.secret(&format!("{at}.token"), written.token.clone());
        return token.map(DatabricksIdentity::Token);
    }
    let client_id = reader.public(&format!("{at}.client_id"), id);
    let client_secret = reader.secret(&format!("{at}.client_secret"), secret);
    Some(DatabricksIdentity::Client {
        client_id: client_id?.expose().to_owned(),
        client_secret: client_secret?,
    })
}

//! `kind = "gcs"`, and whose credentials are used where the section names none: application default (AIP-4110).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::backend::config::GcsConfig;
use crate::backend::gcs::identity::Identity;
use crate::config::raw::{self, SecretRef};
use crate::config::reader::Reader;

/// Where every machine and pod of Google's finds its identity.
const METADATA_HOST: &str = "metadata.google.internal";

pub fn gcs_config(reader: &mut Reader<'_>, at: &str, gcs: raw::Gcs) -> Option<GcsConfig> {
    if gcs.bucket.is_empty() || gcs.bucket.contains(['/', ' ', '\\']) {
        reader.problem(
            &format!("{at}.bucket"),
            "is not a bucket's name; what follows a slash belongs in prefix",
        );
    }
    let endpoint = match &gcs.endpoint {
        Some(written) => Some(reader.url(&format!("{at}.endpoint"), written)?),
        None => None,
    };
    let iam_endpoint = match &gcs.iam_endpoint {
        Some(written) => Some(reader.url(&format!("{at}.iam_endpoint"), written)?),
        None => None,
    };
    let ca_file = gcs.ca_file.as_ref();
    let ca_file = ca_file.map(|file| reader.file(&format!("{at}.ca_file"), file));
    let key = format!("{at}.credentials");
    let identity = match (gcs.anonymous, gcs.credentials) {
        (true, None) => None,
        (true, Some(_)) => {
            reader.problem(
                &key,
                "is of no use with anonymous = true: leave out one of the two",
            );
            return None;
        }
        (false, Some(written)) => {
            // A path is no secret: said here, since the warning about plain text would lead astray.
            if let SecretRef::Plain(text) = &written
                && !text.trim_start().starts_with('{')
            {
                reader.problem(
                    &key,
                    "expected a credentials file: { file = \"path\" } or { env = \"NAME\" }",
                );
                return None;
            }
            let json = reader.secret(&key, Some(written))?;
            Some(identity(reader, &key, json.expose())?)
        }
        (false, None) => Some(application_default(reader, &key)?),
    };
    Some(GcsConfig {
        bucket: gcs.bucket,
        endpoint,
        iam_endpoint,
        identity,
        ca_file,
    })
}

fn identity(reader: &mut Reader<'_>, key: &str, json: &str) -> Option<Identity> {
    Identity::parse(json, reader.environment())
        .map_err(|message| reader.problem(key, message))
        .ok()
}

/// The file that the environment names, else gcloud's own where there is one, else the metadata server.
fn application_default(reader: &mut Reader<'_>, key: &str) -> Option<Identity> {
    let environment = reader.environment();
    let named = environment.get("GOOGLE_APPLICATION_CREDENTIALS");
    let file = match named.filter(|file| !file.is_empty()) {
        Some(file) => PathBuf::from(file),
        None => match gclouds_file(environment).filter(|file| file.is_file()) {
            Some(file) => file,
            None => {
                let host = environment.get("GCE_METADATA_HOST");
                let host = host.map_or(METADATA_HOST, String::as_str);
                return Some(Identity::Metadata(host.to_owned()));
            }
        },
    };
    let json = reader.secret(key, Some(SecretRef::File(absolute(file))))?;
    identity(reader, key, json.expose())
}

/// The environment's paths start from where the process was started, not from the configuration file.
fn absolute(file: PathBuf) -> PathBuf {
    std::path::absolute(&file).unwrap_or(file)
}

fn gclouds_file(environment: &HashMap<String, String>) -> Option<PathBuf> {
    let directory = match environment.get("CLOUDSDK_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(environment.get("HOME")?).join(".config/gcloud"),
    };
    Some(directory.join("application_default_credentials.json"))
}

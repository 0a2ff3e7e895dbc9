//! `kind = "s3"`: signing a URL, which is not sent, shows whose credentials there are and which server is asked.
//!
//! Shows no more of an access key's id than its end.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use url::Url;

use super::object::Objects;
use super::provider;
use super::report::Step;
use crate::backend::{BackendError, Presign, PresignOptions, PresignedUrl};
use crate::cli::in_words;

/// The chain tries several sources, the machine's own last.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
const UNSENT_KEY: &str = "key";

/// The server, and the step `credentials`.
pub async fn signed(objects: &Objects<'_>, presign: &dyn Presign) -> (Option<Url>, Option<Step>) {
    match sign(presign, objects).await {
        Ok(signed) => {
            let credentials = Step::ok("credentials", whose(&signed, objects));
            (server_of(&signed), Some(credentials))
        }
        // Where requests would go, for a storage whose credentials cannot be had.
        Err(error) => (
            provider::server(&objects.storage.backend),
            Some(objects.failed("credentials", &error)),
        ),
    }
}

async fn sign(presign: &dyn Presign, objects: &Objects<'_>) -> Result<PresignedUrl, BackendError> {
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: None,
    };
    let location = objects.location(UNSENT_KEY);
    let signing = presign.presign(&location, &options);
    let late = |_| BackendError::NoCredentials("their source did not answer in 30 s".into());
    timeout(CREDENTIALS_TIMEOUT, signing).await.map_err(late)?
}

fn server_of(signed: &PresignedUrl) -> Option<Url> {
    let mut url = Url::parse(signed.url.expose()).ok()?;
    url.set_query(None);
    url.set_path("/");
    Some(url)
}

/// The end of the key's id, where it comes from, and when it ends.
fn whose(signed: &PresignedUrl, objects: &Objects<'_>) -> String {
    let source = provider::whose(&objects.storage.backend);
    let end = match objects.backend.credential_expiry() {
        None => "without an end".to_owned(),
        Some(end) => {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            format!("for another {}", in_words(left))
        }
    };
    let tail = key_id_tail(signed.url.expose());
    format!("access key …{tail} {source}, {end}")
}

/// The last characters of the access key id, which a SigV4 URL names: enough to tell keys apart.
fn key_id_tail(url: &str) -> String {
    let credential = Url::parse(url).ok().and_then(|url| {
        let mut fields = url.query_pairs();
        fields.find_map(|(name, value)| (name == "X-Amz-Credential").then(|| value.into_owned()))
    });
    let credential = credential.unwrap_or_default();
    let id = credential.split('/').next().unwrap_or_default();
    let shown = (id.chars().count() / 2).min(4);
    let hidden = id.chars().count() - shown;
    id.chars().skip(hidden).collect()
}

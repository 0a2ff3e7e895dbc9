//! V4 signed URLs (GOOG4-RSA-SHA256): by the service account's key, or by IAM's `signBlob` where there is none.
//!
//! Signs `host` and the whole query, never a header that a browser might not send. Follows "V4 signing process" and
//! "Canonical requests" of Cloud Storage, and `projects.serviceAccounts.signBlob` of the IAM Credentials API.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use url::Url;

use super::identity::{Identity, ServiceAccount};
use super::token::{Grants, IAM, METADATA_ACCOUNT, METADATA_FLAVOR, Tokens};
use super::{KEY, UNRESERVED, ask};
use crate::backend::renewing::Renewing;
use crate::backend::{BackendError, PresignOptions, PresignedUrl};
use crate::secret::Secret;

/// Google signs for a week at most.
const MAX_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
const IAM_CREDENTIALS: &str = "https://iamcredentials.googleapis.com";

/// Who signs.
pub enum Signer {
    /// A service account with its key.
    Key(ServiceAccount),
    /// IAM, for a service account whose key nobody has.
    Blob(Box<Blob>),
    /// Nobody, and why.
    None(&'static str),
}

/// What `signBlob` needs.
pub struct Blob {
    account: Account,
    email: OnceCell<String>,
    delegates: Vec<String>,
    tokens: Renewing<Secret>,
    grants: Grants,
    iam_endpoint: String,
}

/// Where the service account's address is known from.
enum Account {
    Named(String),
    Metadata(String),
}

/// What is signed.
pub struct Signable<'a> {
    /// The server, `scheme://host[:port][/base]`.
    pub endpoint: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object.
    pub key: &'a str,
}

impl Signer {
    /// Who signs for an identity; asks nobody yet.
    pub fn new(identity: Option<&Identity>, iam_endpoint: Option<&Url>, grants: &Grants) -> Self {
        let blob = |identity: Identity, account: Account, delegates: Vec<String>| {
            let iam_endpoint = iam_endpoint.map_or(IAM_CREDENTIALS, Url::as_str);
            let tokens = Tokens {
                identity,
                scope: IAM,
                grants: grants.clone(),
            };
            Self::Blob(Box::new(Blob {
                account,
                email: OnceCell::new(),
                delegates,
                tokens: Renewing::with_clock(tokens, grants.clock.clone()),
                grants: grants.clone(),
                iam_endpoint: iam_endpoint.trim_end_matches('/').to_owned(),
            }))
        };
        match identity {
            Some(Identity::ServiceAccount(account)) => Self::Key(account.clone()),
            Some(Identity::Metadata(host)) => blob(
                Identity::Metadata(host.clone()),
                Account::Metadata(host.clone()),
                vec![],
            ),
            Some(Identity::Impersonated(account)) => match account.email() {
                Some(email) => blob(
                    account.source.clone(),
                    Account::Named(email.to_owned()),
                    account.delegates.clone(),
                ),
                None => Self::None("the impersonated service account has no address"),
            },
            Some(Identity::External(_)) => Self::None(
                "a federated identity signs nothing itself: set service_account_impersonation_url",
            ),
            Some(Identity::User(_)) => {
                Self::None("a user's credentials sign nothing: use a service account")
            }
            None => Self::None("an anonymous storage signs nothing"),
        }
    }

    /// A URL. One that IAM signs ends with the token that it was signed with.
    pub async fn presign(
        &self,
        object: &Signable<'_>,
        options: &PresignOptions,
        now: SystemTime,
    ) -> Result<PresignedUrl, BackendError> {
        let life = options.expiry.min(MAX_EXPIRY);
        let (unsigned, signature) = match self {
            Self::Key(account) => {
                let unsigned = Unsigned::new(object, options, &account.client_email, now, life)?;
                let signature = account
                    .private_key
                    .sign(unsigned.string_to_sign.as_bytes())?;
                (unsigned, signature)
            }
            Self::Blob(blob) => {
                let token = blob.tokens.current().await?;
                let end = blob.tokens.ends_at();
                let left = end.map(|end| end.duration_since(now).unwrap_or_default());
                let life = left.map_or(life, |left| life.min(left));
                let email = blob.email().await?;
                let unsigned = Unsigned::new(object, options, email, now, life)?;
                let signature = blob.sign(email, &unsigned.string_to_sign, &token).await?;
                (unsigned, signature)
            }
            Self::None(reason) => return Err(BackendError::NoCredentials((*reason).to_owned())),
        };
        Ok(PresignedUrl {
            url: Secret::new(format!(
                "{}&X-Goog-Signature={}",
                unsigned.url,
                hex(&signature)
            )),
            expires_at: unsigned.expires_at,
        })
    }
}

impl Blob {
    async fn email(&self) -> Result<&str, BackendError> {
        let host = match &self.account {
            Account::Named(email) => return Ok(email),
            Account::Metadata(host) => host,
        };
        let ask = async || {
            let url = format!("http://{host}/{METADATA_ACCOUNT}/email");
            let request = ask::get(&url, &[METADATA_FLAVOR])?;
            let email = ask::text(&self.grants.client, "the metadata server", request).await?;
            Ok(email.trim().to_owned())
        };
        self.email.get_or_try_init(ask).await.map(String::as_str)
    }

    async fn sign(
        &self,
        email: &str,
        string_to_sign: &str,
        token: &Secret,
    ) -> Result<Vec<u8>, BackendError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            signed_blob: String,
        }
        let url = format!(
            "{}/v1/projects/-/serviceAccounts/{email}:signBlob",
            self.iam_endpoint
        );
        let body = serde_json::json!({
            "payload": STANDARD.encode(string_to_sign),
            "delegates": self.delegates,
        });
        let whom =
            "signing through IAM (roles/iam.serviceAccountTokenCreator on the service account)";
        let request = ask::post(&url, token, &body)?;
        let answer: Answer = ask::json(&self.grants.client, whom, request).await?;
        STANDARD.decode(answer.signed_blob).map_err(|_| {
            BackendError::NoCredentials(format!("{whom}: the signature is not base64"))
        })
    }
}

/// A URL that lacks its signature, and the text that is signed.
struct Unsigned {
    url: String,
    string_to_sign: String,
    expires_at: SystemTime,
}

impl Unsigned {
    fn new(
        object: &Signable<'_>,
        options: &PresignOptions,
        email: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<Self, BackendError> {
        let life = Duration::from_secs(life.as_secs());
        if life.is_zero() {
            let reason = "they end within the second";
            return Err(BackendError::NoCredentials(reason.to_owned()));
        }
        let (date, time) = date_and_time(now);
        let scope = format!("{date}/auto/storage/goog4_request");
        let credential = format!("{email}/{scope}");
        let expires = life.as_secs().to_string();
        // Sorted by name, as the canonical query is: capitals come first.
        let mut fields = vec![
            ("X-Goog-Algorithm", "GOOG4-RSA-SHA256"),
            ("X-Goog-Credential", &credential),
            ("X-Goog-Date", &time),
            ("X-Goog-Expires", &expires),
            ("X-Goog-SignedHeaders", "host"),
        ];
        if let Some(content_type) = &options.content_type {
            fields.push(("response-content-type", content_type));
        }
        let query = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED)))
            .collect::<Vec<_>>()
            .join("&");
        let (scheme, rest) = object.endpoint.split_once("://").unwrap_or_default();
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = format!(
            "{base}/{}/{}",
            utf8_percent_encode(object.bucket, UNRESERVED),
            utf8_percent_encode(object.key, KEY)
        );
        let method = if options.head_only { "HEAD" } else { "GET" };
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        Ok(Self {
            string_to_sign: format!("GOOG4-RSA-SHA256\n{time}\n{scope}\n{hashed}"),
            url: format!("{scheme}://{host}{path}?{query}"),
            expires_at: now + life,
        })
    }
}

/// `YYYYMMDD` and `YYYYMMDDTHHMMSSZ`.
fn date_and_time(now: SystemTime) -> (String, String) {
    let now = OffsetDateTime::from(now);
    let date = format!(
        "{:04}{:02}{:02}",
        now.year(),
        u8::from(now.month()),
        now.day()
    );
    let time = format!(
        "{date}T{:02}{:02}{:02}Z",
        now.hour(),
        now.minute(),
        now.second()
    );
    (date, time)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

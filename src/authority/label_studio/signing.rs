//! URLs that Label Studio signs: asked for, checked to be for the object that was asked about, and taken apart into the
//! object's place and the way to it.
//!
//! A signed URL is a credential: it is a `Secret` from the answer's head on. Follows AWS's and Google's query
//! signatures (`X-Amz-*`, `X-Goog-*`; S3's and Google's second versions too) and Azure's shared access signatures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use url::Url;

use super::questions::{Kind, Lies, Not, Said};
use crate::ask::{Answer, Asker};
use crate::authority::Target;
use crate::media_uri::Provider;
use crate::object::ObjectLocation;
use crate::secret::Secret;
use crate::signed::{LABEL_STUDIO, NotSigned, SignedUrl, Signer};

/// An object of one of Label Studio's storages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) provider: Provider,
    pub(super) bucket: Arc<str>,
    pub(super) key: Arc<str>,
    /// Azure's account, where the URI names one.
    pub(super) account: Option<Arc<str>>,
    /// The storage that Label Studio takes for it: its first of that bucket.
    pub(super) storage: u64,
}

/// What a signed URL says.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) location: ObjectLocation,
    pub(super) url: SignedUrl,
}

impl Object {
    /// Its bucket as Label Studio's URIs have it.
    fn root(&self) -> String {
        let scheme = match self.provider {
            Provider::S3 => "s3",
            Provider::Gcs => "gs",
            Provider::Azure => "azure-blob",
        };
        format!("{scheme}://{}", self.bucket)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.provider {
            Provider::S3 => Kind::S3,
            Provider::Gcs => Kind::Gcs,
            Provider::Azure => Kind::Azure,
        }
    }

    /// The question where it lies, on the target's own route; in Label Studio's spelling, whatever the caller's was.
    pub(super) fn question(&self, target: &Target) -> String {
        let uri = URL_SAFE.encode(format!("{}/{}", self.root(), self.key));
        match target {
            Target::Task(task) => format!("/tasks/{task}/resolve/?fileuri={uri}"),
            Target::Project(project) => format!("/projects/{project}/resolve/?fileuri={uri}"),
            // Not asked: objects have no such route.
            Target::AnyProject => format!("/data/local-files/?d={uri}"),
        }
    }

    /// Whether Label Studio, where it sends the media itself, sends this object for the question and no other. Python's
    /// `urlsplit` drops tabs and line ends and cuts at a `?`, the slashes that a key begins with are stripped
    /// (`get_bytes_stream` in `io_storages/*/models.py`), Azure's client resolves dots, and no answer of its API tells
    /// which account a container is of.
    pub(super) fn is_read_as_written(&self) -> bool {
        let dots = |component: &str| matches!(component, "." | "..");
        !self.key.starts_with('/')
            && !self.key.contains(['?', '\t', '\r', '\n'])
            && !self.key.split('/').any(dots)
            && self.account.is_none()
    }

    /// What a URL that the Label Studio at `studio` signed for this object says; `None`: it is for another. Label Studio
    /// drops what follows a `?`, and the slashes that a key begins with, and for Azure encodes nothing: those are other
    /// objects' names.
    pub(super) fn signed(&self, studio: &str, url: &str) -> Option<Signed> {
        let parsed = Url::parse(url).ok()?;
        let host = parsed.host_str()?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.username().is_empty() {
            return None;
        }
        let path = percent_decode_str(parsed.path()).decode_utf8().ok()?;
        let in_bucket = format!("/{}/{}", self.bucket, self.key);
        let of_bucket = host.strip_prefix(&*self.bucket.to_ascii_lowercase());
        let by_host = of_bucket.is_some_and(|rest| rest.starts_with('.'))
            && path.strip_prefix('/') == Some(&*self.key);
        let of_account = |account: &Arc<str>| host.split('.').next() == Some(&**account);
        if !(by_host || path.ends_with(&in_bucket)) || !self.account.iter().all(of_account) {
            return None;
        }
        let query: HashMap<_, _> = parsed.query_pairs().into_owned().collect();
        let location = ObjectLocation {
            storage: LABEL_STUDIO.into(),
            epoch: self.epoch(studio, &parsed, &query),
            bucket: self.root().into(),
            key: self.key.clone(),
        };
        let url = SignedUrl {
            url: Secret::new(url),
            expires_at: expires_at(&query),
        };
        Some(Signed { location, url })
    }

    /// Which Label Studio, its storage, who signs, and for which server: two storages never share objects. A key's id is
    /// no secret, and a URL's signature is not ours to verify, so that whoever makes a storage with another's key id
    /// would be served what that key has read. A permanent key's id is in it for a storage whose key is changed; a
    /// session's changes with every session. SHA-256, because who makes a storage chooses what goes in.
    fn epoch(&self, studio: &str, url: &Url, query: &HashMap<String, String>) -> u64 {
        let (kind, storage) = (self.kind().as_str(), self.storage);
        let signer = signer(query).unwrap_or_default();
        let origin = url.origin().ascii_serialization();
        let text = format!(
            "{}:{studio}{kind}/{storage}:{}:{signer}:{origin}",
            studio.len(),
            signer.len()
        );
        let sum = digest::digest(&digest::SHA256, text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&sum.as_ref()[..8]);
        u64::from_be_bytes(first)
    }
}

/// The id of the permanent key that signed, if it was one. Azure's account key is named by the account, which is in the
/// origin; a delegated one (`skoid`) is for hours only.
fn signer(query: &HashMap<String, String>) -> Option<&str> {
    let first = |name: &str| query.get(name)?.split('/').next();
    if query.contains_key("X-Amz-Security-Token") || query.contains_key("x-amz-security-token") {
        return None;
    }
    if query.contains_key("sig") {
        return (!query.contains_key("skoid")).then_some("account key");
    }
    first("X-Amz-Credential")
        .or_else(|| first("X-Goog-Credential"))
        .or_else(|| query.get("AWSAccessKeyId").map(String::as_str))
        .or_else(|| query.get("GoogleAccessId").map(String::as_str))
}

/// When the URL ends, where it says so.
fn expires_at(query: &HashMap<String, String>) -> Option<SystemTime> {
    let number = |name: &str| query.get(name)?.parse::<u64>().ok();
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    for provider in ["X-Amz", "X-Goog"] {
        let begins = query.get(&format!("{provider}-Date"));
        let lives = number(&format!("{provider}-Expires"));
        if let (Some(begins), Some(lives)) = (begins, lives) {
            let begins = time::PrimitiveDateTime::parse(begins, basic).ok()?;
            return SystemTime::from(begins.assume_utc()).checked_add(Duration::from_secs(lives));
        }
    }
    if let Some(ends) = number("Expires") {
        return SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(ends));
    }
    let ends = OffsetDateTime::parse(query.get("se")?, &Rfc3339).ok()?;
    Some(ends.into())
}

/// Asks for a URL, and takes it apart.
pub(super) async fn ask(
    asker: &Asker,
    path: &str,
    fields: &HeaderMap,
    object: &Object,
) -> Said<Lies> {
    match asker.place(path, fields).await? {
        Answer::Elsewhere(url) => Ok(match object.signed(asker.base(), url.expose()) {
            Some(signed) => Lies::Signed(Arc::new(signed)),
            None => Lies::Elsewhere,
        }),
        Answer::Streams | Answer::Told(_) => Ok(Lies::WithIt),
        Answer::NotAuthenticated => Err(Not::Authenticated),
        Answer::Refused => Err(Not::Permitted),
    }
}

/// Asks again with the credential of the caller who was permitted: who reads was, each for themselves.
pub(super) struct Again {
    pub(super) asker: Arc<Asker>,
    pub(super) path: String,
    pub(super) fields: HeaderMap,
    pub(super) object: Object,
    pub(super) location: ObjectLocation,
}

#[async_trait]
impl Signer for Again {
    async fn sign(&self) -> Result<SignedUrl, NotSigned> {
        let unavailable = |why: &str| Err(NotSigned::Unavailable(why.to_owned()));
        match ask(&self.asker, &self.path, &self.fields, &self.object).await {
            Ok(Lies::Signed(signed)) if signed.location == self.location => Ok(signed.url.clone()),
            Ok(Lies::Signed(_)) => unavailable("it is signed by another key now"),
            Ok(Lies::Elsewhere) => unavailable("it is signed for another object"),
            Ok(Lies::WithIt) => unavailable("it is not signed any more"),
            Err(Not::Authenticated | Not::Permitted) => Err(NotSigned::Refused),
            Err(Not::Answered(error)) => unavailable(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Label Studio 1.23.2 signs for S3, with its signature shortened.
    const S3: &str = "http://127.0.0.1:9000/media/data/b%20c.png?response-content-type=image%2Fpng&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20261122%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261122T044501Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=7e88340f";

    const STUDIO: &str = "https://studio.example.com";

    fn object(provider: Provider, bucket: &str, key: &str, storage: u64) -> Object {
        Object {
            provider,
            bucket: bucket.into(),
            key: key.into(),
            account: None,
            storage,
        }
    }

    fn at(seconds: u64) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_signed_url_says_where_the_object_lies_and_until_when() {
        let signed = object(Provider::S3, "media", "data/b c.png", 1).signed(STUDIO, S3);
        let signed = signed.expect("it is for this object");
        assert_eq!(&*signed.location.bucket, "s3://media");
        assert_eq!(&*signed.location.key, "data/b c.png");
        assert_eq!(signed.url.expires_at, at(1_795_322_701 + 60));
        assert!(!format!("{signed:?}").contains("7e88340f"));
    }

    #[test]
    fn a_url_for_another_object_is_none_for_this_one() {
        for (bucket, key, url) in [
            ("media", "data/b%20c.png", S3),
            ("media", "c.png", S3),
            ("edia", "data/b c.png", S3),
            (
                "media",
                "a?b.png",
                "https://media.s3.amazonaws.com/a?X-Amz-Expires=60",
            ),
            (
                "media",
                "/a.png",
                "https://s3.amazonaws.com/media/a.png?X-Amz-Expires=60",
            ),
            ("media", "a.png", "https://mediax.s3.amazonaws.com/a.png"),
            ("media", "a.png", "ftp://media.s3.amazonaws.com/a.png"),
            ("media", "a.png", "/media/a.png"),
        ] {
            let signed = object(Provider::S3, bucket, key, 1).signed(STUDIO, url);
            assert!(signed.is_none(), "{bucket} {key} {url}");
        }
        for url in [
            "https://media.s3.eu-central-1.amazonaws.com/a.png",
            "https://s3.amazonaws.com/media/a.png",
        ] {
            assert!(
                object(Provider::S3, "media", "a.png", 1)
                    .signed(STUDIO, url)
                    .is_some()
            );
        }
    }

    #[test]
    fn an_account_that_the_uri_names_is_the_accounts_own() {
        let url =
            "https://acct.blob.core.windows.net/c/k.png?se=2026-11-22T05%3A00%3A00Z&sp=r&sig=x";
        let mut blob = object(Provider::Azure, "c", "k.png", 1);
        assert_eq!(
            blob.signed(STUDIO, url).expect("any").url.expires_at,
            at(1_795_323_600)
        );
        blob.account = Some("acct".into());
        assert!(blob.signed(STUDIO, url).is_some());
        blob.account = Some("other".into());
        assert!(blob.signed(STUDIO, url).is_none());
    }

    #[test]
    fn objects_are_shared_by_one_storage_with_one_key_at_one_server_and_by_nothing_else() {
        let epoch = |storage, url: &str| {
            let signed = object(Provider::S3, "media", "k", storage).signed(STUDIO, url);
            signed.expect("it is for this object").location.epoch
        };
        let url = |host: &str, query: &str| format!("https://{host}/media/k?{query}");
        let own = url("a", "X-Amz-Credential=AK%2Fx&X-Amz-Signature=1");
        let later = url("a", "X-Amz-Credential=AK%2Fy&X-Amz-Signature=2");
        assert_eq!(epoch(1, &own), epoch(1, &later));
        // Whoever made the other one may know the key's id and not its secret.
        assert_ne!(epoch(1, &own), epoch(2, &own));
        for other in [
            url("b", "X-Amz-Credential=AK%2Fx"),
            url("a:444", "X-Amz-Credential=AK%2Fx"),
            url("a", "X-Amz-Credential=BK%2Fx"),
            url("a", "X-Amz-Credential=AK%2Fx&X-Amz-Security-Token=t"),
            url("a", ""),
        ] {
            assert_ne!(epoch(1, &own), epoch(1, &other), "{other}");
        }
        let elsewhere =
            object(Provider::S3, "media", "k", 1).signed("https://other.example.com", &own);
        let elsewhere = elsewhere.expect("it is for this object").location.epoch;
        assert_ne!(
            epoch(1, &own),
            elsewhere,
            "storage 1 of another Label Studio"
        );
        let session = url("a", "X-Amz-Credential=AK%2Fx&X-Amz-Security-Token=t");
        assert_ne!(epoch(1, &session), epoch(2, &session));
    }
}

//! Objects of any kind of storage: `list`, `head` and `range`, over the backend that serves annotators.

use std::sync::Arc;

use futures_util::TryStreamExt as _;

use super::advice::{advice, ending_at_component};
use super::report::Step;
use crate::backend::config::BackendConfig;
use crate::backend::{Backend, BackendError, Call, Conditional, Fetched};
use crate::cli::printable;
use crate::config::StorageConfig;
use crate::object::{ObjectLocation, ObjectMeta};
use crate::resolve::StorageRule;

/// So many keys are looked through for one that the storage's pattern lets through.
const LISTED: usize = 100;

/// The objects of one storage.
pub struct Objects<'a> {
    /// Its configuration.
    pub storage: &'a StorageConfig,
    /// Its bounds.
    pub rule: &'a StorageRule,
    /// How it is read.
    pub backend: &'a dyn Backend,
    /// The key that was asked for: none, one that this storage holds, or one that it does not.
    pub key: Option<Option<Arc<str>>>,
}

impl Objects<'_> {
    /// Where a key lies.
    pub fn location(&self, key: &str) -> ObjectLocation {
        ObjectLocation {
            storage: self.storage.id.clone(),
            epoch: self.rule.epoch,
            bucket: self.bucket().into(),
            key: key.into(),
        }
    }

    /// The steps `list`, `head` and `range`; the key that could be read, for the steps after them.
    pub async fn check(&self, steps: &mut Vec<Step>) -> Option<Arc<str>> {
        let (step, listed) = self.list().await;
        if step.step == "credentials" {
            steps.push(step);
            return None;
        }
        let stop = step.has_failed() && listed == Listing::Refused;
        steps.push(step);
        let key = match (&self.key, listed) {
            _ if stop => return self.skip(steps, "list failed for a reason that head shares"),
            (Some(Some(asked)), _) => asked.clone(),
            (Some(None), _) => return self.skip(steps, "--uri names no object here"),
            (None, Listing::First(key)) => key,
            (None, Listing::Denied) if !self.denial_vouches() => {
                steps.push(Step::failed(
                    "head",
                    "no key to try, so that nothing shows these credentials to be good",
                    "name an object with --uri: some servers refuse a wrong key and a right one without \
                     permission to list in the same words",
                ));
                steps.push(Step::skipped("range", "no key to try"));
                return None;
            }
            (None, Listing::Nothing | Listing::Denied | Listing::Refused) => {
                return self.skip(steps, "no key to try; name one with --uri");
            }
        };
        let (step, meta) = self.head(&key).await;
        steps.push(step);
        let Some(meta) = meta else {
            steps.push(Step::skipped("range", "head failed"));
            return None;
        };
        let step = self.range(&key, &meta).await;
        let readable = !step.has_failed();
        steps.push(step);
        readable.then_some(key)
    }

    fn skip(&self, steps: &mut Vec<Step>, reason: &str) -> Option<Arc<str>> {
        steps.extend(["head", "range"].map(|step| Step::skipped(step, reason)));
        None
    }

    async fn list(&self) -> (Step, Listing) {
        let prefix = ending_at_component(&self.storage.prefix);
        let place = if prefix.is_empty() {
            "the storage".to_owned()
        } else {
            format!("prefix {prefix}")
        };
        let page = self
            .backend
            .list(self.bucket(), &prefix, None, LISTED)
            .await;
        let listed = match page {
            Ok(page) => page.entries,
            Err(BackendError::AccessDenied(said)) if is_permission(&said) => {
                let note = format!("not permitted ({said}); reading needs no permission to list");
                return (Step::skipped("list", note), Listing::Denied);
            }
            // It is the first question, and so the first to need credentials.
            Err(
                error @ (BackendError::NoCredentials(_)
                | BackendError::CredentialsUnavailable(_)
                | BackendError::CredentialsRefused(_)),
            ) => return (self.failed("credentials", &error), Listing::Refused),
            Err(error) => return (self.failed("list", &error), Listing::Refused),
        };
        // A key that ends with a slash is a folder in somebody's console.
        let mut files = listed.iter().filter(|found| !found.key.ends_with('/'));
        let pattern = self.rule.pattern.as_ref();
        let matching = files
            .clone()
            .find(|found| pattern.is_none_or(|pattern| pattern.is_match(&found.key)));
        let step = match (files.next(), matching) {
            (_, Some(found)) => {
                Step::ok("list", format!("{place} holds {}", printable(&found.key)))
            }
            // There may be more keys than were listed, and among them some that match.
            (Some(_), None) if listed.len() == LISTED => {
                let note = format!("the first {LISTED} keys of {place} do not match the pattern");
                Step::skipped("list", note)
            }
            (Some(_), None) => Step::failed(
                "list",
                format!("the keys of {place} do not match the pattern"),
                "correct pattern: it is searched in the whole key, prefix included",
            ),
            (None, _) => Step::failed(
                "list",
                format!("{place} is empty"),
                "correct prefix or bucket, or put media there; names are case-sensitive",
            ),
        };
        let first = matching.map(|found| Listing::First(found.key.as_str().into()));
        (step, first.unwrap_or(Listing::Nothing))
    }

    async fn head(&self, key: &str) -> (Step, Option<ObjectMeta>) {
        let location = self.location(key);
        match self.backend.head(Call::about(&location)).await {
            Ok(Conditional::Is(meta)) => {
                let content_type = meta.content_type.as_deref().unwrap_or("no content type");
                let length = meta.complete_length;
                let detail = format!("{}: {length} bytes, {content_type}", printable(key));
                (Step::ok("head", detail), Some(meta))
            }
            Ok(Conditional::NotModified) => (self.failed("head", &unasked()), None),
            Err(error) => {
                let mut step = self.failed("head", &error);
                step.detail = format!("{}: {}", printable(key), step.detail);
                (step, None)
            }
        }
    }

    /// Reads the first byte, to its end.
    async fn range(&self, key: &str, meta: &ObjectMeta) -> Step {
        let location = self.location(key);
        let fetched = match self.backend.get(Call::about(&location), 0..1).await {
            Ok(Conditional::Is(fetched)) => fetched,
            Ok(Conditional::NotModified) => return self.failed("range", &unasked()),
            Err(BackendError::RangeNotSatisfiable) if meta.complete_length == 0 => {
                return Step::ok("range", "the object is empty");
            }
            Err(error) => return self.failed("range", &error),
        };
        let Fetched { range, body, .. } = fetched;
        match body
            .try_fold(0, |sum, piece| async move { Ok(sum + piece.len() as u64) })
            .await
        {
            Ok(read) if read == range.end - range.start => Step::ok("range", "read the first byte"),
            Ok(_) => self.failed(
                "range",
                &BackendError::Protocol("a body that ends early".into()),
            ),
            Err(error) => self.failed("range", &error),
        }
    }

    /// A step that storage did not let through.
    pub fn failed(&self, step: &'static str, error: &BackendError) -> Step {
        Step::failed(step, error.to_string(), advice(error, self.storage))
    }

    /// Whether "access denied" to a listing means that the credentials themselves are good: AWS has other codes for
    /// those that are not, and servers of its protocol need not.
    fn denial_vouches(&self) -> bool {
        match &self.storage.backend {
            BackendConfig::S3(s3) => s3.endpoint.is_none(),
            BackendConfig::Local(_) | BackendConfig::Azure(_) => true,
            // Google names the identity that it refuses: it has taken the credentials.
            BackendConfig::Gcs(_) => true,
            // These say "denied" of a token or a password that is not valid, too.
            BackendConfig::Databricks(_) | BackendConfig::Redis(_) => false,
        }
    }

    fn bucket(&self) -> &str {
        match &self.storage.backend {
            BackendConfig::S3(s3) => &s3.bucket,
            BackendConfig::Azure(azure) => &azure.container,
            BackendConfig::Gcs(gcs) => &gcs.bucket,
            BackendConfig::Databricks(databricks) => &databricks.volume,
            BackendConfig::Local(_) | BackendConfig::Redis(_) => "",
        }
    }
}

/// What a listing gave to go on with.
#[derive(Debug, PartialEq, Eq)]
enum Listing {
    First(Arc<str>),
    Nothing,
    /// Not permitted, which reading does not need.
    Denied,
    /// Storage cannot be read at all, not only not listed.
    Refused,
}

/// Whether a refusal is of the one action, and not of the credentials.
fn is_permission(said: &str) -> bool {
    let code = said.split([' ', ':']).next().unwrap_or_default();
    matches!(
        code,
        "AccessDenied" | "AllAccessDisabled" | "403" | "AuthorizationPermissionMismatch" | "NOPERM"
    )
}

fn unasked() -> BackendError {
    BackendError::Protocol("a 304 to a question without a condition".into())
}

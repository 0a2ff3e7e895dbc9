//! URLs that somebody else signed for objects, and the way to new ones: what the access source learns as it decides,
//! and what storage is read with.
//!
//! Ground. Permits nothing: who reads with a URL from here was permitted elsewhere, for this request. A URL is a
//! credential: `Debug` prints `REDACTED`, and no URL leaves the process but towards storage.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::sync::OnceCell;

use crate::object::ObjectLocation;
use crate::secret::Secret;

/// The id of the storage whose objects Label Studio signs for, wherever they lie; no storage may be configured under it.
pub const LABEL_STUDIO: &str = "label-studio";

/// What remembered URLs may take together: one is about 600 bytes, so tens of thousands of objects. One that was
/// dropped comes back with the next decision about its object.
const CAPACITY_BYTES: u64 = 64 << 20;

/// What an entry takes beside its URL: the location, the signer with its caller's credential, bookkeeping; about.
const ENTRY_BYTES: u32 = 2048;

/// A URL that reads one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUrl {
    /// The URL, signature and all.
    pub url: Secret,
    /// When it ends, where it says so.
    pub expires_at: Option<SystemTime>,
}

/// Why there is no new URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Whoever signs refuses: the caller behind the signer may not, or no longer, see the object.
    #[error("the signer refuses")]
    Refused,
    /// Whoever signs does not answer, or nothing of use.
    #[error("the signer does not answer: {0}")]
    Unavailable(String),
}

/// Asks for a new URL of one object; holds the question, and the credential of the caller who put it.
#[async_trait]
pub trait Signer: Send + Sync {
    /// A new URL.
    async fn sign(&self) -> Result<SignedUrl, NotSigned>;
}

/// The URLs of the moment, by object; bounded.
pub struct SignedUrls(Cache<ObjectLocation, Arc<Entry>>);

struct Entry {
    url: SignedUrl,
    signer: Arc<dyn Signer>,
    /// The one renewal of this entry, which all who need it wait for.
    renewal: OnceCell<Result<SignedUrl, NotSigned>>,
}

impl Entry {
    fn new(url: SignedUrl, signer: Arc<dyn Signer>) -> Arc<Self> {
        Arc::new(Self {
            url,
            signer,
            renewal: OnceCell::new(),
        })
    }
}

impl fmt::Debug for SignedUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedUrls")
    }
}

impl Default for SignedUrls {
    fn default() -> Self {
        let weigh = |location: &ObjectLocation, entry: &Arc<Entry>| {
            let strings = location.key.len() + entry.url.url.expose().len();
            u32::try_from(strings)
                .unwrap_or(u32::MAX)
                .saturating_add(ENTRY_BYTES)
        };
        Self(
            Cache::builder()
                .max_capacity(CAPACITY_BYTES)
                .weigher(weigh)
                .build(),
        )
    }
}

impl SignedUrls {
    /// Remembers a URL and who renews it, with each decision that lets somebody see the object, remembered or fresh:
    /// the newest signer's caller is the one who was permitted last. Of two URLs the one stays that lives longer.
    pub fn put(&self, location: ObjectLocation, url: SignedUrl, signer: Arc<dyn Signer>) {
        let held = self.0.get(&location).map(|entry| entry.url.clone());
        let url = match held {
            Some(held) if held.expires_at > url.expires_at => held,
            Some(_) | None => url,
        };
        self.0.insert(location, Entry::new(url, signer));
    }

    /// The URL of an object, ended or not.
    pub fn get(&self, location: &ObjectLocation) -> Option<SignedUrl> {
        self.0.get(location).map(|entry| entry.url.clone())
    }

    /// A URL other than `stale`: the one that somebody has renewed meanwhile, else a new one, asked for once for all
    /// who wait.
    ///
    /// # Errors
    /// What the signer said; [`NotSigned::Unavailable`] as well where nobody has put this object.
    pub async fn renew(
        &self,
        location: &ObjectLocation,
        stale: &SignedUrl,
    ) -> Result<SignedUrl, NotSigned> {
        let entry = self.0.get(location);
        let entry = entry.ok_or_else(|| NotSigned::Unavailable("no url is known".into()))?;
        if entry.url != *stale {
            return Ok(entry.url.clone());
        }
        let renewed = entry.renewal.get_or_init(|| entry.signer.sign()).await;
        self.replace(location, &entry, renewed);
        renewed.clone()
    }

    /// What came of a renewal, in the place of the entry that was renewed, unless somebody put another meanwhile. One
    /// that failed gives way as well, so that who comes later asks again.
    fn replace(
        &self,
        location: &ObjectLocation,
        renewed: &Arc<Entry>,
        came: &Result<SignedUrl, NotSigned>,
    ) {
        let url = came.as_ref().unwrap_or(&renewed.url).clone();
        let successor = Entry::new(url, renewed.signer.clone());
        let entry = self.0.entry_by_ref(location);
        entry.and_compute_with(|held| match held {
            Some(held) if Arc::ptr_eq(held.value(), renewed) => {
                moka::ops::compute::Op::Put(successor)
            }
            Some(_) | None => moka::ops::compute::Op::Nop,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    fn location(key: &str) -> ObjectLocation {
        ObjectLocation {
            storage: "label-studio".into(),
            epoch: 1,
            bucket: "s3://media".into(),
            key: key.into(),
        }
    }

    fn url(text: &str, ends_after: u64) -> SignedUrl {
        SignedUrl {
            url: Secret::new(text),
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(ends_after)),
        }
    }

    /// Counts, waits until it is let go, and says what it was told to.
    struct Scripted {
        asked: AtomicU32,
        go: Notify,
        answer: Result<SignedUrl, NotSigned>,
    }

    impl Scripted {
        fn new(answer: Result<SignedUrl, NotSigned>) -> Arc<Self> {
            let (asked, go) = (AtomicU32::new(0), Notify::new());
            Arc::new(Self { asked, go, answer })
        }
    }

    #[async_trait]
    impl Signer for Scripted {
        async fn sign(&self) -> Result<SignedUrl, NotSigned> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.go.notified().await;
            self.answer.clone()
        }
    }

    #[tokio::test]
    async fn a_renewal_is_asked_for_once_for_all_who_wait() {
        let (urls, signer) = (SignedUrls::default(), Scripted::new(Ok(url("new", 2))));
        urls.put(location("a"), url("old", 1), signer.clone());
        let (place, stale) = (location("a"), url("old", 1));
        let waiting = join_all((0..10).map(|_| urls.renew(&place, &stale)));
        let (renewed, ()) = tokio::join!(waiting, async { signer.go.notify_one() });
        assert!(renewed.into_iter().all(|it| it == Ok(url("new", 2))));
        assert_eq!(signer.asked.load(Ordering::Relaxed), 1);
        assert_eq!(urls.get(&place), Some(url("new", 2)));
        // Who comes late with the old one is given the new one.
        assert_eq!(urls.renew(&place, &stale).await, Ok(url("new", 2)));
        assert_eq!(signer.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_renewal_that_failed_is_not_remembered() {
        let (urls, signer) = (
            SignedUrls::default(),
            Scripted::new(Err(NotSigned::Refused)),
        );
        urls.put(location("a"), url("old", 1), signer.clone());
        for asked in 1..3 {
            signer.go.notify_one();
            let renewed = urls.renew(&location("a"), &url("old", 1)).await;
            assert_eq!(renewed, Err(NotSigned::Refused));
            assert_eq!(signer.asked.load(Ordering::Relaxed), asked);
        }
    }

    #[tokio::test]
    async fn a_url_that_was_put_during_a_renewal_stays() {
        let (urls, slow) = (SignedUrls::default(), Scripted::new(Ok(url("slow", 2))));
        urls.put(location("a"), url("old", 1), slow.clone());
        let (place, stale) = (location("a"), url("old", 1));
        let (renewed, ()) = tokio::join!(urls.renew(&place, &stale), async {
            urls.put(location("a"), url("put", 3), slow.clone());
            slow.go.notify_one();
        });
        assert_eq!(renewed, Ok(url("slow", 2)));
        assert_eq!(urls.get(&place), Some(url("put", 3)));
    }

    #[test]
    fn of_two_urls_the_one_that_lives_longer_stays() {
        let (urls, signer) = (
            SignedUrls::default(),
            Scripted::new(Err(NotSigned::Refused)),
        );
        for (put, held) in [
            (("a", 2), ("a", 2)),
            (("b", 1), ("a", 2)),
            (("c", 3), ("c", 3)),
        ] {
            urls.put(location("k"), url(put.0, put.1), signer.clone());
            assert_eq!(urls.get(&location("k")), Some(url(held.0, held.1)));
        }
        assert_eq!(urls.get(&location("other")), None);
    }

    #[test]
    fn no_url_is_shown() {
        let (urls, signer) = (
            SignedUrls::default(),
            Scripted::new(Err(NotSigned::Refused)),
        );
        urls.put(
            location("a"),
            url("https://s3/a?X-Amz-Signature=0b5e", 1),
            signer,
        );
        let shown = format!("{urls:?} {:?}", urls.get(&location("a")));
        assert!(
            !shown.contains("0b5e") && shown.contains("REDACTED"),
            "{shown}"
        );
    }
}

//! Another try, as a decorator: a storage that throttles, breaks off or is slow to begin is asked again, at most
//! three times in all, with jitter, and within a budget over all its requests. What storage decided (not found,
//! refused, changed) is never asked again; its own Retry-After (RFC 9110 §10.2.3) is waited for where that is short.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::budget::Budget;
use super::{Backend, BackendError, Call, Conditional, Fetched, Page};
use crate::object::ObjectMeta;

/// How often storage is asked for one thing.
pub const MAX_TRIES: u32 = 3;
/// The first pause is up to this long, the second up to twice as long (full jitter).
const BASE_PAUSE: Duration = Duration::from_millis(100);
/// A client waits for no longer Retry-After of storage's than this: it is told of a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How often storage was asked for one thing, counted over the whole of it: a window that is taken up where it broke
/// off goes on counting. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Tries(Arc<AtomicU32>);

impl Tries {
    /// How often so far.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A backend that tries again.
pub struct Retry<B> {
    inner: B,
    budget: Arc<Budget>,
}

impl<B> Retry<B> {
    /// With a budget of its own.
    pub fn new(inner: B) -> Self {
        Self::within(Arc::new(Budget::of_retries()), inner)
    }

    /// With a budget that others spend, too.
    pub(super) fn within(budget: Arc<Budget>, inner: B) -> Self {
        Self { inner, budget }
    }

    /// Begins a question; where it was begun before, this is a second try of it already.
    fn begin(&self, tries: &Tries) -> Result<(), BackendError> {
        if tries.count() == 0 {
            self.budget.deposit();
        } else if !self.budget.withdraw() {
            return Err(BackendError::Unavailable(
                "it broke off, and too much of it was asked for again already".into(),
            ));
        }
        tries.begin();
        Ok(())
    }

    /// Whether to ask once more after this error, when the pause for that is over.
    async fn again(&self, error: &BackendError, tries: &Tries) -> bool {
        // A time-out has cost ten seconds already: a second one would outlast any client's patience.
        let worth_it = error.is_transient() && !matches!(error, BackendError::TimedOut(_));
        let wait = error.retry_after().unwrap_or_default();
        if !worth_it || tries.count() >= MAX_TRIES || wait > MAX_PAUSE || !self.budget.withdraw() {
            return false;
        }
        tokio::time::sleep(wait).await;
        pause(tries.count()).await;
        tries.begin();
        true
    }
}

impl BackendError {
    /// Whether the same question may be answered another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unavailable(_) | Self::TimedOut(_) => true,
            Self::NotFound
            | Self::NoSuchBucket
            | Self::AccessDenied(_)
            | Self::NoCredentials(_)
            | Self::CredentialsUnavailable(_)
            | Self::CredentialsRefused(_)
            | Self::Changed
            | Self::RangeNotSatisfiable
            | Self::Protocol(_) => false,
        }
    }

    /// Whether storage gave no answer, which says nothing of the object: what is known of it still holds. A source of
    /// credentials that refuses has given one: whoever took the right away meant it.
    pub fn is_outage(&self) -> bool {
        self.is_transient() || matches!(self, Self::CredentialsUnavailable(_))
    }

    /// When storage wants to be asked again, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The pause before the try after `tries` failed ones: random, so that many waiters do not come back at once.
pub async fn pause(tries: u32) {
    let factor = f64::from(1u32 << (tries.clamp(1, MAX_TRIES) - 1));
    tokio::time::sleep(BASE_PAUSE.mul_f64(factor * fastrand::f64())).await;
}

macro_rules! try_again {
    ($retry:expr, $tries:expr, $question:expr) => {{
        let tries = $tries;
        $retry.begin(&tries)?;
        loop {
            match $question.await {
                Ok(answer) => break Ok(answer),
                Err(error) => {
                    if !$retry.again(&error, &tries).await {
                        break Err(error);
                    }
                }
            }
        }
    }};
}

#[async_trait]
impl<B: Backend> Backend for Retry<B> {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        try_again!(self, call.tries.clone(), self.inner.head(call.clone()))
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let ask = || self.inner.get(call.clone(), range.clone());
        try_again!(self, call.tries.clone(), ask())
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let ask = || self.inner.list(bucket, prefix, after, limit);
        try_again!(self, Tries::default(), ask())
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.inner.credential_expiry()
    }
}

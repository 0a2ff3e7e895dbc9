//! Another try, as a decorator: a storage that throttles, breaks off or is slow to begin is asked again, at most
//! three times in all, with jitter. What storage decided (not found, refused, changed) is never asked again.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{Backend, BackendError, Call, Conditional, Fetched, Page};
use crate::object::ObjectMeta;

/// How often storage is asked for one thing.
pub const MAX_TRIES: u32 = 3;
/// The first pause is up to this long, the second up to twice as long (full jitter).
const BASE_PAUSE: Duration = Duration::from_millis(100);

/// A backend that tries again.
pub struct Retry<B>(pub B);

impl BackendError {
    /// Whether the same question may be answered another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled(_) | Self::Unavailable(_) | Self::TimedOut(_) => true,
            Self::NotFound
            | Self::NoSuchBucket
            | Self::AccessDenied(_)
            | Self::NoCredentials(_)
            | Self::CredentialsUnavailable(_)
            | Self::Changed
            | Self::RangeNotSatisfiable
            | Self::Protocol(_) => false,
        }
    }
}

/// The pause before the try after `tries` failed ones: random, so that many waiters do not come back at once.
pub async fn pause(tries: u32) {
    tokio::time::sleep(BASE_PAUSE.mul_f64(f64::from(1u32 << (tries - 1)) * fastrand::f64())).await;
}

macro_rules! try_again {
    ($question:expr) => {{
        let mut tries = 1;
        loop {
            match $question.await {
                // A time-out has cost ten seconds already: a second one would outlast any client's patience.
                Err(error) if error.is_transient() && !matches!(error, BackendError::TimedOut(_)) && tries < MAX_TRIES => {
                    pause(tries).await;
                    tries += 1;
                }
                answer => break answer,
            }
        }
    }};
}

#[async_trait]
impl<B: Backend> Backend for Retry<B> {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        try_again!(self.0.head(call.clone()))
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        try_again!(self.0.get(call.clone(), range.clone()))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        try_again!(self.0.list(bucket, prefix, after, limit))
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.0.credential_expiry()
    }
}

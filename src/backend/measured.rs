//! Counts what is asked of a storage and how it answers, as a decorator: one count a request that really goes out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt;

use super::{
    Backend, BackendError, Call, Conditional, Fetched, Page, Presign, PresignOptions, PresignedUrl,
};
use crate::ids::StorageId;
use crate::object::{ObjectLocation, ObjectMeta};
use crate::telemetry::{Metrics, Operation, Outcome};

/// A backend whose requests are counted.
pub struct Measured<B> {
    inner: B,
    storage: StorageId,
    metrics: Arc<Metrics>,
}

impl<B> Measured<B> {
    /// Counts under the storage's id.
    pub fn new(inner: B, storage: StorageId, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            storage,
            metrics,
        }
    }

    fn count<T>(
        &self,
        operation: Operation,
        begun: Instant,
        answer: &Result<T, BackendError>,
        not_modified: bool,
    ) {
        let outcome = match answer {
            Ok(_) if not_modified => Outcome::NotModified,
            Ok(_) => Outcome::Ok,
            Err(error) => outcome(error),
        };
        self.metrics
            .storage_request(&self.storage, operation, outcome, begun.elapsed());
        if let Err(error) = answer
            && outcome.is_failure()
        {
            let reason = error.to_string();
            self.metrics.storage_failed(&self.storage, outcome, reason);
        }
    }
}

pub(super) fn outcome(error: &BackendError) -> Outcome {
    match error {
        BackendError::NotFound | BackendError::NoSuchBucket => Outcome::NotFound,
        BackendError::AccessDenied(_)
        | BackendError::NoCredentials(_)
        | BackendError::CredentialsUnavailable(_)
        | BackendError::CredentialsRefused(_) => Outcome::AccessDenied,
        BackendError::Changed => Outcome::Changed,
        BackendError::RangeNotSatisfiable => Outcome::RangeNotSatisfiable,
        BackendError::Throttled { .. } => Outcome::Throttled,
        BackendError::Unavailable(_) => Outcome::Unavailable,
        BackendError::TimedOut(_) => Outcome::TimedOut,
        BackendError::Protocol(_) => Outcome::Protocol,
    }
}

#[async_trait]
impl<B: Backend> Backend for Measured<B> {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let begun = Instant::now();
        let answer = self.inner.head(call).await;
        self.count(
            Operation::Head,
            begun,
            &answer,
            matches!(answer, Ok(Conditional::NotModified)),
        );
        answer
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let begun = Instant::now();
        let answer = self.inner.get(call, range).await;
        self.count(
            Operation::Get,
            begun,
            &answer,
            matches!(answer, Ok(Conditional::NotModified)),
        );
        let (metrics, storage) = (self.metrics.clone(), self.storage.clone());
        answer.map(|answer| match answer {
            Conditional::NotModified => Conditional::NotModified,
            Conditional::Is(fetched) => Conditional::Is(Fetched {
                body: Box::pin(fetched.body.inspect(move |frame| {
                    if let Ok(frame) = frame {
                        metrics.storage_bytes(&storage, frame.len() as u64);
                    }
                })),
                ..fetched
            }),
        })
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let begun = Instant::now();
        let answer = self.inner.list(bucket, prefix, after, limit).await;
        self.count(Operation::List, begun, &answer, false);
        answer
    }

    fn credential_expiry(&self) -> Option<std::time::SystemTime> {
        self.inner.credential_expiry()
    }
}

#[async_trait]
impl<P: Presign> Presign for Measured<P> {
    async fn presign(
        &self,
        location: &ObjectLocation,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, BackendError> {
        let begun = Instant::now();
        let answer = self.inner.presign(location, options).await;
        self.count(Operation::Presign, begun, &answer, false);
        answer
    }
}

//! A second request where the first is far past its usual latency, as a decorator: the first answer is read, the other
//! request is dropped, and its connection with it (Dean and Barroso, "The Tail at Scale", 2013, on hedged requests).
//!
//! For reads alone, off unless it is configured. Never more than one request in twenty, and none while storage throttles
//! or fails: it must not make an overload worse. Never reads from both: the answer that is read brings its own version,
//! and carried the same condition.

mod usual;

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tokio::time::timeout;

use super::budget::Budget;
use super::config::Hedge;
use super::retry::Retry;
use super::{Backend, BackendError, Call, Conditional, Fetched, Page};
use crate::ids::StorageId;
use crate::object::ObjectMeta;
use crate::telemetry::{Hedging, Metrics};
use usual::Usual;

/// How long a storage that throttled or failed is spared second requests; longer, where its Retry-After is.
const CALM: Duration = Duration::from_secs(10);

/// A backend whose slow reads are asked for twice.
pub struct Hedged<B> {
    inner: B,
    hedge: Hedge,
    usual: Usual,
    hedges: Budget,
    /// That of the second tries: a hedge is paid from it as well, so both together are no more than they alone were.
    retries: Arc<Budget>,
    strained_until: Mutex<Option<Instant>>,
    storage: StorageId,
    metrics: Arc<Metrics>,
}

type Answer = Result<Conditional<Fetched>, BackendError>;

/// A second request under way; counted when it is over, however that comes about.
struct Sent<'a> {
    metrics: &'a Metrics,
    storage: &'a StorageId,
    outcome: Hedging,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.metrics.storage_hedged(self.storage, self.outcome);
    }
}

impl<B> Hedged<B> {
    /// Around a backend that is not retried yet.
    pub fn new(inner: B, hedge: Hedge, storage: StorageId, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            hedge,
            usual: Usual::default(),
            hedges: Budget::of_hedges(),
            retries: Arc::new(Budget::of_retries()),
            strained_until: Mutex::new(None),
            storage,
            metrics,
        }
    }

    /// Tried again where it fails, within the budget that it spends itself.
    pub fn retried(self) -> Retry<Self> {
        Retry::within(self.retries.clone(), self)
    }

    /// How long the first request is waited for; none: without end.
    fn patience(&self) -> Option<Duration> {
        match self.hedge {
            Hedge::P95 => self.usual.p95(),
            Hedge::After(after) => Some(after),
        }
    }

    fn may_hedge(&self) -> bool {
        !self.is_strained() && self.hedges.withdraw() && self.retries.withdraw()
    }

    fn is_strained(&self) -> bool {
        let until = self.strained_until.lock();
        let until = until.unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes notice of a storage that throttles or fails.
    fn heard<T>(&self, answer: &Result<T, BackendError>) {
        let Err(error) = answer else { return };
        if error.is_transient() {
            let calm = error.retry_after().unwrap_or_default().max(CALM);
            let until = self.strained_until.lock();
            let mut until = until.unwrap_or_else(PoisonError::into_inner);
            *until = (*until).max(Some(Instant::now() + calm));
        }
    }

    /// Whether storage has said its word: where one request failed for a moment the other may yet be answered.
    fn is_settled(&self, answer: &Answer) -> bool {
        self.heard(answer);
        !answer.as_ref().is_err_and(BackendError::is_transient)
    }
}

impl<B: Backend> Hedged<B> {
    /// The first answer of one request or two.
    async fn first_answer(&self, call: Call<'_>, range: Range<u64>) -> Answer {
        let mut first = pin!(self.inner.get(call.clone(), range.clone()));
        let Some(patience) = self.patience() else {
            return first.await;
        };
        if let Ok(answer) = timeout(patience, &mut first).await {
            return answer;
        }
        if !self.may_hedge() {
            return first.await;
        }
        let mut sent = Sent {
            metrics: &self.metrics,
            storage: &self.storage,
            outcome: Hedging::Lost,
        };
        let mut second = pin!(self.inner.get(call, range));
        // Whichever is dropped at the end of this is not read from: hyper closes its connection.
        let (answer, is_second) = tokio::select! {
            biased;
            answer = &mut first => match self.is_settled(&answer) {
                true => (answer, false),
                false => (or_longer_pause(second.await, answer), true),
            },
            answer = &mut second => match self.is_settled(&answer) {
                true => (answer, true),
                false => (or_longer_pause(first.await, answer), false),
            },
        };
        if is_second && answer.is_ok() {
            sent.outcome = Hedging::Won;
        }
        answer
    }
}

/// What came of the last, or of the one before where both failed and that asks for more patience.
fn or_longer_pause(last: Answer, before: Answer) -> Answer {
    match (&last, &before) {
        (Err(last), Err(before))
            if last.is_transient() && before.retry_after() > last.retry_after() => {}
        _ => return last,
    }
    before
}

#[async_trait]
impl<B: Backend> Backend for Hedged<B> {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let answer = self.inner.head(call).await;
        self.heard(&answer);
        answer
    }

    async fn get(&self, call: Call<'_>, range: Range<u64>) -> Answer {
        self.hedges.deposit();
        let begun = Instant::now();
        let answer = self.first_answer(call, range).await;
        self.heard(&answer);
        if answer.is_ok() {
            // Where the second won, the first would have taken longer: as much is known of it.
            self.usual.took(begun.elapsed());
        }
        answer
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        self.inner.list(bucket, prefix, after, limit).await
    }

    fn credential_expiry(&self) -> Option<SystemTime> {
        self.inner.credential_expiry()
    }
}

#[cfg(test)]
mod tests;

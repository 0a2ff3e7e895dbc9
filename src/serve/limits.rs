//! What one annotator, and one project, may take: requests per second, bodies at once, bytes per second. All bodies of
//! an annotator share, and so do all of a project.
//!
//! A refusal says which limit it was in the fields of draft-ietf-httpapi-ratelimit-headers-10. Never slows one annotator
//! for another, but for those of one project where that has limits. Holds an entry for whoever asked within the last second or has a body running
//! (or owes time for its bytes), and forgets the others as it goes: many subjects do not fill memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::HeaderValue;

use super::LimitsConfig;
use crate::ids::{ProjectId, Subject};

/// After this many checks those who have their whole rate again are forgotten: a millisecond's work at most.
const CHECKS_BETWEEN_SWEEPS: usize = 10_000;
/// Below this many there is nothing worth forgetting.
const LEAST_SWEPT: usize = 1024;
/// What an annotator may take at once before bandwidth holds it back: so much time's worth, for the first frames of a
/// video to come at full speed.
const BURST: Duration = Duration::from_millis(250);
/// When to come back for a body where too many run: nobody knows when one ends.
const BODY_RETRY: Duration = Duration::from_secs(1);

/// Past a limit: when to come back, and which limit it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests: {policy}; again in {} s", self.seconds())]
pub struct RetryAfter {
    /// When one more would be within it.
    pub after: Duration,
    /// The limit.
    pub policy: Policy,
}

/// A quota policy, as `RateLimit-Policy` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    whose: Whose,
    quota: Quotas,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All requests of one annotator.
    Annotator,
    /// All requests through one project.
    Project,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotas {
    /// Requests in each second.
    Rate(u32),
    /// Bodies at once.
    Streams(usize),
}

/// The policy as a structured field's item (RFC 9651 §3.3): `"annotator-requests";q=200;w=1`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quota {
            Quotas::Rate(quota) => write!(f, "{};q={quota};w=1", self.name()),
            Quotas::Streams(quota) => {
                write!(f, "{};q={quota};qu=\"concurrent-requests\"", self.name())
            }
        }
    }
}

impl Policy {
    fn name(self) -> &'static str {
        match (self.whose, self.quota) {
            (Whose::Annotator, Quotas::Rate(_)) => "\"annotator-requests\"",
            (Whose::Annotator, Quotas::Streams(_)) => "\"annotator-streams\"",
            (Whose::Project, Quotas::Rate(_)) => "\"project-requests\"",
            (Whose::Project, Quotas::Streams(_)) => "\"project-streams\"",
        }
    }
}

impl RetryAfter {
    /// `RateLimit-Policy` and `RateLimit`: the limit, and that nothing of it remains until then.
    pub fn fields(self) -> [Option<HeaderValue>; 2] {
        let policy = self.policy.to_string();
        let left = format!("{};r=0;t={}", self.policy.name(), self.seconds());
        [policy, left].map(|value| HeaderValue::try_from(value).ok())
    }

    /// As `Retry-After` is written (RFC 9110 §10.2.3): whole seconds, rounded up, at least 1.
    pub fn seconds(self) -> u64 {
        self.after
            .as_millis()
            .div_ceil(1000)
            .max(1)
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

/// The limits of all annotators, or of all projects.
#[derive(Debug)]
pub struct Limits<K: Clone + Eq + Hash> {
    whose: Whose,
    rate: u32,
    requests: Option<DefaultKeyedRateLimiter<K>>,
    checks: AtomicUsize,
    concurrent_streams: Option<usize>,
    /// Bytes per second.
    bandwidth: Option<u64>,
    takers: Arc<Mutex<Takers<K>>>,
}

/// Those with bodies running, or with time owed for bytes.
#[derive(Debug)]
struct Takers<K> {
    by_key: HashMap<K, Taker>,
    /// At this many, those who owe nothing are forgotten.
    sweep_at: usize,
}

#[derive(Debug)]
struct Taker {
    streams: usize,
    /// Until when the bytes taken so far use up the bandwidth.
    paid_until: Instant,
}

impl<K: Clone + Eq + Hash> Takers<K> {
    /// Forgets at twice as many as were left last time, so that it costs each of them a step.
    fn sweep(&mut self, now: Instant) {
        if self.by_key.len() >= self.sweep_at {
            self.by_key
                .retain(|_, taker| taker.streams > 0 || taker.paid_until > now);
            self.sweep_at = (2 * self.by_key.len()).max(LEAST_SWEPT);
        }
    }
}

impl<K: Clone + Eq + Hash> Limits<K> {
    /// With the configured limits; 0 is taken as 1 where nothing could pass otherwise.
    pub fn new(whose: Whose, config: &LimitsConfig) -> Self {
        let rate = config
            .requests_per_second
            .map(|rate| NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN));
        Self {
            whose,
            rate: rate.map_or(0, NonZeroU32::get),
            // A burst of a whole second's worth: a gallery asks for its thumbnails at once.
            requests: rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            checks: AtomicUsize::new(0),
            concurrent_streams: config
                .concurrent_streams
                .map(|streams| streams.max(1) as usize),
            bandwidth: config.bandwidth.map(|bytes| bytes.max(1)),
            takers: Arc::new(Mutex::new(Takers {
                by_key: HashMap::new(),
                sweep_at: LEAST_SWEPT,
            })),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// More per second than configured.
    pub fn check_request(&self, key: &K) -> Result<(), RetryAfter> {
        let Some(requests) = &self.requests else {
            return Ok(());
        };
        if self.checks.fetch_add(1, Relaxed) % CHECKS_BETWEEN_SWEEPS == CHECKS_BETWEEN_SWEEPS - 1 {
            requests.retain_recent();
        }
        requests.check_key(key).map_err(|not_until| RetryAfter {
            after: not_until.wait_time_from(requests.clock().now()),
            policy: self.policy(Quotas::Rate(self.rate)),
        })
    }

    fn policy(&self, quota: Quotas) -> Policy {
        let whose = self.whose;
        Policy { whose, quota }
    }

    /// Counts a body until the guard is dropped.
    ///
    /// # Errors
    /// More at once than configured.
    pub fn begin_stream(&self, key: &K) -> Result<StreamGuard<K>, RetryAfter> {
        if self.concurrent_streams.is_none() && self.bandwidth.is_none() {
            return Ok(StreamGuard(None));
        }
        let now = Instant::now();
        let mut takers = lock(&self.takers);
        takers.sweep(now);
        let taker = takers.by_key.entry(key.clone()).or_insert(Taker {
            streams: 0,
            paid_until: now,
        });
        if let Some(most) = self.concurrent_streams
            && taker.streams >= most
        {
            return Err(RetryAfter {
                after: BODY_RETRY,
                policy: self.policy(Quotas::Streams(most)),
            });
        }
        taker.streams += 1;
        Ok(StreamGuard(Some(Share {
            key: key.clone(),
            bandwidth: self.bandwidth,
            takers: Arc::clone(&self.takers),
        })))
    }
}

/// A running body's pace: its annotator's, and its project's.
#[derive(Debug)]
pub struct Pace {
    /// The annotator's limits.
    pub annotator: StreamGuard<Subject>,
    /// The project's; none: it was permitted through none.
    pub project: Option<StreamGuard<ProjectId>>,
}

impl Pace {
    /// Counts bytes that are about to be sent, and is ready when they may be. It counts when called, not when awaited.
    pub fn throttle(&self, bytes: u64) -> impl Future<Output = ()> + Send + use<> {
        let project = self.project.as_ref();
        let delay = self.annotator.delay(bytes);
        let delay = delay.max(project.and_then(|project| project.delay(bytes)));
        async move {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// One running body's part in a limit.
#[derive(Debug)]
#[must_use = "the body counts only as long as its guard lives"]
pub struct StreamGuard<K: Clone + Eq + Hash>(Option<Share<K>>);

#[derive(Debug)]
struct Share<K: Clone + Eq + Hash> {
    key: K,
    bandwidth: Option<u64>,
    takers: Arc<Mutex<Takers<K>>>,
}

impl<K: Clone + Eq + Hash> StreamGuard<K> {
    /// Counts bytes that are about to be sent, and gives how long they must wait; none: not at all.
    pub fn delay(&self, bytes: u64) -> Option<Duration> {
        let share = self.0.as_ref()?;
        // An hour at most, so that no number of bytes can overflow a clock.
        let cost = Duration::from_secs_f64((bytes as f64 / share.bandwidth? as f64).min(3600.0));
        let now = Instant::now();
        let mut takers = lock(&share.takers);
        let taker = takers.by_key.get_mut(&share.key)?;
        let begin = taker.paid_until.max(now);
        taker.paid_until = begin + cost;
        let wait = begin.saturating_duration_since(now).saturating_sub(BURST);
        (!wait.is_zero()).then_some(wait)
    }
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut takers = lock(&self.takers);
        if let Some(taker) = takers.by_key.get_mut(&self.key) {
            taker.streams -= 1;
            // Who owes time is kept until it is paid: else many small bodies would pass any bandwidth.
            if taker.streams == 0 && taker.paid_until <= Instant::now() {
                takers.by_key.remove(&self.key);
            }
        }
    }
}

/// A panic while it was held left a count at worst one off: no reason to fail every later request.
fn lock<K>(takers: &Mutex<Takers<K>>) -> MutexGuard<'_, Takers<K>> {
    takers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! What one annotator may take: requests per second, bodies at once, bytes per second. All bodies of an annotator share.
//!
//! Never slows one annotator for another. Holds an entry for whoever asked within the last second or has a body running
//! (or owes time for its bytes), and forgets the others as it goes: many subjects do not fill memory.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::LimitsConfig;
use crate::ids::Subject;

/// After this many checks those who have their whole rate again are forgotten: a millisecond's work at most.
const CHECKS_BETWEEN_SWEEPS: usize = 10_000;
/// Below this many there is nothing worth forgetting.
const LEAST_SWEPT: usize = 1024;
/// What an annotator may take at once before bandwidth holds it back: so much time's worth, for the first frames of a
/// video to come at full speed.
const BURST: Duration = Duration::from_millis(250);
/// When to come back for a body where too many run: nobody knows when one ends.
const BODY_RETRY: Duration = Duration::from_secs(1);

/// Past a limit: when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; again in {} s", self.seconds())]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// As `Retry-After` is written (RFC 9110 §10.2.3): whole seconds, rounded up, at least 1.
    pub fn seconds(self) -> u64 {
        self.0
            .as_millis()
            .div_ceil(1000)
            .max(1)
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

/// The limits of all annotators.
#[derive(Debug)]
pub struct Limits {
    requests: Option<DefaultKeyedRateLimiter<Subject>>,
    checks: AtomicUsize,
    concurrent_streams: Option<usize>,
    /// Bytes per second.
    bandwidth: Option<u64>,
    takers: Arc<Mutex<Takers>>,
}

/// Annotators with bodies running, or with time owed for bytes.
#[derive(Debug, Default)]
struct Takers {
    by_subject: HashMap<Subject, Taker>,
    /// At this many, those who owe nothing are forgotten.
    sweep_at: usize,
}

#[derive(Debug)]
struct Taker {
    streams: usize,
    /// Until when the bytes taken so far use up the bandwidth.
    paid_until: Instant,
}

impl Takers {
    /// Forgets at twice as many as were left last time, so that it costs each of them a step.
    fn sweep(&mut self, now: Instant) {
        if self.by_subject.len() >= self.sweep_at {
            self.by_subject
                .retain(|_, taker| taker.streams > 0 || taker.paid_until > now);
            self.sweep_at = (2 * self.by_subject.len()).max(LEAST_SWEPT);
        }
    }
}

impl Limits {
    /// With the configured limits; 0 is taken as 1 where nothing could pass otherwise.
    pub fn new(config: &LimitsConfig) -> Self {
        let rate = config
            .requests_per_second
            .map(|rate| NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN));
        Self {
            // A burst of a whole second's worth: a gallery asks for its thumbnails at once.
            requests: rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            checks: AtomicUsize::new(0),
            concurrent_streams: config
                .concurrent_streams
                .map(|streams| streams.max(1) as usize),
            bandwidth: config.bandwidth.map(|bytes| bytes.max(1)),
            takers: Arc::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// More per second than configured.
    pub fn check_request(&self, subject: &Subject) -> Result<(), RetryAfter> {
        let Some(requests) = &self.requests else {
            return Ok(());
        };
        if self.checks.fetch_add(1, Relaxed) % CHECKS_BETWEEN_SWEEPS == CHECKS_BETWEEN_SWEEPS - 1 {
            requests.retain_recent();
        }
        requests
            .check_key(subject)
            .map_err(|not_until| RetryAfter(not_until.wait_time_from(requests.clock().now())))
    }

    /// Counts a body until the guard is dropped.
    ///
    /// # Errors
    /// More at once than configured.
    pub fn begin_stream(&self, subject: &Subject) -> Result<StreamGuard, RetryAfter> {
        if self.concurrent_streams.is_none() && self.bandwidth.is_none() {
            return Ok(StreamGuard(None));
        }
        let now = Instant::now();
        let mut takers = lock(&self.takers);
        takers.sweep(now);
        let taker = takers.by_subject.entry(subject.clone()).or_insert(Taker {
            streams: 0,
            paid_until: now,
        });
        if self
            .concurrent_streams
            .is_some_and(|most| taker.streams >= most)
        {
            return Err(RetryAfter(BODY_RETRY));
        }
        taker.streams += 1;
        Ok(StreamGuard(Some(Share {
            subject: subject.clone(),
            bandwidth: self.bandwidth,
            takers: Arc::clone(&self.takers),
        })))
    }
}

/// One running body's part in its annotator's limits.
#[derive(Debug)]
#[must_use = "the body counts only as long as its guard lives"]
pub struct StreamGuard(Option<Share>);

#[derive(Debug)]
struct Share {
    subject: Subject,
    bandwidth: Option<u64>,
    takers: Arc<Mutex<Takers>>,
}

impl StreamGuard {
    /// Counts bytes that are about to be sent, and gives how long they must wait; none: not at all.
    pub fn delay(&self, bytes: u64) -> Option<Duration> {
        let share = self.0.as_ref()?;
        // An hour at most, so that no number of bytes can overflow a clock.
        let cost = Duration::from_secs_f64((bytes as f64 / share.bandwidth? as f64).min(3600.0));
        let now = Instant::now();
        let mut takers = lock(&share.takers);
        let taker = takers.by_subject.get_mut(&share.subject)?;
        let begin = taker.paid_until.max(now);
        taker.paid_until = begin + cost;
        let wait = begin.saturating_duration_since(now).saturating_sub(BURST);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts bytes that are about to be sent, and is ready when they may be. It counts when called, not when awaited.
    pub fn throttle(&self, bytes: u64) -> impl Future<Output = ()> + Send + use<> {
        let delay = self.delay(bytes);
        async move {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut takers = lock(&self.takers);
        if let Some(taker) = takers.by_subject.get_mut(&self.subject) {
            taker.streams -= 1;
            // Who owes time is kept until it is paid: else many small bodies would pass any bandwidth.
            if taker.streams == 0 && taker.paid_until <= Instant::now() {
                takers.by_subject.remove(&self.subject);
            }
        }
    }
}

/// A panic while it was held left a count at worst one off: no reason to fail every later request.
fn lock(takers: &Mutex<Takers>) -> MutexGuard<'_, Takers> {
    takers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(
        requests_per_second: Option<u32>,
        concurrent_streams: Option<u32>,
        bandwidth: Option<u64>,
    ) -> Limits {
        Limits::new(&LimitsConfig {
            requests_per_second,
            concurrent_streams,
            bandwidth,
        })
    }

    #[test]
    fn past_the_rate_one_annotator_is_refused_and_another_is_not() {
        let limits = limits(Some(3), None, None);
        let (anna, bo) = (Subject::from("anna"), Subject::from("bo"));
        let refused = (0..100)
            .find_map(|_| limits.check_request(&anna).err())
            .unwrap();
        assert_eq!(refused.seconds(), 1);
        assert!(limits.check_request(&bo).is_ok());
    }

    #[test]
    fn past_the_streams_a_body_is_refused_until_one_ends() {
        let limits = limits(None, Some(2), None);
        let (anna, bo) = (Subject::from("anna"), Subject::from("bo"));
        let first = limits.begin_stream(&anna).unwrap();
        let _second = limits.begin_stream(&anna).unwrap();
        assert_eq!(
            limits.begin_stream(&anna).unwrap_err(),
            RetryAfter(BODY_RETRY)
        );
        assert!(limits.begin_stream(&bo).is_ok());
        drop(first);
        assert!(limits.begin_stream(&anna).is_ok());
    }

    #[test]
    fn bytes_past_the_bandwidth_wait_and_bodies_of_one_annotator_share_it() {
        // A byte a second, so that no pause of the machine comes near what is measured.
        let limits = limits(None, None, Some(1));
        let anna = Subject::from("anna");
        let (first, second) = (
            limits.begin_stream(&anna).unwrap(),
            limits.begin_stream(&anna).unwrap(),
        );
        assert_eq!(first.delay(1000), None);
        let wait = second.delay(1000).unwrap().as_secs();
        assert!((900..1000).contains(&wait), "{wait}");
        let wait = first.delay(1000).unwrap().as_secs();
        assert!((1900..2000).contains(&wait), "{wait}");
        let other = limits.begin_stream(&Subject::from("bo")).unwrap();
        assert_eq!(other.delay(1000), None);
    }

    #[test]
    fn small_bodies_one_after_another_do_not_pass_the_bandwidth() {
        let limits = limits(None, None, Some(1));
        let anna = Subject::from("anna");
        let waits = (0..4).filter_map(|_| limits.begin_stream(&anna).unwrap().delay(1000));
        assert!(waits.max().unwrap() > Duration::from_secs(2900));
    }

    #[tokio::test]
    async fn without_limits_everything_passes_at_once() {
        let limits = limits(None, None, None);
        let anna = Subject::from("anna");
        for _ in 0..1000 {
            limits.check_request(&anna).unwrap();
        }
        let guard = limits.begin_stream(&anna).unwrap();
        guard.throttle(u64::MAX).await;
        assert!(lock(&limits.takers).by_subject.is_empty());
    }

    #[test]
    fn a_hundred_thousand_annotators_are_forgotten_when_they_end() {
        let limits = limits(Some(u32::MAX), Some(1), Some(1 << 20));
        for number in 0..100_000 {
            let subject = Subject::new(number.to_string());
            limits.check_request(&subject).unwrap();
            let _ = limits.begin_stream(&subject).unwrap().delay(1);
        }
        assert!(limits.requests.as_ref().unwrap().len() <= 2 * CHECKS_BETWEEN_SWEEPS);
        assert!(lock(&limits.takers).by_subject.len() <= 2 * LEAST_SWEPT);
    }

    #[test]
    fn zero_and_huge_numbers_do_not_panic() {
        let limits = limits(Some(0), Some(0), Some(0));
        let anna = Subject::from("anna");
        assert!(limits.check_request(&anna).is_ok());
        let guard = limits.begin_stream(&anna).unwrap();
        assert!(guard.delay(u64::MAX).is_none());
        assert!(guard.delay(u64::MAX).is_some());
        assert_eq!(RetryAfter(Duration::MAX).seconds(), u64::MAX);
    }
}

//! What was counted up to a moment, read back for people who look; and why each storage failed last.
//!
//! Reads what is counted anyway. The one thing kept beside it is kept when storage fails, never when it answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use prometheus::IntCounter;
use prometheus::core::Collector;
use prometheus::proto::{Histogram, Metric, MetricFamily};

use super::{
    CACHE_REQUESTS, DECISIONS, Definition, LATENCY_BUCKETS, Metrics, REQUESTS, RESPONSE_BYTES,
    TIME_TO_FIRST_BYTE,
};
use crate::ids::StorageId;
use crate::telemetry::labels::{CacheResult, Outcome, Route, Tier};

/// Everything that a page shows of one moment. Counts go up from the start of the process.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When.
    pub at: Instant,
    /// Requests answered.
    pub requests: u64,
    /// Those of them that failed here or behind: 5xx.
    pub errors: u64,
    /// Decisions that somebody may not see something.
    pub denials: u64,
    /// Bytes handed to clients.
    pub sent: u64,
    /// Requests whose answer is not complete.
    pub in_flight: u64,
    /// By tier, in their order: look-ups, and those among them that cost storage no request.
    pub tiers: Vec<(u64, u64)>,
    /// Bytes kept, by tier.
    pub kept: Vec<u64>,
    /// First bytes of media.
    pub first_byte: Buckets,
    /// By storage.
    pub storages: BTreeMap<StorageId, StorageReading>,
}

/// What was counted of one storage.
#[derive(Clone, Debug, Default)]
pub struct StorageReading {
    /// Requests that it answered, whatever the answer.
    pub answers: u64,
    /// Requests that it did not, or that it refused to Lockgate itself.
    pub failures: u64,
    /// Bytes that it sent.
    pub bytes: u64,
    /// Up to the head of an answer.
    pub heads: Buckets,
    /// When its credentials end, in seconds since 1970; none: not known, or never.
    pub credentials_end: Option<f64>,
}

/// How many observations were at most as long as each of `LATENCY_BUCKETS`, and how many there were.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    at_most: Vec<u64>,
    count: u64,
}

/// Why a storage failed last.
#[derive(Clone, Debug)]
pub struct StorageFailure {
    /// When.
    pub at: SystemTime,
    /// In a word.
    pub outcome: Outcome,
    /// In the words of the log.
    pub reason: String,
}

pub(super) type Failures = Mutex<BTreeMap<StorageId, StorageFailure>>;

impl Outcome {
    /// Whether storage is to blame, or its access: what it answers of an object is an answer.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::AccessDenied
            | Self::Throttled
            | Self::Unavailable
            | Self::TimedOut
            | Self::Protocol => true,
            Self::Ok
            | Self::NotModified
            | Self::NotFound
            | Self::RangeNotSatisfiable
            | Self::Changed => false,
        }
    }
}

impl Metrics {
    /// Storage failed; `reason` without a secret. Remembers the last: of many at once, one of them.
    pub fn storage_failed(&self, storage: &StorageId, outcome: Outcome, reason: String) {
        if let Ok(mut failures) = self.failures.try_lock() {
            let at = SystemTime::now();
            let failure = StorageFailure {
                at,
                outcome,
                reason,
            };
            failures.insert(storage.clone(), failure);
        }
    }

    /// Why a storage failed last; none: it never did.
    pub fn last_failure(&self, storage: &StorageId) -> Option<StorageFailure> {
        let failures = self.failures.lock();
        let failures = failures.unwrap_or_else(PoisonError::into_inner);
        failures.get(storage).cloned()
    }

    /// The counter of spans that no collector took.
    pub(in crate::telemetry) fn spans_dropped(&self) -> IntCounter {
        self.spans_dropped.clone()
    }

    /// Bytes of a body went to a client, before its end.
    pub fn bytes_sent(&self, bytes: u64) {
        self.stripes.mine().response_bytes.inc_by(bytes);
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let in_flight = self.stripes.flush();
        let all = self.registry.gather();
        let media = [Route::Tasks, Route::Projects, Route::LocalFiles].map(Route::as_str);
        let mut first_byte = Buckets::default();
        for metric in named(&all, &TIME_TO_FIRST_BYTE) {
            if media.contains(&label(metric, "route")) {
                first_byte.add(metric.get_histogram());
            }
        }
        let failed = |metric: &&Metric| label(metric, "code").starts_with('5');
        let denied = |metric: &&Metric| label(metric, "decision") == "deny";
        Reading {
            at: Instant::now(),
            requests: total(named(&all, &REQUESTS)),
            errors: total(named(&all, &REQUESTS).filter(failed)),
            denials: total(named(&all, &DECISIONS).filter(denied)),
            sent: total(named(&all, &RESPONSE_BYTES)),
            in_flight: in_flight.try_into().unwrap_or_default(),
            tiers: Tier::ALL.iter().map(|it| tier(&all, *it)).collect(),
            kept: self
                .cache_bytes
                .iter()
                .map(|kept| kept.get().try_into().unwrap_or_default())
                .collect(),
            first_byte,
            storages: self.storages(),
        }
    }

    fn storages(&self) -> BTreeMap<StorageId, StorageReading> {
        let mut storages: BTreeMap<StorageId, StorageReading> = BTreeMap::new();
        let mut each = |collector: &dyn Collector, add: &dyn Fn(&mut StorageReading, &Metric)| {
            for family in collector.collect() {
                for metric in family.get_metric() {
                    let storage = StorageId::from(label(metric, "storage"));
                    add(storages.entry(storage).or_default(), metric);
                }
            }
        };
        each(&self.storage_requests, &|storage, metric| {
            // A URL is signed here: it says nothing of storage.
            if label(metric, "operation") == "presign" {
                return;
            }
            let count = metric.get_counter().get_value() as u64;
            let outcome = label(metric, "outcome");
            let outcome = Outcome::ALL.iter().find(|it| it.as_str() == outcome);
            match outcome.is_some_and(|outcome| outcome.is_failure()) {
                true => storage.failures += count,
                false => storage.answers += count,
            }
        });
        each(&self.storage_duration, &|storage, metric| {
            if label(metric, "operation") != "presign" {
                storage.heads.add(metric.get_histogram());
            }
        });
        each(&self.storage_bytes, &|storage, metric| {
            storage.bytes += metric.get_counter().get_value() as u64;
        });
        each(&self.credential_expiry, &|storage, metric| {
            storage.credentials_end = Some(metric.get_gauge().get_value());
        });
        storages
    }
}

impl Buckets {
    fn add(&mut self, histogram: &Histogram) {
        self.count += histogram.get_sample_count();
        self.at_most.resize(LATENCY_BUCKETS.len(), 0);
        for (sum, bucket) in self.at_most.iter_mut().zip(histogram.get_bucket()) {
            *sum += bucket.cumulative_count();
        }
    }

    /// The quantile, in seconds, of what was observed since `earlier`, straight lines drawn within a bucket as
    /// Prometheus does; none: nothing was. What took longer than the last bucket took as long as it.
    pub fn quantile_since(&self, earlier: &Self, quantile: f64) -> Option<f64> {
        let count = self.count.saturating_sub(earlier.count);
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let (mut lower, mut before) = (0.0, 0.0);
        for (index, upper) in LATENCY_BUCKETS.iter().enumerate() {
            let now = self.at_most.get(index).copied().unwrap_or_default();
            let then = earlier.at_most.get(index).copied().unwrap_or_default();
            let within = now.saturating_sub(then) as f64;
            if within >= rank && within > before {
                return Some(lower + (upper - lower) * (rank - before) / (within - before));
            }
            (lower, before) = (*upper, within);
        }
        Some(lower)
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let mut labels = metric.get_label().iter();
    let label = labels.find(|label| label.name() == name);
    label.map_or("", |label| label.value())
}

fn named<'a>(
    families: &'a [MetricFamily],
    definition: &Definition,
) -> impl Iterator<Item = &'a Metric> {
    let name = definition.name;
    let named = families.iter().filter(move |family| family.name() == name);
    named.flat_map(|family| family.get_metric())
}

fn total<'a>(metrics: impl Iterator<Item = &'a Metric>) -> u64 {
    metrics
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}

fn tier(families: &[MetricFamily], tier: Tier) -> (u64, u64) {
    let of_tier = |metric: &&Metric| label(metric, "tier") == tier.as_str();
    let spared = [CacheResult::Hit, CacheResult::Stale, CacheResult::Updating];
    let spared = spared.map(CacheResult::as_str);
    let is_spared = |metric: &&Metric| spared.contains(&label(metric, "result"));
    let asked = || named(families, &CACHE_REQUESTS).filter(of_tier);
    (total(asked()), total(asked().filter(is_spared)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{Method, Operation, Reason};

    #[test]
    fn a_reading_is_what_was_counted() {
        let metrics = Metrics::new().unwrap();
        let (storage, ms) = (StorageId::from("scans"), Duration::from_millis);
        metrics.request_finished(Route::Tasks, Method::Get, 206, ms(9), Some(ms(4)), 7);
        metrics.request_finished(Route::Tasks, Method::Get, 503, ms(9), None, 0);
        metrics.decision(Reason::NotMember, ms(1));
        metrics.decision(Reason::Permitted, ms(1));
        for result in CacheResult::ALL {
            metrics.cache_request(Tier::Memory, *result);
        }
        for outcome in Outcome::ALL {
            metrics.storage_request(&storage, Operation::Get, *outcome, ms(20));
        }
        metrics.storage_request(&storage, Operation::Presign, Outcome::Ok, ms(0));
        metrics.storage_failed(&storage, Outcome::TimedOut, "late".to_owned());
        let read = metrics.read();
        assert_eq!((read.requests, read.errors, read.denials), (2, 1, 1));
        assert_eq!((read.sent, read.in_flight), (7, 0));
        assert_eq!(read.tiers[Tier::Memory.index()], (5, 3));
        assert_eq!(read.tiers[Tier::Disk.index()], (0, 0));
        let scans = &read.storages[&storage];
        assert_eq!((scans.answers, scans.failures), (5, 5));
        assert_eq!(scans.heads.count, 10);
        let failure = metrics.last_failure(&storage).unwrap();
        assert_eq!(
            (failure.outcome, &*failure.reason),
            (Outcome::TimedOut, "late")
        );
        assert!(metrics.last_failure(&"other".into()).is_none());
    }

    #[test]
    fn a_quantile_is_of_what_came_since() {
        let metrics = Metrics::new().unwrap();
        let storage = StorageId::from("scans");
        let observe = |milliseconds: &[u64]| {
            for it in milliseconds {
                let took = Duration::from_millis(*it);
                metrics.storage_request(&storage, Operation::Get, Outcome::Ok, took);
            }
            metrics.read().storages[&storage].heads.clone()
        };
        let slow = observe(&[9_000; 100]);
        let fast = observe(&[20; 99]);
        let p50 = fast.quantile_since(&slow, 0.5).unwrap();
        assert!((0.01..=0.025).contains(&p50), "{p50}");
        assert!(fast.quantile_since(&Buckets::default(), 0.9).unwrap() > 5.0);
        assert_eq!(fast.quantile_since(&fast, 0.5), None);
        let endless = observe(&[100_000]);
        assert_eq!(endless.quantile_since(&fast, 0.5), Some(30.0));
    }
}

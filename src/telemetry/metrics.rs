//! The handles by which rooms count: one method for each thing that happens.
//!
//! A registry of its own per instance, never the global one. Labels come from closed lists and from configured storage
//! ids; never a user, never an object. What every request counts is added up by each thread for itself (`stripes`); only
//! what goes with a request to storage looks its handle up by label.

mod reading;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::labels::{Abort, CacheResult, Hedging, Method, Operation, Outcome, Reason, Route, Tier};
use super::metric_table::*;
use super::stripes::{Counts, Stripes};
use crate::ids::StorageId;
pub use reading::{Reading, StorageFailure};

/// Status codes have a place each from 100 to 599.
const FIRST_CODE: usize = 100;
const CODES: usize = 500;

/// What this process counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    stripes: Stripes,
    in_flight: IntGauge,
    aborted: Vec<IntCounter>,
    cache_bytes: Vec<IntGauge>,
    cache_evictions: Vec<IntCounter>,
    disk_damaged: IntCounter,
    disk_not_kept: IntCounter,
    storage_requests: IntCounterVec,
    storage_duration: HistogramVec,
    storage_bytes: IntCounterVec,
    storage_hedged: IntCounterVec,
    credential_expiry: GaugeVec,
    reload: IntGauge,
    changes_heard: IntGauge,
    log_dropped: IntCounter,
    audit_dropped: IntCounter,
    audit_writable: IntGauge,
    spans_dropped: IntCounter,
    failures: reading::Failures,
}

impl Metrics {
    /// Registers every metric of the table.
    ///
    /// # Errors
    /// Only if the table itself is wrong: a name twice, a label that Prometheus does not take.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = counters(&registry, &REQUESTS)?;
        let request_duration = histograms(&registry, &REQUEST_DURATION, REQUEST_BUCKETS)?;
        let time_to_first_byte = histograms(&registry, &TIME_TO_FIRST_BYTE, LATENCY_BUCKETS)?;
        let aborted = counters(&registry, &ABORTED)?;
        let cache_requests = counters(&registry, &CACHE_REQUESTS)?;
        let cache_bytes = gauges(&registry, &CACHE_BYTES)?;
        let cache_evictions = counters(&registry, &CACHE_EVICTIONS)?;
        let decisions = counters(&registry, &DECISIONS)?;
        let build_info = gauges(&registry, &BUILD_INFO)?;
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let audit_writable = plain(&registry, IntGauge::with_opts(opts(&AUDIT_WRITABLE))?)?;
        audit_writable.set(1);
        let response_bytes = plain(&registry, IntCounter::with_opts(opts(&RESPONSE_BYTES))?)?;
        let access_duration =
            Histogram::with_opts(histogram_opts(&ACCESS_DURATION, ACCESS_BUCKETS))?;
        let access_duration = plain(&registry, access_duration)?;
        let counts = || Counts {
            in_flight: 0,
            requests: Vec::new(),
            request_duration: each(Route::ALL, |r| {
                request_duration.with_label_values(&[r.as_str()]).local()
            }),
            time_to_first_byte: each(Route::ALL, |r| {
                time_to_first_byte.with_label_values(&[r.as_str()]).local()
            }),
            response_bytes: response_bytes.local(),
            cache_requests: each(Tier::ALL, |tier| {
                each(CacheResult::ALL, |result| {
                    let labels = [tier.as_str(), result.as_str()];
                    cache_requests.with_label_values(&labels).local()
                })
            }),
            decisions: each(Reason::ALL, |reason| {
                let labels = [reason.decision(), reason.as_str()];
                decisions.with_label_values(&labels).local()
            }),
            access_duration: access_duration.local(),
        };
        Ok(Self {
            stripes: Stripes::new(counts),
            requests,
            in_flight: plain(&registry, IntGauge::with_opts(opts(&IN_FLIGHT))?)?,
            aborted: each(Abort::ALL, |a| aborted.with_label_values(&[a.as_str()])),
            cache_bytes: each(Tier::ALL, |tier| {
                cache_bytes.with_label_values(&[tier.as_str()])
            }),
            cache_evictions: each(Tier::ALL, |tier| {
                cache_evictions.with_label_values(&[tier.as_str()])
            }),
            disk_damaged: plain(&registry, IntCounter::with_opts(opts(&DISK_DAMAGED))?)?,
            disk_not_kept: plain(&registry, IntCounter::with_opts(opts(&DISK_NOT_KEPT))?)?,
            storage_requests: counters(&registry, &STORAGE_REQUESTS)?,
            storage_duration: histograms(&registry, &STORAGE_DURATION, LATENCY_BUCKETS)?,
            storage_bytes: counters(&registry, &STORAGE_BYTES)?,
            storage_hedged: counters(&registry, &STORAGE_HEDGED)?,
            credential_expiry: plain(
                &registry,
                GaugeVec::new(opts(&CREDENTIAL_EXPIRY), CREDENTIAL_EXPIRY.labels)?,
            )?,
            reload: plain(&registry, IntGauge::with_opts(opts(&RELOAD))?)?,
            changes_heard: plain(&registry, IntGauge::with_opts(opts(&CHANGES_HEARD))?)?,
            log_dropped: plain(&registry, IntCounter::with_opts(opts(&LOG_DROPPED))?)?,
            audit_dropped: plain(&registry, IntCounter::with_opts(opts(&AUDIT_DROPPED))?)?,
            audit_writable,
            spans_dropped: plain(&registry, IntCounter::with_opts(opts(&SPANS_DROPPED))?)?,
            failures: Default::default(),
            registry,
        })
    }

    /// A request begins; [`Self::request_finished`] is its end.
    pub fn request_begun(&self) {
        self.stripes.mine().in_flight += 1;
    }

    /// A request's answer is complete or broken off. `first_byte` is none where there was no body; `bytes` are those
    /// that [`Self::bytes_sent`] has not counted.
    pub fn request_finished(
        &self,
        route: Route,
        method: Method,
        status: u16,
        duration: Duration,
        first_byte: Option<Duration>,
        bytes: u64,
    ) {
        let code = usize::from(status)
            .saturating_sub(FIRST_CODE)
            .min(CODES - 1);
        let place = (route.index() * Method::ALL.len() + method.index()) * CODES + code;
        let mut mine = self.stripes.mine();
        mine.in_flight -= 1;
        // Made when first needed, so that only series that occur are shown.
        if let Some((_, counter)) = mine.requests.iter().find(|(at, _)| *at == place) {
            counter.inc();
        } else {
            let code = (code + FIRST_CODE).to_string();
            let labels = [route.as_str(), method.as_str(), &code];
            let counter = self.requests.with_label_values(&labels).local();
            counter.inc();
            mine.requests.push((place, counter));
        }
        mine.request_duration[route.index()].observe(duration.as_secs_f64());
        if let Some(first_byte) = first_byte {
            mine.time_to_first_byte[route.index()].observe(first_byte.as_secs_f64());
        }
        mine.response_bytes.inc_by(bytes);
    }

    /// A body ended before its last byte.
    pub fn aborted(&self, reason: Abort) {
        self.aborted[reason.index()].inc();
    }

    /// The cache was asked.
    pub fn cache_request(&self, tier: Tier, result: CacheResult) {
        self.stripes.mine().cache_requests[tier.index()][result.index()].inc();
    }

    /// What a tier holds now, in bytes.
    pub fn cache_bytes(&self, tier: Tier, bytes: u64) {
        self.cache_bytes[tier.index()].set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A tier dropped a chunk to make room.
    pub fn cache_eviction(&self, tier: Tier) {
        self.cache_evictions[tier.index()].inc();
    }

    /// A record on disk was not what its checksum says.
    pub fn disk_damaged(&self) {
        self.disk_damaged.inc();
    }

    /// A chunk could not be kept on disk.
    pub fn disk_not_kept(&self) {
        self.disk_not_kept.inc();
    }

    /// Storage answered a request, or did not; `duration` is up to the head of the answer.
    pub fn storage_request(
        &self,
        storage: &StorageId,
        operation: Operation,
        outcome: Outcome,
        duration: Duration,
    ) {
        self.storage_requests
            .with_label_values(&[storage.as_str(), operation.as_str(), outcome.as_str()])
            .inc();
        self.storage_duration
            .with_label_values(&[storage.as_str(), operation.as_str()])
            .observe(duration.as_secs_f64());
    }

    /// Storage sent bytes of a body.
    pub fn storage_bytes(&self, storage: &StorageId, bytes: u64) {
        self.storage_bytes
            .with_label_values(&[storage.as_str()])
            .inc_by(bytes);
    }

    /// A second request to a slow storage is over. The one of the two that was given up is in no other count.
    pub fn storage_hedged(&self, storage: &StorageId, outcome: Hedging) {
        self.storage_hedged
            .with_label_values(&[storage.as_str(), outcome.as_str()])
            .inc();
    }

    /// Somebody may see something, or may not.
    pub fn decision(&self, reason: Reason, duration: Duration) {
        let mine = self.stripes.mine();
        mine.decisions[reason.index()].inc();
        mine.access_duration.observe(duration.as_secs_f64());
    }

    /// When a storage's credentials end; none: there is nothing to watch.
    pub fn credential_expiry(&self, storage: &StorageId, expires_at: Option<SystemTime>) {
        let labels = [storage.as_str()];
        let Some(expires_at) = expires_at else {
            // An error says that there was none.
            let _ = self.credential_expiry.remove_label_values(&labels);
            return;
        };
        let since_epoch = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.credential_expiry
            .with_label_values(&labels)
            .set(since_epoch.as_secs_f64());
    }

    /// A configuration was read: is it in force?
    pub fn reload(&self, successful: bool) {
        self.reload.set(i64::from(successful));
    }

    /// Whether changes of the access source are heard of.
    pub fn changes_heard(&self, heard: bool) {
        self.changes_heard.set(i64::from(heard));
    }

    /// The counter of lines that the access log had to drop.
    pub(super) fn log_dropped(&self) -> IntCounter {
        self.log_dropped.clone()
    }

    /// The audit log's counter of lines lost, and whether it can be written.
    pub(super) fn audit_log(&self) -> (IntCounter, IntGauge) {
        (self.audit_dropped.clone(), self.audit_writable.clone())
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// None that a caller can cause: the encoder's own.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.in_flight.set(self.stripes.flush());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn opts(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn histogram_opts(definition: &Definition, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(definition.name, definition.help).buckets(buckets.to_vec())
}

fn plain<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(
    registry: &Registry,
    definition: &Definition,
) -> Result<IntCounterVec, prometheus::Error> {
    plain(
        registry,
        IntCounterVec::new(opts(definition), definition.labels)?,
    )
}

fn gauges(registry: &Registry, definition: &Definition) -> Result<IntGaugeVec, prometheus::Error> {
    plain(
        registry,
        IntGaugeVec::new(opts(definition), definition.labels)?,
    )
}

fn histograms(
    registry: &Registry,
    definition: &Definition,
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    plain(
        registry,
        HistogramVec::new(histogram_opts(definition, buckets), definition.labels)?,
    )
}

/// A handle for each word of a label.
fn each<L: Copy, H>(labels: &[L], handle: impl Fn(L) -> H) -> Vec<H> {
    labels.iter().map(|&label| handle(label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything_once() -> String {
        let metrics = Metrics::new().unwrap();
        let storage = StorageId::from("recordings");
        let second = Duration::from_secs(1);
        metrics.request_begun();
        metrics.request_finished(Route::Tasks, Method::Get, 206, second, Some(second), 7);
        metrics.aborted(Abort::Revoked);
        metrics.cache_request(Tier::Memory, CacheResult::Hit);
        metrics.cache_bytes(Tier::Memory, 9);
        metrics.cache_eviction(Tier::Disk);
        metrics.storage_request(&storage, Operation::Get, Outcome::Ok, second);
        metrics.storage_bytes(&storage, 11);
        metrics.storage_hedged(&storage, Hedging::Won);
        metrics.decision(Reason::NotMember, second);
        metrics.credential_expiry(&storage, Some(UNIX_EPOCH + second));
        metrics.credential_expiry(&StorageId::from("gone"), Some(UNIX_EPOCH));
        metrics.credential_expiry(&StorageId::from("gone"), None);
        metrics.reload(true);
        metrics.changes_heard(true);
        metrics.render().unwrap()
    }

    #[test]
    fn names_and_labels_are_those_of_the_contract() {
        let text = everything_once();
        assert!(!text.contains(r#"storage="gone""#), "{text}");
        for line in [
            r#"lockgate_http_requests_total{code="206",method="GET",route="tasks"} 1"#,
            r#"lockgate_http_request_duration_seconds_count{route="tasks"} 1"#,
            r#"lockgate_http_time_to_first_byte_seconds_count{route="tasks"} 1"#,
            "lockgate_http_response_bytes_total 7",
            "lockgate_http_in_flight 0",
            r#"lockgate_http_aborted_total{reason="revoked"} 1"#,
            r#"lockgate_cache_requests_total{result="hit",tier="memory"} 1"#,
            r#"lockgate_cache_bytes{tier="memory"} 9"#,
            r#"lockgate_cache_evictions_total{tier="disk"} 1"#,
            r#"lockgate_storage_requests_total{operation="get",outcome="ok",storage="recordings"} 1"#,
            r#"lockgate_storage_request_duration_seconds_count{operation="get",storage="recordings"} 1"#,
            r#"lockgate_storage_bytes_total{storage="recordings"} 11"#,
            r#"lockgate_storage_hedged_total{outcome="won",storage="recordings"} 1"#,
            r#"lockgate_access_decisions_total{decision="deny",reason="not_member"} 1"#,
            "lockgate_access_duration_seconds_count 1",
            r#"lockgate_credential_expiry_timestamp_seconds{storage="recordings"} 1"#,
            "lockgate_config_last_reload_successful 1",
            "lockgate_access_changes_heard 1",
            concat!(
                r#"lockgate_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
            "lockgate_access_log_dropped_total 0",
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn no_metric_is_shown_that_the_table_does_not_hold() {
        let text = everything_once();
        let shown: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        assert_eq!(shown.len(), TABLE.len());
        assert!(
            TABLE
                .iter()
                .all(|definition| shown.contains(&definition.name))
        );
    }

    #[test]
    fn a_request_that_ends_on_another_thread_is_no_longer_in_flight() {
        let metrics = Metrics::new().unwrap();
        metrics.request_begun();
        assert!(
            metrics
                .render()
                .unwrap()
                .contains("lockgate_http_in_flight 1")
        );
        let finish = || {
            metrics.request_finished(Route::Tasks, Method::Get, 200, Duration::ZERO, None, 0);
        };
        std::thread::scope(|threads| threads.spawn(finish).join()).unwrap();
        assert!(
            metrics
                .render()
                .unwrap()
                .contains("lockgate_http_in_flight 0")
        );
    }

    #[test]
    fn an_impossible_status_does_not_panic() {
        let metrics = Metrics::new().unwrap();
        for status in [0, 99, 600, u16::MAX] {
            metrics.request_finished(Route::Other, Method::Other, status, Duration::ZERO, None, 0);
        }
    }
}

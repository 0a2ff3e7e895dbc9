//! Every metric's name, help and labels in one table, and the histograms' buckets.
//!
//! Follows Prometheus's naming: base units, `_total` on counters, the unit in the name.

/// A metric's row in the table.
pub(super) struct Definition {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

const fn row(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Definition {
    Definition { name, help, labels }
}

pub(super) const REQUESTS: Definition = row(
    "lockgate_http_requests_total",
    "Requests answered, by route, method and status code",
    &["route", "method", "code"],
);
pub(super) const REQUEST_DURATION: Definition = row(
    "lockgate_http_request_duration_seconds",
    "From a request's head to the last byte of its answer, or its abort",
    &["route"],
);
pub(super) const TIME_TO_FIRST_BYTE: Definition = row(
    "lockgate_http_time_to_first_byte_seconds",
    "From a request's head to the first byte of its body",
    &["route"],
);
pub(super) const RESPONSE_BYTES: Definition = row(
    "lockgate_http_response_bytes_total",
    "Bytes of bodies handed to clients' connections",
    &[],
);
pub(super) const IN_FLIGHT: Definition = row(
    "lockgate_http_in_flight",
    "Requests whose answer is not yet complete",
    &[],
);
pub(super) const ABORTED: Definition = row(
    "lockgate_http_aborted_total",
    "Bodies that ended before their last byte",
    &["reason"],
);
pub(super) const CACHE_REQUESTS: Definition = row(
    "lockgate_cache_requests_total",
    "Look-ups in the cache, by how they were answered",
    &["tier", "result"],
);
pub(super) const CACHE_BYTES: Definition = row("lockgate_cache_bytes", "Bytes kept", &["tier"]);
pub(super) const CACHE_EVICTIONS: Definition = row(
    "lockgate_cache_evictions_total",
    "Chunks dropped to make room",
    &["tier"],
);
pub(super) const DISK_DAMAGED: Definition = row(
    "lockgate_cache_disk_damaged_total",
    "Records of the disk cache that were not what their checksums say, or could not be read",
    &[],
);
pub(super) const DISK_NOT_KEPT: Definition = row(
    "lockgate_cache_disk_not_kept_total",
    "Chunks that the disk cache did not keep because it was too slow or failed",
    &[],
);
pub(super) const STORAGE_REQUESTS: Definition = row(
    "lockgate_storage_requests_total",
    "Requests to storage, by how it answered",
    &["storage", "operation", "outcome"],
);
pub(super) const STORAGE_DURATION: Definition = row(
    "lockgate_storage_request_duration_seconds",
    "From a request to storage to the head of its answer",
    &["storage", "operation"],
);
pub(super) const STORAGE_BYTES: Definition = row(
    "lockgate_storage_bytes_total",
    "Bytes of bodies received from storage",
    &["storage"],
);
pub(super) const STORAGE_HEDGED: Definition = row(
    "lockgate_storage_hedged_total",
    "Second requests to a storage that was slow to answer the first, by whether they were answered first",
    &["storage", "outcome"],
);
pub(super) const DECISIONS: Definition = row(
    "lockgate_access_decisions_total",
    "Decisions over who may see what",
    &["decision", "reason"],
);
pub(super) const ACCESS_DURATION: Definition = row(
    "lockgate_access_duration_seconds",
    "From a credential to a decision, the access source included",
    &[],
);
pub(super) const CREDENTIAL_EXPIRY: Definition = row(
    "lockgate_credential_expiry_timestamp_seconds",
    "When a storage's present credentials end",
    &["storage"],
);
pub(super) const RELOAD: Definition = row(
    "lockgate_config_last_reload_successful",
    "1 if the configuration in force is the one in the file, else 0",
    &[],
);
pub(super) const CHANGES_HEARD: Definition = row(
    "lockgate_access_changes_heard",
    "1 if changes of the access source are heard of as they happen, 0 if all decisions have to be asked for",
    &[],
);
pub(super) const BUILD_INFO: Definition =
    row("lockgate_build_info", "1, with the version", &["version"]);
pub(super) const LOG_DROPPED: Definition = row(
    "lockgate_access_log_dropped_total",
    "Lines of the access log dropped because it could not be written as fast as requests came",
    &[],
);
pub(super) const AUDIT_DROPPED: Definition = row(
    "lockgate_audit_log_dropped_total",
    "Lines of the audit log dropped because it could not be written, or not as fast as they came",
    &[],
);
pub(super) const AUDIT_WRITABLE: Definition = row(
    "lockgate_audit_log_writable",
    "1 if the audit log took its last line, or none is configured, else 0",
    &[],
);

pub(super) const SPANS_DROPPED: Definition = row(
    "lockgate_trace_spans_dropped_total",
    "Spans of traces dropped because the collector did not take them, or not as fast as they ended",
    &[],
);

/// Whole requests: a cached thumbnail takes a millisecond, an hour of video as long as it is watched.
pub(super) const REQUEST_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// First bytes, and heads from storage.
pub(super) const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Decisions: microseconds from memory, milliseconds where a source is asked.
pub(super) const ACCESS_BUCKETS: &[f64] = &[
    0.000_005, 0.000_025, 0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0,
];

/// The whole table.
#[cfg(test)]
pub(super) const TABLE: &[Definition] = &[
    REQUESTS,
    REQUEST_DURATION,
    TIME_TO_FIRST_BYTE,
    RESPONSE_BYTES,
    IN_FLIGHT,
    ABORTED,
    CACHE_REQUESTS,
    CACHE_BYTES,
    CACHE_EVICTIONS,
    DISK_DAMAGED,
    DISK_NOT_KEPT,
    STORAGE_REQUESTS,
    STORAGE_DURATION,
    STORAGE_BYTES,
    STORAGE_HEDGED,
    DECISIONS,
    ACCESS_DURATION,
    CREDENTIAL_EXPIRY,
    RELOAD,
    CHANGES_HEARD,
    BUILD_INFO,
    LOG_DROPPED,
    AUDIT_DROPPED,
    AUDIT_WRITABLE,
    SPANS_DROPPED,
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use regex::Regex;

    use super::*;

    const RULES: &str = include_str!("../../deploy/prometheus/lockgate.rules.yml");
    const RULE_TESTS: &str = include_str!("../../deploy/prometheus/lockgate.rules.test.yml");
    const DASHBOARD: &str = include_str!("../../deploy/grafana/lockgate.json");
    /// What a histogram's samples are called by beside its name.
    const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

    fn exported(name: &str) -> Option<&'static Definition> {
        let whole = PARTS.iter().filter_map(|part| name.strip_suffix(part));
        whole
            .chain([name])
            .find_map(|name| TABLE.iter().find(|row| row.name == name))
    }

    /// A name or a label that nobody exports matches nothing, and an alert of it never fires.
    #[test]
    fn every_metric_that_alerts_and_the_dashboard_name_is_exported_with_those_labels() {
        let named = Regex::new(r"\blockgate_[a-z0-9_]+(?:\{[^}]*\})?").unwrap();
        let label = Regex::new(r"([a-z_]+) *(?:=~|!~|!=|=)").unwrap();
        let mut seen = 0;
        for text in [RULES, RULE_TESTS, DASHBOARD] {
            for found in named.find_iter(text) {
                let (name, labels) = found
                    .as_str()
                    .split_once('{')
                    .unwrap_or((found.as_str(), ""));
                let row = exported(name).unwrap_or_else(|| panic!("{name} is not exported"));
                for label in label.captures_iter(labels) {
                    let label = label.get(1).unwrap().as_str();
                    // Prometheus's own, and the histogram's bound.
                    let known =
                        ["job", "instance", "le"].contains(&label) || row.labels.contains(&label);
                    assert!(known, "{name} has no label {label}");
                }
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen} names were found");
    }
}

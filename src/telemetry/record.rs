//! What the access log says of a request, and how it is written.
//!
//! Never a token, a cookie, a query or a signature: there is no field for a URL or a header. Times follow RFC 3339.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use super::labels::{Abort, CacheResult, Method, Route};
use super::trace::TraceId;
use crate::ids::{ProjectId, RequestId, StorageId, Subject, TaskId};

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When its head was read; written as RFC 3339 in UTC with milliseconds.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// Its id, as problem documents show it.
    pub request_id: RequestId,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Who asked; none: nobody known.
    pub subject: Option<Subject>,
    /// The project it was permitted through, or asked for.
    pub project: Option<ProjectId>,
    /// The task asked for.
    pub task: Option<TaskId>,
    /// The storage that served it.
    pub storage: Option<StorageId>,
    /// Its method.
    pub method: Method,
    /// Its route.
    pub route: Route,
    /// The bytes of the object that were chosen, half-open; written as `first-last`, as in Content-Range.
    #[serde(serialize_with = "first_last")]
    pub range: Option<Range<u64>>,
    /// The status code; 499 where the client left before there was one.
    pub status: u16,
    /// Bytes of the body handed to the connection.
    pub bytes: u64,
    /// How they were had; the worst of the body's chunks.
    pub cache: Option<CacheResult>,
    /// From head to first byte; written in seconds.
    #[serde(serialize_with = "seconds_or_null")]
    pub time_to_first_byte: Option<Duration>,
    /// From head to last byte or abort; written in seconds.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Why the body ended early; none: it did not.
    pub aborted: Option<Abort>,
}

pub(super) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = OffsetDateTime::from(*time);
    serializer.collect_str(&format_args!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    ))
}

fn first_last<S: Serializer>(range: &Option<Range<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
    match range.as_ref().filter(|range| !range.is_empty()) {
        Some(range) => serializer.collect_str(&format_args!("{}-{}", range.start, range.end - 1)),
        None => serializer.serialize_none(),
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1e6)
}

fn seconds_or_null<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::TraceContext;

    pub(crate) fn record(subject: &str) -> Record {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_045),
            request_id: RequestId::new(0x123),
            trace_id: TraceContext::random().trace_id(),
            subject: Some(Subject::from(subject)),
            project: None,
            task: Some(TaskId::from("7")),
            storage: None,
            method: Method::Get,
            route: Route::Tasks,
            range: Some(0..1024),
            status: 206,
            bytes: 1024,
            cache: Some(CacheResult::Hit),
            time_to_first_byte: Some(Duration::from_micros(1500)),
            duration: Duration::from_millis(20),
            aborted: None,
        }
    }

    #[test]
    fn a_line_has_seconds_utc_and_null_for_what_is_absent() {
        let mut shown = serde_json::to_value(record("anna")).unwrap();
        shown["trace_id"] = Value::Null;
        let expected = json!({
            "time": "2023-11-14T22:13:20.045Z", "request_id": "00000000000000000000000000000123", "trace_id": null, "subject": "anna",
            "project": null, "task": "7", "storage": null, "method": "GET", "route": "tasks", "range": "0-1023",
            "status": 206, "bytes": 1024, "cache": "hit", "time_to_first_byte": 0.0015, "duration": 0.02,
            "aborted": null,
        });
        assert_eq!(shown, expected);
    }
}

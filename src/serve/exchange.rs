//! One request and its answer, as the access log and the metrics will have them: written when the answer is done,
//! however it ends. What the audit log has of it is written at once: when it is shown, refused or cut off.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::authority::Target;
use crate::cache::CacheStatus;
use crate::ids::{ProjectId, RequestId, StorageId, Subject, TaskId};
use crate::media_uri::MediaUri;
use crate::telemetry::{
    Abort, AccessLog, AuditLog, Deed, Method, Metrics, Reason, Record, Route, TraceContext,
};

/// nginx's number for a client that left before it was answered. HTTP has none, for nobody is sent it; without one the
/// line would say 0, and the metrics the lowest code that they know.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Lockgate cut the connection before it had answered.
const CUT_OFF: u16 = 503;

/// Where requests are recorded.
#[derive(Clone)]
pub struct Recorder {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Lines.
    pub log: Arc<AccessLog>,
    /// Who was shown what.
    pub audit: Arc<AuditLog>,
    /// Cancelled when what still runs is cut, at the end of the drain.
    pub cut: CancellationToken,
}

/// A request under way. Dropping it writes its line.
pub struct Exchange {
    /// Boxed, so that it is not moved about with what holds it, and goes to the log as it is.
    record: Option<Box<Record>>,
    asked_for: Option<MediaUri>,
    begun: Instant,
    recorder: Arc<Recorder>,
}

/// Why there is a record.
const UNTIL_DROPPED: &str = "the record is there until the exchange is dropped";

impl Exchange {
    /// A request's head was read.
    pub fn begin(recorder: &Arc<Recorder>, method: &http::Method, trace: &TraceContext) -> Self {
        Self::new(recorder, Method::from(method.as_str()), trace)
    }

    /// Something came that is no request.
    pub fn unread(recorder: &Arc<Recorder>) -> Self {
        Self::new(recorder, Method::Other, &TraceContext::take_up(None))
    }

    fn new(recorder: &Arc<Recorder>, method: Method, trace: &TraceContext) -> Self {
        let record = Box::new(Record {
            time: SystemTime::now(),
            request_id: RequestId::random(),
            trace_id: trace.trace_id(),
            subject: None,
            project: None,
            task: None,
            storage: None,
            method,
            route: Route::Other,
            range: None,
            status: 0,
            bytes: 0,
            cache: None,
            time_to_first_byte: None,
            duration: Default::default(),
            aborted: None,
        });
        recorder.metrics.request_begun();
        Self {
            record: Some(record),
            asked_for: None,
            begun: Instant::now(),
            recorder: recorder.clone(),
        }
    }

    /// The id that problem documents show.
    pub fn request_id(&self) -> &RequestId {
        &self.line().request_id
    }

    /// Which route it took.
    pub fn routed(&mut self, route: Route) {
        self.line_mut().route = route;
    }

    /// What it is about.
    pub fn about(&mut self, target: &Target) {
        match target {
            Target::Task(task) => self.line_mut().task = Some(TaskId::clone(task)),
            Target::Project(project) => self.line_mut().project = Some(project.clone()),
            Target::AnyProject => {}
        }
    }

    /// Which media.
    pub fn asked_for(&mut self, uri: &MediaUri) {
        self.asked_for = Some(uri.clone());
    }

    /// Who asks.
    pub fn asked_by(&mut self, subject: &Subject) {
        self.line_mut().subject = Some(subject.clone());
    }

    /// Through which project, and from which storage.
    pub fn served_from(&mut self, project: Option<&ProjectId>, storage: &StorageId) {
        self.line_mut().project = project.cloned();
        self.line_mut().storage = Some(storage.clone());
    }

    /// Which bytes were chosen.
    pub fn ranged(&mut self, range: Range<u64>) {
        self.line_mut().range = Some(range);
    }

    /// How they were had.
    pub fn cached(&mut self, status: CacheStatus) {
        self.line_mut().cache = Some(status.into());
    }

    /// The answer's status. Bytes, a URL to them, or that what a browser keeps still holds: the object is shown.
    pub fn answered(&mut self, status: http::StatusCode) {
        self.line_mut().status = status.as_u16();
        let shown = matches!(self.line().status, 200 | 206 | 303 | 304);
        if shown && self.line().method == Method::Get && self.asked_for.is_some() {
            self.recorder.audit.shown(|| self.deed());
        }
    }

    /// It is refused, for a reason that only the logs know.
    pub fn refused(&mut self, status: http::StatusCode, reason: Reason) {
        self.line_mut().status = status.as_u16();
        self.recorder.audit.denied(reason.as_str(), || self.deed());
    }

    fn line(&self) -> &Record {
        self.record.as_deref().expect(UNTIL_DROPPED)
    }

    fn line_mut(&mut self) -> &mut Record {
        self.record.as_deref_mut().expect(UNTIL_DROPPED)
    }

    fn deed(&self) -> Deed {
        let record = self.line();
        Deed {
            request_id: record.request_id,
            subject: record.subject.clone(),
            project: record.project.clone(),
            task: record.task.clone(),
            storage: record.storage.clone(),
            object: self.asked_for.as_ref().map(without_password),
            status: record.status,
        }
    }

    /// Bytes were handed to the connection.
    pub fn sent(&mut self, bytes: usize) {
        if self.line().time_to_first_byte.is_none() {
            self.line_mut().time_to_first_byte = Some(self.begun.elapsed());
        }
        self.line_mut().bytes += bytes as u64;
    }

    /// The body was dropped before its end: by the client's leaving, or because the process ends.
    pub fn dropped(&mut self) {
        let drained = self.recorder.cut.is_cancelled();
        self.aborted(if drained {
            Abort::Drained
        } else {
            Abort::ClientGone
        });
    }

    /// Nobody was answered.
    fn unanswered(&mut self) {
        self.dropped();
        self.line_mut().status = match self.line().aborted {
            Some(Abort::Drained) => CUT_OFF,
            Some(_) | None => CLIENT_CLOSED_REQUEST,
        };
    }

    /// The body ended early. The first reason stays.
    pub fn aborted(&mut self, reason: Abort) {
        if self.line().aborted.is_none() {
            self.line_mut().aborted = Some(reason);
            if matches!(reason, Abort::Revoked | Abort::Expired) {
                let audit = &self.recorder.audit;
                audit.denied(reason.as_str(), || self.deed());
            }
        }
    }
}

/// A database's URI may name a user and a password before its host (RFC 3986 §3.2.1).
fn without_password(uri: &MediaUri) -> String {
    match uri {
        MediaUri::Redis { authority, key } => {
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("redis://{host}/{key}")
        }
        MediaUri::Object { .. }
        | MediaUri::Url { .. }
        | MediaUri::Volume { .. }
        | MediaUri::Local { .. } => uri.to_string(),
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.line().status == 0 {
            self.unanswered();
        }
        let Some(mut record) = self.record.take() else {
            return;
        };
        record.duration = self.begun.elapsed();
        let metrics = &self.recorder.metrics;
        let (status, first_byte) = (record.status, record.time_to_first_byte);
        metrics.request_finished(
            record.route,
            record.method,
            status,
            record.duration,
            first_byte,
            record.bytes,
        );
        if let Some(reason) = record.aborted {
            metrics.aborted(reason);
        }
        self.recorder.log.record(record);
    }
}

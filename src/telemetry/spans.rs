//! Spans: the steps of a request as a tracing system shows them, begun where they happen and handed on when they end.
//!
//! Off unless a collector is configured; then nothing is built and nothing is sent. Never delays a request: what the
//! queue has no place for is dropped and counted. Holds words, ids of requests and storages, numbers; never a URI, a
//! person, a token or an error's text. Follows OpenTelemetry's trace API, its semantic conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>) and its sampler `parentbased_traceidratio`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1 as proto;
use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::labels::Route;
use super::record::Record;
use super::trace::TraceContext;

/// Spans that may wait for the collector, some 400 bytes each: seconds of a busy gateway, a few megabytes at most.
const WAITING_SPANS: usize = 8192;
/// How long the last spans may take at the end: a collector is another machine, and a drain may have used its time.
const LAST_SPANS: Duration = Duration::from_secs(5);
/// OTLP's `SpanFlags`: whether the parent is in another process is known, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// OTLP's `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// Where spans go; a clone per room.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Queue>>);

#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<proto::Span>,
    sample_ratio: f64,
    dropped: IntCounter,
    closing: CancellationToken,
    done: CancellationToken,
}

/// The other end of the queue.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) spans: mpsc::Receiver<proto::Span>,
    pub(super) dropped: IntCounter,
    /// Cancelled when no more will come.
    pub(super) closing: CancellationToken,
    /// Cancelled when the last was brought away.
    pub(super) done: CancellationToken,
}

/// Which side of a request a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that came.
    Server,
    /// A request that was made.
    Client,
    /// A step in between.
    Internal,
}

impl From<Kind> for proto::span::SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Internal => Self::Internal,
        }
    }
}

impl Traces {
    /// No spans at all.
    pub fn off() -> Self {
        Self(None)
    }

    /// Spans of the traces whose callers want them recorded, and of `sample_ratio` (0 to 1) of those begun here.
    pub(super) fn new(sample_ratio: f64, dropped: IntCounter) -> (Self, Ended) {
        let (spans, ended) = mpsc::channel(WAITING_SPANS);
        let (closing, done) = (CancellationToken::new(), CancellationToken::new());
        let queue = Queue {
            spans,
            sample_ratio,
            dropped: dropped.clone(),
            closing: closing.clone(),
            done: done.clone(),
        };
        let ended = Ended {
            spans: ended,
            dropped,
            closing,
            done,
        };
        (Self(Some(Arc::new(queue))), ended)
    }

    /// Whether any span may be recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes up the caller's trace, or begins one, in a span of its own.
    pub fn take_up(&self, traceparent: Option<&str>) -> TraceContext {
        let context = TraceContext::take_up(traceparent);
        match &self.0 {
            Some(queue) if context.is_root() && queue.samples(&context) => context.sampled(),
            Some(_) | None => context,
        }
    }

    /// Begins the span of a context that was taken up or made for it.
    pub fn begin(&self, context: TraceContext, name: &'static str, kind: Kind) -> Span {
        let queue = self.0.as_ref().filter(|_| context.is_sampled());
        let open = queue.map(|queue| Box::new(Open::new(queue.clone(), &context, name, kind)));
        Span { context, open }
    }

    /// Begins a step of `parent`.
    pub fn step(&self, parent: &TraceContext, name: &'static str, kind: Kind) -> Span {
        self.begin(parent.child(), name, kind)
    }

    /// Sends what waits, or leaves it where the collector stands still.
    pub async fn close(&self) {
        let Some(queue) = &self.0 else { return };
        queue.closing.cancel();
        let ended = tokio::time::timeout(LAST_SPANS, queue.done.cancelled());
        if ended.await.is_err() {
            tracing::warn!("the last spans were lost: the collector does not take them");
        }
    }
}

impl Queue {
    /// By the trace's id, so that every service that asks for the same ratio records the same traces.
    fn samples(&self, context: &TraceContext) -> bool {
        let (trace_id, ..) = context.ids();
        let low = (trace_id as u64) >> 1;
        (low as f64) < self.sample_ratio * (1u64 << 63) as f64
    }
}

/// A step under way; it ends when it is dropped.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct Span {
    context: TraceContext,
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    queue: Arc<Queue>,
    span: proto::Span,
    begun: Instant,
}

impl Open {
    fn new(queue: Arc<Queue>, context: &TraceContext, name: &'static str, kind: Kind) -> Self {
        let (trace_id, span_id, parent_id) = context.ids();
        let remote = if kind == Kind::Server { IS_REMOTE } else { 0 };
        let (parent, flags) = match parent_id {
            0 => (Vec::new(), 0),
            parent => (parent.to_be_bytes().to_vec(), HAS_IS_REMOTE | remote),
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let span = proto::Span {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: span_id.to_be_bytes().to_vec(),
            parent_span_id: parent,
            flags: flags | u32::from(context.is_sampled()),
            name: name.to_owned(),
            kind: proto::span::SpanKind::from(kind).into(),
            start_time_unix_nano: since_epoch.unwrap_or_default().as_nanos() as u64,
            ..proto::Span::default()
        };
        Self {
            queue,
            span,
            begun: Instant::now(),
        }
    }

    fn set(&mut self, key: &'static str, value: Value) {
        self.span.attributes.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

impl Span {
    /// What goes out with a request that is made in this step.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Says a word of it. Never a client's own.
    pub fn word(&mut self, key: &'static str, word: &str) {
        if let Some(open) = &mut self.open {
            open.set(key, Value::StringValue(word.to_owned()));
        }
    }

    /// Says a number of it.
    pub fn number(&mut self, key: &'static str, number: u64) {
        if let Some(open) = &mut self.open {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            open.set(key, Value::IntValue(number));
        }
    }

    /// It did not succeed; `error_type` is a word of a closed list.
    pub fn fail(&mut self, error_type: &str) {
        self.word("error.type", error_type);
        if let Some(open) = &mut self.open {
            open.span.status = Some(proto::Status {
                code: ERROR,
                message: String::new(),
            });
        }
    }

    /// Ends it with what came of it.
    pub fn end<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.fail("refused");
        }
        result
    }

    /// Says of a request what the access log says, people and media aside.
    pub(crate) fn describe(&mut self, record: &Record) {
        let Some(open) = &mut self.open else { return };
        let method = record.method.as_str();
        let route = route(record.route);
        open.span.name = match route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        self.word("http.request.method", method);
        if let Some(route) = route {
            self.word("http.route", route);
        }
        let status = u64::from(record.status);
        self.number("http.response.status_code", status);
        self.number("http.response.body.size", record.bytes);
        self.word("lockgate.request_id", &record.request_id.to_string());
        if let Some(storage) = &record.storage {
            self.word("lockgate.storage", storage.as_str());
        }
        if let Some(cache) = record.cache {
            self.word("lockgate.cache", cache.as_str());
        }
        // What a client did wrong is no error of a server's span.
        match record.aborted {
            Some(reason) => self.fail(reason.as_str()),
            None if status >= 500 => self.fail(&status.to_string()),
            None => {}
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Open {
            queue,
            mut span,
            begun,
        } = *open;
        let nanoseconds = begun.elapsed().as_nanos() as u64;
        span.end_time_unix_nano = span.start_time_unix_nano.saturating_add(nanoseconds);
        if queue.spans.try_send(span).is_err() {
            queue.dropped.inc();
        }
    }
}

/// A route as a template: no id of a task in it.
fn route(route: Route) -> Option<&'static str> {
    match route {
        Route::Tasks => Some("/tasks/{task}/*"),
        Route::Projects => Some("/projects/{project}/*"),
        Route::LocalFiles => Some("/data/local-files/"),
        Route::Session => Some("/session"),
        Route::Upstream => Some("/*"),
        Route::Other => None,
    }
}

#[cfg(test)]
#[path = "spans/tests.rs"]
mod tests;

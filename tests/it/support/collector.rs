//! A collector of traces on a real socket: OTLP over HTTP, decoded by OpenTelemetry's own messages.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::eventually;

#[derive(Default)]
struct State {
    /// What requests are answered with; none: with nothing, ever.
    status: Option<u16>,
    posts: Vec<(String, HeaderMap)>,
    spans: Vec<Span>,
}

/// A running collector; it ends when it is dropped.
pub struct Collector {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

impl Collector {
    /// One that takes what comes.
    pub async fn start() -> Self {
        Self::answering(Some(200)).await
    }

    /// One that answers with this status, or reads what comes and never answers.
    pub async fn answering(status: Option<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::new(Mutex::new(State {
            status,
            ..State::default()
        }));
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, state.clone()));
        Self {
            endpoint,
            state,
            _serving: serving,
        }
    }

    /// Paths and fields of what was posted so far.
    pub fn posts(&self) -> Vec<(String, HeaderMap)> {
        self.state().posts.clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.state().spans.clone()
    }

    /// The spans of a trace, once the one without a parent among them is there, and `count` in all.
    pub async fn trace(&self, trace_id: &str, count: usize) -> Trace {
        let what = format!("{count} spans of {trace_id}");
        let spans = eventually(&what, async || {
            let spans = self.spans().into_iter();
            let spans: Vec<Span> = spans
                .filter(|span| hex(&span.trace_id) == trace_id)
                .collect();
            (spans.len() >= count).then_some(spans)
        })
        .await;
        Trace(spans)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked here")
    }
}

/// One trace's spans.
#[derive(Debug)]
pub struct Trace(pub Vec<Span>);

impl Trace {
    /// The spans of this name.
    pub fn all(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    /// The one span of this name.
    pub fn one(&self, name: &str) -> &Span {
        match self.all(name)[..] {
            [span] => span,
            _ => panic!("not one {name}: {:?}", self.names()),
        }
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|span| &*span.name).collect();
        names.sort_unstable();
        names
    }
}

/// What a span says under a key, as text.
pub fn said(span: &Span, key: &str) -> Option<String> {
    let said = span.attributes.iter().find(|said| said.key == key)?;
    match said.value.as_ref()?.value.as_ref()? {
        Value::StringValue(word) => Some(word.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Bytes as `traceparent` has them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request: Request<Incoming>| take(state.clone(), request));
        connections.spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn take(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let taken = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let spans = taken.resource_spans.into_iter();
    let spans = spans.flat_map(|resource| resource.scope_spans);
    let status = {
        let mut state = state.lock().expect("no test panicked here");
        state.posts.push((head.uri.path().to_owned(), head.headers));
        state.spans.extend(spans.flat_map(|scope| scope.spans));
        state.status
    };
    let Some(status) = status else {
        return std::future::pending().await;
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status.try_into().expect("a status");
    Ok(response)
}

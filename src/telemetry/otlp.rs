//! Hands ended spans to a collector: OTLP over HTTP, protobuf, in batches.
//!
//! Follows <https://opentelemetry.io/docs/specs/otlp/#otlphttp>. Does no I/O of its own: who builds the house says how a
//! request is sent. A collector that cannot be reached is asked again a few times; then its batch is dropped and
//! counted, while what comes meanwhile waits in a bounded queue.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::metrics::Metrics;
use super::spans::{Ended, Traces};
use crate::secret::Secret;

/// Spans in one request: OpenTelemetry's own default for a batch.
const MAX_BATCH: usize = 512;
/// How long a batch that is not full waits for more.
const GATHER: Duration = Duration::from_secs(1);
/// A request takes no longer; OpenTelemetry's own default.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a batch is sent again; after the last it is dropped. Longer, and the queue is full anyway.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Statuses after which the same batch may be sent again (OTLP, "Retryable response codes").
const RETRYABLE: [u16; 4] = [429, 502, 503, 504];

/// `[telemetry] otlp`.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where batches are posted, path and all.
    pub url: Url,
    /// Fields that go with each, a collector's key among them.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Which part of the traces begun here is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// What this process is called.
    pub service_name: String,
}

/// Sends a request and brings the whole answer, or says in words why there is none.
pub type Post = dyn Fn(Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<Bytes>, String>>
    + Send
    + Sync;

/// Brings spans to the collector, for as long as any may come.
pub struct Courier {
    ended: Ended,
    config: OtlpConfig,
    post: Box<Post>,
    reached: bool,
}

impl Courier {
    /// Where spans are begun, and who brings them away; `run` is to be spawned.
    pub fn new(config: OtlpConfig, metrics: &Metrics, post: Box<Post>) -> (Traces, Self) {
        let (traces, ended) = Traces::new(config.sample_ratio, metrics.spans_dropped());
        let courier = Self {
            ended,
            config,
            post,
            reached: true,
        };
        (traces, courier)
    }

    /// Sends batch after batch, until the traces are closed and the last is sent.
    pub async fn run(mut self) {
        let _done = self.ended.done.clone().drop_guard();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.gather(&mut batch).await {
            let spans = std::mem::take(&mut batch);
            let count = spans.len() as u64;
            let said = self.deliver(spans).await;
            self.say(&said);
            match said {
                Ok(rejected) => self.ended.dropped.inc_by(rejected.min(count)),
                Err(_) => self.ended.dropped.inc_by(count),
            }
        }
    }

    /// A batch; `false`: there will be no more.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        let Ended { spans, closing, .. } = &mut self.ended;
        tokio::select! {
            biased;
            () = closing.cancelled() => spans.close(),
            _ = spans.recv_many(batch, MAX_BATCH) => {}
        }
        let until = Instant::now() + GATHER;
        while batch.len() < MAX_BATCH {
            let room = MAX_BATCH - batch.len();
            let more = tokio::select! {
                biased;
                () = closing.cancelled(), if !spans.is_closed() => { spans.close(); continue }
                more = timeout_at(until, spans.recv_many(batch, room)) => more,
            };
            if matches!(more, Err(_) | Ok(0)) {
                break;
            }
        }
        !batch.is_empty()
    }

    /// How many of them the collector rejected.
    async fn deliver(&self, spans: Vec<Span>) -> Result<u64, String> {
        let body = Bytes::from(self.request(spans).encode_to_vec());
        let mut pauses = PAUSES.iter();
        loop {
            let refused = match (self.post)(self.http(body.clone())?).await {
                Ok(answer) if answer.status().is_success() => return Ok(rejected(answer.body())),
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let refused = format!("it answers {status}");
                    if !RETRYABLE.contains(&status) {
                        return Err(refused);
                    }
                    refused
                }
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else {
                return Err(refused);
            };
            tokio::time::sleep(*pause).await;
        }
    }

    fn http(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::post(self.config.url.as_str())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(
                header::USER_AGENT,
                concat!("lockgate/", env!("CARGO_PKG_VERSION")),
            );
        for (name, secret) in &self.config.headers {
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| format!("the field {name} cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        request.map_err(|_| "the url cannot be asked".to_owned())
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource {
            attributes: vec![
                word("service.name", &self.config.service_name),
                word("service.version", version),
            ],
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "lockgate".to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans,
            ..ScopeSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![scope_spans],
                ..ResourceSpans::default()
            }],
        }
    }

    /// Says once per outage that spans are lost, and once that they are taken again.
    fn say(&mut self, said: &Result<u64, String>) {
        match said {
            Err(reason) if self.reached => {
                tracing::warn!(
                    reason,
                    "the collector of traces takes no spans; they are dropped"
                );
            }
            Ok(_) if !self.reached => tracing::info!("the collector of traces takes spans again"),
            Ok(_) | Err(_) => {}
        }
        self.reached = said.is_ok();
    }
}

fn word(key: &str, word: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(word.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// Of a batch that was taken in part. An answer that is none says that all were taken.
fn rejected(answer: &Bytes) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer.clone()).unwrap_or_default();
    let rejected = answer.partial_success.map(|part| part.rejected_spans);
    rejected.unwrap_or_default().try_into().unwrap_or_default()
}

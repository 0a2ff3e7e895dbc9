//! A span for each request that really goes out to storage, as a decorator: from the question to the last byte of its
//! answer. Storage is told the span's own id as `traceparent`. Put around a backend only where traces are on.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use super::measured::outcome;
use super::{Backend, BackendError, ByteStream, Call, Conditional, Fetched, Page};
use crate::ids::StorageId;
use crate::object::ObjectMeta;
use crate::telemetry::{Kind, Operation, Span, Traces};

/// A backend whose requests are traced.
pub struct Traced {
    inner: Arc<dyn Backend>,
    storage: StorageId,
    traces: Traces,
}

impl Traced {
    /// Puts it around a backend; where traces are off it is the backend alone.
    pub fn around(
        inner: Arc<dyn Backend>,
        storage: &StorageId,
        traces: &Traces,
    ) -> Arc<dyn Backend> {
        if !traces.is_on() {
            return inner;
        }
        Arc::new(Self {
            inner,
            storage: storage.clone(),
            traces: traces.clone(),
        })
    }

    /// The span of a question that belongs to a trace, and the question as it goes out in it.
    fn begin<'a>(&self, call: Call<'a>, operation: Operation) -> (Option<Span>, Call<'a>) {
        let parent = call.trace;
        let span = parent.map(|parent| {
            let mut span = self.traces.step(&parent, "fetch", Kind::Client);
            span.word("lockgate.storage", self.storage.as_str());
            span.word("lockgate.operation", operation.as_str());
            span
        });
        let trace = span.as_ref().map(Span::context);
        (span, Call { trace, ..call })
    }
}

fn fail(span: &mut Option<Span>, error: &BackendError) {
    if let Some(span) = span {
        span.fail(outcome(error).as_str());
    }
}

#[async_trait]
impl Backend for Traced {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let (mut span, call) = self.begin(call, Operation::Head);
        let answer = self.inner.head(call).await;
        answer.inspect_err(|error| fail(&mut span, error))
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let (mut span, call) = self.begin(call, Operation::Get);
        let answer = self.inner.get(call, range).await;
        let answer = answer.inspect_err(|error| fail(&mut span, error))?;
        Ok(match (answer, span) {
            (Conditional::Is(fetched), Some(span)) => Conditional::Is(Fetched {
                body: Box::pin(Body {
                    frames: fetched.body,
                    received: 0,
                    span,
                }),
                ..fetched
            }),
            (answer, _) => answer,
        })
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        self.inner.list(bucket, prefix, after, limit).await
    }

    fn credential_expiry(&self) -> Option<std::time::SystemTime> {
        self.inner.credential_expiry()
    }
}

/// An answer's bytes; the span ends with them, or when nobody wants the rest.
struct Body {
    frames: ByteStream,
    received: u64,
    span: Span,
}

impl Stream for Body {
    type Item = Result<Bytes, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.frames.as_mut().poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.received += frame.len() as u64,
            Poll::Ready(Some(Err(error))) => self.span.fail(outcome(error).as_str()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let received = self.received;
        self.span.number("lockgate.bytes", received);
    }
}

//! One connection: HTTP/1.1 (RFC 9112) or HTTP/2 (RFC 9113) as the client begins, watched so that none is held for nothing.
//!
//! What it must not do for long is in [`super::watch`]; what it is asked, in the service it is handed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::Failure;
use super::head::TwoLengths;
use super::offer::{self, WatchedBody};
use super::rare::{Rare, unless};
use super::request::RequestError;
use super::rest::{self, Home};
use super::screen::{Screen, Seen};
use super::spoken::Spoken;
use super::watch::{Activity, InFlight, Timeouts, Verdict, Watch};

/// How soon a connection is looked at that may come to rest: memory that many give back is there for those who ask, while
/// taking hyper's side apart and making it again costs some allocations, once in this time at most.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How long who has connected and said nothing may still say it when draining begins: closed at once, a request that is
/// on its way would be lost. It is answered as any other.
pub(super) const FIRST_WORD: Duration = Duration::from_secs(1);
/// How long a refusal of a head that did not come may take to be sent.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Records a request that never became one, and makes the answer to it.
pub type Refusal = dyn Fn(&Failure) -> Response<Bytes> + Send + Sync;

/// How a connection is held to its word.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) timeouts: Timeouts,
    pub(super) refusal: Option<Arc<Refusal>>,
}

/// Owns the tasks of all connections: `finish` asks them to end, `cut` ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) finish: CancellationToken,
    pub(super) cut: CancellationToken,
    /// How long an HTTP/2 stream's window may stay shut.
    pub(super) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    /// Runs an HTTP/2 stream.
    fn execute(&self, stream: F) {
        let (cut, patience) = (self.cut.clone(), self.patience);
        self.tracker.spawn(async move {
            unless(cut.cancelled(), offer::until_refused(stream, patience)).await;
        });
    }
}

/// Serves a connection until it ends, is asked to finish and has, or is held for nothing.
pub(super) async fn serve<IO, S, B>(
    io: IO,
    service: S,
    activity: Arc<Activity>,
    terms: &Terms,
    tasks: &Tasks,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (io, seen) = Screen::new(io);
    let service = Arc::new(Watched {
        service,
        activity: Arc::clone(&activity),
        seen: Arc::clone(&seen),
    });
    let home = Home::new();
    let (mut resting, mut working) = (Some(io), None);
    let mut watch = Watch::new(terms.timeouts, Instant::now());
    let mut finishing = false;
    let mut events = Rare::new(terms.next_event(tasks, &activity, false, false));
    loop {
        tokio::select! {
            read = rest::first_bytes(&mut resting) => {
                let Some(read) = read else { return Box::pin(say_goodbye(resting)).await };
                let Some(io) = resting.take() else { return };
                let io = home.lend(io, read.clone());
                working = Some(Spoken::begin(io, &read, Arc::clone(&service), tasks));
                continue;
            }
            ended = present(&mut working) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                    terms.record_hypers_own_answer(&error);
                }
                return;
            }
            event = &mut events => match event {
                Event::Cut => return,
                Event::Finish => finishing = true,
                Event::Look => match watch.verdict(activity.seen(seen.mid_head()), Instant::now()) {
                    Verdict::Keep => {
                        let read = seen.at_rest().filter(|_| !finishing);
                        if read.is_some_and(|read| activity.has_answered(read)) {
                            drop(working.take());
                            resting = resting.or_else(|| home.take());
                        }
                    }
                    Verdict::Finish => finishing = true,
                    Verdict::Late => {
                        if terms.say_that_it_is_late(&seen) {
                            let last_word = present(&mut working);
                            let _ = tokio::time::timeout(LAST_WORD, last_word).await;
                        }
                        return;
                    }
                    Verdict::Cut(reason) => {
                        tracing::debug!(reason, "a connection was cut");
                        return;
                    }
                },
            },
        }
        if finishing {
            match &mut working {
                Some(connection) => connection.graceful_shutdown(),
                None => return Box::pin(say_goodbye(resting)).await,
            }
        }
        events.again(terms.next_event(tasks, &activity, finishing, working.is_some()));
    }
}

/// What there is of a future; else nothing ever.
async fn present<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Ends a connection at rest: over TLS its end is said (RFC 8446 §6.1).
async fn say_goodbye<IO: AsyncWrite + Unpin>(resting: Option<IO>) {
    if let Some(mut io) = resting {
        // Whoever does not take it has left.
        let _ = tokio::time::timeout(LAST_WORD, io.shutdown()).await;
    }
}

/// What befalls a connection beside its requests.
enum Event {
    /// All of them are to end now.
    Cut,
    /// They are asked to end.
    Finish,
    /// It is time to look whether it is held for nothing.
    Look,
}

impl Terms {
    async fn next_event(
        &self,
        tasks: &Tasks,
        activity: &Activity,
        finishing: bool,
        at_work: bool,
    ) -> Event {
        let asked = tasks.finish.is_cancelled() && !finishing;
        let first_word = async {
            tasks.finish.cancelled().await;
            if activity.is_silent() {
                tokio::time::sleep(FIRST_WORD).await;
            }
        };
        let usual = self.timeouts.interval();
        let look = if at_work {
            usual.min(REST_AFTER)
        } else {
            usual
        };
        tokio::select! {
            () = tasks.cut.cancelled() => Event::Cut,
            () = first_word, if !finishing => Event::Finish,
            // A look would begin the wait for the first word anew.
            () = tokio::time::sleep(look), if !asked => Event::Look,
        }
    }

    /// Answers half a head, so that its client learns why the connection ends. False: there is none to be answered.
    fn say_that_it_is_late(&self, seen: &Seen) -> bool {
        tracing::debug!("no whole request came in time");
        let refusal = self.refusal.as_ref().filter(|_| seen.mid_head());
        if let Some(refusal) = refusal {
            seen.say(on_the_wire(&refusal(&Failure::RequestTimeout)));
        }
        refusal.is_some()
    }

    /// What hyper cannot read it answers itself: 400 or 431, without a document, and closes.
    fn record_hypers_own_answer(&self, error: &BoxError) {
        let (Some(refusal), Some(error)) = (&self.refusal, error.downcast_ref::<hyper::Error>())
        else {
            return;
        };
        if error.is_parse_too_large() {
            refusal(&Failure::HeaderFieldsTooLarge);
        } else if error.is_parse() {
            refusal(&Failure::Request(RequestError::Malformed));
        }
    }
}

/// An answer as HTTP/1.1 has it (RFC 9112 §4), the last on its connection.
fn on_the_wire(response: &Response<Bytes>) -> Bytes {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        wire.extend_from_slice(name.as_ref());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"connection: close\r\n\r\n");
    wire.extend_from_slice(response.body());
    Bytes::from(wire)
}

/// A service whose requests are counted, each until its body is dropped.
struct Watched<S> {
    service: S,
    activity: Arc<Activity>,
    seen: Arc<Seen>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let http2 = request.version() == Version::HTTP_2;
        if self.seen.two_lengths() {
            request.extensions_mut().insert(TwoLengths);
        }
        let guard = self.activity.begin(http2);
        Answering {
            response: self.service.call(request),
            http2,
            guard: Some(guard),
        }
    }
}

/// An answer that is being made.
struct Answering<F> {
    response: F,
    http2: bool,
    /// Goes on with the answer's body.
    guard: Option<InFlight>,
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>> + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<WatchedBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.response).poll(cx))?;
        let (http2, guard) = (self.http2, self.guard.take());
        Poll::Ready(Ok(response.map(|body| WatchedBody::new(body, http2, guard))))
    }
}

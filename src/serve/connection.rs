//! One connection: HTTP/1.1 (RFC 9112) or HTTP/2 (RFC 9113) as the client begins, watched so that none is held for nothing.
//!
//! What it must not do for long is in [`super::watch`]; what it is asked, in the service it is handed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watch::{Activity, InFlight, Timeouts, Verdict, Watch};

/// The longest head: cookies and a token of 8 KiB, a URI of 8 KiB, and room. Also how much of a body waits in hyper
/// before the socket takes it: past it a body is not asked for its next frame.
const MAX_HEAD: usize = 64 << 10;
/// Streams of one HTTP/2 connection: what RFC 9113 §6.5.2 calls a sensible minimum; a gallery asks for fewer at once.
const MAX_STREAMS: u32 = 100;
/// What one HTTP/2 stream may have waiting: a socket buffer's worth, so that a paused reader holds kilobytes.
const MAX_SEND_BUFFER: usize = 128 << 10;
/// How often a silent HTTP/2 client is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Owns the tasks of all connections: `finish` asks them to end, `cut` ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) finish: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    /// Runs an HTTP/2 stream.
    fn execute(&self, stream: F) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            cut.run_until_cancelled(stream).await;
        });
    }
}

/// Serves a connection until it ends, is asked to finish and has, or is held for nothing.
pub(super) async fn serve<IO, S, B>(
    io: IO,
    service: S,
    activity: Arc<Activity>,
    timeouts: Timeouts,
    tasks: &Tasks,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let builder = builder(tasks.clone());
    let service = Watched {
        service,
        activity: Arc::clone(&activity),
    };
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    let mut watch = Watch::new(timeouts, Instant::now());
    let mut look = tokio::time::interval(timeouts.interval());
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut finishing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = tasks.finish.cancelled(), if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            now = look.tick() => match watch.verdict(activity.seen(), now) {
                Verdict::Keep => {}
                Verdict::Finish => connection.as_mut().graceful_shutdown(),
                Verdict::Cut(reason) => {
                    tracing::debug!(reason, "a connection was cut");
                    return;
                }
            },
        }
    }
}

fn builder(tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    // At most 100 fields: hyper's default, which it keeps on the stack; to name a number would cost an allocation.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_SEND_BUFFER);
    builder
}

/// A service whose requests are counted, each until its body is dropped.
struct Watched<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = self.activity.begin(request.version() == Version::HTTP_2);
        let response = self.service.call(request);
        Box::pin(async move {
            Ok(response.await?.map(|body| WatchedBody {
                body,
                _guard: guard,
            }))
        })
    }
}

struct WatchedBody<B> {
    body: B,
    _guard: InFlight,
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

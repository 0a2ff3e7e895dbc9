//! Where connections come in: bound, counted, handed to TLS and HTTP, and at the end drained.
//!
//! Never ends because of one connection; never forgets a task: whatever runs when draining ends is cut and awaited.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use super::connection::Refusal;
use super::connection::{self, FIRST_WORD, Tasks, Terms};
use super::places::{Place, Places};
use super::rare::unless;
use super::tls::Tls;
pub use super::watch::Timeouts;
use super::watch::{Activity, Counted};

/// Connections at once; more are told so. At some 10 KB each this is 200 MB, and it stays below
/// the 65,536 file descriptors that a service is commonly given, storage's own connections included.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Connections that the kernel may queue: a reload of a page full of thumbnails by many annotators at once.
const BACKLOG: u32 = 1024;
/// How long to wait where no connection can be taken at all (no descriptors, no memory): somebody must end first.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes that the kernel may hold for a slow reader (it doubles what it is told, for its own books). More made ranges of
/// 8 MiB dearer: 0.146 s/GB with this, 0.205 with twice as much.
const SEND_BUFFER: usize = 256 << 10;
/// The same for TLS, where it is the other way round: what is encrypted at once goes out at once. Both of these made
/// 0.22 s/GB of the 0.31 that the plain buffer and rustls' own 64 KiB cost.
const TLS_SEND_BUFFER: usize = 512 << 10;
/// How much of that may wait unsent before no more is taken (`TCP_NOTSENT_LOWAT`, tcp(7)): for a reader who is slower than
/// the network the rest would only lie there. A thousand of them at 1 MB/s: 440 MB in the place of 835, and ranges of 8 MiB
/// cost no more than without it.
const UNSENT: u32 = 64 << 10;
/// What rustls may hold encrypted before the kernel takes it.
const TLS_RECORDS: usize = 256 << 10;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address, or its proxy's.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// There is no place for it: it is to be sent away.
    pub crowded: bool,
}

/// A bound socket, and how its connections are served.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    timeouts: Timeouts,
    max_connections: usize,
    refusal: Option<Arc<Refusal>>,
    cut: CancellationToken,
}

impl Listener {
    /// Binds; connections queue from now on.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait for the old process's connections to leave TIME_WAIT.
        socket.set_reuseaddr(true)?;
        bound_what_waits(&SockRef::from(&socket), tls.is_some())?;
        socket.bind(address)?;
        Ok(Self::new(socket.listen(BACKLOG)?, tls))
    }

    /// Takes a socket that is bound and listens already. It outlives this process, so at the end of it who connects
    /// waits for the next one, instead of being refused.
    ///
    /// # Errors
    /// The system's own.
    pub fn on(socket: std::net::TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        bound_what_waits(&SockRef::from(&socket), tls.is_some())?;
        Ok(Self::new(TcpListener::from_std(socket)?, tls))
    }

    fn new(socket: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self {
            socket,
            tls,
            timeouts: Timeouts::default(),
            max_connections: MAX_CONNECTIONS,
            refusal: None,
            cut: CancellationToken::new(),
        }
    }

    /// With other time-outs than the usual.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// With another limit than [`MAX_CONNECTIONS`].
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self {
            max_connections,
            ..self
        }
    }

    /// With what records the requests that never became one, and answers where hyper does not.
    pub fn with_refusal(self, refusal: Arc<Refusal>) -> Self {
        Self {
            refusal: Some(refusal),
            ..self
        }
    }

    /// Cancels `cut` when what still runs at the end of the drain is cut.
    pub fn with_cut(self, cut: CancellationToken) -> Self {
        Self { cut, ..self }
    }

    /// The address, with the port that the system chose where it was 0.
    ///
    /// # Errors
    /// The system's own.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `shutdown`, then lets answers that are under way finish for `drain`, and cuts what is left.
    /// `make_service` is called once per connection. Gives how many connections were cut.
    pub async fn serve<F, S, B>(
        self,
        make_service: F,
        shutdown: CancellationToken,
        drain: Duration,
    ) -> usize
    where
        F: Fn(Peer) -> S,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        S::Future: Unpin + Send + 'static,
        S::Error: Into<BoxError> + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tasks = Tasks {
            cut: self.cut.clone(),
            patience: self.timeouts.write,
            ..Tasks::default()
        };
        // If this future is dropped, so are its connections.
        let _cut_when_dropped = tasks.cut.clone().drop_guard();
        let places = Places::new(self.max_connections);
        while let Some((place, stream, address)) = self.next(&places, &shutdown).await {
            let peer = Peer {
                address,
                tls: self.tls.is_some(),
                crowded: place.crowded,
            };
            let terms = Terms {
                timeouts: place.timeouts(self.timeouts),
                refusal: self.refusal.clone(),
            };
            let service = make_service(peer);
            // The future itself: a block around it would hold it twice, as what it caught and as what it awaits.
            tasks.tracker.spawn(match self.tls.clone() {
                None => Either::Left(plain(stream, service, terms, tasks.clone(), place)),
                Some(tls) => {
                    let encrypted = encrypted(stream, tls, service, terms, tasks.clone(), place);
                    Either::Right(Box::pin(encrypted))
                }
            });
        }
        // Closes the socket: who comes now is refused at once, and goes to another instance. One that was handed over
        // stays open where it came from, and who comes now waits there.
        drop(self.socket);
        tasks.finish.cancel();
        tasks.tracker.close();
        // Time's up is no error: what is left is counted and cut.
        let _ = tokio::time::timeout(drain, tasks.tracker.wait()).await;
        let left = places.taken();
        tasks.cut.cancel();
        tasks.tracker.wait().await;
        left
    }

    /// The next connection and its place; none: shutdown. A connection is only taken when there is a place for it.
    async fn next(
        &self,
        places: &Places,
        shutdown: &CancellationToken,
    ) -> Option<(Place, TcpStream, SocketAddr)> {
        let next = async {
            let place = places.next().await?;
            loop {
                match self.socket.accept().await {
                    Ok((stream, address)) => return Some((places.better(place), stream, address)),
                    Err(error) if concerns_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be taken");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(next).await.flatten()
    }
}

/// Bounds what the kernel takes for a client; accepted sockets inherit it. Left to itself it lets 4 MB pile up for a reader
/// that pauses: memory, and bytes that are out of reach when access is taken away.
fn bound_what_waits(socket: &SockRef<'_>, is_tls: bool) -> io::Result<()> {
    let most = if is_tls { TLS_SEND_BUFFER } else { SEND_BUFFER };
    socket.set_send_buffer_size(most)?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// The client left between the kernel's queue and us; the next one may be fine (accept(2), ERRORS).
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Serves a connection as it is.
async fn plain<S, B>(stream: TcpStream, service: S, terms: Terms, tasks: Tasks, _place: Place)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    if sends_at_once(&stream) {
        let activity = Arc::new(Activity::default());
        let stream = Counted::new(stream, Arc::clone(&activity));
        connection::serve(stream, service, activity, &terms, &tasks).await;
    }
}

/// Serves a connection over TLS.
async fn encrypted<S, B>(
    stream: TcpStream,
    tls: Arc<Tls>,
    service: S,
    terms: Terms,
    tasks: Tasks,
    _place: Place,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    if !sends_at_once(&stream) {
        return;
    }
    let activity = Arc::new(Activity::default());
    let stream = Counted::new(stream, Arc::clone(&activity));
    // Both in boxes: what one step needs, and a session of a kilobyte wherever it is held, are not kept for the others.
    if let Some(stream) = Box::pin(handshake(stream, &tls, &terms, &tasks)).await {
        connection::serve(stream, service, activity, &terms, &tasks).await;
    }
}

/// Heads and last frames are small: they must not wait for the client's acknowledgement (RFC 896). False: it is gone.
fn sends_at_once(stream: &TcpStream) -> bool {
    let set = stream.set_nodelay(true);
    if let Err(error) = &set {
        tracing::debug!(%error, "a connection ended before it began");
    }
    set.is_ok()
}

async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    stream: IO,
    tls: &Tls,
    terms: &Terms,
    tasks: &Tasks,
) -> Option<Box<TlsStream<IO>>> {
    let handshake = tokio::time::timeout(terms.timeouts.handshake, tls.acceptor().accept(stream));
    let ending = async {
        tokio::select! {
            () = tasks.cut.cancelled() => {}
            () = async {
                tasks.finish.cancelled().await;
                tokio::time::sleep(FIRST_WORD).await;
            } => {}
        }
    };
    match unless(ending, handshake).await? {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(TLS_RECORDS));
            return Some(Box::new(stream));
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

#[cfg(test)]
mod tests;

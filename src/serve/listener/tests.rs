//! The listener over real sockets, on ports that the system chooses.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::service::service_fn;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::serve::body::Cut;
use crate::serve::tls::tests::Authority;
use crate::telemetry::Abort;

mod hostile;

type TestBody = UnsyncBoxBody<Bytes, Infallible>;
/// Closed when every body is dropped.
type Ended = mpsc::UnboundedReceiver<()>;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(60);

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<usize>,
}

fn serve<M, F>(listener: Listener, drain: Duration, body: M) -> Running
where
    M: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = TestBody> + Send + 'static,
{
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let make_service = move |_| {
        let body = body.clone();
        service_fn(move |_| {
            let body = body();
            Box::pin(async move { Ok::<_, Infallible>(Response::new(body.await)) })
        })
    };
    let served = tokio::spawn(listener.serve(make_service, shutdown.clone(), drain));
    Running {
        address,
        shutdown,
        served,
    }
}

fn listener() -> Listener {
    Listener::bind(([127, 0, 0, 1], 0).into(), None).unwrap()
}

fn timeouts() -> Timeouts {
    Timeouts {
        handshake: LATE,
        head: LATE,
        idle: LATE,
        write: LATE,
    }
}

async fn hello() -> TestBody {
    Full::new(Bytes::from_static(b"hello")).boxed_unsync()
}

/// A body of as many chunks as are sent to it, then its end.
fn fed() -> (
    mpsc::UnboundedSender<Bytes>,
    impl Fn() -> Pin<Box<dyn Future<Output = TestBody> + Send>> + Clone,
) {
    let (feed, food) = mpsc::unbounded_channel::<Bytes>();
    let food = Arc::new(std::sync::Mutex::new(Some(food)));
    let body = move || -> Pin<Box<dyn Future<Output = TestBody> + Send>> {
        let food = food.lock().unwrap().take().unwrap();
        let frames = stream::unfold(food, |mut food| async move {
            Some((Ok(Frame::data(food.recv().await?)), food))
        });
        Box::pin(async move { BodyExt::boxed_unsync(StreamBody::new(frames)) })
    };
    (feed, body)
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.unwrap()
}

/// Everything until the server closes; an error (a reset) ends it, too.
async fn read_to_close(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut read = Vec::new();
    let _ = tokio::time::timeout(LATE, stream.read_to_end(&mut read))
        .await
        .unwrap();
    String::from_utf8(read).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).ends_with(end) {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "closed before {end}"
        );
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Asks over HTTP/2; the connection ends when the second is dropped.
async fn get_by_http2<IO>(io: IO) -> (Response<Incoming>, JoinSet<()>)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(io);
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { connection.await.unwrap_or_default() });
    let request = Request::get("https://localhost/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    (client.send_request(request).await.unwrap(), driver)
}

#[tokio::test]
async fn what_waits_for_a_client_is_bounded_wherever_the_socket_comes_from() {
    let handed_over = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for listener in [listener(), Listener::on(handed_over, None).unwrap()] {
        let address = listener.local_addr().unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(address), listener.socket.accept());
        let (accepted, _client) = (accepted.unwrap().0, client.unwrap());
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
        // The kernel doubles what it is told (socket(7)).
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER);
    }
}

#[tokio::test]
async fn silence_after_connect_is_closed() {
    let listener = listener().with_timeouts(Timeouts {
        head: SOON,
        ..timeouts()
    });
    let running = serve(listener, LATE, hello);
    let silent = connect(&running).await;
    assert_eq!(read_to_close(silent).await, "");
}

#[tokio::test]
async fn a_preface_that_stops_halfway_is_closed() {
    let listener = listener().with_timeouts(Timeouts {
        head: SOON,
        ..timeouts()
    });
    let running = serve(listener, LATE, hello);
    let mut stream = connect(&running).await;
    stream.write_all(b"PRI * HT").await.unwrap();
    assert_eq!(read_to_close(stream).await, "");
}

#[tokio::test]
async fn a_kept_alive_connection_outlives_the_heads_time_out_and_ends_by_the_idle_one() {
    let timeouts = Timeouts {
        head: SOON / 4,
        idle: SOON * 2,
        ..timeouts()
    };
    let running = serve(listener().with_timeouts(timeouts), LATE, hello);
    let mut stream = connect(&running).await;
    let begun = std::time::Instant::now();
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, "hello").await;
    assert_eq!(read_to_close(stream).await, "");
    assert!(begun.elapsed() >= SOON * 2);
}

#[tokio::test]
async fn a_head_past_64_kib_is_431() {
    let running = serve(listener(), LATE, hello);
    let mut stream = connect(&running).await;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\ncookie: {}",
        "a".repeat(64 << 10)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let listener = listener().with_timeouts(Timeouts {
        write: SOON,
        ..timeouts()
    });
    let (dropped, mut ended): (_, Ended) = mpsc::unbounded_channel();
    let running = serve(listener, LATE, move || {
        let dropped = dropped.clone();
        async move {
            let frames = stream::repeat_with(move || {
                let _held_as_long_as_the_body = &dropped;
                Ok(Frame::data(Bytes::from_static(&[0; 1 << 16])))
            });
            BodyExt::boxed_unsync(StreamBody::new(frames))
        }
    });
    let mut stream = connect(&running).await;
    stream.write_all(GET).await.unwrap();
    // The body is the last to hold the sender once the listener has ended; the client is still there, and reads nothing.
    running.shutdown.cancel();
    assert_eq!(running.served.await.unwrap(), 0);
    assert!(ended.recv().await.is_none());
    drop(stream);
}

/// How many of a body's bytes a slow client gets, which then ends with `reason`: in frames of 10,000 bytes, so that
/// hyper holds some of them when it learns of the end.
async fn read_of_a_body_cut_for(reason: Abort, frames: usize) -> usize {
    let listener = listener();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let make_service = move |_| {
        service_fn(move |_| {
            let data = || Ok(Frame::data(Bytes::from_static(&[0; 10_000])));
            let cut = stream::iter([Err(Cut(reason))]);
            let frames = stream::repeat_with(data).take(frames).chain(cut);
            std::future::ready(Ok::<_, Infallible>(Response::new(StreamBody::new(frames))))
        })
    };
    let served = tokio::spawn(listener.serve(make_service, shutdown.clone(), LATE));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let (mut zeros, mut piece) = (0, [1; 1000]);
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        zeros += piece[..read].iter().filter(|byte| **byte == 0).count();
    }
    shutdown.cancel();
    served.await.unwrap();
    zeros
}

#[tokio::test]
async fn what_came_before_a_body_broke_is_sent_and_what_may_not_be_seen_is_not_waited_for() {
    const FRAMES: usize = 1000;
    let all = FRAMES * 10_000;
    assert_eq!(read_of_a_body_cut_for(Abort::Storage, FRAMES).await, all);
    assert!(read_of_a_body_cut_for(Abort::Revoked, FRAMES).await < all);
}

#[tokio::test]
async fn draining_lets_a_running_body_finish_and_takes_no_connection() {
    let (feed, body) = fed();
    let running = serve(listener(), LATE, body);
    let mut stream = connect(&running).await;
    stream.write_all(GET).await.unwrap();
    feed.send(Bytes::from_static(b"begin")).unwrap();
    read_until(&mut stream, "begin\r\n").await;
    let idle = connect(&running).await;
    running.shutdown.cancel();
    // The idle connection is closed at once; by then nobody listens any more.
    assert_eq!(read_to_close(idle).await, "");
    assert!(TcpStream::connect(running.address).await.is_err());
    feed.send(Bytes::from_static(b"end")).unwrap();
    drop(feed);
    assert!(read_to_close(stream).await.ends_with("end\r\n0\r\n\r\n"));
    assert_eq!(running.served.await.unwrap(), 0);
}

/// Its request may be on the way: nobody could tell that it was lost from one that was answered.
#[tokio::test]
async fn a_connection_that_has_said_nothing_when_draining_begins_is_answered() {
    let (took, mut taken) = mpsc::unbounded_channel();
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let make_service = move |_| {
        took.send(()).unwrap();
        service_fn(|_| Box::pin(async { Ok::<_, Infallible>(Response::new(hello().await)) }))
    };
    let served = tokio::spawn(listener.serve(make_service, shutdown.clone(), LATE));
    let mut stream = TcpStream::connect(address).await.unwrap();
    taken.recv().await;
    shutdown.cancel();
    // Refused: draining has begun.
    while TcpStream::connect(address).await.is_ok() {}
    stream.write_all(GET).await.unwrap();
    let answer = read_to_close(stream).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(served.await.unwrap(), 0);
}

#[tokio::test]
async fn what_runs_when_draining_ends_is_cut_and_counted() {
    let (feed, body) = fed();
    let running = serve(listener(), SOON, body);
    let mut stream = connect(&running).await;
    stream.write_all(GET).await.unwrap();
    feed.send(Bytes::from_static(b"begin")).unwrap();
    read_until(&mut stream, "begin\r\n").await;
    running.shutdown.cancel();
    assert_eq!(read_to_close(stream).await, "");
    assert_eq!(running.served.await.unwrap(), 1);
    assert!(feed.is_closed());
}

#[tokio::test]
async fn a_connection_past_the_places_is_known_as_such_until_one_is_free() {
    let listener = listener().with_max_connections(1);
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let make_service = |peer: Peer| {
        service_fn(move |_| {
            let body = format!("crowded: {}.", peer.crowded);
            let body = Full::new(Bytes::from(body));
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        })
    };
    let served = tokio::spawn(listener.serve(make_service, shutdown.clone(), LATE));
    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(GET).await.unwrap();
        stream
    };
    let mut first = ask().await;
    read_until(&mut first, "crowded: false.").await;
    let mut second = ask().await;
    read_until(&mut second, "crowded: true.").await;
    drop(first);
    // The place is given back by a task of its own: who asks again gets it.
    loop {
        let mut third = ask().await;
        if read_until(&mut third, "e.")
            .await
            .ends_with("crowded: false.")
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    assert_eq!(served.await.unwrap(), 0);
}

#[tokio::test]
async fn over_tls_the_protocol_that_alpn_chose_is_spoken() {
    let authority = Authority::new();
    let tls = Arc::new(Tls::load(&authority.files()).unwrap());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), Some(tls)).unwrap();
    let running = serve(listener, LATE, hello);
    let name = ServerName::try_from("localhost").unwrap();

    let mut stream = authority
        .connector(&[b"http/1.1"])
        .connect(name.clone(), connect(&running).await)
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(read_to_close(stream).await.ends_with("hello"));

    let stream = authority
        .connector(&[b"h2"])
        .connect(name, connect(&running).await)
        .await
        .unwrap();
    let (response, connection) = get_by_http2(stream).await;
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    running.shutdown.cancel();
    assert_eq!(running.served.await.unwrap(), 0);
    drop(connection);
}

#[tokio::test]
async fn draining_lets_a_running_http_2_stream_finish() {
    let (feed, body) = fed();
    let running = serve(listener(), LATE, body);
    let (response, _connection) = get_by_http2(connect(&running).await).await;
    let mut body = response.into_body();
    feed.send(Bytes::from_static(b"begin")).unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "begin"
    );
    running.shutdown.cancel();
    feed.send(Bytes::from_static(b"end")).unwrap();
    drop(feed);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "end");
    assert_eq!(running.served.await.unwrap(), 0);
}

#[tokio::test]
async fn an_http_2_stream_that_runs_when_draining_ends_is_an_error_and_not_a_short_body() {
    let (feed, body) = fed();
    let running = serve(listener(), SOON, body);
    let (response, _connection) = get_by_http2(connect(&running).await).await;
    feed.send(Bytes::from_static(b"begin")).unwrap();
    running.shutdown.cancel();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(running.served.await.unwrap(), 1);
    assert!(feed.is_closed());
}

//! What takes time-outs or limits of a test's own, against an application that is a socket.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

const SHORT: Timeouts = Timeouts {
    head: Duration::from_millis(200),
    stall: Duration::from_millis(200),
};

/// An application, and a proxy to it.
struct Scene {
    listener: TcpListener,
    upstream: Upstream,
    tunnels: Tunnels,
}

impl Scene {
    async fn new(adapt: impl FnOnce(Upstream) -> Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = Upstream::new(&url.parse().unwrap(), None, Some(Arc::default())).unwrap();
        Self {
            listener,
            upstream: adapt(upstream),
            tunnels: Tunnels::until(&CancellationToken::new()),
        }
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        body: Option<Upload>,
    ) -> Result<Response<Body>, Failure> {
        self.ask_from([192, 0, 2, 1], request, body).await
    }

    async fn ask_from(
        &self,
        address: [u8; 4],
        request: http::request::Builder,
        body: Option<Upload>,
    ) -> Result<Response<Body>, Failure> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let hop = Hop {
            peer: Peer {
                address: SocketAddr::from((address, 5)),
                tls: true,
                crowded: false,
            },
            trace: &TraceContext::random(),
            request_id: &RequestId::random(),
            tunnels: &self.tunnels,
        };
        self.upstream.forward(&parts, body, &hop).await
    }

    /// A connection whose request's head was read.
    async fn asked(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// Asks, and lets the application answer; what it was asked and what came of it.
    async fn exchange(
        &self,
        request: http::request::Builder,
        answer: &str,
    ) -> (String, Result<Response<Body>, Failure>, TcpStream) {
        let answers = async {
            let (mut stream, head) = self.asked().await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            (stream, head)
        };
        let (response, (stream, head)) = tokio::join!(self.ask(request, None), answers);
        (head, response, stream)
    }
}

#[tokio::test]
async fn an_application_that_does_not_answer_is_given_up() {
    let scene = Scene::new(|upstream| upstream.with_timeouts(SHORT)).await;
    let (_stream, answer) = tokio::join!(scene.asked(), scene.ask(Request::get("/"), None));
    assert!(matches!(
        answer,
        Err(Failure::Upstream(UpstreamError::TimedOut))
    ));
}

#[tokio::test]
async fn an_application_that_stalls_in_an_answer_is_cut() {
    let scene = Scene::new(|upstream| upstream.with_timeouts(SHORT)).await;
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let (_, answer, _stream) = scene.exchange(Request::get("/"), half).await;
    let error = answer.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!(error.0, crate::telemetry::Abort::Stalled);
}

#[tokio::test]
async fn a_client_that_stalls_in_an_upload_is_told_so_and_not_that_the_application_is_slow() {
    let scene = Scene::new(|upstream| upstream.with_timeouts(SHORT)).await;
    let stalled = upload(StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >()));
    let (_stream, answer) =
        tokio::join!(scene.asked(), scene.ask(Request::post("/"), Some(stalled)));
    assert!(matches!(answer, Err(Failure::RequestTimeout)));
}

#[tokio::test]
async fn an_upload_may_take_longer_than_an_answer_as_long_as_it_moves() {
    let scene = Scene::new(|upstream| upstream.with_timeouts(SHORT)).await;
    let pieces = futures_util::stream::unfold(0, |sent| async move {
        tokio::time::sleep(SHORT.head / 4).await;
        (sent < 10).then(|| {
            (
                Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"x"))),
                sent + 1,
            )
        })
    });
    let answers = async {
        let (mut stream, _) = scene.asked().await;
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(
        scene.ask(Request::post("/"), Some(upload(StreamBody::new(pieces)))),
        answers
    );
    assert_eq!(answer.unwrap().status(), 204);
}

#[tokio::test]
async fn one_request_too_many_is_refused_until_another_is_done() {
    let scene = Scene::new(|upstream| upstream.with_max_concurrent(1)).await;
    let whole = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let (_, first, _stream) = scene.exchange(Request::get("/"), whole).await;
    let first = first.unwrap();
    assert!(matches!(
        scene.ask(Request::get("/"), None).await,
        Err(Failure::Overloaded)
    ));
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "ok");
    let (_, again, _stream) = scene.exchange(Request::get("/"), whole).await;
    assert_eq!(again.unwrap().status(), 200);
}

#[tokio::test]
async fn slow_uploads_from_one_address_leave_places_for_others() {
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let scene = Scene::new(|upstream| {
        let upstream = upstream.with_max_concurrent(4);
        upstream.behind(TrustedProxies(networks))
    })
    .await;
    let slow = || StreamBody::new(futures_util::stream::pending::<Result<_, std::io::Error>>());
    let begun = scene.ask(Request::post("/import"), Some(upload(slow())));
    let mut begun = std::pin::pin!(begun);
    tokio::select! {
        _ = &mut begun => panic!("it has no end"),
        (_stream, head) = scene.asked() => assert!(head.starts_with("POST /import")),
    }
    let refused = |answer| matches!(answer, Err(Failure::Overloaded));
    assert!(refused(scene.ask(Request::get("/"), None).await));
    // By a trusted proxy, and so the same client; a proxy that is not trusted is a client itself.
    let by_proxy = || Request::get("/").header("x-forwarded-for", "192.0.2.1");
    assert!(refused(
        scene.ask_from([10, 0, 0, 1], by_proxy(), None).await
    ));
    for (address, request) in [
        ([192, 0, 2, 2], by_proxy()),
        ([10, 0, 0, 1], Request::get("/")),
    ] {
        let asked = scene.ask_from(address, request, None);
        let answers = async {
            let (mut stream, _) = scene.asked().await;
            let whole = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(whole).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asked, answers);
        assert_eq!(answer.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_its_client_is_passed_on() {
    let networks = vec!["192.0.2.0/24".parse().unwrap()];
    let scene = Scene::new(|upstream| upstream.behind(TrustedProxies(networks))).await;
    let request = Request::get("/")
        .header("host", "labels.example")
        .header("x-forwarded-for", "6.6.6.6, 203.0.113.7")
        .header("x-forwarded-proto", "http");
    let (head, _, _stream) = scene
        .exchange(request, "HTTP/1.1 204 No Content\r\n\r\n")
        .await;
    let head = head.to_lowercase();
    assert!(head.contains("x-forwarded-for: 203.0.113.7\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: http\r\n"), "{head}");
    assert!(head.contains("forwarded: for=203.0.113.7;host="), "{head}");
    assert!(!head.contains("6.6.6.6"), "{head}");
}

#[tokio::test]
async fn a_client_on_tls_is_said_to_be() {
    let scene = Scene::new(|upstream| upstream).await;
    let request = Request::get("/").header("host", "labels.example");
    let (head, _, _stream) = scene
        .exchange(request, "HTTP/1.1 204 No Content\r\n\r\n")
        .await;
    let head = head.to_lowercase();
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
    assert!(
        head.contains("forwarded: for=192.0.2.1;host=\"labels.example\";proto=https\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_logout_that_passes_through_is_in_force_at_once() {
    let scene = Scene::new(|upstream| upstream).await;
    let logout = Request::get("/logout").header("cookie", "csrftoken=c; sessionid=a");
    let answer =
        "HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (head, response, _stream) = scene.exchange(logout, answer).await;
    assert!(
        head.contains("cookie: csrftoken=c; sessionid=a\r\n"),
        "{head}"
    );
    assert_eq!(response.unwrap().status(), 302);
    let copied = Request::get("/api/tasks").header("cookie", "csrftoken=c; sessionid=a");
    let (head, _, _stream) = scene
        .exchange(copied, "HTTP/1.1 204 No Content\r\n\r\n")
        .await;
    assert!(head.contains("cookie: csrftoken=c\r\n"), "{head}");
}

#[tokio::test]
async fn a_body_of_known_length_keeps_it() {
    let scene = Scene::new(|upstream| upstream).await;
    let body = upload(Full::new(Bytes::from_static(b"four")));
    let answers = async {
        let (mut stream, head) = scene.asked().await;
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        head
    };
    let (_, head) = tokio::join!(scene.ask(Request::post("/"), Some(body)), answers);
    assert!(head.contains("content-length: 4\r\n"), "{head}");
}

#[tokio::test]
async fn no_length_is_sent_without_its_body() {
    let scene = Scene::new(|upstream| upstream).await;
    let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    // Its body was read already, on the way to the decision over it.
    let drained = Request::get("/tasks/7/resolve/?fileuri=x").header("content-length", "5");
    let (head, _, _stream) = scene.exchange(drained, answer).await;
    assert!(!head.contains("content-length"), "{head}");
    let empty = Request::post("/").header("content-length", "0");
    let (head, _, _stream) = scene.exchange(empty, answer).await;
    assert!(head.contains("content-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn an_application_behind_tls_is_spoken_to_by_its_own_name_and_asked_for_the_clients() {
    let (acceptor, authority) = crate::backend::stub::authority("localhost");
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), authority).unwrap();
    let mut scene = Scene::new(|upstream| upstream).await;
    let port = scene.listener.local_addr().unwrap().port();
    let url: Url = format!("https://localhost:{port}").parse().unwrap();
    for (ca_file, trusted) in [(None, false), (Some(ca.path()), true)] {
        scene.upstream = Upstream::new(&url, ca_file, None).unwrap();
        let answers = async {
            let (stream, _) = scene.listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.ok()?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.ok()?);
            }
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(head).ok()
        };
        let request = Request::get("/").header("host", "labels.example");
        let (answer, head) = tokio::join!(scene.ask(request, None), answers);
        assert_eq!(answer.is_ok(), trusted);
        assert_eq!(
            head.is_some_and(|head| head.contains("host: labels.example\r\n")),
            trusted
        );
    }
}

//! Clients that stop halfway, and what is recorded of those who never made a request.

use super::*;
use crate::serve::error::Failure;

/// What was refused before it was a request, by status.
fn refusals() -> (mpsc::UnboundedReceiver<u16>, Arc<Refusal>) {
    let (sender, refused) = mpsc::unbounded_channel();
    let refusal = move |failure: &Failure| {
        sender.send(failure.status().as_u16()).unwrap();
        failure.respond(&crate::ids::RequestId::random())
    };
    (refused, Arc::new(refusal))
}

#[tokio::test]
async fn a_head_that_stops_halfway_is_answered_408_and_silence_is_not() {
    let (mut refused, refusal) = refusals();
    let listener = listener().with_refusal(refusal).with_timeouts(Timeouts {
        head: SOON,
        ..timeouts()
    });
    let running = serve(listener, LATE, hello);
    for (sent, expected) in [
        ("", ""),
        ("PRI * HTTP/2.0\r\n", ""),
        ("G", "HTTP/1.1 408 Request Timeout\r\n"),
        (
            "GET / HTTP/1.1\r\nhost: a",
            "HTTP/1.1 408 Request Timeout\r\n",
        ),
    ] {
        let mut stream = connect(&running).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_to_close(stream).await;
        assert!(answer.starts_with(expected), "{sent:?}: {answer}");
        assert_eq!(answer.is_empty(), expected.is_empty(), "{answer}");
        assert_eq!(answer.contains("request-timeout"), !expected.is_empty());
    }
    let mut stream = connect(&running).await;
    stream.write_all(&[GET, b"GET /"].concat()).await.unwrap();
    let answers = read_to_close(stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 408").count(), 1, "{answers}");
    running.shutdown.cancel();
    running.served.await.unwrap();
    let mut all = Vec::new();
    while let Some(status) = refused.recv().await {
        all.push(status);
    }
    assert_eq!(all, [408, 408, 408]);
}

#[tokio::test]
async fn what_hyper_refuses_itself_is_recorded() {
    let (mut refused, refusal) = refusals();
    let running = serve(listener().with_refusal(refusal), LATE, hello);
    for (sent, status) in [
        ("\0 / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(64 << 10)),
            431,
        ),
    ] {
        let mut stream = connect(&running).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_to_close(stream).await;
        assert!(answer.contains(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(refused.recv().await, Some(status));
    }
}

/// Tells when it is dropped.
struct Held(mpsc::UnboundedSender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn an_http_2_stream_whose_window_stays_shut_is_reset_and_the_connection_lives() {
    let (dropped, mut ended): (_, Ended) = mpsc::unbounded_channel();
    let listener = listener().with_timeouts(Timeouts {
        write: SOON,
        ..timeouts()
    });
    let running = serve(listener, LATE, move || {
        let held = Held(dropped.clone());
        async move {
            let frames = stream::repeat_with(move || {
                let _held_as_long_as_the_body = &held;
                Ok(Frame::data(Bytes::from_static(&[0; 1 << 20])))
            });
            BodyExt::boxed_unsync(StreamBody::new(frames))
        }
    });
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(connect(&running).await);
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(executor)
        .initial_stream_window_size(20_000)
        .handshake(io)
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { connection.await.unwrap_or_default() });
    let get = || {
        Request::get("https://localhost/")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let unread = client.send_request(get()).await.unwrap();
    ended.recv().await.unwrap();
    assert!(unread.into_body().collect().await.is_err());
    assert!(client.ready().await.is_ok() && client.send_request(get()).await.is_ok());
}

//! Clients that send or take nothing, or too little to ever end.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{good_request, started};
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, SETTINGS, frame, pseudo};
use crate::support::{PATIENCE, eventually, open_descriptors, raw};

/// Sends a byte now and then until it is answered or closed; what was answered.
async fn trickle(mut stream: TcpStream, every: Duration, byte: u8) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let ended = Instant::now() + 2 * PATIENCE;
    while Instant::now() < ended {
        match timeout(every, stream.read(&mut buffer)).await {
            Err(_) => {
                let _ = stream.write_all(&[byte]).await;
            }
            Ok(Ok(0) | Err(_)) => return answer,
            Ok(Ok(len)) => answer.extend_from_slice(&buffer[..len]),
        }
    }
    panic!("still open after {ended:?}");
}

#[tokio::test]
async fn slowloris_on_the_head_is_answered_408_and_closed() {
    let (_store, gateway) = started().await;
    let before = open_descriptors();
    let mut slow = JoinSet::new();
    for _ in 0..200 {
        let address = gateway.address();
        slow.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let head = b"GET / HTTP/1.1\r\nHost: lockgate\r\nX: ";
            stream.write_all(head).await.expect("it reads");
            trickle(stream, Duration::from_secs(1), b'a').await
        });
    }
    good_request(&gateway).await;
    while let Some(answer) = slow.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!(raw::status(&answer), 408);
        assert!(String::from_utf8_lossy(&answer).contains("application/problem+json"));
    }
    eventually("no descriptor is leaked", async || {
        (open_descriptors() <= before + 5).then_some(())
    })
    .await;
    let metrics = gateway.metrics().await;
    let counted = "lockgate_http_requests_total{code=\"408\",method=\"other\",route=\"other\"} 200";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn slowloris_on_the_body_is_answered_408_and_closed() {
    let (_store, gateway) = started().await;
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    let head = b"POST /session HTTP/1.1\r\nHost: lockgate\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head).await.expect("it reads");
    let slow = tokio::spawn(trickle(stream, Duration::from_millis(500), b'a'));
    good_request(&gateway).await;
    let answer = slow.await.expect("no panic");
    assert_eq!(
        raw::status(&answer),
        408,
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn half_an_http_2_frame_is_closed_in_time() {
    let (_store, gateway) = started().await;
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    assert!(http2.send(&frame(SETTINGS, 1, 0, &[])).await);
    assert!(http2.send(&[0, 0, 50, 1]).await);
    good_request(&gateway).await;
    // Ends, within what a first head may take.
    http2.goaway().await;
}

#[tokio::test]
async fn half_a_header_block_after_a_request_is_closed_in_time() {
    let (_store, gateway) = started().await;
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    assert!(http2.request(1, &pseudo("/nowhere")).await);
    let answer = http2.until(HEADERS).await.expect("an answer");
    assert_eq!(answer.status(), 404);
    let block = pseudo("/nowhere");
    assert!(http2.send(&frame(HEADERS, END_STREAM, 3, &block)).await);
    good_request(&gateway).await;
    // It can answer no PING: the connection is given up when one has been waited for.
    http2.goaway_within(2 * PATIENCE).await;
}

#[tokio::test]
async fn an_http_2_body_that_never_comes_is_answered_408() {
    let (_store, gateway) = started().await;
    let mut http2 = Http2::connect(gateway.address(), &[]).await;
    assert!(
        http2
            .send(&frame(HEADERS, END_HEADERS, 1, &pseudo("/session")))
            .await
    );
    let answer = http2.until(HEADERS).await.expect("an answer");
    // 408 is no status of the static table: a literal, that of index 8 with another value (RFC 7541 §6.2.1).
    assert_eq!(answer.status(), 0, "{answer:?}");
    eventually("it is counted", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("lockgate_http_requests_total{code=\"408\"")
            .then_some(())
    })
    .await;
}

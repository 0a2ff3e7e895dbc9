//! One request stays one: what could be read in two ways is refused, and bodies are framed anew.

use super::OK;
use crate::support::application::Application;
use crate::support::raw::{Raw, status};

/// What the application saw of these bytes, and the status of the first answer.
async fn sent(bytes: &str) -> (Vec<String>, u16) {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let answer = Raw::send(gateway.address(), bytes)
        .await
        .read_to_end()
        .await;
    let mut lines = Vec::new();
    while !application.saw_no_more().await {
        lines.push(application.seen().await.line().to_owned());
    }
    (lines, status(&answer))
}

#[tokio::test]
async fn a_body_with_two_ends_is_refused_or_has_one() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: 0x5",
    ] {
        let request = format!(
            "POST /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}"
        );
        let (seen, status) = sent(&request).await;
        assert!(
            !seen.iter().any(|line| line.contains("smuggled")),
            "{framing}: {seen:?}"
        );
        assert!(
            status == 400 || (status == 200 && seen.len() == 1),
            "{framing}: {status} {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_target_or_host_that_could_be_two_is_refused() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET http://u@a/ HTTP/1.1\r\nHost: a",
        "CONNECT other.example:443 HTTP/1.1\r\nHost: a",
        "OPTIONS * HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: y",
    ] {
        let (seen, status) = sent(&format!("{head}\r\nConnection: close\r\n\r\n")).await;
        assert!(
            (seen.is_empty(), status) == (true, 400),
            "{head:?}: {status} {seen:?}"
        );
    }
}

#[tokio::test]
async fn an_absolute_target_is_this_hosts_and_outweighs_the_field() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let request =
        "GET http://labels.example/x HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
    Raw::send(gateway.address(), request)
        .await
        .read_to_end()
        .await;
    let seen = application.seen().await;
    assert_eq!(
        (seen.line(), seen.field("host")),
        ("GET /x HTTP/1.1", "labels.example")
    );
}

#[tokio::test]
async fn what_follows_a_body_of_known_length_is_the_next_request() {
    let pipelined = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
                     GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (seen, status) = sent(pipelined).await;
    assert_eq!(
        (seen, status),
        (
            vec![
                "POST /first HTTP/1.1".to_owned(),
                "GET /second HTTP/1.1".to_owned()
            ],
            200
        )
    );
}

#[tokio::test]
async fn a_get_with_a_chunked_body_takes_its_body_along() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let request = "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   4\r\nbody\r\n0\r\n\r\n";
    Raw::send(gateway.address(), request)
        .await
        .read_to_end()
        .await;
    let seen = application.seen().await;
    assert_eq!(seen.field("transfer-encoding"), "chunked");
    assert_eq!(seen.body, b"4\r\nbody\r\n0\r\n\r\n");
}

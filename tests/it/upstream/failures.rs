//! An application that is down, breaks off or talks nonsense.

use std::net::TcpListener;

use http::Method;

use super::OK;
use crate::support::application::Application;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::raw::Raw;

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = port.local_addr().expect("it is bound");
    drop(port);
    let upstream = format!("http://{address}");
    let gateway = Setup::bare().set("server.upstream", upstream).start().await;
    let answer = gateway
        .client()
        .ask(Method::POST, "/api/x")
        .body("x")
        .answer()
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (502, "application/problem+json")
    );
    assert_eq!(
        answer.json()["type"],
        "urn:lockgate:problem:upstream-unavailable"
    );
    assert!(!answer.text().contains("127.0.0.1"));
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_502() {
    let application = Application::answering("SSH-2.0-OpenSSH_9.6\r\n").await;
    let gateway = application.gateway().await;
    let answer = gateway.client().get("/").answer().await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_u64()),
        (502, Some(502))
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_never_looks_whole() {
    for (head, path) in [
        ("Content-Length: 100", "/length"),
        ("Transfer-Encoding: chunked", "/chunked"),
    ] {
        let application = Application::start(move |mut conversation, _| async move {
            conversation.request().await;
            conversation
                .say(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n"))
                .await;
        })
        .await;
        let gateway = application.gateway().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = Raw::send(gateway.address(), request)
            .await
            .read_to_end()
            .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains("hello"),
            "{answer}"
        );
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        let line = eventually("its line", async || gateway.access_log().pop()).await;
        assert_eq!(line["aborted"], "upstream");
    }
}

#[tokio::test]
async fn a_connection_that_died_in_the_pool_costs_neither_a_get_nor_a_post_anything() {
    for method in [Method::GET, Method::POST] {
        // The first connection answers once, and then takes a request without a word: so does uwsgi.
        let application = Application::start(|mut conversation, number| async move {
            conversation.request().await;
            conversation.say(OK).await;
            conversation.request().await;
            if number > 0 {
                conversation.say(OK).await;
            }
        })
        .await;
        let gateway = application.gateway().await;
        gateway.client().get("/").answer().await;
        let answer = gateway
            .client()
            .ask(method.clone(), "/x")
            .body("")
            .answer()
            .await;
        assert_eq!(answer.status, 200, "{method}");
    }
}

#[tokio::test]
async fn a_post_whose_connection_dies_is_not_repeated() {
    let application = Application::start(|mut conversation, _| async move {
        conversation.request().await;
    })
    .await;
    let gateway = application.gateway().await;
    let post = gateway.client().ask(Method::POST, "/x").body("once");
    assert_eq!(post.answer().await.status, 502);
    assert_eq!(application.connections(), 1);
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_breaks_it_off_at_the_upstream() {
    let application = Application::start(|mut conversation, _| async move {
        conversation.head().await;
        let broken = conversation.exactly(100).await.is_none();
        if broken {
            // Told by a connection of its own.
            conversation.tell("broken off");
        }
    })
    .await;
    let gateway = application.gateway().await;
    let upload = Raw::send(
        gateway.address(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
    )
    .await;
    eventually("it is under way", async || {
        (application.connections() == 1).then_some(())
    })
    .await;
    drop(upload);
    assert_eq!(application.seen().await.head, "broken off");
}

//! Upgrades: to a WebSocket, where the upstream agrees, and to nothing else.

use std::sync::Arc;

use tokio::sync::Notify;

use super::OK;
use crate::support::application::Application;
use crate::support::process::Serving;
use crate::support::raw::{Raw, status};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Agrees to every upgrade, and then says everything back.
async fn echoing() -> Application {
    Application::start(|mut conversation, _| async move {
        if conversation.request().await.is_some() {
            conversation.say(AGREED).await;
            while let Some(bytes) = conversation.exactly(4).await {
                conversation.say(bytes).await;
            }
        }
    })
    .await
}

async fn head(raw: &mut Raw) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &String::from_utf8(raw.read_exactly(1).await).expect("text");
    }
    head.to_lowercase()
}

#[tokio::test]
async fn a_websocket_is_spoken_through_once_the_upstream_agrees() {
    let application = echoing().await;
    let gateway = application.gateway().await;
    let mut raw = Raw::send(gateway.address(), ASK).await;
    let head = head(&mut raw).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    let seen = application.seen().await;
    assert_eq!(
        (seen.field("connection"), seen.field("upgrade")),
        ("upgrade", "websocket")
    );
    for said in [b"one.", b"two.", b"3333"] {
        raw.write(said).await;
        assert_eq!(raw.read_exactly(4).await, said);
    }
    // The end of one side is the end of the other.
    raw.finish().await;
    assert!(raw.read_to_end().await.is_empty());
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_another() {
    let application = Application::answering(OK).await;
    let gateway = application.gateway().await;
    let mut raw = Raw::send(gateway.address(), ASK).await;
    assert!(head(&mut raw).await.starts_with("http/1.1 200 "));
    assert_eq!(raw.read_exactly(2).await, b"ok");
    raw.write(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head(&mut raw).await.starts_with("http/1.1 200 "));
    application.seen().await;
    assert_eq!(application.seen().await.line(), "GET /next HTTP/1.1");
}

#[tokio::test]
async fn an_upgrade_to_anything_else_is_not_asked_for() {
    for upgrade in [
        "h2c",
        "websocket, h2c",
        "TLS/1.0",
        "h2c\r\nUpgrade: websocket",
    ] {
        let application = Application::answering(OK).await;
        let gateway = application.gateway().await;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\r\n"
        );
        let mut raw = Raw::send(gateway.address(), request).await;
        assert!(
            head(&mut raw).await.starts_with("http/1.1 200 "),
            "{upgrade}"
        );
        let seen = application.seen().await;
        assert!(
            !seen.has("upgrade") && !seen.has("connection"),
            "{}",
            seen.head
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_none() {
    let application = Application::answering(AGREED).await;
    let gateway = application.gateway().await;
    let mut raw = Raw::send(
        gateway.address(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&raw.read_to_end().await), 502);
}

#[tokio::test]
async fn a_drain_ends_tunnels_and_lets_an_upload_finish() {
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let application = Application::start(move |mut conversation, _| {
        let waits = waits.clone();
        async move {
            let Some(head) = conversation.head().await else {
                return;
            };
            if head.starts_with("POST") {
                conversation.exactly(2).await;
                waits.notified().await;
                conversation.exactly(2).await;
                conversation
                    .say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                    .await;
            } else {
                conversation.say(AGREED).await;
                conversation.say("hello").await;
                conversation.some(1).await;
            }
        }
    })
    .await;
    let mut serving = Serving::start(application.setup()).await;
    let address = serving.address();
    let mut tunnel = Raw::send(address, ASK).await;
    head(&mut tunnel).await;
    assert_eq!(tunnel.read_exactly(5).await, b"hello");
    let mut upload = Raw::send(
        address,
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfo",
    )
    .await;
    crate::support::eventually("the upload is under way", async || {
        (application.connections() == 2).then_some(())
    })
    .await;
    serving.signal("TERM");
    assert!(tunnel.read_to_end().await.is_empty());
    go_on.notify_one();
    upload.write(b"ur").await;
    assert_eq!(status(&upload.read_to_end().await), 201);
    assert_eq!(serving.ended().await.code(), Some(0));
}

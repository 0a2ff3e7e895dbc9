//! Bodies stream both ways, and nobody holds them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::application::Application;
use crate::support::raw::{Raw, status};
use crate::support::resident_bytes;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn an_upload_is_as_fast_as_the_upstream_reads_and_is_not_held() {
    const LENGTH: usize = 100 * MIB;
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let application = Application::start(move |mut conversation, _| {
        let waits = waits.clone();
        async move {
            conversation.head().await;
            waits.notified().await;
            let mut left = LENGTH;
            while left > 0 {
                match conversation.some(MIB).await {
                    0 => return,
                    read => left -= read,
                }
            }
            conversation
                .say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let gateway = application.gateway().await;
    let before = resident_bytes();
    let head = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n"
    );
    let mut raw = Raw::send(gateway.address(), head).await;
    let piece = vec![7; MIB / 4];
    let mut sent = 0;
    while let Ok(wrote) = timeout(Duration::from_secs(2), raw.write_some(&piece)).await {
        sent += wrote;
        assert!(sent < LENGTH / 2, "the upstream has read nothing yet");
    }
    assert!(resident_bytes().saturating_sub(before) < 48 * MIB as u64);
    go_on.notify_one();
    while sent < LENGTH {
        sent += raw
            .write_some(&piece[..piece.len().min(LENGTH - sent)])
            .await;
    }
    assert_eq!(status(&raw.read_to_end().await), 201);
    assert!(resident_bytes().saturating_sub(before) < 48 * MIB as u64);
}

#[tokio::test]
async fn an_answer_is_handed_on_while_it_is_made() {
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let application = Application::start(move |mut conversation, _| {
        let waits = waits.clone();
        async move {
            conversation.request().await;
            conversation
                .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                .await;
            waits.notified().await;
            conversation.say("4\r\nlast\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = application.gateway().await;
    let mut answer = gateway.client().get("/export").send().await;
    assert_eq!(
        answer.next().await.expect("a frame").expect("whole"),
        "first"
    );
    go_on.notify_one();
    assert_eq!(
        answer.next().await.expect("a frame").expect("whole"),
        "last"
    );
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn an_answer_is_read_no_faster_than_the_client_takes_it() {
    const LENGTH: usize = 100 * MIB;
    let (told, mut wrote) = tokio::sync::watch::channel(0);
    let application = Application::start(move |mut conversation, _| {
        let told = told.clone();
        async move {
            conversation.request().await;
            conversation
                .say(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
                ))
                .await;
            for piece in 1..=LENGTH / MIB {
                conversation.say(vec![7; MIB]).await;
                told.send_replace(piece * MIB);
            }
        }
    })
    .await;
    let gateway = application.gateway().await;
    let mut raw = Raw::send(
        gateway.address(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    // Nothing is read, so there comes a time from which nothing more is taken.
    while timeout(Duration::from_secs(2), wrote.changed())
        .await
        .is_ok()
    {}
    assert!(*wrote.borrow() < LENGTH / 2, "{}", *wrote.borrow());
    assert!(raw.read_to_end().await.len() > LENGTH);
}

#[tokio::test]
async fn chunks_go_both_ways() {
    let application = Application::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let gateway = application.gateway().await;
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   5;ext=1\r\nhello\r\n0\r\nX-Trailer: gone\r\n\r\n";
    let answer = Raw::send(gateway.address(), request)
        .await
        .read_to_end()
        .await;
    let answer = String::from_utf8(answer).expect("text");
    assert!(
        answer.ends_with("\r\n0\r\n\r\n") && answer.contains("abc"),
        "{answer}"
    );
    let seen = application.seen().await;
    assert_eq!(
        (seen.field("transfer-encoding"), &seen.body[..]),
        ("chunked", &b"5\r\nhello\r\n0\r\n\r\n"[..])
    );
}

#[tokio::test]
async fn an_answer_until_the_connections_end_is_passed_on() {
    let application = Application::start(|mut conversation, _| async move {
        conversation.request().await;
        conversation
            .say("HTTP/1.0 200 OK\r\n\r\nuntil the end")
            .await;
    })
    .await;
    let gateway = application.gateway().await;
    assert_eq!(
        gateway.client().get("/").answer().await.text(),
        "until the end"
    );
}

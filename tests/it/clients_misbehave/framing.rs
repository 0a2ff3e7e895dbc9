//! Requests that two readers could take for different ones: each gets one answer, or a refusal and a closed connection.

use super::{good_request, path, started};
use crate::support::gateway::Gateway;
use crate::support::raw::{self, Raw};
use crate::support::token;

/// A request that must never be answered: it stands where content was expected.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: lockgate\r\n\r\n";

/// The statuses of all answers to these bytes, up to the close that has to come.
async fn answers(gateway: &Gateway, bytes: &str) -> Vec<u16> {
    let answer = Raw::send(gateway.address(), bytes)
        .await
        .read_to_end()
        .await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads.filter_map(|head| head[..3].parse().ok()).collect()
}

/// Each of these heads is refused with 400 and the connection closed, and what follows is not answered.
async fn refused(gateway: &Gateway, requests: &[&str]) {
    for request in requests {
        let bytes = format!("{request}{HIDDEN}");
        assert_eq!(answers(gateway, &bytes).await, [400], "{request:?}");
    }
}

#[tokio::test]
async fn content_length_with_transfer_encoding_is_400_and_closed() {
    let (_store, gateway) = started().await;
    refused(
        &gateway,
        &[
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\ncontent-length:\t0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        ],
    )
    .await;
    good_request(&gateway).await;
}

#[tokio::test]
async fn transfer_encoding_other_than_chunked_is_400_and_closed() {
    let (_store, gateway) = started().await;
    for coding in [
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked;q=1",
        "identity",
        "",
        "\u{b}chunked",
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        refused(&gateway, &[&request]).await;
    }
    refused(
        &gateway,
        &[
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_chunked_request_is_answered_once_and_closed() {
    let (_store, gateway) = started().await;
    for coding in ["chunked", "Chunked", "chunked "] {
        let request = format!(
            "GET /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n\
             5;ext=\"a\"\r\nhello\r\n0\r\nX: trailer\r\n\r\n{HIDDEN}"
        );
        assert_eq!(answers(&gateway, &request).await, [404], "{coding}");
    }
}

#[tokio::test]
async fn bad_chunk_syntax_is_400_and_closed() {
    let (_store, gateway) = started().await;
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
    ] {
        let head = "POST /session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&gateway, &[&format!("{head}{chunks}")]).await;
    }
}

#[tokio::test]
async fn a_missing_double_or_malformed_host_is_400_and_closed() {
    let (_store, gateway) = started().await;
    let (target, token) = (path("good.mp4"), token::of("anna"));
    for host in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a:b\r\n",
        "Host: user@a\r\n",
        "Host: a/../b\r\n",
        "Host : a\r\n",
        "Host: a\r\n b\r\n",
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\n{host}Authorization: Bearer {token}\r\n\r\n");
        refused(&gateway, &[&request]).await;
    }
    let good = format!("GET {target} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = Raw::send(gateway.address(), good).await.read_to_end().await;
    assert_eq!(raw::status(&answer), 200);
}

#[tokio::test]
async fn folded_lines_and_bare_cr_or_lf_are_400_or_plain_line_ends() {
    let (_store, gateway) = started().await;
    refused(
        &gateway,
        &[
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 40\r\n\r\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    .await;
    // RFC 9112 §2.2 lets a recipient take a lone LF for a line's end; what it must not do is lose one.
    let bare = "GET /nowhere HTTP/1.1\nHost: a\nConnection: close\n\n";
    assert_eq!(answers(&gateway, bare).await, [404]);
}

#[tokio::test]
async fn a_body_on_a_cached_get_that_looks_like_a_request_is_no_request() {
    let (_store, gateway) = started().await;
    let (target, token) = (path("good.mp4"), token::of("anna"));
    for method in ["GET", "HEAD"] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{HIDDEN}\
             GET /nowhere HTTP/1.1\r\nHost: lockgate\r\nConnection: close\r\n\r\n",
            HIDDEN.len()
        );
        assert_eq!(answers(&gateway, &request).await, [200, 404], "{method}");
    }
    // More than is drained: refused, and nothing of it is taken for a request.
    let long = HIDDEN.repeat(3000);
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{long}",
        long.len()
    );
    assert_eq!(answers(&gateway, &request).await, [413]);
}

#[tokio::test]
async fn upgrades_to_h2c_and_websocket_on_media_are_ignored() {
    let (_store, gateway) = started().await;
    let (target, token) = (path("good.mp4"), token::of("anna"));
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n{upgrade}\r\n\
             GET /nowhere HTTP/1.1\r\nHost: lockgate\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(answers(&gateway, &request).await, [200, 404], "{upgrade}");
    }
    let connect =
        "CONNECT lockgate:443 HTTP/1.1\r\nHost: lockgate:443\r\nConnection: close\r\n\r\n";
    let answered = answers(&gateway, connect).await;
    assert!(matches!(answered[..], [404 | 405 | 400]), "{answered:?}");
}

//! Heads that are too large, too many fields, and ranges that are bombs.

use super::{MIB, good_request, path, started};
use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::raw::{self, Raw};
use crate::support::token;

/// The status of a request written out, on a connection of its own.
async fn status(gateway: &crate::support::gateway::Gateway, request: String) -> u16 {
    let mut raw = Raw::send(gateway.address(), request).await;
    raw::status(&raw.read_some(64).await)
}

#[tokio::test]
async fn a_hundred_fields_are_taken_and_a_hundred_thousand_are_431() {
    let (_store, gateway) = started().await;
    let target = path("good.mp4");
    let token = token::of("anna");
    for (fields, expected) in [(98, 200), (99, 431), (100_000, 431)] {
        // With Host and Authorization two more.
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n{}\r\n",
            "X: y\r\n".repeat(fields)
        );
        assert_eq!(status(&gateway, request).await, expected, "{fields}");
    }
    good_request(&gateway).await;
    // Both are said once the connection is done with, which the client need not have waited for.
    let counted = "lockgate_http_requests_total{code=\"431\",method=\"other\",route=\"other\"} 2";
    eventually("the refusals are counted and logged", async || {
        let lines = gateway.access_log();
        let logged = lines.iter().any(|line| line["status"] == 431);
        (logged && gateway.metrics().await.contains(counted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_may_have_tokens_and_a_uri_of_8_kib() {
    let (_store, gateway) = started().await;
    let target = path("good.mp4");
    let token = token::of("anna");
    let long = "t".repeat(8 << 10);
    for (authorization, expected) in [
        (
            format!("Bearer {token}\r\nX-Also: {}", "a".repeat(40 << 10)),
            200,
        ),
        (format!("Bearer {long}"), 401),
        (format!("Bearer {long}{long}"), 401),
        (
            format!("Bearer {token}\r\nX-Also: {}", "a".repeat(70 << 10)),
            431,
        ),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: lockgate\r\n");
        let request = format!("{head}Authorization: {authorization}\r\n\r\n");
        assert_eq!(status(&gateway, request).await, expected);
    }
    for (padding, expected) in [(7000, 200), (9000, 414), (60_000, 414), (70_000, 431)] {
        let target = format!("{target}&x={}", "a".repeat(padding));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        assert_eq!(status(&gateway, request).await, expected, "{padding}");
    }
}

#[tokio::test]
async fn ranges_that_are_bombs_cost_no_more_than_one_answer() {
    let (store, gateway) = started().await;
    store.generate("media", "big.mp4", Pattern(1), 2 * MIB);
    let (target, token) = (path("big.mp4"), token::of("anna"));
    let many = |part: &str, count| format!("bytes=0-{}", part.repeat(count));
    let digits = "9".repeat(60);
    let mut longest = 0;
    for (range, expected) in [
        (many(",0-", 1000), 200),
        (many(",5-6", 2000), 200),
        (many(",-1", 10_000), 200),
        ("bytes=9223372036854775808-".to_owned(), 416),
        ("bytes=0-9223372036854775808".to_owned(), 206),
        ("bytes=18446744073709551616-".to_owned(), 416),
        ("bytes=0-18446744073709551616".to_owned(), 206),
        (format!("bytes={digits}-"), 416),
        (format!("bytes=0-{digits}"), 206),
        (format!("bytes=-{digits}"), 206),
        // Longer than any range that means something: ignored.
        (format!("bytes={}-", "0".repeat(30_000)), 200),
        (format!("bytes={}", "-".repeat(30_000)), 200),
        // Past the head's own limit.
        (many(",0-", 22_000), 431),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nRange: {range}\r\n\r\n"
        );
        let answer = Raw::send(gateway.address(), request)
            .await
            .read_to_end()
            .await;
        let shown = &range[..range.len().min(40)];
        assert_eq!(raw::status(&answer), expected, "{shown}");
        longest = longest.max(answer.len() as u64);
    }
    assert!(longest < 2 * MIB + 4096, "{longest}");
}

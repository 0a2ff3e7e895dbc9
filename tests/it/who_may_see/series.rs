//! No client makes a metric series: their number is bounded by the configuration.

use std::collections::BTreeSet;

use crate::support::gateway_over_store;
use crate::support::{token, uri};

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 16;

/// Names and labels of all series.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The requests, each with a user, a URI, a path or a method of its own; the first few kinds repeat.
async fn ask(client: &crate::support::client::Client, number: usize) {
    let id = fastrand::u64(..);
    let path = match number % 5 {
        0 => uri::project("1", &format!("s3://media/{id}.mp4")),
        1 => uri::task(&id.to_string(), &format!("s3://bucket-{id}/a.mp4")),
        2 => uri::project(
            &id.to_string(),
            &format!("https://host-{id}.example.com/a.mp4"),
        ),
        3 => format!("/data/local-files/?d=dir/{id}.wav"),
        _ => format!("/path-{id}?{id}"),
    };
    let subject = if number.is_multiple_of(10) {
        "anna".to_owned()
    } else {
        format!("user-{id}")
    };
    let method = match number % 7 {
        6 => http::Method::from_bytes(format!("M{id}").as_bytes()).expect("a token"),
        _ => http::Method::GET,
    };
    client
        .ask(method, path)
        .bearer(token::of(&subject))
        .answer()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_users_and_uris_make_no_new_metric_series() {
    let (_store, gateway) = gateway_over_store().await;
    for number in 0..140 {
        ask(gateway.client(), number).await;
    }
    let before = series(&gateway.metrics().await);
    let mut asking = tokio::task::JoinSet::new();
    for first in 0..AT_ONCE {
        let client = gateway.client().clone();
        asking.spawn(async move {
            for number in (first..REQUESTS).step_by(AT_ONCE) {
                ask(&client, number).await;
            }
        });
    }
    asking.join_all().await;
    let after = series(&gateway.metrics().await);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(after.len() > 50, "the series are there: {}", after.len());
}

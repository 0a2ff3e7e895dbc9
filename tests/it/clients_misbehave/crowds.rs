//! Clients that come in crowds, and clients that leave.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{MIB, good_request, path, started};
use crate::support::client::Client;
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::process::Serving;
use crate::support::raw::Raw;
use crate::support::store::Store;
use crate::support::{eventually, open_descriptors, resident_bytes, token};

const WINDOW: u64 = 8 * MIB;
/// Descriptors that a test needs beside its connections.
const SPARE: u64 = 300;

/// As many connections as are asked for, or as the machine's limit of open files allows each process.
fn connections(wanted: u64) -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("a soft limit may be raised");
    // The gateway keeps a quarter of a small limit, and 1,024 of a large one, for itself.
    let most = maximum.map_or(u64::MAX, |most| most - 1024.min(most / 4) - SPARE);
    wanted.min(most)
}

/// Connects, asks once, and stays.
async fn idle(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /nowhere HTTP/1.1\r\nHost: lockgate\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 404");
    stream
}

#[tokio::test]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let store = Store::start().await;
    store.generate("media", "good.mp4", Pattern(1), 1000);
    let serving = Serving::start(Setup::over(&store.section("media"))).await;
    let address: SocketAddr = serving
        .client
        .base()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let good = async || {
        let begun = std::time::Instant::now();
        let client = Client::new(serving.client.base());
        let answer = client.get(path("good.mp4")).by("anna").answer().await;
        assert_eq!(answer.status, 200);
        begun.elapsed()
    };
    good().await;
    let (descriptors, memory) = (serving.descriptors(), serving.resident_bytes());
    let wanted = connections(10_000);
    let mut idling = Vec::new();
    let mut coming = JoinSet::new();
    for _ in 0..wanted {
        // The kernel's queue holds 1,024: more at once would only wait there.
        while coming.len() >= 200 {
            idling.push(coming.join_next().await.expect("one").expect("no panic"));
        }
        coming.spawn(idle(address));
    }
    idling.extend(coming.join_all().await);
    let took = good().await;
    let grown = serving.resident_bytes().saturating_sub(memory);
    println!(
        "{wanted} idle connections: {} B each, a good request took {took:?}",
        grown / wanted
    );
    assert!(took < super::MEANWHILE, "{took:?}");
    assert!(grown / wanted < 32 << 10, "{} B each", grown / wanted);
    drop(idling);
    eventually("no descriptor is leaked", async || {
        (serving.descriptors() <= descriptors + 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_clients_of_one_cold_window_cause_one_storage_request() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), WINDOW);
    store.hold();
    // Two descriptors each: this process is client and gateway.
    let wanted = connections(2_000) / 2;
    let (target, token) = (path("a.mp4"), token::of("anna"));
    let mut readers = JoinSet::new();
    for _ in 0..wanted {
        let (address, target, token) = (gateway.address(), target.clone(), token.clone());
        readers.spawn(async move {
            let mut raw = Raw::get(address, &target, &token).await;
            let begin = raw.read_some(MIB as usize).await;
            begin.starts_with(b"HTTP/1.1 200")
        });
    }
    let in_flight = format!("lockgate_http_in_flight {wanted}");
    eventually("all are in flight", async || {
        gateway.metrics().await.contains(&in_flight).then_some(())
    })
    .await;
    good_request(&gateway).await;
    store.release();
    assert!(readers.join_all().await.into_iter().all(|good| good));
    assert_eq!(store.asked("a.mp4"), 1);
}

#[tokio::test]
async fn three_hundred_resets_leave_nothing_behind() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let before = open_descriptors();
    let (target, token) = (path("a.mp4"), token::of("anna"));
    for number in 0..300 {
        // At every stage: connected, half a head, a whole one, in the midst of the answer.
        let sent = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let part = [0, 10, sent.len(), sent.len()][number % 4];
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("it listens");
        stream
            .write_all(&sent.as_bytes()[..part])
            .await
            .expect("it reads");
        if number % 4 == 3 {
            let mut some = [0; 1000];
            stream.read_exact(&mut some).await.expect("it answers");
        }
        stream.set_zero_linger().expect("a socket");
    }
    good_request(&gateway).await;
    settled(&gateway, before).await;
}

/// Nothing is in flight, and no descriptor is left over.
async fn settled(gateway: &crate::support::gateway::Gateway, before: usize) {
    eventually("nothing is in flight", async || {
        let metrics = gateway.metrics().await;
        metrics.contains("lockgate_http_in_flight 0").then_some(())
    })
    .await;
    eventually("no descriptor is leaked", async || {
        (open_descriptors() <= before + 10).then_some(())
    })
    .await;
}

#[tokio::test]
async fn downloads_aborted_by_the_hundred_leave_nothing_behind() {
    let (store, gateway) = started().await;
    store.generate("media", "a.mp4", Pattern(1), 1000 * MIB);
    let (descriptors, memory) = (open_descriptors(), resident_bytes());
    let (target, token) = (path("a.mp4"), token::of("anna"));
    for _ in 0..5 {
        let mut downloads = JoinSet::new();
        for _ in 0..100 {
            let (address, target, token) = (gateway.address(), target.clone(), token.clone());
            downloads.spawn(async move {
                let mut raw = Raw::get(address, &target, &token).await;
                raw.read_some(100_000).await.len()
            });
        }
        let read = downloads.join_all().await;
        assert!(read.into_iter().all(|len| len >= 100_000));
    }
    good_request(&gateway).await;
    settled(&gateway, descriptors).await;
    let metrics = gateway.metrics().await;
    let counted = "lockgate_http_aborted_total{reason=\"client_gone\"} 500";
    assert!(metrics.contains(counted), "{metrics}");
    // All read the first window; what is read ahead of them is a few more, whoever leaves.
    assert!(store.bytes_sent() <= 20 * WINDOW, "{}", store.bytes_sent());
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 256 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn a_gateway_out_of_descriptors_comes_back_by_itself() {
    let store = Store::start().await;
    store.generate("media", "good.mp4", Pattern(1), 1000);
    let serving = Serving::start(Setup::over(&store.section("media"))).await;
    let address: SocketAddr = serving
        .client
        .base()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    // Taken away below what it counted on at its start.
    let most = serving.descriptors() as u64 + 20;
    serving.limit_descriptors(most);
    let mut idling = Vec::new();
    for _ in 0..40 {
        idling.push(
            TcpStream::connect(address)
                .await
                .expect("the kernel queues"),
        );
    }
    eventually("it says so", async || {
        let log = serving.written("stderr");
        log.contains("no connection can be taken").then_some(())
    })
    .await;
    // It waits between two tries, and says no more than that.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let said = serving
        .written("stderr")
        .matches("no connection can be taken")
        .count();
    assert!(said <= 40, "{said} lines in a second or little more");
    drop(idling);
    let client = Client::new(serving.client.base());
    let answer = client
        .get(path("good.mp4"))
        .by("anna")
        .range("bytes=0-9")
        .answer()
        .await;
    assert_eq!(answer.status, 206);
}

//! What the tests stand on: a gateway, storages to put behind it, a client, tokens, and bytes that prove themselves.

pub mod application;
pub mod authority;
pub mod azurite;
pub mod client;
pub mod collector;
pub mod content;
pub mod disk;
pub mod entra;
pub mod fake_gcs;
pub mod files_api;
pub mod frames;
pub mod garage;
pub mod gateway;
pub mod google;
pub mod label_studio;
pub mod moody;
pub mod moto;
pub mod nginx;
pub mod process;
pub mod prometheus;
pub mod raw;
pub mod redis;
pub mod secrets;
pub mod shop;
pub mod shops;
pub mod store;
pub mod stub;
pub mod token;
pub mod uri;
pub mod wild_store;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// How long anything may take before a test gives up: never a measure, only an end to a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that the test cannot be told of, by looking again and again.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// Bytes of memory that this process holds.
pub fn resident_bytes() -> u64 {
    resident_bytes_of("self")
}

/// Bytes of memory that a process holds, by its id.
pub fn resident_bytes_of(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS is there");
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kilobytes * 1024
}

/// Files and sockets that this process has open.
pub fn open_descriptors() -> usize {
    let directory = std::fs::read_dir("/proc/self/fd").expect("a Linux machine");
    directory.count()
}

/// The commonest pair: a gateway in front of the bucket `media` of the S3 server in this process.
pub async fn gateway_over_store() -> (store::Store, gateway::Gateway) {
    let store = store::Store::start().await;
    let gateway = gateway::Setup::over(&store.section("media")).start().await;
    (store, gateway)
}

/// Ports that were free a moment ago: Garage has to be told its own.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
    });
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

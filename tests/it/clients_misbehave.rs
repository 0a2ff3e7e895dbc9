//! Clients that misbehave: each gets what the contract says or a closed connection within the stated limits, and
//! whoever behaves is served meanwhile. `docs/scenarios/clients.md` lists every case with its test.

mod caps;
mod crowds;
mod framing;
mod heads;
mod http2;
mod http2_errors;
mod slow;

use std::time::{Duration, Instant};

use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::store::Store;
use crate::support::{gateway_over_store, uri};

const MIB: u64 = 1 << 20;

/// How soon a good request is answered meanwhile. Measured on an idle machine it is under 100 ms (the documentation
/// has the figures); where tests share two cores only a standstill can be told from a busy machine.
const MEANWHILE: Duration = Duration::from_secs(5);

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

/// A gateway with a small object that is cached, `good.mp4`.
async fn started() -> (Store, Gateway) {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "good.mp4", Pattern(1), 1000);
    good_request(&gateway).await;
    (store, gateway)
}

/// A good request on a connection of its own is answered, and soon.
async fn good_request(gateway: &Gateway) {
    let begun = Instant::now();
    let client = crate::support::client::Client::new(gateway.client().base());
    let answer = client.get(path("good.mp4")).by("anna").answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
    let took = begun.elapsed();
    println!("a good request took {took:?}");
    assert!(took < MEANWHILE, "a good request took {took:?}");
}

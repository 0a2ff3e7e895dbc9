//! Storage misbehaves: one test a case. What comes out is the right bytes, or the contract's status, or a cut; never a
//! wrong byte, and never anything that stays behind in the cache. The cases are listed in `docs/scenarios/storage.md`.

mod breaks;
mod changes;
mod framing;
mod heads;
mod hedges;
mod outage;
mod refusals;
mod trust;

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::uri;
use crate::support::wild_store::WildStore;

const MIB: u64 = 1 << 20;
const WINDOW: u64 = 8 * MIB;

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

async fn started() -> (WildStore, Gateway) {
    let store = WildStore::start().await;
    let gateway = Setup::over(&store.section()).start().await;
    (store, gateway)
}

/// A gateway that takes storage for stalled sooner than an operator would want it to.
async fn impatient() -> (WildStore, Gateway) {
    let store = WildStore::start().await;
    let setup = Setup::over(&store.section()).set("delivery.stall_timeout", "500ms");
    let gateway = setup.start().await;
    (store, gateway)
}

/// The status of a read of a whole object, how many right bytes came, and whether the body ended well.
async fn read(gateway: &Gateway, key: &str, content: Pattern) -> (u16, u64, bool) {
    let reply = gateway.get(path(key)).send().await;
    let status = reply.status();
    if status != 200 {
        return (status, 0, false);
    }
    let (read, whole) = reply.compare(content, 0).await;
    (status, read, whole)
}

/// The object is read as if nothing had happened: nothing wrong stayed behind.
async fn assert_served(gateway: &Gateway, key: &str, content: Pattern, length: u64) {
    let served = read(gateway, key, content).await;
    assert_eq!(served, (200, length, true), "{key}");
}

/// What is refused with 502 leaves nothing behind: once storage behaves the object is there, from storage.
async fn assert_refused_then_served(store: &WildStore, gateway: &Gateway, key: &str, case: &str) {
    let content = store.put(key, 100_000);
    let refused = gateway.get(path(key)).send().await;
    assert_eq!(refused.status(), 502, "{case}");
    store.behave();
    assert_served(gateway, key, content, 100_000).await;
}

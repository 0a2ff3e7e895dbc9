//! Everything at once, by chance: readers of any range, some of whom leave, while objects are overwritten, storage
//! fails, and the cache is far too small. Whatever ends well must be whole, and of the one version that its head names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::support::client::Reply;
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::store::{Fault, Store};
use crate::support::uri;

const KEYS: [&str; 3] = ["a.mp4", "b.mp4", "c.mp4"];
const LONGEST: u64 = 20 << 20;
const READERS: usize = 24;
const READS: usize = 12;

/// Which bytes an entity tag stands for, and how many.
type Versions = Arc<Mutex<HashMap<String, (Pattern, u64)>>>;

/// Puts a new version of an object.
fn overwrite(store: &Store, versions: &Versions, key: &str, rng: &mut Rng) {
    // Mostly of one length, so that no length gives a version away.
    let length = if rng.u8(..4) > 0 {
        LONGEST
    } else {
        rng.u64(1..LONGEST)
    };
    let content = Pattern(rng.u64(..1000));
    // Nobody reads the new version before it is written down: the lock is held meanwhile.
    let mut versions = versions.lock().expect("no panic");
    let etag = store.generate("media", key, content, length);
    versions.insert(etag, (content, length));
}

/// A range of any form; `None`: everything.
fn any_range(rng: &mut Rng) -> Option<String> {
    let first_pos = rng.u64(..LONGEST);
    match rng.u8(..5) {
        0 => None,
        1 => Some(format!("bytes={first_pos}-")),
        2 => Some(format!("bytes=-{}", rng.u64(1..LONGEST))),
        _ => Some(format!(
            "bytes={first_pos}-{}",
            first_pos + rng.u64(..3_000_000)
        )),
    }
}

/// Reads, and judges what came: whether it was whole.
async fn judge(mut reply: Reply, versions: &Versions, leaves_after: u64) -> bool {
    if !matches!(reply.status(), 200 | 206) {
        assert!(
            matches!(reply.status(), 416 | 502 | 503),
            "{}",
            reply.status()
        );
        return false;
    }
    let version = versions
        .lock()
        .expect("no panic")
        .get(reply.header("etag"))
        .copied();
    let (content, complete_length) = version.expect("a version that there was");
    let content_range = reply.header("content-range").to_owned();
    let (first_pos, end) = match content_range.strip_prefix("bytes ") {
        None => (0, complete_length),
        Some(range) => {
            let (range, length) = range.split_once('/').expect("a length");
            assert_eq!(length, complete_length.to_string());
            let (first, last) = range.split_once('-').expect("two positions");
            let position = |text: &str| text.parse::<u64>().expect("a position");
            (position(first), position(last) + 1)
        }
    };
    assert_eq!(
        reply.header("content-length"),
        (end - first_pos).to_string()
    );
    let mut read = 0;
    while let Some(piece) = reply.next().await {
        let Ok(piece) = piece else { return false };
        assert!(
            content.holds(first_pos + read, &piece),
            "other bytes at {}",
            first_pos + read
        );
        read += piece.len() as u64;
        if read > leaves_after {
            return false;
        }
    }
    assert_eq!(
        read,
        end - first_pos,
        "a body ended short as if it were whole"
    );
    true
}

/// Overwrites objects and makes storage fail, until it is aborted.
async fn disturb(store: Arc<Store>, versions: Versions, mut rng: Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(5..30))).await;
        match rng.u8(..6) {
            0 | 1 => overwrite(&store, &versions, KEYS[rng.usize(..KEYS.len())], &mut rng),
            2 => store.fail_next(1, Fault::CutBody(rng.u64(..LONGEST))),
            3 => store.fail_next(rng.usize(1..3), Fault::Status(503, "SlowDown")),
            4 => store.fail_next(1, Fault::NoAnswer),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_well_is_whole_and_of_one_version() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let store = Arc::new(Store::start().await);
    store.set_latency(Duration::from_millis(2), Duration::from_millis(1));
    let versions = Versions::default();
    for key in KEYS {
        overwrite(&store, &versions, key, &mut rng);
    }
    let setup = Setup::over(&store.section("media")).set("cache.memory", "20MiB");
    let gateway = Arc::new(setup.set("cache.metadata_max_age", "50ms").start().await);
    let mut disturbing = JoinSet::new();
    disturbing.spawn(disturb(store.clone(), versions.clone(), rng.fork()));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (gateway, versions, mut rng) = (gateway.clone(), versions.clone(), rng.fork());
        readers.spawn(async move {
            let mut whole = 0;
            for _ in 0..READS {
                let path = uri::project(
                    "1",
                    &format!("s3://media/{}", KEYS[rng.usize(..KEYS.len())]),
                );
                let ask = gateway.get(path);
                let ask = match any_range(&mut rng) {
                    Some(range) => ask.range(range),
                    None => ask,
                };
                let leaves_after = if rng.bool() {
                    u64::MAX
                } else {
                    rng.u64(..LONGEST)
                };
                whole += usize::from(judge(ask.send().await, &versions, leaves_after).await);
            }
            whole
        });
    }
    let whole: usize = readers.join_all().await.into_iter().sum();
    assert!(
        whole > READERS * READS / 4,
        "only {whole} bodies were whole"
    );
}

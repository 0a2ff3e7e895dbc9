//! Everything at once, by chance: readers of any range, some of whom leave, while objects are overwritten, storage
//! misbehaves in every way, and the cache is far too small. Whatever ends well must be whole, and of the one version
//! that its head names; memory and descriptors stay what they were when it was warm.
//!
//! `LOCKGATE_SOAK=10m cargo nextest run --test it soak` makes it last: seconds (`30s`) or minutes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::support::client::Reply;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wild_store::{Answer, At, Break, Framing, WildStore, content, version_of};
use crate::support::{resident_bytes, uri};

const KEYS: [&str; 4] = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"];
const MIB: u64 = 1 << 20;
const LONGEST: u64 = 20 * MIB;
const READERS: usize = 16;
/// How long it lasts where nobody says so.
const SHORT: Duration = Duration::from_secs(8);
/// What memory may grow by after a third of the time: what is in flight differs from moment to moment (windows,
/// sockets' buffers, answers of the store in this process).
const MEMORY_SLACK: u64 = 160 * MIB;
/// The same of descriptors: each reader has a connection, each fetch another, and the idle ones are kept a while.
const DESCRIPTOR_SLACK: usize = 150;

/// How long each version was, by key.
type Lengths = Mutex<HashMap<(String, u64), u64>>;

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    whole: AtomicU64,
    cut: AtomicU64,
    left: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    overwrites: AtomicU64,
    faults: AtomicU64,
}

struct Soak {
    store: WildStore,
    gateway: Gateway,
    lengths: Lengths,
    tally: Tally,
    ends_at: Instant,
}

fn duration() -> Duration {
    let Ok(written) = std::env::var("LOCKGATE_SOAK") else {
        return SHORT;
    };
    let (number, unit) = written.split_at(written.len().saturating_sub(1));
    let number: u64 = number.parse().expect("a number, like 30s or 10m");
    match unit {
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        _ => panic!("LOCKGATE_SOAK is written 30s or 10m"),
    }
}

/// A range of any form; `None`: everything.
fn any_range(rng: &mut Rng) -> Option<String> {
    let first_pos = rng.u64(..LONGEST);
    match rng.u8(..5) {
        0 => None,
        1 => Some(format!("bytes={first_pos}-")),
        2 => Some(format!("bytes=-{}", rng.u64(1..LONGEST))),
        _ => {
            let last_pos = first_pos + rng.u64(..3_000_000);
            Some(format!("bytes={first_pos}-{last_pos}"))
        }
    }
}

/// Any way in which an answer can be wrong.
fn any_fault(rng: &mut Rng) -> impl Fn(&mut Answer) + Send + Sync + 'static {
    let (which, at, coin) = (rng.u8(..18), rng.u64(..10 * MIB), rng.bool());
    let how = if coin { Break::Reset } else { Break::Close };
    move |answer: &mut Answer| match which {
        0..=3 => answer.breaks = Some((At::Body(at), how.clone())),
        4 => answer.breaks = Some((At::BeforeHead, how.clone())),
        5 => answer.breaks = Some((At::MidHead, how.clone())),
        6 => answer.breaks = Some((At::Body(at), Break::Stall)),
        7 => answer.refuse(503, "SlowDown"),
        8 => answer.refuse(500, "InternalError"),
        9 => answer.ignore_range(),
        10 => answer.ignore_conditions(),
        11 => answer.raw = Some((b"no http at all\r\n\r\n".to_vec(), 1)),
        12 => answer.set("Content-Range", "bytes 5-9/10"),
        13 => answer.remove("ETag"),
        14 if answer.is_object() => {
            answer.framing = if coin {
                Framing::Chunked
            } else {
                Framing::Close
            };
            let range = answer.range();
            range.end = range.start + (range.end - range.start) / 2;
        }
        15 if answer.is_object() => {
            answer.framing = Framing::Chunked;
            answer.range().end += 10_000;
        }
        16 => answer.breaks = Some((At::BeforeHead, Break::Stall)),
        17 => answer.set("Content-Encoding", "gzip"),
        _ => {}
    }
}

impl Soak {
    /// Puts a new version of an object.
    fn overwrite(&self, key: &str, rng: &mut Rng) {
        // Mostly of one length, so that no length gives a version away.
        let length = if rng.u8(..4) > 0 {
            LONGEST
        } else {
            rng.u64(1..LONGEST)
        };
        // Nobody reads the new version before it is written down: the lock is held meanwhile.
        let mut lengths = self.lengths.lock().expect("no panic");
        self.store.put(key, length);
        lengths.insert((key.to_owned(), self.store.version(key)), length);
        self.tally.overwrites.fetch_add(1, Relaxed);
    }

    /// Overwrites objects and makes storage fail, for as long as it lasts.
    async fn disturb(&self, mut rng: Rng) {
        while Instant::now() < self.ends_at {
            tokio::time::sleep(Duration::from_millis(rng.u64(5..60))).await;
            match rng.u8(..8) {
                0 | 1 => self.overwrite(KEYS[rng.usize(..KEYS.len())], &mut rng),
                2 if rng.u8(..20) == 0 => {
                    self.store.set_down(true);
                    tokio::time::sleep(Duration::from_millis(rng.u64(..1500))).await;
                    self.store.set_down(false);
                }
                3..=6 => {
                    let count = rng.usize(1..4);
                    self.store.next_few(count, any_fault(&mut rng));
                    self.tally.faults.fetch_add(count as u64, Relaxed);
                }
                _ => {}
            }
        }
    }

    /// Reads on and on, and judges what comes.
    async fn read(&self, mut rng: Rng) {
        while Instant::now() < self.ends_at {
            let key = KEYS[rng.usize(..KEYS.len())];
            let path = uri::project("1", &format!("s3://media/{key}"));
            let mut ask = self.gateway.get(path);
            if let Some(range) = any_range(&mut rng) {
                ask = ask.range(range);
            }
            let leaves_after = if rng.bool() {
                u64::MAX
            } else {
                rng.u64(..LONGEST)
            };
            self.tally.requests.fetch_add(1, Relaxed);
            let ended = match ask.try_send().await {
                Some(reply) => self.judge(key, reply, leaves_after).await,
                // A cut may come so soon that it takes the head with it.
                None => &self.tally.cut,
            };
            ended.fetch_add(1, Relaxed);
        }
    }

    /// Reads, and judges what came.
    async fn judge(&self, key: &str, mut reply: Reply, leaves_after: u64) -> &AtomicU64 {
        if !matches!(reply.status(), 200 | 206) {
            let status = reply.status();
            assert!(matches!(status, 416 | 502 | 503 | 504), "{status}");
            return &self.tally.refused;
        }
        let version = version_of(reply.header("etag"));
        let named = (key.to_owned(), version);
        let length = self.lengths.lock().expect("no panic").get(&named).copied();
        let complete_length = length.expect("a version that there was");
        let (first_pos, end) = positions(reply.header("content-range"), complete_length);
        let content_length = (end - first_pos).to_string();
        assert_eq!(reply.header("content-length"), content_length);
        let (bytes, mut read) = (content(key, version), 0);
        while let Some(piece) = reply.next().await {
            let Ok(piece) = piece else {
                return &self.tally.cut;
            };
            let at = first_pos + read;
            assert!(bytes.holds(at, &piece), "other bytes at {at}");
            read += piece.len() as u64;
            self.tally.bytes.fetch_add(piece.len() as u64, Relaxed);
            if read > leaves_after {
                return &self.tally.left;
            }
        }
        assert_eq!(read, end - first_pos, "a body ended short as if whole");
        &self.tally.whole
    }
}

/// The half-open range that a head tells.
fn positions(content_range: &str, complete_length: u64) -> (u64, u64) {
    let Some(range) = content_range.strip_prefix("bytes ") else {
        return (0, complete_length);
    };
    let (range, length) = range.split_once('/').expect("a length");
    assert_eq!(length, complete_length.to_string());
    let (first, last) = range.split_once('-').expect("two positions");
    let position = |text: &str| text.parse::<u64>().expect("a position");
    (position(first), position(last) + 1)
}

fn descriptors() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("a Linux machine");
    open.count()
}

/// The middle one of what memory and descriptors were over a while: moments differ.
async fn level(until: Instant) -> (u64, usize) {
    let (mut bytes, mut open) = (vec![resident_bytes()], vec![descriptors()]);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bytes.push(resident_bytes());
        open.push(descriptors());
    }
    bytes.sort_unstable();
    open.sort_unstable();
    (bytes[bytes.len() / 2], open[open.len() / 2])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_well_is_whole_and_of_one_version() {
    let (seed, lasts) = (fastrand::u64(..), duration());
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let store = WildStore::start().await;
    let setup = Setup::over(&store.section())
        .set("cache.memory", "20MiB")
        .set("cache.metadata_max_age", "50ms")
        .set("delivery.stall_timeout", "1s")
        .set("log.access", "off");
    let begun = Instant::now();
    let soak = Arc::new(Soak {
        gateway: setup.start().await,
        store,
        lengths: Lengths::default(),
        tally: Tally::default(),
        ends_at: begun + lasts,
    });
    for key in KEYS {
        soak.overwrite(key, &mut rng);
    }
    let mut running = JoinSet::new();
    for _ in 0..READERS {
        let (soak, rng) = (soak.clone(), rng.fork());
        running.spawn(async move { soak.read(rng).await });
    }
    let (disturbing, disturbs) = (soak.clone(), rng.fork());
    running.spawn(async move { disturbing.disturb(disturbs).await });

    tokio::time::sleep_until((begun + lasts / 6).into()).await;
    let warm = level(begun + lasts / 3).await;
    tokio::time::sleep_until((begun + lasts * 5 / 6).into()).await;
    let last = level(begun + lasts).await;
    running.join_all().await;

    let tally = &soak.tally;
    let count = |count: &AtomicU64| count.load(Relaxed);
    println!(
        "{} requests: {} whole, {} left, {} cut, {} refused; {} MiB compared; {} overwrites, {} faults, {} storage \
         requests; resident {} to {} MiB, descriptors {} to {}",
        count(&tally.requests),
        count(&tally.whole),
        count(&tally.left),
        count(&tally.cut),
        count(&tally.refused),
        count(&tally.bytes) / MIB,
        count(&tally.overwrites),
        count(&tally.faults),
        soak.store.count(),
        warm.0 / MIB,
        last.0 / MIB,
        warm.1,
        last.1,
    );
    assert!(
        count(&tally.whole) > count(&tally.requests) / 10,
        "too few bodies were whole to tell anything"
    );
    assert!(last.0 < warm.0 + MEMORY_SLACK, "memory grew");
    assert!(last.1 < warm.1 + DESCRIPTOR_SLACK, "descriptors leak");
}

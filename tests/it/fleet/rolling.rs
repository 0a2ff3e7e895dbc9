//! Each replica is started again in its turn while annotators read: no request is lost, no body is cut, and what the
//! replica had is there again, on its disk.
//!
//! `LOCKGATE_ROUNDS=20 cargo nextest run --test it rolling` does so twenty times.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;

use super::balancers::{Balancer, Kind};
use super::replicas::{Fleet, Replica};
use crate::support::client::{Client, Reply};
use crate::support::content::Pattern;
use crate::support::store::Store;
use crate::support::{eventually, uri};

const MIB: u64 = 1 << 20;
const CONTENT: Pattern = Pattern(9);
const THUMBNAIL: u64 = 60_000;
const VIDEO: u64 = 20 * MIB;
const OBJECTS: usize = 16;
/// Annotators at once: as many as two cores keep busy.
const ANNOTATORS: usize = 6;
/// What an annotator may look at: each thumbnail and each video.
const MEDIA: [(&str, u64); 2] = [("video", VIDEO), ("thumbnail", THUMBNAIL)];
/// Readings of everything until a disk must have it: each leaves there a queue's worth at least, 32 MiB.
const FILLINGS: usize = 12;
/// How often each replica is started again where nobody says so.
const ROUNDS: usize = 3;

fn rounds() -> usize {
    let written = std::env::var("LOCKGATE_ROUNDS").ok();
    written.map_or(ROUNDS, |it| it.parse().expect("a number"))
}

/// What came of all requests.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    whole: AtomicUsize,
    videos: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn say(&self, what: String) {
        self.wrong.lock().expect("no panic").push(what);
    }

    /// An annotator who reads now a thumbnail, now a piece of a video, now all of one at a player's pace.
    async fn annotate(&self, balancer: &Balancer, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let client = Client::new(format!("http://{}", balancer.address));
        while !self.over.load(Relaxed) {
            let index = rng.usize(..OBJECTS);
            let (name, offset, length) = match rng.u8(..8) {
                0 => ("video", 0, VIDEO),
                1..=3 => ("video", rng.u64(..VIDEO - MIB), MIB),
                _ => ("thumbnail", 0, THUMBNAIL),
            };
            let path = uri::project("1", &format!("s3://media/{name}-{index}"));
            let range = format!("bytes={offset}-{}", offset + length - 1);
            let reply = client.get(path).by("anna").range(range).try_send().await;
            let read = match reply {
                Some(reply) if reply.status() == 206 => read(reply, offset, &mut rng).await,
                Some(reply) => return self.say(format!("{name}: status {}", reply.status())),
                None => return self.say(format!("{name}: no answer")),
            };
            if read != (length, true) {
                return self.say(format!("{name}: {read:?} of {length}"));
            }
            self.whole.fetch_add(1, Relaxed);
            self.videos.fetch_add(usize::from(length == VIDEO), Relaxed);
        }
    }
}

/// Reads a body and looks at each byte; a player takes a pause between pieces.
async fn read(mut reply: Reply, offset: u64, rng: &mut Rng) -> (u64, bool) {
    let (mut read, mut pieces) = (0, 0);
    while let Some(piece) = reply.next().await {
        let Ok(piece) = piece else {
            return (read, false);
        };
        if !CONTENT.holds(offset + read, &piece) {
            return (read, false);
        }
        read += piece.len() as u64;
        pieces += 1;
        if pieces % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(..20))).await;
        }
    }
    (read, true)
}

/// Has a replica read all there is, until, started again, it asks storage for none of it: with another one stopped it
/// may be asked for any of it. A disk that is slower than the reading does not take everything at once.
async fn fills_its_disk(replica: &mut Replica, store: &Store) {
    for _ in 0..FILLINGS {
        store.reset_counters();
        for index in 0..OBJECTS {
            for (name, length) in MEDIA {
                let path = uri::project("1", &format!("s3://media/{name}-{index}"));
                let reply = replica.serving.client.get(path).by("anna").send().await;
                assert_eq!(reply.compare(CONTENT, 0).await, (length, true));
            }
        }
        if store.bytes_sent() == 0 {
            return;
        }
        replica.restart(store).await;
    }
    panic!("its disk does not have all of it after {FILLINGS} readings");
}

async fn each_replica_is_started_again_in_its_turn(kind: Kind) {
    let mut fleet = Fleet::start().await;
    let Some(balancer) = Balancer::start(kind, &fleet).await else {
        return;
    };
    for index in 0..OBJECTS {
        for (name, length) in MEDIA {
            let key = format!("{name}-{index}");
            fleet.store.generate("media", &key, CONTENT, length);
        }
    }
    for replica in &mut fleet.replicas {
        fills_its_disk(replica, &fleet.store).await;
    }
    fleet.store.reset_counters();
    let tally = Tally::default();
    let annotators = (0..ANNOTATORS).map(|at| tally.annotate(&balancer, at as u64));
    let restarts = async {
        for _ in 0..rounds() {
            for replica in &mut fleet.replicas {
                replica.restart(&fleet.store).await;
                // The next one only once the balancer has found this one again; or all have met what was wrong.
                eventually("the replica is asked again", async || {
                    let all_wrong = tally.wrong.lock().expect("no panic").len() == ANNOTATORS;
                    (all_wrong || replica.traces().len() >= ANNOTATORS).then_some(())
                })
                .await;
            }
        }
        tally.over.store(true, Relaxed);
    };
    tokio::join!(join_all(annotators), restarts);
    let (whole, videos) = (tally.whole.load(Relaxed), tally.videos.load(Relaxed));
    let fetched = fleet.store.bytes_sent();
    eprintln!(
        "{kind:?}: {} restarts, {whole} bodies whole, {videos} of them 20 MiB; {fetched} bytes from storage",
        rounds() * 3
    );
    let wrong = tally.wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "after {whole}: {wrong:#?}");
    assert!(videos > 0, "no long body ran");
    // Each had read all of it before, and its memory was emptied by its restart. A disk that took a second for a read
    // is passed by, and that is no fault of the restart.
    let disk_was_slow = fleet.replicas.iter().any(Replica::disk_was_slow);
    assert!(
        fetched == 0 || disk_was_slow,
        "{fetched} bytes were asked of storage again"
    );
}

#[tokio::test]
async fn rolling_restarts_behind_nginx_lose_no_request_and_cut_no_body() {
    each_replica_is_started_again_in_its_turn(Kind::Nginx).await;
}

#[tokio::test]
async fn rolling_restarts_behind_haproxy_lose_no_request_and_cut_no_body() {
    each_replica_is_started_again_in_its_turn(Kind::Haproxy).await;
}

#[tokio::test]
async fn rolling_restarts_behind_envoy_lose_no_request_and_cut_no_body() {
    each_replica_is_started_again_in_its_turn(Kind::Envoy).await;
}

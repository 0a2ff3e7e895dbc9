//! What is scraped: two replicas with annotators at work, who look again, look at something new, leave, linger, and ask
//! for what is not theirs; and a storage that is down for a while.

use std::time::Duration;

use futures_util::future::join_all;
use lockgate::cli::demo::s3::S3Server;
use tempfile::TempDir;

use crate::identities;
use crate::support::client::Reply;
use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::stub::Stub;
use crate::support::wild_store::WildStore;
use crate::support::{token, uri};

const MIB: u64 = 1 << 20;
/// How many files there are to look at: more bytes than memory and disk keep, so that something is evicted.
const FILES: u64 = 60;
/// And how many in the vault: enough that some were not yet seen when it goes down.
const SEALED: u64 = 500;
const REPLICAS: [&str; 2] = ["lockgate-0", "lockgate-1"];
const PROJECTS: &str = "[[project]]\nid = '1'\nstorages = ['recordings', 'scans', 'vault', 'archive']\n\
    members = ['anna', 'ben']\nmedia = 'storage'\n";

/// Two replicas over four storages: one that sends elsewhere, one that can be taken down, and one with a role whose
/// credentials end.
pub struct Site {
    replicas: Vec<Gateway>,
    vault: WildStore,
    /// One token each for all requests: each that is minted is looked for in all that was written.
    anna: String,
    eve: String,
    _store: Store,
    _archive: S3Server,
    _sts: Stub,
    _disks: [TempDir; 2],
}

/// When a storage goes down.
const DOWN: f64 = 0.55;

fn sealed(n: u64, annotator: u64) -> String {
    format!("media/sealed/{}.mp4", (n * 7 + annotator) % SEALED)
}

impl Site {
    pub async fn start() -> Self {
        let (store, vault) = (Store::start().await, WildStore::start().await);
        let archive = identities::storage().await;
        let sts = Stub::start(|_| identities::assumed("AssumeRole")).await;
        fill(&store, &vault, &archive);
        let role = identities::with_role(&sts.endpoint, "");
        let archived = identities::section(&archive, &role).replace("'media'", "'archive'");
        let disks = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let mut replicas = Vec::new();
        for disk in &disks {
            let scans = store.section("scans") + "delivery = 'redirect'\n";
            let setup = small(disk)
                .storage("recordings", &store.section("recordings"))
                .storage("scans", &scans)
                .storage("vault", &vault.section())
                .storage("archive", &archived)
                .projects(PROJECTS);
            replicas.push(setup.start().await);
        }
        Self {
            replicas,
            vault,
            anna: token::of("anna"),
            eve: token::of("eve"),
            _store: store,
            _archive: archive,
            _sts: sts,
            _disks: disks,
        }
    }

    /// The replicas' names, and where each is scraped.
    pub fn scraped(&self) -> Vec<(&'static str, String)> {
        let admins = self.replicas.iter().map(Gateway::admin);
        let addresses = admins.map(|it| it.base().replace("http://", ""));
        REPLICAS.into_iter().zip(addresses).collect()
    }

    /// What annotators do, without end: `work` says how much of its time has passed, from 0 to 1 and beyond. A storage is
    /// down from the middle of it `until` then.
    pub async fn at_work(&self, work: impl Fn() -> f64, until: f64) {
        let annotators = (0..4).map(|annotator| self.annotate(annotator, &work));
        let storage = self.storage_comes_and_goes(&work, until);
        tokio::join!(join_all(annotators), storage);
    }

    async fn annotate(&self, annotator: u64, work: &impl Fn() -> f64) {
        for n in 0.. {
            self.round(annotator, n).await;
            if work() >= DOWN {
                let sealed = uri::project("1", &format!("s3://{}", sealed(n, annotator)));
                let replica = &self.replicas[(annotator % 2) as usize];
                replica
                    .client()
                    .get(sealed)
                    .bearer(&self.anna)
                    .answer()
                    .await;
            }
            let busy = 1.0 + (work() * 9.0).sin();
            tokio::time::sleep(Duration::from_millis(100 + (busy * 150.0) as u64)).await;
        }
    }

    async fn storage_comes_and_goes(&self, work: &impl Fn() -> f64, until: f64) {
        loop {
            self.vault.set_down((DOWN..until).contains(&work()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One round: mostly the same as a moment ago, something new, and now and then what is not to be seen.
    async fn round(&self, annotator: u64, n: u64) {
        let replica = &self.replicas[(annotator % 2) as usize];
        let at = |key: &str| uri::project("1", &format!("s3://{key}"));
        let file = |n: u64| at(&format!("recordings/wards/{}.mp4", n % FILES));
        let nobody = |path: String| replica.client().get(path);
        let anna = |path: String| nobody(path).bearer(&self.anna);
        for n in [n / 4, n / 5, n + 17 * annotator] {
            let reply = anna(file(n)).send().await;
            assert_eq!(reply.status(), 200);
            match n % 9 {
                // Some leave before the end, and some are slow.
                3 => drop(reply),
                5 => linger(reply).await,
                _ => drop(reply.whole().await),
            }
        }
        let part = anna(file(n)).range("bytes=1000-99999");
        let sealed = sealed(n, annotator);
        let other = match n % 6 {
            0 => anna(at(&sealed)),
            1 => nobody(file(n)).bearer(&self.eve),
            2 => anna(at("scans/a.png")),
            3 => anna(at("recordings/wards/none.mp4")),
            4 => nobody(file(n)),
            _ => anna(at("archive/a.mp4")),
        };
        tokio::join!(part.answer(), other.answer());
    }
}

/// Reads as a player does whose buffer is full.
async fn linger(mut reply: Reply) {
    while let Some(bytes) = reply.next().await {
        bytes.expect("the body goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What there is to look at.
fn fill(store: &Store, vault: &WildStore, archive: &S3Server) {
    for n in 0..FILES {
        let length = (1 + n % 6) * MIB;
        store.generate("recordings", &format!("wards/{n}.mp4"), Pattern(n), length);
    }
    store.generate("scans", "a.png", Pattern(1), 100_000);
    for n in 0..SEALED {
        vault.put(&format!("sealed/{n}.mp4"), MIB / 4);
    }
    archive.put("archive", "a.mp4", vec![1; 10], Some("video/mp4"));
}

/// With little room in each tier.
fn small(disk: &TempDir) -> Setup {
    let path = disk.path().join("cache");
    Setup::bare()
        .set("cache.memory", "64MiB")
        .set("cache.metadata_max_age", "2s")
        .set("cache.disk.path", path.to_str().expect("UTF-8"))
        .set("cache.disk.capacity", "64MiB")
        .set("server.limits.requests_per_second", 500)
}
